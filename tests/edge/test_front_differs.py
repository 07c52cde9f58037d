"""Whatever bytes come first, with the front or without it: the same answer and the same first frames."""

import asyncio
import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from hubd.edge import front
from tests.edge.live_hub import LISTED_ORIGIN, OWN_ORIGIN, LiveHub, config_of
from tests.edge.raw_http import Raw

SEED = 7
MUTATED = 250
AT_ONCE = 25
QUIET_S = 0.25
"""So long without bytes, and nothing more comes."""
Lines = list[bytes]


def usual(hub: LiveHub, query: str = "", *more: str, token: str | None = None) -> bytes:
    """A handshake as browsers and libraries send it."""
    lines = [
        f"GET /notifications{query} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {hub.token() if token is None else token}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


QUERIES = (
    "?topics=news",
    "?topics=news,orders:7",
    "?topics=a%2Cb",
    "?topics=a+b",
    "?topics=news&topics=other",
    "?topics",
    "?",
    "?&",
    "?=x",
    "?topics=news;acks=1",
    "?acks=1&topics=news",
    "?cursor=",
    "?cursor=nonsense",
    "?cursor=zzzzzzzzzz-3",
    "?cursor=%00",
    "?topics=*",
    "?topics=%ff",
    "?topics=news#part",
    "?ticket=unknown",
    "?token=unknown",
    "?wait=1",
    "/",
    "//",
    "/x",
    "?topics=" + ",".join(f"t{n}" for n in range(150)),
    "?topics=" + "x" * 9000,
)
HEADERS = (
    f"Origin: {OWN_ORIGIN}",
    f"Origin: {LISTED_ORIGIN}",
    "Origin: https://evil.example",
    "Origin: null",
    "Host: evil.example",
    "host: 127.0.0.1",
    "Expect: 100-continue",
    "Content-Length: 0",
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "Upgrade: h2c",
    "Sec-WebSocket-Protocol: hubd.v1.json",
    "Sec-WebSocket-Protocol: hubd.v1.msgpack, hubd.v1.json",
    "Sec-WebSocket-Protocol: unknown",
    "Sec-WebSocket-Protocol:",
    "Sec-WebSocket-Extensions: permessage-deflate",
    "Cookie: a=b; hubd_token=nonsense",
    'Cookie: a="b"; c=d',
    "Cookie: ;;;",
    "X-Forwarded-For: 9.9.9.9",
    "Forwarded: for=9.9.9.9",
    "Authorization: Bearer twice",
    "X_Under: score",
    "X-Tab:\tvalue\t",
    "X-Empty:",
    "X-Long: " + "x" * 9000,
    "No colon",
    " folded: line",
    "X-Bad\x00: y",
    "X-Latin: caf\xe9",
)


def given(hub: LiveHub) -> list[bytes]:
    """Those that are written by hand."""
    mistaken = {
        "expired": hub.token(exp=hub.clock.now() - 100),
        "other secret": hub.token(secret="x" * 32),
        "no user": hub.token(user=""),
        "few topics": hub.token(topics=["news"]),
        "none": "",
        "nonsense": "a.b.c",
    }
    plain = usual(hub)
    return [
        *(usual(hub, query) for query in QUERIES),
        *(usual(hub, "?topics=news", header) for header in HEADERS),
        *(usual(hub, "?topics=news,other", token=token) for token in mistaken.values()),
        *(usual(hub, query, "Sec-WebSocket-Protocol: hubd.v1.json") for query in QUERIES),
        plain.replace(b"HTTP/1.1", b"HTTP/1.0"),
        plain.replace(b"GET", b"get"),
        plain.replace(b"GET", b"POST"),
        plain.replace(b"\r\n", b"\n"),
        plain.replace(b"/notifications", b"/%6eotifications"),
        plain.replace(b"/notifications", b"http://127.0.0.1/notifications"),
        plain.replace(b"Host: 127.0.0.1\r\n", b""),
        plain.replace(b"websocket", b"WebSocket"),
        plain.replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"),
        plain.replace(b"Connection: Upgrade", b"Connection: keep-alive"),
        plain.replace(b": 13", b": 8"),
        plain.replace(b"bXBsZ", b"b"),
        plain + b"\x89\x80\0\0\0\0",
        plain + plain,
        b"\r\n" + plain,
        *(usual(hub, "", *[f"X-{n}: y" for n in range(count)]) for count in (90, 99, 125, 130)),
    ]


def drop(lines: Lines, random: Random) -> None:
    """A line less."""
    del lines[random.randrange(len(lines))]


def double(lines: Lines, random: Random) -> None:
    """One twice."""
    lines.insert(random.randrange(1, len(lines)), random.choice(lines))


def swap(lines: Lines, random: Random) -> None:
    """In another order."""
    head = lines.pop(0)
    random.shuffle(lines)
    lines.insert(0, head)


def change_case(lines: Lines, random: Random) -> None:
    """Names in another case."""
    place = random.randrange(len(lines))
    name, colon, value = lines[place].partition(b":")
    lines[place] = name.swapcase() + colon + value


def change_byte(lines: Lines, random: Random) -> None:
    """Something else for one byte."""
    place = random.randrange(len(lines))
    if line := bytearray(lines[place]):
        line[random.randrange(len(line))] = random.choice(b"\t \0:;,=%\"'\\\x7f\xe9aZ0/?&#")
        lines[place] = bytes(line)


def add_space(lines: Lines, random: Random) -> None:
    """White space where there may be some, or not."""
    place = random.randrange(len(lines))
    lines[place] = lines[place].replace(b":", random.choice((b":", b" :", b":  ", b":\t")), 1) + random.choice(
        (b"", b" ")
    )


def add_header(lines: Lines, random: Random) -> None:
    """One more header."""
    lines.append(random.choice(HEADERS).encode("latin-1"))


CHANGES: tuple[Callable[[Lines, Random], None], ...] = (
    drop,
    double,
    swap,
    change_case,
    change_byte,
    add_space,
    add_header,
)


def mutated(hub: LiveHub, random: Random) -> bytes:
    """A usual one with one to three changes."""
    query = random.choice(QUERIES) if random.random() < 0.3 else "?topics=news"
    more = ("Sec-WebSocket-Protocol: hubd.v1.json",) if random.random() < 0.5 else ()
    lines = usual(hub, query, *more).removesuffix(b"\r\n\r\n").split(b"\r\n")
    for _ in range(random.randint(1, 3)):
        if len(lines) > 1:
            random.choice(CHANGES)(lines, random)
    return b"\r\n".join([*lines, b"", b""])


async def answered(hub: LiveHub, data: bytes) -> bytes:
    """All that comes back for some bytes, but for what is never the same."""
    raw = await Raw.open(hub, data)
    found = b""
    try:
        while part := await asyncio.wait_for(raw.reader.read(1 << 16), QUIET_S):
            found += part
        found += b"<end>"
    except TimeoutError:
        pass
    except ConnectionError:
        found += b"<reset>"
    raw.close()
    found = re.sub(rb"Date: [^\r]*", b"Date", found)
    return re.sub(rb"[0-9a-f]{24}", b"id", found)


async def answers(hub: LiveHub, heads: list[bytes]) -> list[bytes]:
    """To each, some at a time."""
    found: list[bytes] = []
    for start in range(0, len(heads), AT_ONCE):
        found += await asyncio.gather(*(answered(hub, head) for head in heads[start : start + AT_ONCE]))
    return found


async def test_the_front_answers_as_aiohttp_does(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = await LiveHub(config_of(limits={"per_user": 0, "per_ip": 0}, auth={"query_token": True})).start()
    random = Random(SEED)
    heads = given(hub) + [mutated(hub, random) for _ in range(MUTATED)]
    opened = 0
    plain = front.open_at_once

    def counting(*args: Any) -> bool:
        nonlocal opened
        opened += (done := plain(*args))
        return done

    monkeypatch.setattr(front, "open_at_once", counting)
    with_front = await answers(hub, heads)
    monkeypatch.setattr(front, "open_at_once", lambda *args: False)
    without = await answers(hub, heads)
    for head, one, other in zip(heads, with_front, without, strict=True):
        assert one == other, head
    assert opened > len(heads) / 5
    assert sum(answer.startswith(b"HTTP/1.1 101 ") for answer in without) >= opened
    await hub.stop()
