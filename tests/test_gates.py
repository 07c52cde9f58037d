"""Gates: from whom plugins keep a notification, now and later."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hubd.core.connection import Connection
from hubd.core.notification import Notification
from hubd.core.users import Snapshot, UserSet
from hubd.core.verdict import Verdict, Way, digest, drop, hold
from hubd.hooks.switching import FAULTS
from hubd.testing import Other, hub_for
from tests.gates_world import Gate, gate, got, keeping

TO = {
    "broadcast": "notifications",
    "topic": "t",
    "users": ["user:ada:notifications", "user:bob:notifications", "user:cyd:notifications"],
    "topic and users": ["user:ada:notifications", "t"],
    "topic and broadcast": ["t", "notifications"],
}


# --- Who doesn't get it


@pytest.mark.parametrize("verdict", [drop, hold, digest])
@pytest.mark.parametrize("to", TO.values(), ids=TO)
async def test_who_is_kept_out_gets_nothing_by_any_channel(to: Any, verdict: Callable[..., Verdict]) -> None:
    async with hub_for(keeping("bob", verdict=verdict), name="gate") as hub:
        ada, bob, cyd = (hub.connect(user, ["t"]) for user in ("ada", "bob", "cyd"))
        receipt = await hub.publish(to, id="n1")
        assert got(ada, bob, cyd) == [["n1"], [], ["n1"]]
        assert receipt.live == 2
        assert hub.plugin.asked == [("n1", ["ada", "bob", "cyd"])]
        assert hub.plugin.told == [("n1", [("gate", verdict.__name__, "muted", ["bob"])])]
        assert await hub.metric("hubd_withheld_total", plugin="gate", action=verdict.__name__) == 1
        kept = hub.hub.rings.find("n1", hub.clock.monotonic())
        assert kept is not None and kept.verdicts == ()  # they were told


async def test_live_counts_connections_of_those_who_get_it() -> None:
    async with hub_for(keeping("bob")) as hub:
        for user in ("ada", "ada", "bob", "bob", "bob"):
            hub.connect(user, ["t"])
        assert [(await hub.publish(to)).live for to in ("t", "notifications", ["t", "notifications"])] == [2, 2, 2]
        assert (await hub.publish("t", ttl=0)).live == 2
        assert (await hub.publish("user:bob:notifications")).live == 0


@pytest.mark.parametrize(("way", "arrives"), [(Way.ALL, []), (Way.LIVE, []), (Way.PUSH, ["n1"])])
async def test_by_which_way(way: Way, arrives: list[str]) -> None:
    async with hub_for(keeping("bob", way=way), name="gate") as hub:
        bob = hub.connect("bob", ["t"])
        await hub.publish("t", id="n1")
        back = hub.connect("bob", ["t"], cursor=hub.hub.attendance.cursor(0))
        assert got(bob, back) == [arrives, arrives]
        assert hub.plugin.told == [("n1", [("gate", "drop", "muted", ["bob"])])]


async def test_it_isnt_there_for_who_was_kept_out_nor_ever_comes_later() -> None:
    async with hub_for(keeping("bob")) as hub:
        start = hub.hub.attendance.cursor()
        ada, bob = hub.connect("ada", ["t"]), hub.connect("bob", ["t"])
        await hub.publish("t", id="n1")
        await hub.publish("notifications", id="n2")
        bob.drop()
        back, other = (hub.connect(user, ["t"], cursor=start) for user in ("bob", "ada"))
        assert got(ada, bob, back, other) == [["n1", "n2"], [], [], ["n1", "n2"]]
        for id in ("n1", "n2"):
            assert (await hub.request("GET", f"/api/notifications/{id}", user="bob")).status == 404
            assert (await hub.request("GET", f"/api/notifications/{id}", user="ada")).status == 200
            assert (await hub.request("GET", f"/api/notifications/{id}", key=True)).status == 200
        hub.hub.ack("bob", ["n1"], [])
        assert hub.hub.counts.acks == 0


@pytest.mark.parametrize("channel", ["notifications", "t"])
async def test_histories_leave_it_out_for_who_was_kept_out(channel: str) -> None:
    async with hub_for(keeping("bob")) as hub:
        hub.connect("bob", ["t"]), hub.connect("ada", ["t"])
        await hub.publish(channel, id="n1")

        async def history(**who: Any) -> list[str]:
            answer = await hub.request("GET", f"/api/channels/{channel}/history", **who)
            assert answer.status == 200, answer.body
            return [notification["id"] for notification in answer.json()["notifications"]]

        assert await history(user="bob") == []
        assert await history(user="ada") == await history(user="new") == await history(key=True) == ["n1"]


async def test_who_wasnt_meant_is_kept_out_all_the_same_when_he_comes_later() -> None:
    async with hub_for(keeping("bob"), name="gate") as hub:
        start = hub.hub.attendance.cursor()
        hub.connect("ada", ["t"])
        await hub.publish("t", id="n1")
        bob, cyd = (hub.connect(user, ["t"], cursor=start) for user in ("bob", "cyd"))
        assert got(bob, cyd) == [[], ["n1"]]
        await hub.settle()
        assert hub.plugin.asked == [("n1", ["ada"]), ("n1", ["bob"]), ("n1", ["cyd"])]
        assert await hub.metric("hubd_withheld_total", plugin="gate", action="drop") == 1
        hub.connect("cyd", ["t"], cursor=start)
        assert len(hub.plugin.asked) == 3, "once for each"


async def test_durable_subscribers_are_asked_about_while_they_are_away() -> None:
    async with hub_for(keeping("bob"), name="gate") as hub:
        start = hub.hub.attendance.cursor()
        for user in ("ada", "bob"):
            await hub.hub.make_durable(user, ["t"], None)
        await hub.publish("t", id="n1")
        assert hub.plugin.asked == [("n1", ["ada", "bob"])]
        ada, bob = (hub.connect(user, cursor=start) for user in ("ada", "bob"))
        assert got(ada, bob) == [["n1"], []]


async def test_a_user_who_was_never_here_is_asked_about_too() -> None:
    async with hub_for(keeping("bob")) as hub:
        start = hub.hub.attendance.cursor()
        await hub.publish(["user:bob:notifications", "user:ada:notifications"], id="n1")
        assert hub.plugin.asked == [("n1", ["ada", "bob"])]
        ada, bob = (hub.connect(user, cursor=start) for user in ("ada", "bob"))
        assert got(ada, bob) == [["n1"], []]


async def test_with_nobody_there_gates_are_asked_and_who_comes_later_is_kept_out() -> None:
    async with hub_for(keeping("bob")) as hub:
        start = hub.hub.attendance.cursor()
        await hub.publish("notifications", id="n1")
        assert hub.plugin.asked == [("n1", [])]
        assert got(hub.connect("bob", cursor=start)) == [[]]


async def test_nothing_hangs_on_what_was_kept_from_nobody() -> None:
    async with hub_for(gate(lambda gate, notification, recipients: drop(UserSet(), "muted"))) as hub:
        hub.connect("ada", ["t"])
        await hub.publish("t", id="n1")
        found = hub.hub.rings.find("n1", hub.clock.monotonic())
        assert found is not None and found.excluded is None and not found.verdicts


async def test_a_set_that_wont_change_is_shared_by_all_that_it_was_said_about() -> None:
    async with hub_for(keeping()) as hub:
        hub.connect("bob", ["t"])
        muted = Snapshot(hub.plugin.hub.users(["bob"]))
        type(hub.plugin).judge_by = staticmethod(lambda gate, notification, recipients: drop(muted, "muted"))
        before = hub.hub.rings.bytes
        for number in range(100):
            await hub.publish("t", id=f"n{number}")
        kept = [hub.hub.rings.find(f"n{number}", 0) for number in range(100)]
        assert all(one is not None and one.excluded is muted for one in kept)
        assert muted.references == 100
        assert hub.hub.rings.bytes - before < 100 * (max(one.size for one in kept if one) + 300) + muted.size + 3000


# --- Several gates, several verdicts


async def test_each_gate_is_asked_about_who_is_left_by_those_before_it() -> None:
    second, third = keeping("bob"), keeping("cyd", way=Way.PUSH)
    others = [Other("second", second), Other("third", third), Other("last", keeping())]
    async with hub_for(keeping("ada", verdict=hold), name="first", others=others) as hub:
        users = [hub.connect(user, ["t"]) for user in ("ada", "bob", "cyd", "dee")]
        await hub.publish("t", id="n1")
        asked = [hub.hub.hooks.plugins[name].instance.asked for name in ("first", "second", "third", "last")]  # type: ignore[attr-defined]
        everybody = ["ada", "bob", "cyd", "dee"]
        assert [one[0][1] for one in asked] == [everybody, everybody[1:], everybody[2:], everybody[2:]]
        assert got(*users) == [[], [], ["n1"], ["n1"]]
        said = [("first", "hold", "muted", ["ada"]), ("second", "drop", "muted", ["bob"])]
        assert hub.plugin.told == [("n1", [*said, ("third", "drop", "muted", ["cyd"])])]


async def test_a_gate_may_have_several_verdicts() -> None:
    def judge(gate: Gate, notification: Notification, recipients: UserSet) -> Any:
        yield drop(gate.hub.users(["ada"]), "muted")
        yield hold(gate.hub.users(["ada", "bob"]), "quiet_hours")
        yield digest(gate.hub.users(["cyd"]), "weekly")

    async with hub_for(gate(judge), name="gate") as hub:
        users = [hub.connect(user, ["t"]) for user in ("ada", "bob", "cyd", "dee")]
        await hub.publish("t", id="n1")
        assert got(*users) == [[], [], [], ["n1"]]
        told = [("drop", "muted", ["ada"]), ("hold", "quiet_hours", ["bob"]), ("digest", "weekly", ["cyd"])]
        assert hub.plugin.told == [("n1", [("gate", *one) for one in told])]


class Strange:
    def __iter__(self) -> Any:
        raise OSError("fails when it is looked at")


async def later() -> Verdict:
    await asyncio.sleep(0)
    return drop(UserSet([1]), "muted")


def forever() -> Any:
    while True:
        yield drop(UserSet([1]), "muted")


NONSENSE: dict[str, Callable[[Gate], Any]] = {
    "a number": lambda gate: 7,
    "a text": lambda gate: "drop",
    "users": lambda gate: gate.hub.users(["bob"]),
    "names": lambda gate: ["bob"],
    "half of it": lambda gate: [drop(gate.hub.users(["bob"]), "muted"), None],
    "fails": lambda gate: Strange(),
    "raises": lambda gate: 1 / 0,
    "a bad verdict": lambda gate: drop(["bob"], "muted"),  # type: ignore[arg-type]  # that is what is tried
    "a problem": lambda gate: gate.hub.subscribers("no topic!"),
    "a coroutine": lambda gate: later(),
    "without end": lambda gate: forever(),
    "true": lambda gate: True,
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_counts_for_nothing_and_is_a_fault(answer: Callable[[Gate], Any]) -> None:
    made = gate(lambda gate, notification, recipients: answer(gate))
    async with hub_for(made, name="gate", others=[Other("good", keeping("ada"))], allow_faults=True) as hub:
        ada, bob = hub.connect("ada", ["t"]), hub.connect("bob", ["t"])
        for number in range(FAULTS + 1):
            await hub.publish("t", id=f"n{number}")
        assert got(ada, bob) == [[], [f"n{number}" for number in range(FAULTS + 1)]]
        assert [fault.plugin for fault in hub.faults] == ["gate"] * FAULTS  # then it is switched off
        assert {fault.where for fault in hub.faults} == {"filter_recipients"}


async def test_a_gate_that_changes_what_it_is_asked_about_harms_nobody() -> None:
    def judge(gate: Gate, notification: Notification, recipients: UserSet) -> None:
        for number in list(recipients):
            recipients.discard(number)

    async with hub_for(gate(judge), name="gate", allow_faults=True) as hub:
        ada = hub.connect("ada", ["t"])
        for to in ("t", "notifications"):
            await hub.publish(to)
            assert hub.hub.sent_to(ada.notifications()[-1]["id"], "ada")
        assert len(hub.hub.registry.present.snapshot()) == 1
        assert [fault.kind for fault in hub.faults] == ["raised", "raised"]


async def test_a_set_that_the_plugin_changes_later_doesnt_change_what_it_said() -> None:
    async with hub_for(keeping()) as hub:
        start = hub.hub.attendance.cursor()
        hub.connect("bob", ["t"])
        muted = hub.plugin.hub.users(["bob"])
        type(hub.plugin).judge_by = staticmethod(lambda gate, notification, recipients: drop(muted, "muted"))
        await hub.publish("t", id="n1")
        muted.discard(hub.plugin.hub.number_of("bob"))
        await hub.publish("t", id="n2")
        assert got(hub.connect("bob", ["t"], cursor=start)) == [["n2"]]


# --- Called once, whatever the audience


async def test_gates_are_asked_once_for_five_thousand() -> None:
    async with hub_for(keeping("u7")) as hub:
        connections: list[Connection] = [hub.connect(f"u{number}", ["t"]) for number in range(5000)]
        for to in ("t", "notifications", ["t", "notifications", "user:u1:notifications"]):
            receipt = await hub.publish(to)
            assert receipt.live == 4999
        assert len(hub.plugin.asked) == 3 and len(hub.plugin.told) == 3
        assert len(connections) == 5000


def muted_among(gate: Gate, notification: Notification, recipients: UserSet) -> Verdict | None:
    """Names only those whom it is asked about, as most gates do."""
    return drop(found, "muted") if (found := recipients & gate.hub.users(["bob"])) else None


@pytest.mark.parametrize("to", ["t", "notifications"])
async def test_who_is_away_is_asked_about_when_he_comes_to_read_it(to: str) -> None:
    async with hub_for(gate(muted_among), name="gate") as hub:
        start = hub.hub.attendance.cursor()
        bob, cyd = hub.connect("bob", ["t"]), hub.connect("cyd", ["t"])
        bob.drop()
        cyd.drop()
        await hub.publish(to, id="n1")
        again = [hub.connect(user, ["t"], cursor=start) for user in ("bob", "cyd")]
        assert got(*again) == [[], ["n1"]]
        assert (await hub.request("GET", "/api/notifications/n1", user="bob")).status == 404
        history = (await hub.request("GET", f"/api/channels/{to}/history", user="bob")).json()
        assert history["notifications"] == []
        await hub.settle()
        assert hub.plugin.told == [("n1", [("gate", "drop", "muted", ["bob"])])]
        ring = hub.hub.rings.find("n1", hub.clock.monotonic())
        replayed = 1 if to == "t" else 0
        assert ring is not None and ring.noted == 3 + replayed, "bob is in two sets, cyd in one, and maybe in replayed"
