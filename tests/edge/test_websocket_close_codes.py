"""Every close code of the protocol page, what is told before it, and the hub's pings."""

import re
import signal
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest

from tests.command import HUBD, environment
from tests.edge.conftest import StartHub
from tests.edge.live_hub import HOST, LiveHub, eventually
from tests.edge.ws_client import ABNORMAL, CLOSE, JSON, MSGPACK, PING, PONG, TEXT, Client, Frame, masked

FORMS = pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])


async def ended_with(client: Client, code: int, reason: str, reconnect: bool) -> float:
    """The connection ends with this code, and hubd.v1 is told before; gives after how long to come back."""
    assert await client.closed() == code
    assert client.close_reason == reason
    told = [frame for frame in client.frames if frame.get("hub") == "disconnect"]
    if client.subprotocol is None:
        assert told == []
        return 0
    (farewell,) = told
    assert client.frames[-1] is farewell
    retry_after = farewell.pop("retry_after_s")
    assert farewell == {"hub": "disconnect", "code": code, "reason": reason, "reconnect": reconnect}
    assert isinstance(retry_after, int | float)
    return float(retry_after)


# 4009 and the pings


async def test_a_controlled_connection_is_pinged_by_a_message_that_says_where_it_stands(hub: LiveHub) -> None:
    client, welcome = await hub.welcomed()
    hub.let_pass(24.9)
    assert await client.messages() == []
    published = await hub.publish("somebody:else", n=1)
    hub.let_pass(0.2)
    assert await client.messages() == [{"hub": "ping", "cursor": published["cursor"]}]
    assert published["cursor"] != welcome["cursor"]
    hub.let_pass(1)
    assert await client.messages() == []
    hub.let_pass(24)
    assert [frame["hub"] for frame in await client.messages()] == ["ping"]


async def test_a_plain_one_is_pinged_by_a_frame(hub: LiveHub) -> None:
    client = await hub.opened(None)
    hub.let_pass(25)
    assert await client.frame() == Frame(PING, b"")
    client.write(masked(PONG))
    await client.messages()
    hub.let_pass(11)
    assert await client.messages() == []


async def test_the_interval_is_an_option_and_told(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"ping_s": 3, "pong_s": 2})
    client, welcome = await hub.welcomed()
    assert welcome["ping_s"] == 3
    hub.let_pass(3)
    assert [frame["hub"] for frame in await client.messages()] == ["ping"]


@FORMS
async def test_whoever_doesnt_answer_is_closed(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    hub.let_pass(25)
    hub.let_pass(10)
    assert hub.hub.registry.connections
    hub.let_pass(0.1)
    await ended_with(client, 4009, "no_pong", True)


@FORMS
@pytest.mark.parametrize("life", ["pong", "ping", "ws pong", "ws ping", "any action"])
async def test_any_sign_of_life_will_do(hub: LiveHub, subprotocol: str | None, life: str) -> None:
    client = await hub.opened(subprotocol)
    for _ in range(4):
        hub.let_pass(25)
        hub.clock.advance(1)
        if life.startswith("ws"):
            client.write(masked(PING if life == "ws ping" else PONG, b"x"))
        else:
            action = {"any action": "visibility"}.get(life, life)
            client.send(action=action, **({"state": "visible"} if action == "visibility" else {}))
        await client.messages()
        hub.let_pass(9.5)
        await client.messages()


# 4029


@FORMS
async def test_of_too_many_connections_of_a_user_the_newest_loses(start_hub: StartHub, subprotocol: str | None) -> None:
    hub = await start_hub(limits={"per_user": 2})
    first, second = [await hub.opened(subprotocol) for _ in range(2)]
    third = await hub.connect("42", subprotocol)
    retry_after = await ended_with(third, 4029, "too_many", True)
    assert retry_after > 0 or subprotocol is None
    assert third.frames[:-1] == []  # no welcome
    by_frame = await hub.open(subprotocol=subprotocol)
    by_frame.send(action="auth", token=hub.token("42"))
    await ended_with(by_frame, 4029, "too_many", True)
    await hub.opened(subprotocol, "7")
    assert (await hub.publish("user:42", n=1))["live"] == 2
    await hub.gone(second)
    await hub.opened(subprotocol)
    assert [one["n"] for one in await first.notifications()] == [1]


@FORMS
@pytest.mark.parametrize("kind", ["messages", "pings", "fragments"])
async def test_a_flood_ends_the_connection(start_hub: StartHub, subprotocol: str | None, kind: str) -> None:
    hub = await start_hub(limits={"frames_per_s": 50})
    client = await hub.connect("42", subprotocol)
    opcode = 2 if subprotocol == MSGPACK else TEXT

    def flood(count: int) -> None:
        for n in range(count):
            if kind == "messages":
                client.send(action="pong")
            elif kind == "pings":
                client.write(masked(PING, b"x"))
            else:
                client.write(masked(opcode if n == 0 else 0, b" ", final=n == count - 1))

    (connection,) = hub.hub.registry.connections
    for _ in range(3):
        flood(50)
        await eventually(lambda: connection.frames_in_second == 50)
        hub.clock.advance(0.5)
        assert not connection.closing
        hub.clock.advance(0.6)
        client.write(masked(PONG))
        await eventually(lambda: connection.frames_in_second == 1)
        hub.clock.advance(1)
    flood(51)
    retry_after = await ended_with(client, 4029, "too_many", True)
    assert retry_after > 0 or subprotocol is None


async def test_a_stranger_floods_no_more_than_others(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"frames_per_s": 50})
    client = await hub.open(subprotocol=JSON)
    for _ in range(51):
        client.send(action="pong")
    await ended_with(client, 4029, "too_many", True)


async def test_the_limit_may_be_off(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"frames_per_s": 0})
    client = await hub.opened(JSON)
    for _ in range(1000):
        client.send(action="pong")
    assert await client.messages() == []


# 4000


async def test_a_hub_that_stops_says_so_to_everybody_and_is_gone() -> None:
    """The real daemon: SIGTERM, the clients are told, exit 0."""
    process = await create_subprocess_exec(
        *HUBD, "serve", "--dev", "--port", "0", stdout=PIPE, stderr=PIPE, env=environment()
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        ready = (await process.stdout.readline()).decode()
        found = re.fullmatch(r"hubd listening on http://127\.0\.0\.1:(\d+)\n", ready)
        assert found, ready + (await process.stderr.read()).decode()
        port = int(found[1])
        forms = [JSON, JSON, MSGPACK, None]
        clients = [
            await Client.open(HOST, port, query={"user": str(n)}, subprotocol=form) for n, form in enumerate(forms)
        ]
        clients.append(await Client.open(HOST, port, subprotocol=JSON))  # a stranger
        process.send_signal(signal.SIGTERM)
        waits = [await ended_with(client, 4000, "shutdown", True) for client in clients]
        for client in clients:
            client.hang_up()
        assert all(0 <= wait <= 60 for wait in waits) and len(set(waits)) > 1, "spread over the clients"
        rest, _ = await process.communicate()
        assert (process.returncode, rest) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# The table as a whole


async def test_the_page_tells_the_same_codes() -> None:
    """The project's own reference names each code with its word."""
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    words = {4000: "shutdown", 4001: "expired", 4009: "no_pong", 4029: "too_many", 4500: "bad_token"}
    for code, word in (words | {4501: "auth_timeout", 4507: "revoked"}).items():
        assert re.search(rf"{code}\D+{word}", page), code


async def test_a_close_frame_fits_one_control_frame(hub: LiveHub) -> None:
    client = await hub.opened(None)
    client.write(masked(TEXT, b"\xff"))
    frame = await client.frame()
    assert frame is not None and frame.opcode == CLOSE and 2 <= len(frame.payload) <= 125


@FORMS
async def test_an_aborted_connection_has_no_close_frame(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    next(iter(hub.hub.registry.connections)).abort()
    assert await client.closed() == ABNORMAL
    await eventually(hub.is_empty)
