"""What a disk holds after a power cut, worked out from a recording of all that was done to the files in a folder."""

import os
import random
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).with_name("recording_disk.c")
SECTOR = 512
"""What a disk writes wholly or not at all."""
HEAD = struct.Struct("=8sQQQ")
SAID = b"A"
"""The kind of records that the recorded process itself adds, in between: what it has told somebody."""
TORN = 0.3
"""So often one that isn't flushed is torn."""


class Step(NamedTuple):
    """One record; what the kinds are, the recorder's source says."""

    kind: bytes
    file: int
    where: int
    data: bytes


def build_recorder(folder: Path) -> Path:
    """Compile the library that records."""
    library = folder / "recording_disk.so"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    try:
        subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    except FileNotFoundError:
        pytest.fail("a C compiler is needed. On Debian: apt-get install gcc libc6-dev", pytrace=False)
    return library


def say(recording: int, data: bytes) -> None:
    """Add to a recording (an open file) that something was said at this moment."""
    os.write(recording, HEAD.pack(SAID, 0, 0, len(data)) + data)


def read_recording(path: Path) -> list[Step]:
    """All steps, in their order."""
    data = path.read_bytes()
    steps, place = [], 0
    while place < len(data):
        kind, file, where, length = HEAD.unpack_from(data, place)
        place += HEAD.size
        steps.append(Step(kind.rstrip(b"\0"), file, where, data[place : place + length]))
        place += length
    return steps


class _File:
    """The bytes that are sure to be there, and what was done since."""

    def __init__(self, sure: bytes = b"") -> None:
        self.sure = bytearray(sure)
        self.unsure: list[Step] = []
        self.flushes = 0
        """How often it was flushed with something new in it."""

    def flush(self) -> None:
        for step in self.unsure:
            _apply(self.sure, step)
        self.flushes += bool(self.unsure)
        self.unsure = []

    def whole(self) -> bytearray:
        """As whoever reads it sees it."""
        data = bytearray(self.sure)
        for step in self.unsure:
            _apply(data, step)
        return data

    def left(self, part: float, dice: random.Random) -> bytes:
        """Of what was done since the last flush about this part is there, in no order, and some of it torn."""
        data = bytearray(self.sure)
        for step in self.unsure:
            if dice.random() >= part:
                continue
            if step.kind == b"W" and part < 1 and dice.random() < TORN:
                for sector in _sectors(step):
                    if dice.random() < 0.5:
                        _apply(data, sector)
            else:
                _apply(data, step)
        return bytes(data)


def _apply(data: bytearray, step: Step) -> None:
    end = step.where + len(step.data)
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    if step.kind == b"T":
        del data[step.where :]
    else:
        data[step.where : end] = step.data


def _sectors(step: Step) -> Iterator[Step]:
    start, end = step.where, step.where + len(step.data)
    while start < end:
        stop = min(end, start - start % SECTOR + SECTOR)
        yield Step(step.kind, step.file, start, step.data[start - step.where : stop - step.where])
        start = stop


class Disk:
    """Begins with the files that are in a folder, all of them flushed, and follows a recording from there."""

    def __init__(self, folder: Path) -> None:
        paths = [path for path in folder.iterdir() if path.is_file()]
        self._files = {path.stat().st_ino: _File(path.read_bytes()) for path in paths}
        self._names: dict[str, list[_File | None]] = {path.name: [self._files[path.stat().st_ino]] for path in paths}
        """What each name has stood for since the folder was flushed; the first of them is sure."""

    def follow(self, steps: Iterable[Step]) -> None:
        """Do what was recorded."""
        for step in steps:
            match step.kind:
                case b"C":
                    made = self._files[step.file] = _File()
                    self._names.setdefault(step.data.decode(), [None]).append(made)
                case b"U":
                    self._names[step.data.decode()].append(None)
                case b"W" | b"T":
                    self._files[step.file].unsure.append(step)
                case b"S":
                    self._files[step.file].flush()
                case b"D":
                    self._names = {name: [history[-1]] for name, history in self._names.items()}
                case _:
                    assert step.kind == SAID, step

    def now(self) -> dict[str, bytes]:
        """The files as whoever reads them sees them."""
        there = {name: history[-1] for name, history in self._names.items()}
        return {name: bytes(file.whole()) for name, file in there.items() if file is not None}

    def flushes(self, name: str) -> int:
        """How often a file was flushed with something new in it."""
        file = self._names[name][-1]
        return 0 if file is None else file.flushes

    def after_power_cut(self, dice: random.Random) -> dict[str, bytes]:
        """The files after the power was cut at this moment."""
        part = dice.choice((0.0, 0.0, 0.1, 0.5, 0.9, 1.0))
        left: dict[str, bytes] = {}
        for name, history in self._names.items():
            file = history[0] if part == 0 else dice.choice(history)
            if file is not None:
                left[name] = file.left(part, dice)
        return left


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder with these files."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
