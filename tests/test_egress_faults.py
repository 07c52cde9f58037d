"""Servers that fail, stall, reset, lie and never end: each costs its caller a moment and a word."""

import asyncio
import errno
import gzip
import socket
import tracemalloc
from typing import Any

import pytest

from hubd import egress as egress_module
from hubd.egress import Egress
from tests.egress_servers import (
    ALLOWED,
    OK,
    Behaviour,
    Door,
    answering,
    behaving,
    call,
    client,
    listening,
    reason_of,
    reset,
    says,
    stall,
    until,
)


async def endlessly(writer: asyncio.StreamWriter, part: bytes) -> None:
    while not writer.is_closing():
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)


async def endless_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await endlessly(writer, b"x" * 65536)


async def endless_chunks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await endlessly(writer, b"1\r\nx\r\n" * 1000)


async def endless_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await endlessly(writer, b"X-A: b\r\n" * 1000)


async def endless_interim(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await endlessly(writer, b"HTTP/1.1 103 Early Hints\r\n\r\n")


async def slow_drops(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.02)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MISBEHAVING: list[tuple[str, Behaviour, set[str]]] = [
    ("never answers", stall, {"timeout"}),
    ("stalls in the status line", says(b"HTTP/1.1 2", then=stall), {"timeout"}),
    ("stalls in the headers", says(HEAD, b"X-A: b\r\n", then=stall), {"timeout"}),
    ("stalls in the body", says(HEAD, b"Content-Length: 5\r\n\r\nab", then=stall), {"timeout"}),
    ("drops a byte now and then", says(HEAD, b"Content-Length: 900\r\n\r\n", then=slow_drops), {"timeout"}),
    ("interim answers for ever", endless_interim, {"timeout", "bad answer"}),
    ("closes without an answer", says(), {"reset"}),
    ("closes within the headers", says(HEAD), {"reset", "bad answer"}),
    ("resets", reset, {"reset"}),
    ("resets within the body", says(HEAD, b"Content-Length: 5\r\n\r\nab", then=reset), {"reset", "bad answer"}),
    ("body shorter than it said", says(HEAD, b"Content-Length: 5\r\n\r\nab"), {"bad answer"}),
    ("length is negative", says(HEAD, b"Content-Length: -5\r\n\r\nab"), {"bad answer"}),
    ("two lengths", says(HEAD, b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), {"bad answer"}),
    ("length and chunks", says(CHUNKED[:-2], b"Content-Length: 5\r\n\r\n0\r\n\r\n"), {"bad answer"}),
    ("chunks that are none", says(CHUNKED, b"zz\r\nab\r\n"), {"bad answer"}),
    ("chunks that end early", says(CHUNKED, b"5\r\nab"), {"bad answer"}),
    ("body for ever", says(HEAD, b"\r\n", then=endless_body), {"answer too large"}),
    ("chunks for ever", says(CHUNKED, then=endless_chunks), {"answer too large"}),
    ("a long body", says(HEAD, b"Content-Length: 1001\r\n\r\n", b"x" * 1001), {"answer too large"}),
    ("headers for ever", says(HEAD, then=endless_headers), {"bad answer"}),
    ("a header for ever", says(HEAD, b"X-A: ", then=endless_body), {"bad answer"}),
    ("a status line for ever", endless_body, {"bad answer"}),
    ("no HTTP", says(b"SSH-2.0-OpenSSH_9.2\r\n", then=stall), {"bad answer"}),
    ("an unheard status", says(b"HTTP/1.1 99999 No\r\n\r\n"), {"bad answer"}),
    ("switches protocols", says(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), {"bad answer"}),
]


@pytest.mark.parametrize(
    ("behave", "reasons"), [row[1:] for row in MISBEHAVING], ids=[row[0].replace(" ", "-") for row in MISBEHAVING]
)
async def test_a_server_that_misbehaves_costs_its_caller_a_moment(behave: Behaviour, reasons: set[str]) -> None:
    loop = asyncio.get_running_loop()
    async with listening(behaving(behave)) as door, listening(answering(OK)) as good, client(*ALLOWED) as egress:
        began = loop.time()
        assert await reason_of(egress, door.url, timeout_s=0.3 if "timeout" in reasons else 10) in reasons
        assert loop.time() - began < 3
        assert door.connections == 1  # nothing is tried again behind the caller's back
        assert (await call(egress, good.url)).body == b"ok"
        await until(lambda: door.open == 0)


async def test_an_answer_of_just_the_size_is_taken() -> None:
    body = HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000
    async with listening(answering(body)) as door, client(*ALLOWED) as egress:
        assert (await call(egress, door.url)).body == b"x" * 1000


@pytest.mark.parametrize("then", [endless_body, stall])
async def test_who_wants_no_body_has_the_status_at_once(then: Behaviour) -> None:
    async with listening(behaving(says(HEAD, b"\r\n", b"x" * 10, then=then))) as door, client(*ALLOWED) as egress:
        answer = await call(egress, door.url, answer_bytes=0)
        assert (answer.status, answer.body) == (200, b"")
        await until(lambda: door.open == 0)


async def test_without_a_wanted_body_the_connection_is_kept_all_the_same() -> None:
    async with listening(answering(OK)) as door, client(*ALLOWED) as egress:
        for _ in range(5):
            assert (await call(egress, door.url, answer_bytes=0)).status == 200
        assert door.connections == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_packed_answer_is_not_unpacked(encoding: str) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 60_000
    raw = HEAD + f"Content-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode() + bomb
    async with listening(answering(raw)) as door, client(*ALLOWED) as egress:
        tracemalloc.start()
        try:
            answer = await call(egress, door.url, answer_bytes=60_000)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert answer.body == bomb
    assert most < 5_000_000


async def test_an_endless_body_is_not_gathered() -> None:
    async with listening(behaving(says(HEAD, b"\r\n", then=endless_body))) as door, client(*ALLOWED) as egress:
        tracemalloc.start()
        try:
            assert await reason_of(egress, door.url, answer_bytes=100_000) == "answer too large"
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 5_000_000


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with client(*ALLOWED) as egress:
            assert await reason_of(egress, f"http://127.0.0.1:{taken.getsockname()[1]}/") == "connection refused"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENETUNREACH, "unreachable"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.EACCES, "unreachable"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.ECONNABORTED, "reset"),
    ],
)
async def test_what_the_system_says_of_a_dial(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    async def fail(*_: object) -> None:
        raise OSError(number, "s3cret")

    async with client(*ALLOWED) as egress:
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", fail)
        assert await reason_of(egress, "http://127.0.0.1:9/") == reason


@pytest.mark.parametrize(("connect_s", "timeout_s"), [(0.2, 20.0), (20.0, 0.2)])
async def test_a_server_that_takes_no_more_connections_is_a_timeout(
    monkeypatch: pytest.MonkeyPatch, connect_s: float, timeout_s: float
) -> None:
    monkeypatch.setattr(egress_module, "CONNECT_S", connect_s)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        began = asyncio.get_running_loop().time()
        async with client(*ALLOWED) as egress:
            url = f"http://127.0.0.1:{full.getsockname()[1]}/"
            assert await reason_of(egress, url, timeout_s=timeout_s) == "timeout"
        assert asyncio.get_running_loop().time() - began < 5
        for other in others:
            other.close()


async def test_an_answer_that_comes_before_the_body_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts, and the half-sent request is not mixed up with the next one."""

    def impatient(door: Door) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            door.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            await until(lambda: door.connections == 3)

        return behave

    make = Egress._judged_socket

    def small(egress: Egress, info: tuple[Any, ...]) -> socket.socket:
        made = make(egress, info)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that the system can't take it all at once
        return made

    monkeypatch.setattr(Egress, "_judged_socket", small)
    async with listening(impatient) as door, client(*ALLOWED) as egress:
        for answer_bytes in (0, 10, 10):
            answer = await call(egress, door.url, body=bytes(egress_module.BODY_BYTES), answer_bytes=answer_bytes)
            assert answer.status == 413
        assert door.connections == len(door.requests) == 3


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    once = behaving(says(OK))
    async with listening(once) as door, client(*ALLOWED) as egress:
        for _ in range(3):
            assert (await call(egress, door.url)).body == b"ok"
            await until(lambda: door.open == 0)
            await asyncio.sleep(0.05)  # and that has come through
        assert door.connections == 3
