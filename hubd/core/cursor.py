"""The cursor: an epoch and a sequence number in one opaque string."""

import re
from typing import NamedTuple

_CURSOR = re.compile(r"([a-z0-9]{10})-(0|[1-9][0-9]{0,17})")


class Cursor(NamedTuple):
    """A position in one hub's sequence: everything up to and including ``sequence`` has been received."""

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return cursor_text(self.epoch, self.sequence)


def cursor_text(epoch: str, sequence: int) -> str:
    """The string of a cursor."""
    return f"{epoch}-{sequence}"


def read_cursor(text: str) -> Cursor | None:
    """The cursor that the text stands for, or None when it stands for none."""
    found = _CURSOR.fullmatch(text)
    return Cursor(found[1], int(found[2])) if found else None
