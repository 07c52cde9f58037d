"""Thousands of random histories of the whole hub, with everything that can go wrong around it, under virtual time."""

import pytest

from tests.simulation.seeds import run_histories

PARTS, EACH = 10, 200
MANY_PARTS, MANY_EACH = 20, 1000


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_histories(part: int) -> None:
    assert run_histories(range(part * EACH, (part + 1) * EACH)) == EACH


@pytest.mark.long
@pytest.mark.parametrize("part", range(MANY_PARTS))
def test_many_more_histories(part: int) -> None:
    first = PARTS * EACH + part * MANY_EACH
    assert run_histories(range(first, first + MANY_EACH)) == MANY_EACH
