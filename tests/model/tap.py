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


class Outbox(list[bytes]):
    """An outbox that remembers what was put into it, and what of that hasn't been written."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh: list[bytes] = []
        self.unwritten = bytearray()
        self.broken = ""

    def append(self, frame: bytes) -> None:
        """Put a frame behind the others."""
        self.fresh.append(frame)
        self.unwritten += frame
        super().append(frame)

    def insert(self, *_: Any) -> None:
        """Nothing overtakes."""
        self.broken = "a frame was put before others that wait in the outbox"


class Tapped(RecordingConnection):
    """A recording connection of which the model hears at once what is meant for it (``fresh``).

    That the bytes on the wire are these frames, all of them and in this order, is checked with every write.
    """

    __slots__ = ("wire",)

    def __init__(self, hub: Hub, identity: Identity, *, control: bool, form: Form) -> None:
        super().__init__(hub, identity, control=control, form=form)
        self.outbox: list[bytes] = Outbox()
        self.wire = 0

    def write(self, data: bytes) -> None:
        """Compare, then record; what was recorded isn't needed any more."""
        unwritten = self._tap.unwritten
        if not unwritten.startswith(data):
            # Told later: the pump takes an exception for a fault of the transport.
            self._tap.broken = f"{data!r} was written before {bytes(unwritten)!r}"
        del unwritten[: len(data)]
        self.wire += len(data)
        super().write(data)
        self._raw.clear()

    @property
    def _tap(self) -> Outbox:
        assert isinstance(self.outbox, Outbox), "somebody gave the connection another outbox"
        return self.outbox

    def unwritten(self) -> int:
        """The bytes that were meant for it and haven't been written, also when it was cut since."""
        return len(self._tap.unwritten)

    def waiting(self) -> int:
        """The bytes that the hub keeps for it."""
        return sum(map(len, self.outbox)) + self.unsent()

    def fresh(self) -> list[dict[str, Any]]:
        """The frames that were meant for it since the last call."""
        tap = self._tap
        if tap.broken:
            raise Broken(tap.broken)
        raw, tap.fresh = tap.fresh, []
        if self.form is JSON_FORM:
            return [orjson.loads(frame) for frame in raw]
        assert self.form is MSGPACK_FORM
        return [msgpack.unpackb(frame[4:]) for frame in raw]


class ObservedBroker:
    """A broker around another one: ``around`` is called for each publication, and calls what the hub gave."""

    def __init__(self, inner: Broker, around: Callable[[int, Notification, OnPublication], int]) -> None:
        self._inner = inner
        self._around = around

    def start(self, on_publication: OnPublication) -> None:
        """Hand publications to this function, with ``around`` around it."""
        self._inner.start(lambda sequence, notification: self._around(sequence, notification, on_publication))

    async def publish(self, notification: Notification) -> Published:
        """As the inner one does."""
        return await self._inner.publish(notification)


def rings_of(hub: Hub) -> dict[str, list[int]]:
    """The sequence numbers that each channel's ring holds. Asking for the history would let old entries go."""
    return {name: [entry.sequence for entry in ring.entries] for name, ring in hub.rings._rings.items()}
