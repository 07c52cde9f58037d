"""What a plugin can ask of the hub, and tell it."""

import asyncio
import logging
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.core.presence import State
from hubd.core.subscriptions import Grant
from hubd.core.users import UserSet
from hubd.hooks.switching import FAULTS
from hubd.plugin import Draft, PluginConfig, PluginHub, hookimpl
from hubd.testing import Other, PluginWorld, hub_for, identity


class Quiet:
    """A plugin that has the hub, and notes of what it is told."""

    def __init__(self, config: PluginConfig) -> None:
        self.hub: PluginHub
        self.told: list[Any] = []

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    def hubd_devices_gone(self, user: str, devices: Any, reason: str) -> None:
        self.told.append((user, devices, reason))

    @hookimpl
    def hubd_subscribed(self, user: str, topic: str, connection: Any) -> None:
        self.told.append(("subscribed", user, topic, connection and connection.user))

    @hookimpl
    def hubd_unsubscribed(self, user: str, topic: str, connection: Any) -> None:
        self.told.append(("unsubscribed", user, topic, connection and connection.user))


def its(world: PluginWorld) -> PluginHub:
    hub = world.plugin.hub
    assert isinstance(hub, PluginHub)
    return hub


# --- Publishing


async def test_it_publishes_as_a_server_does() -> None:
    async with hub_for(Quiet, name="quiet") as world:
        ada = world.connect("ada", ["t"])
        hub = its(world)
        receipt = await hub.publish("t", {"type": "x", "text": "hi"}, id="n1", priority="critical", ttl=60)
        again = await hub.publish("t", {"type": "x", "text": "hi"}, id="n1", priority="critical", ttl=60)
        assert again == receipt == (receipt.id, receipt.cursor, 1)
        await hub.publish(("u", "user:ada"), {"type": "x"}, id="n2")
        await world.settle()
        first, second = ada.notifications()
        assert (first["id"], first["text"], first["priority"]) == ("n1", "hi", "critical") and "from" not in first
        assert second["channel"] == "user:ada:notifications"
        found = hub.find("n1")
        assert found is not None and found.payload == {"type": "x", "text": "hi"} and hub.find("n3") is None
        await world.advance(61)
        assert hub.find("n1") is None


async def test_its_ids_are_its_own() -> None:
    async with hub_for(Quiet, name="quiet", others=[Other("other", Quiet)]) as world:
        ada = world.connect("ada", ["t"])
        other: Any = world.hub.hooks.plugins["other"].instance
        for hub in (its(world), other.hub, its(world)):
            await hub.publish("t", {"type": "x"}, id="n1")
        await world.publish("t", id="n1")
        await world.settle()
        assert len(ada.notifications()) == 3


@pytest.mark.parametrize(
    ("to", "notification", "more"),
    [
        ("", {"type": "x"}, {}),
        ([], {"type": "x"}, {}),
        ("t", {}, {}),
        ("t", {"type": "x", "id": "y"}, {}),
        ("t", {"type": "x"}, {"priority": "loud"}),
        ("t", {"type": "x"}, {"what": 1}),
    ],
)
async def test_what_it_cant_publish(to: Any, notification: dict[str, Any], more: dict[str, Any]) -> None:
    async with hub_for(Quiet) as world:
        with pytest.raises(Problem) as refused:
            await its(world).publish(to, notification, **more)
        assert refused.value.code == "invalid" and refused.value.errors


async def test_it_takes_back() -> None:
    async with hub_for(Quiet) as world:
        ada = world.connect("ada", ["t"])
        hub = its(world)
        await hub.publish("t", {"type": "x"}, id="n1")
        found = hub.find("n1")
        assert found is not None
        hub.retract(found)
        hub.retract(found)
        await world.settle()
        assert hub.find("n1") is None and {"hub": "retract", "ids": ["n1"]} in ada.frames


# --- Users


async def test_numbers_of_users() -> None:
    async with hub_for(Quiet) as world:
        hub = its(world)
        ada = hub.number_of("ada")
        assert hub.number_of("ada") == ada and hub.user_of(ada) == "ada" and hub.user_of(10**6) is None
        assert hub.users(["ada", "bob", "ada"]) == UserSet([ada, hub.number_of("bob")])
        assert world.connect("ada").user.number == ada  # type: ignore[union-attr]  # it is connected
        for wrong in ("", "a b", "x" * 65, "ü"):
            with pytest.raises(ValueError, match="a user id is"):
                hub.number_of(wrong)


async def test_a_number_that_it_asked_for_stays_the_users_until_it_forgets_him() -> None:
    async with hub_for(Quiet) as world:
        hub, numbers = its(world), world.hub.numbers
        numbers._limit = 10
        ada = hub.number_of("ada")
        hub.number_of("ada")

        def crowd(name: str) -> None:
            for place in range(50):
                numbers.number_of(f"{name}{place}")

        crowd("one")
        assert hub.user_of(ada) == "ada" and hub.number_of("ada") == ada
        hub.forget("ada")
        hub.forget("ada")
        hub.forget("nobody")
        crowd("two")
        assert hub.user_of(ada) is None and hub.number_of("ada") != ada


async def test_who_is_there() -> None:
    async with hub_for(Quiet) as world:
        hub = its(world)
        assert not hub.present() and hub.presence("ada") is State.AWAY and hub.connections("ada") == []
        ada, second = world.connect("ada", ["t"]), world.connect("ada")
        await world.hub.durables.put("bob", "t", Grant(by_server=True))
        assert hub.present() == hub.users(["ada"]) and hub.presence("ada") is not State.AWAY
        assert [info.id for info in hub.connections("ada")] == [ada.id, second.id]
        info = hub.connections("ada")[0]
        assert (info.user, info.transport, info.identity) == ("ada", "recording", ada.identity)
        assert hub.subscribers("t") == hub.users(["ada", "bob"]) and hub.subscribers("u") == UserSet()
        for wrong in ("notifications", "user:ada", "no topic!", ""):
            with pytest.raises(Problem):
                hub.subscribers(wrong)
        ada.drop()
        assert hub.subscribers("t") == hub.users(["bob"]) and hub.present() == hub.users(["ada"])


async def test_it_disconnects_a_user() -> None:
    async with hub_for(Quiet) as world:
        ada, bob = [world.connect("ada"), world.connect("ada")], world.connect("bob")
        assert its(world).disconnect("ada") == 2 and its(world).disconnect("ada") == 0
        assert all(one.ended is not None and one.ended.reason == "revoked" for one in ada) and bob.ended is None


async def test_it_subscribes_users_for_good() -> None:
    async with hub_for(Quiet) as world:
        hub = its(world)
        ada = world.connect("ada")
        await hub.subscribe("ada", ["t", "u"])
        await hub.subscribe("bob", ["v"], identity("bob", topics=("v",)))
        await world.settle()
        assert world.hub.durables.of("ada").keys() == {"t", "u"} and world.hub.durables.of("bob").keys() == {"v"}
        assert world.hub.durables.of("ada")["t"].by_server and not world.hub.durables.of("bob")["v"].by_server
        await hub.publish("u", {"type": "x"})
        await hub.unsubscribe("ada", ["u", "never"])
        await hub.publish("u", {"type": "x"})
        await world.settle()
        assert len(ada.notifications()) == 1 and world.hub.durables.of("ada").keys() == {"t"}
        durable = [one for one in world.plugin.told if one[3] is None]
        expected = [("subscribed", "ada", "t"), ("subscribed", "ada", "u"), ("subscribed", "bob", "v")]
        assert [one[:3] for one in durable] == [*expected, ("unsubscribed", "ada", "u")]
        with pytest.raises(Problem):
            await hub.subscribe("ada", ["no topic!"])


# --- Work beside the hooks


async def test_a_task_that_fails_is_a_fault_and_five_switch_it_off() -> None:
    async def fails() -> None:
        raise ValueError

    async with hub_for(Quiet, name="quiet", allow_faults=True) as world:
        for number in range(FAULTS):
            its(world).start(fails(), f"work {number}")
        await world.settle()
        assert {(fault.plugin, fault.kind) for fault in world.faults} == {("quiet", "task")}
        assert len(world.faults) == FAULTS and "work 0" in world.faults[0].where
        assert not world.hub.hooks.plugins["quiet"].is_on


async def test_tasks_end_with_the_hub_at_the_latest_and_that_is_no_fault() -> None:
    async def work() -> None:
        await asyncio.sleep(60)

    async with hub_for(Quiet) as world:
        task = its(world).start(work(), "work")
        done = its(world).start(asyncio.sleep(0, "result"), "short")
        assert await done == "result"
        await world.settle()
        assert not task.done() and "quiet" in task.get_name()
    assert task.cancelled() and world.faults == []


async def test_it_sleeps_by_the_hubs_clock() -> None:
    woken: list[float] = []

    async with hub_for(Quiet) as world:
        hub = its(world)

        async def work() -> None:
            for seconds in (10, 20, 0):
                await hub.sleep(seconds)
                woken.append(hub.clock.monotonic())

        begun = hub.clock.monotonic()
        hub.start(work(), "work")
        await world.advance(29)
        assert woken == [begun + 10]
        await world.advance(1)
        assert woken == [begun + 10, begun + 30, begun + 30]


async def test_it_writes_into_the_hubs_log(caplog: pytest.LogCaptureFixture) -> None:
    async with hub_for(Quiet, name="quiet") as world:
        hub = its(world)
        with caplog.at_level(logging.DEBUG, "hubd.plugins"):
            caplog.clear()
            hub.log.debug("Looked closely", count=1)
            hub.log.info("It happened", user="ada")
            hub.log.warning("Look at it", exc=ValueError("a secret"), plugin="forged", event="forged")
            hub.log.error("It is broken")
        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert [level for level, _ in said] == ["DEBUG", "INFO", "WARNING", "ERROR"]
        assert all("plugin=quiet" in text for _, text in said)
        assert "It happened" in said[1][1] and "user=ada" in said[1][1]
        assert "plugin=forged" not in said[2][1].split()


# --- Used within hooks


async def test_what_it_publishes_from_a_hook_is_asked_about_too_and_comes_to_an_end() -> None:
    class Echo(Quiet):
        """Publishes another one for each that is published."""

        @hookimpl
        async def hubd_prepare_notification(self, draft: Draft) -> None:
            if draft.payload["type"] != "echo":
                await self.hub.publish("t", {"type": "echo"})

    async with hub_for(Echo) as world:
        ada = world.connect("ada", ["t"])
        await world.publish("t", {"type": "x"})
        assert [one["type"] for one in ada.notifications()] == ["echo", "x"]
