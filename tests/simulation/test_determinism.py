"""The same seed gives the same history, byte for byte: only so can what was found be found again."""

import subprocess
import sys

import pytest

from tests.simulation.history import History

SEEDS = (1, 2, 3, 5, 8, 13)
_AGAIN = """
from tests.simulation.test_determinism import told
for seed in {seeds}:
    print(*told(seed), sep="\\n")
"""


def told(seed: int) -> list[str]:
    """All that happened in a history, and a checksum of what the hub wrote."""
    history = History(seed)
    world = history.world
    try:
        history.run()
    except AssertionError as error:  # whether it is a good history is another test's matter
        return [*world.observer.trace, str(error), str(world.bytes)]
    return [*world.observer.trace, str(world.bytes)]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_gives_the_same_history(seed: int) -> None:
    first = told(seed)
    assert len(first) > 20
    assert told(seed) == first


def test_another_seed_gives_another_one() -> None:
    assert told(1) != told(2)


def test_it_is_so_in_another_process_with_another_hash() -> None:
    command = [sys.executable, "-c", _AGAIN.format(seeds=SEEDS)]
    again = subprocess.run(command, capture_output=True, text=True, env={"PYTHONHASHSEED": "17"}, check=True)
    here = [line for seed in SEEDS for line in told(seed)]
    assert again.stdout.splitlines() == here
