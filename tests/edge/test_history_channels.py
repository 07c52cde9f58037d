"""What is still there of notifications and channels: by id, history, retract, `/api/channels`."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import Answer, LiveHub


async def history(hub: LiveHub, name: str, query: str = "", **who: Any) -> Answer:
    return await hub.call("GET", f"/api/channels/{name}/history{query}", **who)


def numbers(answer: Answer) -> list[int]:
    assert answer.status == 200, answer
    assert set(answer.body) == {"notifications", "cursor"}
    return [one["n"] for one in answer.body["notifications"]]


# By id


async def test_a_server_reads_one_back_by_its_id(hub: LiveHub) -> None:
    notification = {"type": "alert", "title": "Ü", "item": {"a": [1]}}
    published = await hub.publish(["team:a", "user:42"], notification=notification, id="a.b:c-d", priority="critical")
    answer = await hub.call("GET", "/api/notifications/a.b:c-d")
    assert answer.status == 200
    assert answer.body == notification | {
        "id": "a.b:c-d",
        "channel": "team:a",
        "priority": "critical",
        "sent_at": 1_800_000_000_000,
        "cursor": published["cursor"],
    }


async def test_a_key_for_other_channels_knows_nothing_of_it(hub: LiveHub) -> None:
    await hub.publish("team:a", n=1, id="a")
    await hub.publish(["team:a", "news:x"], n=1, id="b")
    for method in ("GET", "DELETE"):
        answer = await hub.call(method, "/api/notifications/a", key="news")
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await hub.call("GET", "/api/notifications/b", key="news")).body["channel"] == "news:x"
    assert (await hub.call("DELETE", "/api/notifications/b", key="news")).status == 403


@pytest.mark.parametrize(
    ("to", "topics", "channel"),
    [
        ("notifications", "", "notifications"),
        ("user:42", "", "user:42:notifications"),
        (["user:7", "user:42"], "", "user:42:notifications"),
        ("team:a", "team:a", "team:a"),
        (["team:b", "team:a", "notifications"], "team:a", "team:a"),
    ],
)
async def test_a_user_reads_what_was_sent_to_him(hub: LiveHub, to: Any, topics: str, channel: str) -> None:
    client, _ = await hub.welcomed("42", topics=topics)
    await hub.publish(to, n=1, id="x")
    (got,) = await client.notifications()
    answer = await hub.call("GET", "/api/notifications/x", token=hub.token("42"))
    assert (answer.status, answer.body) == (200, got)
    assert got["channel"] == channel


@pytest.mark.parametrize("to", ["user:7", "team:a", ["user:7", "team:a"]])
async def test_what_was_not_sent_to_him_he_may_not_know_of(hub: LiveHub, to: Any) -> None:
    await hub.publish(to, n=1, id="x")
    for token in (hub.token("42"), hub.token("42", topics=["**"], publish=["**"])):
        answer = await hub.call("GET", "/api/notifications/x", token=token)
        unknown = await hub.call("GET", "/api/notifications/unknown", token=token)
        assert (answer.status, answer.code) == (404, "not_found")
        assert answer.body == unknown.body


async def test_without_any_proof_nobody_reads(hub: LiveHub) -> None:
    await hub.publish(n=1, id="x")
    for path in ("/api/notifications/x", "/api/channels/notifications/history", "/api/subscriptions"):
        answer = await hub.call("GET", path, key=None)
        assert (answer.status, answer.code) == (401, "unauthorized"), path


@pytest.mark.parametrize("more", [{"persistence": "ephemeral"}, {"ttl": 0}])
async def test_what_is_live_only_is_not_kept(hub: LiveHub, more: dict[str, Any]) -> None:
    client, _ = await hub.welcomed()
    await hub.publish(n=1, id="x", **more)
    assert len(await client.notifications()) == 1
    assert (await hub.call("GET", "/api/notifications/x")).status == 404
    assert numbers(await history(hub, "notifications")) == []


async def test_it_is_there_until_its_ttl_or_the_rings(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"ttl_s": 60})
    await hub.publish(n=1, id="short", ttl=10)
    await hub.publish(n=2, id="long")
    for passed, short, long in [(9, 200, 200), (2, 404, 200), (48, 404, 200), (2, 404, 404)]:
        hub.clock.advance(passed)
        assert (await hub.call("GET", "/api/notifications/short")).status == short
        assert (await hub.call("GET", "/api/notifications/long")).status == long
        assert numbers(await history(hub, "notifications")) == [1] * (short == 200) + [2] * (long == 200)


# Retract


async def test_a_retracted_one_is_gone_from_everywhere_and_everybody_is_told(hub: LiveHub) -> None:
    meant, _ = await hub.welcomed("42", topics="team:a")
    other, _ = await hub.welcomed("7", topics="team:b")
    plain = await hub.connect("42", None)
    _, before = await hub.welcomed("9")
    await hub.publish(["team:a", "user:42"], n=1, id="x")
    await hub.publish("team:a", n=2, id="y")
    assert (await hub.call("DELETE", "/api/notifications/x")).status == 200
    assert [one for one in await meant.messages() if "hub" in one] == [{"hub": "retract", "ids": ["x"]}]
    assert await other.messages() == []
    assert ["hub" in one for one in await plain.messages()] == [False]
    assert (await hub.call("GET", "/api/notifications/x")).status == 404
    assert (await hub.call("DELETE", "/api/notifications/x")).status == 404
    assert numbers(await history(hub, "team:a")) == [2]
    back, welcome = await hub.welcomed("42", topics="team:a", cursor=before["cursor"])
    assert welcome["recovered"] is True
    assert [message.get("n", message) for message in await back.messages()] == [2]


async def test_only_a_key_that_may_publish_retracts(hub: LiveHub) -> None:
    await hub.publish(n=1, id="x")
    for who, status in [({"key": "admin"}, 403), ({"token": hub.token()}, 403), ({"key": None}, 401)]:
        assert (await hub.call("DELETE", "/api/notifications/x", **who)).status == status
    assert (await hub.call("GET", "/api/notifications/x")).status == 200


# History


async def test_history_is_oldest_first_of_one_channel(hub: LiveHub) -> None:
    for n, to in enumerate(["team:a", "team:b", ["team:b", "team:a"], "notifications", "team:a"]):
        last = await hub.publish(to, n=n)
    answer = await history(hub, "team:a")
    assert numbers(answer) == [0, 2, 4]
    assert {one["channel"] for one in answer.body["notifications"]} == {"team:a"}
    assert answer.body["cursor"] == last["cursor"]
    assert numbers(await history(hub, "team:a", "?limit=2")) == [2, 4]
    assert numbers(await history(hub, "team:none")) == []


async def test_its_cursor_goes_on_without_loss(hub: LiveHub) -> None:
    await hub.publish("team:a", n=0)
    cursor = (await history(hub, "team:a")).body["cursor"]
    await hub.publish("team:a", n=1)
    client, welcome = await hub.welcomed(topics="team:a", cursor=cursor)
    assert welcome["recovered"] is True
    assert [one["n"] for one in await client.notifications()] == [1]


async def test_history_looks_like_what_was_sent(hub: LiveHub) -> None:
    client, _ = await hub.welcomed("42")
    await hub.publish("user:42", notification={"type": "alert", "title": "Ü", "big": 2**63}, id="x")
    got = await client.notifications()
    for name in ("user:42", "user:42:notifications"):
        assert (await history(hub, name)).body["notifications"] == got


async def test_the_ring_keeps_the_last_hundred(hub: LiveHub) -> None:
    for n in range(105):
        await hub.publish("team:a", n=n)
    assert numbers(await history(hub, "team:a")) == list(range(5, 105))


@pytest.mark.parametrize(
    ("name", "status"),
    [("team:a", 200), ("notifications", 200), ("user:42", 200), ("user:7", 403), ("other", 403), ("hub:x", 422)],
)
async def test_a_user_reads_the_history_of_what_he_may_subscribe_to(hub: LiveHub, name: str, status: int) -> None:
    assert (await history(hub, name, token=hub.token("42", topics=["team:*"]))).status == status


async def test_forbidden_and_not_there_look_alike(hub: LiveHub) -> None:
    await hub.publish("secret:a", n=1)
    token = hub.token("42", topics=["team:*"])
    there, not_there = [await history(hub, name, token=token) for name in ("secret:a", "secret:b")]
    assert there.body["detail"].replace("secret:a", "secret:b") == not_there.body["detail"]
    assert (there.status, there.code) == (not_there.status, not_there.code) == (403, "forbidden")


async def test_a_key_reads_the_history_of_its_channels(hub: LiveHub) -> None:
    assert (await history(hub, "news:a", key="news")).status == 200
    answer = await history(hub, "team:a", key="news")
    assert (answer.status, answer.code) == (403, "forbidden")


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "x", "1001", "", "٣", "99999999999999999999"])
async def test_a_limit_that_is_none(hub: LiveHub, limit: str) -> None:
    assert (await history(hub, "team:a", f"?limit={quote(limit)}")).paths == ["limit"]


# Channels


async def test_a_channels_figures(hub: LiveHub) -> None:
    for user in ("1", "2"):
        for _ in range(2):
            await hub.welcomed(user, topics="team:a")
    await hub.call("PUT", "/api/users/9/subscriptions/team:a")
    for n in range(3):
        await hub.publish("team:a", n=n)
    answer = await hub.call("GET", "/api/channels/team:a")
    assert answer.status == 200
    rate = answer.body.pop("rate")
    assert answer.body == {"name": "team:a", "kind": "topic", "subscribers": 4, "durable": 1, "ring_depth": 3}
    assert 0 < rate <= 3
    hub.clock.advance(3600)
    assert (await hub.call("GET", "/api/channels/team:a")).body["rate"] == 0
    unused = (await hub.call("GET", "/api/channels/team:unused")).body
    assert (unused["subscribers"], unused["ring_depth"], unused["rate"]) == (0, 0, 0)


async def test_channels_are_listed_by_name_and_prefix(hub: LiveHub) -> None:
    await hub.welcomed("42", topics="team:b,team:a,news:x")
    await hub.publish("team:c", n=1)
    answer = await hub.call("GET", "/api/channels")
    names = [channel["name"] for channel in answer.body["channels"]]
    assert names == ["news:x", "notifications", "team:a", "team:b", "team:c", "user:42:notifications"]
    assert answer.body["count"] == 6
    answer = await hub.call("GET", "/api/channels?prefix=team:&limit=2")
    assert [channel["name"] for channel in answer.body["channels"]] == ["team:a", "team:b"]
    assert answer.body["count"] == 3
    answer = await hub.call("GET", "/api/channels", key="news")
    assert [channel["name"] for channel in answer.body["channels"]] == ["news:x"]


@pytest.mark.parametrize("path", ["/api/channels", "/api/channels/team:a"])
async def test_channels_are_for_admins(hub: LiveHub, path: str) -> None:
    refused = [({"key": "publisher"}, 403), ({"token": hub.token(topics=["**"])}, 403), ({"key": None}, 401)]
    for who, status in refused:
        assert (await hub.call("GET", path, **who)).status == status


async def test_a_name_in_a_path_may_be_escaped(hub: LiveHub) -> None:
    for path in ("/api/channels/a%3Ab%40c", "/api/channels/a:b@c"):
        assert (await hub.call("GET", path)).body["name"] == "a:b@c"
    assert (await hub.call("GET", "/api/channels/a+b")).body["name"] == "a+b"
    assert (await hub.call("GET", "/api/channels/a%7Cb")).body["name"] == "a|b"
    assert (await hub.call("GET", "/api/channels/a%20b")).paths == ["name"]
