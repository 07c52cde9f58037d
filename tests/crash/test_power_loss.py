"""The power is cut at any moment of a store's life: what it said is stored is there, and the database is sound.

All that the store's own driver does to its files is recorded. For each trial a moment is chosen, and what a disk may
hold after that: everything that was flushed, and any part of what was not, in no order and torn.
"""

import asyncio
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import pytest

from hubd.storing import StoreError
from tests.command import ROOT, environment
from tests.crash.promises import Found, Promised, broken
from tests.crash.recorded_disk import SAID, Disk, Step, build_recorder, read_recording, write_files
from tests.crash.seed import HOW_TO_REPEAT, SEED
from tests.store.store_world import opened

LIFE_S = 60.0
MEMORY = Path("/dev/shm")
ROOM_BYTES = 500_000_000


class Size(NamedTuple):
    """How many trials; the disk that one of the cuts in a life leaves is what the next life begins with."""

    chains: int
    lives: int
    cuts: int


USUAL = Size(chains=2, lives=3, cuts=35)
FEW = Size(chains=1, lives=1, cuts=12)
MANY = Size(chains=5, lives=5, cuts=60)

SIZES = pytest.mark.parametrize(
    "size", [pytest.param(USUAL, id="usual"), pytest.param(MANY, id="many", marks=pytest.mark.long)]
)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_recorder(tmp_path_factory.mktemp("recorder"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """In memory, where there is room: what a flush is worth is simulated, so nobody has to wait for a real one."""
    if not (os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="hubd-power-loss-") as folder:
        yield Path(folder)


class Trials:
    """What came of the trials."""

    def __init__(self) -> None:
        self.count = 0
        self.promises = 0
        self.checkpoints = 0
        """How often the database file itself was written to."""
        self.bad: list[list[str]] = []
        """For each trial that went wrong what did."""

    def __str__(self) -> str:
        kinds = Counter(fault.rpartition(" ")[2] for faults in self.bad for fault in faults)
        return (
            f"{self.count} power cuts, {self.promises} promises looked after, {self.checkpoints} checkpoints;"
            f" {len(self.bad)} cuts with losses {dict(kinds)} (seed {SEED})"
        )


async def live(recorder: Path, folder: Path, recording: Path, *more: str) -> list[Step]:
    """Have a store live in this folder; gives all that it did."""
    recording.touch()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.storing", str(folder), str(recording), *more,
        env=environment(LD_PRELOAD=str(recorder), RECORD_FOLDER=str(folder), RECORD_LOG=str(recording)),
        cwd=ROOT, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(), LIFE_S)
    assert process.returncode == 0, said.decode()
    return read_recording(recording)


def moments(steps: list[Step], count: int, dice: random.Random) -> list[int]:
    """When the power is cut: any time, and right after something was promised."""
    promised = [place + 1 for place, step in enumerate(steps) if step.kind == SAID]
    anywhere = dice.sample(range(len(steps) + 1), count // 2)
    return sorted([*anywhere, *dice.sample(promised, count - len(anywhere))])


async def look(folder: Path, promised: Promised) -> list[str]:
    """Open what a power cut left; gives what is wrong with it."""
    path = folder / "hubd.db"
    try:
        async with opened(f"sqlite:///{path}") as world:
            loaded = await world.store.load()
            found = Found(loaded, {kept.row.key: kept async for kept in world.store.open_rows()})
        connection = sqlite3.connect(path)
        faults = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
        connection.close()
    except (StoreError, sqlite3.DatabaseError) as error:
        return [f"{error}: damaged"]
    return [*(f"{fault}: damaged" for fault in faults), *broken(promised, found)]


class Chain:
    """Lives of one store, each of which ends with a power cut."""

    def __init__(self, trials: Trials, recorder: Path, folder: Path, seed: str) -> None:
        self._trials = trials
        self._recorder = recorder
        self._folder = folder
        self._seed = seed
        self._dice = random.Random(seed)
        self._files: dict[str, bytes] = {}
        self._promised = Promised()

    async def live(self, life: int, cuts: int, *more: str) -> None:
        """One life, with many ends; the next one goes on after one of them."""
        folder, recording = self._folder / f"disk-{life}", self._folder / f"recording-{life}"
        write_files(folder, self._files)
        disk = Disk(folder)
        steps = await live(self._recorder, folder, recording, f"{life}", self._seed, *more)
        promised, before = deepcopy(self._promised), 0
        goes_on_after = self._dice.randrange(cuts)
        for number, moment in enumerate(moments(steps, cuts, self._dice)):
            disk.follow(steps[before:moment])
            promised.hear(steps[before:moment])
            before = moment
            files = disk.after_power_cut(self._dice)
            await self._look(f"{life}-{number}", files, promised)
            if number == goes_on_after:
                self._files, self._promised = files, deepcopy(promised)
        disk.follow(steps[before:])
        self._trials.checkpoints += disk.flushes("hubd.db")
        for name, data in disk.now().items():
            assert (folder / name).read_bytes() == data, f"the recording isn't complete: {name}"
        shutil.rmtree(folder)
        recording.unlink()

    async def _look(self, name: str, files: dict[str, bytes], promised: Promised) -> None:
        folder = self._folder / f"cut-{name}"
        write_files(folder, files)
        faults = await look(folder, promised)
        self._trials.count += 1
        self._trials.promises += len(promised)
        if faults:
            self._trials.bad.append([f"{folder.name}: {fault}" for fault in faults])
        shutil.rmtree(folder)


async def run_trials(recorder: Path, folder: Path, size: Size, *more: str) -> Trials:
    """Cut the power so many times; ``more``: what the store is to do otherwise."""
    trials = Trials()
    for number in range(size.chains):
        place = folder / f"{number}"
        place.mkdir()
        chain = Chain(trials, recorder, place, f"{SEED}-{number}")
        for life in range(size.lives):
            await chain.live(life, size.cuts, *more)
    return trials


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "size", [pytest.param(USUAL, id="usual"), pytest.param(MANY, id="many", marks=pytest.mark.long)]
)
async def test_a_power_cut_loses_nothing_that_was_promised(recorder: Path, disk: Path, size: Size) -> None:
    trials = await run_trials(recorder, disk, size)
    print(trials)
    assert trials.count >= 200
    assert trials.checkpoints > size.chains * size.lives * 2, "the log was never brought into the database"
    assert not trials.bad, f"{trials}\n{trials.bad[0][:10]}\n{HOW_TO_REPEAT}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
async def test_a_store_that_does_not_flush_is_found_out(recorder: Path, disk: Path, synchronous: str) -> None:
    trials = await run_trials(recorder, disk, FEW, synchronous)
    print(trials)
    assert len(trials.bad) > trials.count // 4
