"""The plugins of one hub, together. What bad ones do is in the zoo; whole processes are in test_plugin_process."""

import sys
from types import FrameType
from typing import Any

import pytest

from hubd.config import Config
from hubd.faults import PluginError
from hubd.hooks.catalog import PluginConfig
from hubd.hooks.manager import Plugins
from hubd.hooks.switching import FAULTS
from hubd.hooks.watchdog import Block
from hubd.plugin import Draft, PluginHub, hookimpl
from hubd.testing import Other, PluginWorld, hub_for


class Recorder:
    """Knows what it was called with."""

    class Config(PluginConfig):
        word: str = "a"
        refuses: str = ""

    def __init__(self, config: "Recorder.Config") -> None:
        self.config = config
        self.words = [config.word]
        self.fails = False
        self.drafts: list[Draft] = []

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    def hubd_reconfigure(self, config: "Recorder.Config") -> None:
        if config.word == self.config.refuses:
            raise RuntimeError
        self.words.append(config.word)

    @hookimpl
    def hubd_prepare_notification(self, draft: Draft) -> None:
        self.drafts.append(draft)
        if self.fails:
            raise RuntimeError

    def frame(self) -> FrameType:
        return sys._getframe()


def config_with(**words: str) -> Config:
    options = {name: Recorder.Config(word=word) for name, word in words.items()}
    return Config().model_copy(update={"plugins": options})


def instance(world: PluginWorld, name: str) -> Any:
    return world.plugins.hooks.plugins[name].instance


async def test_all_get_their_options_at_a_reload() -> None:
    async with hub_for(Recorder, name="one", others=[Other("two", Recorder)]) as world:
        world.plugins.apply(config_with(one="b", two="a"))
        assert instance(world, "one").words == ["a", "b"]
        assert world.plugins.reconfigurable("one") and not world.plugins.reconfigurable("three")


async def test_one_that_refuses_gives_all_their_options_back() -> None:
    others = [Other("two", Recorder, {"refuses": "c"}), Other("three", Recorder)]
    async with hub_for(Recorder, name="one", others=others) as world:
        world.plugins.apply(config_with(one="b", two="b", three="b"))
        with pytest.raises(PluginError, match=r"plugin two: hubd_reconfigure failed: RuntimeError \(.*test_manager.py"):
            world.plugins.apply(config_with(one="c", two="c", three="c"))
        assert instance(world, "one").words == ["a", "b", "c", "b"]
        assert instance(world, "two").words[-1] == instance(world, "three").words[-1] == "b"
        assert not world.faults


async def test_one_that_is_switched_off_gets_its_options_and_is_on_again() -> None:
    async with hub_for(Recorder, name="one", allow_faults=True) as world:
        world.plugin.fails = True
        for _ in range(FAULTS):
            await world.publish("user:ada")
        plugin = world.plugins.hooks.plugins["one"]
        assert not plugin.is_on
        world.plugins.apply(config_with(one="b"))
        assert plugin.is_on and world.plugin.words == ["a", "b"]


async def test_off_stays_off_when_the_reload_is_refused() -> None:
    others = [Other("two", Recorder, {"refuses": "b"})]
    async with hub_for(Recorder, name="one", others=others, allow_faults=True) as world:
        world.plugin.fails = True
        for _ in range(FAULTS):
            await world.publish("user:ada")
        with pytest.raises(PluginError):
            world.plugins.apply(config_with(one="b", two="b"))
        assert not world.plugins.hooks.plugins["one"].is_on
        assert world.plugin.words == ["a", "b", "a"]


async def test_code_is_its_plugins() -> None:
    async with hub_for(Recorder, name="one") as world:
        assert world.plugins.owner(world.plugin.frame()) == "one"
        assert world.plugins.owner(sys._getframe().f_back or sys._getframe()) in ("", "one")


async def test_code_that_two_share_is_nobodys() -> None:
    async with hub_for(Recorder, name="one", others=[Other("two", Recorder)]) as world:
        assert world.plugins.owner(world.plugin.frame()) == ""


@pytest.mark.parametrize(("plugin", "certain", "counts"), [("one", True, 1), ("one", False, 0), ("", True, 0)])
async def test_only_who_surely_blocked_is_told_off(plugin: str, certain: bool, counts: int) -> None:
    async with hub_for(Recorder, name="one", allow_faults=True) as world:
        world.plugins.blocked(Block(plugin, ("a.py:1 f", "b.py:2 g"), 0.5, certain))
        assert [(fault.kind, fault.where) for fault in world.faults] == [("blocked", "b.py:2 g")] * counts


def test_a_class_without_init_is_made_without_options() -> None:
    class Bare:
        @hookimpl
        def hubd_published(self) -> None: ...

    from hubd.hooks.calls import Hooks
    from hubd.testing import FakeClock

    plugins = Plugins(Hooks(FakeClock()))
    assert isinstance(plugins.add("bare", Bare, PluginConfig()).instance, Bare)


async def test_arguments_are_handed_over_by_name() -> None:
    class Odd:
        def __init__(self, config: Any) -> None:
            self.got: list[Any] = []

        @hookimpl
        def hubd_authorize_publish(self, channels: tuple[str, ...], publisher: str) -> None:
            self.got += [publisher, channels]

    async with hub_for(Odd) as world:
        await world.publish("user:ada")
        assert world.plugin.got == ["key:test", ("user:ada:notifications",)]
