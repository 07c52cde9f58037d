"""A daemon's store, from its opening to its end."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

import hubd.storekeeper
from hubd.clock import SystemClock
from hubd.config import Config
from hubd.config_options import Store as StoreOptions
from hubd.core.stored import Lane, Schedule, Scheduled
from hubd.ids import Ids
from hubd.storekeeper import CLOSE_LEAST_S, CLOSE_S, Storekeeper
from hubd.storing import StoreError
from hubd.testing import FakeClock
from tests.steered_store import SteeredStore


class ClosedStore(SteeredStore):
    """Notes how long it may take to close."""

    within_s = -1.0

    async def close(self, within_s: float) -> None:
        self.within_s = within_s


@pytest.mark.parametrize(
    ("left_s", "within_s"), [(-3.0, CLOSE_LEAST_S), (0.5, CLOSE_LEAST_S), (2.0, 2.0), (30.0, CLOSE_S)]
)
async def test_storing_what_waits_fits_into_the_time_that_is_left(left_s: float, within_s: float) -> None:
    clock = FakeClock()
    keeper = Storekeeper(clock, Ids(clock, Random(1)))
    keeper.store = store = ClosedStore()
    await keeper.close(None, left_s)
    assert store.within_s == within_s


def test_no_library_for_databases_is_loaded_before_there_is_one() -> None:
    code = "import sys, hubd.storekeeper; print({'sqlalchemy', 'alembic', 'aiosqlite', 'asyncpg'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


async def test_in_dev_mode_a_second_hub_in_a_folder_has_a_store_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hubd.storekeeper, "DEV_START_S", 0.0)
    first, second = (Storekeeper(SystemClock(), Ids(SystemClock(), Random(seed))) for seed in (1, 2))
    await first.open(Config(), dev=True)
    await second.open(Config(), dev=True)
    assert second.store is not None
    await second.store.write(Schedule(Scheduled("k", "x", 1, b"{}")), Lane.PUBLISH)
    folder = second._folder
    assert folder is not None and Path(folder.name, "hubd.db").exists()
    assert first.store is not None and first._folder is None
    assert not (await first.store.load()).scheduled
    for keeper in (second, first):
        await keeper.close(None)
    assert not Path(folder.name).exists() and (tmp_path / "hubd.db").exists()


@pytest.mark.parametrize("chosen", [False, True])
async def test_otherwise_a_hub_without_its_store_doesnt_start(
    chosen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config(store=StoreOptions(url=f"sqlite:///{tmp_path}/nowhere/hubd.db")) if chosen else Config()
    first, second = (Storekeeper(SystemClock(), Ids(SystemClock(), Random(seed))) for seed in (1, 2))
    if not chosen:
        await first.open(config)
    with pytest.raises(StoreError):
        await second.open(config, waits=False, dev=chosen)
    for keeper in (second, first):
        await keeper.close(None)
