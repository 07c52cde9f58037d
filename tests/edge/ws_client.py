"""A WebSocket client written from RFC 6455 and the protocol page alone: it shares no code with the hub.

It can do what a browser can't: bad frames, bytes in odd pieces, no pong, a reset instead of a close.
"""

import asyncio
import base64
import hashlib
import json
import os
import socket
import struct
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import msgpack

JSON = "hubd.v1.json"
MSGPACK = "hubd.v1.msgpack"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
ABNORMAL = 1006
NO_CODE = 1005
PATIENCE_S = 10.0
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Message = dict[str, Any]


class Frame(NamedTuple):
    """A frame from the hub."""

    opcode: int
    payload: bytes


class Refused(Exception):
    """The handshake was answered by something else than 101."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.headers = headers
        self.problem: Message = json.loads(body) if body else {}

    @property
    def code(self) -> str:
        """The problem's code."""
        return str(self.problem["code"])


def masked(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, mask: bool = True) -> bytes:
    """A frame as a client sends it."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, bit | len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, bit | 127, len(payload))
    if not mask:
        return head + payload
    key = os.urandom(4)
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + key + hidden.to_bytes(len(payload), "big")


def handshake(host: str, port: int, headers: dict[str, str], query: dict[str, str], path: str) -> tuple[bytes, str]:
    """The bytes of a handshake request, and the key in it."""
    key = base64.b64encode(os.urandom(16)).decode()
    given = {
        "Host": f"{host}:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    } | headers
    target = f"{path}?{urlencode(query)}" if query else path
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode(), key


def done(reply: Message) -> Message:
    """What the reply to an action that was done adds to what all replies have."""
    assert (reply["hub"], reply["ok"]) == ("reply", True), reply
    return {name: value for name, value in reply.items() if name not in ("hub", "ref", "ok")}


def reset(writer: asyncio.StreamWriter) -> None:
    """End a TCP connection by a RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Client:
    """One WebSocket. ``headers`` are those of the hub's 101."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.headers: dict[str, str] = {}
        self.subprotocol: str | None = None
        self.frames: list[Message] = []  # what came before something that was waited for
        self.close_reason = ""
        self.was_reset = False
        self._refs = 0

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        subprotocol: str | None = None,
        behind: bytes = b"",
        path: str = "/notifications",
        receive_buffer: int = 0,
        from_address: str | None = None,
    ) -> Self:
        """Connect; ``behind`` goes out in one packet with the request. ``Refused`` unless the answer is a 101."""
        sock = socket.socket(proto=socket.IPPROTO_TCP)  # with a protocol asyncio turns Nagle's delay off
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if from_address:
            sock.bind((from_address, 0))
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException:
            sock.close()
            raise
        limit = 65536 if not receive_buffer else 1024
        client = cls(*await asyncio.open_connection(sock=sock, limit=limit))
        given = dict(headers or {})
        if subprotocol:
            given["Sec-WebSocket-Protocol"] = subprotocol
        request, key = handshake(host, port, given, query or {}, path)
        client.writer.write(request + behind)
        try:
            await client._read_head(key)
        except BaseException:
            client.writer.close()
            raise
        return client

    async def _read_head(self, key: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.split("\r\n")[:-2]
            self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            number = int(status.split()[1])
            if number != 101:
                body = await self.reader.readexactly(int(self.headers.get("content-length", "0")))
                raise Refused(number, self.headers, body)
        accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
        assert self.headers["sec-websocket-accept"] == accept
        assert self.headers["upgrade"].lower() == "websocket"
        assert self.headers["connection"].lower() == "upgrade"
        self.subprotocol = self.headers.get("sec-websocket-protocol")

    # Out

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    def send(self, **message: Any) -> None:
        """A message in the wire form of the subprotocol."""
        self.send_value(message)

    def send_value(self, value: Any) -> None:
        """Any value as a message."""
        if self.subprotocol == MSGPACK:
            self.write(masked(BINARY, msgpack.packb(value)))
        else:
            self.write(masked(TEXT, json.dumps(value).encode()))

    def send_text(self, text: str) -> None:
        """A text message as it is."""
        self.write(masked(TEXT, text.encode()))

    def close(self, code: int = 1000) -> None:
        """Send a close frame."""
        self.write(masked(CLOSE, struct.pack("!H", code)))

    def hang_up(self) -> None:
        """Close the TCP connection (FIN), without a close frame."""
        self.writer.close()

    def reset(self) -> None:
        """End the TCP connection by a RST."""
        reset(self.writer)

    # In

    async def frame(self) -> Frame | None:
        """The next frame of any kind; None at the connection's end."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                first, second = await self.reader.readexactly(2)
                assert not second & 0x80, "a server's frames are not masked"
                assert first & 0x80, "the hub doesn't fragment"
                assert not first & 0x70, "no extension was negotiated"
                size = second & 0x7F
                if size == 126:
                    (size,) = struct.unpack("!H", await self.reader.readexactly(2))
                elif size == 127:
                    (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
                return Frame(first & 0x0F, await self.reader.readexactly(size))
        except asyncio.IncompleteReadError:
            return None
        except ConnectionError:
            self.was_reset = True
            return None

    def decode(self, frame: Frame) -> Message:
        """The message in a data frame, which must be of the subprotocol's kind."""
        if self.subprotocol == MSGPACK:
            assert frame.opcode == BINARY
            message = msgpack.unpackb(frame.payload)
        else:
            assert frame.opcode == TEXT
            message = json.loads(frame.payload)
        assert isinstance(message, dict)
        return message

    async def next(self) -> Message:
        """The next message; the connection must not end before."""
        if self.frames:
            return self.frames.pop(0)
        return await self._read()

    async def _read(self) -> Message:
        while (frame := await self.frame()) is not None:
            if frame.opcode == CLOSE:
                raise AssertionError(f"closed with {frame.payload!r}")
            if frame.opcode in (TEXT, BINARY):
                return self.decode(frame)
        raise AssertionError("the connection ended")

    async def messages(self) -> list[Message]:
        """All messages until now: everything that the hub has sent before it answers a ping of ours."""
        mark = os.urandom(8)
        self.write(masked(PING, mark))
        found, self.frames = self.frames, []
        while (frame := await self.frame()) is not None:
            if frame == Frame(PONG, mark):
                return found
            if frame.opcode == CLOSE:
                raise AssertionError(f"closed with {frame.payload!r} after {found}")
            if frame.opcode in (TEXT, BINARY):
                found.append(self.decode(frame))
        raise AssertionError(f"the connection ended after {found}")

    async def notifications(self) -> list[Message]:
        """The notifications among the messages until now."""
        return [message for message in await self.messages() if "hub" not in message]

    async def ask(self, action: str, **fields: Any) -> Message:
        """Do an action with a ``ref`` and wait for its reply; what comes before is kept for later."""
        self._refs += 1
        ref = f"ref-{self._refs}"
        self.send(action=action, ref=ref, **fields)
        while True:
            message = await self._read()
            if message.get("hub") == "reply" and message["ref"] == ref:
                return message
            self.frames.append(message)

    async def refused(self, action: str, **fields: Any) -> Message:
        """Do an action that is refused: the reply's ``error``."""
        reply = await self.ask(action, **fields)
        assert reply["ok"] is False, reply
        assert set(reply) == {"hub", "ref", "ok", "error"}
        error: Message = reply["error"]
        assert isinstance(error["message"], str) and error["message"]
        return error

    async def closed(self) -> int:
        """Wait for the end: the close code, 1006 without a close frame. Messages before it are kept."""
        while (frame := await self.frame()) is not None:
            if frame.opcode == CLOSE:
                self.close_reason = frame.payload[2:].decode()
                self.write(masked(CLOSE, frame.payload[:2]))
                return int.from_bytes(frame.payload[:2], "big") if frame.payload else NO_CODE
            if frame.opcode in (TEXT, BINARY):
                self.frames.append(self.decode(frame))
        return ABNORMAL
