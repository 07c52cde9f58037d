"""The WebSocket protocol itself (RFC 6455) over a real socket: bad frames, fragments, pings, the close handshake."""

import asyncio
import json
import struct

import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.ws_client import (
    ABNORMAL,
    BINARY,
    CLOSE,
    CONTINUATION,
    JSON,
    MSGPACK,
    NO_CODE,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
    masked,
)

FORMS = pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])
ACTION = b'{"action":"ping","ref":1}'
PINGED = {"hub": "reply", "ref": 1, "ok": True}

BAD_FRAMES: list[tuple[str, bytes, int]] = [
    ("not masked", masked(TEXT, ACTION, mask=False), 1002),
    ("not masked ping", masked(PING, b"x", mask=False), 1002),
    ("reserved bit 1", masked(TEXT, ACTION, reserved=4), 1002),
    ("reserved bit 3", masked(TEXT, ACTION, reserved=1), 1002),
    *((f"opcode {opcode:x}", masked(opcode, b"x"), 1002) for opcode in (3, 7, 0xB, 0xF)),
    ("fragmented ping", masked(PING, b"x", final=False), 1002),
    ("long ping", masked(PING, b"x" * 126), 1002),
    ("long close", masked(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    ("continuation of nothing", masked(CONTINUATION, b"x"), 1002),
    ("new message inside one", masked(TEXT, b"{", final=False) + masked(TEXT, b"}"), 1002),
    ("close of one byte", masked(CLOSE, b"\x03"), 1002),
    *(
        (f"close with {code}", masked(CLOSE, struct.pack("!H", code)), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1016)
    ),
    ("binary", masked(BINARY, b"\x80"), 1003),
    ("not UTF-8", masked(TEXT, b"\xff"), 1007),
    ("a surrogate in UTF-8", masked(TEXT, b'"\xed\xa0\x80"'), 1007),
    ("a character cut off", masked(TEXT, "ü".encode()[:1]), 1007),
    ("not UTF-8 in fragments", masked(TEXT, b"\xc3", final=False) + masked(CONTINUATION, b"("), 1007),
    ("close reason not UTF-8", masked(CLOSE, b"\x03\xe8\xff"), 1007),
    ("too big", masked(TEXT, b" " * 65537), 1009),
    ("too big in fragments", masked(TEXT, b" " * 40000, final=False) + masked(CONTINUATION, b" " * 30000), 1009),
    ("announced too big", bytes((0x81, 0xFF)) + struct.pack("!Q", 1 << 40) + b"mask", 1009),
    ("length of 64 bits", bytes((0x81, 0xFF)) + struct.pack("!Q", 1 << 63) + b"mask", 1002),
]


@pytest.mark.parametrize(("data", "code"), [pytest.param(data, code, id=name) for name, data, code in BAD_FRAMES])
@pytest.mark.parametrize("who", ["plain", "hubd.v1", "stranger"])
async def test_a_bad_frame_ends_the_connection(hub: LiveHub, who: str, data: bytes, code: int) -> None:
    if who == "stranger":
        client = await hub.open()
    else:
        client = await hub.opened(JSON if who == "hubd.v1" else None)
    client.write(data + masked(TEXT, ACTION))
    assert await client.closed() == code
    assert client.frames == []
    assert await client.frame() is None
    client.hang_up()
    await eventually(hub.is_empty)


async def test_text_under_msgpack_is_the_wrong_kind(hub: LiveHub) -> None:
    client = await hub.opened(MSGPACK)
    client.write(masked(TEXT, ACTION))
    assert await client.closed() == 1003


@pytest.mark.parametrize("size", [65537, 1_000_000, 20_000_000])
async def test_whoever_sends_far_too_much_still_reads_why(hub: LiveHub, size: int) -> None:
    """The hub must not close the socket while bytes are still coming in: a reset would swallow its close frame."""
    client = await hub.opened(JSON)
    message = masked(TEXT, b" " * size)

    async def push() -> None:
        for start in range(0, len(message), 65536):
            client.write(message[start : start + 65536])
            await client.writer.drain()

    pushing = asyncio.get_running_loop().create_task(push())
    assert await client.closed() == 1009
    pushing.cancel()
    await asyncio.gather(pushing, return_exceptions=True)


async def test_whoever_reads_only_after_sending_everything_still_reads_why(hub: LiveHub) -> None:
    client = await hub.opened(JSON)
    client.write(masked(TEXT, b" " * 300_000))
    await client.writer.drain()
    client.write(masked(TEXT, ACTION))
    await asyncio.sleep(0.05)  # the hub has long said what it had to
    client.write(masked(TEXT, ACTION))
    await asyncio.sleep(0.05)
    assert await client.closed() == 1009


async def test_after_a_bad_frame_the_hub_doesnt_wait_for_ever(hub: LiveHub) -> None:
    client = await hub.opened(JSON)
    client.write(masked(TEXT, b"\xff"))
    assert (await client.frame()) is not None
    hub.let_pass(6)
    await eventually(hub.is_empty)


@pytest.mark.parametrize("size", [125, 126, 65535, 65536])
async def test_every_way_to_write_a_length(hub: LiveHub, size: int) -> None:
    client = await hub.opened(JSON)
    client.write(masked(TEXT, ACTION.ljust(size)))
    assert await client.messages() == [PINGED]


async def test_the_largest_message_and_one_byte_more(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"frame_bytes": 1000})
    client = await hub.opened(JSON)
    client.write(masked(TEXT, ACTION.ljust(1000)))
    client.write(masked(TEXT, ACTION.ljust(600), final=False) + masked(CONTINUATION, b" " * 400))
    assert await client.messages() == [PINGED] * 2
    client.write(masked(TEXT, ACTION.ljust(600), final=False) + masked(CONTINUATION, b" " * 401))
    assert await client.closed() == 1009


async def test_fragments_with_pings_between_them(hub: LiveHub) -> None:
    client = await hub.opened(JSON)
    for place in range(len(ACTION)):
        first = place == 0
        last = place == len(ACTION) - 1
        client.write(masked(TEXT if first else CONTINUATION, ACTION[place : place + 1], final=last))
        client.write(masked(PING, str(place).encode()))
    for place in range(len(ACTION) - 1):
        assert await client.frame() == Frame(PONG, str(place).encode())
    reply = await client.frame()
    assert reply is not None and json.loads(reply.payload) == PINGED
    client.write(masked(TEXT, b"", final=False) + masked(CONTINUATION, ACTION, final=False) + masked(CONTINUATION, b""))
    client.write(masked(PING, b"end"))
    assert await client.frame() == Frame(PONG, str(len(ACTION) - 1).encode())
    assert await client.messages() == [PINGED]


@FORMS
async def test_bytes_that_come_one_by_one(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.open(subprotocol=subprotocol)
    recorded = Client(client.reader, client.writer)
    recorded.subprotocol = subprotocol
    written: list[bytes] = []
    recorded.write = written.append  # type: ignore[method-assign]  # what it would send
    recorded.send(action="auth", token=hub.token(topics=["**"]), ref=1)
    recorded.send(action="subscribe", topic="team:ü"[:6], ref=2)
    recorded.send(action="ping", ref="ü")
    for byte in b"".join(written):
        client.write(bytes((byte,)))
        await asyncio.sleep(0)
    refs = []
    while "ü" not in refs:
        message = await client.next()
        if message["hub"] == "reply":
            refs.append(message["ref"])
    assert refs == [1, 2, "ü"]


@FORMS
async def test_the_clients_ping_gets_its_pong(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.opened(subprotocol)
    stranger = await hub.open(subprotocol=subprotocol)
    for one in (client, stranger):
        for payload in (b"", b"x" * 125, b"\x00\xff"):
            one.write(masked(PING, payload))
            assert await one.frame() == Frame(PONG, payload)
        one.write(masked(PONG, b"nobody asked"))
        assert await one.messages() == []


# The close handshake


@FORMS
@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_a_clients_close_is_answered_and_the_connection_ends(
    hub: LiveHub, subprotocol: str | None, code: int
) -> None:
    client = await hub.opened(subprotocol)
    client.close(code)
    assert await client.frame() == Frame(CLOSE, struct.pack("!H", code))
    assert await client.frame() is None
    await eventually(hub.is_empty)


@pytest.mark.parametrize("stranger", [False, True])
async def test_a_close_without_a_code(hub: LiveHub, stranger: bool) -> None:
    client = await (hub.open() if stranger else hub.opened(None))
    client.write(masked(CLOSE))
    assert await client.closed() == NO_CODE


@FORMS
@pytest.mark.parametrize("action", ["ping", "publish", "subscribe durable", "auth"])
async def test_nothing_comes_after_the_close_frame(hub: LiveHub, subprotocol: str | None, action: str) -> None:
    """Not even the reply to an action that was sent just before."""
    client = await hub.opened(subprotocol)
    messages = {
        "ping": {"action": "ping"},
        "publish": {"action": "publish", "to": "user:42", "notification": {"type": "x"}},
        "subscribe durable": {"action": "subscribe", "topic": "a", "durable": True},
        "auth": {"action": "auth", "token": hub.token()},
    }
    written: list[bytes] = []
    write = client.write
    client.write = written.append  # type: ignore[method-assign]  # all in one packet
    client.send(**messages[action], ref=1)
    client.close()
    write(b"".join(written))
    await _ends_with_a_close(client)
    client = await hub.opened(subprotocol)
    write, client.write = client.write, written.append  # type: ignore[method-assign]
    written.clear()
    client.send(**messages[action], ref=1)
    write(b"".join(written) + masked(TEXT, b"", reserved=7))
    await _ends_with_a_close(client)


async def _ends_with_a_close(client: Client, hangs_up: bool = False) -> None:
    opcodes = []
    if hangs_up:
        client.writer.write_eof()
    while (frame := await client.frame()) is not None:
        opcodes.append(frame.opcode)
    assert opcodes[-1] == CLOSE and opcodes.count(CLOSE) == 1, opcodes
    assert not client.was_reset


async def test_nor_what_had_to_wait(hub: LiveHub) -> None:
    broker = hub.slow_broker()
    client = await hub.opened(JSON)
    client.send(action="publish", to="user:42", notification={"type": "x"}, ref=1)
    await eventually(lambda: broker.asked)
    await hub.call("POST", "/api/users/42/revoke")
    broker.go.set()
    await eventually(lambda: not hub.tasks._running)
    await _ends_with_a_close(client, hangs_up=True)


async def test_what_comes_behind_a_close_is_ignored(hub: LiveHub) -> None:
    listener = await hub.opened(JSON, "7")
    client = await hub.opened(JSON)
    publish = {"action": "publish", "to": "user:7", "notification": {"type": "x"}}
    client.write(masked(CLOSE, b"\x03\xe8") + masked(TEXT, json.dumps(publish).encode()))
    assert await client.closed() == 1000
    await eventually(lambda: len(hub.hub.registry.connections) == 1)
    assert await listener.messages() == []


async def test_when_the_hub_closes_what_still_comes_in_is_not_done(hub: LiveHub) -> None:
    listener = await hub.opened(JSON, "7")
    client = await hub.opened(JSON)
    await hub.call("POST", "/api/users/42/revoke")
    client.send(action="publish", to="user:7", notification={"type": "x"}, ref=1)
    client.write(masked(PING, b"x"))
    assert await client.closed() == 4507
    assert [frame["hub"] for frame in client.frames] == ["disconnect"]
    assert await client.frame() is None
    assert await listener.messages() == []


async def test_whoever_doesnt_answer_the_hubs_close_is_cut(hub: LiveHub) -> None:
    client = await hub.opened(None)
    await hub.call("POST", "/api/users/42/revoke")
    frame = await client.frame()
    assert frame is not None and frame.opcode == CLOSE
    hub.let_pass(4.9)
    assert hub.left_over()["leaving"]
    hub.let_pass(0.2)
    await eventually(hub.is_empty)
    assert await client.closed() == ABNORMAL


async def test_what_was_owed_comes_before_the_close(hub: LiveHub) -> None:
    client = await hub.opened(JSON)
    for n in range(5):
        await hub.publish("user:42", n=n)
    await hub.call("POST", "/api/users/42/revoke")
    assert await client.closed() == 4507
    assert [frame.get("n", frame.get("hub")) for frame in client.frames] == [0, 1, 2, 3, 4, "disconnect"]
