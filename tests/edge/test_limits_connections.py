"""How many: connections in all, of an address, of strangers; subscriptions; publications a second; slow bodies."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from hubd.edge import http
from tests.edge.conftest import StartHub
from tests.edge.live_hub import HOST, LiveHub, eventually
from tests.edge.ws_client import JSON, Refused


async def refusal(opening: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        await opening
    return refused.value


async def authenticated(hub: LiveHub, user: str) -> Any:
    client = await hub.open(subprotocol=JSON)
    client.send(action="auth", token=hub.token(user), ref="auth")
    return client


# Connections


async def test_connections_in_all(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"connections": 3})
    clients = [await hub.opened(JSON, str(n)) for n in range(3)]
    for opening in (hub.connect("9"), hub.open()):
        refused = await refusal(opening)
        assert (refused.status, refused.code) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
    await hub.gone(clients[0])
    await hub.opened(JSON, "9")


async def test_strangers_count_for_them(start_hub: StartHub) -> None:
    """Else many could come in first, and say who they are afterwards."""
    hub = await start_hub(limits={"connections": 3})
    for n in range(3):
        await hub.open(subprotocol=JSON)
        assert len(hub.edge.endpoint.unauthenticated) == n + 1
    refused = await refusal(hub.connect("9"))
    assert (refused.status, refused.code) == (503, "unavailable")


async def test_where_it_is_0_the_open_files_decide(start_hub: StartHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = await start_hub(limits={"connections": 0})
    monkeypatch.setattr("hubd.hub.FILES_RESERVED", 10**9)  # as if there were hardly any
    await hub.opened(JSON)
    assert (await refusal(hub.connect("9"))).status == 503


async def test_connections_of_an_address(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"per_ip": 3})
    clients = [await hub.opened(JSON), await hub.open(), await hub.opened(None, "7")]
    for opening in (hub.connect("9"), hub.open(), hub.open(headers={"Authorization": "Bearer nonsense"})):
        refused = await refusal(opening)
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1
    assert hub.edge.endpoint.addresses.of(HOST) == 3
    clients[1].reset()
    await eventually(lambda: hub.edge.endpoint.addresses.of(HOST) == 2)
    await hub.opened(JSON, "9")
    assert (await hub.call("GET", "/health/live")).status == 200  # HTTP is not counted


async def test_another_address_has_a_count_of_its_own(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"per_ip": 1})
    await hub.opened(JSON)
    other = await hub.connect("7", from_address="127.0.0.2")
    assert (await other.next())["hub"] == "welcome"


@pytest.mark.parametrize("limit", ["per_ip", "per_user", "unauthenticated"])
async def test_0_is_no_limit(start_hub: StartHub, limit: str) -> None:
    hub = await start_hub(limits={limit: 0})
    for n in range(25):
        await (hub.open() if limit == "unauthenticated" else hub.opened(JSON, "42" if limit == "per_user" else f"u{n}"))


async def test_strangers(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"unauthenticated": 2})
    first, _ = await hub.open(subprotocol=JSON), await hub.open()
    refused = await refusal(hub.open())
    assert (refused.status, refused.code) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    await hub.opened(JSON)  # whoever brings a token comes in
    first.send(action="auth", token=hub.token(), ref=1)
    assert (await first.next())["ok"] is True
    await hub.open()
    assert (await refusal(hub.open())).status == 503
    hub.let_pass(5.1)
    await eventually(lambda: not hub.edge.endpoint.unauthenticated)
    await hub.open()


async def test_strangers_of_one_address_keep_no_others_out(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"unauthenticated": 4})
    crowd = [await hub.open(subprotocol=JSON) for _ in range(4)]
    others = [await hub.open(subprotocol=JSON, from_address="127.0.0.2") for _ in range(2)]
    for oldest in crowd[:2]:
        assert await oldest.closed() == 4029
        assert oldest.frames[-1]["reconnect"] is True
    assert len(hub.edge.endpoint.unauthenticated) == 4
    for address in (HOST, "127.0.0.2"):  # two of each: nobody has more than his share
        assert (await refusal(hub.open(from_address=address))).status == 503
    for client in (*crowd[2:], *others):
        client.send(action="auth", token=hub.token(), ref=1)
        assert (await client.next())["ok"] is True


async def test_of_a_user_also_where_both_come_at_once(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"per_user": 3})
    clients = [await hub.open(subprotocol=JSON) for _ in range(8)]
    for client in clients:
        client.send(action="auth", token=hub.token(), ref="auth")
    first = [await client.next() for client in clients]
    assert sorted(message["hub"] for message in first) == ["disconnect"] * 5 + ["reply"] * 3
    assert len(hub.hub.registry.connections) == 3


# Subscriptions


async def test_subscriptions_of_a_connection(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"subscriptions": 3})
    client, _ = await hub.welcomed()
    await client.ask("subscribe", topics=["a", "b"])
    assert (await client.refused("subscribe", topics=["c", "d"]))["code"] == "subscription_limit"
    assert (await client.ask("subscribe", topics=["a", "b", "c", "notifications", "user:42"]))["ok"] is True
    for more in ({}, {"durable": True}, {"cursor": "x"}):
        assert (await client.refused("subscribe", topic="d", **more))["code"] == "subscription_limit"
    assert (await client.ask("subscribe", topic="a"))["ok"] is True
    await client.ask("unsubscribe", topic="a")
    assert (await client.ask("subscribe", topic="d"))["ok"] is True
    assert [name for name in "abcd" if (await hub.publish(name, n=1))["live"]] == ["b", "c", "d"]


async def test_those_that_are_too_many_in_the_query_are_left_out_and_told(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"subscriptions": 3})
    client, welcome = await hub.welcomed(topics="a,b,c,d,e")
    assert welcome["topics"] == ["a", "b", "c"]
    assert (await client.refused("subscribe", topic="d"))["code"] == "subscription_limit"


async def test_the_default_is_a_hundred(hub: LiveHub) -> None:
    client, welcome = await hub.welcomed(topics=",".join(f"t{n}" for n in range(99)))
    assert len(welcome["topics"]) == 99
    assert (await client.refused("subscribe", topics=["x", "y"]))["code"] == "subscription_limit"
    assert (await client.ask("subscribe", topic="x"))["ok"] is True
    assert (await client.refused("subscribe", topic="y"))["code"] == "subscription_limit"


async def test_what_is_asked_for_at_once_is_counted_together(start_hub: StartHub) -> None:
    """A durable subscription may have to wait; what comes behind it must not take the room that it was promised."""
    hub = await start_hub(limits={"subscriptions": 1})
    client, _ = await hub.welcomed()
    client.send(action="subscribe", topic="a", durable=True, ref=1)
    client.send(action="subscribe", topic="b", ref=2)
    replies = {message["ref"]: message["ok"] for message in [await client.next(), await client.next()]}
    joined = {name: (await hub.publish(name, n=1))["live"] == 1 for name in "ab"}
    assert replies == {1: joined["a"], 2: joined["b"]}


async def test_topics_that_may_be_watched(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"subscriptions": 2})
    client, _ = await hub.welcomed()
    for topic in ("a", "b", "a"):
        assert (await client.ask("presence", topic=topic, watch=True))["ok"] is True
    assert (await client.refused("presence", topic="c", watch=True))["code"] == "subscription_limit"
    assert (await client.ask("presence", topic="c"))["ok"] is True


# Publications a second


async def test_publications_a_second_of_a_key(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"publish_per_s": 3})
    assert [(await hub.try_publish(n=n)).status for n in range(4)] == [202, 202, 202, 429]
    refused = await hub.try_publish(n=5)
    assert (refused.status, refused.code) == (429, "rate_limited")
    wait = int(refused.headers["Retry-After"])
    assert 1 <= wait <= 2
    assert (await hub.try_publish(n=6, key="other")).status == 202
    hub.clock.advance(0.34)
    assert [(await hub.try_publish(n=n)).status for n in range(2)] == [202, 429]
    hub.clock.advance(wait)
    assert [(await hub.try_publish(n=n)).status for n in range(4)] == [202, 202, 202, 429]
    hub.clock.advance(3600)
    assert [(await hub.try_publish(n=n)).status for n in range(4)] == [202, 202, 202, 429]


async def test_what_is_refused_for_something_else_is_not_counted(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"publish_per_s": 1})
    for _ in range(3):
        assert (await hub.try_publish("no name")).status == 422
    assert (await hub.try_publish(n=1)).status == 202


async def test_publications_a_second_of_a_user(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"publish_per_s": 2})
    first, second = [await hub.opened(JSON) for _ in range(2)]
    other = await hub.opened(JSON, "7")
    for client in (first, second):
        assert (await client.ask("publish", to="a", notification={"type": "x"}))["ok"] is True
    error = await first.refused("publish", to="a", notification={"type": "x"})
    assert error["code"] == "rate_limited"
    assert 0 < error["retry_after_s"] <= 1
    assert (await other.ask("publish", to="a", notification={"type": "x"}))["ok"] is True
    hub.clock.advance(math.ceil(error["retry_after_s"]))
    assert (await first.ask("publish", to="a", notification={"type": "x"}))["ok"] is True


# Bodies that don't come


async def stalled(hub: LiveHub, sent: Callable[[int], bytes], path: str = "/api/notifications") -> Any:
    reader, writer = await asyncio.open_connection(HOST, hub.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {hub.bearer('backend')}\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + sent(99))
    try:
        async with asyncio.timeout(5):
            return (await reader.readuntil(b"\r\n\r\n")).decode()
    finally:
        writer.close()


@pytest.mark.parametrize("path", ["/api/notifications", "/api/notifications/batch"])
@pytest.mark.parametrize("sent", [0, 1, 99])
async def test_a_body_that_stalls_is_given_up(
    hub: LiveHub, monkeypatch: pytest.MonkeyPatch, path: str, sent: int
) -> None:
    monkeypatch.setattr(http, "BODY_S", 0.1)
    head = await stalled(hub, lambda most: b" " * sent, path)
    assert head.startswith("HTTP/1.1 400 ")
    assert "application/problem+json" in head


async def test_a_publisher_who_hangs_up_in_the_middle_of_his_body_publishes_nothing(hub: LiveHub) -> None:
    client = await hub.opened(None)
    body = b'{"to":"notifications","notification":{"type":"x"}}'
    _, writer = await asyncio.open_connection(HOST, hub.port)
    key = hub.bearer("backend").encode()
    head = b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\nContent-Length: 100\r\n\r\n"
    writer.write(head % key + body)
    await writer.drain()
    writer.transport.abort()
    await eventually(lambda: not hub.server().connections)
    assert await client.messages() == []


async def test_without_a_key_no_body_is_waited_for(hub: LiveHub) -> None:
    reader, writer = await asyncio.open_connection(HOST, hub.port)
    writer.write(b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
    writer.close()
