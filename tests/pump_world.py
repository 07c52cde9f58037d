"""A pump alone: connections whose writes can be looked at, and a loop that is turned by hand."""

from collections.abc import Callable

import orjson

from hubd.core.codec import Form
from hubd.pump import Pump
from hubd.testing import JSON_FORM, Soon
from tests.core.made import Idle, published

QUEUE_BYTES = 10_000


class Wire(Idle):
    """A connection whose writes can be looked at; it takes `room` bytes, then pauses until it is drained."""

    def __init__(self, user: str = "ada", *, room: int | None = None, form: Form = JSON_FORM) -> None:
        super().__init__(user, form=form)
        self.live = True
        self.room = room
        self.writes: list[bytes] = []
        self.untaken = 0
        self.fault: Exception | None = None
        self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.paused, "written to while paused"
        if self.fault is not None:
            raise self.fault
        self.writes.append(data)
        if self.room is not None:
            self.untaken = max(0, len(data) - self.room)
            self.room = max(0, self.room - len(data))
            self.paused = self.untaken > 0

    def unsent(self) -> int:
        return self.untaken

    def abort(self) -> None:
        self.aborted = True
        self.outbox.clear()

    def ids(self) -> list[str]:
        """The ids of all notifications that were written, in order."""
        return [orjson.loads(line)["id"] for data in self.writes for line in data.splitlines()]

    def per_write(self) -> list[int]:
        """How many frames each write had."""
        return [len(data.splitlines()) for data in self.writes]


class Sockets:
    """Numbers of sockets that are none: bytes written to one go to a function, which gives how many it takes."""

    def __init__(self) -> None:
        self._taking: list[Callable[[bytes], int]] = []

    def open(self, take: Callable[[bytes], int]) -> int:
        """A new one's number."""
        self._taking.append(take)
        return len(self._taking) - 1

    def write(self, number: int, data: bytes) -> int:
        """What a pump writes with."""
        if number < 0:
            raise OSError("no such socket")
        return self._taking[number](data)


class World:
    """A pump with a loop that is turned by hand; `slow` are those that it gave up."""

    def __init__(self, queue_bytes: int = QUEUE_BYTES, read_on: Callable[[Wire], None] | None = None) -> None:
        self.soon = Soon()
        self.sockets = Sockets()
        self.slow: list[Wire] = []
        self.sequence = 0
        self.pump = Pump(
            self.soon,
            queue_bytes,
            self.on_slow,  # type: ignore[arg-type]
            read_on or (lambda wire: None),  # type: ignore[arg-type]
            write=self.sockets.write,
        )

    def on_slow(self, wire: Wire) -> None:
        if not wire.aborted:
            self.slow.append(wire)
        wire.live = False
        wire.abort()

    def broadcast(self, wires: list[Wire], id: str = "", pad: int = 0) -> int:
        self.sequence += 1
        made = published("t", sequence=self.sequence, id=id, payload={"type": "t", "text": "x" * pad})
        live = self.pump.fan_out(made, "t", wires)  # type: ignore[arg-type]
        self.pump.run_soon()
        return live

    def targeted(self, wires: list[Wire], id: str = "", pad: int = 0) -> int:
        self.sequence += 1
        made = published("t", sequence=self.sequence, id=id, payload={"type": "t", "text": "x" * pad})
        return self.pump.fan_out_now(made, "t", wires)  # type: ignore[arg-type]

    def drain(self, wire: Wire, room: int | None = None) -> None:
        """The other side has read everything; what a transport does then."""
        wire.room, wire.untaken = room, 0
        wire.paused = False
        wire.counted = wire.queued = 0
        self.pump.schedule(wire)

    def backlog(self) -> int:
        """How much the pump has noted for itself."""
        return len(self.pump._waiting) + len(self.pump._pass)


def wires_of(count: int) -> list[Wire]:
    return [Wire(f"u{place}") for place in range(count)]
