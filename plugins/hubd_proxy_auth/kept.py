"""Answers that are kept for a while."""

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values under their keys, each until its time is over; over ``entries`` the one used longest ago is forgotten."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[bytes, tuple[Value, float]] = OrderedDict()

    def get(self, key: bytes, now: float) -> Value | None:
        """What is kept under a key; ``now`` is the time (seconds) that ``until`` is of, too."""
        found = self._kept.get(key)
        if found is None:
            return None
        value, until = found
        if now >= until:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return value

    def put(self, key: bytes, value: Value, until: float) -> None:
        """Keep a value."""
        self._kept[key] = (value, until)
        self._kept.move_to_end(key)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)
