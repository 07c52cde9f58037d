"""The frame reader, example by example: clients that are well-behaved, clumsy, or break the protocol."""

import itertools
import struct
from collections.abc import Iterable

import pytest

from hubd.edge.frames import (
    NO_STATUS,
    Close,
    Event,
    FrameReader,
    Message,
    Ping,
    Pong,
    Violation,
    close_frame,
    ping_frame,
    text_frame,
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = b"\x37\xfa\x21\x3d"
LIMIT = 1000
VALID_CLOSE_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID_CLOSE_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
BROKEN_TEXTS = {
    "stray continuation byte": b"\x80",
    "overlong slash": b"\xc0\xaf",
    "overlong of three bytes": b"\xe0\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "byte that is never used": b"\xff",
    "character broken off by another": b"\xe2\x82A",
}


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
        size = 0 if len(payload) < 126 else 2 if len(payload) < 65536 else 8
    short = {0: len(payload), 2: 126, 8: 127}[size]
    extended = len(payload).to_bytes(size, "big") if size else b""
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes((final << 7 | reserved | opcode, 0x80 | short)) + extended + key + masked


def header(opcode: int, length: int, *, size: int, key: bytes = KEY) -> bytes:
    """Only the header of a frame that announces `length` bytes in `size` bytes."""
    return bytes((0x80 | opcode, 0x80 | {2: 126, 8: 127}[size])) + length.to_bytes(size, "big") + key


def read(*pieces: bytes, limit: int = LIMIT) -> list[Event]:
    reader = FrameReader(limit)
    return [event for piece in pieces for event in reader.feed(piece)]


def bytewise(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def refusal(*pieces: bytes, limit: int = LIMIT) -> tuple[int, str]:
    """The code and reason of the violation that these pieces end with, and nothing else."""
    (event,) = read(*pieces, limit=limit)
    assert isinstance(event, Violation)
    return event.code, event.reason


# --- Well-behaved clients


def test_masked_text_of_the_rfc() -> None:
    # RFC 6455, 5.7: a single-frame masked text message
    assert read(bytes.fromhex("818537fa213d7f9f4d5158")) == [Message(True, b"Hello")]


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536, 65537])
@pytest.mark.parametrize(("opcode", "text"), [(TEXT, True), (BINARY, False)])
def test_message_of_any_length(opcode: int, text: bool, length: int) -> None:
    payload = (b"0123456789abcde" * (length // 15 + 1))[:length]
    assert read(client_frame(opcode, payload), limit=65537) == [Message(text, payload)]


def test_payloads_are_bytes_even_when_they_came_in_pieces() -> None:
    pieces = bytewise(client_frame(BINARY, b"data") + client_frame(PING, b"ping"))
    assert [type(event.payload) for event in read(*pieces) if isinstance(event, Message | Ping)] == [bytes, bytes]


def test_fragmented_text_of_the_rfc() -> None:
    frames = client_frame(TEXT, b"Hel", final=False) + client_frame(CONTINUATION, b"lo")
    assert read(frames) == [Message(True, b"Hello")]


def test_control_frames_between_fragments_come_first() -> None:
    frames = [
        client_frame(BINARY, b"a", final=False),
        client_frame(PING, b"are you there?"),
        client_frame(CONTINUATION, b"b", final=False),
        client_frame(PONG, b""),
        client_frame(CONTINUATION, b"c"),
    ]
    expected = [Ping(b"are you there?"), Pong(b""), Message(False, b"abc")]
    assert read(b"".join(frames)) == expected
    assert read(*bytewise(b"".join(frames))) == expected


def test_kinds_of_event_are_never_equal() -> None:
    events: list[Event] = [Ping(b""), Pong(b""), Close(1002, ""), Violation(1002, "")]
    assert all(one != other for one, other in itertools.combinations(events, 2))


def test_length_in_more_bytes_than_needed_is_accepted() -> None:
    frames = client_frame(TEXT, b"hi", size=2) + client_frame(TEXT, b"ho", size=8)
    assert read(frames) == [Message(True, b"hi"), Message(True, b"ho")]


def test_text_may_be_cut_inside_a_character() -> None:
    text = "aé€\ud7ff😀".encode()  # U+D7FF: the last before the surrogates
    for cut in range(len(text) + 1):
        frames = client_frame(TEXT, text[:cut], final=False) + client_frame(CONTINUATION, text[cut:])
        assert read(frames) == [Message(True, text)]
        assert read(*bytewise(frames)) == [Message(True, text)]


def test_frames_are_counted_per_feed() -> None:
    reader = FrameReader(LIMIT)
    fragment = client_frame(CONTINUATION, final=False)
    reader.feed(client_frame(TEXT, final=False) + fragment * 5 + client_frame(PING)[:-1])
    assert reader.frames == 6, "a frame counts once its header is there"
    reader.feed(client_frame(PING)[-1:])
    assert reader.frames == 1
    reader.feed(client_frame(PING, b"ping")[:-2])
    assert reader.frames == 1
    reader.feed(client_frame(PING, b"ping")[-2:])
    assert reader.frames == 0, "and not again"


@pytest.mark.parametrize(("size", "counted"), [(0, 1), (1, 1), (100, 1), (101, 2), (200, 2), (201, 3), (1000, 10)])
def test_a_large_frame_counts_as_several(size: int, counted: int) -> None:
    reader = FrameReader(LIMIT, frame_unit=100)
    assert reader.feed(client_frame(BINARY, bytes(size))) == [Message(False, bytes(size))]
    assert reader.frames == counted


def test_what_is_too_much_is_not_read() -> None:
    reader = FrameReader(LIMIT, frame_unit=100)
    assert reader.feed(client_frame(PING, b"x") * 1000, most=3) == [Ping(b"x")] * 3
    assert reader.frames == 4, "so that it can be seen that there was more"
    assert not reader.idle
    assert reader.feed(client_frame(PING, b"x") * 1000, most=3) == [], "and nothing behind it ever is"
    assert reader.frames == 0


def test_a_frame_that_is_too_large_for_what_is_left_is_too_much() -> None:
    reader = FrameReader(LIMIT, frame_unit=100)
    large = client_frame(BINARY, bytes(300))
    assert reader.feed(large, most=3) == [Message(False, bytes(300))]
    assert reader.feed(large[:20], most=2) == [] and reader.frames == 3
    assert reader.feed(large[20:]) == []


# --- Idle readers


def test_reader_is_idle_exactly_between_messages() -> None:
    reader = FrameReader(LIMIT)
    assert reader.idle
    frames = [client_frame(TEXT, b"ab", final=False), client_frame(PING, b"p"), client_frame(CONTINUATION, b"c")]
    stream = b"".join(frames)
    idle = []
    for piece in bytewise(stream):
        reader.feed(piece)
        idle.append(reader.idle)
    assert idle == [False] * (len(stream) - 1) + [True]


def test_reader_is_busy_when_only_a_payload_is_missing() -> None:
    for frame in (client_frame(BINARY, b"x"), client_frame(PING, b"x")):
        reader = FrameReader(LIMIT)
        assert reader.feed(frame[:-1]) == []
        assert not reader.idle


def test_an_idle_reader_serves_another_connection() -> None:
    spare = FrameReader(LIMIT)
    pieces = [client_frame(TEXT, "é".encode(), final=False), client_frame(CONTINUATION)]
    for piece in [*pieces, *bytewise(client_frame(PING, b"first"))]:
        spare.feed(piece)
    assert spare.idle
    assert spare.feed(client_frame(BINARY, b"\xff" * LIMIT)) == [Message(False, b"\xff" * LIMIT)]


@pytest.mark.parametrize(
    "end",
    [client_frame(CLOSE), client_frame(CONTINUATION), client_frame(TEXT, b"\xff and more")[:8]],
    ids=["close", "violation in a header", "violation in the middle of a payload"],
)
def test_after_the_end_a_reader_is_kept_and_ignores_everything(end: bytes) -> None:
    reader = FrameReader(LIMIT)
    assert len(reader.feed(end)) == 1
    assert not reader.idle
    assert reader.feed(client_frame(TEXT, b"late")) == []
    assert not reader.idle


# --- Close


def test_close_without_body() -> None:
    assert read(client_frame(CLOSE)) == [Close(NO_STATUS, "")]


@pytest.mark.parametrize("code", VALID_CLOSE_CODES)
def test_close_with_a_valid_code(code: int) -> None:
    body = struct.pack("!H", code) + "tschüß".encode()
    assert read(client_frame(CLOSE, body)) == [Close(code, "tschüß")]
    assert close_frame(code, "tschüß")[2:] == body


@pytest.mark.parametrize("code", INVALID_CLOSE_CODES)
def test_close_with_an_invalid_code(code: int) -> None:
    assert refusal(client_frame(CLOSE, struct.pack("!H", code))) == (1002, "close code that may not be sent")


def test_close_with_half_a_code() -> None:
    assert refusal(client_frame(CLOSE, b"\x03")) == (1002, "close code of one byte")


@pytest.mark.parametrize("reason", [*BROKEN_TEXTS.values(), b"\xe2\x82"])
def test_close_reason_that_is_not_utf8(reason: bytes) -> None:
    assert refusal(client_frame(CLOSE, b"\x03\xe8" + reason)) == (1007, "close reason that is not UTF-8")


def test_what_follows_a_close_is_ignored() -> None:
    frames = client_frame(TEXT, b"a") + client_frame(CLOSE, b"\x03\xe8") + client_frame(TEXT, b"b") + b"\xff" * 20
    assert read(frames) == [Message(True, b"a"), Close(1000, "")]
    assert read(*bytewise(frames)) == [Message(True, b"a"), Close(1000, "")]


def test_close_inside_a_fragmented_message_drops_it() -> None:
    frames = client_frame(TEXT, b"a", final=False) + client_frame(CLOSE) + client_frame(CONTINUATION, b"b")
    assert read(frames) == [Close(NO_STATUS, "")]


# --- Violations


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (client_frame(TEXT, reserved=0x40), "reserved bit set"),
        (client_frame(TEXT, reserved=0x20), "reserved bit set"),
        (client_frame(PING, reserved=0x10), "reserved bit set"),
        *((client_frame(opcode), "reserved opcode") for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)),
        (text_frame(b"not masked"), "frame not masked"),
        (ping_frame(), "frame not masked"),
        (client_frame(PING, final=False), "fragmented control frame"),
        (client_frame(CLOSE, final=False), "fragmented control frame"),
        (client_frame(PING, b"x" * 126), "control frame over 125 bytes"),
        (client_frame(PONG, b"x", size=2), "control frame over 125 bytes"),
        (client_frame(CLOSE, b"\x03\xe8" + b"x" * 124), "control frame over 125 bytes"),
        (client_frame(CONTINUATION, b"x"), "continuation of nothing"),
        (client_frame(CONTINUATION, b"x", final=False), "continuation of nothing"),
        (header(BINARY, 1 << 63, size=8), "length of 64 bits"),
    ],
)
def test_protocol_errors(frame: bytes, reason: str) -> None:
    assert refusal(frame) == (1002, reason)
    assert refusal(*bytewise(frame)) == (1002, reason)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_new_message_inside_a_fragmented_one(opcode: int) -> None:
    for first in (b"", b"a"):
        frames = client_frame(TEXT, first, final=False) + client_frame(opcode, b"b")
        assert refusal(frames) == (1002, "new message inside a fragmented one")


def test_continuation_after_the_last_fragment() -> None:
    frames = client_frame(TEXT, b"a", final=False) + client_frame(CONTINUATION, b"b") + client_frame(CONTINUATION)
    assert read(frames) == [Message(True, b"ab"), Violation(1002, "continuation of nothing")]


def test_events_before_a_violation_are_not_lost() -> None:
    frames = client_frame(TEXT, b"a") + client_frame(PING, b"b") + client_frame(3) + client_frame(TEXT, b"ignored")
    assert read(frames) == [Message(True, b"a"), Ping(b"b"), Violation(1002, "reserved opcode")]


def test_a_violation_in_a_header_needs_only_the_bytes_that_show_it() -> None:
    assert refusal(client_frame(3)[:2]) == (1002, "reserved opcode")
    assert refusal(header(BINARY, LIMIT + 1, size=2)[:4])[0] == 1009


# --- The limit


def test_message_of_exactly_the_limit() -> None:
    assert read(client_frame(BINARY, b"x" * LIMIT)) == [Message(False, b"x" * LIMIT)]
    halves = client_frame(BINARY, b"x" * 600, final=False) + client_frame(CONTINUATION, b"x" * 400)
    assert read(halves) == [Message(False, b"x" * LIMIT)]


@pytest.mark.parametrize(
    "announcement",
    [
        header(BINARY, LIMIT + 1, size=2),
        header(TEXT, LIMIT + 1, size=8),
        header(BINARY, (1 << 63) - 1, size=8),
        client_frame(BINARY, b"x" * 600, final=False) + header(CONTINUATION, 401, size=2),
    ],
)
def test_message_over_the_limit_is_refused_by_its_announcement(announcement: bytes) -> None:
    assert refusal(announcement) == (1009, "message over 1000 bytes")


def test_the_limit_is_for_one_message_not_for_all() -> None:
    assert len(read(client_frame(BINARY, b"x" * LIMIT) * 3)) == 3


def test_the_limit_does_not_bind_control_frames() -> None:
    assert read(client_frame(PING, b"x" * 125), limit=10) == [Ping(b"x" * 125)]
    full = client_frame(BINARY, b"x" * 10, final=False) + client_frame(PING, b"y") + client_frame(CONTINUATION)
    assert read(full, limit=10) == [Ping(b"y"), Message(False, b"x" * 10)]


# --- UTF-8


@pytest.mark.parametrize("broken", BROKEN_TEXTS.values(), ids=BROKEN_TEXTS.keys())
def test_text_that_is_not_utf8(broken: bytes) -> None:
    expected = (1007, "text that is not UTF-8")
    frame = client_frame(TEXT, b"valid" + broken + b"valid")
    assert refusal(frame) == expected
    assert refusal(*bytewise(frame)) == expected
    for cut in range(len(broken) + 1):
        fragments = client_frame(TEXT, broken[:cut], final=False) + client_frame(CONTINUATION, broken[cut:] + b"valid")
        assert refusal(fragments) == expected


@pytest.mark.parametrize("unfinished", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_text_that_ends_inside_a_character(unfinished: bytes) -> None:
    assert refusal(client_frame(TEXT, unfinished))[0] == 1007
    assert refusal(*bytewise(client_frame(TEXT, unfinished)))[0] == 1007
    assert refusal(client_frame(TEXT, unfinished, final=False) + client_frame(CONTINUATION))[0] == 1007


def test_a_split_character_does_not_leak_into_the_next_message() -> None:
    fragments = client_frame(TEXT, b"\xc3", final=False) + client_frame(CONTINUATION, b"\xa9")
    assert read(fragments + client_frame(TEXT, b"a", final=False) + client_frame(CONTINUATION, b"b")) == [
        Message(True, "é".encode()),
        Message(True, b"ab"),
    ]


@pytest.mark.parametrize("broken", BROKEN_TEXTS.values(), ids=BROKEN_TEXTS.keys())
@pytest.mark.parametrize("fragmented", [False, True])
def test_broken_text_is_refused_at_its_first_impossible_byte(broken: bytes, fragmented: bool) -> None:
    if fragmented:
        stream = [client_frame(TEXT, b"", final=False)]
        stream += [client_frame(CONTINUATION, bytes((byte,)), final=False) for byte in broken]
    else:
        frame = client_frame(TEXT, broken + b"valid")
        stream = [frame[:6], *bytewise(frame[6:])]
    reader = FrameReader(LIMIT)
    needed = next(index for index, piece in enumerate(stream) if reader.feed(piece))
    # One piece of header (or first fragment) goes before the pieces of one byte each.
    assert needed == first_impossible_byte(broken) + 1


def first_impossible_byte(broken: bytes) -> int:
    """Index of the byte after which no continuation could make this UTF-8."""
    continuations = [
        b"",
        b"\x80",
        b"\xa0",
        b"\x90",
        b"\x80\x80",
        b"\xa0\x80",
        b"\x90\x80",
        b"\x90\x80\x80",
        b"\x80\x80\x80",
    ]
    for index in range(len(broken)):
        if not any(is_utf8(broken[: index + 1] + rest) for rest in continuations):
            return index
    raise AssertionError("this is not broken")


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_binary_may_be_anything() -> None:
    payload = bytes(range(256))
    assert read(client_frame(BINARY, payload)) == [Message(False, payload)]
    assert read(*bytewise(client_frame(BINARY, payload))) == [Message(False, payload)]
