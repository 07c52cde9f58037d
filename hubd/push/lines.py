"""Who waits for the pace of a device: in lines, in the order in which they came; one of each is let out at a time.

Those who wait are parts' devices like all others; a line has only references to these parts. Who is called off is taken
out of his part, and passed over when it would be his turn.
"""

import heapq
from math import inf
from typing import NamedTuple

from hubd.push.jobs import Part

LINES = 200_000
"""So many lines there are at most."""
_TIDY = 16


class Turn(NamedTuple):
    """Whose turn it is: this device of this part, out of the line with this name."""

    device: int
    name: str
    part: Part


class Lines:
    """All lines, by device and name."""

    def __init__(self, most: int = LINES) -> None:
        self._most = most
        self._lines: dict[tuple[int, str], _Line] = {}
        self._moments: list[tuple[float, int, int, str]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def is_full(self) -> bool:
        """Whether there can't be another one."""
        return len(self._lines) >= self._most

    def is_there(self, device: int, name: str) -> bool:
        """Whether somebody waits there, or has just been let out: who comes now comes behind them."""
        return (device, name) in self._lines

    def join(self, device: int, name: str, part: Part, at: float) -> None:
        """Wait at its end; if nobody is there, until then (monotonic s)."""
        line = self._lines.get((device, name))
        if line is None:
            line = self._lines[device, name] = _Line()
            self._set(device, name, line, at)
        line.add(part, device)

    def back(self, device: int, name: str, part: Part, at: float) -> None:
        """Who was let out couldn't go: he is the first again, and is let out then."""
        line = self._lines[device, name]
        line.parts.insert(0, part)
        self._set(device, name, line, at)

    def went(self, device: int, name: str, at: float) -> None:
        """Who was let out isn't there any more: the next one's turn is then."""
        line = self._lines.get((device, name))
        if line is None or not line.is_out:
            return
        if line.parts:
            self._set(device, name, line, at)
        else:
            del self._lines[device, name]

    def _set(self, device: int, name: str, line: "_Line", at: float) -> None:
        line.is_out = False
        self._count += 1
        heapq.heappush(self._moments, (at, self._count, device, name))

    def due(self, now: float, most: int) -> list[Turn]:
        """Whose turn it is by now, so many at most: ``back`` or ``went`` follows for each of them."""
        found: list[Turn] = []
        while self._moments and self._moments[0][0] <= now and len(found) < most:
            _, _, device, name = heapq.heappop(self._moments)
            line = self._lines[device, name]
            part = line.first(device)
            if part is None:
                del self._lines[device, name]
            else:
                line.is_out = True
                found.append(Turn(device, name, part))
        return found

    def next_moment(self) -> float:
        """When it is somebody's turn (monotonic s)."""
        return self._moments[0][0] if self._moments else inf


class _Line:
    """One line. ``is_out``: its first one is on his way, and has no place in it."""

    __slots__ = ("_tidied", "is_out", "parts")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_out = False
        self._tidied = _TIDY

    def add(self, part: Part, device: int) -> None:
        """One more at its end; those who were called off are thrown out when they may be most of all."""
        self.parts.append(part)
        if len(self.parts) > self._tidied:
            self.parts = [one for one in self.parts if device in one.devices]
            self._tidied = 2 * len(self.parts) + _TIDY

    def first(self, device: int) -> Part | None:
        """The first one who still waits; he and all before him have no place in it any more."""
        while self.parts:
            part = self.parts.pop(0)
            if device in part.devices:
                return part
        return None
