"""One destination of pushes, a host or an app of a push service: its lanes, its pace, its pauses and its breaker."""

import logging
from collections.abc import Iterator
from math import inf
from random import Random

from hubd.counts import PushCounts
from hubd.hooks.push import Limits, PushBackend
from hubd.log_events import log_event
from hubd.push.jobs import Job, Part, PartKey, Waiting
from hubd.push.lanes import Lanes
from hubd.push.pace import DestinationPace

log = logging.getLogger("hubd.push")

DESTINATIONS = 200
"""So many are told apart by their names; what is more is treated as one for each platform."""
OTHERS = "others"
FAILURES, FAILED_USERS = 5, 3
"""After so many failures in a row that are its own, with so many users, a destination has a pause. One user with bad
devices doesn't stop the pushes of all others: those devices have pauses of their own."""
_USERS_SHARE = 8
"""One user has at most so great a part of the room: an eighth."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
LONGEST_ASKED_S = 86_400.0
"""No pause that a service asks for is longer."""
_NAME_CHARS = 100


class Destination(Waiting):
    """Where pushes go together: whatever stops one of them here is likely to stop the others."""

    def __init__(self, platform: str, name: str, limits: Limits, counts: PushCounts, number: int) -> None:
        self.platform = platform
        self.name = name
        self.number = number
        self.limits = limits
        self.lanes: Lanes[PartKey, Part] = Lanes()
        self._users: dict[int, int] = {}  # how many are under way, by the user's number
        self._aside: dict[int, dict[PartKey, Part]] = {}
        self._failed: dict[int, None] = {}  # the users in the row of failures
        self.parked: dict[PartKey, Part] = {}
        """What waits for the pace of devices."""
        self.under_way = 0
        self.asked_at = -inf
        self.waiting = 0
        self._pace = DestinationPace(limits.per_destination)
        self._counts = counts
        self._failures = 0
        self._pauses = 0
        self.paused_until = -inf
        self.is_paused = False
        """From when it is paused until one push has shown that it works again."""
        self.period = 0
        """How often it was paused: an answer to what was begun before counts as no failure after."""

    def apply(self, limits: Limits) -> None:
        """Go by these limits from now on."""
        if limits != self.limits:
            self._pace = DestinationPace(limits.per_destination)
            self.limits = limits

    def park(self, job: Job, device: int, key: PartKey) -> Part:
        """A device waits for its pace; gives the part that it is in."""
        part = self.parked.get(key)
        if part is None:
            part = Part(job, self, key)
            part.move_to(self.parked, key)
        part.put_one(device)
        return part

    def let_out(self, part: Part, device: int) -> None:
        """Its pace allows it: it waits for its turn."""
        part.take_one(device)
        out = Part(part.job, self, part.key._replace(is_out=True))
        out.put_one(device)
        self.put(out)

    def put(self, part: Part) -> None:
        """Devices wait for their turn here, together with those that wait for just the same."""
        lane = self.lanes.lane(part.job.priority)
        there = lane.get(part.key)
        if there is None:
            part.move_to(lane, part.key)
        elif there is not part:
            there.put(part.take_out(part.devices))

    def room(self, now: float) -> int:
        """How many more pushes may be under way at once: just one where it is to show that it works again."""
        if now < self.paused_until:
            return 0
        return (1 if self.is_paused else max(1, self.limits.at_once)) - self.under_way

    def wait(self, now: float) -> float:
        """Seconds for which nothing may be begun; 0: something may."""
        return max(0.0, self.paused_until - now, self._pace.wait(now))

    def has_room_for(self, user: int) -> bool:
        """Whether one more may be under way to this user (by number): nobody takes all the room alone."""
        return self._users.get(user, 0) < max(2, self.limits.at_once // _USERS_SHARE)

    def set_aside(self, job: Job, device: int, key: PartKey, user: int) -> None:
        """It waits until one that is under way to the same user has ended."""
        parts = self._aside.setdefault(user, {})
        part = parts.get(key)
        if part is None:
            part = Part(job, self, key)
            part.move_to(parts, key)
        part.put_one(device)

    def _take_back(self, user: int) -> None:
        """Room for this user: for one, or for all where nothing is under way to him that would end."""
        parts = self._aside.get(user, {})
        while parts:
            part = next(iter(parts.values()))
            back = Part(part.job, self, part.key)
            back.put_one(part.take_first())
            self.put(back)
            if user in self._users:
                break
        if not parts:
            self._aside.pop(user, None)

    def began(self, now: float, user: int) -> None:
        """A push is under way to this user (by number)."""
        self.under_way += 1
        self._users[user] = self._users.get(user, 0) + 1
        self._counts.under_way[self.platform] += 1
        self._pace.taken(now)

    def ended(self, user: int) -> None:
        """It isn't any more."""
        self.under_way -= 1
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user]
        self._take_back(user)
        self._counts.under_way[self.platform] -= 1

    def worked(self, period: int) -> None:
        """It answered, whatever about this one push, which was begun in this period."""
        self._failures = 0
        self._failed.clear()
        if self.is_paused and period == self.period:
            self._pauses = 0
            self.is_paused = False
            self.paused_until = -inf
            self._counts.paused[self.platform] -= 1
            log_event(log, "push_resumed", platform=self.platform, destination=self.name)

    def failed(
        self, now: float, period: int, why: str, retry_after_s: float | None, random: Random, user: int = 0
    ) -> None:
        """It didn't, or asks everybody to wait. ``period`` is that in which the push to this user was begun."""
        if retry_after_s is not None:
            self._pause(now, min(max(FIRST_PAUSE_S, retry_after_s), LONGEST_ASKED_S), why)
            return
        if period != self.period:
            return
        self._failures += 1
        if len(self._failed) < FAILED_USERS:
            self._failed[user] = None
        if self.is_paused or (self._failures >= FAILURES and len(self._failed) >= FAILED_USERS):
            longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._pauses, 10))
            self._pauses += 1
            self._pause(now, longest * random.uniform(0.5, 1.0), why)

    def _pause(self, now: float, seconds: float, why: str) -> None:
        self.period += 1
        self._failures = 0
        self._failed.clear()
        self.paused_until = max(self.paused_until, now + seconds)
        if not self.is_paused:
            self.is_paused = True
            self._counts.paused[self.platform] += 1
            log_event(
                log,
                "push_paused",
                platform=self.platform,
                destination=self.name,
                reason=why,
                seconds=round(self.paused_until - now, 1),
            )

    def is_idle(self, now: float) -> bool:
        """Whether it could be forgotten, and nobody would see it."""
        nothing = not self.under_way and not self.waiting and not self.lanes
        nothing = nothing and self.asked_at < now  # else somebody is just about to put something there
        return nothing and not self.is_paused and not self._failures and self._pace.is_idle(now)


class Destinations:
    """All destinations, by platform and name."""

    def __init__(self, counts: PushCounts, most: int = DESTINATIONS) -> None:
        self._counts = counts
        self._most = most
        self._found: dict[tuple[str, str], Destination] = {}
        self._count = 0

    def __iter__(self) -> Iterator[Destination]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def of(self, backend: PushBackend, name: str, now: float) -> Destination:
        """The one with this name, or that of all others if there are too many."""
        platform, name = backend.platform, name[:_NAME_CHARS]
        found = self._found.get((platform, name))
        if found is None:
            if len(self._found) >= self._most:
                self._forget_idle(now)
            if len(self._found) >= self._most:
                name = OTHERS
            found = self._found.get((platform, name))
        if found is None:
            self._count += 1
            found = Destination(platform, name, backend.limits, self._counts, self._count)
            self._found[platform, name] = found
        elif found.limits is not backend.limits:
            found.apply(backend.limits)
        found.asked_at = now
        return found

    def _forget_idle(self, now: float) -> None:
        for key, one in list(self._found.items()):
            if one.is_idle(now):
                del self._found[key]
