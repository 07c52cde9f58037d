"""proxy_auth in a real hub, on every way in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hubd_proxy_auth import ProxyAuth

from tests.edge.hooked_hub import HookedHub
from tests.edge.http_clients import poller, refused, stream, target
from tests.edge.live_hub import LISTED_ORIGIN, config_of, eventually
from tests.edge.ws_client import JSON, Client, Refused
from tests.plugins.application import Application, application, options

COOKIE = {"Cookie": "session=s7", "Origin": LISTED_ORIGIN}
WRONG = {"Cookie": "session=wrong", "Origin": LISTED_ORIGIN}


@asynccontextmanager
async def hub_asking(
    app: Application, sections: dict[str, dict[str, Any]] | None = None, **more: Any
) -> AsyncIterator[HookedHub]:
    config = ProxyAuth.Config.model_validate(options(app, **more))
    hub = HookedHub(config_of(**(sections or {})), [("proxy_auth", ProxyAuth, config)])
    await hub.start()
    try:
        yield hub
    finally:
        app.go.set()
        await hub.stop()
    assert hub.faults == []


@pytest.fixture
async def app() -> AsyncIterator[Application]:
    async with application() as made:
        yield made


@pytest.fixture
async def hub(app: Application) -> AsyncIterator[HookedHub]:
    async with hub_asking(app) as made:
        yield made


async def welcome(client: Client) -> Any:
    message = await client.next()
    assert message["hub"] == "welcome", message
    return message["user"]


# Every way in


async def test_a_websocket_by_header_and_by_cookie(hub: HookedHub, app: Application) -> None:
    assert await welcome(await hub.open(subprotocol=JSON, headers={"Authorization": "Bearer s7"})) == "7"
    assert await welcome(await hub.open(subprotocol=JSON, headers=COOKIE)) == "7"
    assert [asked["token"] for asked in app.asked] == ["s7", None]
    assert app.asked[0]["address"] == "127.0.0.1"


async def test_a_websocket_by_its_first_frame(hub: HookedHub, app: Application) -> None:
    client = await hub.open(subprotocol=JSON)
    assert app.asked == [], "there was nothing to ask about yet"
    assert (await client.ask("auth", token="s7"))["user"] == "7"
    assert app.asked == [{"token": "s7", "headers": {}, "query": {}, "address": "127.0.0.1"}]
    client = await hub.open(subprotocol=JSON)
    assert (await client.refused("auth", token="wrong"))["message"] == "log in again"
    assert await client.closed() == 4500


async def test_a_stream_and_a_poll(hub: HookedHub) -> None:
    assert (await stream(hub, None, headers=COOKIE)).welcome["user"] == "7"
    client = await poller(hub, None)
    client.ask(headers=COOKIE)
    cursor = (await client.got())["cursor"]
    client.ask(cursor, headers=COOKIE)
    await eventually(lambda: len(hub.hub.registry.connections) == 2)
    await hub.publish("user:7", n=1)
    assert [one["n"] for one in (await client.got())["notifications"]] == [1]


async def test_calls_of_the_api(hub: HookedHub, app: Application) -> None:
    app.users["s7"]["topics"] = ["team:*"]
    for path, status in (
        ("/api/subscriptions", 200),
        ("/api/channels/team:a/history", 200),
        ("/api/channels/other/history", 403),
    ):
        assert (await hub.call("GET", path, key=None, headers=COOKIE)).status == status, path
        answer = await hub.call("GET", path, key=None, headers=WRONG)
        assert (answer.status, answer.body["detail"]) == (401, "log in again")
    assert (await hub.call("PUT", "/api/subscriptions/team:a", key=None, headers=COOKIE)).status == 201
    assert (await hub.call("PUT", "/api/subscriptions/other", key=None, headers=COOKIE)).status == 403
    assert len(app.asked) == 2
    assert (await hub.call("GET", "/api/channels")).status == 200, "API keys are the hub's matter"
    assert len(app.asked) == 2


async def test_a_ticket_by_the_applications_cookie(hub: HookedHub, app: Application) -> None:
    app.users["s7"] = {"user": "7", "topics": ["team"], "expires_in": 300}
    made = await hub.call("POST", "/api/tickets", key=None, headers=COOKIE)
    assert made.status == 201
    client = await hub.open(subprotocol=JSON, query={"ticket": made.body["ticket"], "topics": "team,other"})
    message = await client.next()
    assert (message["user"], message["topics"]) == ("7", ["team"])
    assert (await hub.call("POST", "/api/tickets", key=None, headers=WRONG)).status == 401
    assert len(app.asked) == 2


async def test_what_it_grants_is_what_a_connection_may(hub: HookedHub, app: Application) -> None:
    app.users["s7"] = {"user": "7", "topics": ["team:*"], "publish": ["chat"], "max_priority": "informational"}
    client = await hub.open(subprotocol=JSON, headers=COOKIE, query={"topics": "team:a,other"})
    assert (await client.next())["topics"] == ["team:a"]
    assert (await client.refused("subscribe", topic="other"))["code"] == "forbidden"
    message = {"notification": {"type": "x"}, "priority": "informational"}
    assert (await client.ask("publish", to="chat", **message))["ok"]
    assert (await client.refused("publish", to="team:a", **message))["code"] == "forbidden"
    assert (await client.refused("publish", to="chat", **(message | {"priority": "critical"})))["code"] == "forbidden"


# Who mustn't get in


async def test_refused_credentials_complete_the_handshake_and_are_closed(hub: HookedHub) -> None:
    client = await hub.open(subprotocol=JSON, headers=WRONG)
    assert await client.closed() == 4500
    why = await refused(hub, None, headers=WRONG)
    assert (why.status, why.problem["detail"]) == (401, "log in again")


@pytest.mark.parametrize("page", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_foreign_pages_cookie_is_never_passed_on(
    hub: HookedHub, app: Application, page: dict[str, str]
) -> None:
    headers = {"Cookie": "session=s7", **page}
    for path in ("/notifications", "/api/subscriptions", "/api/channels/team/history"):
        assert (await hub.call("GET", path, key=None, headers=headers)).status in (401, 403)
    assert (await hub.call("POST", "/api/tickets", key=None, headers=headers)).status in (401, 403)
    try:
        client = await hub.open(subprotocol=JSON, headers=headers)
        assert (await client.refused("ping"))["code"] == "not_authenticated"
    except Refused as why:
        assert why.status == 403
    assert app.asked == []


async def test_the_hubs_own_tokens_count_beside_it(hub: HookedHub, app: Application) -> None:
    headers = {"Authorization": f"Bearer {hub.token('9')}"}
    assert await welcome(await hub.open(subprotocol=JSON, headers=headers)) == "9"
    assert len(app.asked) == 1, "it said that this is none of its own"
    assert (await hub.call("GET", "/api/subscriptions", key=None)).status == 401


async def test_or_dont_where_that_is_wished(app: Application) -> None:
    async with hub_asking(app, fallback=False) as hub:
        headers = {"Authorization": f"Bearer {hub.token('9')}"}
        client = await hub.open(subprotocol=JSON, headers=headers)
        assert await client.closed() == 4500
        assert (await refused(hub, None, headers=headers)).status == 401
        assert (await refused(hub, None, token=hub.token("9"))).status == 401
        client = await hub.open(subprotocol=JSON)
        assert (await client.refused("auth", token=hub.token("9")))["code"] == "unauthorized"
        client = await hub.open(subprotocol=JSON)
        assert (await client.ask("auth", token="s7"))["user"] == "7"


# Down


async def test_while_it_is_down_nobody_new_gets_in_and_nobody_is_dropped(app: Application) -> None:
    async with hub_asking(app, cache_s=60) as hub:
        live = await hub.open(subprotocol=JSON, headers=COOKIE)
        await welcome(live)
        await app.stop()
        for _ in range(10):
            why = await refused(hub, None, headers={"Authorization": "Bearer new"})
            assert (why.status, why.headers["retry-after"]) == (503, "5")
        with pytest.raises(Refused) as handshake:
            await hub.open(subprotocol=JSON, headers={"Authorization": "Bearer new"})
        assert handshake.value.status == 503
        assert (await refused(hub, "9")).status == 503, "only the application knows that a token is none of its own"
        client = await hub.open(subprotocol=JSON)
        assert (await client.refused("auth", token="new"))["code"] == "unavailable"
        assert (await hub.call("GET", "/health/ready", key=None)).status == 200
        assert await welcome(await hub.open(subprotocol=JSON, headers=COOKIE)) == "7", "who is remembered gets in"
        await hub.publish("user:7", n=1)
        assert (await live.next())["n"] == 1
        await app.start()
        app.users["new"] = {"user": "8"}
        assert (await client.ask("auth", token="new"))["user"] == "8", "the same connection may try again"


# The end of it


async def test_a_revocation_bites_what_is_remembered(hub: HookedHub, app: Application) -> None:
    client = await hub.open(subprotocol=JSON, headers=COOKIE)
    await welcome(client)
    hub.clock.advance(10)
    assert (await hub.call("POST", "/api/users/7/revoke")).body["disconnected"] == 1
    assert await client.closed() == 4507
    client = await hub.open(subprotocol=JSON, headers=COOKIE)
    assert await client.closed() == 4507
    assert (await refused(hub, None, headers=COOKIE)).status == 401
    assert len(app.asked) == 1
    hub.clock.advance(51)
    assert await welcome(await hub.open(subprotocol=JSON, headers=COOKIE)) == "7", "asked again, it stands by him"


async def test_a_revocation_while_it_thinks_bites(hub: HookedHub, app: Application) -> None:
    app.go.clear()
    coming = asyncio.ensure_future(refused(hub, None, headers=COOKIE))
    await eventually(lambda: app.asked)
    hub.clock.advance(1)
    await hub.call("POST", "/api/users/7/revoke")
    hub.clock.advance(1)
    app.go.set()
    assert (await coming).status == 401
    assert not hub.hub.registry.connections


async def test_a_connection_ends_when_it_says_so(hub: HookedHub, app: Application) -> None:
    app.users["s7"]["expires_in"] = 20
    client = await hub.open(subprotocol=JSON, headers=COOKIE)
    await welcome(client)
    hub.let_pass(5)
    assert await welcome(await hub.open(subprotocol=JSON, headers=COOKIE)) == "7"
    assert len(app.asked) == 1, "remembered, with the same end"
    hub.let_pass(12)
    assert [message["hub"] for message in await client.messages()] == ["token_expiring"]
    hub.let_pass(10)
    assert await client.closed() == 4001
    assert not hub.hub.registry.connections
    assert await welcome(await hub.open(subprotocol=JSON, headers=COOKIE)) == "7"
    assert len(app.asked) == 2


async def test_a_connection_is_renewed_by_the_applications_token(hub: HookedHub, app: Application) -> None:
    app.users |= {"a": {"user": "7", "expires_in": 60}, "b": {"user": "7", "expires_in": 600}}
    client = await hub.open(subprotocol=JSON, headers={"Authorization": "Bearer a"})
    await welcome(client)
    assert (await client.ask("auth", token="b"))["ok"]
    hub.let_pass(100)
    assert {message["hub"] for message in await client.messages()} == {"ping"}, "nothing is about to end"


# Many


async def test_a_storm_asks_once_for_each_cookie(app: Application) -> None:
    app.users = {f"s{n}": {"user": str(n)} for n in range(100)}
    async with hub_asking(app, {"limits": {"per_ip": 0}}, timeout_s=4) as hub:
        app.go.clear()
        ways = [
            asyncio.ensure_future(hub.open(subprotocol=JSON, headers=COOKIE | {"Cookie": f"session=s{n % 100}"}))
            for n in range(500)
        ]
        await eventually(lambda: app.at_once == 32)
        app.go.set()
        for n, client in enumerate(await asyncio.gather(*ways)):
            assert await welcome(client) == str(n % 100)
        assert len(app.asked) == 100
        assert app.most_at_once == 32
        answer = await hub.call("GET", "/metrics")
        assert b'proxy_auth_calls_total{answer="known"} 100.0' in answer.body


async def test_a_hub_that_stops_meanwhile(hub: HookedHub, app: Application) -> None:
    app.go.clear()
    client = await poller(hub, None)
    client.request(target(), COOKIE)
    await eventually(lambda: app.asked)
    stopping = asyncio.ensure_future(hub.edge.stop(hub.clock.monotonic() + 5))
    await eventually(lambda: hub.hub.stopping)
    app.go.set()
    assert (await client.answer()).code == "unavailable"
    await stopping
