"""The quotas of Firebase Cloud Messaging, counted for the stand-in: in sliding windows, by a clock that is handed in.

After Google's pages "Throttling and quotas" and "Non-collapsible and collapsible messages": what a project and what a
device gets, and that a message with a notification part is always collapsible, whatever its collapse key is.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from hubd.clock import Clock


@dataclass(frozen=True, slots=True)
class FcmLimits:
    """What the service allows; by itself what Google's does."""

    project_minute: int = 600_000
    device_minute: int = 240
    device_hour: int = 5_000
    collapsible_burst: int = 20
    collapsible_every_s: float = 180.0
    collapse_keys: int = 4


class Exceeded(NamedTuple):
    """A quota that was exceeded: which, whose (a token, or a project), and when (the clock's monotonic seconds)."""

    quota: str
    whose: str
    at: float


class Window:
    """What was within the last ``per_s`` seconds."""

    __slots__ = ("_at", "_per_s", "most")

    def __init__(self, most: int, per_s: float) -> None:
        self.most = most
        self._per_s = per_s
        self._at: deque[float] = deque()

    def count(self, now: float) -> int:
        """How much that is; what is exactly as old as the window is long isn't in it."""
        at = self._at
        while at and at[0] <= now - self._per_s:
            at.popleft()
        return len(at)

    def is_full(self, now: float) -> bool:
        """Whether one more would be too many."""
        return self.count(now) >= self.most

    def add(self, now: float) -> None:
        """One more."""
        self._at.append(now)

    def free_in_s(self, now: float) -> float:
        """How long until there is room for one."""
        return max(0.0, self._at[-self.most] + self._per_s - now) if len(self._at) >= self.most else 0.0


class _Device:
    """What was sent to one device. ``keys``: until when a message with each collapse key is kept for it."""

    __slots__ = ("at", "collapsible", "hour", "keys", "minute")

    def __init__(self, limits: FcmLimits, now: float) -> None:
        self.minute = Window(limits.device_minute, 60.0)
        self.hour = Window(limits.device_hour, 3600.0)
        self.collapsible = float(limits.collapsible_burst)
        self.at = now
        self.keys: dict[str, float] = {}


class FcmQuotas:
    """Counts what is taken, and notes in ``exceeded`` what would have been too much; that isn't taken."""

    def __init__(self, clock: Clock, limits: FcmLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._project = Window(limits.project_minute, 60.0)
        self._devices: dict[str, _Device] = {}
        self.exceeded: list[Exceeded] = []

    def take(
        self, project: str, token: str, *, collapsible: bool, collapse_key: str | None, ttl_s: float
    ) -> tuple[Exceeded, float] | None:
        """Count one message; None: it is within the quotas. Else which one isn't, and when there is room again."""
        now, limits = self._clock.monotonic(), self._limits
        device = self._devices.get(token)
        if device is None:
            device = self._devices[token] = _Device(limits, now)
        if self._project.is_full(now):
            return self._note("project_minute", project, now), self._project.free_in_s(now)
        for name, window in (("device_minute", device.minute), ("device_hour", device.hour)):
            if window.is_full(now):
                return self._note(name, token, now), window.free_in_s(now)
        if collapsible:
            regained = (now - device.at) / limits.collapsible_every_s
            device.collapsible = min(limits.collapsible_burst, device.collapsible + regained)
            device.at = now
            if device.collapsible < 1 - 1e-9:
                return self._note("collapsible", token, now), (1 - device.collapsible) * limits.collapsible_every_s
            device.collapsible -= 1
        self._project.add(now)
        device.minute.add(now)
        device.hour.add(now)
        if collapse_key is not None:
            self._keep(device, collapse_key, token, now, ttl_s)
        return None

    def _keep(self, device: _Device, key: str, token: str, now: float, ttl_s: float) -> None:
        """Keep one message of each key, as for a phone that is off. With too many, one is lost, and nothing says so."""
        device.keys = {name: until for name, until in device.keys.items() if until > now}
        device.keys.pop(key, None)
        if len(device.keys) >= self._limits.collapse_keys:
            self._note("collapse_keys", token, now)
            del device.keys[next(iter(device.keys))]
        device.keys[key] = now + ttl_s

    def _note(self, quota: str, whose: str, now: float) -> Exceeded:
        exceeded = Exceeded(quota, whose, now)
        self.exceeded.append(exceeded)
        return exceeded
