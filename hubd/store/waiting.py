"""Writes that wait for a transaction: in three lanes, within limits, and never before one that they refer to."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from hubd.core.stored import (
    Close,
    Fact,
    Keep,
    Lane,
    Note,
    PutDevice,
    Remember,
    Schedule,
    Unschedule,
)
from hubd.core.users import Snapshot, UserSet
from hubd.store.own import AnyWrite

_WRITE_BYTES = 500  # the objects of one write


@dataclass(frozen=True, slots=True)
class Limits:
    """How much waits and how long, in counts, bytes and seconds."""

    writes: int = 10_000
    bytes: int = 64 << 20
    notes: int = 100_000
    batch: int = 500
    batch_bytes: int = 8 << 20
    set_aside: int = 50
    """So many of a batch are for those behind publishes, however many of those wait."""
    taken_s: float = 5.0
    """How long a write may wait until it is taken into a transaction."""
    commit_s: float = 10.0
    patience_s: float = 2.0
    """How long those who wait go on waiting when nothing can be stored any more."""
    open_s: float = 5.0
    check_s: float = 600.0
    """How long it may take to look through a file that may be damaged."""
    read_s: float = 5.0
    retry_s: tuple[float, float] = (0.05, 2.0)
    """From which pause to which one a database that is away is tried again."""


class Waiting:
    """One write that waits. ``future`` is None where nobody waits for it."""

    __slots__ = ("future", "is_refused", "lane", "since", "size", "taken", "tries", "write")

    def __init__(
        self, write: AnyWrite, lane: Lane, future: "asyncio.Future[None] | None", size: int, since: float
    ) -> None:
        self.write = write
        self.lane = lane
        self.future = future
        self.size = size
        self.since = since
        self.taken = False
        self.tries = 0
        self.is_refused = False


class Queue:
    """The three lanes. Those that somebody waits for and those that nobody does are limited apart."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lanes: tuple[deque[Waiting], ...] = tuple(deque() for _ in Lane)
        self._begun: dict[str, Waiting] = {}
        """By their keys, what waiting writes begin, and later ones refer to."""
        self.writes = 0
        self.notes = 0
        self.bytes = 0
        self.per_lane = [0] * len(Lane)

    def __len__(self) -> int:
        return self.writes + self.notes

    def __iter__(self) -> Iterator[Waiting]:
        for lane, queue in zip(Lane, self._lanes, strict=True):
            yield from (one for one in queue if one.lane is lane and not one.taken)

    def has_room(self, size: int, *, is_note: bool) -> bool:
        """Whether one more may wait."""
        if self.bytes + size > self._limits.bytes:
            return False
        return self.notes < self._limits.notes if is_note else self.writes < self._limits.writes

    def put(self, waiting: Waiting) -> None:
        """One more waits; what it refers to is drawn into its lane, before it."""
        self._draw(waiting.write, waiting.lane)
        self._lanes[waiting.lane].append(waiting)
        if (key := begun_by(waiting.write)) is not None:
            self._begun[key] = waiting
        self._count(waiting, 1)

    def put_back(self, them: list[Waiting]) -> None:
        """These, which were taken, wait again, in front of all others; limits don't count for them."""
        for waiting in reversed(them):
            waiting.taken = False
            self._lanes[waiting.lane].appendleft(waiting)
            if (key := begun_by(waiting.write)) is not None:
                self._begun.setdefault(key, waiting)
            self._count(waiting, 1)

    def take(self) -> list[Waiting]:
        """The next ones for one transaction, in the order in which they are to be carried out."""
        batch: list[Waiting] = []
        size = 0
        is_cut = False
        for lane, queue in zip(Lane, self._lanes, strict=True):
            most = self._limits.batch - (0 if lane is Lane.BOOKKEEPING else self._limits.set_aside)
            if lane is Lane.ACK:
                most += self._limits.set_aside // 2
            while queue and len(batch) < most and size < self._limits.batch_bytes:
                waiting = queue[0]
                if waiting.lane is not lane or waiting.taken:
                    queue.popleft()
                    continue
                if is_cut and self._is_behind(waiting):
                    break
                queue.popleft()
                self._leave(waiting)
                if waiting.future is None or not waiting.future.done():  # else whoever waited went away
                    batch.append(waiting)
                    size += waiting.size
            is_cut = is_cut or bool(queue)
        return batch

    def _is_behind(self, waiting: Waiting) -> bool:
        """Whether what it refers to still waits: in a lane before its own, which wasn't taken to the end."""
        return any(key in self._begun for key in referred_by(waiting.write))

    def expired(self, now: float) -> Iterator[Waiting]:
        """Those that somebody has waited for too long; they are taken out."""
        for lane in Lane:
            for waiting in list(self._lanes[lane]):
                if now - waiting.since < self._limits.taken_s:
                    break
                if waiting.future is not None and waiting.lane is lane and not waiting.taken:
                    self._leave(waiting)
                    yield waiting

    def waited_for(self) -> Iterator[Waiting]:
        """All that somebody waits for; they are taken out."""
        for lane in Lane:
            for waiting in list(self._lanes[lane]):
                if waiting.future is not None and waiting.lane is lane and not waiting.taken:
                    self._leave(waiting)
                    yield waiting

    def _draw(self, write: AnyWrite, lane: Lane) -> None:
        """Move what a write refers to into its lane, if it waits in one that goes later; and so on."""
        for key in referred_by(write):
            before = self._begun.get(key)
            if before is not None and not before.taken and before.lane > lane:
                self._draw(before.write, lane)
                self.per_lane[before.lane] -= 1
                before.lane = lane  # where it stood before it is passed over
                self.per_lane[lane] += 1
                self._lanes[lane].append(before)

    def _leave(self, waiting: Waiting) -> None:
        waiting.taken = True
        key = begun_by(waiting.write)
        if key is not None and self._begun.get(key) is waiting:
            del self._begun[key]
        self._count(waiting, -1)

    def _count(self, waiting: Waiting, by: int) -> None:
        if waiting.future is None:
            self.notes += by
        else:
            self.writes += by
        self.bytes += by * waiting.size
        self.per_lane[waiting.lane] += by


def begun_by(write: AnyWrite) -> str | None:
    """The key of what a write begins, and others refer to."""
    if type(write) is Keep:
        return write.row.key
    return write.call.key if type(write) is Schedule else None


def referred_by(write: AnyWrite) -> tuple[str, ...]:
    """The keys of what must have been stored before this write."""
    match write:
        case Note(fact):
            return (fact.key,)
        case Close(key) | Unschedule(key):
            return (key,)
        case Keep(instead_of=instead_of, released=released):
            if instead_of is None and released is None:
                return ()
            return tuple(key for key in (instead_of, released and released.key) if key is not None)
    return ()


def size_of(write: AnyWrite) -> int:
    """About how many bytes of memory a waiting write holds."""
    match write:
        case Keep(row, facts, _, _, released):
            sets = _sets_size(row.everybody) + _sets_size(row.may_push)
            sets += sum(_sets_size(users) for _, users in row.topics)
            about = (*facts, released) if released is not None else facts
            return 2 * _WRITE_BYTES + len(row.body) + 80 * len(row.channels) + sets + sum(map(_fact_size, about))
        case Note(fact):
            return _WRITE_BYTES + _fact_size(fact)
        case Schedule(call):
            return _WRITE_BYTES + len(call.call)
        case PutDevice(device):
            return _WRITE_BYTES + len(device.address)
        case Remember():
            return 2 * _WRITE_BYTES
    return _WRITE_BYTES


def _fact_size(fact: Fact) -> int:
    return _sets_size(fact.users) + len(fact.detail) + 100


def _sets_size(users: UserSet) -> int:
    return users.size if type(users) is Snapshot else 2 * len(users) + 100
