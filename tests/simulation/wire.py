"""The bytes that clients and publishers write and read, by RFC 6455 and the protocol page; no code of the hub's."""

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
SECRET = "a secret that is long enough for HS256"
_KEY = base64.b64encode(b"sixteen bytes ok").decode()


class Answer(NamedTuple):
    """An answer to an HTTP request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def token(user: str, topics: tuple[str, ...], issued_at: int | None = None) -> str:
    """A user's token."""
    claims = {"sub": user, "exp": 9_000_000_000, "topics": list(topics), "publish": ["**"], "max_priority": "critical"}
    if issued_at is not None:
        claims["iat"] = issued_at
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_base64(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def request(method: str, target: str, bearer: str, body: Any = None) -> bytes:
    """An HTTP request, with a JSON body if there is one."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1:8080", f"Authorization: Bearer {bearer}"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def handshake(target: str, bearer: str, subprotocol: str) -> bytes:
    """What opens a WebSocket."""
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: 127.0.0.1:8080",
        f"Authorization: Bearer {bearer}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {_KEY}",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """A frame as a client sends it: masked, by a key that changes nothing."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size, 0, 0, 0, 0)) + payload
    return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size) + bytes(4) + payload


def action(fields: Mapping[str, Any]) -> bytes:
    """The frame of an action."""
    return frame(TEXT, json.dumps(fields).encode())


class Frames:
    """Reads the frames of a hub, as they come."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        data = self._left + data
        found, place, end = [], 0, len(data)
        while end - place >= 2:
            size, begin = data[place + 1], place + 2
            if size == 126:
                begin += 2
                size = int.from_bytes(data[place + 2 : begin], "big") if end >= begin else end
            elif size == 127:
                begin += 8
                size = int.from_bytes(data[place + 2 : begin], "big") if end >= begin else end
            if begin + size > end:
                break
            found.append((data[place] & 0x0F, data[begin : begin + size]))
            place = begin + size
        self._left = data[place:]
        return found


class Answers:
    """Reads HTTP answers, as they come. ``rest`` is what came behind the last one that was asked for."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> Answer | None:
        """The next answer, if all of it is there."""
        self.rest += data
        head, end, behind = self.rest.partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(first.split(" ")[1])
        size = int(headers.get("content-length", "0"))
        if status != 101 and len(behind) < size:
            return None
        self.rest = behind[size:] if status != 101 else behind
        return Answer(status, headers, behind[:size] if status != 101 else b"")
