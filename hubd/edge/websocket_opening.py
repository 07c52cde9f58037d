"""Opening a WebSocket: the handshake (RFC 6455 section 4.2), and who gets which kind of connection."""

from collections import Counter

from aiohttp import web

from hubd.core.errors import TOO_MANY, Disconnect, Problem
from hubd.core.identity import Identity
from hubd.edge import frames
from hubd.edge.endpoint import Endpoint
from hubd.edge.framing import JSON, MSGPACK, Framing, form_of
from hubd.edge.handover import take_over
from hubd.edge.tokens import TokenRefused
from hubd.edge.websocket import Refused, Unauthenticated, WebSocketConnection

_ANSWER = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


async def open_websocket(endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
    """Handle a GET that asks for a WebSocket."""
    key = handshake_key(request)
    address = endpoint.proxies.address(request)
    endpoint.check_room(request, address)
    subprotocol = subprotocol_of(request)
    protocol: Framing
    try:
        identity = await endpoint.authenticator.connecting(request)
        if identity is not None:
            identity = await endpoint.permit(request, identity)
        # From here to the handover nothing waits: what is decided here is still so when the transport is ours.
        endpoint.check_room(request, address)
        protocol = _protocol(endpoint, request, address, subprotocol, identity)
    except TokenRefused as refused:
        endpoint.hub.counts.refused[refused.disconnect.reason] += 1
        protocol = _refused(endpoint, address, subprotocol, refused.disconnect)
    endpoint.addresses.add(address)
    try:
        return take_over(request, handshake(key, subprotocol), protocol)
    except BaseException:
        protocol.on_gone()
        endpoint.closed(protocol)
        raise


def _protocol(
    endpoint: Endpoint, request: web.Request, address: str, subprotocol: str | None, identity: Identity | None
) -> Framing:
    if identity is None:
        return _unauthenticated(endpoint, request, address, subprotocol)
    endpoint.make_way(request, identity)
    why = endpoint.hub.refusal(identity)
    if why is not None:
        endpoint.hub.counts.refused["per_user"] += 1
        return _refused(endpoint, address, subprotocol, why, endpoint.retry_after())
    return attached(endpoint, request, address, subprotocol, identity)


def attached(
    endpoint: Endpoint, request: web.Request, address: str, subprotocol: str | None, identity: Identity
) -> WebSocketConnection:
    """The connection of a user who may have it, as the hub knows it from now on; its transport is still to come."""
    acks = request.query.get("acks") == "1"
    form = form_of(subprotocol)
    connection = WebSocketConnection(endpoint, address, identity, form, subprotocol=subprotocol, acks=acks)
    endpoint.attach(request, connection, request.query.get("cursor") or None)
    return connection


def _unauthenticated(
    endpoint: Endpoint, request: web.Request, address: str, subprotocol: str | None
) -> Unauthenticated:
    limit = endpoint.hub.config.limits.unauthenticated
    if limit and len(endpoint.unauthenticated) >= limit and not _make_room(endpoint, address):
        message = "too many connections that haven't said who they are"
        raise endpoint.refused("unauthenticated", Problem("unavailable", message, retry_after=endpoint.retry_after()))

    async def identify(token: str) -> Identity:
        return await endpoint.permit(request, await endpoint.authenticator.by_token(token, address))

    made = Unauthenticated(
        endpoint,
        address,
        form_of(subprotocol),
        subprotocol is not None,
        identify,
        lambda identity: attached(endpoint, request, address, subprotocol, identity),
    )
    endpoint.unauthenticated[made] = None
    return made


def _make_room(endpoint: Endpoint, address: str) -> bool:
    """End the oldest stranger of the address that has most of them; not for one that would then have as many.

    Else one address could keep everybody else out. A limit for each would do so where all come by one proxy.
    """
    strangers = Counter(stranger.address for stranger in endpoint.unauthenticated)
    crowded, count = strangers.most_common(1)[0]
    if count < strangers[address] + 2:
        return False
    oldest = next(stranger for stranger in endpoint.unauthenticated if stranger.address == crowded)
    oldest.refuse(TOO_MANY, endpoint.retry_after())
    return True


def _refused(
    endpoint: Endpoint, address: str, subprotocol: str | None, why: Disconnect, retry_after: float = 0.0
) -> Refused:
    return Refused(endpoint, address, form_of(subprotocol), subprotocol is not None, why, retry_after)


def handshake_key(request: web.Request) -> str:
    """The client's key, if this is a handshake (RFC 6455 section 4.2.1); else a ``Problem``."""
    if "upgrade" not in request.headers.get("Connection", "").lower():
        raise Problem("invalid_body", "a WebSocket handshake has the header 'Connection: Upgrade'")
    if request.headers.get("Sec-WebSocket-Version", "").strip() != "13":
        raise Problem("upgrade_required", "only version 13 of the WebSocket protocol is spoken here")
    key = request.headers.get("Sec-WebSocket-Key", "").strip()
    if not frames.is_handshake_key(key):
        raise Problem("invalid_body", "Sec-WebSocket-Key is missing or no base64 of 16 bytes")
    return key


def subprotocol_of(request: web.Request) -> str | None:
    """The first that the client offers, on one line or several (RFC 6455 section 11.3.4), and that is spoken here."""
    lines = request.headers.getall("Sec-WebSocket-Protocol", [])
    if not lines:
        return None
    offered = ",".join(lines).split(",")
    return next((word for word in map(str.strip, offered) if word in (JSON, MSGPACK)), None)


def handshake(key: str, subprotocol: str | None) -> bytes:
    """The answer that a handshake is done."""
    chosen = "" if subprotocol is None else f"\r\nSec-WebSocket-Protocol: {subprotocol}"
    return f"{_ANSWER}Sec-WebSocket-Accept: {frames.accept_key(key)}{chosen}\r\n\r\n".encode()
