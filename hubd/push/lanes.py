"""Whose turn it is: things that wait, by priority, in which nobody starves."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from hubd.core.notification import Priority

QUANTUM = 8
"""So many turns one has before the next of its lane comes."""
_TURNS = (
    *(Priority.CRITICAL, Priority.CRITICAL, Priority.IMPORTANT),
    *(Priority.CRITICAL, Priority.CRITICAL, Priority.IMPORTANT),
    *(Priority.CRITICAL, Priority.CRITICAL, Priority.INFORMATIONAL),
)
"""Who has the next turn, over and over, where all of them have something."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Lanes(Generic[K, T]):
    """Things that have their turns in order: critical ones most of the time, and the others all the same."""

    def __init__(self, quantum: int = QUANTUM) -> None:
        self._quantum = quantum
        self._lanes: dict[Priority, OrderedDict[K, T]] = {one: OrderedDict() for one in Priority}
        self._served: dict[Priority, int] = dict.fromkeys(Priority, 0)
        self._turn = 0

    def __bool__(self) -> bool:
        return any(self._lanes.values())

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def lane(self, priority: Priority) -> OrderedDict[K, T]:
        """All of one priority, in the order of their turns; who takes one out of it takes it out of the lanes."""
        return self._lanes[priority]

    def next(self) -> T | None:
        """Whose turn it is; it stays, until it is taken out. None: nothing waits."""
        for _ in _TURNS:
            priority = _TURNS[self._turn]
            self._turn = (self._turn + 1) % len(_TURNS)
            if lane := self._lanes[priority]:
                return self._first(priority, lane)
        return None

    def _first(self, priority: Priority, lane: OrderedDict[K, T]) -> T:
        key, found = next(iter(lane.items()))
        self._served[priority] += 1
        if self._served[priority] >= self._quantum:
            self._served[priority] = 0
            lane.move_to_end(key)
        return found
