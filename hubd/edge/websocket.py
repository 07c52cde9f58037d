"""WebSocket connections on hubd's own slim protocol: no task, no timer and no queue object for each of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from hubd.core.codec import Form
from hubd.core.connection import Connection
from hubd.core.document import read_document
from hubd.core.errors import BAD_TOKEN, Disconnect, Problem
from hubd.core.identity import Identity
from hubd.core.protocol import Auth, Ref, read_action, ref_of, refusal, reply
from hubd.edge import frames
from hubd.edge.framing import FRAMING_SLOTS, PLAIN_FORM, STRANGER_SLOTS, Framing
from hubd.edge.tokens import TokenRefused
from hubd.edge.writing import Streaming

if TYPE_CHECKING:
    from hubd.edge.endpoint import Endpoint

SEQUENCE_DIGITS = 18


class WebSocketConnection(Streaming, Framing):
    """A user's WebSocket."""

    __slots__ = (*FRAMING_SLOTS, "subprotocol")

    transport_name = "websocket"

    def __init__(
        self, endpoint: "Endpoint", address: str, identity: Identity, form: Form, *, subprotocol: str | None, acks: bool
    ) -> None:
        now = endpoint.clock.monotonic()
        control = subprotocol is not None
        form = form if control or acks else PLAIN_FORM
        Connection.__init__(
            self, endpoint.hub.ids.connection(), identity, form, control=control, acks=acks or control, now=now
        )
        self.subprotocol = subprotocol
        self.begin(endpoint, address)

    def on_message(self, payload: bytes) -> None:
        """An action, or what should be one."""
        self.endpoint.actions.take(self, payload)

    def on_pong(self, payload: bytes) -> None:
        """It has got the notification that the ping went out behind."""
        if len(payload) <= SEQUENCE_DIGITS and payload.isdigit():
            self.endpoint.hub.arrivals.pong(self, int(payload))

    def ping(self, cursor: str) -> None:
        """Ask whether the other side is still there; hubd.v1 is told where it stands as well."""
        if self.control:
            super().ping(cursor)
        else:
            self.outbox.append(frames.ping_frame())

    def end(self, why: Disconnect, retry_after: float = 0.0) -> None:
        """Tell the other side why and close; what it is still owed goes first."""
        Framing.refuse(self, why, retry_after)

    def close(self, code: int, reason: str, lead: bytes = b"") -> None:
        """Close, behind all that waits in the outbox."""
        super().close(code, reason, b"".join(self.outbox) + lead)

    def refuse(self, why: Disconnect, retry_after: float = 0.0) -> None:
        """End the connection, off the registries first."""
        self.endpoint.hub.end(self, why, retry_after)


STRANGER_BYTES = 10_240
"""The size of a message from somebody unknown: room for the longest token and what is around it, no more work."""


class Unauthenticated(Framing):
    """A WebSocket of whom nobody knows yet; it has no way to be delivered anything to.

    ``enter`` makes it a connection, once it has said who it is.
    """

    __slots__ = (
        *STRANGER_SLOTS,
        "_enter",
        "_events",
        "_identify",
        "_verifying",
        "opened_at",
    )

    def __init__(
        self,
        endpoint: "Endpoint",
        address: str,
        form: Form,
        control: bool,
        identify: Callable[[str], Awaitable[Identity]],
        enter: Callable[[Identity], WebSocketConnection],
    ) -> None:
        self.form = form
        self.control = control
        self._identify = identify
        self._enter = enter
        self._verifying = False
        self._events: list[frames.Event] = []  # what came in behind `auth`, until that is decided
        self.begin(endpoint, address)
        self.opened_at = self.heard_at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ours."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def put(self, frame: bytes) -> None:
        """Send a frame."""
        self.transport.write(frame)
        if self.transport.get_write_buffer_size() > self.endpoint.queue_bytes:
            self.transport.abort()

    def on_gone(self) -> None:
        """Not awaited any more."""
        self.endpoint.unauthenticated.pop(self, None)

    def refuse(self, why: Disconnect, retry_after: float = 0.0) -> None:
        """End it, and count that it was never taken in."""
        self.endpoint.hub.counts.refused[why.reason] += 1
        super().refuse(why, retry_after)

    def handle(self, event: frames.Event) -> None:
        """Act on one event, or keep it for the connection that this may become."""
        if self._verifying:
            self._events.append(event)
        else:
            super().handle(event)

    def on_message(self, payload: bytes) -> None:
        """It should say who it is."""
        if len(payload) > STRANGER_BYTES:
            self.close(frames.TOO_BIG, f"first message over {STRANGER_BYTES} bytes")
            return
        ref: Ref = None
        try:
            message = read_document(payload, self.form.encoding)
            ref = ref_of(message)
            action = read_action(message, self.endpoint.json_depth, self.endpoint.json_keys)
            if not isinstance(action, Auth):
                raise Problem("not_authenticated", "the first message must be the action `auth` with your token")
        except Problem as problem:
            self._answer(ref, refusal(ref, problem))
            return
        self._verifying = True
        self.transport.pause_reading()
        self.endpoint.tasks.start(self._verify(action.token, ref), "verify a token")

    def _answer(self, ref: Ref, fields: dict[str, Any]) -> None:
        if self.control or ref is not None:
            self.put(self.form.control(fields))

    async def _verify(self, token: str, ref: Ref) -> None:
        try:
            identity = await self._identify(token)
        except TokenRefused as refused:
            self._refused(ref, refused)
            return
        except Problem as problem:  # a plugin's, about the topics: he may try again
            self._stay_stranger(refusal(ref, problem), ref)
            return
        if self.transport.is_closing():
            return
        why = self.endpoint.hub.refusal(identity)
        if why is not None or self.closing:
            self._verifying = False
            self._events.clear()
            self.transport.resume_reading()  # the answer to our close frame
            if why is not None:
                self.refuse(why, self.endpoint.retry_after())
            return
        self._become(identity, ref)

    def _refused(self, ref: Ref, refused: TokenRefused) -> None:
        if refused.temporary:
            self._stay_stranger(refusal(ref, Problem("unavailable", refused.reason, retry_after=5.0)), ref)
        elif self._stay_stranger(refusal(ref, Problem("unauthorized", refused.reason)), ref):
            self.refuse(refused.disconnect)

    def _stay_stranger(self, fields: dict[str, Any], ref: Ref) -> bool:
        """Answer that it isn't let in; False when it is on its way out already, and nothing may be answered."""
        self._verifying = False
        self._events.clear()
        if self.transport.is_closing():
            return False
        self.transport.resume_reading()
        if self.closing:
            return False  # it took too long: nothing may come behind our close frame
        self._answer(ref, fields)
        return True

    def _become(self, identity: Identity, ref: Ref) -> None:
        """From here on this is a user's connection."""
        transport = self.transport
        self.on_gone()
        connection = self._enter(identity)
        connection.reader = self.reader
        if ref is not None:
            connection.outbox.insert(0, self.form.control(reply(ref, user=identity.user)))
        transport.set_protocol(connection)
        connection.connection_made(transport)
        for event in self._events:
            connection.handle(event)
        transport.resume_reading()


class Refused(Framing):
    """A WebSocket that was let in only to be told why it can't stay: browsers can't read a refused handshake."""

    __slots__ = (*STRANGER_SLOTS, "_retry_after", "_why")

    def __init__(
        self,
        endpoint: "Endpoint",
        address: str,
        form: Form,
        control: bool,
        why: Disconnect = BAD_TOKEN,
        retry_after: float = 0.0,
    ) -> None:
        self.form = form
        self.control = control
        self._why = why
        self._retry_after = retry_after
        self.begin(endpoint, address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say why, and close."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.refuse(self._why, self._retry_after)

    def on_gone(self) -> None:
        """It was nowhere."""
