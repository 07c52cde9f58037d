"""The clients' decoders: however the bytes are cut, they say the same."""

from random import Random
from typing import Any

import msgpack
import pytest

from tests.model.wires import Answer, Answers, At, Control, Decoder, Events, Frames, Opened, Told

NOTIFICATION = {"type": "x", "title": "n\u00e4\u2028", "cursor": "e-2"}
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    b"retry: 1500\nid: e-1\n\n"
    b'event: hub\ndata: {"hub":"welcome"}\n\n'
    b":\nid: e-1\n\n"
    b'id: e-2\r\ndata: {"type":"x",\r\ndata:"title":"n\xc3\xa4\xe2\x80\xa8","cursor":"e-2"}\r\n\r\n'
    b"id: e-3\ndata: {"  # cut here: it counts for nothing
)
HAS_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
REFUSED = b'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 16\r\n\r\n{"status":  503}'
LONG = b'{"body":"' + b"x" * 70_000 + b'"}'
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
PACKED = msgpack.packb({"hub": "ping"})
FRAMES = (
    SWITCHING
    + b"\x81\x0e"
    + b'{"hub":"ping"}'
    + (b"\x82" + bytes([len(PACKED)]) + PACKED)
    + (b"\x81\x7f" + len(LONG).to_bytes(8, "big") + LONG)
    + b"\x89\x01a\x88\x02\x0f\xa0"
)


def in_pieces(decoder: Decoder, data: bytes, random: Random) -> list[Any]:
    found = []
    while data:
        size = random.choice([1, 2, 7, 1000, len(data)])
        found += list(decoder.feed(data[:size]))
        data = data[size:]
    return found


@pytest.fixture(params=range(20))
def random(request: pytest.FixtureRequest) -> Random:
    return Random(request.param)


def test_events(random: Random) -> None:
    decoder = Events()
    opened, *rest = in_pieces(decoder, EVENTS, random)
    assert opened == Opened(200, {"content-type": "text/event-stream"}) and decoder.retry_ms == 1500
    assert rest == [At("e-1"), Told({"hub": "welcome"}), At("e-1"), Told(NOTIFICATION, "e-2")]


def test_an_event_under_the_wrong_name() -> None:
    with pytest.raises(AssertionError):
        list(Events().feed(b'HTTP/1.1 200 OK\r\n\r\ndata: {"hub":"gap"}\n\n'))


def test_frames(random: Random) -> None:
    opened, first, second, third, ping, close = in_pieces(Frames(), FRAMES, random)
    assert opened.status == 101
    assert (first, second) == (Told({"hub": "ping"}), Told({"hub": "ping"})) and len(third.frame["body"]) == 70_000
    assert isinstance(ping, Control) and not ping.is_close and isinstance(close, Control) and close.is_close


def test_answers(random: Random) -> None:
    data = HAS_LENGTH % (2, b"[]") + HAS_LENGTH % (0, b"") + REFUSED
    bodies = [(answer.status, answer.body) for answer in in_pieces(Answers(), data, random)]
    assert bodies == [(200, []), (200, None), (503, {"status": 503})]


@pytest.mark.parametrize("decoder", [Events, Frames])
def test_a_stream_that_is_refused(decoder: type[Events | Frames], random: Random) -> None:
    (answer,) = in_pieces(decoder(), REFUSED, random)
    assert isinstance(answer, Answer) and (answer.status, answer.headers["retry-after"]) == (503, "3")
