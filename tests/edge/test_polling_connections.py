"""Polls and their TCP connections: kept alive, pipelined, broken off, ended by the hub; and what waiting costs."""

import asyncio
import gc
import json
import socket
from typing import Any

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tests.edge.http_clients import PollClient, poller, proof, target
from tests.edge.live_hub import LISTED_ORIGIN, LiveHub, eventually
from tests.edge.ws_client import JSON, Client, handshake

MANY = 200
BODY = "y" * 30_000


def numbers(body: dict[str, Any]) -> list[Any]:
    return [one["n"] for one in body["notifications"]]


def waiting(hub: LiveHub) -> int:
    return len(hub.hub.registry.connections)


# Kept alive


async def test_one_connection_for_hundreds_of_polls_and_acks(hub: LiveHub) -> None:
    client, watcher = await poller(hub), await hub.opened(JSON)
    cursor = (await client.poll())["cursor"]
    for n in range(300):
        await client.ask_and_wait(cursor)
        await hub.publish("user:42", id=f"n{n}", n=n)
        body = await client.got()
        assert numbers(body) == [n]
        cursor = body["cursor"]
        if n % 3 == 0:
            client.request("/api/acks", proof(hub, "42"), "POST", f'{{"ids":["n{n}"]}}'.encode())
            assert (await client.answer()).status == 200
    read = [one["ids"] for one in await watcher.messages() if one.get("hub") == "read"]
    assert read == [[f"n{n}"] for n in range(0, 300, 3)]
    assert len(hub.server().connections) == 2, "its own, and that of our HTTP client"


async def test_a_client_that_wants_no_keep_alive(hub: LiveHub) -> None:
    client = await poller(hub)
    cursor = hub.hub.attendance.cursor()
    await client.ask_and_wait(cursor, headers={"Connection": "close"})
    await hub.publish("user:42", n=1)
    answer = await client.answer()
    assert answer.headers["Connection"] == "close" and numbers(answer.body) == [1]
    assert await client.at_end()
    await eventually(hub.is_empty)


async def test_an_http_1_0_client(hub: LiveHub) -> None:
    client = await poller(hub)
    token = proof(hub, "42")["Authorization"]
    client.write(
        f"GET {target(cursor=hub.hub.attendance.cursor())} HTTP/1.0\r\nAuthorization: {token}\r\n\r\n".encode()
    )
    await eventually(lambda: waiting(hub) == 1)
    await hub.publish("user:42", n=1)
    assert numbers(await client.got()) == [1]
    assert await client.at_end()


async def test_after_a_poll_the_connection_may_become_a_websocket(hub: LiveHub) -> None:
    client = await poller(hub)
    await client.ask_and_wait(hub.hub.attendance.cursor())
    await hub.publish("user:42", n=1)
    cursor = (await client.got())["cursor"]
    headers = proof(hub, "42") | {"Sec-WebSocket-Protocol": JSON}
    request, _ = handshake("127.0.0.1", hub.port, headers, {"cursor": cursor}, "/notifications")
    client.write(request)
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    socket_ = Client(client.reader, client.writer)
    assert (await socket_.next())["hub"] == "welcome"
    await hub.publish("user:42", n=2)
    assert (await socket_.next())["n"] == 2


# Pipelined


async def test_the_next_request_while_one_waits_is_answered_after_it(hub: LiveHub) -> None:
    client = await poller(hub)
    await client.ask_and_wait(hub.hub.attendance.cursor())
    client.request("/health/live")
    client.ask()
    await asyncio.sleep(0.05)
    assert waiting(hub) == 1
    published = await hub.publish("user:42", n=1)
    assert numbers(await client.got()) == [1]
    assert (await client.answer()).body == {"status": "ok"}
    assert (await client.got())["cursor"] == published["cursor"]


async def test_a_request_in_pieces_behind_one_that_waits(hub: LiveHub) -> None:
    client = await poller(hub)
    await client.ask_and_wait(hub.hub.attendance.cursor())
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    for cut in (5, 20, 30):
        client.write(request[:cut])
        await asyncio.sleep(0.01)
        published = await hub.publish("user:42", n=cut)
        assert numbers(await client.got()) == [cut]
        client.write(request[cut:])
        assert (await client.answer()).body == {"status": "ok"}
        await client.ask_and_wait(published["cursor"])


async def test_a_large_body_behind_one_that_waits(hub: LiveHub) -> None:
    """More than is read at once."""
    client = await poller(hub)
    await client.ask_and_wait(hub.hub.attendance.cursor())
    batch = [{"to": "user:7", "notification": {"type": "x", "n": n, "b": BODY}} for n in range(60)]
    client.request(
        "/api/notifications/batch", {"Authorization": hub.bearer("backend")}, "POST", json.dumps(batch).encode()
    )
    await asyncio.sleep(0.05)
    await hub.publish("user:42", n=1)
    assert numbers(await client.got()) == [1]
    answer = await client.answer()
    assert [item["status"] for item in answer.body] == [202] * 60


async def test_many_polls_in_one_packet(hub: LiveHub) -> None:
    """Only the last may wait: what is behind a request has been read already."""
    client = await poller(hub)
    cursor = hub.hub.attendance.cursor()
    for _ in range(5):
        client.ask(cursor)
    for _ in range(4):
        assert (await client.got())["notifications"] == []
    await eventually(lambda: waiting(hub) == 1)
    await hub.publish("user:42", n=1)
    assert numbers(await client.got()) == [1]


async def test_a_flood_behind_one_that_waits_is_not_read(hub: LiveHub) -> None:
    client = await poller(hub)
    await client.ask_and_wait(hub.hub.attendance.cursor())
    client.write(b"x" * (8 << 20))
    await asyncio.sleep(0.1)
    (poll,) = hub.hub.registry.connections
    assert len(poll._behind) <= 256 * 1024  # type: ignore[attr-defined]  # what it keeps
    client.reset()
    hub.clock.advance(25)
    await eventually(hub.is_empty, str(hub.left_over()))


# Gone


@pytest.mark.parametrize("how", ["hang_up", "reset"])
async def test_nothing_is_left_of_who_hangs_up_while_waiting(hub: LiveHub, how: str) -> None:
    clients = [await poller(hub) for _ in range(10)]
    for client in clients:
        await client.ask_and_wait(hub.hub.attendance.cursor(), topics="team:a")
    for client in clients:
        getattr(client, how)()
    await eventually(hub.is_empty, str(hub.left_over()))
    assert (await hub.publish("notifications"))["live"] == 0


async def test_who_is_reset_in_the_very_step_of_the_answer(hub: LiveHub) -> None:
    """The write finds out; the connection must not be given back then."""
    for _ in range(50):
        client = await poller(hub)
        await client.ask_and_wait(hub.hub.attendance.cursor())
        client.reset()
        draft = hub.hub.prepare({"to": "user:42", "notification": {"type": "x"}})
        await hub.hub.publish(draft, "backend")
    await eventually(hub.is_empty, str(hub.left_over()))


async def test_who_hangs_up_before_the_hub_has_looked(hub: LiveHub) -> None:
    cursor = hub.hub.attendance.cursor()
    for how in ("reset", "hang_up") * 20:
        client = await poller(hub)
        client.ask(cursor)
        await asyncio.sleep(0)
        getattr(client, how)()
    await eventually(hub.is_empty, str(hub.left_over()))


async def test_who_takes_his_answer_slowly_gets_it_and_the_next(hub: LiveHub) -> None:
    """The transport goes back to aiohttp with most of the answer still in it."""
    client = await PollClient.open(hub, receive_buffer=4096)
    client.hub, client.user = hub, "42"
    await client.ask_and_wait(hub.hub.attendance.cursor())
    (poll,) = hub.hub.registry.connections
    transport = poll.transport  # type: ignore[attr-defined]  # a poll has one
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    for n in range(20):
        await hub.hub.publish(hub.hub.prepare({"to": "user:42", "notification": {"type": "x", "n": n, "b": BODY}}), "b")
    await eventually(lambda: any(handler.writing_paused for handler in hub.server().connections))
    client.ask(hub.hub.attendance.cursor())
    await asyncio.sleep(0.05)
    assert numbers(await client.got()) == list(range(20))
    await eventually(lambda: waiting(hub) == 1)
    await hub.publish("user:42", n=20)
    assert numbers(await client.got()) == [20]


# Ended by the hub


async def ended_with(client: PollClient) -> tuple[int, str]:
    answer = await client.answer()
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED_ORIGIN
    assert await client.at_end()
    return answer.status, answer.code


async def waiter(hub: LiveHub, user: str = "42", **claims: Any) -> PollClient:
    client = await poller(hub, user, claims)
    await client.ask_and_wait(hub.hub.attendance.cursor(), headers={"Origin": LISTED_ORIGIN})
    return client


async def test_a_token_runs_out_while_it_waits(hub: LiveHub) -> None:
    client = await waiter(hub, exp=hub.clock.now() + 10)
    hub.let_pass(10)
    assert waiting(hub) == 1, "there are five seconds of grace"
    hub.let_pass(6)
    assert await ended_with(client) == (401, "unauthorized")
    await eventually(hub.is_empty)


async def test_a_user_is_revoked_while_he_waits(hub: LiveHub) -> None:
    client, other = await waiter(hub), await waiter(hub, "7")
    await hub.call("POST", "/api/users/42/revoke")
    assert await ended_with(client) == (401, "unauthorized")
    await hub.publish("notifications", n=1)
    assert numbers(await other.got()) == [1]


async def test_the_hub_stops_while_they_wait(hub: LiveHub) -> None:
    clients = [await waiter(hub, str(n)) for n in range(20)]
    await hub.edge.stop(hub.clock.monotonic() + 5)
    retries = set()
    for client in clients:
        answer = await client.answer()
        assert (answer.status, answer.code) == (503, "unavailable")
        retries.add(answer.headers.get("Retry-After"))
        assert await client.at_end()
    assert len(retries) > 4 and None not in retries, "they would all come back at once"
    await eventually(hub.is_empty)


async def test_what_came_in_the_same_step_is_not_lost(hub: LiveHub) -> None:
    client = await waiter(hub)
    cursor = hub.hub.attendance.cursor()
    draft = hub.hub.prepare({"to": "user:42", "notification": {"type": "x", "n": 1}})
    await hub.hub.publish(draft, "backend")
    hub.hub.revoke("42")
    body = await client.got()
    assert numbers(body) == [1] and body["cursor"] != cursor
    assert await client.at_end()


# What waiting costs


def alive(kind: type) -> int:
    gc.collect()
    return sum(isinstance(found, kind) for found in gc.get_objects())


async def test_no_task_no_timer_and_no_object_of_aiohttps_for_each_poll(hub: LiveHub) -> None:
    await hub.call("GET", "/health/live")  # our own HTTP client's connection stays open all the while
    loop: Any = asyncio.get_running_loop()
    before = alive(RequestHandler), alive(web.Request)
    clients = [await poller(hub, f"u{n}") for n in range(MANY + 1)]
    cursor = hub.hub.attendance.cursor()
    await clients[MANY].ask_and_wait(cursor)  # from the first on there is a timer for all
    await eventually(lambda: len(hub.reception) == MANY + 1)
    for client in clients[:MANY]:
        await client.ask_and_wait(cursor)
    await eventually(lambda: len(asyncio.all_tasks()) <= 2, "tasks are left")
    assert waiting(hub) == MANY + 1
    assert len(hub.server().connections) == 1, "our own"
    assert (alive(RequestHandler), alive(web.Request)) == before
    assert len([timer for timer in loop._scheduled if not timer.cancelled()]) <= 3
    await hub.publish("notifications", n=1)
    for client in clients:
        assert numbers(await client.got()) == [1]
    assert len(hub.server().connections) == MANY + 2, "they are aiohttp's again"
