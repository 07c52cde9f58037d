"""The store in a database: what it is given goes to the writer, reading has connections of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from hubd.clock import Clock
from hubd.core.stored import Close, Kept, Lane, Write
from hubd.core.users import UserNumbers
from hubd.log_events import log_event
from hubd.store import reading
from hubd.store.batch import sets_of
from hubd.store.database import Database
from hubd.store.forgetting import Forgetting
from hubd.store.known import KnownUsers
from hubd.store.migrating import migrate
from hubd.store.own import AnyWrite, Forget, ForgetUser
from hubd.store.waiting import Limits, Queue, Waiting, size_of
from hubd.store.words import describe
from hubd.store.writer import Sleep, StoreCounts, Writer
from hubd.storing import Loaded, StoreError
from hubd.tasks import Tasks

log = logging.getLogger("hubd.store")

CLEAN_SLICE = 500
CLEAN_MOST = 10_000
"""How much one ``clean`` removes at most, of each kind."""
PURGE_MOST = 100_000
"""How many users are forgotten at one start, at most."""
_READERS = 4
_LOAD_S = 300.0
_END_S = 0.5
"""How long a database may take to say goodbye where all the time was used up."""

_Read = TypeVar("_Read")


class SqlStore:
    """``hubd.storing.Store`` in SQLite or PostgreSQL."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        numbers: UserNumbers,
        tasks: Tasks,
        *,
        limits: Limits,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._tasks = tasks
        self._limits = limits
        self._known = KnownUsers(numbers)
        self._writer = Writer(database, self._known, clock, limits=limits, sleep=sleep)
        self._queue: Queue = self._writer.queue
        self._reading = asyncio.Semaphore(_READERS)
        self._finding = asyncio.Lock()
        self._forgetting = Forgetting(database, self._known, self._writer.waited_about, self._write)
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def open(self) -> None:
        """Bring the tables up to date and begin to write. What the database says when it can't is raised."""
        async with asyncio.timeout(_LOAD_S):
            if await migrate(self._database.engine):
                log_event(log, "store_migrated")
            async with self._database.engine.connect() as connection:
                *_, highest = await reading.read_state(connection)
        try:
            await self._writer.open(highest + 1)
        except BaseException:
            await self._writer.close()  # its connection would keep the next one out
            raise
        self._task = self._tasks.start(self._writer.run(), "store")

    @property
    def trouble(self) -> str:
        """Why nothing can be stored at the moment; empty: it can."""
        return self._writer.trouble

    @property
    def counts(self) -> StoreCounts:
        """What happened since it was opened."""
        return self._writer.counts

    @property
    def waiting(self) -> dict[str, int]:
        """How many writes wait, by the name of their lane."""
        return {lane.name.lower(): count for lane, count in zip(Lane, self._queue.per_lane, strict=True)}

    @property
    def waiting_bytes(self) -> int:
        """About how much memory they hold."""
        return self._queue.bytes

    # --- Writing

    def write(self, write: Write, lane: Lane) -> "asyncio.Future[None]":
        """Have something stored; done when it is on the disk, ``StoreError`` when it isn't and won't be.

        Whoever cancels the future before it is done doesn't want it: what somebody asked to be kept isn't, then.
        """
        return self._write(write, lane)

    def _write(self, write: AnyWrite, lane: Lane) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        size = size_of(write)
        if self._is_closing:
            why = "the hub is stopping"
        elif self._writer.trouble:
            why = self._writer.trouble
        elif not self._queue.has_room(size, is_note=False):
            why = "too much waits to be stored"
        else:
            self._put(Waiting(write, lane, future, size, self._clock.monotonic()))
            return future
        self.counts.refused += 1
        future.set_exception(StoreError(why))
        future.exception()  # that nobody may ask is no fault
        return future

    def note(self, write: Write) -> None:
        """Have something stored that nobody waits for; in trouble it is tried again and again."""
        size = size_of(write)
        if self._is_closing or not self._queue.has_room(size, is_note=True):
            self.counts.lost += 1
            return
        self._put(Waiting(write, Lane.BOOKKEEPING, None, size, self._clock.monotonic()))

    def _put(self, waiting: Waiting) -> None:
        self._known.meet(sets_of(waiting.write))
        self._queue.put(waiting)
        self._writer.wake()

    # --- Reading

    async def _read(self, read: Callable[[AsyncConnection], Awaitable[_Read]], within_s: float) -> _Read:
        try:
            async with asyncio.timeout(within_s), self._reading, self._database.engine.connect() as connection:
                return await read(connection)
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(describe(error)) from None

    async def load(self) -> Loaded:
        """What there is, at the start. The numbers of users that it was given know all of them then, too."""
        return await self._read(self._load, _LOAD_S)

    async def _load(self, connection: AsyncConnection) -> Loaded:
        users = await reading.read_users(connection)
        _, next_number, _, _ = await reading.read_state(connection)
        if not await reading.is_much(connection):
            referred = await reading.referred_users(connection)
            gone = [number for number, _ in users if number not in referred][:PURGE_MOST]
            await self._forget_users(gone)
            forgotten = dict.fromkeys(gone)
            users = [(number, id) for number, id in users if number not in forgotten]
        self._known.put_back(users, next_number)
        return Loaded(
            users,
            next_number,
            await reading.read_subscriptions(connection),
            await reading.read_revoked(connection),
            await reading.read_answers(connection),
            await reading.read_scheduled(connection),
            await reading.read_devices(connection),
            await reading.read_secrets(connection),
        )

    async def _forget_users(self, numbers: list[int]) -> None:
        for place in range(0, len(numbers), CLEAN_SLICE):
            slice_ = numbers[place : place + CLEAN_SLICE]
            await asyncio.gather(*(self._write(ForgetUser(number), Lane.BOOKKEEPING) for number in slice_))

    async def open_rows(self) -> AsyncIterator[Kept]:
        """The notifications about which something is open, the oldest first."""
        after = 0
        while found := await self._read(partial(reading.read_open, after=after), _LOAD_S):
            for _, kept in found:
                yield kept
            after = found[-1][0]

    async def find(self, id: str) -> Sequence[Kept]:
        """The notifications with this id, the latest first; ``StoreError`` when it can't be read."""
        return await self._read(partial(reading.read_by_id, id=id, turn=self._finding), self._limits.read_s)

    async def find_rows(self, id: str) -> Sequence[Kept]:
        """The same without what became of them since they were kept."""
        return await self._read(partial(reading.read_by_id, id=id), self._limits.read_s)

    async def find_meant(self, ids: Sequence[str], number: int) -> Sequence[str]:
        """The keys of those with these ids that a user was meant to get, and may see; ``StoreError`` as above."""
        return await self._read(partial(reading.read_meant, ids=ids, number=number), self._limits.read_s)

    # --- Cleaning up and ending

    async def clean(self, now: int, answers_before: int) -> int:
        """Remove closed notifications whose time is over (``now``: Unix ms), and answers from before the other time.

        In slices, at most ``CLEAN_MOST`` of each; gives how many there were. ``StoreError`` when it can't be done now.
        Users to whom nothing refers any more are forgotten, too, where there are many.
        """
        removed = 0
        for _ in range(CLEAN_MOST // CLEAN_SLICE):
            closed = await self._read(partial(reading.closed_before, now=now, limit=CLEAN_SLICE), self._limits.read_s)
            old = await self._read(
                partial(reading.answers_before, before=answers_before, limit=CLEAN_SLICE), self._limits.read_s
            )
            writes: list[AnyWrite] = [Close(key) for key in closed]
            writes += [Forget(*key, answers_before) for key in old]
            await asyncio.gather(*(self._write(write, Lane.BOOKKEEPING) for write in writes))
            removed += len(writes)
            if max(len(closed), len(old)) < CLEAN_SLICE:
                break
        return removed + await self._forgetting.forget()

    async def close(self, within_s: float) -> None:
        """Store what waits, and end: about within this time, whatever the database does."""
        if self._is_closing:
            return
        self._is_closing = True
        until = self._clock.monotonic() + within_s
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._writer.idle.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._writer.close(max(_END_S, until - self._clock.monotonic()))
        await self._database.close()
