"""A hub without sockets, a clock that is turned by hand, connections that record what they get."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgpack
import orjson

from hubd.broker import Broker, OnPublication, Published
from hubd.config import Config
from hubd.core.channel import patterns
from hubd.core.codec import Form
from hubd.core.connection import Connection
from hubd.core.errors import Disconnect
from hubd.core.identity import Identity
from hubd.core.notification import Notification, Priority
from hubd.core.record import Record
from hubd.core.users import UserSet
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.memory import Memory
from hubd.storing import Store

JSON_FORM = Form("recorded json", "json", lambda data, cursor: data + b"\n")
MSGPACK_FORM = Form("recorded msgpack", "msgpack", lambda data, cursor: len(data).to_bytes(4, "big") + data)


class FakeClock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        """Unix seconds."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds


class Soon:
    """Stands for a loop's ``call_soon``: what it is given runs when it is told to."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []

    def __call__(self, call: Callable[[], None]) -> None:
        """Run it in the next turn."""
        self._calls.append(call)

    def turn(self) -> bool:
        """One turn of the loop; False when there was nothing to do."""
        calls, self._calls = self._calls, []
        for call in calls:
            call()
        return bool(calls)

    @property
    def is_busy(self) -> bool:
        """Whether something waits for the next turn."""
        return bool(self._calls)

    def settle(self, turns: int = 10_000) -> None:
        """Turn until nothing is left to do."""
        for _ in range(turns):
            if not self.turn():
                return
        raise AssertionError(f"still busy after {turns} turns")


class RecordingConnection(Connection):
    """A connection without a socket: ``frames`` are the decoded objects that were written to it.

    It takes ``room`` bytes, then pauses until ``drain`` is called; by default it never pauses.
    """

    __slots__ = ("__weakref__", "_hub", "_raw", "aborted", "ended", "room", "taken")

    transport_name = "recording"

    def __init__(self, hub: Hub, identity: Identity, *, control: bool = True, form: Form = JSON_FORM) -> None:
        now = hub.clock.monotonic()
        super().__init__(hub.ids.connection(), identity, form, control=control, acks=control, now=now)
        self._hub = hub
        self._raw = bytearray()
        self.room: int | None = None
        self.taken = 0
        self.aborted = False
        self.ended: Disconnect | None = None

    def write(self, data: bytes) -> None:
        """Record; what is over ``room`` counts as unsent, and pauses."""
        assert not self.paused, "written to while paused"
        assert self.ended is None and not self.aborted, "written to after its end"
        self._raw += data
        self.taken += len(data)
        self.paused = self.room is not None and self.taken > self.room

    def unsent(self) -> int:
        """Bytes that the other side hasn't taken."""
        return max(0, self.taken - self.room) if self.room is not None else 0

    def drain(self) -> None:
        """The other side has read everything."""
        self.taken = 0
        if self.paused:
            self.paused = False
            self.counted = self.queued = 0
            self._hub.pump.schedule(self)

    def drop(self) -> None:
        """The other side is gone."""
        self._hub.lost(self)
        self.outbox.clear()

    def end(self, why: Disconnect, retry_after: float = 0.0) -> None:
        """Record why."""
        for data in self.outbox:
            self._raw += data
        self.outbox.clear()
        self.ended = why

    def abort(self) -> None:
        """Record it."""
        self.outbox.clear()
        self.aborted = True

    @property
    def frames(self) -> list[dict[str, Any]]:
        """Everything that it got so far, decoded."""
        if self.form.encoding == "json":
            return [orjson.loads(line) for line in bytes(self._raw).splitlines()]
        found, place = [], 0
        while place < len(self._raw):
            size = int.from_bytes(self._raw[place : place + 4], "big")
            found.append(msgpack.unpackb(bytes(self._raw[place + 4 : place + 4 + size])))
            place += 4 + size
        return found

    def notifications(self) -> list[dict[str, Any]]:
        """The notifications among the frames."""
        return [frame for frame in self.frames if "hub" not in frame]


class ToyBroker:
    """A broker that behaves as one over a network does: everything takes a while.

    A publish gets its number after a random delay, so that calls which wait overtake each other; its publication is
    here after another one, never before those with lower numbers; the answer after a third. Now and then a number is
    skipped, as by a publish that failed half-way. ``longest_s`` bounds each delay; ``sleep`` waits, so that a test can
    turn the time by hand.
    """

    def __init__(
        self, seed: int = 1, longest_s: float = 0.02, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._random = Random(seed)  # noqa: S311 - delays that come out the same every time, no secrets
        self._longest_s = longest_s
        self._sleep = sleep
        self._sequence = 0
        self._under_way: deque[tuple[int, Notification, asyncio.Future[int]]] = deque()
        self._on_publication: OnPublication | None = None

    def start(self, on_publication: OnPublication, sequence: int = 0) -> None:
        """Hand publications to this function; the first one's number comes after ``sequence``."""
        self._on_publication = on_publication
        self._sequence = sequence

    async def publish(self, notification: Notification) -> Published:
        """Give it a number, hand it on, and answer; each when its time has come."""
        await self._delay()
        self._sequence += self._random.choice((1, 1, 1, 2))
        sequence = self._sequence
        live: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._under_way.append((sequence, notification, live))
        await self._delay()
        self._arrive(sequence)
        await self._delay()
        return Published(sequence, live.result())

    async def _delay(self) -> None:
        await self._sleep(self._random.uniform(0, self._longest_s))

    def _arrive(self, upto: int) -> None:
        """Hand on, in their order, what has a number up to this one."""
        assert self._on_publication is not None
        while self._under_way and self._under_way[0][0] <= upto:
            sequence, notification, live = self._under_way.popleft()
            try:
                live.set_result(self._on_publication(sequence, notification))
            except Exception as error:  # it is that publisher's, who may not be the one that is served now
                live.set_exception(error)


def identity(
    user: str,
    topics: tuple[str, ...] = ("**",),
    publish: tuple[str, ...] = ("**",),
    max_priority: Priority = Priority.CRITICAL,
    expires_at: float | None = None,
) -> Identity:
    """An identity as a token would prove it."""
    return Identity(user, patterns(topics), patterns(publish), max_priority, expires_at, None)


class RecordingPusher:
    """Stands for all push services: ``pushed`` has what it was given, in order, as (when, id, user).

    Each answer comes at once: accepted, but for the users in ``without_devices``; with ``answers`` False none comes.
    """

    def __init__(self) -> None:
        self.pushed: list[tuple[float, str, str]] = []
        self.cancelled: list[tuple[str, str]] = []
        self.without_devices: set[str] = set()
        self.answers = True
        self.hub: Hub | None = None

    def push(self, record: Record, users: UserSet) -> None:
        """Note it, and answer."""
        assert self.hub is not None
        names = self.hub.numbers
        none = UserSet(number for number in users if (names.id_of(number) or "") in self.without_devices)
        for number in users - none:
            self.pushed.append((self.hub.clock.monotonic(), record.id, names.id_of(number) or ""))
        if self.answers:
            self.hub.delivering.not_routed(record, none)
            self.hub.delivering.accepted(record, users - none)

    def cancel(self, record: Record, users: UserSet) -> None:
        """Note it."""
        assert self.hub is not None
        self.cancelled += [(record.id, self.hub.numbers.id_of(number) or "") for number in users]


def make_hub(
    config: Config | None = None,
    clock: FakeClock | None = None,
    broker: Broker | None = None,
    seed: int = 1,
    *,
    store: Store | None = None,
    pusher: RecordingPusher | None = None,
    memory: Memory | None = None,
) -> tuple[Hub, FakeClock, Soon]:
    """A hub without sockets, its clock, and the loop turns that its pump waits for.

    Who turns its clock calls ``hub.delivering.wake()`` for what is due by then.
    """
    clock, soon = clock or FakeClock(), Soon()
    ids = Ids(clock, Random(seed))  # noqa: S311 - a test wants the same ids every time, and keeps no secrets
    hub = Hub(
        config or Config(),
        clock=clock,
        ids=ids,
        call_soon=soon,
        broker=broker,
        store=store,
        pusher=pusher,
        memory=memory,
    )
    if pusher is not None:
        pusher.hub = hub
    return hub, clock, soon


def connect(
    hub: Hub,
    who: Identity | str,
    topics: tuple[str, ...] = (),
    cursor: str | None = None,
    *,
    control: bool = True,
    form: Form = JSON_FORM,
    room: int | None = None,
) -> RecordingConnection:
    """Attach a recording connection, as a transport would."""
    who = identity(who) if isinstance(who, str) else who
    connection = RecordingConnection(hub, who, control=control, form=form)
    connection.room = room
    hub.attendance.attach(connection, topics, cursor)
    hub.pump.flush(connection)
    return connection
