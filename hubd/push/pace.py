"""How fast a push service may be called: never more than it takes, in any stretch of time.

The rule is the generic cell rate algorithm: a first burst, then one call each interval. Within any ``per_s`` seconds
that makes the burst at most, and one for each interval that fits into them.
"""

from collections import OrderedDict
from math import inf
from typing import NamedTuple

from hubd.hooks.push import Limits, Push, Rate

ENTRIES = 200_000
"""So many devices each table has room for, or as many as there may be; when it is full, others wait until one of those
is idle."""
FULL_S = 10.0
"""How long they wait before they ask again."""
_BURST_SHARE = 10
"""Of what is allowed, one in so many may come at once; the rest comes evenly."""
_MORE = 1.001
"""So much longer than by the rule is an interval, so that a window that holds one more call by rounding doesn't."""
_NOTHING_S = 1e-6


class Pace(NamedTuple):
    """At most ``burst`` at once, then one each ``interval_s``."""

    burst: int
    interval_s: float

    @classmethod
    def of(cls, rate: Rate) -> "Pace":
        """The pace that keeps to this rate in every stretch of time."""
        burst = max(1, rate.most // _BURST_SHARE)
        return cls(burst, rate.per_s * _MORE / max(1, rate.most - burst + 1))

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
        self.entries = entries
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

    def has_room(self, now: float) -> bool:
        """Whether one more finds a place."""
        self._let_go(now)
        return len(self._free_at) < self.entries

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
        self.entries = entries
        self._kept: OrderedDict[int, tuple[tuple[int, float], ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def may_have(self, device: int, key: str, now: float) -> bool:
        """Whether a push with this key is none too many."""
        kept = self._live(device, now)
        if not kept:
            self._let_go(now)
            return device in self._kept or len(self._kept) < self.entries
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


class Look(NamedTuple):
    """How it stands with one push: as it may go, in which line, and how many seconds it has to wait, or 0.

    ``interval_s``: what one more costs at that pace which it waits for.
    """

    push: Push
    line: str
    wait_s: float
    interval_s: float


class DevicePaces:
    """The paces of all devices of one backend."""

    def __init__(self, limits: Limits, entries: int = ENTRIES) -> None:
        self._rates = [Table(Pace.of(rate), entries) for rate in limits.per_device]
        burst, every_s = limits.collapsible_burst, limits.collapsible_every_s
        self._collapsible = Table(Pace(burst, every_s * _MORE), entries) if burst and every_s > 0 else None
        self._all_collapsible = limits.all_collapsible
        self._keys = Keys(limits.collapse_keys, entries) if limits.collapse_keys else None
        self.is_any = bool(self._rates) or self._collapsible is not None or self._keys is not None

    def resize(self, entries: int) -> None:
        """Have room for so many devices from now on."""
        for table in (*self._rates, self._collapsible, self._keys):
            if table is not None:
                table.entries = entries

    def look(self, device: int, push: Push, now: float, *, is_urgent: bool = False) -> Look:
        """Whether this may go now, or how long it has to wait."""
        push = self._with_key(device, push, now, is_urgent=is_urgent)
        line = URGENT if is_urgent else COLLAPSIBLE if self._is_collapsible(push) else PLAIN
        wait, interval = 0.0, 0.0
        for table in self._tables(push):
            if (its := table.wait(device, now)) > wait:
                wait, interval = its, table.pace.interval_s
        return Look(push, line, wait, interval)

    def taken(self, device: int, push: Push, now: float) -> None:
        """It goes."""
        for table in self._tables(push):
            table.taken(device, now)
        if self._keys is not None and push.collapse_key is not None:
            self._keys.taken(device, push.collapse_key, now + push.ttl_s, now)

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

    def _tables(self, push: Push) -> list[Table]:
        if self._collapsible is not None and self._is_collapsible(push):
            return [*self._rates, self._collapsible]
        return self._rates

    def _is_collapsible(self, push: Push) -> bool:
        return self._collapsible is not None and (self._all_collapsible or push.collapse_key is not None)
