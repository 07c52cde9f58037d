"""How bytes leave: what every connection does that has a socket to itself for as long as it lasts."""

import asyncio
import os
from typing import TYPE_CHECKING

from hubd.core.connection import Connection

if TYPE_CHECKING:
    from hubd.edge.endpoint import Endpoint


class Streaming(Connection, asyncio.Protocol):
    """A connection whose frames are written as they come, straight to the socket as long as that takes them.

    Its ``endpoint`` and ``address`` have to be set before the transport comes.
    """

    __slots__ = ("endpoint", "transport")

    endpoint: "Endpoint"
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ours; what the attachment put into the outbox can go out."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # so that `paused` says whether the transport's buffer is empty
        # Of what it holds from before, when that was much, only the protocol before us has been told.
        self.paused = transport.get_write_buffer_size() > 0
        self.fd = _number_of(transport)
        self.endpoint.hub.pump.flush(self)

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket, and what it doesn't take to the transport, which then pauses us."""
        if self.fd < 0:
            self.transport.write(data)
            return
        try:
            sent = os.write(self.fd, data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.transport.abort()
            return
        if sent != len(data):
            self.transport.write(data[sent:])

    def pause_writing(self) -> None:
        """The transport has bytes that the socket doesn't take."""
        self.paused = True

    def resume_writing(self) -> None:
        """It has got rid of them."""
        self.paused = False
        self.counted = self.queued = 0
        if self.outbox or self.replays:
            self.endpoint.hub.pump.schedule(self)

    def unsent(self) -> int:
        """Bytes in the transport's buffer."""
        return self.transport.get_write_buffer_size()

    def put(self, frame: bytes) -> None:
        """Send a frame, behind what already waits."""
        self.outbox.append(frame)
        self.endpoint.hub.pump.schedule(self)

    def on_gone(self) -> None:
        """Off all registries; what is still to be said goes through the transport."""
        self.fd = -1
        self.endpoint.hub.lost(self)
        self.outbox.clear()

    def abort(self) -> None:
        """Drop the transport."""
        self.closing = True
        self.outbox.clear()
        self.transport.abort()


def _number_of(transport: asyncio.Transport) -> int:
    """The socket's file descriptor, which is written to only while the transport's buffer is empty: half the cost.

    It is -1 where there is no such socket (other event loops): then the transport takes everything.
    """
    socket = getattr(transport.get_extra_info("socket"), "_sock", None)
    return -1 if socket is None else int(socket.fileno())
