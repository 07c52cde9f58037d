"""The test kit for plugins: a hub in one call, whose time is turned by hand, and that hides no fault."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click import Group
from click.testing import CliRunner
from pydantic import ValidationError

from hubd.faults import PluginError
from hubd.plugin import PluginConfig, PluginHub, Problem, Routes, hookimpl, identity_of, json_answer
from hubd.testing import FakeClock, Other, hub_for


class Quiet:
    """A plugin that keeps its hub, and does nothing."""

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub


class Noting:
    """Notes what it is told, in order."""

    class Config(PluginConfig):
        word: str = "noted"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.notes: list[Any] = []

    @hookimpl
    def hubd_connected(self, connection: Any) -> None:
        self.notes.append(f"{self.config.word} {connection.user}")

    @hookimpl
    def hubd_reconfigure(self, config: Config) -> None:
        if config.word == "no":
            raise ValueError
        self.config = config

    @hookimpl
    def hubd_register_commands(self, commands: Group) -> None:
        commands.command("word")(lambda: print(self.config.word))


class Failing:
    """Fails whenever somebody connects."""

    @hookimpl
    def hubd_connected(self) -> None:
        raise ZeroDivisionError


# Names, options, others


async def test_a_plugin_has_the_name_of_its_class_or_another() -> None:
    async with hub_for(Quiet) as hub:
        assert (hub.name, hub.plugin.hub.name) == ("quiet", "quiet")
    async with hub_for(Quiet, name="silent") as hub:
        assert (hub.name, hub.plugin.hub.name) == ("silent", "silent")


async def test_options_are_checked() -> None:
    with pytest.raises(ValidationError):
        async with hub_for(Noting, {"word": 5}):
            raise AssertionError("it mustn't get here")
    async with hub_for(Noting, {"word": "saw"}) as hub:
        assert hub.plugin.config.word == "saw"
    async with hub_for(Noting, Noting.Config(word="met")) as hub:
        assert hub.plugin.config.word == "met"


async def test_others_are_in_the_same_hub() -> None:
    async with hub_for(Quiet, others=[Other("notes", Noting, {"word": "saw"})]) as hub:
        hub.connect("ada")
        await hub.settle()
        assert hub.plugins.hooks.plugins["notes"].instance.notes == ["saw ada"]  # type: ignore[attr-defined]  # Noting


async def test_settings_are_the_hubs_own() -> None:
    async with hub_for(Quiet, settings={"limits": {"message_bytes": 100}}) as hub:
        with pytest.raises(Problem) as refused:
            await hub.publish("user:ada", {"type": "note", "text": "x" * 100})
        assert refused.value.code == "too_large"


async def test_randomness_is_the_same_every_time() -> None:
    ids = []
    for seed in (1, 1, 2):
        async with hub_for(Quiet, seed=seed) as hub:
            ids.append((await hub.publish("user:ada")).id)
    assert ids[0] == ids[1] != ids[2]


# Faults


async def test_a_fault_fails_the_test_and_is_shown_as_its_cause() -> None:
    with pytest.raises(AssertionError, match=r"plugin failing failed in connected \(raised\); 2 faults") as failed:
        async with hub_for(Failing) as hub:
            hub.connect("ada")
            hub.connect("bob")
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


async def test_faults_can_be_what_is_tested() -> None:
    async with hub_for(Failing, allow_faults=True) as hub:
        hub.connect("ada")
        await hub.settle()
        (fault,) = hub.faults
        assert (fault.plugin, fault.where, fault.kind) == ("failing", "connected", "raised")


async def test_what_fails_in_the_test_comes_before_the_faults() -> None:
    with pytest.raises(KeyError):
        async with hub_for(Failing) as hub:
            hub.connect("ada")
            await hub.settle()
            raise KeyError


async def test_time_limits_can_be_short() -> None:
    class Slow:
        @hookimpl
        async def hubd_connected(self) -> None:
            await asyncio.sleep(60)

    async with hub_for(Slow, allow_faults=True, timeout_s=0.01) as hub:
        hub.connect("ada")
        await hub.until(lambda: hub.faults)
        assert hub.faults[0].kind == "too_long"


async def test_a_plugin_that_cant_start_says_why() -> None:
    class NoBroker:
        @hookimpl
        def hubd_broker(self) -> Any:
            raise ValueError("there is none")

    class NoStart:
        @hookimpl
        def hubd_startup(self) -> None:
            raise ValueError("not today")

    for plugin, hook in ((NoBroker, "hubd_broker"), (NoStart, "hubd_startup")):
        with pytest.raises(PluginError, match=f"{hook} failed: ValueError"):
            async with hub_for(plugin):
                raise AssertionError("it mustn't get here")


# Time


async def test_sleepers_wake_in_order_and_at_their_time() -> None:
    async with hub_for(Quiet) as hub:
        woken: list[tuple[str, float]] = []
        begun = hub.clock.monotonic()

        async def sleep(name: str, *naps: float) -> None:
            for nap in naps:
                await hub.plugin.hub.sleep(nap)
                woken.append((name, hub.clock.monotonic() - begun))

        hub.plugin.hub.start(sleep("long", 20), "long")
        hub.plugin.hub.start(sleep("short", 5, 5, 11), "short")
        await hub.advance(19)
        assert woken == [("short", 5.0), ("short", 10.0)]
        await hub.advance(2)
        assert woken[2:] == [("long", 20.0), ("short", 21.0)]
        assert hub.clock.monotonic() - begun == 21


async def test_time_stands_still_and_a_given_clock_is_used() -> None:
    clock = FakeClock(now=5000.0)
    async with hub_for(Quiet, clock=clock) as hub:
        assert hub.plugin.hub.clock is clock
        await hub.settle()
        assert clock.now() == 5000.0


async def test_what_the_hub_does_in_time_is_done() -> None:
    async with hub_for(Quiet) as hub:
        hub.connect("ada").drop()
        assert hub.plugin.hub.presence("ada") == "wavering"
        await hub.advance(3600)
        assert await hub.metric("hubd_users", state="wavering") == 0


async def test_settling_waits_for_all_that_needs_no_time() -> None:
    async with hub_for(Quiet) as hub:
        steps = []

        async def walk() -> None:
            for step in range(500):
                await asyncio.sleep(0)
                steps.append(step)

        hub.plugin.hub.start(walk(), "walk")
        await hub.settle()
        assert len(steps) == 500


async def test_what_never_settles_is_given_up() -> None:
    async with hub_for(Quiet) as hub:

        async def run() -> None:
            while True:
                await asyncio.sleep(0)

        task = hub.plugin.hub.start(run(), "run")
        async with asyncio.timeout(5):
            await hub.settle()
        assert not task.done()
        task.cancel()


async def test_the_end_needs_no_time_and_whoever_sleeps_in_a_loop_doesnt_stop_it() -> None:
    class Sleepy:
        @hookimpl
        def hubd_startup(self, hub: PluginHub) -> None:
            self.hub, self.naps, self.closed = hub, 0, False
            hub.start(self.run(), "run")

        async def run(self) -> None:
            while True:
                await self.hub.sleep(60)
                self.naps += 1

        @hookimpl
        async def hubd_shutdown(self) -> None:
            await self.hub.sleep(3600)
            await asyncio.sleep(0.05)
            self.closed = True

    async with asyncio.timeout(10):
        async with hub_for(Sleepy) as hub:
            await hub.settle()
            assert hub.plugin.naps == 0
    assert hub.plugin.closed
    assert hub.plugin.naps > 0


async def test_time_passes_until_something_is_so() -> None:
    async with hub_for(Quiet) as hub:
        begun = hub.clock.monotonic()
        await hub.until(lambda: hub.clock.monotonic() >= begun + 30, step_s=10)
        assert hub.clock.monotonic() == begun + 30
        with pytest.raises(AssertionError, match="didn't happen within 0.05 s"):
            await hub.until(lambda: False, real_s=0.05)


# What a test does


async def test_a_publish_needs_not_wait_for_everybody() -> None:
    async with hub_for(Noting) as hub:
        ada = hub.connect("ada")
        await hub.publish("user:ada", settle=False)
        assert hub.plugin.notes == []
        await hub.settle()
        assert (hub.plugin.notes, len(ada.notifications())) == (["noted ada"], 1)


async def test_users_publish() -> None:
    class Asked:
        @hookimpl
        def hubd_startup(self) -> None:
            self.by: list[Any] = []

        @hookimpl
        def hubd_authorize_publish(self, publisher: str, identity: Any) -> None:
            self.by.append((publisher, identity and identity.tags))

    async with hub_for(Asked) as hub:
        ada = hub.connect("ada")
        for who in (None, "bob", identity_of("eve", tags=["staff"])):
            await hub.publish("notifications", as_user=who)
        assert hub.plugin.by == [("key:test", None), ("user:bob", ()), ("user:eve", ("staff",))]
        assert [one.get("from") for one in ada.notifications()] == [None, "bob", "eve"]


async def test_the_test_has_a_handle_of_its_own() -> None:
    async with hub_for(Noting) as hub:
        await hub.handle.subscribe("ada", ["news"])
        assert len(hub.handle.subscribers("news")) == 1


async def test_users_servers_and_strangers_ask() -> None:
    class Who:
        @hookimpl
        def hubd_register_routes(self, routes: Routes) -> None:
            routes.user("GET", "/api/who", self.user)
            routes.server("POST", "/api/who", self.server)

        async def user(self, request: Any, identity: Any) -> Any:
            return json_answer({"user": identity.user, "x": request.query.get("x")})

        async def server(self, request: Any, key: Any) -> Any:
            return json_answer({"key": key.id, "said": await request.json(), "header": request.headers["x-one"]}, 201)

    async with hub_for(Who) as hub:
        answer = await hub.request("GET", "/api/who?x=1", user="ada")
        assert (answer.status, answer.json()) == (200, {"user": "ada", "x": "1"})
        answer = await hub.request("POST", "/api/who", key=True, json={"a": 1}, headers={"x-one": "2"})
        assert (answer.status, answer.json()) == (201, {"key": "test", "said": {"a": 1}, "header": "2"})
        assert (await hub.request("GET", "/api/who")).status == 401
        assert (await hub.request("POST", "/api/who")).headers["content-type"] == "application/problem+json"


async def test_metrics_are_read_by_name_and_labels() -> None:
    async with hub_for(Noting) as hub:
        hub.connect("ada")
        await hub.settle()
        assert await hub.metric("hubd_hook_calls_total", plugin="noting", hook="connected") == 1
        for name, labels in (("hubd_hook_calls_total", {"hook": "connected"}), ("hubd_hook", {})):
            with pytest.raises(KeyError):
                await hub.metric(name, **labels)
        with pytest.raises(KeyError, match=r'there are: hubd_plugin_up{plugin="noting"}'):
            await hub.metric("hubd_plugin_up")
        for name, near in (("hubd_plugins_up", "there are: hubd_plugin_up"), ("zzz", "none like it")):
            with pytest.raises(KeyError, match=near):
                await hub.metric(name)


async def test_it_is_the_class_that_is_handed_in() -> None:
    with pytest.raises(TypeError, match="takes the class"):
        async with hub_for(Quiet()):  # type: ignore[arg-type]  # that is what is tested
            raise AssertionError("it mustn't get here")


async def test_options_are_handed_over_again() -> None:
    async with hub_for(Noting, {"word": "saw"}) as hub:
        hub.reconfigure({"word": "met"})
        assert hub.plugin.config.word == "met"
        with pytest.raises(PluginError):
            hub.reconfigure({"word": "no"})
        with pytest.raises(ValidationError):
            hub.reconfigure({"wort": "met"})
    async with hub_for(Quiet, others=[Other("notes", Noting, {"word": "saw"})]) as hub:
        hub.reconfigure({})
        assert hub.plugins.hooks.plugins["notes"].instance.config.word == "saw"  # type: ignore[attr-defined]  # Noting


async def test_being_reconfigured_switches_on_again() -> None:
    async with hub_for(Failing, allow_faults=True) as hub:
        for user in "abcdef":
            hub.connect(user)
        await hub.settle()
        assert (len(hub.faults), await hub.metric("hubd_plugin_up", plugin="failing")) == (5, 0)
        hub.reconfigure({})
        assert await hub.metric("hubd_plugin_up", plugin="failing") == 1


async def test_commands_run_with_the_plugins_options() -> None:
    async with hub_for(Noting, {"word": "met"}) as hub:
        assert CliRunner().invoke(hub.commands, ["word"]).output == "met\n"


async def test_connections_are_those_of_users_or_identities() -> None:
    async with hub_for(Quiet) as hub:
        ada = hub.connect(identity_of("ada", topics=["news"]), ["news", "gossip"])
        await hub.publish(["news", "gossip"], {"type": "note"})
        assert [one["channel"] for one in ada.notifications()] == ["news"]
        cursor = ada.notifications()[0]["cursor"]
        ada.drop()
        await hub.publish("user:ada", {"type": "later"})
        assert [one["type"] for one in hub.connect("ada", cursor=cursor).notifications()] == ["later"]


# The fixture


def test_the_fixture_is_found_and_wants_hubs_closed(tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text("""
class Quiet:
    pass

async def test_closed(hub_for):
    async with hub_for(Quiet) as hub:
        assert hub.name == "quiet"

async def test_left_open(hub_for):
    global left
    left = hub_for(Quiet)
    await left.__aenter__()
""")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto",
               "-o", "asyncio_default_fixture_loop_scope=function", "--rootdir", str(tmp_path), str(test)]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=tmp_path)
    assert "2 passed, 1 error" in ended.stdout, ended.stdout
    assert "ERROR test_it.py::test_left_open - AssertionError: a hub is still open" in ended.stdout
