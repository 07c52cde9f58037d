"""Webhooks against real servers on loopback: that fail, stall, redirect, reset, lie, and one that checks signatures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hubd_webhooks import Webhooks

from hubd.plugin import Egress
from hubd.testing import PluginWorld, hub_for
from tests.egress_servers import OK, Behaviour, Door, answering, behaving, listening, read_request, reset, says, stall
from tests.plugins.webhooks_world import KEY, OTHER_SECRET, config, endpoint, is_genuine
from tests.test_egress_tls import Authority

LABELS = {"endpoint": "app"}


def request_of(raw: bytes) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a request, by hand."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("POST /hook HTTP/1.1")
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}, body


def script(*behaviours: Behaviour) -> Callable[[Door], Behaviour]:
    """The first request has the first behaviour, and so on; the last one counts for ever."""
    left = list(behaviours)

    def behaviour(door: Door) -> Behaviour:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_request(door, reader)
                behave = left.pop(0) if len(left) > 1 else left[0]
                await behave(reader, writer)
                if behave is not ok:
                    return

        return run

    return behaviour


ok = says(b"HTTP/1.1 204 No Content\r\n\r\n")


def status(code: int, *headers: str) -> Behaviour:
    lines = [f"HTTP/1.1 {code} X", *headers, "Content-Length: 0", "", ""]
    return says("\r\n".join(lines).encode())


@asynccontextmanager
async def calling(door: Door, plugin: type[Webhooks] = Webhooks, **options: Any) -> AsyncIterator[PluginWorld]:
    one = {"url": f"{door.url}/hook", "name": "app", "events": ["published"], "timeout_s": 5.0, **options}
    # One call at a time, so that the order of the script is the order of the calls.
    settings = config(endpoint(**one), allow_hosts=["127.0.0.1", "localhost"], concurrency=1, attempts=3)
    async with hub_for(plugin, settings, name="webhooks") as hub:
        yield hub


async def over(hub: PluginWorld, *, by_s: float = 10.0) -> None:
    """Let time pass until nothing waits any more."""
    await hub.settle()
    await hub.until(lambda: not hub.plugin.endpoints["app"].waiting, real_s=by_s)


async def sent(hub: PluginWorld) -> float:
    return await hub.metric("webhooks_sent_total", **LABELS)


async def failed(hub: PluginWorld, reason: str) -> float:
    return await hub.metric("webhooks_failed_total", **LABELS, reason=reason)


async def test_a_receiver_verifies_what_comes() -> None:
    async with listening(script(ok)) as door, calling(door) as hub:
        for number in range(5):
            await hub.publish("news", {"type": f"t{number}"})
            await over(hub)
        assert await sent(hub) == 5
        assert len(door.requests) == 5 and door.connections == 1  # the connection is kept
        for raw in door.requests:
            headers, body = request_of(raw)
            now = hub.clock.now()
            assert headers["content-type"] == "application/json"
            assert is_genuine(headers, body, KEY, now)
            assert not is_genuine(headers, body, KEY[::-1], now)
            assert not is_genuine(headers, body + b" ", KEY, now)
            assert not is_genuine(headers | {"webhook-timestamp": str(int(now) + 1)}, body, KEY, now)


async def test_another_secret_is_another_signature() -> None:
    async with listening(script(ok)) as door, calling(door, secret=OTHER_SECRET) as hub:
        await hub.publish("news")
        await over(hub)
        headers, body = request_of(door.requests[0])
        assert not is_genuine(headers, body, KEY, hub.clock.now())


HEAD = b"HTTP/1.1 200 OK\r\n"
PASSING: list[tuple[str, Behaviour]] = [
    ("500", status(500)),
    ("503 and Retry-After", status(503, "Retry-After: 2")),
    ("429 and a date", status(429, "Retry-After: Fri, 15 Jan 2027 08:00:03 GMT")),
    ("closes at once", says()),
    ("closes within the headers", says(HEAD)),
    ("resets", reset),
    ("resets within the headers", says(HEAD, then=reset)),
    ("garbage", says(b"\x00\xff\x16\x03 garbage\r\n\r\n")),
    ("another protocol", says(b"SSH-2.0-OpenSSH_9.2\r\n")),
    ("an unheard status", says(b"HTTP/1.1 99999 No\r\n\r\n")),
]


@pytest.mark.parametrize("behave", [row[1] for row in PASSING], ids=[row[0].replace(" ", "-") for row in PASSING])
async def test_what_passes_is_tried_again_with_the_same_call(behave: Behaviour) -> None:
    async with listening(script(behave, behave, ok)) as door, calling(door) as hub:
        await hub.publish("news")
        await over(hub)
        assert await sent(hub) == 1
        calls = [request_of(raw) for raw in door.requests]
        assert len(calls) == 3
        assert len({headers["webhook-id"] for headers, _ in calls}) == 1
        assert len({body for _, body in calls}) == 1


@pytest.mark.parametrize(
    "behave",
    [stall, says(b"HTTP/1.1 2", then=stall), says(HEAD, b"X: y\r\n", then=stall)],
    ids=["all", "line", "headers"],
)
async def test_a_server_that_stalls_is_left_after_the_timeout_and_called_again(behave: Behaviour) -> None:
    async with listening(script(behave, ok)) as door, calling(door, timeout_s=0.2) as hub:
        await hub.publish("news")
        await over(hub)
        assert await sent(hub) == 1 and len(door.requests) == 2


async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "behave",
    [says(HEAD, b"Content-Length: 5\r\n\r\nab", then=stall), endless, says(HEAD, b"Content-Length: 5\r\n\r\nab")],
    ids=["stalls", "huge", "short"],
)
async def test_once_the_status_is_there_the_body_does_not_matter(behave: Behaviour) -> None:
    async with listening(script(behave)) as door, calling(door) as hub:
        for _ in range(2):
            await hub.publish("news")
            await over(hub, by_s=3)
        assert await sent(hub) == 2 and len(door.requests) == 2


async def test_a_slow_answer_within_the_timeout_is_an_answer() -> None:
    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 204 No Content\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)

    async with listening(script(slow)) as door, calling(door) as hub:
        await hub.publish("news")
        await over(hub)
        assert await sent(hub) == 1 and len(door.requests) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(code: int) -> None:
    async with listening(answering(OK)) as other:
        where = [f"Location: {other.url}/hook"]
        async with listening(script(status(code, *where))) as door, calling(door) as hub:
            await hub.publish("news")
            await over(hub)
            assert await failed(hub, "redirect") == 1
            assert (len(door.requests), other.connections) == (1, 0)


async def test_410_switches_the_endpoint_off() -> None:
    async with listening(script(status(410))) as door, calling(door) as hub:
        await hub.publish("news")
        await over(hub)
        await hub.publish("news")
        await over(hub)
        assert len(door.requests) == 1


async def test_endpoints_that_stall_take_no_connection_from_others() -> None:
    async with listening(behaving(stall)) as stuck, listening(script(ok)) as door:
        stalling = [endpoint(url=f"{stuck.url}/hook", name=f"s{place}", timeout_s=60) for place in range(20)]
        both = [*stalling, endpoint(url=f"{door.url}/hook", name="app", timeout_s=60)]
        async with hub_for(Webhooks, config(*both, allow_hosts=["127.0.0.1"], batch=1), name="webhooks") as hub:
            for _ in range(4):
                await hub.publish("news")
            async with asyncio.timeout(10):
                while len(stuck.requests) < 80:
                    await asyncio.sleep(0.005)
            await hub.publish("news")
            await over(hub)
            assert await sent(hub) == 5
            hub.reconfigure(config())  # so that the end needn't wait for them


async def test_where_nobody_listens() -> None:
    async with listening(script(ok)) as door:
        pass
    async with calling(door) as hub:
        await hub.publish("news")
        await over(hub)
        assert await failed(hub, "connection_refused") == 1
        assert await hub.metric("webhooks_retried_total", **LABELS) == 2


@pytest.mark.parametrize("name", ["someone.else", "127.0.0.1"])
async def test_a_wrong_certificate_gets_to_see_nothing(name: str, tmp_path: Path) -> None:
    known, unknown = Authority(tmp_path, "known"), Authority(tmp_path, "unknown")
    server = (known if name == "someone.else" else unknown).server(name)

    class Trusting(Webhooks):
        def make_egress(self, config: Any) -> Egress:
            return Egress(config.allow_hosts, tls=known.trusted())

    async with listening(answering(OK), tls=server) as door:
        async with calling(door, Trusting, url=f"https://127.0.0.1:{door.port}/hook") as hub:
            await hub.publish("news")
            await over(hub)
            assert await failed(hub, "tls") == 1
        assert door.connections == 3 and door.requests == []


async def test_the_right_certificate_does(tmp_path: Path) -> None:
    known = Authority(tmp_path, "known")

    class Trusting(Webhooks):
        def make_egress(self, config: Any) -> Egress:
            return Egress(config.allow_hosts, tls=known.trusted())

    async with (
        listening(script(ok), tls=known.server("127.0.0.1")) as door,
        calling(door, Trusting, url=f"https://127.0.0.1:{door.port}/hook") as hub,
    ):
        await hub.publish("news")
        await over(hub)
        assert await sent(hub) == 1


async def test_a_name_that_leads_inside_is_never_dialled() -> None:
    async with listening(answering(OK), hosts=("127.0.0.1",)) as door:

        class Open(Webhooks):
            def make_egress(self, config: Any) -> Egress:
                return Egress(())  # as if the operator hadn't allowed it

        async with calling(door, Open, url=f"https://localhost:{door.port}/hook") as hub:
            await hub.publish("news")
            await over(hub)
            assert await failed(hub, "refused") == 1
        assert door.connections == 0


async def test_what_waits_at_the_end_is_sent() -> None:
    async with listening(script(status(500), ok)) as door:
        async with calling(door) as hub:
            await hub.publish("news")
            async with asyncio.timeout(5):
                while len(door.requests) < 1 or not hub.plugin.endpoints["app"]._naps:
                    await asyncio.sleep(0.002)
        assert len(door.requests) == 2


async def test_at_the_end_a_server_that_stalls_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd_webhooks.plugin.SHUTDOWN_S", 0.1)
    async with listening(behaving(stall)) as door, asyncio.timeout(5):
        async with calling(door, timeout_s=60) as hub:
            await hub.publish("news")
            while not door.requests:
                await asyncio.sleep(0.002)
        assert len(door.requests) == 1
