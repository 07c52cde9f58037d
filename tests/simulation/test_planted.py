"""Bugs planted one at a time: the simulation finds each of them, by the promise that it breaks."""

import pytest

from tests.simulation.history import run_history
from tests.simulation.observer import Broken
from tests.simulation.plants import PLANTS, Plant
from tests.simulation.push_plants import PUSH_PLANTS

ENOUGH = 400
FIRST = 520_000


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", [*PLANTS, *PUSH_PLANTS], ids=lambda plant: plant.bug.__name__)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        plant.bug(patch)
        for number in range(ENOUGH):
            try:
                run_history(FIRST + number, frozenset(plant.trouble))
            except Broken as broken:
                promise = str(broken).partition(":")[0]
                assert promise in plant.promises, str(broken)
                print(f"{plant.bug.__name__}: history {number}: {broken}")
                return
    pytest.fail(f"not found in {ENOUGH} histories")
