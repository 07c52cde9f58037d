"""Whoever carries out effects has a method for each of them, with the same arguments."""

import inspect

import pytest

from hubd.core.effects import Effects
from hubd.delivering import Delivering
from tests.core.delivery_world import World

NAMES = [name for name in vars(Effects) if not name.startswith("_")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("carrier", [Delivering, World])
def test_each_effect_can_be_carried_out(carrier: type, name: str) -> None:
    asked = list(inspect.signature(getattr(Effects, name)).parameters)
    assert list(inspect.signature(getattr(carrier, name)).parameters) == asked


def test_there_are_effects() -> None:
    assert sorted(NAMES) == ["cancel", "close", "fact", "keep", "push"]
