"""What gates held, and a plugin releases."""

from typing import Any

import pytest

from hubd.core.notification import Notification
from hubd.core.users import UserSet
from hubd.core.verdict import Verdict, hold
from hubd.plugin import PluginHub
from hubd.testing import hub_for
from tests.gates_world import Gate, gate, got, keeping


async def test_who_is_released_gets_it_under_its_id_with_a_new_cursor_and_once() -> None:
    async with hub_for(keeping("bob", "cyd", verdict=hold)) as hub:
        start = hub.hub.attendance.cursor()
        users = [hub.connect(user, ["t"]) for user in ("ada", "bob", "bob", "cyd")]
        await hub.publish("t", {"type": "x", "text": "hi"}, id="n1", collapse_key="c", group="g", priority="important")
        held = hub.plugin.hub.find("n1")
        await hub.advance(60)
        await hub.plugin.hub.release(held, hub.plugin.hub.users(["bob"]))
        await hub.settle()
        assert got(*users) == [["n1"], ["n1"], ["n1"], []]
        first, second = users[0].notifications()[0], users[1].notifications()[0]
        assert second["cursor"] != first["cursor"] and second["channel"] == "user:bob:notifications"
        same = {"id", "type", "text", "priority", "sent_at"}
        assert {name: first[name] for name in same} == {name: second[name] for name in same}
        assert len(hub.plugin.asked) == 1  # no gate was asked again
        back = [hub.connect(user, ["t"], cursor=start) for user in ("ada", "bob", "cyd")]
        assert got(*back) == [["n1"], ["n1"], []]
        assert (await hub.request("GET", "/api/notifications/n1", user="bob")).status == 200
        assert (await hub.request("GET", "/api/notifications/n1", user="cyd")).status == 404
        hub.hub.ack("bob", ["n1"], [])
        assert hub.hub.counts.acks == 1


async def test_its_ttl_stands_still_while_it_is_held() -> None:
    async with hub_for(keeping("ada", "bob", verdict=hold)) as hub:
        await hub.publish("notifications", id="n1", ttl=100)
        plugin: PluginHub = hub.plugin.hub
        held = plugin.find("n1")
        assert held is not None
        await hub.advance(5000)
        assert plugin.find("n1") is None  # for everybody else it is over
        await plugin.release(held, plugin.users(["ada"]))
        released = plugin.find("n1")
        assert released is not None
        assert released.expires_at == pytest.approx(hub.clock.monotonic() + 100, abs=0.01)
        await hub.advance(50)
        await plugin.release(released, plugin.users(["bob"]))  # by what it finds, a plugin may go on
        again = plugin.find("n1")
        assert again is not None
        assert again.expires_at <= hub.clock.monotonic() + 100.01
        back = [hub.connect(user, cursor=hub.hub.attendance.cursor(0)) for user in ("ada", "bob")]
        assert got(*back) == [["n1"], ["n1"]]
        await hub.advance(101)
        assert plugin.find("n1") is None


@pytest.mark.parametrize("said", [{"ttl": 0}, {"persistence": "ephemeral"}])
async def test_what_is_live_only_stays_so_when_it_is_released(said: dict[str, Any]) -> None:
    held: list[Notification] = []

    def judge(gate: Gate, notification: Notification, recipients: UserSet) -> Verdict:
        held.append(notification)
        return hold(gate.hub.users(["bob"]), "later")

    async with hub_for(gate(judge)) as hub:
        start = hub.hub.attendance.cursor()
        bob = hub.connect("bob")
        await hub.publish("notifications", id="n1", **said)
        await hub.advance(10)
        await hub.plugin.hub.release(held[0], hub.plugin.hub.users(["bob"]))
        await hub.settle()
        assert got(bob, hub.connect("bob", cursor=start)) == [["n1"], []]


async def test_released_to_many_slice_by_slice() -> None:
    users = [f"u{number}" for number in range(450)]
    async with hub_for(keeping(*users, verdict=hold)) as hub:
        connections = [hub.connect(user) for user in users]
        await hub.publish("notifications", id="n1")
        await hub.plugin.hub.release(hub.plugin.hub.find("n1"), hub.plugin.hub.users(users[:-1]))
        await hub.settle()
        assert got(*connections) == [["n1"]] * 449 + [[]]
        await hub.plugin.hub.release(hub.plugin.hub.find("n1"), UserSet())
        await hub.plugin.hub.release(hub.plugin.hub.find("n1"), UserSet([10**6]))  # nobody's number


async def test_taken_back_it_is_gone_for_those_too_to_whom_it_was_released() -> None:
    async with hub_for(keeping("bob", verdict=hold)) as hub:
        start = hub.hub.attendance.cursor()
        ada, bob = hub.connect("ada"), hub.connect("bob")
        await hub.publish("notifications", id="n1")
        await hub.plugin.hub.release(hub.plugin.hub.find("n1"), hub.plugin.hub.users(["bob"]))
        assert (await hub.request("DELETE", "/api/notifications/n1", key=True)).status == 200
        await hub.settle()
        for user in (ada, bob):
            assert {"hub": "retract", "ids": ["n1"]} in user.frames
        assert got(*(hub.connect(user, cursor=start) for user in ("ada", "bob"))) == [[], []]
        assert (await hub.request("DELETE", "/api/notifications/n1", key=True)).status == 404
