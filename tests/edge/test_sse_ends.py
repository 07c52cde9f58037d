"""How event streams are refused, and how the hub ends them."""

import asyncio
import gc
import socket
import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tests.edge.conftest import StartHub
from tests.edge.http_clients import EVENTS, EventStream, open_stream, proof, refused, stream, target
from tests.edge.live_hub import LISTED_ORIGIN, Answer, LiveHub, eventually
from tests.edge.ws_client import Refused

MANY = 200


def status_of(why: Refused) -> tuple[int, str]:
    return why.status, why.code


# Refused


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}])
async def test_without_a_good_proof(hub: LiveHub, headers: dict[str, str]) -> None:
    why = await refused(hub, None, headers=headers)
    assert status_of(why) == (401, "unauthorized")
    assert why.headers["www-authenticate"] == "Bearer"


async def test_with_an_expired_or_revoked_token_or_an_api_key(hub: LiveHub) -> None:
    assert status_of(await refused(hub, claims={"exp": hub.clock.now() - 10})) == (401, "unauthorized")
    key = {"Authorization": hub.bearer("backend")}
    assert status_of(await refused(hub, None, headers=key)) == (403, "forbidden")
    await hub.call("POST", "/api/users/42/revoke")
    assert status_of(await refused(hub)) == (401, "unauthorized")


async def test_from_a_foreign_page(hub: LiveHub) -> None:
    for origin in ("https://evil.example", "null", "https://app.example.com.evil.example"):
        why = await refused(hub, headers={"Origin": origin})
        assert status_of(why) == (403, "forbidden")
        assert "access-control-allow-origin" not in why.headers


async def test_a_cookie_needs_a_page_of_ours(hub: LiveHub) -> None:
    cookie = {"Cookie": f"hubd_token={hub.token()}"}
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}):
        assert status_of(await refused(hub, None, headers=cookie | headers)) == (403, "forbidden")
    await stream(hub, None, headers=cookie | {"Sec-Fetch-Site": "same-origin"})
    await stream(hub, None, headers=cookie | {"Origin": LISTED_ORIGIN, "Sec-Fetch-Site": "cross-site"})


async def test_a_listed_page_can_read_why(hub: LiveHub) -> None:
    why = await refused(hub, None, headers={"Origin": LISTED_ORIGIN})
    assert why.headers["access-control-allow-origin"] == LISTED_ORIGIN


async def test_one_too_many_of_a_user(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"per_user": 2})
    first = await stream(hub)
    await stream(hub)
    why = await refused(hub)
    assert status_of(why) == (429, "rate_limited") and 5 <= int(why.headers["retry-after"]) <= 15
    await stream(hub, "7")
    await hub.gone(first)
    await stream(hub)


async def test_one_too_many_of_an_address(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"per_ip": 2})
    await stream(hub, "1")
    await stream(hub, "2")
    why = await refused(hub, "3")
    assert status_of(why) == (429, "rate_limited") and 5 <= int(why.headers["retry-after"]) <= 15


async def test_one_too_many_in_all(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"connections": 2})
    await stream(hub, "1")
    await stream(hub, "2")
    why = await refused(hub, "3")
    assert status_of(why) == (503, "unavailable") and 5 <= int(why.headers["retry-after"]) <= 15


async def test_while_the_hub_stops(hub: LiveHub) -> None:
    hub.hub.stopping = True
    why = await refused(hub)
    assert status_of(why) == (503, "unavailable") and why.headers["retry-after"]


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE"])
async def test_only_get(hub: LiveHub, method: str) -> None:
    answer = await hub.call(method, "/notifications", token=hub.token(), headers={"Accept": EVENTS})
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


async def test_a_get_with_a_body(hub: LiveHub) -> None:
    async def asked(headers: dict[str, str], body: bytes) -> Answer:
        client = await EventStream.open(hub)
        client.request(target(), {"Accept": EVENTS} | proof(hub, "42") | headers)
        client.write(body)
        return await client.answer()

    answer = await asked({"Content-Length": "3"}, b"abc")
    assert (answer.status, answer.code) == (400, "invalid_body")
    answer = await asked({"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n")
    assert (answer.status, answer.code) == (400, "invalid_body")
    await stream(hub, headers={"Content-Length": "0"})


async def test_the_hubs_own_page_in_dev_mode(start_hub: StartHub) -> None:
    hub = await start_hub(dev=True)
    client = await EventStream.open(hub)
    client.request("/notifications?user=7", {"Accept": EVENTS})
    await client.begin()
    assert (await client.next()).data["user"] == "7"


# Ended


async def ended_with(client: EventStream) -> dict[str, Any]:
    """The stream's last event, which says why; behind it comes the end."""
    *_, last = await client.ended()
    assert last.kind == "hub" and last.data["hub"] == "disconnect"
    assert set(last.data) == {"hub", "code", "reason", "reconnect", "retry_after_s"}
    return last.data


async def test_a_token_runs_out(hub: LiveHub) -> None:
    client = await stream(hub, claims={"exp": hub.clock.now() + 600})
    hub.let_pass(541)
    events = await client.until(hub)
    assert [event.data for event in events] == [{"hub": "token_expiring", "in_s": 59}]
    hub.let_pass(60)
    assert await client.until(hub) == []
    hub.let_pass(5)
    why = await ended_with(client)
    assert (why["code"], why["reason"], why["reconnect"]) == (4001, "expired", True)
    await eventually(hub.is_empty)


async def test_a_user_is_revoked(hub: LiveHub) -> None:
    client, other = await stream(hub), await stream(hub, "7")
    assert (await hub.call("POST", "/api/users/42/revoke")).body["disconnected"] == 1
    why = await ended_with(client)
    assert (why["code"], why["reason"], why["reconnect"]) == (4507, "revoked", False)
    assert await other.until(hub) == []


async def test_what_came_in_the_same_step_comes_first(start_hub: StartHub) -> None:
    """Many streams are written to in the loop's next turn: then these are ended already."""
    hub = await start_hub(limits={"per_user": 0})
    clients = [await stream(hub) for _ in range(20)]
    await hub.hub.publish(hub.hub.prepare({"to": "user:42", "notification": {"type": "x", "n": 1}}), "backend")
    hub.hub.revoke("42")
    for client in clients:
        events = await client.ended()
        assert [event.data.get("n") or event.data["hub"] for event in events] == [1, "disconnect"]


async def test_the_hub_stops(hub: LiveHub) -> None:
    clients = [await stream(hub, str(n)) for n in range(20)]
    for n in range(20):
        await hub.publish("notifications", n=n)
    await hub.edge.stop(hub.clock.monotonic() + 5)
    retries = set()
    for client in clients:
        events = await client.ended()
        assert [event.data["n"] for event in events[:-1]] == list(range(20)), "what was there comes first"
        why = events[-1].data
        assert (why["code"], why["reason"], why["reconnect"]) == (4000, "shutdown", True)
        assert client.retry == round(1000 * why["retry_after_s"]) or why["retry_after_s"] == 0
        assert 0 <= why["retry_after_s"] <= 10
        retries.add(client.retry)
    assert len(retries) > 10, "they would all come back at once"
    await eventually(hub.is_empty)


async def test_whoever_doesnt_read_is_cut_when_the_hub_stops(hub: LiveHub) -> None:
    await stream(hub, receive_buffer=4096)
    connection: Any = next(iter(hub.hub.registry.connections))
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    while not connection.paused:
        await hub.publish("user:42", notification={"type": "x", "body": "x" * 30_000})
    begun = time.monotonic()
    await hub.edge.stop(hub.clock.monotonic() + 0.2)
    assert time.monotonic() - begun < 2
    await eventually(hub.is_empty)


async def test_a_client_that_never_reads_is_cut_and_harms_nobody(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"queue_bytes": 65536}, replay={"per_channel": 10_000})
    slow, good = await stream(hub, "slow", receive_buffer=4096), await stream(hub, "good")
    slow_one: Any = next(one for one in hub.hub.registry.connections if one.identity.user == "slow")
    slow_one.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    n = most = 0
    while slow_one in hub.hub.registry.connections:
        await hub.publish("notifications", notification={"type": "x", "n": n, "body": "x" * 4000})
        most = max(most, sum(map(len, slow_one.outbox)) + slow_one.unsent())
        n += 1
        assert n < 5000, "it was never cut"
    assert most <= 65536 + 5000
    assert [one["n"] for one in await good.notifications(hub)] == list(range(n))
    got = []
    while True:
        try:
            event = await slow.next()
        except (AssertionError, ConnectionError):
            break
        got.append(event)
    assert 0 < len(got) < n and [event.data["n"] for event in got] == list(range(len(got)))
    back = await stream(hub, "slow", headers={"Last-Event-ID": got[-1].id})
    rest = [(await back.next()).data["n"] for _ in range(n - len(got))]
    assert rest == list(range(len(got), n)), "it resumes"


async def test_a_slow_reader_gets_everything_in_order(hub: LiveHub) -> None:
    """What waits goes on when the socket takes more; nothing overtakes what the transport still has."""
    client = await stream(hub, receive_buffer=4096)
    (connection,) = hub.hub.registry.connections
    transport = connection.transport  # type: ignore[attr-defined]  # a stream has one
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    for round_ in range(3):
        published = 0
        while not (connection.paused and connection.outbox):
            await hub.publish("user:42", notification={"type": "x", "n": published, "body": "x" * 5000})
            published += 1
        got = [(await client.next()).data["n"] for _ in range(published)]
        assert got == list(range(published)), round_


# What a stream costs


def alive(kind: type) -> int:
    gc.collect()
    return sum(isinstance(found, kind) for found in gc.get_objects())


async def test_no_task_no_timer_and_no_object_of_aiohttps_for_each_stream(hub: LiveHub) -> None:
    await hub.call("GET", "/health/live")  # our own HTTP client's connection stays open all the while
    loop: Any = asyncio.get_running_loop()
    connections = len(hub.server().connections)
    before = len(asyncio.all_tasks()), alive(RequestHandler), alive(web.Request), len(loop._scheduled)
    clients = [await open_stream(hub, f"u{n}", topics="team:a") for n in range(MANY)]
    await eventually(lambda: len(asyncio.all_tasks()) <= before[0], "tasks are left")
    assert len(hub.hub.registry.connections) == MANY
    assert (alive(RequestHandler), alive(web.Request)) == before[1:3]
    assert len([timer for timer in loop._scheduled if not timer.cancelled()]) <= before[3]
    assert len(hub.server().connections) == connections, "aiohttp would wait for these when it stops"
    assert (await hub.publish("team:a", n=1))["live"] == MANY
    for client in clients:
        await client.next()
        assert (await client.next()).data["n"] == 1
