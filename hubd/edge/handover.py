"""Takes a connection's transport out of aiohttp's hands and gives it to a protocol of hubd's own.

aiohttp has read the request; its handler object, reader and task cost more memory than everything hubd keeps of a
connection, so they are let go. This leans on details of aiohttp 3.14 that no documentation promises, which is why it
stands alone in this file, with a test that fails when a release changes them.
"""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


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
