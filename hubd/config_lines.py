"""On which line of a TOML file something stands, so that an error leads straight to it."""

import tomllib
from collections.abc import Mapping
from typing import Any

Path_ = tuple[str | int, ...]

WORK_CHARS = 2_000_000
"""How much text is parsed at most to find lines; what stands behind that in an enormous file has none."""


class Lines:
    """The lines of a file that ``tomllib`` takes: of every table, key and list entry, where it is first named.

    There is no second reading of TOML's grammar here: the text is cut into the smallest pieces that tomllib takes by
    themselves, which are its statements, and each is asked what it defines.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path_, int] = {}
        self._entries: dict[tuple[str, ...], int] = {}  # how often each [[list of tables]] has come
        self._table: Path_ = ()
        self._work = 0
        lines = text.split("\n")
        start = 0
        while start < len(lines) and self._work < WORK_CHARS:
            end, found = self._statement(lines, start)
            if found:
                self._note(lines[start], found, start + 1)
            start = end

    def find(self, path: Path_) -> int | None:
        """The line of the path, or of the nearest around it that has one; None: it is nowhere in the file."""
        for length in range(len(path), 0, -1):
            if (line := self._lines.get(path[:length])) is not None:
                return line
        return None

    def _statement(self, lines: list[str], start: int) -> tuple[int, dict[str, Any]]:
        """Where the statement that begins on this line ends, and what it says by itself."""
        text = ""
        for end in range(start, len(lines)):
            text += lines[end] + "\n"
            self._work += len(text)
            if self._work >= WORK_CHARS:
                break
            try:
                return end + 1, tomllib.loads(text)
            except (ValueError, RecursionError):
                continue  # a text or a list over several lines
        return len(lines), {}

    def _note(self, first: str, found: dict[str, Any], line: int) -> None:
        head = first.lstrip()
        if not head.startswith("["):
            self._note_values(self._table, found, line)
            return
        names: tuple[str, ...] = ()
        table: Path_ = ()
        value: Any = found
        while isinstance(value, Mapping) and value:
            name, value = next(iter(value.items()))
            names, table = (*names, name), (*table, name)
            if head.startswith("[[") and isinstance(value, list):
                self._entries[names] = self._entries.get(names, -1) + 1
            if names in self._entries:
                self._lines.setdefault(table, line)
                table = (*table, self._entries[names])
            self._lines.setdefault(table, line)
        self._table = table

    def _note_values(self, path: Path_, value: Any, line: int) -> None:
        self._lines.setdefault(path, line)
        if isinstance(value, dict):
            for key, inner in value.items():
                self._note_values((*path, key), inner, line)
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                self._note_values((*path, place), inner, line)
