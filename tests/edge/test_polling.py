"""Long-poll: what an answer is, and when it comes."""

import asyncio
import time
from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.http_clients import PollClient, poller, proof, target
from tests.edge.live_hub import LISTED_ORIGIN, LiveHub, eventually
from tests.edge.ws_client import JSON

AT_ONCE_S = 1.0


def numbers(body: dict[str, Any]) -> list[Any]:
    return [one["n"] for one in body["notifications"]]


# The answer


async def test_the_bytes_of_an_answer(hub: LiveHub) -> None:
    client = await poller(hub)
    client.ask()
    status, headers = await client.read_head()
    body = await client.reader.readexactly(int(headers["content-length"]))
    cursor = hub.hub.attendance.cursor()
    assert body == f'{{"cursor":"{cursor}","notifications":[],"gap":null}}'.encode()
    assert status == 200 and headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store" and headers["vary"] == "Origin"


async def test_one_that_waited_has_the_same_head(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    await client.ask_and_wait(cursor, headers={"Origin": LISTED_ORIGIN})
    await hub.publish("user:42", n=1)
    status, waited = await client.read_head()
    await client.reader.readexactly(int(waited["content-length"]))
    client.ask(cursor, headers={"Origin": LISTED_ORIGIN})
    _, at_once = await client.read_head()
    for headers in (waited, at_once):
        assert status == 200 and headers["content-type"] == "application/json"
        assert headers["cache-control"] == "no-store" and headers["vary"] == "Origin"
        assert headers["access-control-allow-origin"] == LISTED_ORIGIN
        assert headers["access-control-allow-credentials"] == "true"
        assert headers.get("connection", "keep-alive") == "keep-alive"


async def test_without_a_cursor_the_present_one_comes_at_once(hub: LiveHub) -> None:
    published = await hub.publish("user:42", n=0)
    client = await poller(hub)
    for query in ({}, {"wait": 60}, {"cursor": ""}):
        assert await client.poll(**query) == {"cursor": published["cursor"], "notifications": [], "gap": None}
    await hub.publish("user:42", n=1)
    body = await client.poll(published["cursor"])
    assert numbers(body) == [1] and body["cursor"] == body["notifications"][0]["cursor"]


async def test_what_it_brings_is_the_same_as_elsewhere(hub: LiveHub) -> None:
    client, socket = await poller(hub), await hub.opened(JSON)
    cursor = (await client.poll())["cursor"]
    body = {"type": "alert", "title": 'a"b\\c\n\u2028\x00}', "cursor2": '"cursor":"x"}', "list": [[{}]]}
    await hub.publish("user:42", notification=body, id="n1")
    answer = await client.poll(cursor)
    assert answer["notifications"] == await socket.notifications()
    assert answer["notifications"][0]["title"] == body["title"]


async def test_all_channels_in_order_and_each_notification_once(hub: LiveHub) -> None:
    await hub.call("PUT", "/api/users/42/subscriptions/team:durable")
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    tos = ["notifications", "user:42", "team:a", ["team:b", "team:a", "user:42"], "team:durable", "team:c", "user:7"]
    for n, to in enumerate(tos):
        await hub.publish(to, n=n)
    body = await client.poll(cursor, topics="team:a,team:b", wait=0)
    assert numbers(body) == [0, 1, 2, 3, 4]
    assert body["notifications"][3]["channel"] == "team:b"
    assert body["cursor"] == hub.hub.attendance.cursor(), "also past what others got"
    assert numbers(await client.poll(body["cursor"], topics="team:a,team:b", wait=0)) == []


# When it comes


async def test_it_waits_and_is_answered_as_soon_as_something_comes(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    for n, to in enumerate(("notifications", "user:42", "team:a")):
        await client.ask_and_wait(cursor, topics="team:a")
        await hub.publish("team:others", n=-1)
        begun = time.monotonic()
        published = await hub.publish(to, n=n)
        assert published["live"] == 1
        body = await client.got()
        assert time.monotonic() - begun < AT_ONCE_S
        assert (numbers(body), body["cursor"], body["gap"]) == ([n], published["cursor"], None)
        cursor = body["cursor"]


async def test_what_is_live_only_reaches_who_waits(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    await client.ask_and_wait(cursor)
    assert (await hub.publish("user:42", n=1, persistence="ephemeral"))["live"] == 1
    body = await client.got()
    assert numbers(body) == [1]
    assert (await client.poll(body["cursor"], wait=0))["gap"] is None
    await client.ask_and_wait(cursor)
    assert (await hub.publish("user:42", n=2, ttl=0))["live"] == 1
    assert numbers(await client.got()) == [2]


@pytest.mark.parametrize("wait", ["0", "0.0"])
async def test_no_wait(hub: LiveHub, wait: str) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    begun = time.monotonic()
    assert await client.poll(cursor, wait=wait) == {"cursor": cursor, "notifications": [], "gap": None}
    assert time.monotonic() - begun < AT_ONCE_S


@pytest.mark.parametrize(("wait", "seconds"), [(None, 25.0), ("25", 25.0), ("60", 60.0), ("1.5", 1.5), ("60.0", 60.0)])
async def test_it_waits_so_long_and_not_longer(hub: LiveHub, wait: str | None, seconds: float) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    await client.ask_and_wait(cursor, wait=wait)
    hub.clock.advance(seconds - 0.3)
    await asyncio.sleep(0.25)
    assert len(hub.hub.registry.connections) == 1, "it came too early"
    hub.clock.advance(0.3)
    begun = time.monotonic()
    assert await client.got() == {"cursor": cursor, "notifications": [], "gap": None}
    assert time.monotonic() - begun < 0.3


async def test_a_real_wait(hub: LiveHub) -> None:
    hub.run_in_real_time()
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    begun = time.monotonic()
    assert (await client.poll(cursor, wait=0.7))["notifications"] == []
    assert 0.5 <= time.monotonic() - begun < 1.2
    await hub.stop_sweeping()


BAD_WAITS = [
    "60.1",
    "-1",
    "abc",
    "nan",
    "1e2",
    "inf",
    "",
    " ",
    "1,5",
    "0x1",
    "1" * 100,
    "٣",
    "-0.1",
    "61",
    "1;2",
    "-0",
    "1e-9",
    "1e1",
    "1_0",
]


@pytest.mark.parametrize("wait", BAD_WAITS)
async def test_another_wait_is_refused(hub: LiveHub, wait: str) -> None:
    client = await poller(hub)
    for cursor in (None, hub.hub.attendance.cursor()):
        client.ask(cursor, wait=wait)
        assert (await client.answer()).paths == ["wait"]


async def test_the_empty_answers_cursor_goes_past_what_others_got(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    await client.ask_and_wait(cursor, wait=1)
    later = (await hub.publish("team:others"))["cursor"]
    hub.clock.advance(1)
    assert (await client.got())["cursor"] == later


async def test_what_is_published_in_one_step_comes_together(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    await client.ask_and_wait(cursor)
    batch = [{"to": "user:42", "notification": {"type": "x", "n": n}} for n in range(15)]
    await hub.call("POST", "/api/notifications/batch", batch)
    body = await client.got()
    assert numbers(body) == list(range(15)) and body["cursor"] == body["notifications"][-1]["cursor"]


async def test_many_are_answered_by_one_broadcast(hub: LiveHub) -> None:
    clients = [await poller(hub, f"u{n}") for n in range(500)]
    cursor = hub.hub.attendance.cursor()
    for client in clients:
        client.ask(cursor)
    await eventually(lambda: len(hub.hub.registry.connections) == 500)
    assert (await hub.publish("notifications", n=1))["live"] == 500
    assert [numbers(await client.got()) for client in clients] == [[1]] * 500
    await eventually(hub.is_empty)


# Gaps


@pytest.mark.parametrize("cursor", ["nonsense", "x" * 65, "x" * 3000, "-", "aa-1-2", "é", "a b"])
async def test_a_bad_cursor_is_told_at_once(hub: LiveHub, cursor: str) -> None:
    client = await poller(hub)
    begun = time.monotonic()
    body = await client.poll(cursor)
    assert time.monotonic() - begun < AT_ONCE_S
    assert body == {
        "cursor": hub.hub.attendance.cursor(),
        "notifications": [],
        "gap": {"channel": None, "reason": "bad_cursor"},
    }
    await hub.publish("user:42", n=1)
    body = await client.poll(cursor)
    assert body["gap"] == {"channel": None, "reason": "bad_cursor"} and numbers(body) == [1]
    assert (await client.poll(body["cursor"], wait=0))["gap"] is None, "it is told once"


async def test_one_from_the_future_or_from_another_life(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    assert (await client.poll(cursor + "9"))["gap"] == {"channel": None, "reason": "bad_cursor"}
    assert (await client.poll("zzzzzzzzzz" + cursor[10:]))["gap"] == {"channel": None, "reason": "epoch"}


async def test_what_was_evicted_is_told_with_its_channel(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 3})
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    for n in range(5):
        await hub.publish("team:a", n=n)
    body = await client.poll(cursor, topics="team:a,team:b")
    assert (body["gap"], numbers(body)) == ({"channel": "team:a", "reason": "evicted"}, [2, 3, 4])
    assert (await client.poll(body["cursor"], topics="team:a,team:b", wait=0))["gap"] is None
    for n in range(5):
        await hub.publish("team:b", n=n)
    body = await client.poll(cursor, topics="team:a,team:b")
    assert body["gap"] == {"channel": None, "reason": "evicted"}, "of two channels"
    assert len(body["notifications"]) == 6


async def test_nothing_is_left_after_the_gap_either(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    await hub.publish("user:42", n=0)
    hub.let_pass(400)
    body = await client.poll(cursor, wait=20)
    assert body["gap"] == {"channel": "user:42:notifications", "reason": "evicted"}
    assert body["notifications"] == [] and body["cursor"] == hub.hub.attendance.cursor()


# No ack by itself


async def test_coming_back_acks_nothing(hub: LiveHub) -> None:
    client, socket = await poller(hub), await hub.opened(JSON)
    cursor = (await client.poll())["cursor"]
    await hub.publish("user:42", id="n1")
    body = await client.poll(cursor, acks=1)
    await client.ask_and_wait(body["cursor"], acks=1)
    assert [one for one in await socket.messages() if one.get("hub") == "read"] == []
    connections = (await hub.call("GET", "/api/users/42")).body["connections"]
    assert [(one["transport"], one["acks"]) for one in connections] == [("websocket", []), ("poll", [])]
    assert [one["acking"] for one in connections] == [True, True]


async def test_presence_of_who_waits_and_between(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = (await client.poll())["cursor"]
    await client.ask_and_wait(cursor)
    assert (await hub.call("GET", "/api/users/42")).body["presence"] == "attentive"
    await hub.publish("user:42")
    cursor = (await client.got())["cursor"]
    assert (await hub.call("GET", "/api/users/42")).body["presence"] == "wavering"
    await client.ask_and_wait(cursor)
    assert (await hub.call("GET", "/api/users/42")).body["presence"] == "attentive"


# Refused


async def test_refusals(hub: LiveHub) -> None:
    async def refused(headers: dict[str, str]) -> tuple[int, str]:
        client = await PollClient.open(hub)
        client.request(target(cursor=hub.hub.attendance.cursor()), headers)
        answer = await client.answer()
        return answer.status, answer.code

    good = proof(hub, "42")
    cookie = {"Cookie": f"hubd_token={hub.token()}"}
    assert await refused({}) == (401, "unauthorized")
    assert await refused({"Authorization": "Bearer nonsense"}) == (401, "unauthorized")
    assert await refused(proof(hub, "42", {"exp": hub.clock.now() - 10})) == (401, "unauthorized")
    assert await refused({"Authorization": hub.bearer("backend")}) == (403, "forbidden")
    assert await refused(good | {"Origin": "https://evil.example"}) == (403, "forbidden")
    assert await refused(cookie) == (403, "forbidden")
    hub.hub.stopping = True
    assert await refused(good) == (503, "unavailable")


async def test_a_get_with_a_body(hub: LiveHub) -> None:
    client = await PollClient.open(hub)
    client.request(target(cursor="x"), proof(hub, "42"), body=b"abc")
    answer = await client.answer()
    assert (answer.status, answer.code) == (400, "invalid_body")


@pytest.mark.parametrize(
    ("limits", "status", "code"),
    [
        ({"per_user": 2}, 429, "rate_limited"),
        ({"per_ip": 2}, 429, "rate_limited"),
        ({"connections": 2}, 503, "unavailable"),
    ],
)
async def test_one_too_many(start_hub: StartHub, limits: dict[str, int], status: int, code: str) -> None:
    hub = await start_hub(limits=limits)
    cursor = hub.hub.attendance.cursor()
    clients = [await poller(hub) for _ in range(3)]
    for client in clients[:2]:
        await client.ask_and_wait(cursor)
    for query in ({}, {"cursor": cursor}):
        clients[2].ask(**query)
        answer = await clients[2].answer()
        assert (answer.status, answer.code) == (status, code) and 5 <= int(answer.headers["Retry-After"]) <= 15
    await hub.publish("user:42", n=1)
    assert numbers(await clients[2].poll(cursor)) == [1], "who is answered makes room"
