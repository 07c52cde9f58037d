"""Coming back with a cursor: what was missed comes first, in order, once; what can't be had is told as a gap."""

import asyncio
import re
from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.ws_client import JSON, MSGPACK, Client, done

FORMS = pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])
CURSOR = re.compile(r"[A-Za-z0-9._~-]{1,64}")


def gap(channel: str | None, reason: str) -> dict[str, Any]:
    return {"hub": "gap", "channel": channel, "reason": reason}


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    return [message["n"] for message in messages if "hub" not in message]


def gaps(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message.get("hub") == "gap"]


@FORMS
async def test_what_was_missed_comes_once_and_in_order(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol, topics="team:a,team:b")
    for n in range(5):
        await hub.publish("notifications", n=n)
    cursor = (await client.notifications())[2]["cursor"]
    await hub.gone(client)
    targets = ["team:a", "user:42", "notifications", "team:b", ["team:b", "team:a", "user:42"], "team:c", "user:7"]
    for n in range(5, 40):
        await hub.publish(targets[n % 7], n=n)
    back = await hub.connect("42", subprotocol, topics="team:a,team:b", cursor=cursor)
    await hub.publish("user:42", n=40)
    got = await back.messages()
    if subprotocol:
        assert got[0]["hub"] == "welcome"
        assert (got[0]["recovered"], got[0]["cursor"]) == (True, cursor)
    meant = [n for n in range(5, 40) if n % 7 not in (5, 6)]
    assert numbers(got) == [3, 4, *meant, 40]
    assert gaps(got) == []


@FORMS
async def test_every_cursor_that_was_given_can_be_resumed_from(hub: LiveHub, subprotocol: str | None) -> None:
    client, welcome = await hub.welcomed(topics="team:a")
    cursors = [welcome["cursor"]]
    for n in range(6):
        assert (await hub.publish(["team:a", "user:42"][n % 2], n=n))["cursor"]
    cursors += [one["cursor"] for one in await client.notifications()]
    assert all(CURSOR.fullmatch(cursor) for cursor in cursors) and len(set(cursors)) == 7
    for place, cursor in enumerate(cursors):
        back = await hub.connect("42", subprotocol, topics="team:a", cursor=cursor)
        assert numbers(await back.messages()) == list(range(place, 6))
        back.hang_up()


async def test_the_cursors_of_ping_reply_and_history_are_cursors_too(hub: LiveHub) -> None:
    client, _ = await hub.welcomed(topics="team:a")
    found = []
    await hub.publish("team:a", n=0)
    found.append((await client.ask("subscribe", topic="team:b"))["cursor"])
    found.append((await client.ask("publish", to="team:a", notification={"type": "x", "n": 1}))["cursor"])
    hub.let_pass(25)
    found += [message["cursor"] for message in await client.messages() if message.get("hub") == "ping"]
    found.append((await hub.call("GET", "/api/channels/team:a/history")).body["cursor"])
    await hub.publish("team:a", n=2)
    missed = []
    for cursor in found:
        back, welcome = await hub.welcomed(topics="team:a", cursor=cursor)
        assert welcome["recovered"] is True
        missed.append(numbers(await back.messages()))
    assert missed == [[1, 2], [2], [2], [2]]


async def test_a_subprotocol_doesnt_matter_to_a_cursor(hub: LiveHub) -> None:
    plain = await hub.connect("42", None)
    await hub.publish("user:42", n=0)
    (got,) = await plain.messages()
    await hub.publish("user:42", n=1)
    for subprotocol in (MSGPACK, JSON, None):
        assert numbers(await (await hub.connect("42", subprotocol, cursor=got["cursor"])).messages()) == [1]


@pytest.mark.parametrize(
    ("more", "passed"), [({"persistence": "ephemeral"}, 0), ({"ttl": 0}, 0), ({"ttl": 10}, 11), ({"ttl": 0.5}, 1)]
)
async def test_what_is_not_for_later_is_no_gap(hub: LiveHub, more: dict[str, Any], passed: float) -> None:
    _, welcome = await hub.welcomed()
    await hub.publish("user:42", n=0, **more)
    await hub.publish("user:42", n=1)
    hub.clock.advance(passed)
    back, again = await hub.welcomed(cursor=welcome["cursor"])
    assert again["recovered"] is True
    got = await back.messages()
    assert (numbers(got), gaps(got)) == ([1], [])


# Gaps


@FORMS
@pytest.mark.parametrize(
    ("options", "published", "passed", "left"),
    [
        ({"per_channel": 3}, 5, 0, [2, 3, 4]),
        ({"ttl_s": 60}, 3, 61, []),
        ({"max_bytes": 6000}, 5, 0, [3, 4]),
    ],
    ids=["count", "age", "bytes"],
)
async def test_what_was_evicted_is_a_gap(
    start_hub: StartHub,
    subprotocol: str | None,
    options: dict[str, Any],
    published: int,
    passed: float,
    left: list[int],
) -> None:
    hub = await start_hub(replay=options)
    _, welcome = await hub.welcomed()
    for n in range(published):
        await hub.publish("user:42", notification={"type": "x", "n": n, "body": "x" * 200})
    hub.clock.advance(passed)
    await hub.publish("notifications", n=99)
    back = await hub.connect("42", subprotocol, cursor=welcome["cursor"])
    got = await back.messages()
    assert gaps(got) == [gap("user:42:notifications", "evicted")]
    assert numbers(got)[-1] == 99 and set(numbers(got)) <= {*left, 99}
    if subprotocol:
        assert got[0]["recovered"] is False
        assert got[1]["hub"] == "gap"
    else:
        assert got[0]["hub"] == "gap"
    unhurt = await hub.connect("7", subprotocol, cursor=welcome["cursor"])
    assert gaps(await unhurt.messages()) == []


async def test_exactly_full_is_no_gap_and_one_more_is(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 3})
    _, welcome = await hub.welcomed()
    for n in range(3):
        last = await hub.publish("user:42", n=n)
    back, again = await hub.welcomed(cursor=welcome["cursor"])
    assert (again["recovered"], numbers(await back.messages())) == (True, [0, 1, 2])
    await hub.publish("user:42", n=3)
    back, again = await hub.welcomed(cursor=welcome["cursor"])
    assert (again["recovered"], numbers(await back.messages())) == (False, [1, 2, 3])
    back, again = await hub.welcomed(cursor=last["cursor"])
    assert (again["recovered"], numbers(await back.messages())) == (True, [3])


async def test_each_channel_with_a_gap_is_named_to_hubd_v1_and_a_plain_client_hears_once(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 2})
    _, welcome = await hub.welcomed()
    for n in range(3):
        for to in ("team:a", "team:b", "notifications", "team:c"):
            await hub.publish(to, n=n)
    options = {"topics": "team:a,team:b", "cursor": welcome["cursor"]}
    back = await hub.connect("42", JSON, **options)
    found = gaps(await back.messages())
    assert sorted(one["channel"] for one in found) == ["notifications", "team:a", "team:b"]
    assert {one["reason"] for one in found} == {"evicted"}
    plain = await hub.connect("42", None, **options)
    got = await plain.messages()
    assert gaps(got) == [gap(None, "evicted")]
    assert numbers(got) == [1] * 3 + [2] * 3


@FORMS
@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("nonsense", "bad_cursor"),
        ("0", "bad_cursor"),
        ("x" * 200, "bad_cursor"),
        ("FUTURE", "bad_cursor"),
        ("ANOTHER EPOCH", "epoch"),
        ("<script>", "bad_cursor"),
    ],
)
async def test_a_cursor_that_cant_be_honoured(hub: LiveHub, subprotocol: str | None, cursor: str, reason: str) -> None:
    _, welcome = await hub.welcomed()
    epoch, _, sequence = welcome["cursor"].rpartition("-")
    cursor = {"FUTURE": f"{epoch}-{int(sequence) + 1000}", "ANOTHER EPOCH": "0" * len(epoch) + "-0"}.get(cursor, cursor)
    await hub.publish("user:42", n=0)
    await hub.publish("team:a", n=1)
    back = await hub.connect("42", subprotocol, topics="team:a", cursor=cursor)
    await hub.publish("user:42", n=2)
    got = await back.messages()
    assert gaps(got) == [gap(None, reason)]
    assert numbers(got) == [0, 1, 2]  # what survives, then live
    if subprotocol:
        assert got[0]["recovered"] is False


async def test_another_hubs_cursor_is_of_another_epoch(start_hub: StartHub) -> None:
    first = await start_hub()
    _, welcome = await first.welcomed()
    second = await start_hub()
    second.hub.attendance._epoch = welcome["cursor"][:9] + "0"
    _, again = await second.welcomed(cursor=welcome["cursor"])
    assert again["recovered"] is False


# subscribe with a cursor


@FORMS
async def test_subscribe_replays_then_replies_then_goes_on(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    start = await hub.publish("notifications", n=-1)
    for n in range(6):
        await hub.publish(["team:a", "team:b", "team:c"][n % 3], n=n)
    await client.messages()
    reply = await client.ask("subscribe", topics=["team:a", "team:b"], cursor=start["cursor"])
    assert numbers(client.frames) == [0, 1, 3, 4]  # all of it before the reply
    fields = done(reply)
    last = fields.pop("cursor")
    assert fields == {"topics": ["team:a", "team:b"], "recovered": True, "replayed": 4}
    await hub.publish("team:b", n=6)
    assert numbers(await client.messages()) == [0, 1, 3, 4, 6]
    back = await hub.connect("42", JSON, topics="team:a,team:b", cursor=last)
    assert numbers(await back.messages()) == [6]


async def test_for_a_topic_that_is_subscribed_already_the_cursor_is_ignored(hub: LiveHub) -> None:
    client, welcome = await hub.welcomed(topics="team:a")
    await hub.publish("team:a", n=0)
    await hub.publish("team:b", n=1)
    await client.messages()
    reply = await client.ask("subscribe", topic="team:a", cursor=welcome["cursor"])
    assert (reply["recovered"], reply["replayed"]) == (True, 0)
    reply = await client.ask("subscribe", topics=["team:a", "team:b"], cursor=welcome["cursor"])
    assert (reply["recovered"], reply["replayed"]) == (True, 1)
    assert numbers(await client.messages()) == [1]


async def test_what_came_by_another_channel_is_not_replayed_again(hub: LiveHub) -> None:
    client, welcome = await hub.welcomed()
    await hub.publish(["user:42", "team:a"], n=0)
    await hub.publish(["team:a", "notifications"], n=1)
    await hub.publish("team:a", n=2)
    assert numbers(await client.messages()) == [0, 1]
    reply = await client.ask("subscribe", topic="team:a", cursor=welcome["cursor"])
    assert reply["replayed"] == 1
    assert numbers(await client.messages()) == [2]


@pytest.mark.parametrize(
    ("cursor", "reason"), [("nonsense", "bad_cursor"), ("0000000000-0", "epoch"), (None, "evicted")]
)
async def test_a_gap_of_a_subscription(start_hub: StartHub, cursor: str | None, reason: str) -> None:
    hub = await start_hub(replay={"per_channel": 2})
    client, welcome = await hub.welcomed()
    for n in range(3):
        await hub.publish("team:a", n=n)
    reply = await client.ask("subscribe", topic="team:a", cursor=cursor or welcome["cursor"])
    assert (reply["recovered"], reply["replayed"]) == (False, 2)
    got = await client.messages()
    assert [one["reason"] for one in gaps(got)] == [reason]
    assert got[0]["hub"] == "gap"
    assert numbers(got) == [1, 2]


# Its own pace


async def test_a_long_replay_never_overruns_the_queue_and_live_comes_behind_it(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 3000}, limits={"queue_bytes": 262_144})
    _, welcome = await hub.welcomed("7")
    bodies = [{"to": "team:a", "notification": {"type": "x", "n": n, "body": "x" * 2000}} for n in range(3000)]
    for start in range(0, 3000, 1000):
        await hub.call("POST", "/api/notifications/batch", bodies[start : start + 1000])
    back = await hub.connect("42", JSON, topics="team:a", cursor=welcome["cursor"], receive_buffer=4096)
    for n in range(3000, 3050):
        await hub.publish("team:a", n=n)
    assert not next(c for c in hub.hub.registry.connections if c.identity.user == "42").live
    got: list[int] = []
    while len(got) < 3050:
        message = await back.next()
        if "hub" not in message:
            got.append(message["n"])
    assert got == list(range(3050))
    await eventually(lambda: all(connection.live for connection in hub.hub.registry.connections))


async def test_while_it_resumes_actions_are_answered_in_order_with_the_rest(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 1000})
    _, welcome = await hub.welcomed("7")
    for n in range(300):
        await hub.publish("team:a", notification={"type": "x", "n": n, "body": "x" * 2000})
    back = await hub.connect("42", JSON, topics="team:a", cursor=welcome["cursor"], receive_buffer=4096)
    assert done(await back.ask("ping")) == {}
    assert done(await back.ask("unsubscribe", topic="team:a")) == {"topics": ["team:a"]}
    await hub.publish("team:a", n=1000)
    await hub.publish("user:42", n=1001)
    got = numbers(await until(back, 1001))
    assert got[:-1] == list(range(len(got) - 1)) and got[-1] == 1001


async def until(client: Client, n: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while not found or found[-1].get("n") != n:
            found.append(await client.next())
    return found
