"""`hubd_authenticate` on every way in: whom the plugin knows gets in as that, and nobody else by its fault."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.edge.keys import PREFIX
from hubd.plugin import Credentials, Identity, identity_of
from tests.edge.hooked_hub import HookedHub, Knowing, hooked
from tests.edge.http_clients import PollClient, refused, stream
from tests.edge.live_hub import LISTED_ORIGIN
from tests.edge.ways_in import REFUSED, WAYS, bearer, way_in
from tests.edge.ws_client import JSON, Refused

EVIL = "https://evil.example"


@pytest.fixture
async def hub() -> AsyncIterator[HookedHub]:
    async with hooked(Knowing) as made:
        yield made


@pytest.fixture
def plugin(hub: HookedHub) -> Knowing:
    return hub.made[0]  # type: ignore[no-any-return]


# Whom it knows, refuses, and doesn't know


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_in_asks(hub: HookedHub, plugin: Knowing, way: str) -> None:
    assert await way_in(hub, way, "app-7") in ("7", "let in")
    asked = plugin.asked[-1]
    assert isinstance(asked, Credentials) and asked.token == "app-7" and asked.address == "127.0.0.1"
    assert await way_in(hub, way, "no-8") in REFUSED
    assert await way_in(hub, way, hub.token("9")) in ("9", "let in"), "a token of the hub's own still counts"
    assert await way_in(hub, way, "nonsense") in REFUSED


async def test_its_reason_is_told(hub: HookedHub) -> None:
    client = await hub.open(subprotocol=JSON)
    assert (await client.refused("auth", token="no-8"))["message"] == "no-8 is not welcome"
    assert await client.closed() == 4500
    why = await refused(hub, None, headers=bearer("no-8"))
    assert (why.status, why.problem["detail"]) == (401, "no-8 is not welcome")


async def test_what_it_grants_counts_and_nothing_else(hub: HookedHub, plugin: Knowing) -> None:
    plugin.grants = {"topics": ["team:*"], "publish": ["b"], "max_priority": "informational"}
    client = await hub.open(subprotocol=JSON, headers=bearer("app-7"), query={"topics": "team:a,other"})
    assert (await client.next())["topics"] == ["team:a"]
    assert (await client.refused("subscribe", topic="other"))["code"] == "forbidden"
    assert (await client.refused("publish", to="team:a", notification={"type": "x"}))["code"] == "forbidden"
    important: dict[str, Any] = {"to": "b", "notification": {"type": "x"}, "priority": "important"}
    assert (await client.refused("publish", **important))["code"] == "forbidden"
    assert (await client.ask("publish", **(important | {"priority": "informational"})))["ok"]


async def test_the_whole_request_is_seen(hub: HookedHub, plugin: Knowing) -> None:
    headers = bearer("app-7") | {"X-Mine": "a", "Cookie": "app=other; b=2"}
    await hub.open(subprotocol=JSON, headers=headers, query={"session": "s 1"})
    asked = plugin.asked[-1]
    assert (asked.headers["x-mine"], asked.query) == ("a", {"session": "s 1"})
    assert asked.cookies == {"app": "other", "b": "2"} and asked.headers["cookie"] == "app=other; b=2"
    assert "app" not in repr(asked), "it is full of secrets"


async def test_a_header_that_comes_twice_is_seen_whole(hub: HookedHub, plugin: Knowing) -> None:
    client = await PollClient.open(hub)
    lines = "Host: x\r\nSec-Fetch-Site: same-origin\r\nCookie: a=1\r\nCookie: app=app-7\r\nX-Mine: 1\r\nX-Mine: 2\r\n"
    client.write(f"GET /notifications HTTP/1.1\r\n{lines}\r\n".encode())
    await client.answer()
    assert plugin.asked[-1].headers["cookie"] == "a=1; app=app-7"
    assert plugin.asked[-1].headers["x-mine"] == "1, 2"


# The cookie


async def test_by_cookie(hub: HookedHub) -> None:
    cookie = {"Cookie": "app=app-7"}
    client = await hub.open(subprotocol=JSON, headers=cookie | {"Origin": LISTED_ORIGIN})
    assert (await client.next())["user"] == "7"
    client = await hub.open(subprotocol=JSON, headers=cookie)
    assert (await client.next())["user"] == "7", "without an Origin it is no browser's"
    assert (await stream(hub, None, headers=cookie | {"Origin": LISTED_ORIGIN})).welcome["user"] == "7"


@pytest.mark.parametrize(
    "page", [{"Origin": EVIL}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]
)
async def test_a_foreign_page_never_gets_the_cookie_to_the_plugin(
    hub: HookedHub, plugin: Knowing, page: dict[str, str]
) -> None:
    headers = {"Cookie": "app=app-7", **page}
    for path in ("/api/subscriptions", "/api/channels/team/history", "/notifications"):
        answer = await hub.call("GET", path, key=None, headers=headers)
        assert answer.status in (401, 403), path
    answer = await hub.call("POST", "/api/tickets", key=None, headers=headers)
    assert answer.status in (401, 403)
    with pytest.raises((Refused, AssertionError)):
        client = await hub.open(subprotocol=JSON, headers=headers)
        await client.refused("subscribe", topic="a")
        raise AssertionError("nobody knows who it is")
    for asked in plugin.asked:
        assert asked.cookies == {} and "cookie" not in asked.headers


# API keys


@pytest.mark.parametrize("way", [*WAYS, "query", "cookie"])
async def test_api_keys_never_come_to_a_plugin(hub: HookedHub, plugin: Knowing, way: str) -> None:
    key = hub.bearer("backend").removeprefix("Bearer ")
    assert key.startswith(PREFIX)
    if way == "query":
        assert (await refused(hub, None, token=key)).status == 401
        client = await hub.open(subprotocol=JSON, query={"token": key})
        assert await client.closed() == 4500
    elif way == "cookie":
        cookie = {"Cookie": f"hubd_token={key}", "Origin": LISTED_ORIGIN}
        assert (await refused(hub, None, headers=cookie)).status == 401
    else:
        assert await way_in(hub, way, key) in (4500, "unauthorized", "forbidden")
    assert (await hub.call("GET", "/api/channels")).status == 200
    assert (await hub.call("GET", "/api/channels/team/history")).status == 200
    assert key not in str([(one.token, one.headers, one.query, one.cookies) for one in plugin.asked])


# Tickets


async def test_a_ticket_carries_what_the_plugin_said(hub: HookedHub, plugin: Knowing) -> None:
    plugin.grants = {"topics": ["team"], "expires_at": hub.clock.now() + 100}
    headers = {"Cookie": "app=app-7", "Origin": LISTED_ORIGIN}
    answer = await hub.call("POST", "/api/tickets", key=None, headers=headers)
    assert answer.status == 201
    asked = len(plugin.asked)
    ticket = answer.body["ticket"]
    client = await hub.open(subprotocol=JSON, query={"ticket": ticket, "topics": "team,other"})
    welcome = await client.next()
    assert (welcome["user"], welcome["topics"]) == ("7", ["team"])
    assert len(plugin.asked) == asked, "the ticket alone is the proof"
    await hub.gone(client)
    hub.clock.advance(200)
    assert (await refused(hub, None, ticket=ticket)).status == 401


async def test_a_cookie_doesnt_count_where_there_is_a_ticket(hub: HookedHub) -> None:
    made = await hub.call("POST", "/api/tickets", key=None, headers=bearer("app-7"))
    client = await hub.open(subprotocol=JSON, query={"ticket": made.body["ticket"]}, headers={"Cookie": "app=app-8"})
    assert (await client.next())["user"] == "7"


async def test_a_made_up_ticket_is_no_way_around_the_plugin(hub: HookedHub, plugin: Knowing) -> None:
    own = {"Cookie": f"hubd_token={hub.token('9')}", "Origin": LISTED_ORIGIN}
    assert (await refused(hub, None, headers=own, ticket="made-up")).status == 401
    client = await hub.open(subprotocol=JSON, headers=own, query={"ticket": "made-up"})
    assert await client.closed() == 4500
    assert (await hub.call("GET", "/api/subscriptions?ticket=made-up", key=None, headers=own)).status == 200
    assert len(plugin.asked) == 1, "tickets open streams alone, so here it counts for nothing"
    assert await way_in(hub, "api", "no-9") == "unauthorized"
    await refused(hub, None, headers=bearer("no-9"), ticket="made-up")
    assert plugin.asked[-1].token == "no-9", "the header comes first"


# Renewal


async def test_a_connection_is_renewed_by_the_plugin(hub: HookedHub, plugin: Knowing) -> None:
    client = await hub.open(subprotocol=JSON, headers=bearer("app-7"), query={"topics": "team,other"})
    await client.next()
    plugin.grants = {"topics": ["team"]}
    assert (await client.ask("auth", token="app-7"))["ok"]
    assert [one["code"] for one in await client.messages()] == ["forbidden"]
    assert next(iter(hub.hub.registry.connections)).topics.keys() == {"team"}
    assert (await client.refused("auth", token="app-8"))["code"] == "forbidden", "a connection stays its user's"
    assert (await client.refused("auth", token="no-7"))["code"] == "unauthorized"
    plugin.fault = RuntimeError("down")
    assert (await client.refused("auth", token="app-7"))["code"] == "unavailable"
    assert await client.messages() == [], "it stays"


# Failing: closed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("secret"),
        SystemExit(3),
        asyncio.CancelledError(),
        Problem("unavailable", "try later"),
        Problem("rate_limited", "not so fast"),
    ],
    ids=repr,
)
async def test_nobody_gets_in_while_it_fails(hub: HookedHub, plugin: Knowing, way: str, fault: BaseException) -> None:
    plugin.fault = fault
    for token in ("app-7", hub.token("9")):
        assert await way_in(hub, way, token) == "unavailable"
    plugin.fault = None
    assert await way_in(hub, way, "app-7") in ("7", "let in")
    assert bool(hub.faults) is not isinstance(fault, Problem), "a problem is an answer"


async def test_a_stranger_may_try_again(hub: HookedHub, plugin: Knowing) -> None:
    client = await hub.open(subprotocol=JSON)
    plugin.fault = RuntimeError("down")
    assert (await client.refused("auth", token="app-7"))["code"] == "unavailable"
    plugin.fault = None
    assert (await client.ask("auth", token="app-7"))["user"] == "7"


async def test_the_answer_says_when_to_try_again(hub: HookedHub, plugin: Knowing) -> None:
    plugin.fault = RuntimeError("it is all in app-7")
    why = await refused(hub, None, headers=bearer("app-7"))
    assert (why.status, why.headers["retry-after"]) == (503, "5")
    assert "app-7" not in why.problem["detail"] and "gate" in why.problem["detail"]
    with pytest.raises(Refused) as handshake:
        await hub.open(subprotocol=JSON, headers=bearer("app-7"))
    assert handshake.value.status == 503, "before the handshake, so that clients come back"


@pytest.mark.parametrize("way", WAYS)
async def test_reasons_that_cant_be_told(hub: HookedHub, plugin: Knowing, way: str) -> None:
    plugin.fault = Problem("unauthorized", "half \ud800")
    assert await way_in(hub, way, "app-7") in REFUSED


BAD: list[Any] = ["7", 7, {"user": "7"}, True, object()]


def made_wrong() -> list[Identity]:
    good = identity_of("7")
    wrong: list[dict[str, Any]] = [
        {"user": ""},
        {"user": "a b"},
        {"user": 7},
        {"topics": ["a"]},
        {"publish": None},
        {"max_priority": "normal"},
        {"expires_at": "tomorrow"},
        {"expires_at": math.nan},
        {"issued_at": math.inf},
        {"denied": []},
    ]
    return [replace(good, **fields) for fields in wrong]


@pytest.mark.parametrize("answer", [*BAD, *made_wrong()], ids=lambda answer: type(answer).__name__)
async def test_nonsense_is_no_answer(hub: HookedHub, plugin: Knowing, answer: Any) -> None:
    plugin.nonsense = answer
    assert await way_in(hub, "websocket", "app-7") == "unavailable"
    assert await way_in(hub, "auth", "app-7") == "unavailable"
    assert hub.faults == [("authenticate", "bad_answer")] * 2


async def test_switched_off_it_is_asked_all_the_same(hub: HookedHub, plugin: Knowing) -> None:
    live = await hub.open(subprotocol=JSON, headers=bearer("app-7"))
    await live.next()
    plugin.fault = RuntimeError("down")
    for _ in range(10):
        assert await way_in(hub, "api", "app-7") == "unavailable"
    for one in hub.hooks.plugins.values():
        assert one.is_on, "a stranger's token must not lock the others out"
        one.is_on = False
        hub.hooks._arrange()
    for way in WAYS:
        assert await way_in(hub, way, "app-7") == "unavailable"
        assert await way_in(hub, way, hub.token("9")) == "unavailable"
    await hub.publish("user:7", n=1)
    assert (await live.next())["n"] == 1, "who was in stays"
    plugin.fault = None
    assert await way_in(hub, "api", "app-7") == "let in"


async def test_the_first_that_knows_answers() -> None:
    async with hooked(Knowing, Knowing) as hub:
        first, second = hub.made
        assert await way_in(hub, "api", "app-7") == "let in"
        assert (len(first.asked), len(second.asked)) == (1, 0)
        assert await way_in(hub, "api", hub.token("9")) == "let in"
        assert (len(first.asked), len(second.asked)) == (2, 1)
        first.fault = RuntimeError("down")
        assert await way_in(hub, "api", "app-7") == "unavailable"
        assert len(second.asked) == 1, "what the first would say isn't known, so nobody else is asked"
