"""A transport for tests that records what is written, and takes WebSocket frames apart."""

import asyncio
from typing import Any

import orjson

TEXT, CLOSE, PING = 0x81, 0x88, 0x89


class Wire(asyncio.Transport):
    """A transport that records; the other side takes everything and never answers by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        self.data += data

    def abort(self) -> None:
        self.aborted = True

    def frames(self) -> list[tuple[int, bytes]]:
        """First byte and payload of everything that was written."""
        found, place = [], 0
        while place < len(self.data):
            first, size, start = self.data[place], self.data[place + 1], place + 2
            if size == 126:
                size, start = int.from_bytes(self.data[place + 2 : place + 4], "big"), place + 4
            found.append((first, bytes(self.data[start : start + size])))
            place = start + size
        return found

    def told(self, word: str) -> list[dict[str, Any]]:
        """The control frames of this kind."""
        objects = [orjson.loads(payload) for first, payload in self.frames() if first == TEXT]
        return [found for found in objects if found.get("hub") == word]

    def closed_with(self) -> int | None:
        """The code of the close frame, if there is one; nothing follows it."""
        codes = [int.from_bytes(payload[:2], "big") for first, payload in self.frames() if first == CLOSE]
        if not codes:
            return None
        assert len(codes) == 1 and self.frames()[-1][0] == CLOSE, "nothing is said after a close frame"
        return codes[0]
