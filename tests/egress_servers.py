"""Servers on loopback that count who connects and answer as told; and calls to them."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from hubd.egress import Answer, Egress, EgressFailed

LOOPBACK = ("127.0.0.1", "127.0.0.2", "::1")
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Door:
    """Where a server listens, who came, and the requests it read."""

    port: int = 0
    connections: int = 0
    open: int = 0
    most_open: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def read_request(door: Door, reader: asyncio.StreamReader) -> bytes:
    """One request with its body, raw."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    request = head + await reader.readexactly(length)
    door.requests.append(request)
    return request


@asynccontextmanager
async def listening(
    behaviour: Callable[[Door], Behaviour], hosts: Iterable[str] = ("127.0.0.1",), tls: ssl.SSLContext | None = None
) -> AsyncIterator[Door]:
    """A server of raw bytes, on the same port of each of these addresses."""
    door = Door()
    behave = behaviour(door)
    at_work: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)
        door.open += 1
        door.most_open = max(door.most_open, door.open)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            await behave(reader, writer)
        door.open -= 1
        writer.close()
        with suppress(ConnectionError, asyncio.CancelledError, ssl.SSLError, TimeoutError):
            await writer.wait_closed()
        at_work.discard(task)

    def counted(protocol: asyncio.StreamReaderProtocol) -> asyncio.StreamReaderProtocol:
        # Counted when TCP is connected, not when TLS is: a dial is a dial.
        door.connections += 1
        return protocol

    def protocol() -> asyncio.StreamReaderProtocol:
        return counted(asyncio.StreamReaderProtocol(asyncio.StreamReader(), handle))

    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    for host in hosts:
        servers.append(await loop.create_server(protocol, host, door.port, ssl=tls))
        door.port = servers[0].sockets[0].getsockname()[1]
    try:
        yield door
    finally:
        for server in servers:
            server.close()
        for task in list(at_work):
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


def answering(raw: bytes) -> Callable[[Door], Behaviour]:
    """Reads a request and writes these bytes, as often as it is asked on a connection."""

    def behaviour(door: Door) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_request(door, reader)
                writer.write(raw)
                await writer.drain()

        return behave

    return behaviour


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Names(AbstractResolver):
    """A resolver with a table. A name with several answers gives the next one each time it is asked."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self._answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


# --- What they do after one request


def behaving(behave: Behaviour) -> Callable[[Door], Behaviour]:
    """Reads one request, then behaves."""

    def behaviour(door: Door) -> Behaviour:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(door, reader)
            await behave(reader, writer)

        return run

    return behaviour


async def stall(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()  # until the caller hangs up


def says(*parts: bytes, then: Behaviour | None = None) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then is not None:
            await then(reader, writer)

    return behave


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# --- Calls

CALL: dict[str, Any] = {"body": b"{}", "timeout_s": 10.0, "answer_bytes": 1000}
ALLOWED = ("127.0.0.0/8", "::1", "localhost")


@asynccontextmanager
async def client(*allow: str, **options: Any) -> AsyncIterator[Egress]:
    egress = Egress(allow, **options)
    try:
        yield egress
    finally:
        await egress.close()


async def call(egress: Egress, url: str | URL, method: str = "POST", **options: Any) -> Answer:
    return await egress.send(method, url, **(CALL | options))


async def reason_of(egress: Egress, url: str, **options: Any) -> str:
    with pytest.raises(EgressFailed) as failed:
        await call(egress, url, **options)
    # Nothing hangs on it that could show an address or a value in somebody's log.
    assert failed.value.__context__ is None
    assert str(failed.value) == failed.value.reason
    return failed.value.reason


async def until(done: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while not done():
        assert asyncio.get_running_loop().time() < deadline, "it didn't come about"
        await asyncio.sleep(0.01)
