"""However a connection ends, nothing of it is left: registry, topics, presence, counts, watches, tasks."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from collections.abc import Awaitable, Callable

import pytest

from hubd.core.presence import State
from tests.edge.conftest import StartHub
from tests.edge.live_hub import HOST, LiveHub, eventually
from tests.edge.ws_client import CLOSE, JSON, MSGPACK, TEXT, Client, handshake, masked

Ending = Callable[[LiveHub, Client], Awaitable[None]]


async def by_fin(hub: LiveHub, client: Client) -> None:
    client.hang_up()


async def by_half_close(hub: LiveHub, client: Client) -> None:
    client.writer.write_eof()


async def by_reset(hub: LiveHub, client: Client) -> None:
    client.reset()


async def by_close_frame(hub: LiveHub, client: Client) -> None:
    client.close()


async def by_close_frame_and_reset(hub: LiveHub, client: Client) -> None:
    client.close()
    client.reset()


async def in_the_middle_of_a_frame(hub: LiveHub, client: Client) -> None:
    client.write(masked(TEXT, b'{"action":"ping"}')[:9])
    client.hang_up()


async def by_silence(hub: LiveHub, client: Client) -> None:
    hub.let_pass(25)
    hub.let_pass(10.1)
    hub.let_pass(5.1)


async def by_abort(hub: LiveHub, client: Client) -> None:
    next(iter(hub.hub.registry.connections)).abort()


async def by_slowness(hub: LiveHub, client: Client) -> None:
    hub.hub._on_slow(next(iter(hub.hub.registry.connections)))


async def by_a_bad_frame(hub: LiveHub, client: Client) -> None:
    client.write(masked(TEXT, b"\xff"))
    assert await client.closed() == 1007
    client.hang_up()


async def by_a_flood(hub: LiveHub, client: Client) -> None:
    client.write(masked(TEXT, b"{}") * 101)
    assert await client.closed() == 4029
    client.hang_up()


async def by_revocation(hub: LiveHub, client: Client) -> None:
    await hub.call("POST", "/api/users/42/revoke")
    assert await client.closed() == 4507


async def by_expiry(hub: LiveHub, client: Client) -> None:
    for _ in range(3606 // 20):
        client.send(action="pong")
        await client.messages()
        hub.let_pass(20)
    hub.let_pass(10)
    assert await client.closed() == 4001


ENDINGS = [
    *(by_fin, by_half_close, by_reset, by_close_frame, by_close_frame_and_reset, in_the_middle_of_a_frame, by_silence),
    *(by_abort, by_slowness, by_a_bad_frame, by_a_flood, by_revocation, by_expiry),
]


async def nothing_is_left(hub: LiveHub) -> None:
    """Empty tables; after the grace nobody of the users is remembered, and each edge of presence was seen."""
    await eventually(hub.is_empty, f"left over: {hub.left_over()}")
    hub.let_pass(5)
    assert hub.edges == [
        ("42", State.AWAY, State.ATTENTIVE),
        ("42", State.ATTENTIVE, State.WAVERING),
        ("42", State.WAVERING, State.AWAY),
    ]
    assert (hub.hub.registry.users, hub.hub.presence._states) == ({}, {})
    hub.let_pass(3600)
    assert hub.hub.pump._waiting == [] and hub.hub.pump._pass == []
    answer = await hub.call("GET", "/api/users/42")
    assert (answer.body["presence"], answer.body["connections"]) == ("away", [])
    assert (await hub.publish(["user:42", "team:a", "notifications"], n=1))["live"] == 0


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])
async def test_nothing_is_left(hub: LiveHub, subprotocol: str | None, end: Ending) -> None:
    client = await hub.opened(subprotocol, topics="team:a,team:b")
    await client.ask("presence", topic="team:a", watch=True)
    await client.ask("subscribe", topic="team:c")
    assert hub.edge.endpoint.addresses.of(HOST) == 1
    assert hub.edges == [("42", State.AWAY, State.ATTENTIVE)]
    await end(hub, client)
    await nothing_is_left(hub)


@pytest.mark.parametrize("end", [by_fin, by_half_close, by_reset, by_close_frame, in_the_middle_of_a_frame])
async def test_of_a_stranger_too(hub: LiveHub, end: Ending) -> None:
    client = await hub.open(subprotocol=JSON)
    assert len(hub.edge.endpoint.unauthenticated) == hub.edge.endpoint.addresses.of(HOST) == 1
    await end(hub, client)
    await eventually(hub.is_empty, f"left over: {hub.left_over()}")


@pytest.mark.parametrize("end", [by_fin, by_reset, by_close_frame])
async def test_of_one_that_was_refused_too(hub: LiveHub, end: Ending) -> None:
    client = await hub.open(headers={"Authorization": "Bearer nonsense"})
    await end(hub, client)
    await eventually(hub.is_empty, f"left over: {hub.left_over()}")


@pytest.mark.parametrize("end", [by_fin, by_reset])
async def test_in_the_middle_of_a_replay(start_hub: StartHub, end: Ending) -> None:
    hub = await start_hub(replay={"per_channel": 1000})
    first, welcome = await hub.welcomed()
    for _ in range(500):
        await hub.publish("team:a", notification={"type": "x", "body": "x" * 4000})
    client = await hub.connect("42", JSON, topics="team:a", cursor=welcome["cursor"], receive_buffer=4096)
    await hub.gone(first)
    (connection,) = hub.hub.registry.connections
    assert connection.replays
    await end(hub, client)
    await eventually(hub.is_empty)
    assert connection.replays == [] and connection.outbox == []


async def test_while_a_token_is_being_verified(hub: LiveHub) -> None:
    client = await hub.open(subprotocol=JSON)
    client.send(action="auth", token=hub.token())
    client.reset()
    await eventually(hub.is_empty)


async def test_one_of_two_connections_leaves_the_other_alone(hub: LiveHub) -> None:
    first, second = [await hub.opened(JSON, topics="team:a") for _ in range(2)]
    await hub.gone(first)
    assert hub.edges == [("42", State.AWAY, State.ATTENTIVE)]
    assert hub.edge.endpoint.addresses.of(HOST) == 1
    assert (await hub.publish(["team:a"], n=1))["live"] == 1
    assert len(await second.notifications()) == 1


async def test_a_hundred_that_come_and_go_in_every_way(hub: LiveHub) -> None:
    stays = await hub.opened(JSON, "7", topics="team:a")
    for n in range(100):
        client = await hub.connect(f"u{n}", [None, JSON, MSGPACK][n % 3], topics="team:a,team:b")
        if n % 2:
            await hub.publish("team:a", n=n)
        [client.hang_up, client.reset, client.close][n % 3]()
    await eventually(lambda: len(hub.hub.registry.connections) == 1)
    await eventually(lambda: hub.edge.endpoint.addresses.of(HOST) == 1)
    hub.let_pass(5)
    assert list(hub.hub.registry.users) == ["7"]
    assert set(hub.hub.registry.topics) == {"team:a"}
    assert [one["n"] for one in await stays.notifications()] == list(range(1, 100, 2))


CLIENT = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.sendall(bytes.fromhex(sys.argv[3]))
while b"\\r\\n\\r\\n" not in sock.recv(65536):
    pass
print("connected", flush=True)
while True:
    sock.recv(65536)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_after_a_client_process_was_killed(hub: LiveHub, number: signal.Signals) -> None:
    headers = {"Authorization": f"Bearer {hub.token(topics=['**'])}"}
    request, _ = handshake(HOST, hub.port, headers, {"topics": "team:a"}, "/notifications")
    command = [sys.executable, "-c", CLIENT, HOST, str(hub.port), request.hex()]
    process = await create_subprocess_exec(*command, stdout=PIPE, stdin=DEVNULL)
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 10) == b"connected\n"
        assert (await hub.publish("team:a", n=1))["live"] == 1
    finally:
        os.kill(process.pid, number)
        await process.communicate()
    await nothing_is_left(hub)


async def test_the_hubs_own_sweep_finds_the_silent_in_real_time(start_hub: StartHub) -> None:
    """The one test here in which nobody turns the clock or drives the sweep."""
    hub = await start_hub(limits={"ping_s": 0.3, "pong_s": 0.3, "auth_s": 0.3})
    hub.run_in_real_time()
    silent, stranger = await hub.connect("42", None), await hub.open()
    assert await stranger.closed() == 4501
    assert await silent.closed() == 4009
    lively = await hub.connect("7", JSON)
    for _ in range(2):
        message = await lively.next()
        if message["hub"] == "ping":
            lively.send(action="pong")
    await hub.call("POST", "/api/users/7/revoke")
    while (frame := await lively.frame()) is not None and frame.opcode != CLOSE:
        pass
    await hub.edge.endpoint.all_gone(0.1)
    lively.hang_up()
    await eventually(lambda: not hub.hub.registry.connections)
    await hub.stop_sweeping()
