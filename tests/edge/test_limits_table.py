"""Each row of [limits]: at its edge all is well, and one past it comes the documented answer."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hubd.config_options import Limits
from hubd.scheduled_call import CALL_BYTES
from hubd.testing import FakeClock
from tests.edge.conftest import StartHub
from tests.edge.http_clients import PollClient, poller, refused, stream
from tests.edge.live_hub import Answer, Faults, LiveHub, eventually
from tests.edge.stored_hub import StoredHub, stored_hub
from tests.edge.ws_client import JSON, TEXT, Client, Refused, masked

Row = Callable[[LiveHub], Awaitable[None]]
ROWS: dict[str, tuple[float, Row]] = {}
"""By the option's name: the value that the row is tried with, and what tries it."""
OTHER = "127.0.0.2"


def row(value: float) -> Callable[[Row], Row]:
    def note(function: Row) -> Row:
        ROWS[function.__name__] = (value, function)
        return function

    return note


def test_every_option_has_its_row() -> None:
    assert list(ROWS) == list(Limits.model_fields)


@pytest.mark.parametrize("name", list(Limits.model_fields))
async def test_at_its_edge_and_one_past_it(start_hub: StartHub, faults: Faults, tmp_path: Path, name: str) -> None:
    value, tried = ROWS[name]
    if name.startswith("scheduled"):  # what is scheduled is in a store
        async with stored_hub(tmp_path, FakeClock(), limits={name: value}) as hub:
            await tried(hub)
    else:
        await tried(await start_hub(limits={name: value}))


# What may be sent


def notification(size: int) -> dict[str, Any]:
    """One of so many bytes of JSON."""
    return {"type": "x", "a": "y" * (size - len('{"type":"x","a":""}'))}


@row(100)
async def message_bytes(hub: LiveHub) -> None:
    client = await hub.opened(JSON)
    assert (await hub.try_publish(notification=notification(100))).status == 202
    assert (await client.ask("publish", to="a", notification=notification(100)))["ok"] is True
    answer = await hub.try_publish(notification=notification(101))
    assert (answer.status, answer.code) == (413, "too_large")
    assert (await client.refused("publish", to="a", notification=notification(101)))["code"] == "too_large"


@row(1000)
async def body_bytes(hub: LiveHub) -> None:
    body = json.dumps({"to": "notifications", "notification": {"type": "x"}}).encode()
    for path, sent, status in [("", body, 202), ("/batch", b"[" + body + b"]", 200)]:
        assert (await hub.call("POST", f"/api/notifications{path}", data=sent.ljust(1000))).status == status
        answer = await hub.call("POST", f"/api/notifications{path}", data=sent.ljust(1001))
        assert (answer.status, answer.code) == (413, "too_large")


@row(1000)
async def frame_bytes(hub: LiveHub) -> None:
    client = await hub.opened(JSON)
    message = b'{"action":"ping","ref":1}'
    client.write(masked(TEXT, message.ljust(1000)))
    assert (await client.next())["ok"] is True
    client.write(masked(TEXT, message.ljust(1001)))
    assert await client.closed() == 1009


@row(10)
async def frames_per_s(hub: LiveHub) -> None:
    client = await hub.connect("42", JSON)
    await client.next()
    for _ in range(3):
        for ref in range(10):
            client.send(action="ping", ref=ref)
        assert [(await client.next())["ref"] for _ in range(10)] == list(range(10))
        hub.clock.advance(1)
    for ref in range(11):
        client.send(action="ping", ref=ref)
    assert await client.closed() == 4029
    assert client.frames[-1]["hub"] == "disconnect"
    assert client.frames[-1]["reconnect"] is True and client.frames[-1]["retry_after_s"] > 0


@row(5)
async def json_depth(hub: LiveHub) -> None:
    deep: list[Any] = [1]
    for _ in range(4):
        deep = [deep]
    assert (await hub.try_publish(notification={"type": "x", "a": deep})).status == 202
    assert (await hub.try_publish(notification={"type": "x", "a": [deep]})).paths == ["notification"]


@row(10)
async def json_keys(hub: LiveHub) -> None:
    keys = {"type": "x", "a": [{"b": 1}]} | {f"k{n}": n for n in range(7)}
    assert (await hub.try_publish(notification=keys)).status == 202
    assert (await hub.try_publish(notification=keys | {"more": 1})).paths == ["notification"]


# How many may be connected


async def waiting_poll(hub: LiveHub, user: str) -> PollClient:
    poll = await poller(hub, user)
    await poll.ask_and_wait(hub.hub.attendance.cursor(), wait=60)
    return poll


async def poll_refused(hub: LiveHub, user: str) -> Answer:
    poll = await poller(hub, user)
    poll.ask(hub.hub.attendance.cursor(), wait=60)
    return await poll.answer()


async def all_refused(hub: LiveHub, status: int, code: str, user: str = "9") -> None:
    """On each transport, with a time to come back."""
    with pytest.raises(Refused) as websocket:
        await hub.connect(user)
    event_stream, poll = await refused(hub, user), await poll_refused(hub, user)
    for why in (websocket.value, event_stream, poll):
        assert (why.status, why.code) == (status, code)
    assert int(websocket.value.headers["retry-after"]) >= 1
    assert int(event_stream.headers["retry-after"]) >= 1
    assert int(poll.headers["Retry-After"]) >= 1


async def one_of_each(hub: LiveHub, users: list[str]) -> tuple[Any, Any, Any]:
    """A connection on each transport."""
    return await hub.opened(JSON, users[0]), await stream(hub, users[1]), await waiting_poll(hub, users[2])


async def all_can_come(hub: LiveHub, connected: tuple[Any, Any, Any], user: str = "9") -> None:
    """When one of the others has gone: on each transport, one after the other."""
    for number, leaving in enumerate(connected):
        await hub.gone(leaving)
        if number == 0:
            await waiting_poll(hub, user)
        elif number == 1:
            await stream(hub, user)
        else:
            await hub.opened(JSON, user)


@row(3)
async def connections(hub: LiveHub) -> None:
    connected = await one_of_each(hub, ["1", "2", "3"])
    await all_refused(hub, 503, "unavailable")
    await all_can_come(hub, connected)


@row(3)
async def per_user(hub: LiveHub) -> None:
    connected = await one_of_each(hub, ["42"] * 3)
    late = await hub.connect("42")
    assert await late.closed() == 4029
    told = late.frames[-1]
    assert (told["code"], told["reason"], told["reconnect"]) == (4029, "too_many", True)
    assert told["retry_after_s"] > 0
    for why in (await refused(hub, "42"), await poll_refused(hub, "42")):
        assert (why.status, why.code) == (429, "rate_limited")
    await hub.opened(JSON, "7")
    late.hang_up()
    await all_can_come(hub, connected, "42")


@row(3)
async def per_ip(hub: LiveHub) -> None:
    connected = await one_of_each(hub, ["1", "2", "3"])
    await all_refused(hub, 429, "rate_limited")
    await hub.connect("4", from_address=OTHER)
    await all_can_come(hub, connected)


@row(2)
async def unauthenticated(hub: LiveHub) -> None:
    first, _ = [await hub.open(subprotocol=JSON) for _ in range(2)]
    with pytest.raises(Refused) as late:
        await hub.open()
    assert (late.value.status, late.value.code) == (503, "unavailable")
    assert int(late.value.headers["retry-after"]) >= 1
    first.send(action="auth", token=hub.token())
    assert (await first.next())["hub"] == "welcome"
    await hub.open()


@row(3)
async def subscriptions(hub: LiveHub) -> None:
    client = await hub.opened(JSON, topics="a")
    assert (await client.ask("subscribe", topics=["b", "c"]))["ok"] is True
    assert (await client.refused("subscribe", topic="d"))["code"] == "subscription_limit"
    _, welcome = await hub.welcomed("7", topics="a,b,c,d")
    assert welcome["topics"] == ["a", "b", "c"]
    assert (await stream(hub, "8", topics="a,b,c,d")).welcome["topics"] == ["a", "b", "c"]


# How long, and how much


@row(4096)
async def queue_bytes(hub: LiveHub) -> None:
    """As if the socket took nothing: what waits is then in the hub alone."""
    client, event_stream = await hub.opened(JSON, "1"), await stream(hub, "2")
    for user, overhead in [("1", await ws_overhead(hub, client)), ("2", await sse_overhead(hub, event_stream))]:
        (connection,) = (one for one in hub.hub.registry.connections if one.identity.user == user)
        connection.paused = True
        for size in (2000 - overhead, 2096 - overhead):
            await hub.publish(f"user:{user}", notification={"type": "x", "a": "y" * size})
            await eventually(lambda found=connection: found.counted == len(found.outbox))
        assert connection.queued == 4096
        assert connection in hub.hub.registry.connections
        await hub.publish(f"user:{user}", notification={"type": "x"}, persistence="ephemeral")
        await eventually(lambda found=connection: found not in hub.hub.registry.connections)
    assert await client.closed() == 1006
    await event_stream.ended()


async def ws_overhead(hub: LiveHub, client: Client) -> int:
    """What a frame has beyond the filling of its notification."""
    await hub.publish("user:1", notification={"type": "x", "a": "y" * 1000})
    frame = await client.frame()
    assert frame is not None
    return len(frame.payload) + 4 - 1000  # its head


async def sse_overhead(hub: LiveHub, client: Any) -> int:
    await hub.publish("user:2", notification={"type": "x", "a": "y" * 1000})
    before = len(client.raw)
    await client.next()
    return len(client.raw) - before - 1000


@row(5)
async def auth_s(hub: LiveHub) -> None:
    client, _ = await hub.open(subprotocol=JSON), await hub.opened(JSON)
    hub.let_pass(4.9)
    client.send(action="ping", ref=1)
    assert (await client.next())["error"]["code"] == "not_authenticated"
    hub.let_pass(0.1)
    assert await client.closed() == 4501
    assert client.frames[-1]["reconnect"] is False


@row(20)
async def ping_s(hub: LiveHub) -> None:
    client, plain = await hub.opened(JSON), await hub.opened(None, "7")
    hub.let_pass(19.9)
    assert await client.messages() == [] and not plain.frames
    hub.let_pass(0.1)
    ping = await client.next()
    assert ping["hub"] == "ping" and ping["cursor"]
    frame = await plain.frame()
    assert frame is not None and frame.opcode == 9


@row(7)
async def pong_s(hub: LiveHub) -> None:
    client, mute = await hub.opened(JSON), await hub.opened(JSON, "7")
    hub.let_pass(25)
    client.send(action="pong")
    await client.messages()
    hub.let_pass(7)
    assert len(hub.hub.registry.connections) == 2
    hub.let_pass(0.1)
    assert await mute.closed() == 4009
    assert mute.frames[-1]["reconnect"] is True
    assert (await client.ask("ping"))["ok"] is True


@row(3)
async def publish_per_s(hub: LiveHub) -> None:
    assert [(await hub.try_publish(n=n)).status for n in range(3)] == [202] * 3
    late = await hub.try_publish(n=3)
    assert (late.status, late.code) == (429, "rate_limited")
    hub.clock.advance(int(late.headers["Retry-After"]))
    assert (await hub.try_publish(n=3)).status == 202


@row(100)
async def id_window_s(hub: LiveHub) -> None:
    assert (await hub.publish(id="a"))["duplicate"] is False
    hub.let_pass(99.9)
    assert (await hub.publish(id="a"))["duplicate"] is True
    hub.let_pass(0.2)
    assert (await hub.publish(id="a"))["duplicate"] is False


@row(2)
async def id_entries(hub: LiveHub) -> None:
    for id in "ab":
        assert (await hub.publish(id=id))["duplicate"] is False
    assert [(await hub.publish(id=id))["duplicate"] for id in "ab"] == [True, True]
    assert (await hub.publish(id="c"))["duplicate"] is False
    assert (await hub.publish(id="c"))["duplicate"] is True
    assert (await hub.publish(id="c", key="other"))["duplicate"] is False, "each key has its own"
    assert [(await hub.publish(id=id))["duplicate"] for id in "bca"] == [True, True, False]


# What is for later


async def schedule(hub: LiveHub, **fields: Any) -> Answer:
    return await hub.try_publish("user:42", deliver_at=int((hub.clock.now() + 20) * 1000), **fields)


async def is_full_until_one_goes_out(hub: LiveHub, one_more: Callable[[], Awaitable[Answer]]) -> None:
    late = await one_more()
    assert (late.status, late.code, late.headers["Retry-After"]) == (429, "rate_limited", "10")
    assert (await hub.try_publish("user:42")).status == 202, "what is for now goes out"
    assert isinstance(hub, StoredHub)
    await hub.later(20)
    assert (await one_more()).status == 202


@row(2)
async def scheduled(hub: LiveHub) -> None:
    assert [(await schedule(hub)).status for _ in range(2)] == [202] * 2
    await is_full_until_one_goes_out(hub, lambda: schedule(hub))


@row(10 * CALL_BYTES)
async def scheduled_bytes(hub: LiveHub) -> None:
    """The first shows what a call takes; the second is made as large as may still be."""
    assert (await schedule(hub, id="a", notification=notification(1000))).status == 202
    taken = hub.hub.scheduling.bytes
    assert CALL_BYTES + 1000 < taken < CALL_BYTES + 2000
    filling = 1000 + 10 * CALL_BYTES - 2 * taken
    late = await schedule(hub, id="b", notification=notification(filling + 1))
    assert (late.status, late.code) == (429, "rate_limited")
    assert (await schedule(hub, id="b", notification=notification(filling))).status == 202
    assert hub.hub.scheduling.bytes == 10 * CALL_BYTES
    await is_full_until_one_goes_out(hub, lambda: schedule(hub, id="c", notification=notification(100)))
