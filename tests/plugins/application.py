"""Applications that proxy_auth can ask: a real HTTP server that says who is who, and ones that misbehave."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

SECRET = "sesame-of-the-hub"


class Application:
    """Knows ``users`` by their cookie ``session=...`` or token. ``asked`` are the questions, ``calls`` raw requests.

    ``answer``: what it says instead to everybody, as status and body; ``raw``: bytes instead of any HTTP;
    ``go``: it waits for this before it answers.
    """

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {"s7": {"user": "7", "topics": ["**"], "publish": ["**"]}}
        self.asked: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.answer: tuple[int, Any] | None = None
        self.raw: bytes | None = None
        self.resets = False
        self.go = asyncio.Event()
        self.go.set()
        self.at_once = self.most_at_once = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}/who"

    async def start(self) -> None:
        """Listen; on the same port again after a stop."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be down."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")
                )
                self.heads.append(head)
                self.asked.append(json.loads(await reader.readexactly(length)))
                await self._reply(self.asked[-1], writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _reply(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.go.wait()
        finally:
            self.at_once -= 1
        if self.resets:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif self.raw is not None:
            writer.write(self.raw)
            await writer.drain()
            writer.close()
        else:
            status, body = self.answer or self.decided(asked)
            writer.write(http(status, body))
            await writer.drain()

    def decided(self, asked: dict[str, Any]) -> tuple[int, Any]:
        """By the session in the cookie, or by the token."""
        cookies = dict(pair.split("=", 1) for pair in asked["headers"].get("cookie", "").split("; ") if "=" in pair)
        session = cookies.get("session") or asked["token"] or asked["query"].get("session")
        if session is None or session.count(".") == 2:
            return 204, None  # nothing of mine, or a token of the hub's own
        found = self.users.get(session)
        return (200, found) if found else (401, {"reason": "log in again"})


def http(status: int, body: Any = None, *headers: str) -> bytes:
    """An answer: a body that isn't bytes goes out as JSON."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", *headers]
    if status != 204:
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode() + data


@asynccontextmanager
async def application(configure: Callable[[Application], None] = lambda app: None) -> AsyncIterator[Application]:
    """An application that runs."""
    app = Application()
    configure(app)
    await app.start()
    try:
        yield app
    finally:
        app.go.set()
        await app.stop()


def options(app: Application, **more: Any) -> dict[str, Any]:
    """The plugin's options for it."""
    return {"url": app.url, "allow_hosts": ["127.0.0.1"], **more}
