"""`/notifications`: takes connections in, refuses those that can't be, and keeps count of them."""

import asyncio
import math
from collections import Counter
from contextlib import suppress
from random import Random

from aiohttp import web

from hubd.core.errors import TOO_MANY, Disconnect, Problem
from hubd.core.identity import Identity, warn_at
from hubd.edge import frames
from hubd.edge.actions import Actions
from hubd.edge.credentials import Authenticator
from hubd.edge.framing import JSON, MSGPACK, Framing, form_of
from hubd.edge.handover import take_over
from hubd.edge.limits import PerAddress
from hubd.edge.origin import Origins
from hubd.edge.tokens import TokenRefused, Tokens
from hubd.edge.websocket import Refused, Unauthenticated, WebSocketConnection
from hubd.hub import Hub
from hubd.tasks import Tasks

CLOSE_S = 5.0
"""How long the other side has to answer a close frame."""
FRAME_UNIT = 4096
"""How many bytes of a frame count as one of `frames_per_s`."""
LARGEST_A_SECOND = 4
"""But so many frames of the maximal size are always within it."""


class Endpoint:
    """What all connections share, and who is on the way in or out."""

    def __init__(
        self,
        hub: Hub,
        *,
        authenticator: Authenticator,
        tokens: Tokens,
        origins: Origins,
        actions: Actions,
        tasks: Tasks,
        random: Random,
    ) -> None:
        limits = hub.config.limits
        self.hub = hub
        self.clock = hub.clock
        self.tokens = tokens
        self.actions = actions
        self.tasks = tasks
        self.frames_per_s = limits.frames_per_s or math.inf
        self._frame_unit = max(FRAME_UNIT, math.ceil(LARGEST_A_SECOND * limits.frame_bytes / self.frames_per_s))
        self.json_depth = limits.json_depth
        self.json_keys = limits.json_keys
        self.queue_bytes = limits.queue_bytes
        self.unauthenticated: dict[Unauthenticated, None] = {}
        self.leaving: dict[Framing, float] = {}  # close frame sent, and until when the answer is waited for
        self.addresses = PerAddress()
        self._none_leaving: asyncio.Event | None = None
        self.spare_reader = self.new_reader()
        self._authenticator = authenticator
        self._origins = origins
        self._random = random

    def new_reader(self) -> frames.FrameReader:
        """A reader of inbound frames, with the limits of this hub."""
        return frames.FrameReader(self.hub.config.limits.frame_bytes, self._frame_unit)

    def retry_after(self) -> float:
        """When a connection that is too many should try again (seconds): not all at once."""
        return round(5 + 10 * self._random.random(), 1)

    def await_close(self, connection: Framing) -> None:
        """A close frame is out."""
        self.leaving[connection] = self.clock.monotonic() + CLOSE_S

    def closed(self, connection: Framing) -> None:
        """A transport is gone."""
        self.leaving.pop(connection, None)
        self.addresses.discard(connection.address)
        if not self.leaving and self._none_leaving is not None:
            self._none_leaving.set()

    async def all_gone(self, timeout_s: float) -> None:
        """Wait until every connection that was told to go has gone, but not longer than that."""
        self._none_leaving = asyncio.Event()
        if self.leaving:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_leaving.wait(), timeout_s)

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Handle a GET that asks for a WebSocket."""
        key = _handshake_key(request)
        address = request.remote or ""
        self._check_room(request, address)
        subprotocol = _subprotocol(request)
        protocol: Framing
        try:
            identity = await self._authenticator.connecting(request)
            # From here to the handover nothing waits: what is decided here is still so when the transport is ours.
            self._check_room(request, address)
            protocol = self._protocol(request, address, subprotocol, identity)
        except TokenRefused as refused:
            protocol = self._refused(address, subprotocol, refused.disconnect)
        self.addresses.add(address)
        try:
            return take_over(request, _handshake(key, subprotocol), protocol)
        except BaseException:
            protocol.on_gone()
            self.closed(protocol)
            raise

    def _check_room(self, request: web.Request, address: str) -> None:
        """Refuse before the handshake what a browser's page must not or the hub can't take."""
        limits = self.hub.config.limits
        if not self._origins.allowed(request.headers):
            raise Problem("forbidden", "pages of this origin may not connect (see [auth] origins)")
        if self.hub.stopping:
            raise Problem("unavailable", "the hub is stopping", retry_after=self.retry_after())
        if limits.per_ip and self.addresses.of(address) >= limits.per_ip:
            raise Problem("rate_limited", "too many connections from this address", retry_after=self.retry_after())
        if self.hub.is_full(strangers=len(self.unauthenticated)):
            raise Problem("unavailable", "the hub has no room for another connection", retry_after=self.retry_after())

    def _protocol(
        self, request: web.Request, address: str, subprotocol: str | None, identity: Identity | None
    ) -> Framing:
        if identity is None:
            return self._unauthenticated(request, address, subprotocol)
        why = self.hub.refusal(identity)
        if why is not None:
            return self._refused(address, subprotocol, why, self.retry_after())
        return self._attached(request, address, subprotocol, identity)

    def _attached(
        self, request: web.Request, address: str, subprotocol: str | None, identity: Identity
    ) -> WebSocketConnection:
        acks = request.query.get("acks") == "1"
        form = form_of(subprotocol)
        connection = WebSocketConnection(self, address, identity, form, subprotocol=subprotocol, acks=acks)
        connection.warn_at = warn_at(identity, self.clock.now())
        topics = [topic for topic in request.query.get("topics", "").split(",") if topic]
        self.hub.attendance.attach(connection, topics, request.query.get("cursor") or None)
        return connection

    def _unauthenticated(self, request: web.Request, address: str, subprotocol: str | None) -> Unauthenticated:
        limit = self.hub.config.limits.unauthenticated
        if limit and len(self.unauthenticated) >= limit and not self._make_room(address):
            message = "too many connections that haven't said who they are"
            raise Problem("unavailable", message, retry_after=self.retry_after())
        made = Unauthenticated(
            self,
            address,
            form_of(subprotocol),
            subprotocol is not None,
            lambda identity: self._attached(request, address, subprotocol, identity),
        )
        self.unauthenticated[made] = None
        return made

    def _make_room(self, address: str) -> bool:
        """End the oldest stranger of the address that has most of them; not for one that would then have as many.

        Else one address could keep everybody else out. A limit for each would do so where all come by one proxy.
        """
        strangers = Counter(stranger.address for stranger in self.unauthenticated)
        crowded, count = strangers.most_common(1)[0]
        if count < strangers[address] + 2:
            return False
        oldest = next(stranger for stranger in self.unauthenticated if stranger.address == crowded)
        oldest.refuse(TOO_MANY, self.retry_after())
        return True

    def _refused(self, address: str, subprotocol: str | None, why: Disconnect, retry_after: float = 0.0) -> Refused:
        return Refused(self, address, form_of(subprotocol), subprotocol is not None, why, retry_after)


def _handshake_key(request: web.Request) -> str:
    """The client's key, if this is a handshake (RFC 6455 section 4.2.1); else a ``Problem``."""
    if "upgrade" not in request.headers.get("Connection", "").lower():
        raise Problem("invalid_body", "a WebSocket handshake has the header 'Connection: Upgrade'")
    if request.headers.get("Sec-WebSocket-Version", "").strip() != "13":
        raise Problem("upgrade_required", "only version 13 of the WebSocket protocol is spoken here")
    key = request.headers.get("Sec-WebSocket-Key", "").strip()
    if not frames.is_handshake_key(key):
        raise Problem("invalid_body", "Sec-WebSocket-Key is missing or no base64 of 16 bytes")
    return key


def _subprotocol(request: web.Request) -> str | None:
    """The first that the client offers, on one line or several (RFC 6455 section 11.3.4), and that is spoken here."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(",")
    return next((word for word in map(str.strip, offered) if word in (JSON, MSGPACK)), None)


def _handshake(key: str, subprotocol: str | None) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {frames.accept_key(key)}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
