"""Between the hub and the model: connections that tell what is meant for them, and a look at the rings."""

from collections.abc import Callable
from typing import Any

import msgpack
import orjson

from hubd.broker import Broker, OnPublication, Published
from hubd.core.codec import Form
from hubd.core.identity import Identity
from hubd.core.notification import Notification
from hubd.hub import Hub
from hubd.testing import JSON_FORM, MSGPACK_FORM, RecordingConnection
from tests.model.world import Broken
from tests.pump_world import Sockets


class Tapped(RecordingConnection):
    """A connection of which the model hears at once what is meant for it, written or not (``fresh``).

    Its transport behaves as a socket's does: it takes ``room`` bytes, the rest of that write is buffered, and it pauses
    until ``drain`` is called. ``sockets``: it has one of these, and the pump may write to it past the transport.
    """

    __slots__ = ("_buffered", "_decode", "_pending", "_too_much", "_wire")

    def __init__(
        self, hub: Hub, identity: Identity, *, control: bool, form: Form, room: int | None, sockets: Sockets | None
    ) -> None:
        super().__init__(hub, identity, control=control, form=form)
        self._decode = {JSON_FORM: _lines, MSGPACK_FORM: _packed}[form]
        self._wire = bytearray()  # what was written since the last look
        self._pending = b""  # what waited at the last look
        self._buffered = 0
        self._too_much = 0
        self.room = room
        if sockets is not None:
            self.fd = sockets.open(self._send)

    def _send(self, data: bytes) -> int:
        """The socket: it takes as much as there is room for."""
        if self.ended is not None or self.aborted:
            raise Broken("written to after its end")
        taken = len(data) if self.room is None else min(len(data), self.room - self.taken)
        if taken <= 0:
            raise BlockingIOError
        self._wire += data[:taken]
        self.taken += taken
        return taken

    def write(self, data: bytes) -> None:
        """What the socket doesn't take goes into the transport's buffer."""
        if self.paused:
            raise Broken("written to while paused")
        try:
            taken = self._send(data)
        except BlockingIOError:
            taken = 0
        self._wire += data[taken:]
        self._buffered = len(data) - taken
        self.paused = self._buffered > 0

    def unsent(self) -> int:
        """Bytes in the transport's buffer."""
        return self._buffered

    def drain(self) -> None:
        """The other side has read everything."""
        self.taken = self._buffered = 0
        if self.paused:
            self.paused = False
            self.counted = self.queued = 0
            if self.replays or self.unwritten():
                self._hub.pump.schedule(self)

    def abort(self) -> None:
        """Note what waited, and how much."""
        self._too_much = self._too_much or self.waiting()
        self._wire += self.unwritten()
        super().abort()

    def unwritten(self) -> bytes:
        """What waits in the outbox; without touching it, since that changes how the pump treats it."""
        return (self.lone or b"") + b"".join(self.listed)

    def waiting(self) -> int:
        """The bytes that the hub keeps for it, or kept when it was cut."""
        return self._too_much or len(self.unwritten()) + self.unsent()

    def fresh(self) -> list[dict[str, Any]]:
        """The frames that were meant for it since the last call: on the wire, or in the outbox behind all others."""
        stream = bytes(self._wire) + self.unwritten()
        if not stream.startswith(self._pending):
            raise Broken(f"{stream!r} overtook what waited, {self._pending!r}")
        fresh = stream[len(self._pending) :]
        self._pending = self.unwritten()
        self._wire.clear()
        return self._decode(fresh) if fresh else []


def _lines(data: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in data.splitlines()]


def _packed(data: bytes) -> list[dict[str, Any]]:
    found, place = [], 0
    while place < len(data):
        end = place + 4 + int.from_bytes(data[place : place + 4], "big")
        found.append(msgpack.unpackb(data[place + 4 : end]))
        place = end
    return found


class ObservedBroker:
    """A broker around another one: ``around`` is called for each publication, and calls what the hub gave."""

    def __init__(self, inner: Broker, around: Callable[[int, Notification, OnPublication], int]) -> None:
        self._inner = inner
        self._around = around

    def start(self, on_publication: OnPublication, sequence: int = 0) -> None:
        """Hand publications to this function, with ``around`` around it."""
        self._inner.start(lambda number, notification: self._around(number, notification, on_publication), sequence)

    async def publish(self, notification: Notification) -> Published:
        """As the inner one does."""
        return await self._inner.publish(notification)


def rings_of(hub: Hub) -> dict[str, list[int]]:
    """The sequence numbers that each channel's ring holds. Asking for the history would let old entries go."""
    return {name: [entry.sequence for entry in ring.entries] for name, ring in hub.rings._rings.items()}
