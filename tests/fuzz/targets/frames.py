"""WebSocket frames: any stream, chopped in any way, says what RFC 6455 says it does, in bounded memory.

An input's first eight bytes say how it is read (the limit, the unit, how many frames a feed may have, the pieces), the
rest is what the client sends.
"""

import math
from collections.abc import Iterator
from random import Random

from hubd.edge.frames import Close, Event, FrameReader, Message, Ping, Pong, Violation, close_frame
from tests.fuzz import mutation
from tests.fuzz.rules import frames as rules
from tests.fuzz.target import Target, timed

HOW = 8
LIMITS = (16, 125, 1000, 65536)
UNITS = (1, 10, 4096)
OPCODES = (0, 0, 1, 1, 2, 8, 9, 10, 3, 11)
LARGEST_HEAD = 14
MOST_PIECES = 48
TEXTS = tuple(text.encode() for text in ("hello", "héé", "€", "😀", "\ud7ff\ue000", "\U0010ffff"))
NO_TEXTS = (
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xff",
    b"\xed\xa0",
)
CODES = (999, 1000, 1004, 1005, 1006, 1007, 1014, 1015, 2999, 3000, 4999, 5000)
WORDS = ("é", "€", "😀", "\x88\x80", "\x89\x80", "\x81\xfe")


def take(data: bytes) -> None:
    how, stream = data[:HOW].ljust(HOW, b"\x00"), data[HOW:]
    limit, unit = LIMITS[how[0] % len(LIMITS)], UNITS[how[1] % len(UNITS)]
    expected = rules.read(stream, limit, unit)
    events, frames = feed_all(list(pieces(stream, how[3:])), limit, unit)
    assert [plain(event) for event in events] == expected.events
    assert frames == expected.frames
    check_most(stream, limit, unit, how[2], expected.events)


def feed_all(chopped: list[bytes], limit: int, unit: int) -> tuple[list[Event], int]:
    """What a connection's readers say to the pieces; it keeps none while the client is quiet."""
    reader = FrameReader(limit, unit)
    events: list[Event] = []
    frames = 0
    for piece in chopped:
        if reader.idle:
            reader = FrameReader(limit, unit)
        events += timed(reader.feed, piece)
        frames += reader.frames
        assert held(reader) <= limit + 125 + LARGEST_HEAD + 4 + 3
    return events, frames


def held(reader: FrameReader) -> int:
    """The bytes that a reader holds on to, in whichever of its slots."""
    values = [getattr(reader, name) for name in FrameReader.__slots__]
    return sum(len(value) for value in values if value.__class__ in (bytes, bytearray))


def check_most(stream: bytes, limit: int, unit: int, most: int, events: list[tuple[str, bytes | int]]) -> None:
    """Of what is too much at once, nothing is read any more, now or later."""
    reader = FrameReader(limit, unit)
    read = [plain(event) for event in reader.feed(stream, most)]
    assert read == events[: len(read)]
    if reader.frames <= most:
        assert read == events
    else:
        assert len(read) <= most
        assert not reader.idle and reader.feed(b"\x89\x80\x00\x00\x00\x00", math.inf) == []


def plain(event: Event) -> tuple[str, bytes | int]:
    """An event as the rules put it."""
    match event:
        case Message(text, payload):
            return ("text" if text else "binary", payload)
        case Ping(payload):
            return ("ping", payload)
        case Pong(payload):
            return ("pong", payload)
        case Close(code, reason):
            assert close_frame(code, reason)[4:] == reason.encode()  # it can be sent back as it came
            return ("close", code)
        case Violation(code, reason):
            assert reason
            close_frame(code, reason)
            return ("violation", code)


def pieces(stream: bytes, sizes: bytes) -> Iterator[bytes]:
    """The stream chopped into pieces of these sizes, over and over; 0, or having made many, takes all that is left."""
    place, turn = 0, 0
    while place < len(stream):
        size = (sizes[turn % len(sizes)] if turn < MOST_PIECES else 0) or len(stream)
        yield stream[place : place + size]
        place += size
        turn += 1


Frame = tuple[int, bytes, bytes, int]  # first byte, key, payload, how many bytes its length is written in


def written(frame: Frame) -> bytes:
    first, key, payload, size = frame
    size = max(size, 0 if len(payload) < 126 else 2 if len(payload) < 1 << 16 else 8)
    short = {0: len(payload), 2: 126, 8: 127}[size]
    length = len(payload).to_bytes(size, "big") if size else b""
    return bytes((first, 0x80 | short)) + length + key + rules.unmask(key, payload)


def frames_of(stream: bytes) -> list[Frame]:
    """The frames that can be made out in a stream, as far as they go."""
    found: list[Frame] = []
    place = 0
    while len(stream) - place >= 6:
        size = {126: 2, 127: 8}.get(stream[place + 1] & 127, 0)
        start = place + 2 + size + 4
        length = int.from_bytes(stream[place + 2 : place + 2 + size], "big") if size else stream[place + 1] & 127
        key = stream[start - 4 : start].ljust(4, b"\x00")
        found.append((stream[place], key, rules.unmask(key, stream[start : start + length]), size))
        place = start + length
    return found


def mutate(data: bytes, random: Random) -> bytes:
    how, frames = bytearray(data[:HOW].ljust(HOW, b"\x00")), frames_of(data[HOW:])
    if random.random() < 0.2:
        how[random.randrange(HOW)] = random.choice((0, 0, 1, 1, 2, 3, 7, 255))
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(frames) + 1)
        frames[at : at + 1] = changed(frames[at], random) if at < len(frames) else [new_frame(random)]
    stream = b"".join(map(written, frames))
    match random.randrange(12):
        case 0:
            stream = mutation.change_bytes(stream, random, WORDS)
        case 1:
            stream = stream[: random.randrange(len(stream) + 1)]
        case 2:
            stream += bytes((random.choice((0x81, 0x82, 0x80)), 0xFF)) + random.choice(
                (0, 17, 126, 2**16, 2**63)
            ).to_bytes(8, "big")
    return bytes(how) + stream


def changed(frame: Frame, random: Random) -> list[Frame]:
    first, key, payload, size = frame
    cut = random.randrange(len(payload) + 1)
    match random.randrange(9):
        case 0:
            return [(first ^ 0x80, key, payload, size)]
        case 1:
            return [(first & 0xF0 | random.choice(OPCODES), key, payload, size)]
        case 2:
            return [(first & 0x7F, key, payload[:cut], size), (first & 0x80, random.randbytes(4), payload[cut:], 0)]
        case 3:
            return [frame, new_frame(random)]
        case 4:
            return []
        case 5:
            return [(first, key, payload[:cut] + random.choice(TEXTS + NO_TEXTS) + payload[cut:], size)]
        case 6:
            return [(first, key, (payload + b"x") * random.choice((2, 2, 8, 16, 17, 125)), random.choice((0, 2, 8)))]
        case 7:
            return [(first, random.randbytes(4), mutation.change_bytes(payload, random, WORDS), size)]
        case _:
            return [(first ^ random.choice((0x10, 0x20, 0x40, 0x80)), key, payload, random.choice((0, 2, 8)))]


def new_frame(random: Random) -> Frame:
    opcode, key = random.choice(OPCODES), random.randbytes(4)
    first = opcode | (0x80 if opcode >= 8 or random.random() < 0.6 else 0)
    payload = random.choice(TEXTS) * random.choice((0, 1, 1, 5))
    if opcode == 8:
        payload = random.choice(CODES).to_bytes(2, "big") + payload
    return (first, key, payload, 0)


def seeds() -> list[bytes]:
    key = b"\x01\x80\xfe\x55"
    streams: list[list[Frame]] = [
        [(0x81, key, b'{"action":"ping"}', 0), (0x82, key, b"\x81\xa6action\xa4ping", 0)],
        [(0x01, key, "h€".encode()[:2], 0), (0x89, key, b"beat", 0), (0x80, key, "h€".encode()[2:], 2)],
        [(0x8A, key, b"", 0), (0x88, key, b"\x03\xe8bye", 0), (0x81, key, b"late", 0)],
        [(0x82, key, b"x" * 126, 8), (0x81, bytes(4), b"y" * 1000, 2)],
    ]
    hows = (bytes(HOW), bytes((2, 2, 255, 1, 1, 1, 1, 1)), bytes((1, 1, 2, 3, 7, 1, 2, 250)))
    return [how + b"".join(map(written, stream)) for how in hows for stream in streams]


TARGET = Target("frames", take, seeds, mutate, WORDS, max_bytes=1024)
