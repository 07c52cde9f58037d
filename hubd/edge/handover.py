"""Takes a connection's transport out of aiohttp's hands and gives it to a protocol of hubd's own, and back.

aiohttp has read the request; its handler object, reader and task cost more memory than everything hubd keeps of a
connection, so they are let go. This leans on details of aiohttp 3.14 that no documentation promises, which is why it
stands alone in this file, with a test that fails when a release changes them.
"""

import asyncio
from typing import Any, Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


class HttpServer(Protocol):
    """Makes aiohttp's protocol for one more connection, as in hubd.edge.http_server."""

    def handler(self) -> Any:
        """One more."""
        ...


class _HandedOver(web.Response):
    """What aiohttp's handler must return, and must not send."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is to be written: the head is out already."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nor an end."""


def take_over(request: web.Request, head: bytes, protocol: asyncio.Protocol) -> web.StreamResponse:
    """Write ``head``, give the request's transport to ``protocol``, and detach aiohttp from it.

    ``protocol.connection_made`` is called at once, and ``data_received`` with what came in behind the request. Return
    the result from the request's handler. ConnectionResetError: the client has gone already.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone")
    handler: Any = request.protocol
    if _has_ended(handler):  # nobody would ever be told of its end again
        raise ConnectionResetError("the client has said its last word")
    behind = handler._message_tail
    transport.write(head)
    transport.set_protocol(protocol)
    # Without a transport of its own, all that `connection_lost` does is to end the handler and to forget it.
    handler.transport = None
    handler.connection_lost(None)
    protocol.connection_made(transport)
    transport.resume_reading()  # aiohttp pauses it when much comes in behind the request
    if behind:
        protocol.data_received(bytes(behind))
    return _HandedOver()


def server_of(request: web.Request) -> HttpServer:
    """The server that a request came by; ask before the transport is taken over."""
    handler: Any = request.protocol
    server: HttpServer = handler._manager
    return server


def may_wait(request: web.Request) -> bool:
    """Whether its transport can be taken over for a while and given back.

    Not when the client has sent its next request already: aiohttp has read it, and it can't be handed on. Nor when it
    will send no other.
    """
    handler: Any = request.protocol
    return not handler._messages and not _has_ended(handler)


def _has_ended(handler: Any) -> bool:
    return bool(getattr(handler, "is_ended", False))  # of `http_server`'s; a plain aiohttp server closes at once


def give_back(transport: asyncio.Transport, server: HttpServer, behind: bytes, *, paused: bool) -> None:
    """Give a transport that was taken over back to aiohttp, like one between requests, with what has come in meanwhile.

    ``paused``: the transport has told the protocol before to pause writing, and will tell this one to resume.
    """
    protocol = server.handler()
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    protocol.kept_alive()
    if paused:
        protocol.pause_writing()
    transport.resume_reading()
    if behind:
        protocol.data_received(behind)
