"""The zoo's animals with which a hub doesn't start: one line says why, and what was started is stopped again."""

from collections.abc import Callable
from typing import Any

import pytest

from hubd.faults import PluginError
from hubd.plugin import hookimpl
from hubd.testing import Other, PluginWorld, hub_for
from tests.hooks.zoo.starting import ANIMALS, Platform, answers

LIMIT_S = 0.1


@pytest.fixture(autouse=True)
def short_cleanup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.hooks.driving.CLEANUP_S", LIMIT_S)


class First:
    """A good plugin before it."""

    def __init__(self, config: Any) -> None:
        self.life: list[str] = []

    @hookimpl
    def hubd_startup(self) -> None:
        self.life.append("started")

    @hookimpl
    def hubd_shutdown(self) -> None:
        self.life.append("stopped")


async def why_not(*plugins: type[Any], opened: Callable[[PluginWorld], None] = lambda world: None) -> str:
    names = ["animal", "second"]
    others = [Other(name, plugin) for name, plugin in zip(names, plugins, strict=False)]
    with pytest.raises(PluginError) as caught:
        async with hub_for(First, name="first", others=others, timeout_s=LIMIT_S, opened=opened):
            pass
    return str(caught.value)


@pytest.mark.parametrize("name", ANIMALS)
async def test_the_hub_does_not_start(name: str) -> None:
    worlds: list[PluginWorld] = []
    animal = ANIMALS[name]
    said = await why_not(animal, opened=worlds.append)
    assert animal.why in said and "secret" not in said and "\n" not in said, said
    for world in worlds:  # those that were made
        assert world.plugin.life in ([], ["started", "stopped"])


async def test_what_was_started_is_stopped() -> None:
    worlds: list[PluginWorld] = []
    await why_not(ANIMALS["raises"], opened=worlds.append)
    assert worlds[0].plugin.life == ["started", "stopped"]


async def test_two_brokers() -> None:
    class Broker:
        def start(self, on_publication: Any, sequence: int) -> None: ...

        async def publish(self, notification: Any) -> None: ...

    animal = answers("broker", Broker, "")
    assert await why_not(animal, animal) == "plugins animal and second both bring a broker: turn one of them off"


async def test_two_push_backends_of_one_platform() -> None:
    animal = answers("push_backends", lambda: [Platform()], "")
    assert await why_not(animal, animal) == "plugin second: there is a push backend for 'fcm' already"
