"""What hubd/edge/handover.py leans on in aiohttp: if one of these fails after an update of aiohttp, read that file."""

import asyncio
import gc
import inspect
import json
import tracemalloc
from typing import Any

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler

from hubd.edge.websocket import Unauthenticated
from tests.edge.conftest import StartHub
from tests.edge.http_clients import PollClient, poller, proof
from tests.edge.live_hub import HOST, LiveHub, eventually
from tests.edge.ws_client import JSON, MSGPACK, PING, PONG, TEXT, Client, Frame, handshake, masked

MANY = 200


def alive(kind: type) -> int:
    """How many objects of a class there are, cycles collected."""
    gc.collect()
    return sum(isinstance(found, kind) for found in gc.get_objects())


def test_what_it_touches_in_aiohttp_is_still_there() -> None:
    assert {"_message_tail", "_manager", "_task_handler", "_current_request"} <= set(RequestHandler.__slots__)
    ending = inspect.getsource(RequestHandler.connection_lost)
    assert "self._manager.connection_lost(self, exc)" in ending, "it is how aiohttp forgets a connection"
    closing = inspect.getsource(RequestHandler.force_close)
    assert "if self.transport is not None" in closing, "without a transport it closes none"
    finishing = inspect.getsource(RequestHandler.finish_response)
    assert "await prepare_meth(request)" in finishing and "await resp.write_eof()" in finishing


# What comes in behind the request


def frames_behind(count: int, size: int = 0) -> bytes:
    message = json.dumps({"action": "ping", "ref": "REF"})
    found = []
    for n in range(count):
        found.append(masked(TEXT, message.replace("REF", str(n)).ljust(size).encode()))
    return b"".join(found)


@pytest.mark.parametrize(("count", "size"), [(1, 0), (50, 0), (90, 60_000)], ids=["one", "fifty", "5 MB"])
async def test_frames_in_the_same_packet_as_the_request_arrive(start_hub: StartHub, count: int, size: int) -> None:
    hub = await start_hub(limits={"frames_per_s": 0})
    client = await hub.connect("42", JSON, behind=frames_behind(count, size))
    assert (await client.next())["hub"] == "welcome"
    assert [(await client.next())["ref"] for _ in range(count)] == [str(n) for n in range(count)]
    assert (await client.ask("ping"))["ok"] is True


async def test_much_that_comes_in_while_the_token_is_still_looked_at(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp stops reading then; the handover must start it again."""
    hub = await start_hub(limits={"frames_per_s": 0})
    authenticator = hub.edge.endpoint.authenticator
    connecting = authenticator.connecting

    async def slowly(request: web.Request) -> Any:
        await eventually(lambda: request.protocol._buffer_paused, "aiohttp doesn't stop reading any more")
        return await connecting(request)

    monkeypatch.setattr(authenticator, "connecting", slowly)
    client = await hub.connect("42", JSON, behind=frames_behind(90, 60_000))
    assert (await client.next())["hub"] == "welcome"
    assert [(await client.next())["ref"] for _ in range(90)] == [str(n) for n in range(90)]


async def test_also_an_auth_and_what_follows_it(hub: LiveHub) -> None:
    auth = masked(TEXT, json.dumps({"action": "auth", "token": hub.token(), "ref": "auth"}).encode())
    client = await hub.open(subprotocol=JSON, behind=auth + frames_behind(3))
    got = [await client.next() for _ in range(5)]
    assert [one.get("ref", one["hub"]) for one in got] == ["auth", "welcome", "0", "1", "2"]


async def test_half_a_frame_behind_the_request_goes_on_later(hub: LiveHub) -> None:
    frame = frames_behind(1)
    for cut in (1, 2, 5, 6, len(frame) - 1):
        client = await hub.connect("42", JSON, behind=frame[:cut])
        await client.next()
        client.write(frame[cut:])
        assert (await client.next())["ref"] == "0"
        client.hang_up()


async def test_a_close_behind_the_request(hub: LiveHub) -> None:
    client = await hub.connect("42", JSON, behind=masked(8, b"\x03\xe8"))
    assert await client.closed() == 1000
    await eventually(hub.is_empty)


async def test_requests_before_it_on_the_same_connection(hub: LiveHub) -> None:
    """A keep-alive connection that has been used may become a WebSocket; pipelined answers come before the 101."""
    reader, writer = await asyncio.open_connection(HOST, hub.port)
    headers = {"Authorization": f"Bearer {hub.token()}", "Sec-WebSocket-Protocol": JSON}
    request, _ = handshake(HOST, hub.port, headers, {}, "/notifications")
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + request + masked(PING, b"x"))
    for _ in range(3):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readexactly(len('{"status":"ok"}'))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    client = Client(reader, writer)
    hub.clients.append(client)
    frames = [await client.frame(), await client.frame()]
    assert Frame(PONG, b"x") in frames


async def test_a_client_that_is_gone_before_the_answer_leaves_nothing(hub: LiveHub) -> None:
    for _ in range(20):
        request, _ = handshake(HOST, hub.port, {"Authorization": f"Bearer {hub.token()}"}, {}, "/notifications")
        _, writer = await asyncio.open_connection(HOST, hub.port)
        writer.write(request)
        await asyncio.sleep(0)
        writer.transport.abort()
    await eventually(hub.is_empty)
    await hub.opened(JSON)


async def test_after_a_refused_upgrade_the_connection_serves_on(hub: LiveHub) -> None:
    reader, writer = await asyncio.open_connection(HOST, hub.port)
    hub.clients.append(Client(reader, writer))
    request, _ = handshake(HOST, hub.port, {"Origin": "https://evil.example"}, {}, "/notifications")
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    await reader.readexactly(length)
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


# Given back


def test_what_giving_back_touches_is_still_there() -> None:
    assert {"_messages", "_paused"} <= {*RequestHandler.__slots__, *BaseProtocol.__slots__}
    beginning = inspect.getsource(RequestHandler.start)
    assert "assert manager is not None" in beginning, "so nothing that is closing may be given back"


async def given_back(hub: LiveHub, **headers: str) -> PollClient:
    """A connection that was taken over for a poll, and is aiohttp's again."""
    client = await poller(hub)
    await client.ask_and_wait(hub.hub.attendance.cursor(), headers=headers)
    await hub.publish("user:42", n=0)
    await client.got()
    return client


async def test_what_is_given_back_serves_all_kinds_of_requests(hub: LiveHub) -> None:
    client = await given_back(hub)
    client.request("/health/live")
    assert (await client.answer()).body == {"status": "ok"}
    body = json.dumps({"to": "user:42", "notification": {"type": "x", "body": "y" * 20_000}}).encode()
    client.request("/api/notifications", {"Authorization": hub.bearer("backend")}, "POST", body)
    assert (await client.answer()).status == 202
    client.request("/nowhere")
    assert (await client.answer()).status == 404
    client.request("/notifications", proof(hub, "42") | {"Accept": "text/event-stream"})
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    await eventually(lambda: [one.transport_name for one in hub.hub.registry.connections] == ["sse"])


async def test_what_is_given_back_is_known_to_aiohttp_until_it_ends(hub: LiveHub) -> None:
    clients = [await given_back(hub) for _ in range(5)]
    await hub.call("GET", "/health/live")
    assert len(hub.server().connections) == 6
    for client in clients:
        client.hang_up()
    await eventually(lambda: len(hub.server().connections) == 1)


async def test_a_stop_closes_what_was_given_back(start_hub: StartHub) -> None:
    hub = await start_hub()
    client = await given_back(hub)
    async with asyncio.timeout(5):
        await hub.stop_listening()
    assert await client.at_end()


async def test_taken_and_given_back_again_and_again(hub: LiveHub) -> None:
    """Neither handlers nor tasks pile up."""
    client = await given_back(hub)
    before = len(asyncio.all_tasks()), alive(RequestHandler)
    for n in range(200):
        await client.ask_and_wait(hub.hub.attendance.cursor())
        await hub.publish("user:42", n=n)
        await client.got()
    await asyncio.sleep(0)
    assert (len(asyncio.all_tasks()), alive(RequestHandler)) <= (before[0] + 1, before[1] + 1)


# What is left of aiohttp


async def opened_in_every_way(hub: LiveHub, count: int) -> list[Client]:
    clients = []
    for n in range(count):
        form = (None, JSON, MSGPACK)[n % 3]
        if n % 4:
            clients.append(await hub.connect(f"u{n}", form))
        else:
            client = await hub.open(subprotocol=form)
            client.send(action="auth", token=hub.token(f"u{n}"), ref=1)
            assert (await client.next())["ok"] is True
            clients.append(client)
    return clients


async def test_no_task_no_timer_and_no_object_of_aiohttps_for_each_connection(hub: LiveHub) -> None:
    await hub.call("GET", "/health/live")  # our own HTTP client's connection stays open all the while
    loop: Any = asyncio.get_running_loop()
    connections = len(hub.server().connections)
    strangers = alive(Unauthenticated)  # of other tests, whose tasks are just ending
    before = len(asyncio.all_tasks()), alive(RequestHandler), alive(web.Request), len(loop._scheduled)
    await opened_in_every_way(hub, MANY)
    await eventually(lambda: len(asyncio.all_tasks()) <= before[0], "tasks are left")
    assert len(hub.hub.registry.connections) == MANY
    assert alive(RequestHandler) == before[1]
    assert alive(web.Request) == before[2]
    assert alive(Unauthenticated) <= strangers
    assert len([timer for timer in loop._scheduled if not timer.cancelled()]) <= before[3]
    server = hub.server()
    assert len(server.connections) == connections, "aiohttp would wait for these when it stops"


async def test_nothing_at_all_is_left_when_they_are_gone(hub: LiveHub) -> None:
    await hub.call("GET", "/health/live")
    before = alive(asyncio.Transport)
    for client in await opened_in_every_way(hub, 40):
        client.hang_up()
    await eventually(hub.is_empty)
    hub.clients.clear()
    client = None
    await asyncio.sleep(0)
    await eventually(lambda: alive(asyncio.Transport) <= before)


async def test_a_connection_costs_little_memory(hub: LiveHub) -> None:
    """Ours and asyncio's objects together are some 3 KiB; what aiohttp would keep is another 10."""
    await opened_in_every_way(hub, 20)
    gc.collect()
    tracemalloc.start(8)
    try:
        await opened_in_every_way(hub, 60)
        await eventually(lambda: all(not connection.outbox for connection in hub.hub.registry.connections))
        gc.collect()
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    each = bytes_of_the_hub(snapshot) / 60
    assert 1000 < each < 5000, f"{each:.0f} bytes"


def bytes_of_the_hub(snapshot: tracemalloc.Snapshot) -> int:
    """What is allocated, but not by these tests and their clients."""
    others = (tracemalloc.__file__, "tests/edge/", "asyncio/streams.py")
    return sum(
        trace.size
        for trace in snapshot.traces
        if not any(other in frame.filename for frame in trace.traceback for other in others)
    )


async def test_a_stop_doesnt_wait_for_them(start_hub: StartHub) -> None:
    hub = await start_hub()
    await opened_in_every_way(hub, 10)
    async with asyncio.timeout(5):
        await hub.stop_listening()
