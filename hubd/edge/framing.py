"""What every WebSocket connection does, whoever is behind it: frames in and out, pings, the close handshake."""

import asyncio
from typing import TYPE_CHECKING

from hubd.core.codec import Form
from hubd.core.errors import TOO_MANY, Disconnect
from hubd.core.protocol import farewell
from hubd.edge import frames
from hubd.edge.transports import untie

if TYPE_CHECKING:
    from hubd.edge.endpoint import Endpoint

WRONG_KIND = 1003
JSON = "hubd.v1.json"
MSGPACK = "hubd.v1.msgpack"
TEXT_FORM = Form("websocket text", "json", lambda data, cursor: frames.text_frame(data))
PLAIN_FORM = Form(
    "websocket text, not acked",
    "json",
    lambda data, cursor: frames.text_frame(data),
    prove=lambda sequence: frames.ping_frame(b"%d" % sequence),
)
BINARY_FORM = Form("websocket binary", "msgpack", lambda data, cursor: frames.binary_frame(data))


def form_of(subprotocol: str | None) -> Form:
    """The wire form that a subprotocol stands for; None is the plain one."""
    return BINARY_FORM if subprotocol == MSGPACK else TEXT_FORM


FRAMING_SLOTS = ("frames_in_second", "reader", "second")
"""What a connection that is framed has to have in its slots."""
STRANGER_SLOTS = (*FRAMING_SLOTS, "address", "closing", "control", "endpoint", "form", "heard_at", "transport")
"""The same for what is no connection, and so has nothing of all that yet."""


class Framing(asyncio.Protocol):
    """Reads frames from a transport and answers what belongs to the WebSocket protocol itself (RFC 6455).

    Subclasses add what messages mean. ``closing``: our close frame is out, only the other side's is still awaited.
    """

    if not TYPE_CHECKING:
        # The subclasses have the slots: one that is also a `Connection` couldn't inherit them from two sides.
        __slots__ = ()

    endpoint: "Endpoint"
    form: Form
    control: bool
    address: str
    transport: asyncio.Transport
    reader: frames.FrameReader | None
    closing: bool
    heard_at: float
    second: float
    frames_in_second: int

    def begin(self, endpoint: "Endpoint", address: str) -> None:
        """Set up what framing keeps; the transport comes with ``connection_made``."""
        self.endpoint = endpoint
        self.address = address
        self.reader = None
        self.closing = False
        self.heard_at = self.second = endpoint.clock.monotonic()
        self.frames_in_second = 0

    def on_message(self, payload: bytes) -> None:
        """A whole message came in, of the right kind (text or binary)."""
        raise NotImplementedError

    def on_pong(self, payload: bytes) -> None:
        """A ping with this payload was answered, or somebody makes it look so."""

    def on_gone(self) -> None:
        """Off all registries; may be called more than once."""
        raise NotImplementedError

    def put(self, frame: bytes) -> None:
        """Send a frame, behind what already waits."""
        raise NotImplementedError

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone, however that came about."""
        self.on_gone()
        self.endpoint.closed(self)
        untie(self.transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        endpoint = self.endpoint
        reader = self.reader or endpoint.spare_reader
        self.heard_at = now = endpoint.clock.monotonic()
        if now - self.second >= 1.0:
            self.second, self.frames_in_second = now, 0
        left = max(0, endpoint.frames_per_s - self.frames_in_second)
        events = reader.feed(data, left)
        self.frames_in_second += reader.frames
        if reader.idle:
            self.reader = None
        elif self.reader is None:
            self.reader = reader
            endpoint.spare_reader = endpoint.new_reader()
        if reader.frames > left:
            self._flooded()
        for event in events:
            self.handle(event)

    def _flooded(self) -> None:
        """There were too many frames, or too large ones; the reader ignores all the rest."""
        if not self.closing:
            self.refuse(TOO_MANY, self.endpoint.retry_after())
        self._end_of_words()

    def _end_of_words(self) -> None:
        """Nothing more is said nor understood behind our close frame, but what still comes in is read for a while.

        Closing a socket with unread bytes is a reset, and that could reach the other side before our close frame.
        """
        self.transport.write_eof()

    def handle(self, event: frames.Event) -> None:
        """Act on one event."""
        if isinstance(event, frames.Close):
            self.close(event.code, "")
            self.transport.close()  # the other side has said its last word: nothing more to wait for
        elif isinstance(event, frames.Violation):
            self.close(event.code, event.reason)
            self._end_of_words()
        elif self.closing:
            return
        elif isinstance(event, frames.Message):
            if event.text is (self.form.encoding == "json"):
                self.on_message(event.payload)
            else:
                self.close(WRONG_KIND, "text frames only" if event.text is False else "binary frames only")
        elif isinstance(event, frames.Ping):
            self.put(frames.pong_frame(event.payload))
        elif event.payload:
            self.on_pong(event.payload)

    def refuse(self, why: Disconnect, retry_after: float = 0.0) -> None:
        """End the connection for a reason of the hub's, which hubd.v1 is told in a control frame first."""
        lead = self.form.control(farewell(why, retry_after)) if self.control else b""
        self.close(why.code, why.reason, lead)

    def close(self, code: int, reason: str, lead: bytes = b"") -> None:
        """Send ``lead`` and a close frame; the transport goes when the other side has answered, or after a while."""
        if self.closing:
            return
        self.closing = True
        self.on_gone()
        self.transport.write(lead + frames.close_frame(code, reason))
        self.endpoint.await_close(self)
