"""An HTTP client that does what no library does: half heads, drops, bodies that don't come, reading nothing."""

import asyncio
import json
import socket
from typing import Any, Self

from hubd.edge.reception import Reception
from tests.edge.live_hub import HOST, Answer, LiveHub, eventually
from tests.edge.ws_client import Client

PATIENCE_S = 10.0
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class Raw:
    """A TCP connection to the hub. It reads only when it is asked to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, hub: LiveHub, data: bytes = b"", *, from_address: str = HOST, buffer: int = 0) -> Self:
        """Connect, and send something; ``buffer`` is what the system keeps of answers that aren't read (bytes)."""
        sock = socket.socket()
        sock.setblocking(False)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.bind((from_address, 0))
        await asyncio.get_running_loop().sock_connect(sock, (HOST, hub.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=buffer or 1 << 16)
        raw = cls(reader, writer)
        hub.clients.append(Client(reader, writer))  # so that it is closed when the hub stops
        raw.send(data)
        return raw

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    async def answer(self) -> Answer:
        """The next answer, whole."""
        async with asyncio.timeout(PATIENCE_S):
            head, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.title(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body: Any = await self.reader.readexactly(int(headers["Content-Length"]))
        if "json" in headers.get("Content-Type", ""):
            body = json.loads(body)
        return Answer(int(head.split()[1]), headers, body)

    async def ask(self, data: bytes = GET) -> Answer:
        """Send a request and read its answer."""
        self.send(data)
        return await self.answer()

    async def is_cut(self) -> bool:
        """Wait for the end, reading all that comes before it; False if it doesn't come."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await self.reader.read(1 << 20):
                    pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self.writer.transport.abort()


async def arrived(reception: Reception, count: int) -> None:
    """Wait until so many HTTP connections are open."""
    await eventually(lambda: len(reception) == count, f"{count} connections, not {len(reception)}")


def end_of(hub: LiveHub, client: Any) -> Any:
    """The transport of the hub's end of a client's connection; None while it isn't an HTTP connection."""
    name = client.writer.get_extra_info("sockname")
    ends = hub.reception._open.values()
    return next((end for end in ends if end.get_extra_info("peername") == name), None)


def publishing(hub: LiveHub, length: int | None = None) -> bytes:
    """A publish call, its body included unless only a length is given."""
    body = b'{"to":"notifications","notification":{"type":"x"}}'
    head = f"POST /api/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: {hub.bearer('backend')}\r\n"
    size = len(body) if length is None else length
    return f"{head}Content-Length: {size}\r\n\r\n".encode() + (body if length is None else b"")
