"""What isn't HTTP or is too long, and what hubd/edge/http_server.py leans on in aiohttp.

If one of the first tests fails after an update of aiohttp, read that file.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler

from hubd.edge.http_server import FIELD_BYTES, FIELDS, HEAD_BYTES, LINE_BYTES
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.raw_http import GET, Raw, arrived

# aiohttp


def test_it_is_the_aiohttp_that_was_read() -> None:
    assert aiohttp.__version__.startswith("3.14."), "read hubd/edge/http_server.py against this one, then change this"


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_what_it_touches_in_aiohttp_is_still_there() -> None:
    slots = {*RequestHandler.__slots__, *BaseProtocol.__slots__}
    used = {"_manager", "_messages", "_paused", "_request_count", "_request_in_progress", "_upgraded", "_waiter"}
    assert used <= slots
    making = inspect.getsource(web.Server.__init__)
    assert "self._loop =" in making and "self._kwargs =" in making
    assert list(inspect.signature(RequestHandler.handle_error).parameters) == [
        "self",
        "request",
        "status",
        "exc",
        "message",
    ]
    assert list(inspect.signature(RequestHandler.finish_response).parameters) == [
        "self",
        "request",
        "resp",
        "start_time",
    ]


def test_what_it_replaces_is_still_called() -> None:
    handling = inspect.getsource(RequestHandler._handle_request)
    assert handling.count("self.finish_response(") == 4, "each answer goes out there"
    assert "self._request_in_progress = False" in handling
    receiving = inspect.getsource(RequestHandler.data_received)
    assert "self._request_count += 1" in receiving and "self._messages.append((msg, payload))" in receiving
    begin = inspect.getsource(RequestHandler.connection_lost)
    assert begin.index("if self._manager is None:") < begin.index("self.force_close()"), "nothing begun, nothing ended"
    assert "self.handle_error(" in inspect.getsource(RequestHandler._make_error_handler)
    assert "self._make_server()" in inspect.getsource(web.AppRunner.setup)


# What isn't HTTP


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # without Host
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",  # folded
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=ascii,
)
async def test_what_isnt_http_is_a_problem_and_no_word_in_the_log(
    hub: LiveHub, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    raw = await Raw.open(hub, sent)
    answer = await raw.answer()
    assert (answer.status, answer.code) == (400, "invalid_body")
    assert await raw.is_cut()
    await arrived(hub.reception, 0)
    assert [found for found in caplog.records if found.levelno > logging.DEBUG] == []


async def test_also_behind_a_good_request(hub: LiveHub) -> None:
    raw = await Raw.open(hub)
    assert (await raw.ask()).status == 200
    assert (await raw.ask(b"nonsense\r\n\r\n" + GET)).code == "invalid_body"
    assert await raw.is_cut()


@pytest.mark.parametrize("sent", [b"5\r\nabcdefgh\r\n", b"zz\r\n", b"-1\r\n", b"ffffffffffffffffffff\r\n"], ids=ascii)
async def test_a_body_that_breaks_in_the_middle(hub: LiveHub, sent: bytes) -> None:
    key = hub.bearer("backend").encode()
    raw = await Raw.open(hub)
    raw.send(b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n" % key)
    raw.send(b"Transfer-Encoding: chunked\r\n\r\n2\r\n{ \r\n")
    await eventually(lambda: any(handler.is_working() for handler in hub.reception._open))
    raw.send(sent)
    assert (await raw.answer()).code == "invalid_body"
    assert await raw.is_cut()


async def test_a_body_that_breaks_when_nobody_reads_it(hub: LiveHub) -> None:
    raw = await Raw.open(hub)
    head = b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{ \r\n"
    assert (await raw.ask(head)).status == 401
    raw.send(b"zz\r\n")
    assert await raw.is_cut()
    await arrived(hub.reception, 0)


@pytest.mark.parametrize("expected", ["nonsense", "100-continue, x"])
async def test_an_expectation_that_nobody_knows(hub: LiveHub, expected: str) -> None:
    raw = await Raw.open(hub, GET[:-2] + f"Expect: {expected}\r\n\r\n".encode())
    answer = await raw.answer()
    assert (answer.status, answer.code) == (400, "invalid_body")
    raw.close()


# Too long


def line_of(size: int) -> bytes:
    """A request whose address has so many bytes."""
    return b"GET /health/live?" + b"x" * (size - len("/health/live?")) + b" HTTP/1.1\r\nHost: x\r\n\r\n"


def field_of(size: int) -> bytes:
    """A request with a header whose value has so many bytes."""
    return GET[:-2] + b"A: " + b"y" * size + b"\r\n\r\n"


def fields_of(count: int) -> bytes:
    """A request with so many headers."""
    return GET[:-2] + b"".join(b"A%d: y\r\n" % n for n in range(count - 1)) + b"\r\n"


@pytest.mark.parametrize(
    ("request_of", "most"),
    [(line_of, LINE_BYTES), (field_of, FIELD_BYTES), (fields_of, FIELDS)],
    ids=["address", "header", "headers"],
)
async def test_the_longest_head_and_one_more(hub: LiveHub, request_of: Callable[[int], bytes], most: int) -> None:
    raw = await Raw.open(hub, request_of(most))
    assert (await raw.answer()).status == 200
    raw.send(request_of(most + 1))
    answer = await raw.answer()
    assert (answer.status, answer.code) == (400, "invalid_body")
    assert await raw.is_cut()


async def test_a_head_without_end_is_refused(hub: LiveHub) -> None:
    raw = await Raw.open(hub, GET[:-2])
    await eventually(lambda: hub.server().connections)
    (handler,) = hub.server().connections
    sent = 0
    with suppress(ConnectionResetError):
        while not handler._head_bytes > HEAD_BYTES:
            raw.send(b"A%d: " % sent + b"y" * 1000 + b"\r\n")
            sent += 1000
            await asyncio.sleep(0)
            await raw.writer.drain()
    assert sent < HEAD_BYTES * 2, "what the system's buffers take comes to it"
    assert await raw.is_cut()
    await arrived(hub.reception, 0)


async def test_a_hundred_long_topics_fit_into_the_address(hub: LiveHub) -> None:
    topics = [":".join(["x" * 60, "y" * 60, "z" * 60, str(n)]) for n in range(100)]
    _, welcome = await hub.welcomed(topics=",".join(topics), cursor="x" * 64)
    assert len(welcome["topics"]) == 100


@pytest.mark.parametrize("requests", [1, 3])
async def test_who_has_said_his_last_word_is_still_answered(hub: LiveHub, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(GET * requests)
    writer.write_eof()
    async with asyncio.timeout(10):
        answers = await reader.read()
    assert answers.count(b"HTTP/1.1 200 OK") == requests
    writer.close()


async def test_a_half_closed_connection_that_asks_nothing_is_closed(hub: LiveHub) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write_eof()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


STREAM = "Accept: text/event-stream\r\n"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n"
)


@pytest.mark.parametrize("headers", ["", STREAM, UPGRADE], ids=["poll", "sse", "websocket"])
async def test_whoever_has_hung_up_is_no_connection(hub: LiveHub, headers: str) -> None:
    """The end comes in the same turn of the loop as the request: nobody may take it for somebody who listens."""
    cursor = hub.hub.attendance.cursor()
    proof = f"Authorization: Bearer {hub.token('42')}\r\n"
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(f"GET /notifications?cursor={cursor}&wait=30 HTTP/1.1\r\nHost: x\r\n{proof}{headers}\r\n".encode())
        writer.close()
    await asyncio.sleep(0.3)
    await eventually(lambda: not hub.hub.registry.connections and not len(hub.edge.reception))
