"""RFC 6455 said once more: a whole stream at once, byte by byte, without a thought of speed."""

from itertools import cycle
from operator import xor
from typing import NamedTuple

CLOSE_CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
NO_STATUS = 1005


class Said(NamedTuple):
    """What a reader has to say: ("text" | "binary" | "ping" | "pong", payload) or ("close" | "violation", code).

    ``frames`` is how many began, those over ``unit`` bytes counted as several.
    """

    events: list[tuple[str, bytes | int]]
    frames: int


class Head(NamedTuple):
    """The header of a frame."""

    final: bool
    opcode: int
    length: int
    payload_at: int


class Violated(Exception):
    """The code to close with."""


def read(stream: bytes, limit: int, unit: int) -> Said:
    """What these bytes mean, when no more of them come."""
    said = Said([], 0)
    message: bytearray | None = None
    text = False
    place = 0
    frames = 0
    try:
        while head := read_head(stream, place, None if message is None else len(message), limit):
            frames += max(1, -(-head.length // unit))
            end = head.payload_at + head.length
            payload = unmask(stream[head.payload_at - 4 : head.payload_at], stream[head.payload_at : end])
            complete = end <= len(stream)
            if head.opcode >= 8:
                if complete:
                    said.events.append(control(head.opcode, payload))
                    if head.opcode == 8:
                        break
            else:
                if message is None:
                    message, text = bytearray(), head.opcode == 1
                message += payload
                whole = complete and head.final
                if text and not (is_utf8(message) if whole else begins_utf8(message)):
                    raise Violated(1007)
                if whole:
                    said.events.append(("text" if text else "binary", bytes(message)))
                    message = None
            if not complete:
                break
            place = end
    except Violated as violated:
        said.events.append(("violation", violated.args[0]))
    return said._replace(frames=frames)


def read_head(stream: bytes, place: int, before: int | None, limit: int) -> Head | None:
    """The header at this place, None if it isn't all there; ``before``: bytes of the message that is under way."""
    here = stream[place : place + 14]
    if len(here) < 2:
        return None
    final, opcode, length = here[0] >= 128, here[0] % 16, here[1] % 128
    if here[0] & 0x70 or opcode not in (0, 1, 2, 8, 9, 10) or here[1] < 128:
        raise Violated(1002)
    if opcode >= 8 and (not final or length > 125):
        raise Violated(1002)
    if opcode < 8 and (opcode == 0) == (before is None):
        raise Violated(1002)
    extra = {126: 2, 127: 8}.get(length, 0)
    if extra:
        if len(here) < 2 + extra:
            return None
        length = sum(byte << 8 * power for power, byte in enumerate(reversed(here[2 : 2 + extra])))
    if length >= 2**63:
        raise Violated(1002)
    if opcode < 8 and (before or 0) + length > limit:
        raise Violated(1009)
    if len(here) < 2 + extra + 4:
        return None
    return Head(final, opcode, length, place + 2 + extra + 4)


def control(opcode: int, payload: bytes) -> tuple[str, bytes | int]:
    if opcode != 8:
        return ("ping" if opcode == 9 else "pong", payload)
    if not payload:
        return ("close", NO_STATUS)
    if len(payload) == 1 or payload[0] * 256 + payload[1] not in CLOSE_CODES:
        raise Violated(1002)
    if not is_utf8(payload[2:]):
        raise Violated(1007)
    return ("close", payload[0] * 256 + payload[1])


def unmask(key: bytes, masked: bytes) -> bytes:
    return bytes(map(xor, masked, cycle(key)))


def is_utf8(data: bytes | bytearray) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


FIRST_AFTER = {0xE0: b"\xa0", 0xF0: b"\x90"}  # else 80, the least that there is; ED and F4 go on from 80, too


def begins_utf8(data: bytes | bytearray) -> bool:
    """Whether something that comes behind could make this UTF-8."""
    for missing in range(4):
        if is_utf8(data + b"\x80" * missing):
            return True
        last = data[-1:]
        if missing and last and is_utf8(data + FIRST_AFTER.get(last[0], b"\x80") + b"\x80" * (missing - 1)):
            return True
    return False
