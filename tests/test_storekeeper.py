"""A daemon's store, from its opening to its end."""

import subprocess
import sys
from random import Random

import pytest

from hubd.ids import Ids
from hubd.storekeeper import CLOSE_LEAST_S, CLOSE_S, Storekeeper
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
