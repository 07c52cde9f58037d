"""One endpoint: the events that wait for it, and the calls that bring them there."""

import asyncio
from collections import deque
from typing import Any, NamedTuple, Protocol

from hubd.plugin import Answer, EgressFailed, EgressRefused, PluginHub
from hubd_webhooks.config import EndpointConfig, WebhooksConfig
from hubd_webhooks.counts import EndpointCounts
from hubd_webhooks.events import body_of, new_id
from hubd_webhooks.retrying import Result, backoff_s, judge, retry_after_s
from hubd_webhooks.signing import signed_headers
from hubd_webhooks.told import Told

BATCH_BYTES = 512 * 1024
"""What the events of one call have together at most; an event alone is shorter."""
SHUTDOWN_S = 4.0
"""How long a stop waits for what is left; the hub gives a plugin 5 s for its shutdown."""


class Send(Protocol):
    """`Egress.send`, of whichever client counts now."""

    async def __call__(
        self, method: str, url: str, *, headers: dict[str, str], body: bytes, timeout_s: float, answer_bytes: int
    ) -> Answer:
        """Call."""
        ...


class _Event(NamedTuple):
    data: bytes
    at: float


class _Call:
    """Events that go together, under one id however often they are tried. ``oldest``: when, in monotonic seconds."""

    __slots__ = ("body", "bytes", "events", "id", "oldest", "tries")

    def __init__(self, id: str, events: list[_Event]) -> None:
        self.id = id
        self.events = len(events)
        self.bytes = sum(len(event.data) for event in events)
        self.oldest = events[0].at
        self.body = body_of(event.data for event in events)
        self.tries = 0


class Endpoint:
    """Takes events at once, and calls later. What is full, off or closing takes none, and counts them.

    Calls are made by a few tasks that begin when there is something to do and end when there isn't. A call that failed
    stays with its task until its next try, so an endpoint that doesn't answer is called by so many tasks and no more.
    """

    def __init__(
        self, config: EndpointConfig, limits: WebhooksConfig, hub: PluginHub, send: Send, counts: EndpointCounts
    ) -> None:
        self._hub = hub
        self._send = send
        self._counts = counts
        self._queue: deque[_Event] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._naps: set[asyncio.Task[None]] = set()
        self._not_before = float("-inf")
        self._is_closing = False
        self._is_failing = False
        self._full, self._failed = Told(), Told()
        self.is_off = False
        self.waiting = 0
        self.waiting_bytes = 0
        self.apply(config, limits)

    def apply(self, config: EndpointConfig, limits: WebhooksConfig) -> None:
        """Go by these options from now on: switched on again if it was off, and nothing waits for its next try."""
        self.config = config
        self._limits = limits
        self._secrets = config.secrets
        self.is_off = False
        self._counts.off.set(0)
        self._hurry()

    # Taking events

    def offer(self, data: bytes) -> None:
        """One event, encoded, for the next call."""
        limits = self._limits
        if self.is_off or self._is_closing:
            self._counts.dropped("off" if self.is_off else "shutdown", 1)
            return
        if self.waiting >= limits.queue or self.waiting_bytes + len(data) > limits.queue_bytes:
            self._counts.dropped("queue_full", 1)
            if lost := self._full.note(1, self._hub.clock.monotonic()):
                self._warn("events are dropped because too many wait", lost=lost, waiting=self.waiting)
            return
        self._queue.append(_Event(data, self._hub.clock.monotonic()))
        self._count_waiting(1, len(data))
        if len(self._workers) < limits.concurrency:
            worker = self._hub.start(self._work(), f"calls {self.config.label}")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)  # one that is cancelled before it begins, too

    def _count_waiting(self, events: int, size: int) -> None:
        self.waiting += events
        self.waiting_bytes += size
        self._counts.waiting.set(self.waiting)

    # Calling

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._deliver(self._next_call())
        finally:
            # At once: what is offered in the next moment needs a worker that really works.
            self._workers.discard(asyncio.current_task())

    def _next_call(self) -> _Call:
        events: list[_Event] = []
        size = 0
        while self._queue and len(events) < self._limits.batch:
            if events and size + len(self._queue[0].data) > BATCH_BYTES:
                break
            events.append(self._queue.popleft())
            size += len(events[-1].data)
        return _Call(new_id("msg", self._hub.random), events)

    async def _deliver(self, call: _Call) -> None:
        """Try until it is taken, or there is no sense in it any more."""
        while True:
            await self._leave_alone()
            if self.is_off:
                self._drop(call, "off")
                return
            call.tries += 1
            result, reason, asked_s = await self._try(call)
            now = self._hub.clock.monotonic()
            if result is Result.DONE:
                self._taken(call)
                return
            if result is Result.OFF:
                self._switch_off(call, reason)
                return
            if result is Result.AGAIN and self._is_closing:
                return  # it still waits, so it is lost when the stop is over
            is_over = call.tries >= self._limits.attempts or now - call.oldest >= self._limits.retry_for_s
            if result is Result.FAILED or is_over:
                self._give_up(call, reason)
                return
            self._not_before = max(self._not_before, now + asked_s)
            self._counts.retried.inc()
            self._say_failing(reason)
            await self._nap(backoff_s(call.tries, self._hub.random))

    async def _try(self, call: _Call) -> tuple[Result, str, float]:
        """Call once: how it went, why it didn't, and for how long the endpoint wants to be left alone."""
        config, clock = self.config, self._hub.clock
        timeout_s = min(config.timeout_s, SHUTDOWN_S) if self._is_closing else config.timeout_s
        headers = signed_headers(self._secrets, call.id, int(clock.now()), call.body)
        begun = clock.monotonic()
        try:
            # Only the status counts, so the answer's body isn't read, however long or slow it is.
            answer = await self._send(
                "POST", config.url, headers=headers, body=call.body, timeout_s=timeout_s, answer_bytes=0
            )
        except EgressRefused:
            return Result.FAILED, "refused", 0.0
        except EgressFailed as failed:
            return Result.AGAIN, failed.reason.replace(" ", "_"), 0.0
        finally:
            self._counts.seconds.observe(clock.monotonic() - begun)
        return *judge(answer.status), retry_after_s(answer.headers, clock.now())

    async def _leave_alone(self) -> None:
        """Wait as long as the endpoint asked for, whichever call it said so to."""
        while (left := self._not_before - self._hub.clock.monotonic()) > 0:
            await self._nap(left)

    async def _nap(self, seconds: float) -> None:
        """Wait, or until there is a hurry."""
        nap = self._hub.start(self._hub.sleep(seconds), f"waits for {self.config.label}")
        self._naps.add(nap)
        try:
            await asyncio.wait([nap])
        finally:
            self._naps.discard(nap)
            nap.cancel()

    def _hurry(self) -> None:
        """Nobody waits any longer, whatever for."""
        self._not_before = float("-inf")
        for nap in self._naps:
            nap.cancel()

    # How a call ended

    def _taken(self, call: _Call) -> None:
        self._count_waiting(-call.events, -call.bytes)
        self._counts.sent.inc(call.events)
        if self._is_failing:
            self._is_failing = False
            self._hub.log.info("an endpoint takes events again", endpoint=self.config.label)

    def _say_failing(self, reason: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._warn("an endpoint fails; calls are tried again", reason=reason)

    def _give_up(self, call: _Call, reason: str) -> None:
        self._count_waiting(-call.events, -call.bytes)
        self._counts.failed(reason, call.events)
        if lost := self._failed.note(call.events, self._hub.clock.monotonic()):
            self._warn("events are given up because their calls failed", reason=reason, lost=lost, tries=call.tries)

    def _drop(self, call: _Call, reason: str) -> None:
        self._count_waiting(-call.events, -call.bytes)
        self._counts.dropped(reason, call.events)

    def _switch_off(self, call: _Call, reason: str) -> None:
        self._count_waiting(-call.events, -call.bytes)
        self._counts.failed(reason, call.events)
        if self.is_off:
            return  # another call had the same answer
        self.is_off = True
        self._counts.off.set(1)
        lost = self._drop_queue("off")
        self._hurry()
        name = self.config.label
        self._hub.log.error("an endpoint answered 410 and is off until the next reload", endpoint=name, lost=lost)

    def _drop_queue(self, reason: str) -> int:
        lost = len(self._queue)
        self._count_waiting(-lost, -sum(len(event.data) for event in self._queue))
        self._queue.clear()
        if lost:
            self._counts.dropped(reason, lost)
        return lost

    def _warn(self, text: str, **fields: Any) -> None:
        self._hub.log.warning(text, endpoint=self.config.label, **fields)

    # The end

    def close(self) -> set[asyncio.Task[None]]:
        """Take no more, try what waits once more and at once; gives the tasks that do so."""
        self._is_closing = True
        self._hurry()
        return set(self._workers)

    def end(self, reason: str) -> int:
        """Leave off: what still waits is lost; gives how many events that are."""
        self._is_closing = True
        for task in (*self._workers, *self._naps):
            task.cancel()
        lost = self.waiting
        self._queue.clear()
        self._count_waiting(-lost, -self.waiting_bytes)
        if lost:
            self._counts.dropped(reason, lost)
            self._warn(
                "events are lost because the hub stops" if reason == "shutdown" else "events are lost", lost=lost
            )
        return lost

    def remove(self) -> None:
        """The config has it no more."""
        self.end("removed")
        self._counts.forget()
