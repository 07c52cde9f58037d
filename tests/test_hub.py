"""The hub: the way of a notification to everybody who should have it, once."""

from typing import Any

import pytest

from hubd.broker import LocalBroker, Published
from hubd.config import Config
from hubd.config_options import Limits, TypeOptions
from hubd.core.codec import Form
from hubd.core.errors import Problem
from hubd.core.notification import Notification, Persistence, Priority
from hubd.memory import Receipt
from hubd.pump import FEW
from hubd.testing import MSGPACK_FORM, connect, identity, make_hub
from tests.hub_calls import body, got, problem, publish

# --- Publishing


async def test_the_receipt_says_what_became_of_it() -> None:
    hub, _, _ = make_hub()
    connect(hub, "ada", ("t",))
    connect(hub, "ada", ("t",))
    connect(hub, "bob")
    assert await publish(hub, "t", id="x") == Receipt("x", hub.attendance.cursor(1), 2)
    assert await publish(hub, "nobody", id="y") == Receipt("y", hub.attendance.cursor(2), 0)


async def test_without_an_id_it_gets_one() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    receipts = [await publish(hub, "t") for _ in range(3)]
    assert [id for id, _ in got(connection)] == [receipt.id for receipt in receipts]
    assert len({receipt.id for receipt in receipts}) == 3


async def test_what_those_see_who_are_reached() -> None:
    hub, clock, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    call = {"to": "t", "notification": {"type": "badge", "count": 3}, "id": "x", "priority": "critical"}
    await hub.publish(hub.prepare(call), "user:bob", identity("bob"))
    assert connection.notifications() == [
        {
            "id": "x", "type": "badge", "count": 3, "channel": "t", "priority": "critical", "from": "bob",
            "sent_at": int(clock.now() * 1000), "cursor": hub.attendance.cursor(1),
        }
    ]  # fmt: skip


async def test_each_kind_of_channel_reaches_its_own() -> None:
    hub, _, _ = make_hub()
    ada, second, bob = connect(hub, "ada", ("t",)), connect(hub, "ada"), connect(hub, "bob", ("t",))
    await publish(hub, "notifications", id="all")
    await publish(hub, "user:ada", id="ada")
    await publish(hub, "t", id="t")
    assert [id for id, _ in got(ada)] == ["all", "ada", "t"]
    assert [id for id, _ in got(second)] == ["all", "ada"]
    assert [id for id, _ in got(bob)] == ["all", "t"]


async def test_several_channels_reach_everybody_once_by_the_first_that_is_his() -> None:
    hub, _, soon = make_hub()
    ada = connect(hub, "ada", ("b", "a"))
    bob = connect(hub, "bob", ("b",))
    cyd = connect(hub, "cyd", form=MSGPACK_FORM)
    dan = connect(hub, "dan", ("a", "b"))
    receipt = await publish(hub, ["c", "user:dan", "a", "b", "user:ada"], id="x")
    assert receipt.live == 3
    await publish(hub, ["b", "notifications"], id="y")
    soon.settle()
    assert got(ada) == [("x", "a"), ("y", "b")]
    assert got(bob) == [("x", "b"), ("y", "b")]
    assert got(cyd) == [("y", "notifications")]
    assert got(dan) == [("x", "user:dan:notifications"), ("y", "b")]


async def test_nobody_sees_the_other_channels() -> None:
    hub, _, soon = make_hub()
    ada = connect(hub, "ada", ("t",))
    await publish(hub, ["secret", "t", "user:bob"])
    soon.settle()
    (frame,) = ada.notifications()
    assert "secret" not in str(frame) and "bob" not in str(frame)


async def test_to_many_it_is_written_in_the_loops_next_turn_behind_nothing() -> None:
    hub, _, soon = make_hub()
    many = [connect(hub, f"u{place}", ("t",)) for place in range(FEW + 1)]
    receipt = await publish(hub, "t", id="x")
    assert receipt.live == FEW + 1
    assert [got(connection) for connection in many] == [[]] * (FEW + 1)
    await publish(hub, "user:u3", id="y")
    assert [id for id, _ in got(many[3])] == ["x", "y"], "never past a broadcast that still waits"
    soon.settle()
    assert {len(got(connection)) for connection in many} == {1, 2}


async def test_to_few_it_is_written_at_once() -> None:
    hub, _, _ = make_hub()
    few = [connect(hub, f"u{place}", ("t",)) for place in range(FEW)]
    await publish(hub, "t", id="x")
    assert [got(connection) for connection in few] == [[("x", "t")]] * FEW


async def test_who_has_left_gets_nothing_not_even_what_was_meant_for_a_list() -> None:
    hub, _, soon = make_hub()
    ada = connect(hub, "ada", ("a", "b"))
    hub.attendance.leave(ada, "a")
    await publish(hub, "a", id="x")
    await publish(hub, ["a", "b"], id="y")
    soon.settle()
    assert got(ada) == [("y", "b")]


# --- How many it was queued for


async def test_live_counts_connections_once_and_those_that_resume() -> None:
    hub, _, soon = make_hub()
    for _ in range(50):
        await publish(hub, "t", notification={"type": "alert", "text": "x" * 4000})
    connect(hub, "ada", ("t", "u"))
    resuming = connect(hub, "bob", ("t",), cursor=hub.attendance.cursor(0), room=1000)
    assert not resuming.live
    assert not resuming.live
    assert (await publish(hub, "t", id="x")).live == 2
    assert (await publish(hub, ["u", "t", "user:ada"], id="y")).live == 2
    assert (await publish(hub, "t", id="live", persistence="ephemeral")).live == 1, "it won't get that"
    assert (await publish(hub, ["u", "t"], id="now", ttl=0)).live == 1
    while resuming.paused:
        resuming.drain()
        soon.settle()
    assert [id for id, _ in got(resuming)][-2:] == ["x", "y"]


@pytest.mark.parametrize("said", [{"persistence": "ephemeral"}, {"ttl": 0}])
async def test_what_is_live_only_is_kept_nowhere(said: dict[str, Any]) -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    receipt = await publish(hub, "t", id="x", **said)
    assert receipt.live == 1
    assert got(connection) == [("x", "t")]
    assert hub.rings.depth("t") == 0
    assert hub.sent_to("x", "ada") is None
    again = connect(hub, "ada", ("t",), cursor=hub.attendance.cursor(0))
    assert got(again) == []


# --- What the type decides


async def test_a_type_of_the_config_decides_what_the_call_doesnt() -> None:
    typing = TypeOptions(priority="informational", persistence="ephemeral", ttl_s=5)
    hub, _, _ = make_hub(Config(types={"default": TypeOptions(ttl_s=60), "typing": typing}))
    draft = hub.prepare({"to": "t", "notification": {"type": "typing"}})
    assert (draft.priority, draft.persistence, draft.ttl_s) == (Priority.INFORMATIONAL, Persistence.EPHEMERAL, 5)
    draft = hub.prepare(body("t"))
    assert (draft.priority, draft.persistence, draft.ttl_s) == (Priority.IMPORTANT, Persistence.BUFFERABLE, 60)


async def test_limits_of_the_config_are_kept() -> None:
    hub, _, _ = make_hub(Config(limits=Limits(message_bytes=64, json_depth=2, json_keys=3)))
    with pytest.raises(Problem, match="more than 64 bytes"):
        hub.prepare({"to": "t", "notification": {"type": "x" * 100}})
    with pytest.raises(Problem, match="deeper than 2"):
        hub.prepare({"to": "t", "notification": {"type": "x", "a": [[[]]]}})
    with pytest.raises(Problem, match="more than 3 keys"):
        hub.prepare({"to": "t", "notification": {"type": "x", "a": 1, "b": 2, "c": 3}})


# --- Ids of the publishers


async def test_the_same_again_is_sent_once() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    first = await publish(hub, "t", id="x")
    connect(hub, "bob", ("t",))
    assert await hub.publish(hub.prepare(body(["t"], id="x")), "backend") == (first, True)
    assert len(got(connection)) == 1
    assert hub.attendance.sequence == 1


async def test_another_with_the_same_id_is_refused() -> None:
    hub, _, _ = make_hub()
    await publish(hub, "t", id="x")
    assert (await problem(hub.publish(hub.prepare(body("u", id="x")), "backend"))).code == "id_conflict"
    receipt, duplicate = await hub.publish(hub.prepare(body("u", id="x")), "another backend")
    assert (receipt.id, duplicate) == ("x", False)


async def test_clients_cant_make_it_forget_the_ids_of_a_server() -> None:
    hub, clock, _ = make_hub(Config(limits=Limits(id_entries=3)))
    order = hub.prepare(body("t", id="order"))
    await hub.publish(order, "key:backend")
    for place in range(10):
        draft = hub.prepare(body("t", id=f"n{place}"))
        user = f"u{place % 5}"
        assert (await hub.publish(draft, f"user:{user}", identity(user)))[1] is False
    assert (await hub.publish(order, "key:backend"))[1] is True
    assert len(hub._answers) == 4, "all users share one table"
    clock.advance(hub.config.limits.id_window_s)
    hub.maintain()
    assert len(hub._answers) == 0


async def test_a_publish_that_failed_is_not_remembered() -> None:
    class Failing(LocalBroker):
        failing = True

        async def publish(self, notification: Notification) -> Published:
            if self.failing:
                raise Problem("unavailable", "not now", retry_after=1)
            return await super().publish(notification)

    broker = Failing()
    hub, _, _ = make_hub(broker=broker)
    connection = connect(hub, "ada", ("t",))
    for _ in range(2):
        assert (await problem(hub.publish(hub.prepare(body("t", id="x")), "backend"))).code == "unavailable"
    broker.failing = False
    assert (await publish(hub, "t", id="x")).live == 1
    assert len(got(connection)) == 1


async def test_a_hub_that_stops_takes_nothing() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    hub.stopping = True
    found = await problem(hub.publish(hub.prepare(body("t")), "backend"))
    assert (found.code, found.retry_after) == ("unavailable", 1.0)
    assert got(connection) == []


# --- Whom it was sent to


async def test_it_was_sent_to_those_who_were_there() -> None:
    hub, _, _ = make_hub()
    connect(hub, "ada", ("t",))
    await hub.make_durable("bob", ["t"], None)
    await publish(hub, "t", id="x")
    await publish(hub, ["user:cyd", "t"], id="y")
    connect(hub, "late", ("t",))
    for user, ways in (("ada", ["t", "t"]), ("bob", ["t", "t"]), ("cyd", [None, "user:cyd:notifications"])):
        for id, way in zip("xy", ways, strict=True):
            found = hub.sent_to(id, user)
            assert (found[1] if found else None) == way
    assert hub.sent_to("x", "late") is None
    assert hub.sent_to("z", "ada") is None


async def test_it_was_sent_to_who_got_it_by_a_replay() -> None:
    hub, _, _ = make_hub()
    await publish(hub, "t", id="x")
    connect(hub, "other")
    connect(hub, "ada", ("t",), cursor=hub.attendance.cursor(0))
    found = hub.sent_to("x", "ada")
    assert found is not None and found[1] == "t"
    assert hub.sent_to("x", "other") is None


async def test_who_left_since_was_sent_it_all_the_same() -> None:
    hub, clock, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    await publish(hub, "t", id="x")
    hub.lost(connection)
    clock.advance(60)
    hub.maintain()
    assert hub.sent_to("x", "ada") is not None
    clock.advance(300)
    assert hub.sent_to("x", "ada") is None, "no ring has it any more"


# --- Control frames to many


async def test_a_retraction_is_encoded_once_in_each_form() -> None:
    made: list[bytes] = []

    def wrap(data: bytes, cursor: str) -> bytes:
        made.append(data)
        return data + b"\n"

    hub, clock, soon = make_hub()
    form = Form("counting", "json", wrap)
    many = [connect(hub, f"u{place}", ("t",), form=form) for place in range(50)]
    packed = connect(hub, "packed", ("t",), form=MSGPACK_FORM)
    await publish(hub, "t", id="x")
    soon.settle()
    (kept,) = hub.rings.find_all("x", clock.monotonic())
    made.clear()
    hub.retract(kept)
    soon.settle()
    assert len(made) == 1
    for connection in (*many, packed):
        assert connection.frames[-1] == {"hub": "retract", "ids": ["x"]}
