"""Durable subscriptions: a user's own by his token, and those that the application's server makes for him."""

from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import Answer, LiveHub

MINE = "/api/subscriptions"
HIS = "/api/users/42/subscriptions"
DAY = 86400


async def own(hub: LiveHub, method: str, topic: str = "", **claims: Any) -> Answer:
    token = hub.token("42", **{"topics": ["**"]} | claims)
    return await hub.call(method, f"{MINE}/{topic}" if topic else MINE, token=token)


async def listed(hub: LiveHub) -> dict[str, str]:
    by_server = (await hub.call("GET", HIS)).body["subscriptions"]
    by_user = (await own(hub, "GET")).body["subscriptions"]
    assert by_server == by_user
    return {one["topic"]: one["made_by"] for one in by_server}


async def test_made_listed_and_ended_by_the_user(hub: LiveHub) -> None:
    assert await listed(hub) == {}
    assert [(await own(hub, "PUT", "team:a")).status for _ in range(2)] == [201, 200]
    assert await listed(hub) == {"team:a": "user"}
    assert (await own(hub, "DELETE", "team:a")).status == 204
    gone = await own(hub, "DELETE", "team:a")
    assert (gone.status, gone.code) == (404, "not_found")
    assert await listed(hub) == {}


async def test_made_listed_and_ended_by_the_server(hub: LiveHub) -> None:
    assert [(await hub.call("PUT", f"{HIS}/team:a")).status for _ in range(2)] == [201, 200]
    assert await listed(hub) == {"team:a": "server"}
    assert (await hub.call("GET", "/api/users/7/subscriptions")).body == {"subscriptions": []}
    assert (await hub.call("DELETE", f"{HIS}/team:a")).status == 204
    assert (await hub.call("DELETE", f"{HIS}/team:a")).status == 404


async def test_joined_at_once_and_at_each_connect(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    plain = await hub.connect(subprotocol=None)
    await own(hub, "PUT", "team:a")
    await hub.call("PUT", f"{HIS}/team:b", key="publisher")
    later, welcome = await hub.welcomed()
    assert sorted(welcome["topics"]) == ["team:a", "team:b"]
    for to in ("team:a", "team:b"):
        assert (await hub.publish(to, n=1))["live"] == 3
    for one in (client, plain, later):
        assert [got["channel"] for got in await one.notifications()] == ["team:a", "team:b"]
    await own(hub, "DELETE", "team:a")
    assert (await hub.publish("team:a", n=2))["live"] == 0
    assert await client.notifications() == []


async def test_other_users_are_not_joined(hub: LiveHub) -> None:
    other, _ = await hub.welcomed("7")
    await hub.call("PUT", f"{HIS}/team:a")
    await hub.publish("team:a", n=1)
    assert await other.notifications() == []
    assert (await hub.welcomed("7"))[1]["topics"] == []


async def test_the_servers_need_no_permission_of_the_users(hub: LiveHub) -> None:
    assert (await own(hub, "PUT", "team:a", topics=[])).status == 403
    assert (await hub.call("PUT", f"{HIS}/team:a")).status == 201
    client, welcome = await hub.welcomed(claims={"topics": []})
    assert welcome["topics"] == ["team:a"]
    await hub.publish("team:a", n=1)
    assert len(await client.notifications()) == 1


async def test_a_users_own_is_checked_again_at_each_connect(hub: LiveHub) -> None:
    await own(hub, "PUT", "team:a")
    _, welcome = await hub.welcomed(claims={"topics": ["news:*"]})
    assert welcome["topics"] == []
    _, welcome = await hub.welcomed(claims={"topics": ["team:*"]})
    assert welcome["topics"] == ["team:a"]


async def test_a_users_own_counts_thirty_days_after_the_last_check(hub: LiveHub) -> None:
    await hub.call("PUT", f"{HIS}/team:b")
    await own(hub, "PUT", "team:a")
    hub.clock.advance(29 * DAY)
    client, welcome = await hub.welcomed()
    assert sorted(welcome["topics"]) == ["team:a", "team:b"]
    await hub.gone(client)
    hub.clock.advance(29 * DAY)
    assert await listed(hub) == {"team:a": "user", "team:b": "server"}
    hub.clock.advance(DAY)
    assert await listed(hub) == {"team:b": "server"}
    assert (await hub.welcomed())[1]["topics"] == ["team:b"]


async def test_how_long_it_counts_is_an_option(start_hub: StartHub) -> None:
    hub = await start_hub(auth={"durable_grant_s": 60})
    await own(hub, "PUT", "team:a")
    hub.clock.advance(59)
    assert await listed(hub) == {"team:a": "user"}
    hub.clock.advance(1)
    assert await listed(hub) == {}


async def test_a_users_own_never_takes_the_place_of_the_servers(hub: LiveHub) -> None:
    await hub.call("PUT", f"{HIS}/team:a")
    assert (await own(hub, "PUT", "team:a")).status == 200
    assert await listed(hub) == {"team:a": "server"}
    assert (await hub.call("PUT", f"{HIS}/team:b")).status == 201
    await own(hub, "PUT", "team:c")
    assert (await hub.call("PUT", f"{HIS}/team:c")).status == 200
    hub.clock.advance(31 * DAY)
    assert await listed(hub) == {"team:a": "server", "team:b": "server", "team:c": "server"}


async def test_the_frames_do_the_same(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    reply = await client.ask("subscribe", topics=["team:a", "team:b"], durable=True)
    assert (reply["ok"], reply["topics"]) == (True, ["team:a", "team:b"])
    assert await listed(hub) == {"team:a": "user", "team:b": "user"}
    await client.ask("unsubscribe", topic="team:a")  # of this connection alone
    assert await listed(hub) == {"team:a": "user", "team:b": "user"}
    assert (await hub.publish("team:a", n=1))["live"] == 0
    await client.ask("unsubscribe", topic="team:a", durable=True)
    assert await listed(hub) == {"team:b": "user"}
    assert (await hub.welcomed())[1]["topics"] == ["team:b"]
    limited, _ = await hub.welcomed("7", claims={"topics": ["news:*"]})
    refused = await limited.refused("subscribe", topics=["news:a", "team:c"], durable=True)
    assert refused["code"] == "forbidden"
    assert (await hub.call("GET", "/api/users/7/subscriptions")).body == {"subscriptions": []}


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (("PUT", f"{MINE}/team:a", {"key": None}), 401, "unauthorized"),
        (("GET", MINE, {"key": "backend"}), 403, "forbidden"),
        (("PUT", f"{MINE}/team:a", {"key": "backend"}), 403, "forbidden"),
        (("PUT", f"{HIS}/team:a", {"key": None}), 401, "unauthorized"),
        (("GET", HIS, {"token": "own"}), 403, "forbidden"),
        (("PUT", f"{HIS}/team:a", {"token": "own"}), 403, "forbidden"),
        (("DELETE", f"{HIS}/team:a", {"token": "own"}), 403, "forbidden"),
        (("PUT", f"{HIS}/team:a", {"key": "news"}), 403, "forbidden"),
        (("DELETE", f"{HIS}/team:a", {"key": "news"}), 403, "forbidden"),
        (("POST", MINE, {"token": "own"}), 405, "method_not_allowed"),
    ],
)
async def test_who_may_not(hub: LiveHub, call: tuple[str, str, dict[str, Any]], status: int, code: str) -> None:
    method, path, who = call
    if who.get("token"):
        who = {"token": hub.token("42", topics=["**"])}
    answer = await hub.call(method, path, **who)
    assert (answer.status, answer.code) == (status, code)
    assert await listed(hub) == {}


@pytest.mark.parametrize("topic", ["user:42", "user:42:notifications", "notifications", "hub:x", "a%20b", "user"])
async def test_what_is_no_topic(hub: LiveHub, topic: str) -> None:
    assert (await own(hub, "PUT", topic)).paths == ["topic"]
    assert (await hub.call("PUT", f"{HIS}/{topic}")).paths == ["topic"]


async def test_a_user_may_have_so_many_of_his_own(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"subscriptions": 3})
    for topic in ("a", "b", "c", "a"):
        assert (await own(hub, "PUT", topic)).status in (200, 201)
    answer = await own(hub, "PUT", "d")
    assert (answer.status, answer.code) == (422, "subscription_limit")
    assert sorted(await listed(hub)) == ["a", "b", "c"]


async def test_one_who_is_away_reads_what_his_durable_topics_got(hub: LiveHub) -> None:
    await own(hub, "PUT", "team:a")
    await hub.publish("team:a", n=1, id="x")
    assert (await hub.call("GET", "/api/notifications/x", token=hub.token("42"))).body["channel"] == "team:a"
    assert (await hub.call("GET", "/api/notifications/x", token=hub.token("7"))).status == 404
