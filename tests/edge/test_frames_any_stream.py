"""The frame reader, by its laws: for any stream, chopped in any way, and for any hostile bytes."""

import codecs
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.edge.frames import NO_STATUS, Close, Event, FrameReader, Message, Ping, Pong, Violation, close_frame

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = b"\x01\x80\xfe\x55"
LIMIT = 1000
SMALL_LIMIT = 64


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    key: bytes = KEY,
    reserved: int = 0,
    size: int | None = None,
) -> bytes:
    """A frame as a client sends it; `size` forces 0, 2 or 8 bytes of extended length."""
    if size is None:
        size = 0 if len(payload) < 126 else 2
    short = {0: len(payload), 2: 126, 8: 127}[size]
    extended = len(payload).to_bytes(size, "big") if size else b""
    masked = bytes(byte ^ mask for byte, mask in zip(payload, itertools.cycle(key), strict=False))
    return bytes((final << 7 | reserved | opcode, 0x80 | short)) + extended + key + masked


def bytewise(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def read(*pieces: bytes, limit: int = LIMIT) -> list[Event]:
    reader = FrameReader(limit)
    return [event for piece in pieces for event in reader.feed(piece)]


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- Any stream, chopped in any way

keys = st.binary(min_size=4, max_size=4)
data_messages = st.one_of(
    st.builds(lambda text: Message(True, text.encode()), st.text(max_size=60)),
    st.builds(Message, st.just(False), st.binary(max_size=200)),
)
control_events = st.one_of(
    st.builds(Ping, st.binary(max_size=125)),
    st.builds(Pong, st.binary(max_size=125)),
)


@dataclass
class Stream:
    """What a client sends, and what should come out."""

    sent: bytes
    events: list[Event]
    frames: int


def control_frame(event: Ping | Pong, key: bytes) -> bytes:
    return client_frame(PING if isinstance(event, Ping) else PONG, event.payload, key=key)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    frames: list[bytes] = []
    events: list[Event] = []
    for message in draw(st.lists(data_messages, max_size=5)):
        cuts = sorted(draw(st.lists(st.integers(0, len(message.payload)), max_size=4)))
        edges = [0, *cuts, len(message.payload)]
        opcode = TEXT if message.text else BINARY
        for number, (start, stop) in enumerate(itertools.pairwise(edges)):
            for event in draw(st.lists(control_events, max_size=2)):
                frames.append(control_frame(event, draw(keys)))
                events.append(event)
            final = number == len(edges) - 2
            size = draw(st.sampled_from([None, 2, 8]))
            payload = message.payload[start:stop]
            frames.append(client_frame(opcode, payload, final=final, key=draw(keys), size=size))
            opcode = CONTINUATION
        events.append(message)
    if draw(st.booleans()):
        frames.append(client_frame(CLOSE, b"\x0f\xa0bye"))
        events.append(Close(4000, "bye"))
    return Stream(b"".join(frames), events, len(frames))


def chopped(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


any_cuts = st.lists(st.integers(0, 1 << 16), max_size=40)


@given(streams(), any_cuts)
def test_any_stream_comes_out_the_same_however_it_is_chopped(stream: Stream, cuts: list[int]) -> None:
    reader = FrameReader(LIMIT)
    events: list[Event] = []
    frames = 0
    for piece in chopped(stream.sent, cuts):
        if reader.idle:
            reader = FrameReader(LIMIT)  # as an owner does who keeps none while the client is quiet
        events += reader.feed(piece)
        frames += reader.frames
    assert events == stream.events
    assert frames == stream.frames
    assert reader.idle == (not any(isinstance(event, Close) for event in events))


@given(streams(), st.integers(0, 1 << 16), st.integers(0, 255), any_cuts)
def test_a_damaged_stream_comes_out_the_same_however_it_is_chopped(
    stream: Stream, place: int, damage: int, cuts: list[int]
) -> None:
    damaged = bytearray(stream.sent or b"\x81\x80")
    damaged[place % len(damaged)] ^= damage
    assert read(*chopped(bytes(damaged), cuts)) == read(bytes(damaged))


# --- Hostile clients


def buffered(reader: FrameReader) -> int:
    """The bytes that a reader holds on to, in whichever of its slots."""
    held = [getattr(reader, name) for name in FrameReader.__slots__]
    return sum(len(value) for value in held if isinstance(value, bytes | bytearray))


@st.composite
def hostile_frames(draw: st.DrawFn) -> bytes:
    """Headers that mean something often enough to get the reader deep into its states, with arbitrary payloads."""
    opcode = draw(st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG, CLOSE, 3]))
    final = draw(st.booleans()) or opcode >= CLOSE
    payload = draw(st.one_of(st.binary(max_size=SMALL_LIMIT + 10), st.text(max_size=20).map(str.encode)))
    return client_frame(opcode, payload, final=final, key=draw(keys), reserved=draw(st.sampled_from([0] * 9 + [64])))


hostile_streams = st.one_of(
    st.binary(max_size=400),
    st.lists(st.one_of(hostile_frames(), hostile_frames(), st.binary(max_size=20)), max_size=12).map(b"".join),
)


@given(hostile_streams, any_cuts)
def test_hostile_bytes_give_documented_events_and_little_memory(data: bytes, cuts: list[int]) -> None:
    reader = FrameReader(SMALL_LIMIT)
    events: list[Event] = []
    for piece in chopped(data, cuts):
        events += reader.feed(piece)
        # One message, one control frame or one header (14 bytes at most, less the last), a key, a split character.
        assert buffered(reader) <= SMALL_LIMIT + 125 + 4 + 3
    for number, event in enumerate(events):
        assert_documented(event, last=number == len(events) - 1)


def assert_documented(event: Event, *, last: bool) -> None:
    match event:
        case Message(text, payload):
            assert len(payload) <= SMALL_LIMIT
            assert not text or is_utf8(payload)
        case Ping(payload) | Pong(payload):
            assert len(payload) <= 125
        case Close(code, reason):
            assert last
            assert code == NO_STATUS or close_frame(code, reason)[4:] == reason.encode()
        case Violation(code, reason):
            assert last
            assert code in (1002, 1007, 1009)
            assert reason


def test_nothing_is_kept_after_the_end() -> None:
    for end in (client_frame(CLOSE), client_frame(3), client_frame(CONTINUATION, b"\xff")):
        reader = FrameReader(LIMIT)
        reader.feed(client_frame(TEXT, b"x" * 500 + b"\xc3", final=False))
        reader.feed(end + client_frame(TEXT, b"late" * 100)[:-1])
        assert buffered(reader) <= 4


def test_text_is_looked_at_once_however_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    # Time would be a poor witness: what is counted is the bytes that go through the decoder.
    decoded = 0
    real_decode = codecs.utf_8_decode

    def counting_decode(data: bytes, errors: str = "strict", final: bool = False) -> tuple[str, int]:
        nonlocal decoded
        decoded += len(data)
        return real_decode(data, errors, final)

    monkeypatch.setattr("hubd.edge.frames.codecs.utf_8_decode", counting_decode)
    text = "€".encode() * 2000
    assert read(*bytewise(client_frame(TEXT, text)), limit=len(text)) == [Message(True, text)]
    # Of each character of three bytes, the first is looked at three times and the second twice.
    assert decoded == 2 * len(text)


def test_a_frame_that_arrives_byte_by_byte_is_not_copied_again_and_again() -> None:
    # The same bytearray grows all the way; only a reader that rebuilds its buffer would change it.
    reader = FrameReader(1 << 16)
    frame = client_frame(BINARY, b"x" * 5000)
    reader.feed(frame[:10])
    buffer = reader._message
    assert isinstance(buffer, bytearray)
    for piece in bytewise(frame[10:-1]):
        assert reader.feed(piece) == []
        assert reader._message is buffer
    assert reader.feed(frame[-1:]) == [Message(False, b"x" * 5000)]
