"""The load client of the benchmarks finds what a server does wrong, in every protocol that it speaks."""

import asyncio
import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CLIENT = Path(__file__).parents[2] / "bench" / "native" / "client.c"
CONNECTIONS = 3
WRONG = 2
"""The connection to which things are done wrong."""
BROADCASTS = 8
BODY_BYTES = 300
Faulty = Callable[[int, bytes], list[bytes]]
"""What becomes of the k-th message for that connection."""


class Protocol(NamedTuple):
    """What a server of one protocol does: how it greets, what it answers in a handshake, how it sends a message."""

    opcode: int
    hello: list[bytes]
    answers: list[tuple[bytes, bytes]]
    wrap: Callable[[bytes], bytes]


def mqtt_packet(content: bytes) -> bytes:
    rest = b"\0\4news" + content
    return bytes([0x30, 0x80 | len(rest) & 127, len(rest) >> 7]) + rest


PROTOCOLS = {
    "plain": Protocol(1, [], [], lambda content: content),
    "socketio": Protocol(1, [b"0{}"], [(b"40", b'40{"sid":"x"}')], lambda content: b'42["news",' + content + b"]"),
    "nats": Protocol(
        2,
        [b"INFO {}\r\n", b"PING\r\n"],
        [(b"PING\r\n", b"PONG\r\n")],
        lambda content: b"MSG news 1 %d\r\n%b\r\n" % (len(content), content),
    ),
    "mqtt": Protocol(2, [], [(b"\x10\x0c", b"\x20\2\0\0"), (b"\0\4news\0", b"\x90\3\0\1\0")], mqtt_packet),
}


class Server:
    """A tiny server of one protocol, which treats one connection as ``faulty`` says; publishers post or just send."""

    def __init__(self, protocol: Protocol, faulty: Faulty, cut: int) -> None:
        self.protocol = protocol
        self.faulty = faulty
        self.cut = cut
        self.clients: list[asyncio.StreamWriter] = []
        self.messages = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET "):
                    await self.handshake(head, reader, writer)
                else:
                    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                    self.broadcast(await reader.readexactly(length))
                    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def publisher(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes the contents out of whatever is around them."""
        while data := await reader.read(65536):
            for part in data.split(b"{")[1:]:
                if b"bench" in part:
                    self.broadcast(b"{" + part[: part.rindex(b"}") + 1])
        writer.close()

    async def handshake(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = head.partition(b"Sec-WebSocket-Key: ")[2].split()[0]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        for hello in self.protocol.hello:
            self.send(writer, hello)
        self.clients.append(writer)
        while data := await reader.read(65536):
            for question, answer in self.protocol.answers:
                if question in data:
                    self.send(writer, answer)

    def broadcast(self, content: bytes) -> None:
        number, self.messages = self.messages, self.messages + 1
        for place, client in enumerate(self.clients):
            for each in self.faulty(number, content) if place == WRONG else [content]:
                message = self.protocol.wrap(each)
                if self.protocol.opcode == 2:  # a stream, of which a frame may be any part
                    self.send(client, message[: self.cut])
                    message = message[self.cut :]
                self.send(client, message)

    def send(self, client: asyncio.StreamWriter, payload: bytes) -> None:
        head = bytes([0x80 | self.protocol.opcode])
        head += bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2)
        client.write(head + payload)


def fine(_: int, content: bytes) -> list[bytes]:
    return [content]


def lost(number: int, content: bytes) -> list[bytes]:
    return [] if number == 3 else [content]


def lost_at_the_end(number: int, content: bytes) -> list[bytes]:
    return [] if number == BROADCASTS - 1 else [content]


def doubled(number: int, content: bytes) -> list[bytes]:
    return [content, content] if number == 3 else [content]


def doubled_at_the_end(number: int, content: bytes) -> list[bytes]:
    return [content, content] if number == BROADCASTS - 1 else [content]


def changed(number: int, content: bytes) -> list[bytes]:
    return [content[:-9] + b"!" + content[-8:]] if number == 3 else [content]


def shortened(number: int, content: bytes) -> list[bytes]:
    return [content[:-9] + content[-8:]] if number == 3 else [content]


def foreign(number: int, content: bytes) -> list[bytes]:
    return [content, b'{"type":"other"}'] if number == 3 else [content]


class Reordered:
    """The third comes after the fourth."""

    def __init__(self) -> None:
        self.held: bytes = b""

    def __call__(self, number: int, content: bytes) -> list[bytes]:
        if number == 3:
            self.held = content
            return []
        return [content, self.held] if number == 4 else [content]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The program, less patient than when it measures."""
    if shutil.which("cc") is None:
        pytest.fail("a C compiler is needed. On Debian: apt-get install gcc libc6-dev")
    program = tmp_path_factory.mktemp("client") / "client"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-DSILENCE_S=0.5", "-o", str(program), str(CLIENT)]
    subprocess.run(command, check=True)
    yield program


async def run(
    program: Path, protocol: str, faulty: Faulty, window: int = 4, cut: int = 7
) -> tuple[dict[str, Any], str]:
    """The client's report of a run, with what it complained of."""
    server = Server(PROTOCOLS[protocol], faulty, cut)
    async with (
        await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener,
        await asyncio.start_server(server.publisher, "127.0.0.1", 0) as publishing,
    ):
        is_stream = PROTOCOLS[protocol].opcode == 2
        ports = [each.sockets[0].getsockname()[1] for each in (listener, publishing if is_stream else listener)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        process = await asyncio.create_subprocess_exec(
            str(program), protocol, *map(str, ports), str(CONNECTIONS), **pipes
        )
        assert process.stdin is not None and process.stdout is not None
        assert json.loads(await process.stdout.readline()) == {"connected": CONNECTIONS}
        process.stdin.write(f"run {BROADCASTS} {window} {BODY_BYTES}\n".encode())
        output = await process.stdout.readline()
        _, errors = await process.communicate(b"")  # ends its input: it has nothing more to do
        assert process.returncode == (1 if errors else 0)
        return json.loads(output or "{}"), errors.decode(errors="replace")


@pytest.mark.parametrize("cut", [1, 7, 200])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_is_right_is_measured(client: Path, protocol: str, cut: int) -> None:
    report, complaint = await run(client, protocol, fine, cut=cut)
    assert not complaint
    assert (report["broadcasts"], report["deliveries"]) == (BROADCASTS, BROADCASTS * CONNECTIONS)
    assert report["payload_bytes"] > BODY_BYTES


UNLIKE = "lost, doubled, reordered or changed"
FAULTS: dict[str, tuple[Callable[[], Faulty], str]] = {
    # The wrong connection may also be the first to get something, and the server's third may be any of those under way.
    "lost": (lambda: lost, UNLIKE),
    "lost at the end": (lambda: lost_at_the_end, "lost: nothing came for"),
    "doubled": (lambda: doubled, rf"{UNLIKE}|broadcast \d came twice"),
    "doubled at the end": (lambda: doubled_at_the_end, "connection 2 got a message too many"),
    "reordered": (Reordered, UNLIKE),
    "changed": (lambda: changed, f"{UNLIKE}|not what was published"),
    "shortened": (lambda: shortened, f"{UNLIKE}|not what was published"),
    "foreign": (lambda: foreign, f"{UNLIKE}|not a broadcast"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_one_fault_on_one_connection_ends_it(client: Path, protocol: str, fault: str) -> None:
    make, expected = FAULTS[fault]
    report, complaint = await run(client, protocol, make())
    assert re.match(f"FAILED: .*({expected})", complaint)
    assert not report


async def test_what_is_wrong_for_everybody_is_found_by_its_content(client: Path) -> None:
    class Changing(Server):
        def broadcast(self, content: bytes) -> None:
            super().broadcast(content.replace(b"c", b"x") if self.messages == 3 else content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "Server", Changing)
        _, complaint = await run(client, "plain", fine)
    assert "not what was published" in complaint or "not a broadcast" in complaint


async def test_an_old_one_for_everybody_is_found(client: Path) -> None:
    class Repeating(Server):
        def broadcast(self, content: bytes) -> None:
            super().broadcast(content)
            if self.messages == 4:
                super().broadcast(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "Server", Repeating)
        _, complaint = await run(client, "plain", fine)
    assert "came twice" in complaint
