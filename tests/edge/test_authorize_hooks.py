"""`hubd_authorize_subscribe` on every way to a topic: nothing is subscribed before it has answered."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubd.core.errors import Problem
from tests.edge.hooked_hub import HookedHub, Objecting, beside, hooked
from tests.edge.live_hub import eventually
from tests.edge.subscribing import TRANSPORTS, bearer, connected, joined, topics_of
from tests.edge.ws_client import JSON, Refused, done


@pytest.fixture
async def hub() -> AsyncIterator[HookedHub]:
    async with hooked(Objecting) as made:
        yield made


@pytest.fixture
def gate(hub: HookedHub) -> Objecting:
    return hub.made[0]  # type: ignore[no-any-return]


# When somebody connects


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_what_it_objects_to_isnt_joined(hub: HookedHub, gate: Objecting, way: str) -> None:
    gate.denied = {"secret"}
    assert await joined(hub, way, "team,secret,team,n.o:,notifications,user:42") == {"team"}
    assert gate.asked == [("42", ("team", "secret"))], "topics alone, and each once"


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_nothing_is_asked_without_a_topic(hub: HookedHub, gate: Objecting, way: str) -> None:
    assert await joined(hub, way, ",,") == set()
    assert gate.asked == []


async def test_what_the_token_refuses_isnt_asked_about(hub: HookedHub, gate: Objecting) -> None:
    headers = bearer(hub, topics=["team"])
    client = await hub.open(subprotocol=JSON, headers=headers, query={"topics": "team,other"})
    assert (await client.next())["topics"] == ["team"]
    assert (await client.refused("subscribe", topic="other"))["code"] == "forbidden"
    assert gate.asked == [("42", ("team",))]


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_nobody_connects_while_it_fails(hub: HookedHub, gate: Objecting, way: str) -> None:
    gate.fault = RuntimeError("down")
    with pytest.raises(Refused) as why:
        await joined(hub, way, "team")
    assert why.value.status == 503
    assert not hub.hub.registry.connections and not hub.hub.registry.topics
    assert await joined(hub, way, "") == set(), "what needs no answer goes on"
    gate.fault = None
    assert await joined(hub, way, "team") == {"team"}


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_a_problem_of_its_own_is_its_answer(hub: HookedHub, gate: Objecting, way: str) -> None:
    gate.fault = Problem("forbidden", "not today")
    with pytest.raises(Refused) as why:
        await joined(hub, way, "team")
    assert (why.value.status, hub.faults) == (403, [])
    if way in ("sse", "poll"):
        assert hub.hub.counts.refused["forbidden"] == 1


async def test_there_are_no_problems_but_the_hubs_own() -> None:
    class Inventive(Objecting):
        async def turn(self, asked: Any) -> None:
            raise Problem("teapot", "short and stout")

    async with hooked(Inventive) as hub:
        with pytest.raises(Refused) as why:
            await joined(hub, "websocket", "team")
        assert why.value.status == 503
        assert hub.faults == [("authorize_subscribe", "raised")]


@pytest.mark.parametrize("nonsense", ["team", ["other"], 7, [["team"]], {"secret": 1}, [None]], ids=str)
async def test_nonsense_is_a_failure(hub: HookedHub, gate: Objecting, nonsense: Any) -> None:
    gate.nonsense = nonsense
    with pytest.raises(Refused):
        await joined(hub, "websocket", "team,news")
    assert hub.faults == [("authorize_subscribe", "bad_answer")]


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_nothing_is_joined_before_the_answer(hub: HookedHub, gate: Objecting, way: str) -> None:
    gate.go.clear()
    coming = beside(joined(hub, way, "team"))
    await gate.is_asked()
    await hub.publish("team", n=1)
    assert not hub.hub.registry.topics and not hub.hub.registry.connections
    gate.denied = {"team"}  # decided at the last moment
    gate.go.set()
    assert await coming == set()


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_who_is_revoked_meanwhile_doesnt_get_in(hub: HookedHub, gate: Objecting, way: str) -> None:
    gate.go.clear()
    coming = beside(joined(hub, way, "team"))
    await gate.is_asked()
    await hub.call("POST", "/api/users/42/revoke")
    gate.go.set()
    await asyncio.wait([coming])
    assert coming.exception() is not None, coming.result()
    assert not hub.hub.registry.connections


async def test_limits_count_when_the_answer_is_there() -> None:
    async with hooked(Objecting, sections={"limits": {"per_user": 1, "per_ip": 6}}) as hub:
        gate = hub.made[0]
        gate.go.clear()
        ways = ["websocket", "sse"] * 3
        coming = [beside(joined(hub, way, "team")) for way in ways]
        await eventually(lambda: gate.waiting == len(ways))
        gate.go.set()
        await asyncio.wait(coming)
        assert len(hub.hub.registry.connections) == 1
        ends = [one.exception() for one in coming]
        assert any(isinstance(end, Refused) and end.status == 429 for end in ends), ends


async def test_a_hub_that_stops_meanwhile_takes_nobody_in(hub: HookedHub, gate: Objecting) -> None:
    gate.go.clear()
    coming = [beside(joined(hub, way, "team")) for way in TRANSPORTS]
    await eventually(lambda: gate.waiting == len(TRANSPORTS))
    stopping = beside(hub.edge.stop(hub.clock.monotonic() + 0.2))
    await eventually(lambda: hub.hub.stopping)
    gate.go.set()
    await asyncio.wait(coming)
    assert all(one.exception() for one in coming)
    assert not hub.hub.registry.connections
    await stopping


# Actions


ASKING: list[dict[str, Any]] = [
    {"action": "subscribe", "topic": "secret"},
    {"action": "subscribe", "topics": ["team", "secret"]},
    {"action": "subscribe", "topic": "secret", "durable": True},
    {"action": "subscribe", "topics": ["team", "secret"], "durable": True},
    {"action": "presence", "topic": "secret"},
    {"action": "presence", "topic": "secret", "watch": True},
]


@pytest.mark.parametrize("asking", ASKING, ids=str)
async def test_every_action_asks(hub: HookedHub, gate: Objecting, asking: dict[str, Any]) -> None:
    client = await connected(hub)
    gate.denied = {"secret"}
    assert (await client.refused(**asking))["code"] == "forbidden"
    assert not topics_of(hub) and not hub.hub.durables.of("42") and not hub.hub.watches._topics, "all or nothing"
    assert gate.asked == [("42", tuple(asking.get("topics", ["secret"])))]
    gate.fault = RuntimeError("down")
    error = await client.refused(**asking)
    assert (error["code"], error["retry_after_s"]) == ("unavailable", 5.0)
    assert not topics_of(hub) and not hub.hub.durables.of("42") and not hub.hub.watches._topics
    gate.fault, gate.denied = None, set()
    assert (await client.ask(**asking))["ok"], "what was objected to isn't remembered"
    gate.denied = {"secret"}
    assert (await client.refused(**asking))["code"] == "forbidden"


@pytest.mark.parametrize("asking", ASKING, ids=str)
async def test_an_action_waits_and_nothing_is_done_before(
    hub: HookedHub, gate: Objecting, asking: dict[str, Any]
) -> None:
    client, other = await connected(hub), await connected(hub, "7")
    gate.go.clear()
    client.send(**asking, ref="1")
    client.send(action="ping", ref="2")
    client.send(action="subscribe", ref="3", topic="later")
    client.send(action="ping", ref="4")
    client.send(action="subscribe", ref="5", topic="last")
    await gate.is_asked()
    await hub.publish("secret", n=1)
    assert (await other.ask("ping"))["ok"], "others don't wait"
    assert not topics_of(hub) and not hub.hub.durables.of("42") and not hub.hub.watches._topics
    assert len(gate.asked) == 1
    gate.go.set()
    assert [(await client.next())["ref"] for _ in range(5)] == ["1", "2", "3", "4", "5"], "in their order"


async def test_with_a_cursor_nothing_is_replayed_before(hub: HookedHub, gate: Objecting) -> None:
    cursor = hub.hub.attendance.cursor()
    await hub.publish("secret", n=1)
    client = await connected(hub)
    gate.denied = {"secret"}
    assert (await client.refused("subscribe", topic="secret", cursor=cursor))["code"] == "forbidden"
    assert await client.messages() == []
    gate.denied = set()
    assert done(await client.ask("subscribe", topic="secret", cursor=cursor))["replayed"] == 1
    assert [one["n"] for one in await client.notifications()] == [1]


@pytest.mark.parametrize("asking", ASKING, ids=str)
@pytest.mark.parametrize("how", ["gone", "revoked"])
async def test_nothing_comes_of_it_when_the_connection_ends_meanwhile(
    hub: HookedHub, gate: Objecting, asking: dict[str, Any], how: str
) -> None:
    client = await connected(hub)
    gate.go.clear()
    client.send(**asking)
    await gate.is_asked()
    if how == "gone":
        await hub.gone(client)
    else:
        assert (await hub.call("POST", "/api/users/42/revoke")).body["disconnected"] == 1
        assert await client.closed() == 4507
    gate.go.set()
    await eventually(lambda: not hub.tasks._running, str(hub.left_over()))
    assert not hub.hub.registry.topics and not hub.hub.watches._topics and not hub.hub.durables.of("42")


@pytest.mark.parametrize("asking", ASKING, ids=str)
async def test_nothing_comes_of_it_when_the_hub_stops_meanwhile(
    hub: HookedHub, gate: Objecting, asking: dict[str, Any]
) -> None:
    client = await connected(hub)
    gate.go.clear()
    client.send(**asking, ref="1")
    await gate.is_asked()
    stopping = beside(hub.edge.stop(hub.clock.monotonic() + 5))
    assert await client.closed() == 4000
    gate.go.set()
    await stopping
    await eventually(lambda: not hub.tasks._running, str(hub.left_over()))
    assert [frame["hub"] for frame in client.frames] == ["disconnect"]
    assert not hub.hub.registry.topics and not hub.hub.durables.of("42")


async def test_what_waits_is_bounded() -> None:
    async with hooked(Objecting, sections={"limits": {"queue_bytes": 65536, "frames_per_s": 0}}) as hub:
        client = await connected(hub)
        hub.made[0].go.clear()
        for _ in range(400):
            client.send(action="subscribe", topic="x" * 60)
        assert await client.closed() == 4029


async def test_one_that_hangs_is_given_up() -> None:
    async with hooked(Objecting, timeout_s=0.2) as hub:
        client = await connected(hub)
        hub.made[0].go.clear()
        assert (await client.refused("subscribe", topic="team"))["code"] == "unavailable"
        assert hub.faults == [("authorize_subscribe", "too_long")]
        hub.made[0].go.set()
        assert (await client.ask("subscribe", topic="team"))["ok"]


async def test_switched_off_it_is_asked_all_the_same(hub: HookedHub, gate: Objecting) -> None:
    client = await connected(hub, topics="team")
    gate.fault = RuntimeError("down")
    for _ in range(10):
        assert (await client.refused("subscribe", topic="news"))["code"] == "unavailable"
    for plugin in hub.hooks.plugins.values():
        assert plugin.is_on, "that everybody was refused is enough"
        plugin.is_on = False
        hub.hooks._arrange()
    for asking in ASKING:
        assert (await client.refused(**asking))["code"] == "unavailable"
    with pytest.raises(Refused):
        await joined(hub, "sse", "news")
    await hub.publish("team", n=1)
    assert (await client.next())["n"] == 1, "what was allowed stays"
    gate.fault = None
    assert (await client.ask("subscribe", topic="news"))["ok"]


async def test_one_objection_is_enough() -> None:
    async with hooked(Objecting, Objecting) as hub:
        first, second = hub.made
        first.denied, second.denied = {"a"}, {"b"}
        assert await joined(hub, "websocket", "a,b,c") == {"c"}


async def test_refused_topics_arent_hoarded(hub: HookedHub, gate: Objecting) -> None:
    client = await connected(hub)
    for n in range(50):
        gate.denied = {f"secret:{n}"}
        await client.refused("subscribe", topic=f"secret:{n}")
    (connection,) = hub.hub.registry.connections
    assert len(connection.identity.denied) <= 1
