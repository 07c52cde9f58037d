"""Which pushes have to wait because a device had enough: the paces of each platform's devices, and their lines."""

from typing import NamedTuple

from hubd.core.users import UserSet
from hubd.hooks.push import Limits, Push, PushBackend
from hubd.push.jobs import Part
from hubd.push.lines import Lines
from hubd.push.pace import ENTRIES, FULL_S, DevicePaces

_ANY = 10_000_000
_YIELD = 0.1
"""Who has just gone has the next one of his line wait a little longer: so other lines find a gap between."""


class Queued(NamedTuple):
    """It has to wait so long, in this line of its device; an empty name: in none."""

    wait_s: float
    line: str


class Pacing:
    """The paces of all platforms."""

    def __init__(self) -> None:
        self._paces: dict[str, tuple[Limits, DevicePaces]] = {}
        self._entries = ENTRIES
        self.lines = Lines()

    def apply(self, devices: int) -> None:
        """There may be so many devices (0: any number): that is what the tables have room for."""
        self._entries = max(ENTRIES, devices or _ANY)
        for _, paces in self._paces.values():
            paces.resize(self._entries)

    def _of(self, backend: PushBackend) -> DevicePaces:
        limits, found = self._paces.get(backend.platform, (None, None))
        if found is None or limits != backend.limits:
            found = DevicePaces(backend.limits, self._entries)
            self._paces[backend.platform] = backend.limits, found
        return found

    def admit(
        self,
        backend: PushBackend,
        device: int,
        push: Push,
        line: str,
        now: float,
        *,
        is_urgent: bool = False,
        phone: int | None = None,
    ) -> Push | Queued:
        """The push as it may be sent now, or how long it has to wait.

        ``line``: out of which it was let just now; who comes anew has to wait behind those who are there. ``phone``:
        what stays the same when the device gets another number, with another owner.
        """
        phone = device if phone is None else phone
        paces = self._of(backend)
        if not paces.is_any and not line:
            return push
        look = paces.look(phone, push, now, is_urgent=is_urgent)
        if look.wait_s > 0 or (not line and self.lines.is_there(device, look.line)):
            if not line and self.lines.is_full and not self.lines.is_there(device, look.line):
                return Queued(max(FULL_S, look.wait_s), "")
            return Queued(look.wait_s, line or look.line)
        paces.taken(phone, look.push, now)
        if line:
            after = paces.look(phone, push, now, is_urgent=is_urgent)
            self.lines.went(device, line, now + after.wait_s + _YIELD * after.interval_s)
        return look.push

    def left(self, part: Part, devices: UserSet, now: float) -> None:
        """These devices, which waited in this part, don't any more."""
        if part.key.is_out:
            for device in devices:
                self.lines.went(device, part.key.line, now)
