"""Publish calls that are to be carried out later: kept in the store, and each gone out exactly once."""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from hubd.clock import Clock, Handle
from hubd.core.errors import Problem
from hubd.core.publish import Draft
from hubd.core.stored import Close, Lane, Remember, Schedule, Scheduled, Unschedule
from hubd.log_events import log_event
from hubd.memory import Receipt
from hubd.scheduled_call import Asked, ScheduledCall, read, row_key, written
from hubd.storing import Store, StoreError, unavailable

log = logging.getLogger("hubd")

GOING_OUT_S = 10.0
"""How long whoever cancels a call waits for it when it is just going out."""
AT_ONCE = 64
"""How many go out at the same time; more wait for their turn."""
LATE_S = 5.0
"""So late, one whose ttl is shorter than that still goes to those who are here."""
LONGEST_TIMER_S = 60.0
"""A timer may be wrong after that: the wall clock can be set."""
RETRY_S = (1.0, 60.0)
"""How long after a failure it is tried again: twice as long each time, from the first to the second."""
FULL_RETRY_S = 10.0
IN_A_STEP = 100
"""So many go out in one step, or end without that; then everybody else has his turn."""


class Scheduling:
    """Calls for later, by their time. ``publish`` carries one out: its draft, with the ttl that is left to it.

    ``run`` runs what takes a while, ``call_later(seconds, function)`` is the loop's; without it ``wake`` has to be
    called. ``most`` calls wait at a time, of ``most_bytes`` together.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store | None,
        new_key: Callable[[], str],
        cursor: Callable[[], str],
        publish: Callable[[ScheduledCall, Draft], Awaitable[Receipt]],
        run: Callable[[Coroutine[Any, Any, Any], str], Any],
        call_later: Callable[[float, Callable[[], None]], Handle] | None = None,
    ) -> None:
        self._clock = clock
        self._store = store
        self._new_key = new_key
        self._cursor = cursor
        self._publish = publish
        self._run = run
        self._call_later = call_later
        self._timer: Handle | None = None
        self._timer_at = inf
        self._going_on: Handle | None = None
        self._is_stopped = self._is_starting = False
        self.most = 100_000
        self.most_bytes = 256 << 20
        self.bytes = 0
        self.under_way = 0
        """How many are going out."""
        self.ended: Counter[str] = Counter()
        """How many there were, by what became of them."""
        self._adding = 0
        self._count = 0
        self._due: list[tuple[int, int, ScheduledCall]] = []  # by the wall clock, Unix ms
        self._again: list[tuple[float, int, ScheduledCall]] = []  # those that failed, by the monotonic clock
        self._by_id: dict[str, tuple[ScheduledCall, ...]] = {}
        self._calls: dict[str, ScheduledCall] = {}
        self._stale = 0  # cancelled ones that still stand in a heap

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def is_possible(self) -> bool:
        """Whether anything can be scheduled."""
        return self._store is not None

    def is_later(self, deliver_at: int | None) -> bool:
        """Whether this time (Unix ms) is still to come."""
        return deliver_at is not None and deliver_at > self._clock.now() * 1000

    # Calls come, and are asked about

    async def add(self, draft: Draft, asked: Asked) -> Receipt:
        """Keep a call for later: it is on the disk when this returns. A ``Problem`` when it can't be."""
        assert self._store is not None and draft.deliver_at is not None
        receipt = Receipt(asked.id, self._cursor(), 0)
        data = written(draft, asked, receipt.cursor)
        call = ScheduledCall(self._new_key(), draft.deliver_at, asked, receipt, draft.ttl_s, data)
        if len(self._calls) + self._adding >= self.most or self.bytes + call.size > self.most_bytes:
            why = "too many notifications are scheduled already ([limits] scheduled, scheduled_bytes)"
            raise Problem("rate_limited", why, (), FULL_RETRY_S)
        self._adding += 1
        self.bytes += call.size
        try:
            await self._store.write(Schedule(Scheduled(call.key, asked.id, call.deliver_at, data)), Lane.PUBLISH)
        except StoreError as error:
            raise unavailable(str(error)) from None
        finally:
            self._adding -= 1
            self.bytes -= call.size
        self._take_in(call)
        self._set_timer()
        if (answer := call.answer(self._clock.now())) is not None:
            self._store.note(Remember(answer))  # for whoever cancels it and sends it again
        return receipt

    def restore(self, stored: Sequence[Scheduled]) -> None:
        """Take up what an earlier hub was to carry out; at the next ``wake`` goes out what came due meanwhile."""
        for one in stored:
            self._take_in(read(one))

    def find(self, id: str) -> tuple[ScheduledCall, ...]:
        """The calls with this id that haven't gone out; ids are publishers' own, so there may be several."""
        return self._by_id.get(id, ())

    def asked_already(self, publisher: str, id: str, fingerprint: bytes) -> ScheduledCall | None:
        """The call that this publisher made with this id and that hasn't gone out; a ``Problem`` when it is another."""
        for call in self._by_id.get(id, ()):
            if call.asked.publisher == publisher:
                if call.asked.fingerprint != fingerprint:
                    raise Problem("id_conflict", f"the id {id!r} was used for another notification; choose a new one")
                return call
        return None

    def __iter__(self) -> Iterator[ScheduledCall]:
        return iter(self._calls.values())

    async def cancel(self, call: ScheduledCall) -> bool:
        """Have a call not carried out: True when that is on the disk, False when it has gone out or expired instead.

        A ``Problem`` when it can't be stored, or is going out and that takes long: then it still stands.
        """
        assert self._store is not None
        await self._free(call)
        if call.end:
            return call.end == "cancelled"
        call.is_busy = True
        try:
            await self._store.write(Unschedule(call.key), Lane.ACK)
        except StoreError as error:
            raise unavailable(str(error)) from None
        else:
            self._over(call, "cancelled")
        finally:
            self._done_with(call)
            if not call.end:
                self._put(call)  # its turn may have come meanwhile
        if call.attempts:  # it may be there although we were told that it isn't
            await self._erase(call)
        return True

    async def _free(self, call: ScheduledCall) -> None:
        """Wait until it isn't going out or being cancelled."""
        try:
            async with asyncio.timeout(GOING_OUT_S):
                while call.is_busy:
                    free = asyncio.Event()
                    call.waiting.append(free.set)
                    await free.wait()
        except TimeoutError:
            raise Problem("unavailable", "it is just going out: try again", (), 1.0) from None

    async def _erase(self, call: ScheduledCall) -> None:
        assert self._store is not None
        try:
            await self._store.write(Close(row_key(call.key)), Lane.ACK)
        except StoreError as error:
            self._store.note(Close(row_key(call.key)))
            raise Problem("unavailable", f"cancelled, but that can't be stored for sure ({error})", (), 1.0) from None

    # Time

    def wake(self) -> None:
        """Carry out what is due. Also once a second: the wall clock may have been set, or the store works again."""
        self._start_due()
        self._set_timer()

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, inf
        self.wake()

    def stop(self) -> None:
        """Nothing more goes out; what waits is in the store."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None

    def _start_due(self) -> None:
        if self._is_starting or self._going_on is not None:  # what doesn't have to wait is done before `_run` returns
            return
        self._is_starting = True
        try:
            for _ in range(IN_A_STEP):
                if self._is_held_up or (call := self._next()) is None:
                    return
                call.is_busy = True
                self.under_way += 1
                self._run(self._go_out(call), "scheduled")
            if self._call_later is not None:  # else `wake` is called
                self._going_on = self._call_later(0, self._go_on)
        finally:
            self._is_starting = False

    def _go_on(self) -> None:
        self._going_on = None
        self.wake()

    @property
    def _is_held_up(self) -> bool:
        return self._is_stopped or self.under_way >= AT_ONCE or self._store is None or bool(self._store.trouble)

    def _next(self) -> ScheduledCall | None:
        """The next one that is due, those that failed before first."""
        now_ms, now = self._clock.now() * 1000, self._clock.monotonic()
        while self._again and self._again[0][0] <= now:
            call = heapq.heappop(self._again)[2]
            if not (call.end or call.is_busy):
                return call
        while self._due and self._due[0][0] <= now_ms:
            call = heapq.heappop(self._due)[2]
            if not (call.end or call.is_busy):
                return call
        return None

    async def _go_out(self, call: ScheduledCall) -> None:
        assert self._store is not None
        try:
            if (draft := self._draft_now(call)) is None:
                self._expired(call)
                return
            call.attempts += 1
            await self._publish(call, draft)
        except Exception as error:
            self._failed(call, error)
        else:
            self._store.note(Unschedule(call.key))  # of one to nobody, no row took its place
            self._over(call, "out")
        finally:
            self.under_way -= 1
            self._done_with(call)
            self._start_due()
            self._set_timer()

    def _draft_now(self, call: ScheduledCall) -> Draft | None:
        """What is to be published, with the ttl that is left; None: it is over."""
        late_s = max(0.0, self._clock.now() - call.deliver_at / 1000)
        left_s = call.ttl_s - late_s
        if left_s < 0 and late_s > LATE_S:
            return None
        return replace(call.draft, ttl_s=max(0.0, left_s))

    def _expired(self, call: ScheduledCall) -> None:
        assert self._store is not None
        self._store.note(Unschedule(call.key))
        if call.attempts:
            self._store.note(Close(row_key(call.key)))
        self._over(call, "expired")
        log_event(log, "scheduled_expired", id=call.asked.id, deliver_at=call.deliver_at, attempts=call.attempts)

    def _failed(self, call: ScheduledCall, error: Exception) -> None:
        first_s, longest_s = RETRY_S
        pause = min(longest_s, first_s * 2.0 ** min(call.attempts - 1, 30))
        self._count += 1
        heapq.heappush(self._again, (self._clock.monotonic() + pause, self._count, call))
        if not self._is_stopped:
            reason = error.message if isinstance(error, Problem) else type(error).__name__
            fault = None if isinstance(error, Problem) else error
            log_event(log, "scheduled_failed", fault, id=call.asked.id, reason=reason, attempts=call.attempts)

    # Which there are

    def _take_in(self, call: ScheduledCall) -> None:
        self._calls[call.key] = call
        self._by_id[call.asked.id] = (*self._by_id.get(call.asked.id, ()), call)
        self.bytes += call.size
        self._put(call)

    def _put(self, call: ScheduledCall) -> None:
        self._count += 1
        heapq.heappush(self._due, (call.deliver_at, self._count, call))

    def _over(self, call: ScheduledCall, end: str) -> None:
        call.end = end
        self.ended[end] += 1
        del self._calls[call.key]
        self.bytes -= call.size
        if others := tuple(other for other in self._by_id[call.asked.id] if other is not call):
            self._by_id[call.asked.id] = others
        else:
            del self._by_id[call.asked.id]
        if end == "cancelled":
            self._stale += 1
            self._tidy()

    def _tidy(self) -> None:
        """Let go of cancelled ones when they are most of all: they can be a year ahead."""
        if self._stale > 1000 and 2 * self._stale > len(self._due) + len(self._again):
            self._due = [entry for entry in self._due if not entry[2].end]
            self._again = [entry for entry in self._again if not entry[2].end]
            heapq.heapify(self._due)
            heapq.heapify(self._again)
            self._stale = 0

    def _done_with(self, call: ScheduledCall) -> None:
        """Others may have it now."""
        call.is_busy = False
        waiting, call.waiting = call.waiting, []
        for tell in waiting:
            tell()

    def _set_timer(self) -> None:
        """Be woken when the next one is due. While something holds them up, nothing but ``maintain`` helps."""
        if self._call_later is None or self._is_stopped:
            return
        waits = [self._due[0][0] / 1000 - self._clock.now()] if self._due else []
        if self._again:
            waits.append(self._again[0][0] - self._clock.monotonic())
        wait = min(waits, default=inf)
        if wait <= 0 or wait == inf:
            return
        at = self._clock.monotonic() + min(wait, LONGEST_TIMER_S)
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._call_later(min(wait, LONGEST_TIMER_S), self._on_timer)
