"""How fast a push service may be called: never more than it takes, in any stretch of time.

The rule is the generic cell rate algorithm: a first burst, then one call each interval. Within any ``per_s`` seconds
that makes the burst at most, and one for each interval that fits into them.
"""

from collections import OrderedDict
from math import inf
from typing import NamedTuple

from hubd.hooks.push import Limits, Push, Rate

ENTRIES = 200_000
"""So many devices each table has; when it is full, others wait until one of those is idle."""
FULL_S = 1.0
"""How long they wait before they ask again."""
_BURST_SHARE = 10
"""Of what is allowed, one in so many may come at once; the rest comes evenly."""
_MORE = 1.001
"""So much longer than by the rule is an interval, so that a window that holds one more call by rounding doesn't."""
_NOTHING_S = 1e-6
SPREAD = 1.1
"""What waits is spread a little wider than need be: so others find a gap between."""


class Pace(NamedTuple):
    """At most ``burst`` at once, then one each ``interval_s``."""

    burst: int
    interval_s: float

    @classmethod
    def of(cls, rate: Rate) -> "Pace":
        """The pace that keeps to this rate in every stretch of time."""
        burst = max(1, rate.most // _BURST_SHARE)
        return cls(burst, rate.per_s * _MORE / (rate.most - burst + 1))

    def wait(self, free_at: float, now: float) -> float:
        """Seconds until one more may come, or 0; ``free_at`` is when everything up to now would be made good."""
        wait = free_at - (self.burst - 1) * self.interval_s - now
        return wait if wait > _NOTHING_S else 0.0

    def taken(self, free_at: float, now: float) -> float:
        """The next ``free_at``: one came."""
        return max(free_at, now) + self.interval_s


class DestinationPace:
    """The pace of one destination."""

    def __init__(self, rates: tuple[Rate, ...]) -> None:
        self._paces = [Pace.of(rate) for rate in rates]
        self._free_at = [-inf] * len(rates)

    def wait(self, now: float) -> float:
        """Seconds until one more may be sent; 0: now."""
        waits = [pace.wait(free_at, now) for pace, free_at in zip(self._paces, self._free_at, strict=True)]
        return max(waits, default=0.0)

    def taken(self, now: float) -> None:
        """One is sent."""
        self._free_at = [pace.taken(free_at, now) for pace, free_at in zip(self._paces, self._free_at, strict=True)]

    def is_idle(self, now: float) -> bool:
        """Whether it is as if nothing had ever been sent."""
        return all(free_at <= now for free_at in self._free_at)


class Table:
    """The pace of many, each for itself: those that are idle vanish, and there is a limit."""

    def __init__(self, pace: Pace, entries: int = ENTRIES) -> None:
        self.pace = pace
        self._entries = entries
        self._free_at: OrderedDict[int, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._free_at)

    def wait(self, device: int, now: float) -> float:
        """Seconds until this one may have one more; 0: now."""
        free_at = self._free_at.get(device)
        if free_at is None:
            return 0.0 if self.has_room(now) else FULL_S
        return self.pace.wait(free_at, now)

    def knows(self, device: int) -> bool:
        """Whether this one has had any lately."""
        return device in self._free_at

    def free_at(self, device: int) -> float:
        """When everything that this one had is made good."""
        return self._free_at.get(device, -inf)

    def has_room(self, now: float) -> bool:
        """Whether one more finds a place."""
        self._let_go(now)
        return len(self._free_at) < self._entries

    def taken(self, device: int, now: float) -> None:
        """This one has one more."""
        self._free_at[device] = self.pace.taken(self._free_at.get(device, -inf), now)
        self._free_at.move_to_end(device)
        self._let_go(now)

    def _let_go(self, now: float) -> None:
        """Forget a few that are idle: each call does more of it than it adds, so it goes on by itself."""
        for _ in range(3):
            if not self._free_at:
                return
            device = next(iter(self._free_at))
            if self._free_at[device] > now:
                self._free_at.move_to_end(device)
            else:
                del self._free_at[device]


class Keys:
    """Which collapse keys a service keeps for a device: at most so many at a time, each until its push expires."""

    def __init__(self, most: int, entries: int = ENTRIES) -> None:
        self._most = most
        self._entries = entries
        self._kept: OrderedDict[int, tuple[tuple[int, float], ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def may_have(self, device: int, key: str, now: float) -> bool:
        """Whether a push with this key is none too many."""
        kept = self._live(device, now)
        if not kept:
            self._let_go(now)
            return device in self._kept or len(self._kept) < self._entries
        return len(kept) < self._most or any(one == hash(key) for one, _ in kept)

    def taken(self, device: int, key: str, until: float, now: float) -> None:
        """A push with this key goes to it, which expires then."""
        name = hash(key)
        kept = self._live(device, now)
        until = max([until, *(end for one, end in kept if one == name)])
        self._kept[device] = (*((one, end) for one, end in kept if one != name), (name, until))

    def _live(self, device: int, now: float) -> tuple[tuple[int, float], ...]:
        return tuple(one for one in self._kept.get(device, ()) if one[1] > now)

    def _let_go(self, now: float) -> None:
        for _ in range(3):
            if not self._kept:
                return
            device = next(iter(self._kept))
            if self._live(device, now):
                self._kept.move_to_end(device)
            else:
                del self._kept[device]


PLAIN, URGENT, COLLAPSIBLE = "plain", "urgent", "collapsible"
"""The lines of a device: who waits in one doesn't wait for those in another."""
_AGAIN = "+"
"""What stands behind the name of the line of those who couldn't go when they thought they could. They go before those
of the first line, who don't know yet."""


class Queued(NamedTuple):
    """It has to wait so long, in this line of its device."""

    wait_s: float
    line: str


class DevicePaces:
    """The paces of all devices of one backend, and who waits for them."""

    def __init__(self, limits: Limits, entries: int = ENTRIES) -> None:
        self._rates = [Table(Pace.of(rate), entries) for rate in limits.per_device]
        burst, every_s = limits.collapsible_burst, limits.collapsible_every_s
        self._collapsible = Table(Pace(burst, every_s * _MORE), entries) if burst and every_s > 0 else None
        self._all_collapsible = limits.all_collapsible
        self._keys = Keys(limits.collapse_keys, entries) if limits.collapse_keys else None
        self._lines: dict[tuple[int, str], _Line] = {}
        self.is_any = bool(self._rates or self._collapsible or self._keys)

    def admit(self, device: int, push: Push, line: str, now: float, *, is_urgent: bool = False) -> Push | Queued:
        """The push as it may be sent now, and then it is counted; or how long it has to wait.

        ``line``: where it has waited before; who hasn't yet comes behind those who do.
        """
        push = self._with_key(device, push, now, is_urgent=is_urgent)
        tables = self._tables(push)
        waits = [table.wait(device, now) for table in tables]
        wait = max(waits, default=0.0)
        first = line.removesuffix(_AGAIN) or self._line_of(push, is_urgent=is_urgent)
        behind = self._behind(device, first, line)
        if wait <= 0 and not behind:
            for table in tables:
                table.taken(device, now)
            if self._keys is not None and push.collapse_key is not None:
                self._keys.taken(device, push.collapse_key, now + push.ttl_s, now)
            self.left(device, line)
            return push
        if line.endswith(_AGAIN):
            return Queued(wait, line)
        self.left(device, line)
        return self._wait_in(device, behind or (first + _AGAIN if line else first), tables, wait, now)

    def left(self, device: int, line: str) -> None:
        """One of those who waited in a line doesn't any more; an empty name is none."""
        there = self._lines.get((device, line))
        if there is not None:
            there.count -= 1
            if there.count <= 0:
                del self._lines[device, line]

    def _wait_in(self, device: int, line: str, tables: list[Table], wait: float, now: float) -> Queued:
        """Wait until all who wait there will have gone, as far as that can be said."""
        there = self._lines.get((device, line))
        if there is None:
            there = self._lines[device, line] = _Line()
        there.count += 1
        for table in tables:
            free_at = max(there.free_at.get(table, -inf), table.free_at(device))
            there.free_at[table] = free_at
            wait = max(wait, table.pace.wait(free_at, now))
        for table in tables:
            there.free_at[table] = max(there.free_at[table], now + wait) + table.pace.interval_s * SPREAD
        return Queued(wait, line)

    def _behind(self, device: int, first: str, line: str) -> str:
        """The line at whose end it has to wait, whatever the pace allows; empty: none."""
        if line.endswith(_AGAIN):
            return ""
        if not line and (device, first) in self._lines:
            return first
        return first + _AGAIN if (device, first + _AGAIN) in self._lines else ""

    def _with_key(self, device: int, push: Push, now: float, *, is_urgent: bool) -> Push:
        """Without its collapse key, where that is one too many, or would have an urgent one wait."""
        key = push.collapse_key
        if key is None:
            return push
        may = self._keys is None or self._keys.may_have(device, key, now)
        if may and self._collapsible is not None and not self._all_collapsible:
            may = self._collapsible.knows(device) or self._collapsible.has_room(now)
            may = may and not (is_urgent and self._collapsible.wait(device, now) > 0)
        return push if may else push._replace(collapse_key=None)

    def _line_of(self, push: Push, *, is_urgent: bool) -> str:
        if is_urgent:
            return URGENT
        return COLLAPSIBLE if self._is_collapsible(push) else PLAIN

    def _tables(self, push: Push) -> list[Table]:
        if self._collapsible is not None and self._is_collapsible(push):
            return [*self._rates, self._collapsible]
        return self._rates

    def _is_collapsible(self, push: Push) -> bool:
        return self._collapsible is not None and (self._all_collapsible or push.collapse_key is not None)


class _Line:
    """How many wait in it, and the ``free_at`` of each table as it will be when they have gone."""

    __slots__ = ("count", "free_at")

    def __init__(self) -> None:
        self.count = 0
        self.free_at: dict[Table, float] = {}
