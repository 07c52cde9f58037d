"""The one task that writes: it gathers what waits into transactions, and heals what a failure has left in doubt."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from math import inf

from hubd.clock import Clock, timer
from hubd.core.stored import Close, Keep, Schedule, Unschedule
from hubd.core.users import UserSet
from hubd.counts import Histogram
from hubd.log_events import log_event
from hubd.store.batch import Batch, Values, Work, sets_of
from hubd.store.database import Database
from hubd.store.known import KnownUsers
from hubd.store.links import Link
from hubd.store.own import AnyWrite, Forget, ForgetUser
from hubd.store.statements import Statements
from hubd.store.waiting import Limits, Queue, Waiting, size_of
from hubd.store.words import Blame, Unusable, blame_of, describe, is_known, may_be_damaged
from hubd.storing import StoreError

log = logging.getLogger("hubd.store")

BATCH_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TICK_S = 0.25
_FILLER = bytes(65536)
"""What a probe writes, so that a disk with room for one page isn't taken for one with room."""
_EVER = 1 << 62
_AT_ONCE = 100
"""After so many writes that were made ready everybody else has his turn: it takes some 10 us each."""
_ALONE_AFTER = 2
"""After so many failures that nothing outside explains notes are tried one by one: one of them may be why."""
_TRIES = 10
_LOOK_AT = 2000

Sleep = Callable[[float], Awaitable[object]]


class StoreCounts:
    """What the store counts, since it was opened."""

    def __init__(self) -> None:
        self.commits = 0
        self.writes = 0
        """Writes that were stored."""
        self.failures = 0
        """How often the database failed."""
        self.refused = 0
        """Writes that somebody waited for and that weren't stored."""
        self.lost = 0
        """Notes that weren't stored and won't be."""
        self.withdrawn = 0
        """Notifications that were found stored although their publishers had been told otherwise: they were removed."""
        self.batch_sizes = Histogram(BATCH_BUCKETS)
        self.commit_s = Histogram(COMMIT_BUCKETS)


class Writer:
    """Carries out what waits in ``queue``, transaction by transaction, until it is cancelled."""

    def __init__(
        self, database: Database, known: KnownUsers, clock: Clock, *, limits: Limits, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.queue = Queue(limits)
        self.counts = StoreCounts()
        self.trouble = ""
        self.next_number = 1
        """The next user's number, as it is stored."""
        self._database = database
        self._known = known
        self._clock = clock
        self._limits = limits
        self._sleep = sleep
        self._words = Statements(database.engine.dialect)
        self._link: Link | None = None
        self._number = 0
        self._next_seq = 1
        self._leaving: list[asyncio.Future[None]] = []
        """Connections that were dropped, and still do something."""
        self._in_hand: list[Waiting] = []
        self._doubtful: tuple[list[Waiting], list[Values]] | None = None
        """What the last transaction was to store, where it isn't known whether it has."""
        self._withdrawn: list[Keep | Schedule] = []
        """What isn't to be there, and has to be removed."""
        self._may_be_theirs = False
        """Whether the last failure may be the fault of what was to be stored."""
        self._pause = 0.0
        self._is_in_vain = False
        """Whether nothing was stored since it healed the last time."""
        self._patience_ends = 0.0
        self._ticking: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()

    def wake(self) -> None:
        """Something waits."""
        self.idle.clear()
        self._wake.set()

    def waited_about(self) -> list[UserSet] | None:
        """Whom those writes refer to that aren't stored yet; None where there are too many to look at at once."""
        if self.trouble or len(self.queue) > _LOOK_AT:
            return None
        return [users for one in (*self._in_hand, *self.queue) for users in sets_of(one.write)]

    async def open(self, next_seq: int) -> None:
        """Connect for the first time; what the database says when it can't be is raised."""
        self._next_seq = next_seq
        await self._reopen(thoroughly=False)

    async def run(self) -> None:
        """Write, for as long as the store is open."""
        try:
            await self._run()
        except Exception as fault:  # which it has no business to do: then at least nobody waits for ever
            self.trouble = describe(fault)
            self.refuse([*self._in_hand, *self.queue.waited_for()], self.trouble)
            raise

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := self.queue.take():
                if self._ticking is None:
                    self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
                self._in_hand = batch
                if any(one.tries >= _ALONE_AFTER for one in batch):
                    await self._one_by_one(batch)
                else:
                    await self._carry_out(batch)
                self._in_hand = []
            self.idle.set()

    # --- One transaction

    async def _carry_out(self, batch: list[Waiting]) -> None:
        failure = await self._attempt(batch)
        if failure is None:
            return
        if blame_of(failure) is Blame.WRITE and await self._is_rolled_back():
            self._doubtful = None
            if len(batch) > 1:
                await self._one_by_one(batch)
            else:
                self._give_up(batch[0], StoreError("it can't be stored as it is"))
                log_event(log, "store_write_refused", kind=type(batch[0].write).__name__)
        else:
            await self._heal(failure)

    async def _one_by_one(self, batch: list[Waiting]) -> None:
        for one in batch:
            if one.future is None or not one.future.done():
                await self._carry_out([one])

    async def _attempt(self, batch: list[Waiting]) -> Exception | None:
        """Carry out one transaction; gives what went wrong."""
        began = timer()
        users: list[Values] = [*self._known.without_row()]
        self._doubtful = batch, users
        try:
            building = Batch(self._next_seq)
            for place, one in enumerate(batch, start=1):
                if type(one.write) is not ForgetUser or one.write.number not in self._known:  # else he was met again
                    building.add(one.write)
                if not place % _AT_ONCE:
                    await asyncio.sleep(0)
            self._next_seq = building.next
            next_number = self._known.next_number
            work = building.work(self._words, self._number + 1, next_number, users)
            if self._link is None:
                raise Unusable(self.trouble or "there is no connection")
            async with asyncio.timeout(self._limits.commit_s):
                await self._link.transact(work)
        except Exception as failure:
            return failure
        self._pause, self._is_in_vain = 0.0, False
        counts = self.counts
        counts.commits += 1
        counts.batch_sizes.observe(len(batch))
        counts.commit_s.observe(timer() - began)
        self._is_stored()
        return None

    def _is_stored(self) -> None:
        """The transaction is on the disk: tell those who wait."""
        assert self._doubtful is not None
        batch, users = self._doubtful
        self._doubtful = None
        self._number += 1
        self.counts.writes += len(batch)
        self._known.have_row(users)
        for one in batch:
            future = one.future
            if future is None:
                continue
            if not future.done():
                future.set_result(None)
            elif is_withdrawable(one.write):
                assert isinstance(one.write, Keep | Schedule)
                if one.is_refused:
                    self._withdrawn.append(one.write)
                else:  # whoever waited went away meanwhile
                    self._take_back(one)

    def _take_back(self, one: Waiting) -> None:
        """Have removed what was stored for somebody who had gone away."""
        writes: list[AnyWrite] = []
        if isinstance(one.write, Keep):
            writes.append(Close(one.write.row.key))
            if (answer := one.write.answer) is not None:
                writes.append(Forget(answer.table, answer.publisher, answer.id, _EVER))
        elif isinstance(one.write, Schedule):
            writes.append(Unschedule(one.write.call.key))
        self.counts.withdrawn += 1
        for write in writes:
            self.queue.put(Waiting(write, one.lane, None, size_of(write), self._clock.monotonic()))

    async def _is_rolled_back(self) -> bool:
        """Undo what has begun of a transaction; False when that can't be done either."""
        try:
            async with asyncio.timeout(self._limits.commit_s):
                if self._link is not None:
                    await self._link.roll_back()
        except Exception:
            return False
        return self._link is not None

    def _give_up(self, one: Waiting, why: StoreError) -> None:
        """It won't be stored: tell whoever waits."""
        if one.future is None:
            self.counts.lost += 1
        elif not one.future.done():
            self.counts.refused += 1
            one.is_refused = True
            one.future.set_exception(why)
            one.future.exception()  # that nobody may ask is no fault

    # --- Time

    def _tick(self) -> None:
        """Refuse those who have waited for too long, or for whom there is no hope."""
        self._ticking = None
        now = self._clock.monotonic()
        if self.trouble and now >= self._patience_ends:
            self.refuse([*self._in_hand, *self.queue.waited_for()], self.trouble)
        self.refuse(self.queue.expired(now), "the database is too slow")
        if self._in_hand or len(self.queue):
            self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def refuse(self, them: Iterable[Waiting], why: str) -> None:
        """These won't be stored; what nobody waits for goes on waiting itself."""
        for one in them:
            if one.future is not None:
                self._give_up(one, StoreError(why))

    # --- Trouble

    async def _heal(self, failure: Exception) -> None:
        """Connect anew until that works, then settle what is in doubt."""
        self.counts.failures += 1
        self._drop()
        self._in_trouble(failure)
        if self._is_in_vain:  # it had healed, and nothing could be stored all the same: no haste
            await self._back_off()
        self._is_in_vain = True
        self._patience_ends = self._clock.monotonic() + self._limits.patience_s
        thoroughly = may_be_damaged(failure)
        self._may_be_theirs = not is_known(failure)
        while True:
            try:
                await self._reopen(thoroughly=thoroughly)
            except Exception as error:
                self._drop()
                self._in_trouble(error)
                thoroughly = thoroughly or may_be_damaged(error)
            else:
                break
            await self._back_off()
        self.trouble = ""
        log_event(log, "store_healed")

    async def _back_off(self) -> None:
        shortest, longest = self._limits.retry_s
        self._pause = min(max(2 * self._pause, shortest), longest)
        await self._sleep(self._pause)

    def _in_trouble(self, failure: Exception) -> None:
        why = describe(failure)
        if why != self.trouble:
            self.trouble = why
            log_event(log, "store_trouble", reason=why)

    async def _reopen(self, *, thoroughly: bool) -> None:
        """Connect, settle what is in doubt, and see whether anything can be stored."""
        async with asyncio.timeout(self._limits.open_s):
            if self._leaving:  # as long as one still does something that may come to be on the disk
                await asyncio.wait(self._leaving)
            self._link = link = await self._database.link()
            await link.verify(thoroughly=False)
        if thoroughly:
            async with asyncio.timeout(self._limits.check_s):
                await link.verify(thoroughly=True)
        async with asyncio.timeout(self._limits.commit_s):
            # Somebody else's transaction, which may go on, is to end before anything is asked.
            await self._have_turn(link)
            ((number, self.next_number, probe),) = await link.fetch("SELECT batch, next_number, probe FROM hubd_state")
            self._settle(number)
            await link.transact([(self._words.probe, [(probe + 1, _FILLER)]), *self._removal()])
            self.counts.withdrawn += len(self._withdrawn)
            self._withdrawn = []
            if await link.fetch("SELECT probe, filler FROM hubd_state") != [(probe + 1, _FILLER)]:
                raise Unusable("the database doesn't keep what it is given")
            await link.transact([(self._words.probe, [(probe + 1, b"")])])

    async def _have_turn(self, link: Link) -> None:
        """Change something: it has to wait for a transaction of the connection before, which may still go on."""
        ((probe,),) = await link.fetch("SELECT probe FROM hubd_state")
        await link.transact([(self._words.probe, [(probe + 1, b"")])])

    def _settle(self, number: int) -> None:
        """The last transaction that is on the disk is this one: so was the one in doubt, or it wasn't."""
        if self._doubtful is None:
            self._number = number
        elif number == self._number + 1:
            self._is_stored()
        else:
            batch, _ = self._doubtful
            self._doubtful = None
            self._number = number
            self.refuse(batch, self.trouble)
            self._try_again([one for one in batch if one.future is None])

    def _try_again(self, notes: list[Waiting]) -> None:
        for one in notes:
            one.tries += self._may_be_theirs
            if one.tries >= _TRIES:
                self._give_up(one, StoreError("it can't be stored"))
        self.queue.put_back([one for one in notes if one.tries < _TRIES])

    def _removal(self) -> Work:
        keys = [(one.row.key,) for one in self._withdrawn if isinstance(one, Keep)]
        calls = [(one.call.key,) for one in self._withdrawn if isinstance(one, Schedule)]
        answers = [one.answer for one in self._withdrawn if isinstance(one, Keep) and one.answer is not None]
        words = self._words
        work: Work = [
            (words.drop_row, [*keys]),
            (words.drop_facts, [*keys]),
            (words.unschedule, [*calls]),
            (words.forget, [(answer.table, answer.publisher, answer.id, _EVER) for answer in answers]),
        ]
        return [(statement, rows) for statement, rows in work if rows]

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            with suppress(Exception):
                self._leaving = [one for one in (*self._leaving, link.drop()) if one is not None and not one.done()]

    async def close(self, within_s: float = inf) -> None:
        """End, when nothing runs any more: whoever still waits is told."""
        until = self._clock.monotonic() + within_s
        self.refuse([*self._in_hand, *self.queue.waited_for()], "the hub is stopping")
        self.counts.lost += self.queue.notes + sum(1 for one in self._in_hand if one.future is None)
        if self._ticking is not None:
            self._ticking.cancel()
        if self._link is not None and not self.trouble:
            with suppress(Exception):
                async with asyncio.timeout(min(self._limits.open_s, within_s)):
                    await self._link.close()
                self._link = None
        self._drop()
        if self._leaving:
            left_s = max(0.0, until - self._clock.monotonic())
            await asyncio.wait(self._leaving, timeout=min(self._limits.patience_s, left_s))


def is_withdrawable(write: object) -> bool:
    """Whether a write is undone when it turns out to be stored after somebody was told that it isn't.

    What nobody outside called for (a release, a scheduled call that was due) the hub tries again: it stays.
    """
    if isinstance(write, Keep):
        return write.instead_of is None and write.released is None
    return isinstance(write, Schedule)
