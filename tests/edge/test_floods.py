"""Much at once: large frames, many in one packet, large messages of strangers. What others notice is the work."""

import gc
import json
import sys
from typing import Any

import msgpack
import pytest

from hubd.core.document import check_size, read_document
from hubd.core.errors import BAD_TOKEN
from hubd.edge import frames
from hubd.edge.tokens import TokenRefused
from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.ws_client import BINARY, JSON, MSGPACK, PING, TEXT, Client, masked

LARGEST = 65536
FORMS = pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])


def send_large(client: Client, size: int = LARGEST) -> None:
    """A pong of exactly this size."""
    if client.subprotocol == MSGPACK:
        room = 2 * size - len(msgpack.packb({"action": "pong", "x": "x" * size}))
        client.write(masked(BINARY, msgpack.packb({"action": "pong", "x": "x" * room})))
    else:
        client.write(masked(TEXT, b'{"action":"pong"' + b" " * (size - 17) + b"}"))


# Large frames


@FORMS
async def test_large_frames_are_a_flood_sooner(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    hub.clock.advance(1)
    for _ in range(7):
        send_large(client, 60_000)
    assert await client.closed() == 4029
    assert await client.frame() is None, "the hub says at once that it says no more"
    client.hang_up()
    await eventually(lambda: not hub.edge.endpoint.leaving)


@FORMS
@pytest.mark.parametrize("frames_per_s", [1, 3, 10, 100, 1000])
@pytest.mark.parametrize("frame_bytes", [64, 65536, 1 << 20])
async def test_one_of_the_maximal_size_is_none(
    start_hub: StartHub, subprotocol: str | None, frames_per_s: int, frame_bytes: int
) -> None:
    hub = await start_hub(limits={"frames_per_s": frames_per_s, "frame_bytes": frame_bytes})
    client = await hub.connect("42", subprotocol)
    (connection,) = hub.hub.registry.connections
    opcode = BINARY if subprotocol == MSGPACK else TEXT
    for _ in range(3):
        hub.clock.advance(1)
        client.write(masked(opcode, b"1" * frame_bytes))  # no message, but that doesn't end it
        await eventually(lambda: connection.second == hub.clock.monotonic() and connection.reader is None)
        assert 1 <= connection.frames_in_second <= max(1, frames_per_s / 4 + 1)
        assert not connection.closing


async def test_four_of_the_maximal_size_are_none_either(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"frames_per_s": 40})
    client = await hub.opened(JSON)
    hub.clock.advance(1)
    for _ in range(4):
        send_large(client)
    (connection,) = hub.hub.registry.connections
    await eventually(lambda: connection.frames_in_second == 40)
    assert not connection.closing


# Many in one packet


async def test_what_is_over_the_limit_is_not_worked_through(hub: LiveHub, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await hub.opened(None)
    hub.clock.advance(1)
    read = 0
    real = frames.FrameReader._read_header

    def counting(self: frames.FrameReader, data: bytes, start: int) -> int:
        nonlocal read
        read += 1
        return real(self, data, start)

    monkeypatch.setattr(frames.FrameReader, "_read_header", counting)
    client.write(masked(PING, b"") * 40_000)
    assert await client.closed() == 4029
    assert 100 <= read <= 110


async def test_who_goes_on_is_not_listened_to(hub: LiveHub) -> None:
    """Also not after the second in which he was too much; and he sees the end at once."""
    client = await hub.opened(JSON)
    client.write(masked(PING, b"") * 200)
    (leaving,) = await closing(hub)
    hub.clock.advance(2)
    client.write(masked(PING, b"") * 50)
    client.send(action="publish", to="notifications", notification={"type": "x"})
    assert await client.closed() == 4029
    assert await client.frame() is None
    assert leaving.frames_in_second <= 101


async def closing(hub: LiveHub) -> list[Any]:
    await eventually(lambda: hub.edge.endpoint.leaving)
    return list(hub.edge.endpoint.leaving)


# Strangers


@FORMS
async def test_a_stranger_may_send_a_token_and_not_much_more(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.open(subprotocol=subprotocol)
    send_large(client, 10_240)
    assert len(await client.messages()) == (0 if subprotocol is None else 1)  # that he must say who he is
    send_large(client, 10_241)
    assert await client.closed() == 1009


async def test_what_comes_behind_his_token_may_be_large(hub: LiveHub) -> None:
    client = await hub.open(subprotocol=JSON)
    auth = json.dumps({"action": "auth", "token": hub.token(), "ref": 1}).encode()
    large = b'{"action":"ping","ref":2' + b" " * 30_000 + b"}"
    client.write(masked(TEXT, auth) + masked(TEXT, large))
    assert [(await client.next()).get("ref") for _ in range(3)] == [1, None, 2]


async def test_nothing_comes_behind_the_close_frame(hub: LiveHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs out of time while his token, a bad one, is being checked."""
    client = await hub.open(subprotocol=JSON)
    (stranger,) = hub.edge.endpoint.unauthenticated
    written: list[bytes] = []
    real = stranger.transport.write

    def write(data: bytes) -> None:
        written.append(bytes(data))
        real(data)

    async def verify(token: str) -> None:
        hub.let_pass(6)
        raise TokenRefused(BAD_TOKEN, "the keys can't be had", temporary=True)

    monkeypatch.setattr(hub.edge.endpoint.tokens, "verify", verify)
    monkeypatch.setattr(stranger.transport, "write", write)
    client.send(action="auth", token="x", ref=1)
    assert await client.closed() == 4501
    await eventually(lambda: not hub.tasks._running)
    assert len(written) == 1


# Documents


HOSTILE = {
    "empty objects": b"\x80" * 65_000,
    "empty lists": b"\x90" * 65_000,
    "numbers": b"\x01" * 65_000,
    "lists": b"\x91\x01" * 32_500,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_call_for_each_element(name: str) -> None:
    """Counted, not timed: functions called from Python while a body of 65,000 elements is read."""
    elements = HOSTILE[name]
    count = 32_500 if name == "lists" else 65_000
    calls = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    body = b"\xdd" + count.to_bytes(4, "big") + elements
    gc.disable()  # whoever listens to the collector would be counted too
    sys.setprofile(profile)
    try:
        value = read_document(body, "msgpack")
        check_size(value, 16, 256)
    finally:
        sys.setprofile(None)
        gc.enable()
    assert len(value) == count
    assert calls < 100 + (3 * count if name == "lists" else 0), "what is in a list that isn't empty must be looked at"
