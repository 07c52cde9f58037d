"""A disk in memory, and the store on it: it forgets in a crash what isn't synced, can be slow, and can fail."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import NamedTuple

from hubd.core import stored
from hubd.core.stored import Fact, Kept, Lane, Row, Scheduled, StoredAnswer, StoredDevice, Write
from hubd.core.subscriptions import Grant
from hubd.core.users import UserNumbers, UserSet
from hubd.storing import Loaded, StoreError
from tests.simulation.loop import VirtualLoop

WAITING = 500
"""How many writes wait at most."""
BATCH = 8
"""How many of them go into one transaction."""
RETRY_S = 0.5


class Disk:
    """What is synced, and how the device is doing. ``kept`` counts for each id the rows that there ever were."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self.random = Random(seed)
        self.rows: dict[str, Row] = {}
        self.facts: dict[str, list[Fact]] = {}
        self.closed: dict[str, int] = {}
        self.answers: dict[tuple[str, str, str], StoredAnswer] = {}
        self.scheduled: dict[str, Scheduled] = {}
        self.subscriptions: dict[tuple[str, str], Grant] = {}
        self.revoked: dict[str, float] = {}
        self.devices: dict[str, StoredDevice] = {}
        self.secrets: dict[str, bytes] = {}
        self.users: dict[int, str] = {}
        self.next_number = 1
        self.kept: dict[str, list[str]] = {}
        self.keys: dict[str, list[str]] = {}
        """The same, with what was released."""
        self.facts_of: dict[tuple[str, str, str], float] = {}
        """By kind, id and user: since when a fact is synced."""
        self.commit_s = 0.005
        self.fails_until = self.slow_until = 0.0
        self.was_in_trouble = False

    @property
    def is_failing(self) -> bool:
        return self.loop.now < self.fails_until

    def commit_takes(self) -> float:
        slow = 3.0 if self.loop.now < self.slow_until else 1.0
        return self.random.uniform(0.2, 2.0) * self.commit_s * slow**5

    def apply(self, write: Write) -> None:
        """It is synced."""
        match write:
            case stored.Keep():
                self._keep(write)
            case stored.Note():
                self._fact(write.fact)
            case stored.Close():
                self.closed[write.key] = write.keep_until
                if not write.keep_until:
                    self.rows.pop(write.key, None)
                    self.facts.pop(write.key, None)
            case stored.Remember():
                self._remember(write.answer)
            case stored.Schedule():
                self.scheduled[write.call.key] = write.call
            case stored.Unschedule():
                self.scheduled.pop(write.key, None)
            case stored.Subscribe():
                self.subscriptions[write.user, write.topic] = write.grant
            case stored.Unsubscribe():
                self.subscriptions.pop((write.user, write.topic), None)
            case stored.Revoke():
                self.revoked[write.user] = max(write.since, self.revoked.get(write.user, 0.0))
            case stored.PutDevice() | stored.DropDevice() | stored.KeepSecret():
                self._apply_to_devices(write)

    def _apply_to_devices(self, write: stored.PutDevice | stored.DropDevice | stored.KeepSecret) -> None:
        match write:
            case stored.PutDevice():
                self.devices[write.device.id] = write.device
            case stored.DropDevice():
                self.devices.pop(write.id, None)
            case stored.KeepSecret():
                self.secrets[write.name] = write.value

    def _keep(self, write: stored.Keep) -> None:
        row = write.row
        self.rows[row.key] = row
        self.facts[row.key] = list(write.facts)
        self.keys.setdefault(row.id, []).append(row.key)
        if write.released is None:
            self.kept.setdefault(row.id, []).append(row.key)
        else:
            self._fact(write.released)
        if write.answer is not None:
            self._remember(write.answer)
        if write.instead_of is not None:
            self.scheduled.pop(write.instead_of, None)

    def _fact(self, fact: Fact) -> None:
        if (row := self.rows.get(fact.key)) is None:
            return
        self.facts[fact.key].append(fact)
        for number in fact.users:
            self.facts_of.setdefault((fact.kind, row.id, self.users[number]), self.loop.now)

    def _remember(self, answer: StoredAnswer) -> None:
        self.answers[answer.table, answer.publisher, answer.id] = answer


class _Waiting(NamedTuple):
    write: Write
    done: "asyncio.Future[None] | None"
    names: tuple[tuple[int, str], ...]


class MemoryStore:
    """The store of one life of a hub."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._loop = disk.loop
        self._numbers: UserNumbers | None = None
        self._lanes: dict[Lane, deque[_Waiting]] = {lane: deque() for lane in Lane}
        self._batch: list[_Waiting] = []
        self._is_dead = False
        self.trouble = ""
        self.most_waiting = 0

    def attach(self, numbers: UserNumbers) -> None:
        """Whose numbers the users in sets have."""
        self._numbers = numbers

    def write(self, write: Write, lane: Lane) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = self._loop.create_future()
        if self.trouble or self._count() >= WAITING:
            done.set_exception(StoreError(self.trouble or "too much waits"))
        else:
            self._put(write, lane, done)
        return done

    def note(self, write: Write) -> None:
        if self._count() < WAITING:
            self._put(write, Lane.BOOKKEEPING, None)

    def _count(self) -> int:
        return sum(map(len, self._lanes.values()))

    def _put(self, write: Write, lane: Lane, done: "asyncio.Future[None] | None") -> None:
        self._lanes[lane].append(_Waiting(write, done, self._names(write)))
        self.most_waiting = max(self.most_waiting, self._count())
        self._begin()

    def _names(self, write: Write) -> tuple[tuple[int, str], ...]:
        """Who is meant by the numbers in it."""
        assert self._numbers is not None
        named = UserSet()
        if isinstance(write, stored.Subscribe):
            return ((write.number, write.user),)
        if isinstance(write, stored.PutDevice):
            return ((write.device.number, write.device.user),)
        if isinstance(write, stored.Keep):
            named = named | write.row.everybody | write.row.may_push
            for _, users in write.row.topics:
                named = named | users
            for fact in write.facts:
                named = named | fact.users
        elif isinstance(write, stored.Note):
            named = named | write.fact.users
        return tuple([(number, self._numbers.id_of(number) or "?") for number in named])

    # Group commit

    def _begin(self) -> None:
        if self._batch or self._is_dead:
            return
        self._batch = self._take()
        if self._batch:
            self._loop.call_later(self._disk.commit_takes(), self._end)

    def _take(self) -> list[_Waiting]:
        """What goes into the next transaction: by lanes, and before each what it refers to."""
        taken: list[_Waiting] = []
        for lane, waiting in self._lanes.items():
            while waiting and len(taken) < BATCH:
                one = waiting.popleft()
                for later in list(Lane)[lane + 1 :]:
                    before = [other for other in self._lanes[later] if _refers(one.write, other.write)]
                    for other in before:
                        self._lanes[later].remove(other)
                    taken += before
                taken.append(one)
        return taken

    def _end(self) -> None:
        if self._is_dead:
            return
        batch, self._batch = self._batch, []
        if self._disk.is_failing:
            self._fail(batch)
            return
        self.trouble = ""
        self._sync(batch)
        for one in batch:
            if one.done is not None and not one.done.done():
                one.done.set_result(None)
        self._begin()

    def _sync(self, batch: list[_Waiting]) -> None:
        assert self._numbers is not None
        for one in batch:
            self._disk.users.update(one.names)
            self._disk.next_number = max(self._disk.next_number, self._numbers.next)
            self._disk.apply(one.write)

    def _fail(self, batch: list[_Waiting]) -> None:
        self.trouble = "the disk is full"
        waiting = [*batch]
        for lane in self._lanes.values():
            waiting += lane
            lane.clear()
        for one in waiting:
            if one.done is None:
                self._lanes[Lane.BOOKKEEPING].append(one)
            elif not one.done.done():
                one.done.set_exception(StoreError(self.trouble))
        self._loop.call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        if self._is_dead or self._batch:
            return
        self._begin()
        if not self._batch:  # nothing waits: try whether it can be written to
            if self._disk.is_failing:
                self._loop.call_later(RETRY_S, self._try_again)
            else:
                self.trouble = ""

    def kill(self) -> None:
        """The process is gone. What was on its way to the disk is there or isn't, as it happens."""
        self._is_dead = True
        if self._batch and not self._disk.is_failing and self._disk.random.random() < 0.5:
            self._sync(self._batch)

    # Reading

    async def load(self) -> Loaded:
        disk = self._disk
        await asyncio.sleep(disk.commit_takes())
        assert self._numbers is not None
        self._numbers.go_on_from(disk.next_number)
        for number, user in disk.users.items():
            self._numbers.put_back(number, user)
            self._numbers.hold(user)
        return Loaded(
            users=list(disk.users.items()),
            next_number=disk.next_number,
            subscriptions=[(user, topic, grant) for (user, topic), grant in disk.subscriptions.items()],
            revoked=list(disk.revoked.items()),
            answers=list(disk.answers.values()),
            scheduled=list(disk.scheduled.values()),
            devices=list(disk.devices.values()),
            secrets=dict(disk.secrets),
        )

    async def open_rows(self) -> AsyncIterator[Kept]:
        disk = self._disk
        for key, row in list(disk.rows.items()):
            if key not in disk.closed:
                yield Kept(row, tuple(disk.facts[key]), True)

    async def clean(self, now_ms: int, answers_before_ms: int) -> int:
        """Remove what isn't needed any more."""
        return 0

    async def find_meant(self, ids: Sequence[str], number: int) -> Sequence[str]:
        keys = []
        for kept in [kept for id in ids for kept in await self.find(id)]:
            kinds = {fact.kind for fact in kept.facts if number in fact.users}
            is_meant = number in kept.row.everybody or "joined" in kinds
            if is_meant and not kinds & {"held", "dropped", "released", "retracted"}:
                keys.append(kept.row.key)
        return keys

    async def find_rows(self, id: str) -> Sequence[Kept]:
        """The same, with more than is asked for."""
        return await self.find(id)

    async def find(self, id: str) -> Sequence[Kept]:
        disk = self._disk
        await asyncio.sleep(disk.commit_takes())
        if disk.is_failing:
            raise StoreError("the disk can't be read")
        found = [
            Kept(row, tuple(disk.facts[key]), key not in disk.closed) for key, row in disk.rows.items() if row.id == id
        ]
        return found[::-1]

    async def close(self, within_s: float) -> None:
        until = self._loop.now + within_s
        while (self._batch or self._count()) and self._loop.now < until and not self._is_dead:
            await asyncio.sleep(0.01)
        self._is_dead = True


def _refers(write: Write, other: Write) -> bool:
    key = _key(write)
    return bool(key) and key == _key(other)


def _key(write: Write) -> str:
    match write:
        case stored.Keep():
            return write.row.key
        case stored.Note():
            return write.fact.key
        case stored.Close() | stored.Unschedule():
            return write.key
        case stored.Schedule():
            return write.call.key
        case stored.PutDevice():
            return write.device.id
        case stored.DropDevice():
            return write.id
    return ""
