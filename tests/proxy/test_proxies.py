"""What `deploy/nginx.conf` and `deploy/Caddyfile` promise, through the real programs and TLS."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import orjson
import pytest

from tests.proxy.conftest import Site, token

SOON_S = 5.0


@contextlib.asynccontextmanager
async def client(site: Site, user: str = "ada", source: str = "127.0.0.1") -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a user's token, from one of this machine's addresses."""
    connector = aiohttp.TCPConnector(ssl=site.trusting, local_addr=(source, 0), limit=0)
    headers = {"Authorization": f"Bearer {token(user)}"}
    async with aiohttp.ClientSession(site.url, connector=connector, headers=headers) as http:
        yield http


async def event(stream: aiohttp.ClientResponse) -> dict[str, Any]:
    """The data of the next event that has any."""
    async with asyncio.timeout(SOON_S):
        while line := await stream.content.readline():
            if line.startswith(b"data: "):
                found: dict[str, Any] = json.loads(line[6:])
                return found
    raise AssertionError("the stream ended")


@pytest.fixture(params=["nginx", "caddy"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"behind_{request.param}")
    return found


async def test_all_three_transports_through_it(site: Site) -> None:
    await site.hub.start()
    await site.proxy.start(site.hub.port)
    async with client(site) as http, http.ws_connect("/notifications", protocols=["hubd.v1.json"]) as socket:
        welcome = await socket.receive_json(timeout=SOON_S)
        assert welcome["hub"] == "welcome"
        async with http.get("/notifications", headers={"Accept": "text/event-stream"}) as stream:
            assert stream.status == 200
            assert (await event(stream))["hub"] == "welcome"  # it isn't held back until more comes
            begun = time.monotonic()
            poll = asyncio.ensure_future(http.get(f"/notifications?cursor={welcome['cursor']}&wait=20"))
            await asyncio.sleep(0.3)
            assert not poll.done()
            id = await site.hub.publish("user:ada", title="Hello")
            assert (await socket.receive_json(timeout=SOON_S))["id"] == id
            assert (await event(stream))["id"] == id
            async with await asyncio.wait_for(poll, SOON_S) as answer:
                assert [one["id"] for one in (await answer.json())["notifications"]] == [id]
            assert time.monotonic() - begun < SOON_S


async def test_what_is_said_by_http_through_it(site: Site) -> None:
    await site.hub.start()
    await site.proxy.start(site.hub.port)
    async with client(site) as http:
        key = {"Authorization": f"Bearer {site.hub.key}"}
        body = {"to": "user:ada", "notification": {"type": "alert"}}
        async with http.post("/api/notifications", headers=key, json=body) as answer:
            assert answer.status == 202
            id = (await answer.json())["id"]
        async with http.post("/api/acks", json={"ids": [id]}) as answer:
            assert answer.status == 200
        too_large = {"to": "user:ada", "notification": {"type": "alert", "body": "x" * 5_000_000}}
        async with http.post("/api/notifications", headers=key, data=BytesIO(orjson.dumps(too_large))) as answer:
            assert answer.status == 413
            assert (await answer.json())["code"] == "too_large"  # in the hub's words
        async with http.get("/metrics") as answer:
            assert answer.status == 404
        async with http.get("/health/ready") as answer:
            assert answer.status == 200


async def test_the_limit_of_an_address_counts_the_clients_behind_it(site: Site) -> None:
    await site.hub.start(limits="per_ip = 2")
    await site.proxy.start(site.hub.port)
    async with contextlib.AsyncExitStack() as stack:
        for last in (2, 3):
            http = await stack.enter_async_context(client(site, source=f"127.0.0.{last}"))
            sockets = [await stack.enter_async_context(http.ws_connect("/notifications")) for _ in range(2)]
            assert len(sockets) == 2
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                # What it says of itself doesn't count: the proxy adds whom it got the request from.
                await http.ws_connect("/notifications", headers={"X-Forwarded-For": "192.0.2.1"})
            assert refused.value.status == 429


async def test_nginx_keeps_what_is_quiet_as_long_as_the_hub_pings(behind_nginx: Site) -> None:
    site = behind_nginx
    await site.hub.start(limits="ping_s = 1")
    await site.proxy.start(site.hub.port, {"proxy_read_timeout 75s": "proxy_read_timeout 4s"})
    async with client(site) as http, http.ws_connect("/notifications", protocols=["hubd.v1.json"]) as socket:
        until = time.monotonic() + 6
        while time.monotonic() < until:
            frame = await socket.receive_json(timeout=SOON_S)
            if frame["hub"] == "ping":
                await socket.send_json({"action": "pong"})
        id = await site.hub.publish("user:ada")
        assert (await socket.receive_json(timeout=SOON_S))["id"] == id


async def test_nginx_that_buffers_by_default_still_lets_events_through(behind_nginx: Site) -> None:
    """Somebody who forgets `proxy_buffering off` is helped by a header of the hub's."""
    site = behind_nginx
    await site.hub.start()
    await site.proxy.start(site.hub.port, {"proxy_buffering off": "proxy_buffering on"})
    async with client(site) as http, http.get("/notifications", headers={"Accept": "text/event-stream"}) as stream:
        assert (await event(stream))["hub"] == "welcome"
        id = await site.hub.publish("user:ada")
        assert (await event(stream))["id"] == id
