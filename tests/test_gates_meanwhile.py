"""Gates while a notification is on its way: who joins before it is appended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hubd.broker import Broker
from hubd.core.notification import Notification
from hubd.core.users import Snapshot, UserSet
from hubd.core.verdict import Verdict, drop
from hubd.hooks.switching import FAULTS
from hubd.plugin import PluginConfig, hookimpl
from hubd.testing import Other, PluginWorld, ToyBroker, hub_for
from tests.gates_world import Gate, gate, got, keeping


class Store:
    """Keeps notifications, which takes as long as a test says."""

    def __init__(self, config: PluginConfig) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.stored: list[tuple[str, Snapshot | None]] = []

    @hookimpl
    async def hubd_store_notification(self, notification: Notification) -> None:
        self.stored.append((notification.id, notification.excluded))
        self.begun.set()
        await self.go.wait()


async def while_it_is_stored(hub: PluginWorld, *to: str) -> "asyncio.Task[Any]":
    task = asyncio.create_task(hub.publish(to, id="n1"))
    await store_of(hub).begun.wait()
    return task


def store_of(hub: PluginWorld) -> Store:
    instance = hub.hub.hooks.plugins["store"].instance
    assert isinstance(instance, Store)
    return instance


@pytest.mark.parametrize("to", ["t", "notifications"])
async def test_who_comes_while_it_is_stored_is_asked_about_and_nobody_else_again(to: str) -> None:
    async with hub_for(keeping("bob", "cyd"), name="gate", others=[Other("store", Store)]) as hub:
        users = [hub.connect(user, ["t"]) for user in ("ada", "bob")]
        task = await while_it_is_stored(hub, to)
        users += [hub.connect(user, ["t"]) for user in ("cyd", "dee")]
        store_of(hub).go.set()
        receipt = await task
        assert hub.plugin.asked == [("n1", ["ada", "bob"]), ("n1", ["cyd", "dee"])]
        assert got(*users) == [["n1"], [], [], ["n1"]] and receipt.live == 2
        ((_, told),) = hub.plugin.told
        assert [users for *_, users in told] == [["bob"], ["cyd"]]
        assert hub.hub.counts.withheld["gate", "drop"] == 2
        stored = store_of(hub).stored[0][1]
        assert stored is not None and hub.plugin.hub.number_of("bob") in stored  # whoever stores knows of it


async def comes_with_the_topic(hub: PluginWorld) -> None:
    hub.connect("cyd", ["t"])


async def subscribes(hub: PluginWorld) -> None:
    connection = next(iter(hub.hub.registry.users["cyd"].connections))
    attendance = hub.hub.attendance
    attendance.subscribe(connection, attendance.channels(connection, "t"), None, lambda fields: None)


async def is_subscribed_for_good(hub: PluginWorld) -> None:
    await hub.hub.make_durable("cyd", ["t"], None)


async def comes_back_to_what_is_durable(hub: PluginWorld) -> None:
    await hub.hub.make_durable("cyd", ["t"], None)
    hub.connect("cyd")


async def while_another_is_published(hub: PluginWorld) -> None:
    await is_subscribed_for_good(hub)
    draft = hub.hub.prepare({"to": "u", "notification": {"type": "x"}, "id": "other"})
    other = asyncio.create_task(hub.hub.publish(draft, "key:test"))
    await asyncio.sleep(0.001)
    store_of(hub).go.set()
    await other


WAYS = [
    comes_with_the_topic, subscribes, is_subscribed_for_good, comes_back_to_what_is_durable, while_another_is_published,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_however_somebody_comes_to_be_meant_meanwhile_he_is_asked_about(
    way: Callable[[PluginWorld], Awaitable[None]],
) -> None:
    async with hub_for(keeping("cyd"), name="gate", others=[Other("store", Store)]) as hub:
        start = hub.hub.attendance.cursor()
        ada = hub.connect("ada", ["t"])
        if way is subscribes:
            hub.connect("cyd")
        task = await while_it_is_stored(hub, "t")
        await way(hub)
        store_of(hub).go.set()
        await task
        assert [names for id, names in hub.plugin.asked if id == "n1"] == [["ada"], ["cyd"]]
        assert got(ada, hub.connect("cyd", ["t"], cursor=start)) == [["n1"], []]


async def test_who_comes_without_any_topic_is_asked_about_what_is_for_everybody() -> None:
    async with hub_for(keeping("cyd"), name="gate", others=[Other("store", Store)]) as hub:
        ada = hub.connect("ada")
        task = await while_it_is_stored(hub, "notifications")
        cyd = hub.connect("cyd")
        store_of(hub).go.set()
        await task
        assert hub.plugin.asked == [("n1", ["ada"]), ("n1", ["cyd"])] and got(ada, cyd) == [["n1"], []]


async def test_what_is_said_later_adds_to_what_was_said_before() -> None:
    calls = 0

    def judge(gate: Gate, notification: Notification, recipients: UserSet) -> Verdict:
        nonlocal calls
        calls += 1
        return drop(gate.hub.users(["bob"] if calls == 1 else ["cyd"]), "muted")

    async with hub_for(gate(judge), name="gate", others=[Other("store", Store)]) as hub:
        users = [hub.connect(user, ["t"]) for user in ("ada", "bob")]
        task = await while_it_is_stored(hub, "t")
        users.append(hub.connect("cyd", ["t"]))
        store_of(hub).go.set()
        await task
        assert got(*users) == [["n1"], [], []]


async def test_when_nobody_comes_meanwhile_gates_are_asked_once() -> None:
    async with hub_for(keeping("bob"), name="gate", others=[Other("store", Store)]) as hub:
        ada, bob = hub.connect("ada", ["t"]), hub.connect("bob", ["t"])
        task = await while_it_is_stored(hub, "t")
        ada.drop()
        store_of(hub).go.set()
        await task
        assert hub.plugin.asked == [("n1", ["ada", "bob"])]
        found = hub.hub.rings.find("n1", hub.clock.monotonic())
        assert found is not None and got(bob) == [[]]


async def test_a_gate_that_is_switched_off_meanwhile_leaves_nothing_behind() -> None:
    async with hub_for(keeping("bob"), name="gate", others=[Other("store", Store)], allow_faults=True) as hub:
        bob = hub.connect("bob", ["t"])
        task = await while_it_is_stored(hub, "t")
        for _ in range(FAULTS):
            hub.hub.hooks.fault(hub.hub.hooks.plugins["gate"], "elsewhere", "raised")
        store_of(hub).go.set()
        await task
        found = hub.hub.rings.find("n1", hub.clock.monotonic())
        assert found is not None and got(bob) == [[]]  # what it said before counts


class Brokering(Gate):
    """A gate that brings a broker which takes its time, too."""

    @hookimpl
    def hubd_broker(self) -> Broker:
        return ToyBroker(seed=3, longest_s=0.005)


async def test_with_a_broker_that_takes_its_time_each_is_judged_once_by_when_it_arrives() -> None:
    def judge(gate: Gate, notification: Notification, recipients: UserSet) -> Verdict:
        return drop(gate.hub.users([f"u{notification.id[1:]}"]), "muted")

    made = type("Made", (Brokering,), {"judge_by": staticmethod(judge)})
    async with hub_for(made, name="gate") as hub:
        users = [hub.connect(f"u{number}", ["t"]) for number in range(5)]
        tasks = [asyncio.create_task(hub.publish("t", id=f"n{number}")) for number in range(10)]
        users += [hub.connect(f"u{number}", ["t"]) for number in range(5, 10)]
        await asyncio.gather(*tasks)
        assert sorted(id for id, _ in hub.plugin.asked) == sorted(f"n{number}" for number in range(10))
        assert all(len(names) == 10 for _, names in hub.plugin.asked)
        for number, user in enumerate(users):
            assert sorted(got(user)[0]) == [f"n{other}" for other in range(10) if other != number]
