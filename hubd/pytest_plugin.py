"""The pytest fixture ``hub_for``, for the tests of plugins; found by its entry point, there is nothing to import."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest


@pytest.fixture(name="hub_for")
def hub_for_fixture() -> Iterator[Any]:
    """``hubd.testing.hub_for``; at the end of the test every hub that it opened must have been closed."""
    from hubd.testing import PluginWorld, hub_for  # only for whoever wants it: it imports the whole hub

    opened: list[PluginWorld] = []
    yield partial(hub_for, opened=opened.append)
    left = [world for world in opened if world.left_open or not world.ended]
    assert not left, "a hub is still open: use `async with hub_for(...) as hub:`"
