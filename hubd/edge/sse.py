"""Server-sent events (WHATWG HTML, "Server-sent events"): streams on the same slim writing path as WebSockets."""

import asyncio
import re
import socket
from typing import Any

from aiohttp import web

from hubd.core.codec import Form
from hubd.core.connection import Connection
from hubd.core.errors import Disconnect
from hubd.core.identity import Identity
from hubd.core.protocol import farewell
from hubd.edge.endpoint import Endpoint
from hubd.edge.handover import take_over
from hubd.edge.transports import untie
from hubd.edge.writing import Streaming

PING_S = 15
"""How often a stream shows that it is alive: proxies cut what is silent for a minute, some sooner."""
RETRY_LEAST_MS, RETRY_MOST_MS = 1000, 4000
"""When a browser comes back after a broken stream; not all at once."""
_NO_WEIGHT = frozenset(("q=0", "q=0.0", "q=0.00", "q=0.000"))
_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache, no-store, no-transform\r\n"
    b"X-Accel-Buffering: no\r\n"  # nginx
    b"Connection: close\r\n"  # it lasts until it ends: there is no length to tell and no chunk to count
)

_CURSOR = re.compile(r"[A-Za-z0-9._~-]{1,64}")
"""What a cursor looks like from outside, whichever hub it is from."""


def _event(data: bytes, cursor: str) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (cursor.encode(), data) if cursor else b"event: hub\ndata: %b\n\n" % data


FORM = Form("sse", "json", _event)


def wants_events(request: web.Request) -> bool:
    """Whether the request accepts an event stream: names it, and not with the weight 0 (RFC 9110 section 12.5.1)."""
    accepted = ",".join(request.headers.getall("Accept", [])).lower().split(",")
    kinds = ([part.strip() for part in kind.split(";")] for kind in accepted)
    return any(kind[0] == "text/event-stream" and not _NO_WEIGHT.intersection(kind[1:]) for kind in kinds)


class SseConnection(Streaming):
    """A user's event stream. Whether anybody still reads it, only the transport can find out."""

    __slots__ = ()

    transport_name = "sse"
    answers_pings = False
    ping_s = PING_S

    def __init__(self, endpoint: Endpoint, address: str, identity: Identity, *, acks: bool) -> None:
        now = endpoint.clock.monotonic()
        super().__init__(endpoint.hub.ids.connection(), identity, FORM, control=True, acks=acks, now=now)
        self.endpoint = endpoint
        self.address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ours. A peer that is gone without a word answers no segment: it is given up then."""
        peer = transport.get_extra_info("socket")
        if peer is not None and hasattr(socket, "TCP_USER_TIMEOUT") and peer.family != socket.AF_UNIX:
            silent_ms = round(1000 * (PING_S + self.endpoint.hub.config.limits.pong_s))
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silent_ms)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """There is nothing to say behind the request."""

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self.on_gone()
        self.endpoint.closed(self)
        untie(self.transport)

    def put_gap(self, fields: dict[str, Any]) -> None:
        """Tell it of a gap; behind one that is a bad cursor's, it stands where the replay begins."""
        super().put_gap(fields)
        if fields["reason"] != "evicted":
            self.outbox.append(b"id: %b\n\n" % self.endpoint.hub.attendance.cursor(self.since).encode())

    def ping(self, cursor: str) -> None:
        """A comment, and where the stream stands, so that a quiet one's cursor doesn't grow old."""
        self.outbox.append(b":\nid: %b\n\n" % cursor.encode())

    def end(self, why: Disconnect, retry_after: float = 0.0) -> None:
        """Say why, and when to come back, behind all that it is still owed; then close."""
        retry = b"retry: %d\n" % round(retry_after * 1000) if retry_after else b""
        last = retry + self.form.control(farewell(why, retry_after))
        self.closing = True
        self.transport.write(b"".join(self.outbox) + last)
        self.outbox.clear()
        self.transport.close()
        self.endpoint.await_close(self)


async def open_stream(endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
    """Handle a GET that asks for an event stream."""
    address = endpoint.proxies.address(request)
    identity = await endpoint.identify(request, address)
    connection = SseConnection(endpoint, address, identity, acks=request.query.get("acks") == "1")
    cursor = request.headers.get("Last-Event-ID") or request.query.get("cursor")
    endpoint.attach(request, connection, cursor or None)
    endpoint.addresses.add(address)
    try:
        return take_over(request, _head(endpoint, request, connection, cursor), connection)
    except BaseException:
        connection.on_gone()
        endpoint.closed(connection)
        raise


def _head(endpoint: Endpoint, request: web.Request, connection: Connection, cursor: str | None) -> bytes:
    """All that comes before the first event; its id is where the client stands until it is told anything.

    That is at the cursor it came with, even one that can't be honoured: a browser keeps this id at once, and if it is
    cut off before the gap, it must not come back with one that hides it.
    """
    retry = endpoint.random.randint(RETRY_LEAST_MS, RETRY_MOST_MS)
    if not cursor or not _CURSOR.fullmatch(cursor):
        cursor = endpoint.hub.attendance.cursor(connection.since)
    return b"%b%b\r\nretry: %d\nid: %b\n\n" % (_HEAD, header_lines(endpoint, request), retry, cursor.encode())


def header_lines(endpoint: Endpoint, request: web.Request) -> bytes:
    """What lets a page of another origin read the answer (CORS), as lines of its head."""
    headers: dict[str, Any] = endpoint.origins.response_headers(request.headers)
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
