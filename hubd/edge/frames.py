"""WebSocket frames as a server sends and reads them (RFC 6455, sections 4.2, 5, 7.4 and 8.1), without any I/O.

Server frames are unmasked, so a builder's result is the same for every client and can be made once for all of them.
A :class:`FrameReader` is needed only while a client is in the middle of something. Any reader that is ``idle`` serves
any connection: the owner may feed all of its idle connections through one spare reader, and give it away to the
connection whose data leaves it busy. So an idle connection costs no memory here at all.
"""

import base64
import binascii
import codecs
import hashlib
import math
import struct
from dataclasses import dataclass

NO_STATUS = 1005
"""The code of a close without a code (RFC 6455, 7.1.5); it is never on the wire."""
PROTOCOL_ERROR = 1002
INVALID_TEXT = 1007
TOO_BIG = 1009

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FINAL = 0x80
_RESERVED_BITS = 0x70
_OPCODE_BITS = 0x0F
_MASKED = 0x80
_LENGTH_BITS = 0x7F
_LENGTH_IS_16_BIT = 126
_LENGTH_IS_64_BIT = 127
_KEY_BYTES = 4
_MAX_CONTROL_BYTES = 125
_MAX_REASON_BYTES = _MAX_CONTROL_BYTES - 2
_FIRST_CONTROL_OPCODE = 0x8
_OPCODES = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))
# RFC 6455, 7.4 and the IANA registry. 1004, 1005, 1006 and 1015 are reserved, never sent; 1016 to 2999 are unassigned.
_CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))
_HANDSHAKE_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(slots=True)
class Message:
    """A whole message, its fragments joined. The payload of a text message is valid UTF-8."""

    text: bool
    payload: bytes


@dataclass(slots=True)
class Ping:
    """A ping, to be answered by a pong with the same payload (RFC 6455, 5.5.2)."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """The answer to a ping, or an unsolicited heartbeat (RFC 6455, 5.5.3)."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """The client closes (RFC 6455, 5.5.1); the code is `NO_STATUS` if it gave none. Always the last event."""

    code: int
    reason: str


@dataclass(slots=True)
class Violation:
    """The client broke the protocol; close with this code: 1002, 1007 or 1009. Always the last event."""

    code: int
    reason: str


Event = Message | Ping | Pong | Close | Violation


def text_frame(payload: bytes) -> bytes:
    """One whole text message. The payload must be UTF-8, which is not checked here (RFC 6455, 5.6)."""
    return _frame(_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """One whole binary message (RFC 6455, 5.6)."""
    return _frame(_BINARY, payload)


def ping_frame(payload: bytes = b"") -> bytes:
    """A ping (RFC 6455, 5.5.2). ValueError if the payload is over 125 bytes."""
    return _control_frame(_PING, payload)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping with this payload (RFC 6455, 5.5.3). ValueError if the payload is over 125 bytes."""
    return _control_frame(_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """A close (RFC 6455, 5.5.1), its reason cut to 123 bytes of whole characters.

    `NO_STATUS` gives a close without code and reason, so that a client's `Close` can be echoed as it came.
    ValueError for any other code that may not be on the wire (7.4).
    """
    if code == NO_STATUS:
        return _control_frame(_CLOSE, b"")
    if code not in _CLOSE_CODES:
        raise ValueError(f"{code} is not a close code that may be sent")
    # "replace" because a lone surrogate must not keep a connection from being closed.
    encoded = reason.encode("utf-8", "replace")[:_MAX_REASON_BYTES]
    whole_characters = encoded.decode("utf-8", "ignore").encode()
    return _control_frame(_CLOSE, code.to_bytes(2, "big") + whole_characters)


def is_handshake_key(key: str) -> bool:
    """Whether this is a proper Sec-WebSocket-Key: 16 bytes in base64 (RFC 6455, 4.2.1)."""
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except ValueError:
        return False


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455, 4.2.2). The key must be ASCII."""
    digest = hashlib.sha1(key.encode("ascii") + _HANDSHAKE_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def _control_frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) > _MAX_CONTROL_BYTES:
        raise ValueError(f"a control frame carries at most {_MAX_CONTROL_BYTES} bytes, not {len(payload)}")
    return _frame(opcode, payload)


def _frame(opcode: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < _LENGTH_IS_16_BIT:
        return bytes((_FINAL | opcode, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", _FINAL | opcode, _LENGTH_IS_16_BIT, length) + payload
    return struct.pack("!BBQ", _FINAL | opcode, _LENGTH_IS_64_BIT, length) + payload


class _FrameError(Exception):
    """Unwinds the reader from wherever it sees a violation; never leaves this module."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class FrameReader:
    """Turns the bytes of one client into events. Holds at most one message and one control frame.

    `max_bytes` limits a message, all its fragments together; more is refused as soon as a header announces it.
    `frame_unit` is how many bytes of payload count as one frame: a large frame is more work than a small one.
    A length in more bytes than it needs is accepted: it is the sender's duty to be brief (RFC 6455, 5.2), what is meant
    is clear, and small devices with a fixed header do exist.
    """

    __slots__ = (
        "_arrived",
        "_final",
        "_frame_unit",
        "_head",
        "_key",
        "_max_bytes",
        "_message",
        "_missing",
        "_most",
        "_opcode",
        "_split_character",
        "_stopped",
        "_text",
        "frames",
    )

    frames: int
    """How many frames began in the last `feed`, large ones counted as several.

    Fragments are no events, so a rate limit had better count these.
    """

    def __init__(self, max_bytes: int, frame_unit: int = 4096) -> None:
        self._max_bytes = max_bytes
        self._frame_unit = frame_unit
        self._most = math.inf
        self._stopped = False
        self.frames = 0
        self._head = b""  # the beginning of a header, when it isn't all there
        # The frame whose payload is arriving; there is one exactly while bytes are missing.
        self._missing = 0
        self._opcode = 0
        self._final = False
        self._key = b""  # turned so that it begins with the next byte's
        self._arrived: bytearray | None = None  # of a control frame
        # The data message that is arriving.
        self._message: bytearray | None = None
        self._text = False
        self._split_character = b""  # the last bytes of a text so far, when they end inside a character

    @property
    def idle(self) -> bool:
        """Whether nothing of what came is still needed: the next bytes can as well go to a new reader.

        False after a `Close` or `Violation`, because this reader is what then ignores the rest.
        """
        return not (self._stopped or self._missing or self._head or self._message is not None)

    def feed(self, data: bytes, most: float = math.inf) -> list[Event]:
        """The events that these bytes complete, in order. After a `Close` or a `Violation` everything is ignored.

        So it is after the frame whose header brings `frames` over `most`, that frame included: what is too much must
        not be worked through first.
        """
        events: list[Event] = []
        self.frames = 0
        self._most = most
        try:
            self._read(data, events)
        except _FrameError as error:
            events.append(Violation(error.code, error.reason))
            self._stop()
        return events

    def _stop(self) -> None:
        self._stopped = True
        self._arrived = self._message = None
        self._head = self._split_character = b""
        self._missing = 0

    def _read(self, data: bytes, events: list[Event]) -> None:
        position = 0
        if self._missing:
            position = self._read_payload(data, 0, events)
        elif self._head:
            data = self._head + data
            self._head = b""
        end = len(data)
        while position < end and not self._stopped:
            payload_start = self._read_header(data, position)
            if not payload_start:
                self._head = data[position:]
                return
            if self.frames > self._most:
                self._stop()
                return
            position = self._read_payload(data, payload_start, events)

    def _read_header(self, data: bytes, start: int) -> int:
        """Take up the frame whose header begins at `start`; where its payload begins, or 0 if the header isn't whole.

        What the part that is there gives away is refused at once.
        """
        available = len(data) - start
        if available < 2:
            return 0
        first, second = data[start], data[start + 1]
        opcode = first & _OPCODE_BITS
        length = second & _LENGTH_BITS
        self._check_start(first, second, opcode, length)
        key_start = start + 2
        if length >= _LENGTH_IS_16_BIT:
            size = 2 if length == _LENGTH_IS_16_BIT else 8
            if available < 2 + size:
                return 0
            key_start += size
            length = int.from_bytes(data[start + 2 : key_start], "big")
            if length >> 63:
                raise _FrameError(PROTOCOL_ERROR, "length of 64 bits")
        if opcode < _FIRST_CONTROL_OPCODE:
            before = 0 if self._message is None else len(self._message)
            if before + length > self._max_bytes:
                raise _FrameError(TOO_BIG, f"message over {self._max_bytes} bytes")
        payload_start = key_start + _KEY_BYTES
        if len(data) < payload_start:
            return 0
        self._opcode = opcode
        self._final = first >= _FINAL
        self._key = data[key_start:payload_start]
        self._missing = length
        self.frames += 1 if length <= self._frame_unit else -(-length // self._frame_unit)
        return payload_start

    def _check_start(self, first: int, second: int, opcode: int, length: int) -> None:
        """Refuse what a header's first two bytes forbid by themselves or where they stand (RFC 6455, 5.2, 5.4, 5.5)."""
        if first & _RESERVED_BITS:
            raise _FrameError(PROTOCOL_ERROR, "reserved bit set")
        if opcode not in _OPCODES:
            raise _FrameError(PROTOCOL_ERROR, "reserved opcode")
        if second < _MASKED:
            raise _FrameError(PROTOCOL_ERROR, "frame not masked")
        if opcode >= _FIRST_CONTROL_OPCODE:
            if first < _FINAL:
                raise _FrameError(PROTOCOL_ERROR, "fragmented control frame")
            if length > _MAX_CONTROL_BYTES:
                raise _FrameError(PROTOCOL_ERROR, f"control frame over {_MAX_CONTROL_BYTES} bytes")
        elif opcode == _CONTINUATION:
            if self._message is None:
                raise _FrameError(PROTOCOL_ERROR, "continuation of nothing")
        elif self._message is not None:
            raise _FrameError(PROTOCOL_ERROR, "new message inside a fragmented one")

    def _read_payload(self, data: bytes, start: int, events: list[Event]) -> int:
        """Take what there is of the frame's payload, and finish the frame if that is all; where the rest begins."""
        stop = min(start + self._missing, len(data))
        chunk = _unmasked(data[start:stop], self._key)
        self._missing -= stop - start
        complete = not self._missing
        if not complete:
            turn = len(chunk) % _KEY_BYTES
            self._key = self._key[turn:] + self._key[:turn]
        if self._opcode < _FIRST_CONTROL_OPCODE:
            self._take_data(chunk, complete, events)
        else:
            self._take_control(chunk, complete, events)
        return stop

    def _take_data(self, chunk: bytes, frame_complete: bool, events: list[Event]) -> None:
        message_complete = frame_complete and self._final
        if self._message is None:
            text = self._opcode == _TEXT
            if message_complete:  # by far the most usual: a message in one frame, and all there
                if text and not chunk.isascii():
                    _check_utf8(chunk, final=True)
                events.append(Message(text, chunk))
                return
            self._text = text
            self._message = bytearray()
            # The rest of this first frame goes on like a continuation: the message is open now.
        if self._text:
            self._split_character = _check_utf8(self._split_character + chunk, final=message_complete)
        self._message += chunk
        if message_complete:
            events.append(Message(self._text, bytes(self._message)))
            self._message = None

    def _take_control(self, chunk: bytes, complete: bool, events: list[Event]) -> None:
        if self._arrived is not None:
            self._arrived += chunk
        elif not complete:
            self._arrived = bytearray(chunk)
        if not complete:
            return
        payload = chunk if self._arrived is None else bytes(self._arrived)
        self._arrived = None
        if self._opcode == _PING:
            events.append(Ping(payload))
        elif self._opcode == _PONG:
            events.append(Pong(payload))
        else:
            events.append(_close_event(payload))
            self._stop()


def _close_event(payload: bytes) -> Close:
    """What a close frame's payload says (RFC 6455, 5.5.1 and 7.4)."""
    if not payload:
        return Close(NO_STATUS, "")
    if len(payload) == 1:
        raise _FrameError(PROTOCOL_ERROR, "close code of one byte")
    code = int.from_bytes(payload[:2], "big")
    if code not in _CLOSE_CODES:
        raise _FrameError(PROTOCOL_ERROR, "close code that may not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise _FrameError(INVALID_TEXT, "close reason that is not UTF-8") from None


def _check_utf8(text: bytes, *, final: bool) -> bytes:
    """Refuse what can't be UTF-8 (RFC 6455, 8.1). The bytes of a last character that is still to be completed."""
    try:
        _, checked = codecs.utf_8_decode(text, "strict", final)
    except UnicodeDecodeError:
        raise _FrameError(INVALID_TEXT, "text that is not UTF-8") from None
    rest = text[checked:]
    # Half a surrogate is beyond hope, but Python's decoder waits for its third byte: some error handlers want it whole.
    if b"\xed\x9f" < rest < b"\xee":
        raise _FrameError(INVALID_TEXT, "text that is not UTF-8")
    return rest


def _unmasked(masked: bytes, key: bytes) -> bytes:
    """The payload under its mask (RFC 6455, 5.3), by one XOR of two long integers: no loop over bytes."""
    size = len(masked)
    repeated_key = (key * (size // _KEY_BYTES + 1))[:size]
    return (int.from_bytes(masked, "little") ^ int.from_bytes(repeated_key, "little")).to_bytes(size, "little")
