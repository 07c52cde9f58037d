"""What happens while a plugin thinks about who it is: nobody is delayed, and what changed meanwhile counts."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hubd.edge import credentials
from tests.edge.hooked_hub import HookedHub, Knowing, beside, hooked
from tests.edge.http_clients import PollClient, target
from tests.edge.live_hub import HOST, eventually
from tests.edge.ways_in import HANDSHAKE, WAYS, bearer, way_in
from tests.edge.ws_client import JSON, Client


@pytest.fixture
async def hub() -> AsyncIterator[HookedHub]:
    async with hooked(Knowing) as made:
        yield made


@pytest.fixture
def plugin(hub: HookedHub) -> Knowing:
    return hub.made[0]  # type: ignore[no-any-return]


async def test_one_that_hangs_delays_nobody_else() -> None:
    async with hooked(Knowing, timeout_s=0.3) as hub:
        live = await hub.open(subprotocol=JSON, headers=bearer("app-7"))
        await live.next()
        stranger = await hub.open(subprotocol=JSON)
        hub.made[0].go.clear()
        hanging = [beside(way_in(hub, way, "app-8", stranger)) for way in WAYS]
        await eventually(lambda: hub.made[0].waiting == len(WAYS))
        await hub.publish("user:7", n=1)
        assert (await live.next())["n"] == 1
        assert not any(one.done() for one in hanging)
        assert set(await asyncio.gather(*hanging)) == {"unavailable"}
        assert {kind for _, kind in hub.faults} == {"too_long"}


@pytest.mark.parametrize("way", WAYS)
async def test_a_revocation_while_it_waits_counts(hub: HookedHub, plugin: Knowing, way: str) -> None:
    stranger = await hub.open(subprotocol=JSON)
    plugin.go.clear()
    coming = beside(way_in(hub, way, "app-7", stranger))
    await plugin.is_asked()
    hub.clock.advance(1)
    assert (await hub.call("POST", "/api/users/7/revoke")).status == 200
    hub.clock.advance(1)
    plugin.go.set()
    assert await coming in (4507, "unauthorized")
    assert not hub.hub.registry.connections_of("7")
    assert await way_in(hub, way, "app-7") in ("7", "let in"), "asked again, the plugin stands by it"


async def test_what_was_issued_before_a_revocation_is_revoked(hub: HookedHub, plugin: Knowing) -> None:
    plugin.grants = {"issued_at": hub.clock.now()}
    client = await hub.open(subprotocol=JSON, headers=bearer("app-7"))
    await client.next()
    hub.clock.advance(1)
    await hub.call("POST", "/api/users/7/revoke")
    assert await client.closed() == 4507
    for way in WAYS:
        assert await way_in(hub, way, "app-7") in (4507, "unauthorized")


async def test_what_has_expired_lets_nobody_in(hub: HookedHub, plugin: Knowing) -> None:
    plugin.grants = {"expires_at": hub.clock.now() + 100}
    client = await hub.open(subprotocol=JSON, headers=bearer("app-7"))
    await client.next()
    hub.let_pass(110)
    assert await client.closed() == 4001
    assert await way_in(hub, "websocket", "app-7") == 4001
    assert await way_in(hub, "api", "app-7") == "unauthorized"


async def test_limits_count_at_the_end_of_the_waiting() -> None:
    async with hooked(Knowing, sections={"limits": {"per_user": 2}}) as hub:
        plugin = hub.made[0]
        ways = ["websocket", "auth", "sse"] * 4
        strangers = [await hub.open(subprotocol=JSON) for _ in ways]
        plugin.go.clear()
        coming = [beside(way_in(hub, way, "app-7", one)) for way, one in zip(ways, strangers, strict=True)]
        await eventually(lambda: plugin.waiting == len(ways))
        plugin.go.set()
        answers = await asyncio.gather(*coming)
        assert len(hub.hub.registry.connections_of("7")) == 2
        assert answers.count("7") == 2 and set(answers) == {"7", 4029, "rate_limited"}


async def test_who_leaves_meanwhile_is_forgotten(hub: HookedHub, plugin: Knowing) -> None:
    stranger = await hub.open(subprotocol=JSON)
    plugin.go.clear()
    stranger.send(action="auth", token="app-7")
    clients = [await PollClient.open(hub) for _ in range(3)]
    clients[0].request(target(), bearer("app-7") | {"Accept": "text/event-stream"})
    clients[1].request(target(cursor=hub.hub.attendance.cursor()), bearer("app-7"))
    clients[2].request(target(), bearer("app-7") | HANDSHAKE)
    await eventually(lambda: plugin.waiting == 4)
    for client in (stranger, *clients):
        client.reset()
    await asyncio.sleep(0.05)  # the hub may notice, or not until it has its answer
    plugin.go.set()
    await eventually(lambda: not plugin.waiting)
    await eventually(hub.is_empty, str(hub.left_over()))
    assert hub.faults == []


@pytest.mark.parametrize("way", ["websocket", "auth", "sse", "poll"])
async def test_nobody_gets_into_a_hub_that_stops_meanwhile(hub: HookedHub, plugin: Knowing, way: str) -> None:
    client = await PollClient.open(hub) if way != "auth" else await hub.open(subprotocol=JSON)
    plugin.go.clear()
    if isinstance(client, Client):
        client.send(action="auth", ref="1", token="app-7")
    elif way == "websocket":
        client.request(target(), bearer("app-7") | HANDSHAKE)
    else:
        client.request(target(), bearer("app-7") | ({"Accept": "text/event-stream"} if way == "sse" else {}))
    await plugin.is_asked()
    stopping = beside(hub.edge.stop(hub.clock.monotonic() + 5))
    await eventually(lambda: hub.hub.stopping)
    await asyncio.sleep(0.05)
    plugin.go.set()
    if isinstance(client, Client):
        assert await client.closed() == 4000
        assert client.frames[-1:] == [] or "user" not in client.frames[-1]
    else:
        assert (await client.answer()).code == "unavailable"
    assert not hub.hub.registry.connections
    await stopping


async def test_actions_wait_behind_the_one_that_says_who_it_is(hub: HookedHub, plugin: Knowing) -> None:
    client = await hub.open(subprotocol=JSON)
    plugin.go.clear()
    client.send(action="auth", ref="a", token="app-7")
    client.send(action="subscribe", ref="b", topic="team")
    await plugin.is_asked()
    await asyncio.sleep(0.02)
    assert not hub.hub.registry.topics, "nothing before it is known who it is"
    plugin.go.set()
    assert [(await client.next()).get("ref") for _ in range(3)] == ["a", None, "b"]
    assert "team" in hub.hub.registry.topics


async def test_who_hangs_up_while_it_waits_still_counts(
    hub: HookedHub, plugin: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "ASKING", 8)
    plugin.go.clear()
    for _ in range(12):
        _, client = await asyncio.open_connection(HOST, hub.port)
        client.write(b"GET /api/subscriptions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer app-7\r\n\r\n")
        await asyncio.sleep(0.02)
        client.transport.abort()
    assert plugin.waiting == 4, "half of them at most are of one address"
    assert await way_in(hub, "api", "app-7") == "unavailable"
    plugin.go.set()
    await eventually(lambda: plugin.waiting == 0)
    assert await way_in(hub, "api", "app-7") == "let in"
