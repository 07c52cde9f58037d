"""The cursor: an epoch and a sequence number in one opaque string."""

import re
from typing import NamedTuple

_CURSOR = re.compile(r"([a-z0-9]{10})-(0|[1-9][0-9]{0,17})(?:~([1-9][0-9]{0,17}))?")


class Cursor(NamedTuple):
    """A position in one hub's sequence: everything up to and including ``sequence`` has been received.

    ``answer`` is the number of the poll's answer that it came with, where the hub wants to know whether that arrived.
    """

    epoch: str
    sequence: int
    answer: int = 0

    def __str__(self) -> str:
        return cursor_text(self.epoch, self.sequence) + (f"~{self.answer}" if self.answer else "")


def cursor_text(epoch: str, sequence: int) -> str:
    """The string of a cursor."""
    return f"{epoch}-{sequence}"


def read_cursor(text: str) -> Cursor | None:
    """The cursor that the text stands for, or None when it stands for none."""
    found = _CURSOR.fullmatch(text)
    return Cursor(found[1], int(found[2]), int(found[3] or 0)) if found else None
