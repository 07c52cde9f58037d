"""Thousands of random histories of a hub without sockets, each beside the model: order, gaps, isolation, bounds."""

import pytest

from tests.model.histories import SEED, run_histories
from tests.model.machine import HubMachine, SlowBrokerMachine

PARTS = 4


@pytest.mark.timeout(600)  # what is found takes a while to be made short
@pytest.mark.parametrize("part", range(PARTS))
def test_histories(part: int) -> None:
    assert run_histories(HubMachine, 550, seed_=SEED + part) >= 550


@pytest.mark.timeout(600)
def test_histories_with_a_slow_broker() -> None:
    assert run_histories(SlowBrokerMachine, 400, seed_=SEED) >= 400


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS * 5))
def test_many_more_histories(part: int) -> None:
    assert run_histories(HubMachine, 2200, seed_=SEED + 100 + part, steps=60) >= 2200


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_many_more_histories_with_a_slow_broker(part: int) -> None:
    assert run_histories(SlowBrokerMachine, 2000, seed_=SEED + 100 + part, steps=60) >= 2000
