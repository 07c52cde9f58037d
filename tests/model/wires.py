"""The client's side of the three transports, without I/O: requests as bytes, and what the hub's bytes say.

Written from docs/protocol.md, RFC 6455 and the WHATWG's "Server-sent events" alone: it shares no code with the hub.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import msgpack
import orjson

from tests.edge.ws_client import BINARY, CLOSE, PING, PONG, TEXT, handshake, masked

Frame = dict[str, Any]
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")


class Opened(NamedTuple):
    """The head of an answer: the stream begins behind it; whatever else than 101 or 200 has a body and ends."""

    status: int
    headers: dict[str, str]


class Told(NamedTuple):
    """A notification or a control frame; ``cursor``: where an SSE stream stands behind it."""

    frame: Frame
    cursor: str | None = None


class At(NamedTuple):
    """An SSE stream says where it stands."""

    cursor: str


class Answer(NamedTuple):
    """The answer to a request, with its decoded body."""

    status: int
    headers: dict[str, str]
    body: Any


class Control(NamedTuple):
    """A ping or a close frame of WebSocket; ``reply`` is what a client sends back."""

    is_close: bool
    reply: bytes


class Decoder(Protocol):
    """Takes what comes in, and says what it means."""

    def feed(self, data: bytes) -> Iterator[Any]: ...


class _Bytes:
    """What has come in and hasn't been understood yet."""

    def __init__(self) -> None:
        self._data = bytearray()

    def put(self, data: bytes) -> None:
        self._data += data

    def take(self, size: int) -> bytes | None:
        """So many bytes from the front, if there are as many."""
        if len(self._data) < size:
            return None
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def peek(self, size: int) -> bytes | None:
        return bytes(self._data[:size]) if len(self._data) >= size else None

    def head(self) -> Opened | None:
        """The head of an HTTP answer, if it is complete."""
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return None
        status, *lines = self.take(end + 4).decode().split("\r\n")[:-2]  # type: ignore[union-attr]  # it is there
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return Opened(int(status.split()[1]), headers)

    def line(self) -> str | None:
        """A line of an event stream; a carriage return at the end may be half of a line's end, so it waits."""
        found = _LINE_END.search(self._data)
        if found is not None:
            return self.take(found.end())[: found.start()].decode()  # type: ignore[index]  # it is there
        return None


class Answers:
    """HTTP answers with a length, one after the other."""

    def __init__(self) -> None:
        self._bytes = _Bytes()
        self._head: Opened | None = None

    def feed(self, data: bytes) -> Iterator[Answer]:
        self._bytes.put(data)
        while True:
            self._head = self._head or self._bytes.head()
            if self._head is None:
                return
            body = self._bytes.take(int(self._head.headers["content-length"]))
            if body is None:
                return
            head, self._head = self._head, None
            yield Answer(head.status, head.headers, orjson.loads(body) if body else None)


class _Stream:
    """What begins with a head: a refusal is one answer with a body, and nothing else."""

    expected: int

    def __init__(self) -> None:
        self._bytes = _Bytes()
        self._head: Opened | None = None

    def feed(self, data: bytes) -> Iterator[Any]:
        self._bytes.put(data)
        if self._head is None:
            self._head = self._bytes.head()
            if self._head is None:
                return
            if self._head.status == self.expected:
                yield self._head
        if self._head.status == self.expected:
            yield from self._items()
        elif (body := self._bytes.take(int(self._head.headers.get("content-length", "0")))) is not None:
            yield Answer(self._head.status, self._head.headers, orjson.loads(body) if body else None)

    def _items(self) -> Iterator[Any]:
        raise NotImplementedError


class Frames(_Stream):
    """A WebSocket's frames."""

    expected = 101

    def _items(self) -> Iterator[Told | Control]:
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                yield Told(orjson.loads(payload))
            elif opcode == BINARY:
                yield Told(msgpack.unpackb(payload))
            elif opcode == PING:
                yield Control(False, masked(PONG, payload))
            elif opcode == CLOSE:
                yield Control(True, masked(CLOSE, payload[:2]))

    def _frame(self) -> tuple[int, bytes] | None:
        head, size = 2, 0
        start = self._bytes.peek(head)
        if start is None:
            return None
        size = start[1] & 0x7F
        if size >= 126:
            head = 4 if size == 126 else 10
            start = self._bytes.peek(head)
            if start is None:
                return None
            (size,) = struct.unpack("!H" if head == 4 else "!Q", start[2:])
        data = self._bytes.take(head + size)
        return None if data is None else (start[0] & 0x0F, data[head:])


class Events(_Stream):
    """Server-sent events, as a browser's EventSource reads them: it keeps the last id that a blank line followed."""

    expected = 200

    def __init__(self) -> None:
        super().__init__()
        self.retry_ms: int | None = None
        self._id: str | None = None
        self._fields: dict[str, list[str]] = {}

    def _items(self) -> Iterator[Told | At]:
        while (line := self._bytes.line()) is not None:
            if not line:
                yield from self._dispatch()
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id" and "\0" not in value:
                self._id = value
            elif name == "retry" and value.isdigit():
                self.retry_ms = int(value)
            elif name in ("event", "data"):
                self._fields.setdefault(name, []).append(value)

    def _dispatch(self) -> Iterator[Told | At]:
        fields, self._fields, at, self._id = self._fields, {}, self._id, None
        if "data" not in fields:
            if at is not None:
                yield At(at)
            return
        frame = orjson.loads("\n".join(fields["data"]))
        if (fields.get("event") == ["hub"]) is not ("hub" in frame):
            raise AssertionError(f"the event {fields.get('event')} brings {frame}")
        yield Told(frame, at)


# Requests


def websocket_request(port: int, query: Mapping[str, str], *protocols: str, headers: Mapping[str, str] = {}) -> bytes:
    """The handshake."""
    offered = {"Sec-WebSocket-Protocol": ", ".join(protocols)} if protocols else {}
    request, _ = handshake("127.0.0.1", port, {**headers, **offered}, dict(query), "/notifications")
    return request


def stream_request(port: int, query: Mapping[str, str], last_id: str | None, headers: Mapping[str, str] = {}) -> bytes:
    """For an event stream; ``last_id`` goes into the header, as a browser that reconnects does it."""
    more = {**headers, "Accept": "text/event-stream"} | ({} if last_id is None else {"Last-Event-ID": last_id})
    return get_request(port, query, more)


def get_request(port: int, query: Mapping[str, str], headers: Mapping[str, str] = {}) -> bytes:
    """For a poll."""
    target = "/notifications" + (f"?{urlencode(query)}" if query else "")
    return _request("GET", target, port, headers)


def post_request(port: int, target: str, body: Any, headers: Mapping[str, str] = {}) -> bytes:
    """A call with a JSON body."""
    data = orjson.dumps(body)
    return _request("POST", target, port, {**headers, "Content-Length": str(len(data))}) + data


def _request(method: str, target: str, port: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{n}: {v}" for n, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def action(packed: bool, message: Frame) -> bytes:
    """An action of a WebSocket's client."""
    return masked(BINARY, msgpack.packb(message)) if packed else masked(TEXT, orjson.dumps(message))


DECODERS: dict[str, Callable[[], Decoder]] = {
    "plain": Frames,
    "json": Frames,
    "msgpack": Frames,
    "sse": Events,
    "poll": Answers,
}
"""Which one belongs to which wire."""
PROTOCOLS = {"json": ("hubd.v1.json",), "msgpack": ("hubd.v1.msgpack",)}
