"""What a connected user may ask for: every action in every wire form, its reply, and how it is refused."""

import json
from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub
from tests.edge.ws_client import JSON, MSGPACK, done

FORMS = pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])
CONTROLLED = pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])


# subscribe, unsubscribe


@FORMS
async def test_subscribe_and_unsubscribe(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    published = await hub.publish("team:a", n=0)
    reply = done(await client.ask("subscribe", topic="team:a"))
    assert reply == {"topics": ["team:a"], "replayed": 0, "cursor": published["cursor"]}
    assert done(await client.ask("subscribe", topics=["b", "team:a", "c"]))["topics"] == ["b", "team:a", "c"]
    for n, topic in enumerate(["team:a", "b", "c"], 1):
        assert (await hub.publish(topic, n=n))["live"] == 1
    assert [one["n"] for one in await client.notifications()] == [1, 2, 3]
    assert done(await client.ask("unsubscribe", topic="team:a")) == {"topics": ["team:a"]}
    assert done(await client.ask("unsubscribe", topics=["b", "never:had"])) == {"topics": ["b", "never:had"]}
    for topic in ("team:a", "b", "never:had"):
        assert (await hub.publish(topic, n=4))["live"] == 0
    assert (await hub.publish("c", n=5))["live"] == 1
    assert [one["n"] for one in await client.notifications()] == [5]


@FORMS
async def test_ones_own_channels_are_there_already_and_stay(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    for action in ("subscribe", "unsubscribe"):
        for asked, name in [
            ("user:42", "user:42:notifications"),
            ("user:42:notifications", "user:42:notifications"),
            ("notifications", "notifications"),
        ]:
            assert done(await client.ask(action, topic=asked))["topics"] == [name]
            assert (await hub.publish(asked, n=1))["live"] == 1
            assert [one["channel"] for one in await client.notifications()] == [name]


async def test_all_or_nothing(hub: LiveHub) -> None:
    client, _ = await hub.welcomed(claims={"topics": ["team:*"]})
    for topics, code in [
        (["team:a", "secret"], "forbidden"),
        (["team:a", "user:7"], "forbidden"),
        (["team:a", "user:7:notifications"], "forbidden"),
        (["team:a", "no name"], "invalid"),
    ]:
        assert (await client.refused("subscribe", topics=topics))["code"] == code
        assert (await hub.publish("team:a", n=1))["live"] == 0
    assert await client.messages() == []


async def test_forbidden_and_not_there_look_alike(hub: LiveHub) -> None:
    client, _ = await hub.welcomed(claims={"topics": ["team:*"]})
    await hub.publish("secret:a", n=1)
    await hub.welcomed("7", topics="secret:a")
    for action in ("subscribe", "presence"):
        there = await client.refused(action, topic="secret:a")
        not_there = await client.refused(action, topic="secret:b")
        assert json.dumps(there).replace("secret:a", "secret:b") == json.dumps(not_there)


@pytest.mark.parametrize(
    ("patterns", "allowed", "forbidden"),
    [
        (["team:*"], ["team:a"], ["team", "team:a:b", "teams:a"]),
        (["team:**"], ["team:a", "team:a:b:c"], ["team", "x:team:a"]),
        (["*:a"], ["team:a", "b:a"], ["a", "x:y:a", "user:a", "hub:a"]),
        (["**"], ["a", "a:b:c:d:e:f"], ["user:7", "user:7:notifications", "hub:x"]),
        (["user:7", "user:**", "hub:**"], [], ["user:7", "hub:x", "a"]),
        (["exact"], ["exact"], ["exact:x", "Exact"]),
        ([], [], ["a", "team:a"]),
    ],
)
async def test_what_a_tokens_topics_allow(
    hub: LiveHub, patterns: list[str], allowed: list[str], forbidden: list[str]
) -> None:
    client, _ = await hub.welcomed(claims={"topics": patterns})
    for topic in allowed:
        assert done(await client.ask("subscribe", topic=topic))["topics"] == [topic]
    for topic in forbidden:
        assert (await client.refused("subscribe", topic=topic))["code"] in ("forbidden", "invalid")
        assert (await hub.publish(topic, n=1))["live"] == 0 if not topic.startswith("hub") else True


@pytest.mark.parametrize(("default", "allowed"), [([], []), (["news:*"], ["news:a"])])
async def test_a_token_without_topics_has_the_default_ones(
    start_hub: StartHub, default: list[str], allowed: list[str]
) -> None:
    hub = await start_hub(auth={"default_topics": default})
    _, welcome = await hub.welcomed(topics="news:a,team:b", claims={"topics": None})
    assert welcome["topics"] == allowed
    _, welcome = await hub.welcomed(topics="news:a,team:b", claims={"topics": ["team:*"]})
    assert welcome["topics"] == ["team:b"]


async def test_what_comes_behind_a_fresh_token_is_judged_by_it(hub: LiveHub) -> None:
    client, _ = await hub.welcomed(claims={"topics": []})
    client.send(action="auth", token=hub.token("42", topics=["team:*"]), ref=1)
    client.send(action="subscribe", topic="team:a", durable=True, ref=2)
    client.send(action="unsubscribe", topic="team:a", ref=3)
    replies = [await client.next() for _ in range(3)]
    assert [(reply["ref"], reply["ok"]) for reply in replies] == [(1, True), (2, True), (3, True)]
    assert (await hub.publish("team:a", n=1))["live"] == 0


# ack, visibility


@FORMS
async def test_ack_takes_what_it_is_given(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    await hub.publish("user:42", n=1, id="a")
    await hub.publish("user:7", n=1, id="not-his")
    await client.messages()
    for fields in ({"id": "a"}, {"ids": ["a", "b"]}, {"ids": []}, {"id": "no id at all!"}, {"id": "not-his"}):
        assert done(await client.ask("ack", **fields)) == {}
    described = (await hub.call("GET", "/api/users/42")).body["connections"][0]
    assert set(described["acks"]) == {"a"}


@CONTROLLED
async def test_read_tells_ones_other_connections_once(hub: LiveHub, subprotocol: str) -> None:
    first, second = await hub.opened(subprotocol), await hub.opened(subprotocol)
    plain, stranger = await hub.opened(None), await hub.opened(subprotocol, "7")
    for id in ("a", "b"):
        await hub.publish("notifications", n=1, id=id)
    for client in (first, second, plain, stranger):
        await client.messages()
    await first.ask("ack", ids=["a", "unknown", "b"])
    await second.ask("ack", id="a")
    assert await second.messages() == [{"hub": "read", "ids": ["a", "b"]}]
    for client in (first, plain, stranger):
        assert await client.messages() == []


@FORMS
async def test_visibility(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    for state, presence in [("hidden", "connected"), ("visible", "attentive"), ("visible", "attentive")]:
        assert done(await client.ask("visibility", state=state)) == {}
        assert (await hub.call("GET", "/api/users/42")).body["presence"] == presence


# presence


@FORMS
async def test_who_is_in_a_topic(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    nobody = {"topic": "team:a", "users": [], "count": 0}
    assert done(await client.ask("presence", topic="team:a")) == nobody
    for user in ("7", "8", "7"):
        await hub.connect(user, topics="team:a")
    found = done(await client.ask("presence", topic="team:a"))
    assert (sorted(found["users"]), found["count"]) == (["7", "8"], 2)
    await client.ask("subscribe", topic="team:a")
    assert done(await client.ask("presence", topic="team:a"))["count"] == 3


async def test_a_hundred_are_named_and_all_counted(hub: LiveHub) -> None:
    for n in range(103):
        await hub.connect(f"u{n}", None, topics="team:a")
    client, _ = await hub.welcomed()
    found = done(await client.ask("presence", topic="team:a"))
    assert (len(set(found["users"])), found["count"]) == (100, 103)


@pytest.mark.parametrize("topic", ["notifications", "user:42"])
async def test_presence_is_of_topics(hub: LiveHub, topic: str) -> None:
    client, _ = await hub.welcomed()
    assert (await client.refused("presence", topic=topic))["code"] == "invalid"


@CONTROLLED
async def test_watching_tells_who_joins_and_leaves_never_oneself(hub: LiveHub, subprotocol: str) -> None:
    client = await hub.opened(subprotocol)
    assert done(await client.ask("presence", topic="team:a", watch=True))["count"] == 0
    await client.ask("subscribe", topic="team:a")
    seven, also_seven = await hub.connect("7", topics="team:a"), await hub.connect("7", topics="team:a")
    eight = await hub.connect("8", topics="team:b")
    assert await client.messages() == []  # once a second, not at once
    hub.let_pass(1)
    assert await client.messages() == [{"hub": "presence", "topic": "team:a", "joined": ["7"], "left": []}]
    await hub.gone(seven)
    hub.let_pass(1)
    assert await client.messages() == []  # he has another connection there
    await eight.ask("subscribe", topic="team:a")
    await also_seven.ask("unsubscribe", topic="team:a")
    hub.let_pass(1)
    assert await client.messages() == [{"hub": "presence", "topic": "team:a", "joined": ["8"], "left": ["7"]}]
    await eight.ask("unsubscribe", topic="team:a")
    await eight.ask("subscribe", topic="team:a")
    hub.let_pass(1)
    assert await client.messages() == []  # away and back: nothing has changed
    assert done(await client.ask("presence", topic="team:a", watch=False))["count"] == 2
    await hub.gone(eight)
    hub.let_pass(1)
    assert await client.messages() == []


# publish


@FORMS
async def test_publish_by_a_token_that_allows_it(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol, claims={"publish": ["team:*", "user:*", "notifications"]})
    other = await hub.opened(subprotocol, "7", topics="team:a")
    for n, (to, channel) in enumerate(
        [("team:a", "team:a"), ("user:7", "user:7:notifications"), ("notifications", "notifications")]
    ):
        fields = done(await client.ask("publish", to=to, notification={"type": "x", "n": n}, id=f"id-{n}"))
        (got,) = await other.notifications()
        assert fields == {"id": f"id-{n}", "cursor": got["cursor"]}
        assert got == {
            "type": "x",
            "n": n,
            "id": f"id-{n}",
            "channel": channel,
            "priority": "important",
            "sent_at": 1_800_000_000_000,
            "cursor": got["cursor"],
            "from": "42",
        }
    assert [one["n"] for one in await client.notifications()] == [2]


@FORMS
async def test_publish_without_a_ref_is_done_without_a_reply(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol, topics="team:a")
    client.send(action="publish", to="team:a", notification={"type": "x"})
    got = await client.next()
    assert (got["type"], got["from"]) == ("x", "42")
    assert await client.messages() == []


@pytest.mark.parametrize(
    ("claims", "body", "code", "paths"),
    [
        ({"publish": None}, {"to": "team:a"}, "forbidden", []),
        ({"publish": ["news:*"]}, {"to": "team:a"}, "forbidden", []),
        ({"publish": ["news:*"]}, {"to": "notifications"}, "forbidden", []),
        ({"publish": ["team:*"]}, {"to": "user:7"}, "forbidden", []),
        ({}, {"to": ["team:a", "team:b"]}, "invalid", ["to"]),
        ({}, {"to": {"segment": "x"}}, "invalid", ["to"]),
        ({}, {"to": "team:a", "priority": "critical"}, "forbidden", []),
        ({"max_priority": "informational"}, {"to": "team:a"}, "forbidden", []),
        ({"max_priority": "informational"}, {"to": "team:a", "priority": "important"}, "forbidden", []),
        ({}, {"to": "team:a", "notification": {"type": "x", "from": "7"}}, "invalid", ["notification.from"]),
        ({}, {"to": "team:a", "from": "7"}, "invalid", ["from"]),
        ({}, {"to": "team:a", "notification": {"type": "x", "body": "x" * 40_000}}, "too_large", []),
    ],
)
async def test_publish_refused(
    hub: LiveHub, claims: dict[str, Any], body: dict[str, Any], code: str, paths: list[str]
) -> None:
    client, _ = await hub.welcomed(claims=claims)
    listener, _ = await hub.welcomed("7", topics="team:a,team:b")
    error = await client.refused("publish", **{"notification": {"type": "x"}} | body)
    assert error["code"] == code
    assert [one["path"] for one in error.get("errors", [])] == paths
    assert await listener.messages() == []


@pytest.mark.parametrize(("most", "allowed"), [("informational", 1), ("important", 2), ("critical", 3), (None, 2)])
async def test_the_highest_priority_is_the_claims(hub: LiveHub, most: str | None, allowed: int) -> None:
    client, _ = await hub.welcomed(claims={"max_priority": most})
    for n, priority in enumerate(["informational", "important", "critical"]):
        reply = await client.ask("publish", to="team:a", notification={"type": "x"}, priority=priority)
        assert reply["ok"] is (n < allowed), priority


async def test_what_a_type_decides_counts_for_the_claim_too(start_hub: StartHub) -> None:
    hub = await start_hub(types={"alarm": {"priority": "critical"}})
    client, _ = await hub.welcomed()
    assert (await client.refused("publish", to="a", notification={"type": "alarm"}))["code"] == "forbidden"


async def test_publications_of_one_connection_keep_their_order(hub: LiveHub) -> None:
    client, _ = await hub.welcomed(topics="team:a")
    for n in range(50):
        client.send(action="publish", to="team:a", notification={"type": "x", "n": n})
    assert [(await client.next())["n"] for _ in range(50)] == list(range(50))
