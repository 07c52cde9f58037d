"""Whoever doesn't read is cut, with bounded memory, and resumes; nobody else notices."""

import socket
from typing import Any

import pytest

from hubd.core.connection import Connection
from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.ws_client import ABNORMAL, JSON, MSGPACK, TEXT, masked

QUEUE = 65536
BODY = "x" * 4000


def narrow(connection: Any) -> Any:
    """Give the kernel little room for it, so that it is slow soon."""
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    return connection


def waiting_bytes(connection: Connection) -> int:
    return sum(map(len, connection.outbox)) + connection.unsent()


async def publish_until_cut(hub: LiveHub, slow: Connection, to: str) -> tuple[int, int]:
    """Publish until the connection is off the registry: how many it took, and the most bytes that waited for it."""
    most = 0
    for n in range(5000):
        await hub.publish(to, notification={"type": "x", "n": n, "body": BODY})
        if slow not in hub.hub.registry.connections:
            return n + 1, most
        most = max(most, waiting_bytes(slow))
    raise AssertionError("it was never cut")


@pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])
@pytest.mark.parametrize("to", ["notifications", "user:slow", "team:a"])
async def test_it_is_cut_with_bounded_bytes_and_others_get_all(
    start_hub: StartHub, subprotocol: str | None, to: str
) -> None:
    hub = await start_hub(limits={"queue_bytes": QUEUE}, replay={"per_channel": 10_000})
    slow_client = await hub.connect("slow", subprotocol, topics="team:a", receive_buffer=4096)
    slow = narrow(*hub.hub.registry.connections)
    reader = await hub.opened(JSON, "42", topics="team:a")
    published, most = await publish_until_cut(hub, slow, to)
    assert most <= QUEUE
    assert slow.outbox == []
    received = [one["n"] for one in await reader.notifications()]
    assert received == (list(range(published)) if to != "user:slow" else [])
    assert await slow_client.closed() == ABNORMAL
    await eventually(lambda: len(hub.edge.endpoint.addresses._counts) == 1)
    assert hub.edge.endpoint.addresses.of("127.0.0.1") == 1


async def test_what_it_got_is_whole_and_it_resumes_from_there(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"queue_bytes": QUEUE}, replay={"per_channel": 10_000})
    client = await hub.connect("42", None, receive_buffer=4096)
    slow = narrow(*hub.hub.registry.connections)
    published, _ = await publish_until_cut(hub, slow, "user:42")
    assert await client.closed() == ABNORMAL
    got = client.frames
    assert [one["n"] for one in got] == list(range(len(got))) and 0 < len(got) < published
    back = await hub.connect("42", None, cursor=got[-1]["cursor"])
    rest: list[Any] = []
    while len(got) + len(rest) < published:
        rest.append(await back.next())
    assert [one["n"] for one in [*got, *rest]] == list(range(published))


async def test_a_flood_of_replies_that_nobody_reads_is_bounded_too(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"queue_bytes": QUEUE, "frames_per_s": 0})
    client = await hub.connect("42", JSON, receive_buffer=4096)
    slow = narrow(*hub.hub.registry.connections)
    await ask_without_reading(client, slow_is_gone=lambda: slow not in hub.hub.registry.connections)
    assert waiting_bytes(slow) == 0


async def test_of_a_stranger_as_well(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"queue_bytes": QUEUE, "frames_per_s": 0})
    client = await hub.open(subprotocol=JSON, receive_buffer=4096)
    stranger = narrow(*hub.edge.endpoint.unauthenticated)
    await ask_without_reading(client, slow_is_gone=lambda: not hub.edge.endpoint.unauthenticated)
    assert stranger.transport.get_write_buffer_size() == 0


@pytest.mark.parametrize("asked", [50, 400])
async def test_whoever_reads_only_after_his_auth_gets_everything_in_order(start_hub: StartHub, asked: int) -> None:
    """What the transport still holds from before must not be overtaken."""
    hub = await start_hub(limits={"queue_bytes": 1 << 20, "frames_per_s": 0})
    client = await hub.open(subprotocol=JSON, receive_buffer=4096)
    stranger = narrow(*hub.edge.endpoint.unauthenticated)
    client.reader._transport.pause_reading()
    for n in range(asked):
        client.send(action="nonsense", ref=f"{n:0200}")
    await eventually(lambda: stranger.transport.get_write_buffer_size() > asked * 150)
    client.send(action="auth", token=hub.token("42"), ref="auth")
    await eventually(lambda: hub.hub.registry.connections)
    for n in range(20):
        await hub.publish("user:42", n=n)
    client.reader._transport.resume_reading()
    got = [await client.next() for _ in range(asked + 22)]
    assert [int(one["ref"]) for one in got[:asked]] == list(range(asked))
    assert [one.get("ref") or one.get("hub") for one in got[asked : asked + 2]] == ["auth", "welcome"]
    assert [one["n"] for one in got[asked + 2 :]] == list(range(20))


async def ask_without_reading(client: Any, slow_is_gone: Any) -> None:
    ask = masked(TEXT, b'{"action":"nonsense","ref":"%b"}' % (b"r" * 200))
    client.reader._transport.pause_reading()
    for _ in range(2000):
        client.write(ask * 100)
        try:
            await client.writer.drain()
        except ConnectionError:
            break
        if slow_is_gone():
            break
    await eventually(slow_is_gone)


async def test_a_reader_that_is_only_now_and_then_slow_stays(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"queue_bytes": QUEUE})
    client = await hub.connect("42", None, receive_buffer=4096)
    connection = narrow(*hub.hub.registry.connections)
    for round_ in range(10):
        n = 0
        while not connection.paused and n < 500:
            await hub.publish("user:42", notification={"type": "x", "body": BODY})
            n += 1
        assert connection in hub.hub.registry.connections, round_
        for _ in range(n):
            assert (await client.next())["type"] == "x"
        await eventually(lambda: not connection.paused)
    assert connection in hub.hub.registry.connections
