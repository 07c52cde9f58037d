"""Calls to real servers on loopback: what arrives, what comes back, how many at a time, and the end."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from hubd import egress as egress_module
from hubd.egress import Answer, EgressRefused
from tests.egress_servers import (
    ALLOWED,
    LOOPBACK,
    OK,
    Behaviour,
    Door,
    answering,
    behaving,
    call,
    client,
    listening,
    read_request,
    reason_of,
    reset,
    until,
)


async def test_a_call_arrives_as_it_was_given() -> None:
    arrived: list[tuple[web.Request, bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        arrived.append((request, await request.read()))
        return web.Response(status=202, text="thanks", headers={"X-Kind": "a"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        async with client(*ALLOWED) as egress:
            headers = {"Content-Type": "application/json", "Content-Encoding": "aes128gcm", "X-Signature": "t=1,v1=ab"}
            url = f"http://127.0.0.1:{port}/a%2Fb/?q=%20x"
            answer = await call(egress, url, "PUT", headers=headers, body=b'{"a":1}')
    finally:
        await runner.cleanup()
    assert (answer.status, answer.body, answer.headers["x-kind"]) == (202, b"thanks", "a")
    request, body = arrived[0]
    assert (request.method, request.raw_path, body) == ("PUT", "/a%2Fb/?q=%20x", b'{"a":1}')
    assert {name: request.headers[name] for name in headers} == headers
    assert request.headers["Host"] == f"127.0.0.1:{port}"
    assert request.headers["User-Agent"] == "hubd"
    assert request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("method", sorted(egress_module.METHODS))
async def test_every_method_with_and_without_a_body(method: str) -> None:
    answer = OK if method != "HEAD" else OK.removesuffix(b"ok")
    async with listening(answering(answer)) as door, client(*ALLOWED) as egress:
        assert (await call(egress, door.url, method, body=b"")).status == 200
        assert (await call(egress, door.url, method, body=b"some")).status == 200
        assert door.connections == 1  # the connection is kept
        assert door.requests[1].endswith(b"\r\n\r\nsome")


async def test_a_url_that_was_checked_before_is_judged_again() -> None:
    async with listening(answering(OK)) as door, client(*ALLOWED) as egress:
        assert (await call(egress, URL(door.url))).body == b"ok"
        with pytest.raises(EgressRefused, match="no user"):
            await call(egress, URL(door.url).with_user("me"))
        assert door.connections == 1


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "post", "GET / HTTP/1.1\r\n", ""])
async def test_other_methods_are_refused(method: str) -> None:
    async with listening(answering(OK)) as door, client(*ALLOWED) as egress:
        with pytest.raises(EgressRefused, match="^the method must be one of DELETE, GET"):
            await call(egress, door.url, method)
        assert door.connections == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "other.example"},
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"X-A\r\nX-B": "s3cret"},
        {"X A": "s3cret"},
        {"": "s3cret"},
        {"Ä": "s3cret"},
        {"X-A": "s3cret\r\nX-B: 1"},
        {"X-A": "s3cret\n"},
        {"X-A": "s3cret\x00"},
        {"X-A": "s3cretä"},
    ],
    ids=lambda headers: ascii(headers)[1:40],
)
async def test_wrong_headers_are_refused_without_being_quoted(headers: dict[str, str]) -> None:
    async with listening(answering(OK)) as door, client(*ALLOWED) as egress:
        with pytest.raises(EgressRefused) as refused:
            await call(egress, door.url, headers=headers)
        assert "s3cret" not in str(refused.value)
        assert door.connections == 0


async def test_a_body_has_a_limit() -> None:
    most = bytes(egress_module.BODY_BYTES)
    async with listening(answering(OK)) as door, client(*ALLOWED) as egress:
        assert (await call(egress, door.url, body=most)).status == 200
        with pytest.raises(EgressRefused, match="^the body is longer than 1048576 bytes$"):
            await call(egress, door.url, body=most + b"x")
        assert len(door.requests) == 1
        assert door.requests[0].endswith(most)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(status: int) -> None:
    async with listening(answering(OK)) as inner:
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: {inner.url}/inner\r\nContent-Length: 0\r\n\r\n".encode()
        async with listening(answering(moved)) as door, client(*ALLOWED) as egress:
            answer = await call(egress, door.url)
            assert (answer.status, answer.headers["location"]) == (status, f"{inner.url}/inner")
            assert (door.connections, inner.connections) == (1, 0)


@pytest.mark.parametrize("status", [204, 400, 404, 410, 429, 500, 503])
async def test_a_failing_server_is_an_answer_too(status: int) -> None:
    length = "" if status == 204 else "Content-Length: 0\r\n"
    raw = f"HTTP/1.1 {status} So\r\nRetry-After: 7\r\n{length}\r\n".encode()
    async with listening(answering(raw)) as door, client(*ALLOWED) as egress:
        answer = await call(egress, door.url)
        assert (answer.status, answer.headers["retry-after"], answer.body) == (status, "7", b"")


async def test_no_cookie_is_kept() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: id=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with listening(answering(cookie)) as door, client("localhost") as egress:
        for _ in range(2):
            await call(egress, f"http://localhost:{door.port}/")
        assert len(door.requests) == 2
        assert b"cookie" not in door.requests[1].lower()


async def test_the_environments_proxy_and_netrc_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    async with listening(answering(OK)) as proxy, listening(answering(OK)) as door, client(*ALLOWED) as egress:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        await call(egress, door.url)
        assert (proxy.connections, door.connections) == (0, 1)
        assert b"authorization" not in door.requests[0].lower()


def test_an_answer_shows_no_content_in_a_log() -> None:
    assert repr(Answer(200, {"set-cookie": "s3cret"}, b"s3cret")) == "Answer(status=200)"


# --- Bounds and the end


def gated(gate: asyncio.Event) -> Callable[[Door], Behaviour]:
    def behaviour(door: Door) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_request(door, reader)
                await gate.wait()
                writer.write(OK)

        return behave

    return behaviour


async def test_connections_are_limited_per_host_and_in_total() -> None:
    gate = asyncio.Event()
    async with (
        listening(gated(gate)) as one,
        listening(gated(gate)) as other,
        client(*ALLOWED, connections=5, per_host=3) as egress,
    ):
        calls = [asyncio.ensure_future(call(egress, url)) for _ in range(10) for url in (one.url, other.url)]
        await until(lambda: one.connections + other.connections == 5)
        await asyncio.sleep(0.1)
        gate.set()
        assert all(answer.status == 200 for answer in await asyncio.gather(*calls))
        assert one.most_open <= 3
        assert other.most_open <= 3
        assert one.connections + other.connections <= 6


async def test_waiting_for_a_connection_counts_and_too_many_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_module, "UNDER_WAY", 3)
    gate = asyncio.Event()
    async with listening(gated(gate)) as door, client(*ALLOWED, per_host=1) as egress:
        calls = [asyncio.ensure_future(reason_of(egress, door.url, timeout_s=0.5)) for _ in range(3)]
        await until(lambda: door.connections == 1)
        assert await reason_of(egress, door.url) == "busy"
        assert await asyncio.gather(*calls) == ["timeout"] * 3
        gate.set()
        assert (await call(egress, door.url)).status == 200  # all places are free again


async def test_a_cancelled_call_gives_back_its_place() -> None:
    gate = asyncio.Event()
    async with listening(gated(gate)) as door, client(*ALLOWED, per_host=1) as egress:
        task = asyncio.ensure_future(call(egress, door.url))
        await until(lambda: len(door.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        assert (await call(egress, door.url)).body == b"ok"


async def test_after_the_end_nothing_is_called() -> None:
    gate = asyncio.Event()
    async with listening(gated(gate)) as door:
        async with client(*ALLOWED, per_host=1) as egress:
            calls = [asyncio.ensure_future(reason_of(egress, door.url)) for _ in range(3)]
            await until(lambda: len(door.requests) == 1)
            await asyncio.sleep(0.05)
            await egress.close()
            assert await asyncio.wait_for(asyncio.gather(*calls), 5) == ["closed"] * 3
            assert await reason_of(egress, door.url) == "closed"
        await egress.close()  # a second time is no harm
        await until(lambda: door.connections == 1)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_no_socket_is_left_behind() -> None:
    async with listening(behaving(reset), ["127.0.0.2"]) as bad, listening(answering(OK), LOOPBACK) as good:
        before = open_files()
        for _ in range(20):
            async with client("127.0.0.2") as egress:
                await call(egress, f"http://127.0.0.2:{good.port}/")
                assert await reason_of(egress, f"http://127.0.0.2:{bad.port}/") == "reset"
                with pytest.raises(EgressRefused):
                    await call(egress, f"https://localhost:{good.port}/")
        await until(lambda: good.open == 0 and bad.open == 0)
        await until(lambda: open_files() <= before + 2)
