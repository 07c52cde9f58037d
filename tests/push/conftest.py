"""Worlds for the tests of pushing."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.push.pushing_world import PushWorld

MakeWorld = Callable[..., PushWorld]


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    """Makes worlds, and ends them after the test."""
    made: list[PushWorld] = []

    def make(*args: Any, **options: Any) -> PushWorld:
        made.append(PushWorld(*args, **options))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: MakeWorld) -> PushWorld:
    return make_world()
