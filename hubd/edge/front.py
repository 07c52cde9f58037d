"""The first protocol of each HTTP connection: it opens usual WebSockets itself, and leaves everything else to aiohttp.

What aiohttp makes for a connection and its first request (a parser, a handler, a task, the request, the application's
layers) is most of what a handshake costs, and all of it is thrown away when the transport is taken over. So a handshake
that is usual in every way, and that nothing can be held against, is answered from its bytes. In all other cases, also
where somebody has to be refused or asked first, aiohttp's protocol gets these bytes, and decides it anew from their
beginning.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from aiohttp import web

from hubd.core.errors import Problem
from hubd.core.identity import Identity
from hubd.edge.endpoint import Endpoint
from hubd.edge.heads import PATH, Head, read_head
from hubd.edge.proxies import HEADER
from hubd.edge.reception import Reception
from hubd.edge.tokens import TokenRefused
from hubd.edge.transports import untie
from hubd.edge.websocket import WebSocketConnection
from hubd.edge.websocket_opening import attached, handshake, handshake_key, subprotocol_of
from hubd.log_events import log_event

log = logging.getLogger("hubd.front")


class Front(asyncio.Protocol):
    """An HTTP connection of which nothing has come yet. ``others`` makes aiohttp's protocol for all but WebSockets."""

    __slots__ = ("_others", "_reception", "address", "transport")

    transport: asyncio.Transport

    def __init__(self, reception: Reception, others: Callable[[], asyncio.Protocol]) -> None:
        self.address = ""
        self._reception = reception
        self._others = others

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in, unless there is no room."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if not self._reception.came(self, transport):
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """It ended before anything came."""
        self._reception.went(self)
        untie(self.transport)

    def is_working(self) -> bool:
        """Nothing has been asked for yet."""
        return False

    def data_received(self, data: bytes) -> None:
        """The first bytes: they decide whose this connection is."""
        transport = self.transport
        if transport.is_closing():
            return
        self._reception.went(self)
        if open_at_once(self._reception.endpoint, transport, data):
            return
        other = self._others()
        transport.set_protocol(other)
        other.connection_made(transport)
        other.data_received(data)


def open_at_once(endpoint: Endpoint, transport: asyncio.Transport, data: bytes) -> bool:
    """Open the WebSocket that these bytes ask for; False, and nothing has happened, when they are no usual handshake.

    Nothing in here waits, so all that is looked at holds until the connection is attached.
    """
    head = read_head(data)
    if head is None:
        return False
    peer = transport.get_extra_info("peername")
    host = peer[0] if isinstance(peer, tuple) else None
    address = endpoint.proxies.client(host, lambda: head.headers.getall(HEADER, []))
    if not endpoint.origins.host_allowed(head.headers.get("Host")) or not endpoint.has_room(head.headers, address):
        return False
    request = cast(web.Request, head)  # it has all that is read of one from here on
    try:
        key = handshake_key(request)
    except Problem:
        return False
    identity = _who(endpoint, head)
    if identity is None or endpoint.hub.refusal(identity) is not None:
        return False
    subprotocol = subprotocol_of(request)
    connection = attached(endpoint, request, address, subprotocol, identity)
    _begin(endpoint, transport, connection, handshake(key, subprotocol))
    return True


def _who(endpoint: Endpoint, head: Head) -> Identity | None:
    """Who opens it; None when it takes more than a look to say that, or he is to be refused."""
    hooks = endpoint.hub.hooks
    if hooks.authenticate.impls or hooks.authorize_subscribe.impls or not endpoint.tokens.at_once:
        return None
    if "ticket" in head.query:
        return None
    proving = endpoint.authenticator.connecting(cast(web.Request, head))
    try:
        proving.send(None)
    except StopIteration as done:
        return _unless_revoked(endpoint, done.value)
    except (Problem, TokenRefused):
        return None
    proving.close()
    return None


def _unless_revoked(endpoint: Endpoint, identity: Identity | None) -> Identity | None:
    try:
        if identity is not None:
            endpoint.authenticator.check_revoked(identity)
    except (Problem, TokenRefused):
        return None
    return identity


def _begin(endpoint: Endpoint, transport: asyncio.Transport, connection: WebSocketConnection, answer: bytes) -> None:
    """Give it the transport: the answer, the welcome and the first of what it missed leave in one write."""
    endpoint.addresses.add(connection.address)
    endpoint.hub.counts.note_request("GET", PATH, 200, None)
    transport.set_protocol(connection)
    try:
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if connection.replays:
            endpoint.hub.attendance.read_on(connection)
        connection.outbox.insert(0, answer)
        connection.connection_made(transport)
    except Exception as error:
        log_event(log, "request_failed", error, method="GET", route=PATH)
        transport.abort()
