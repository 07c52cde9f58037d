"""Event streams: each byte of them, and what comes when."""

import asyncio
import socket
from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.http_clients import EVENTS, EventStream, notifications_of, open_stream, proof, stream, target
from tests.edge.live_hub import LISTED_ORIGIN, LiveHub, eventually
from tests.edge.ws_client import JSON

# The first bytes


async def test_the_first_bytes(hub: LiveHub) -> None:
    cursor = (await hub.publish("user:42"))["cursor"]
    client = await open_stream(hub, topics="team:a,nothing:for:me", claims={"topics": ["team:*"]})
    assert client.head.startswith(b"HTTP/1.1 200 OK\r\n")
    first = await client.block()
    assert first is not None and len(first) == 2
    assert first[0].startswith(b"retry: ") and 500 <= int(first[0][7:]) <= 60_000
    assert first[1] == f"id: {cursor}".encode()
    second = await client.block()
    assert second is not None and second[0] == b"event: hub" and second[1].startswith(b'data: {"hub":"welcome"')
    event = client.dispatch(second)
    assert event is not None
    assert set(event.data) == {"hub", "user", "connection", "cursor", "topics", "ping_s", "attention_s"}
    assert (event.data["user"], event.data["cursor"], event.data["topics"]) == ("42", cursor, ["team:a"])
    assert event.data["ping_s"] == 15


async def test_a_notification_is_one_line_without_an_event(hub: LiveHub) -> None:
    client = await stream(hub)
    published = await hub.publish("user:42", id="n1", notification={"type": "alert", "title": "Shipped"})
    block = await client.block()
    assert block is not None and [line.partition(b":")[0] for line in block] == [b"id", b"data"]
    event = client.dispatch(block)
    assert event is not None
    assert event.kind == "message" and event.id == event.data["cursor"] == published["cursor"]
    assert (event.data["id"], event.data["channel"], event.data["title"]) == ("n1", "user:42:notifications", "Shipped")


async def test_times_to_come_back_differ(hub: LiveHub) -> None:
    seen = set()
    for _ in range(8):
        client = await stream(hub)
        seen.add(client.retry)
        client.hang_up()
    assert len(seen) > 4, "they would all come back at once"


async def test_the_headers(hub: LiveHub) -> None:
    headers = (await stream(hub)).headers
    assert headers["content-type"] == EVENTS
    assert "no-store" in headers["cache-control"] and "no-transform" in headers["cache-control"]
    assert headers["x-accel-buffering"] == "no"
    assert headers["vary"] == "Origin"
    assert "content-length" not in headers and "transfer-encoding" not in headers
    assert headers["connection"] == "close"
    assert "access-control-allow-origin" not in headers


async def test_a_page_of_a_listed_origin_may_read_it(hub: LiveHub) -> None:
    headers = (await stream(hub, headers={"Origin": LISTED_ORIGIN})).headers
    assert headers["access-control-allow-origin"] == LISTED_ORIGIN
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "accept",
    [
        EVENTS,
        "text/html, text/event-stream;q=0.5",
        "Text/Event-Stream; charset=utf-8",
        "application/json,text/event-stream",
        " text/event-stream ,*/*;q=0.1",
    ],
)
async def test_whoever_accepts_a_stream_gets_one(hub: LiveHub, accept: str) -> None:
    await stream(hub, accept=accept)


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/*", "application/json", "text/event-stream2", "text/event-stream;q=0", "text/html"]
)
async def test_whoever_doesnt_gets_json(hub: LiveHub, accept: str) -> None:
    client = await EventStream.open(hub)
    client.request("/notifications", {"Accept": accept} | proof(hub, "42"))
    answer = await client.answer()
    assert (answer.status, set(answer.body)) == (200, {"cursor", "notifications", "gap"})


async def test_accept_on_several_lines(hub: LiveHub) -> None:
    client = await EventStream.open(hub)
    token = proof(hub, "42")["Authorization"]
    head = f"GET /notifications HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nAccept: {EVENTS}\r\nAuthorization: {token}"
    client.write(head.encode() + b"\r\n\r\n")
    await client.begin()


async def test_an_http_1_0_client(hub: LiveHub) -> None:
    client = await EventStream.open(hub)
    token = proof(hub, "42")["Authorization"]
    client.write(f"GET /notifications HTTP/1.0\r\nAccept: {EVENTS}\r\nAuthorization: {token}\r\n\r\n".encode())
    await client.begin()
    assert (await client.next()).data["hub"] == "welcome"
    await hub.publish("user:42", n=1)
    assert (await client.next()).data["n"] == 1


async def test_what_a_client_sends_behind_the_request_is_ignored(hub: LiveHub) -> None:
    client = await EventStream.open(hub)
    request = f"GET /notifications HTTP/1.1\r\nHost: x\r\nAccept: {EVENTS}\r\n"
    client.write(f"{request}Authorization: {proof(hub, '42')['Authorization']}\r\n\r\n".encode() * 2)
    await client.begin()
    assert (await client.next()).data["hub"] == "welcome"
    client.write(b"GET /health/live HTTP/1.1\r\n\r\n" * 100 + b"\xff" * 1000)
    await hub.publish("user:42", n=1)
    assert (await client.next()).data["n"] == 1
    assert len(hub.hub.registry.connections) == 1


# What comes


async def test_nothing_is_missed_once_the_head_is_there(hub: LiveHub) -> None:
    for n in range(60):
        client = await open_stream(hub, topics="team:a")
        await asyncio.gather(*(hub.publish(to, n=n) for to in ("notifications", "user:42", "team:a")))
        events = [await client.next() for _ in range(4)]
        assert [event.data.get("n") for event in events] == [None, n, n, n]
        assert len({event.id for event in events[1:]}) == 3
        client.hang_up()
        await eventually(hub.is_empty)


@pytest.mark.parametrize(
    "text",
    ["a\nb", "a\r\nb\rc", "a\u2028b\u2029c", "a\x00b\x0b\x0c\x85", "data: x\n\nevent: hub\n\n", "\ufeffé\U0001f600"],
    ids=range(6),
)
async def test_any_text_stays_in_one_line(hub: LiveHub, text: str) -> None:
    client = await stream(hub)
    await hub.publish("user:42", notification={"type": "x", "body": text, text: [text]})
    event = await client.next()
    assert (event.kind, event.data["body"], event.data[text]) == ("message", text, [text])
    assert len(await client.until(hub)) == 0


async def test_all_channels_in_order_and_each_notification_once(hub: LiveHub) -> None:
    await hub.call("PUT", "/api/users/42/subscriptions/team:durable")
    client = await stream(hub, topics="team:a,team:b")
    assert sorted(client.welcome["topics"]) == ["team:a", "team:b", "team:durable"]
    tos = ["notifications", "user:42", "team:a", ["team:b", "team:a", "user:42"], "team:durable", "team:c", "user:7"]
    for n, to in enumerate(tos):
        await hub.publish(to, n=n)
    got = await client.notifications(hub)
    assert [one["n"] for one in got] == [0, 1, 2, 3, 4]
    assert got[3]["channel"] == "team:b"


async def test_ephemeral_ones_come_too(hub: LiveHub) -> None:
    client = await stream(hub)
    await hub.publish("user:42", n=1, persistence="ephemeral")
    await hub.publish("user:42", n=2, ttl=0)
    assert [one["n"] for one in await client.notifications(hub)] == [1, 2]


async def test_it_counts_as_live_and_is_shown(hub: LiveHub) -> None:
    client = await stream(hub, topics="team:a", acks=1)
    assert (await hub.publish("user:42"))["live"] == 1
    user = (await hub.call("GET", "/api/users/42")).body
    assert user["presence"] == "attentive"
    (connection,) = user["connections"]
    assert connection["transport"] == "sse" and connection["connection"] == client.welcome["connection"]
    assert (connection["acking"], connection["topics"]) == (True, ["team:a"])
    await hub.gone(client)
    assert (await hub.call("GET", "/api/users/42")).body["presence"] == "wavering"
    hub.let_pass(6)
    assert (await hub.call("GET", "/api/users/42")).body["presence"] == "away"


async def test_two_streams_and_a_websocket_get_each_notification_once_each(hub: LiveHub) -> None:
    one, other, third = await stream(hub), await stream(hub), await hub.opened(JSON)
    for n in range(20):
        assert (await hub.publish("user:42" if n % 2 else "notifications", n=n))["live"] == 3
    for got in (await one.notifications(hub), await other.notifications(hub), await third.notifications()):
        assert [notification["n"] for notification in got] == list(range(20))


async def test_other_control_frames_are_events_too(hub: LiveHub) -> None:
    client, other = await stream(hub), await hub.opened(JSON)
    await hub.publish("user:42", id="n1")
    await other.ask("ack", id="n1")
    await hub.call("DELETE", "/api/notifications/n1")
    events = await client.until(hub)
    control = [event.data for event in events if event.kind == "hub"]
    assert control == [{"hub": "read", "ids": ["n1"]}, {"hub": "retract", "ids": ["n1"]}]
    assert len(notifications_of(events)) == 1


async def test_a_thousand_topics_in_the_address(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"subscriptions": 1000})
    topics = [f"t{n}" for n in range(1000)]
    client = await stream(hub, topics=",".join(topics))
    assert client.welcome["topics"] == topics
    await hub.publish("t999", n=1)
    assert (await client.next()).data["n"] == 1


async def test_topics_over_the_limit_are_left_out(hub: LiveHub) -> None:
    client = await stream(hub, topics=",".join([f"t{n}" for n in range(150)] + ["user:7", "hub:x", "a::b", ""]))
    assert client.welcome["topics"] == [f"t{n}" for n in range(100)]


# Signs of life


async def test_every_15_seconds_a_comment_and_where_it_stands(hub: LiveHub) -> None:
    client = await stream(hub)
    hub.let_pass(14.9)
    assert await client.until(hub) == [] and client.lines == []
    cursor = (await hub.publish("team:others"))["cursor"]
    hub.let_pass(0.1)
    block = await client.block()
    assert block is not None and len(block) == 2
    assert block[0].startswith(b":") and block[1] == f"id: {cursor}".encode()
    assert client.dispatch(block) is None and client.last_id == cursor
    for _ in range(3):
        hub.let_pass(15)
    await client.until(hub)
    assert len(client.lines) == 4, "one more each time"


async def test_silence_of_the_client_ends_nothing(hub: LiveHub) -> None:
    client = await stream(hub)
    for _ in range(300):
        hub.let_pass(10)
    assert await client.until(hub) == []


async def test_who_is_gone_without_a_word_is_given_up_by_the_system(hub: LiveHub) -> None:
    await stream(hub)
    (connection,) = hub.hub.registry.connections
    sock: Any = connection.transport.get_extra_info("socket")  # type: ignore[attr-defined]  # a stream has one
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000


@pytest.mark.parametrize("how", ["hang_up", "reset"])
async def test_nothing_is_left_of_who_hangs_up(hub: LiveHub, how: str) -> None:
    clients = [await stream(hub, topics="team:a") for _ in range(5)]
    for client in clients:
        getattr(client, how)()
    await eventually(hub.is_empty, str(hub.left_over()))


async def test_who_hangs_up_before_the_answer_leaves_nothing(hub: LiveHub) -> None:
    for _ in range(20):
        client = await EventStream.open(hub)
        client.request(target(), {"Accept": EVENTS} | proof(hub, "42"))
        await asyncio.sleep(0)
        client.reset()
    await eventually(hub.is_empty, str(hub.left_over()))
    await stream(hub)
