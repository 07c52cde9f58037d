"""Clients that come back: each on one transport, with its cursor, as fast as it is told to and not faster."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.model.wires import (
    DECODERS,
    PROTOCOLS,
    Answer,
    At,
    Control,
    Events,
    Frame,
    Opened,
    Told,
    action,
    get_request,
    stream_request,
    websocket_request,
)
from tests.restart.daemon import HOST, Daemon

WIRES = ("plain", "json", "msgpack", "sse", "sse", "sse", "poll", "poll", "poll")
SLEEPS = 5
"""Each fifth is away when the hub goes, and comes back when it is there again: what it missed is in the rings."""
AT_ONCE = 64
"""How many connect at the same time."""
FIRST_S, LONGEST_S = 0.2, 2.0
"""How long a client waits that was refused and isn't told how long: at first, and at most."""


class Gap(NamedTuple):
    """A gap that a client was told of when it had got so many notifications."""

    after: int
    channel: str | None
    reason: str


class Visitor(asyncio.Protocol):
    """One client, and all that it was given: the ``title`` of each notification, in the order in which they came."""

    def __init__(self, crowd: "Crowd", user: str, topic: str, wire: str) -> None:
        self.user = user
        self.channels = {"notifications", f"user:{user}:notifications", topic}
        self.wire = wire
        self.cursor: str | None = None
        self.got: list[str] = []
        self.gaps: list[Gap] = []
        self.is_in = False
        self.connects = 0
        self._crowd = crowd
        self._topic = topic
        self._tries = 0
        self._pause: float | None = None
        self._headers = {"Authorization": f"Bearer {crowd.daemon.token(user)}"}
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._sleeps = False

    async def connect(self) -> None:
        """Come, or come back; when nobody listens, later."""
        async with self._crowd.door:
            if self._ended or self._sleeps:
                return
            self._pause = None
            self._decoder = DECODERS[self.wire]()
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, HOST, self._crowd.daemon.port)
            except OSError:
                self._later()

    def _later(self) -> None:
        """As the hub said; else ever later, each at another moment."""
        if self._ended or self._sleeps:
            return
        pause = self._pause
        if pause is not None:
            pause *= self._crowd.patience
        else:
            pause = random.uniform(0, min(LONGEST_S, FIRST_S * 2**self._tries))
            self._tries += 1
        asyncio.get_running_loop().call_later(pause, self._crowd.let_in, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.connects += 1
        self._ask()
        self.is_in = self.wire == "poll" and self.cursor is not None  # that is answered when there is something

    def _ask(self) -> None:
        assert self._transport is not None
        port, query = self._crowd.daemon.port, {"topics": self._topic}
        if self.wire == "sse":
            request = stream_request(port, query, self.cursor, headers=self._headers)
        else:
            query |= {} if self.cursor is None else {"cursor": self.cursor}
            if self.wire == "poll":
                request = get_request(port, query, self._headers)
            else:
                request = websocket_request(port, query, *PROTOCOLS.get(self.wire, ()), headers=self._headers)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            for item in self._decoder.feed(data):
                self._take(item)
        except Exception as error:
            self._crowd.faults.append(f"{self.user} by {self.wire}: {error!r}")
            raise

    def _take(self, item: Any) -> None:
        assert self._transport is not None
        if isinstance(item, Told):
            self._told(item.frame)
            self.cursor = item.cursor or self.cursor
        elif isinstance(item, At):
            self.cursor = item.cursor
        elif isinstance(item, Opened):
            self.is_in = self.wire == "plain"
        elif isinstance(item, Control):
            self._transport.write(item.reply)
            if item.is_close:
                self._transport.close()
        elif isinstance(item, Answer):
            self._answered(item)
        if self.is_in:
            self._tries = 0

    def _told(self, frame: Frame) -> None:
        kind = frame.get("hub")
        if kind is None:
            self.got.append(frame["title"])
            self.cursor = frame["cursor"]
        elif kind == "welcome":
            self.is_in = True
            self.cursor = self.cursor or frame["cursor"]
        elif kind == "gap":
            self.gaps.append(Gap(len(self.got), frame["channel"], frame["reason"]))
        elif kind == "ping":
            self.cursor = frame["cursor"]
            assert self._transport is not None
            self._transport.write(action(self.wire == "msgpack", {"action": "pong"}))
        elif kind == "disconnect":
            assert frame["reconnect"], frame
            self._pause = frame["retry_after_s"]

    def _answered(self, answer: Answer) -> None:
        if answer.status != 200:
            assert answer.status == 503, answer
            self._pause = float(answer.headers["retry-after"])
            return
        if answer.body["gap"] is not None:
            self._told({"hub": "gap", **answer.body["gap"]})
        for notification in answer.body["notifications"]:
            self._told(notification)
        self.cursor = answer.body["cursor"]
        self.is_in = True
        if answer.headers.get("connection", "").lower() != "close":
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.is_in = False
        if self._pause is None and isinstance(self._decoder, Events) and self._decoder.retry_ms is not None:
            self._pause = self._decoder.retry_ms / 1000
        self._later()

    def sleep(self) -> None:
        """Be away, without a word, until it is woken."""
        self._sleeps = True
        if self._transport is not None:
            self._transport.abort()

    def wake(self) -> None:
        """Come back."""
        self._sleeps = False
        self._crowd.let_in(self)

    def end(self) -> None:
        """No more."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()


class Crowd:
    """All clients. ``patience``: which part of the time that the hub tells them to wait they do wait."""

    def __init__(self, daemon: Daemon, size: int, topics: int, patience: float) -> None:
        self.daemon = daemon
        self.door = asyncio.Semaphore(AT_ONCE)
        self.patience = patience
        self.faults: list[str] = []
        self._tasks: set[asyncio.Future[None]] = set()
        self.visitors: Sequence[Visitor] = [
            Visitor(self, f"u{number}", f"topic:{number // len(WIRES) % topics}", WIRES[number % len(WIRES)])
            for number in range(size)
        ]

    @property
    def sleepers(self) -> Sequence[Visitor]:
        """A part of them, with all transports among them."""
        return self.visitors[::SLEEPS]

    def let_in(self, visitor: Visitor) -> None:
        """One comes."""
        task = asyncio.ensure_future(visitor.connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def come(self) -> None:
        """All come."""
        for visitor in self.visitors:
            self.let_in(visitor)
        await self.until(lambda visitor: visitor.is_in, "is in")

    async def until(self, condition: Callable[[Visitor], bool], what: str, deadline_s: float = 60.0) -> float:
        """Wait until something is so for every client; gives how many seconds that took."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        waiting = list(self.visitors)
        while waiting := [visitor for visitor in waiting if not condition(visitor)]:
            assert not self.faults, self.faults[0]
            if clock() - begun > deadline_s:
                some = [(visitor.user, visitor.wire, visitor.got[-1:], visitor.cursor) for visitor in waiting[:5]]
                raise AssertionError(f"of {len(waiting)} clients it never became true that each {what}: {some}")
            await asyncio.sleep(0.02)
        return clock() - begun

    async def end(self) -> None:
        """All go."""
        for visitor in self.visitors:
            visitor.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)
