"""Heads of usual handshakes are read as aiohttp reads them; all others are left to it."""

import pytest
from yarl import URL

from hubd.edge.heads import HEAD_BYTES, read_head

USUAL = (
    b"GET /notifications%b HTTP/1.1\r\nHost: hub.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)


def usual(query: bytes = b"", more: bytes = b"") -> bytes:
    return USUAL % (query, more)


def test_headers_are_found_whatever_their_case() -> None:
    head = read_head(usual(more=b"AUTHORIZATION:  Bearer a.b.c \r\n"))
    assert head is not None
    assert head.method == "GET"
    assert head.headers.get("authorization") == "Bearer a.b.c"
    assert head.headers.getall("Authorization", []) == ["Bearer a.b.c"]
    assert head.headers.get("Origin") is None
    assert head.headers.get("Origin", "none") == "none"
    assert head.headers.getall("Origin", []) == []


@pytest.mark.parametrize(
    "query",
    [
        b"", b"?a=1", b"?topics=team:engineering,news&cursor=aqoz64w5jp-1043&acks=1", b"?a=", b"?a=%C3%A9&b=%zz",
        b"?topics=team%3Aengineering", b"?a=1+2", b"?a=1&a=2%20", b"?a;b=1", b"?a=b=c", b"?token=eyJ.a_-.b",
    ],
)  # fmt: skip
def test_queries_are_what_aiohttp_makes_of_them(query: bytes) -> None:
    head = read_head(usual(query))
    assert head is not None
    expected = URL.build(path="/notifications", query_string=query[1:].decode(), encoded=True).query
    assert {name: head.query.get(name) for name in head.query} == {name: expected.get(name) for name in expected}


def test_cookies_are_found() -> None:
    head = read_head(usual(more=b"Cookie: theme=dark; hubd_token=a-_.b.c; x=\r\n"))
    assert head is not None
    assert head.cookies == {"theme": "dark", "hubd_token": "a-_.b.c", "x": ""}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET",
        usual()[:-1],
        usual() + b"x",
        usual() + usual(),
        usual(b"x"),
        usual(b"/"),
        usual(b"?"),
        usual(b"#a"),
        usual(b"?a=1#b"),
        usual(b"?a b"),
        usual(b"?a=\xc3\xa9"),
        usual(b"?a=1&a=2"),
        usual(b"?a"),
        usual(b"?a&b=1"),
        usual().replace(b"GET", b"POST"),
        usual().replace(b"1.1", b"1.0"),
        usual().replace(b"/notifications HTTP", b"/notifications  HTTP"),
        usual().replace(b"Host: hub.example\r\n", b""),
        usual().replace(b"Upgrade: websocket\r\n", b""),
        usual().replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        usual().replace(b"\r\n", b"\n"),
        usual(more=b"Host: other\r\n"),
        usual(more=b"Content-Length: 0\r\n"),
        usual(more=b"Transfer-Encoding: chunked\r\n"),
        usual(more=b"Expect: 100-continue\r\n"),
        usual(more=b"No colon\r\n"),
        usual(more=b" folded: a\r\n"),
        usual(more=b"X : a\r\n"),
        usual(more=b": a\r\n"),
        usual(more=b"X: a\nY: b\r\n"),
        usual(more=b"X: a\rY: b\r\n"),
        usual(more=b"X: a\tb\r\n"),
        usual(more=b"X: \0\r\n"),
        usual(more=b"X: \xe9\r\n"),
        usual(more=b"X_Y: a\r\n"),
        usual(more=b'Cookie: a="b"\r\n'),
        usual(more=b"Cookie: a=b;c=d\r\n"),
        usual(more=b"Cookie: a=b; a=c\r\n"),
        usual(more=b"Cookie: \r\n"),
        usual(more=b"X: " + b"y" * HEAD_BYTES + b"\r\n"),
    ],
)
def test_whatever_is_unusual_is_left_to_aiohttp(data: bytes) -> None:
    assert read_head(data) is None
