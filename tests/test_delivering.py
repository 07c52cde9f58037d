"""The decisions of delivery in a hub: with its timer, a store, push services and connections."""

import asyncio
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.core.milestones import ACKED, LIVE_SENT, PENDING, PUSHED, dropped
from hubd.core.stored import Close, Keep, Lane, Note
from hubd.core.subscriptions import Grant
from hubd.core.users import UserSet
from hubd.storing import all_written
from hubd.testing import connect
from tests.delivering_world import KEY, World, ids, turns

AWAY = dropped("away")

# --- Whom it is meant for


async def test_a_user_of_two_channels_counts_once() -> None:
    world = World()
    world.connect("ada", "a", "b")
    record = await world.publish("a", "b", "user:ada", "notifications")
    assert (list(record.everybody), world.tally) == ([1], {LIVE_SENT: 1})
    world.wait(8)
    assert world.pushed() == [("x", "ada")]


async def test_whoever_is_reached_by_the_broadcast_alone_is_never_pushed() -> None:
    world = World()
    world.connect("ada"), world.connect("bob")
    await world.publish("notifications", "user:ada", "user:eve", priority="critical")
    assert sorted(world.pushed()) == [("x", "ada"), ("x", "eve")]
    assert world.where("ada", "bob", "eve") == [PUSHED, LIVE_SENT, PUSHED]


async def test_durable_subscribers_who_are_away_are_meant() -> None:
    world = World()
    await world.hub.make_durable("ada", ["t"], None)
    world.connect("bob", "t")
    await world.publish("t")
    assert (world.where("ada", "bob"), world.pushed()) == ([PUSHED, LIVE_SENT], [("x", "ada")])


@pytest.mark.parametrize("priority", ["critical", "important", "informational"])
async def test_to_nobody(priority: str) -> None:
    world = World()
    record = await world.publish("empty:topic", priority=priority, persistence="persistent")
    assert (record.is_open, world.tally, world.pushed()) == (False, {}, [])
    assert [type(write) for write in world.store.said(Keep, Close)] == [Keep, Close]


async def test_what_the_registry_knows_later_changes_nothing() -> None:
    """The sets of who is here are live ones: a record must not hold on to them."""
    world = World(with_store=False)
    ada, bob = world.connect("ada", "t"), world.connect("bob", "t", acks=False)
    record = await world.publish("t", "notifications")
    before = [list(them) for them in (record.everybody, record.waiting, record.may_push)]
    for connection in (ada, bob):
        connection.drop()
    world.connect("eve", "t"), world.connect("zoe", "t", acks=False)
    world.clock.advance(6)
    world.hub.maintain()
    assert [list(them) for them in (record.everybody, record.waiting, record.may_push)] == before


# --- Time


async def test_whoever_acks_in_time_is_not_pushed() -> None:
    world = World(with_store=False)
    world.connect("ada", "t"), world.connect("bob", "t")
    await world.publish("t")
    await world.ack("ada", "x")
    world.wait(7)
    assert world.pushed() == [], "a tie goes to the ack"
    world.wait(0.01)
    assert (world.pushed(), world.where("ada", "bob")) == ([("x", "bob")], [ACKED, PUSHED])


async def test_the_one_timer_is_set_for_what_is_due_first_and_called_off() -> None:
    world = World(with_store=False)
    calls: list[tuple[float, Any]] = []
    cancelled: list[Any] = []

    class Handle:
        def cancel(self) -> None:
            cancelled.append(self)

    def call_later(seconds: float, function: Any) -> Handle:
        calls.append((seconds, function))
        return Handle()

    world.hub.delivering._call_later = call_later
    world.connect("ada", "t")
    for number in range(3):
        await world.publish("t", id=f"n{number}")
        world.clock.advance(1)
    assert [seconds for seconds, _ in calls] == [pytest.approx(7)], "the first one's is before all others"
    world.clock.advance(4.5)
    calls.pop()[1]()
    assert world.pushed() == [("n0", "ada")]
    assert [seconds for seconds, _ in calls] == [pytest.approx(0.5)]
    world.hub.delivering.stop()
    assert len(cancelled) >= 1


async def test_whoever_has_been_gone_for_too_long_is_away_though_nobody_looked() -> None:
    world = World(with_store=False)
    world.connect("ada").drop()
    world.clock.advance(6)  # longer than the grace, and no second's work was done
    await world.publish("user:ada")
    assert world.pushed() == [("x", "ada")]


async def test_a_push_service_that_fails_holds_up_nobody() -> None:
    world = World(with_store=False)
    world.connect("ada", "t"), world.connect("bob", "t")
    await world.publish("user:ada", id="a")
    await world.publish("user:bob", id="b")
    push = world.pusher.push

    def fails(record: Any, users: UserSet) -> None:
        if record.id == "a":
            raise RuntimeError("not today")
        push(record, users)

    world.pusher.push = fails  # type: ignore[method-assign]
    world.wait(8)
    assert world.pushed() == [("b", "bob")]
    assert not world.record("a").is_open, "and nothing of it is left behind"


# --- The store


async def test_what_is_durable_is_stored_before_anybody_sees_it() -> None:
    world = World()
    ada = world.connect("ada", "t")
    world.store.is_slow = True
    publish = asyncio.ensure_future(world.publish("t", persistence="persistent"))
    await turns()
    assert (ids(ada), publish.done(), [lane for lane, _ in world.store.writes if lane is not None]) == (
        [],
        False,
        [Lane.PUBLISH],
    )
    world.store.answer()
    await publish
    assert ids(ada) == ["x"]


async def test_what_cannot_be_stored_never_was() -> None:
    world = World()
    ada = world.connect("ada", "t")
    world.store.trouble = "the disk is full"
    with pytest.raises(Problem, match="the disk is full") as refused:
        await world.publish("t", priority="critical")
    assert (refused.value.code, refused.value.retry_after) == ("unavailable", 2.0)
    assert (ids(ada), world.tally, world.pushed(), len(world.hub.delivering.ledger)) == ([], {}, [], 0)
    await world.publish("t")
    assert ids(ada) == ["x"], "what need not be stored goes on"


async def test_an_important_one_is_noted_only_while_somebody_is_to_ack() -> None:
    world = World()
    world.connect("ada", "t")
    await world.publish("t")
    assert [(lane, type(write)) for lane, write in world.store.writes if isinstance(write, Keep)] == [(None, Keep)]
    await world.ack("ada", "x")
    assert [type(write) for write in world.store.said(Note, Close)] == [Note, Close]
    await world.publish("t", id="y", priority="informational")
    assert len(world.store.keeps()) == 1


async def test_an_ack_is_answered_when_it_is_stored() -> None:
    world = World()
    world.connect("ada", "t")
    await world.publish("t", persistence="persistent")
    world.store.is_slow = True
    ack = asyncio.ensure_future(world.ack("ada", "x"))
    await turns()
    assert not ack.done()
    world.store.answer()
    await ack


async def test_an_ack_that_could_not_be_stored_is_stored_when_it_comes_again_and_then_no_more() -> None:
    world = World()
    world.connect("ada", "t")
    await world.publish("t", persistence="persistent")
    world.store.trouble = "the disk is full"
    with pytest.raises(Problem):
        await world.ack("ada", "x")
    world.store.trouble = ""
    await world.ack("ada", "x")
    assert len(world.store.facts("acked")) == 2
    await turns()
    for _ in range(100):
        await world.ack("ada", "x")
    assert len(world.store.facts("acked")) == 2, "who acks again and again fills no disk"


async def test_two_acks_before_the_first_is_stored_wait_for_the_same() -> None:
    world = World()
    world.connect("ada", "t")
    await world.publish("t", persistence="persistent")
    world.store.is_slow = True
    first, second = (asyncio.ensure_future(world.ack("ada", "x")) for _ in range(2))
    await turns()
    assert (first.done(), second.done(), len(world.store.facts("acked"))) == (False, False, 1)
    world.store.answer()
    await asyncio.gather(first, second)


async def test_in_trouble_an_ack_of_what_is_not_durable_waits_for_nothing() -> None:
    world = World()
    world.connect("ada", "t")
    await world.publish("t")
    world.store.trouble = "the disk is full"
    await world.ack("ada", "x")
    assert (world.where("ada"), world.store.facts("acked")) == ([ACKED], [[1]])


async def test_whoever_joins_while_it_is_being_stored_gets_it_and_is_stored() -> None:
    world = World()
    world.connect("ada", "t")
    world.store.is_slow = True
    publish = asyncio.ensure_future(world.publish("t", priority="critical"))
    await turns()
    bob = world.connect("bob", "t")
    world.store.answer()
    world.store.is_slow = False
    await publish
    assert (ids(bob), sorted(world.pushed())) == (["x"], [("x", "ada"), ("x", "bob")])
    assert world.store.facts("joined") == [[world.hub.numbers.number_of("bob")]]
    assert list(world.store.keeps()[0].row.everybody) == [world.hub.numbers.number_of("ada")]


async def test_an_ack_of_what_is_still_being_stored_is_passed_over() -> None:
    world = World()
    world.connect("ada", "t")
    world.store.is_slow = True
    publish = asyncio.ensure_future(world.publish("t", priority="critical"))
    await turns()
    await world.ack("ada", "x")
    assert world.store.facts("acked") == []
    world.store.answer()
    await publish
    assert world.pushed() == [("x", "ada")]


async def test_when_too_much_is_open_what_must_not_get_lost_is_refused() -> None:
    for with_store in (True, False):
        world = World(with_store=with_store, open_entries=100)
        world.connect("ada", "t")
        for number in range(100):
            await world.publish("t", id=f"n{number}")
        with pytest.raises(Problem) as refused:
            await world.publish("t", priority="critical")
        assert refused.value.code == "unavailable" and len(world.hub.delivering.delivery.open) == 100
        await world.publish("t", id="y")
        assert world.pushed() == [("y", "ada")], "an important one is pushed at once"


# --- Acks


@pytest.mark.parametrize("id", ["x", "unknown"])
async def test_what_nobody_sent_him_is_passed_over(id: str) -> None:
    world = World()
    await world.publish("user:bob", persistence="persistent")
    before, ada = len(world.store.writes), world.connect("ada")
    await all_written(world.hub.ack("ada", [id], [ada]))
    assert (world.store.writes[before:], world.where("ada", "bob")) == ([], [None, PUSHED])


async def test_what_was_taken_back_can_be_acked_no_more_and_starts_nothing() -> None:
    world = World()
    world.connect("ada", "t")
    await world.publish("t")
    world.hub.retract(world.notification())
    assert world.where("ada") == ["retracted"]
    await world.ack("ada", "x")
    world.wait(8)
    assert world.pushed() == []


async def test_what_its_ring_has_lost_can_still_be_acked() -> None:
    world = World()
    world.connect("ada", "t")
    await world.publish("t")
    for number in range(150):
        await world.publish("t", id=f"n{number}", priority="informational")
    assert world.hub.rings.find("x", world.clock.monotonic()) is None
    await world.ack("ada", "x")
    world.wait(8)
    assert (world.where("ada"), world.pushed()) == ([ACKED], [])


# --- What nothing could bring to somebody


async def test_a_critical_one_that_nothing_could_bring_is_brought_when_he_comes() -> None:
    world = World(with_pusher=False)
    await world.publish("user:ada", priority="critical")
    world.wait(400)  # its ring has let go of it
    ada = world.connect("ada")
    world.soon.settle()
    assert ids(ada) == ["x"]
    assert world.connect("ada").notifications() == []
    await world.ack("ada", "x")
    assert world.tally == {ACKED: 1} and len(world.hub.delivering.delivery.open) == 0


async def test_it_is_brought_once_though_two_of_his_tabs_come_at_once() -> None:
    world = World(with_pusher=False)
    tasks: list[Any] = []
    world.hub.in_background = lambda work, name: tasks.append(asyncio.ensure_future(work))
    await world.publish("user:ada", priority="critical")
    world.store.is_slow = True
    first, second = world.connect("ada"), world.connect("ada")
    await turns()
    third = world.connect("ada")
    await turns()
    world.store.answer()
    await asyncio.gather(*tasks)
    world.soon.settle()
    assert [ids(one) for one in (first, second, third)] == [["x"]] * 3
    assert world.tally == {LIVE_SENT: 1}


async def test_what_could_not_be_brought_is_brought_the_next_time() -> None:
    world = World(with_pusher=False)
    await world.publish("user:ada", priority="critical")
    world.store.trouble = "the disk is full"
    first = world.connect("ada")
    assert (ids(first), world.where("ada")) == ([], [PENDING])
    world.store.trouble = ""
    second = world.connect("ada")
    world.soon.settle()
    assert ids(second) == ["x"]


async def test_whoever_resumes_gets_it_by_his_replay_and_not_twice() -> None:
    world = World(with_pusher=False)
    cursor = world.hub.attendance.cursor()
    await world.publish("user:ada", priority="critical")
    for text in (cursor, "epoch00000-7"):
        ada = connect(world.hub, "ada", cursor=text)
        world.soon.settle()
        assert ids(ada) == ["x"]
        ada.drop()


# --- Memory


@pytest.mark.parametrize("more", [{"persistence": "ephemeral"}, {"ttl": 0, "priority": "informational"}])
async def test_what_no_ring_keeps_is_let_go_of_at_once(more: dict[str, Any]) -> None:
    world = World(with_store=False)
    world.connect("ada", "t")
    record = await world.publish("t", **more)
    assert record.notification is None, "the ledger would keep all of it, and counts only the record"


async def test_very_many_subscribers_are_one_row_and_one_that_is_open() -> None:
    world = World()
    for number in range(2000):
        await world.hub.durables.put(f"u{number}", "t", Grant(by_server=True, patterns=(), checked_at=0.0))
    for number in range(200):
        world.connect(f"u{number}", "t")
    record = await world.publish("t", persistence="persistent")
    assert len(world.store.keeps()) == 1 and len(record.everybody) == 2000
    assert len(world.hub.delivering.delivery.open) == 1
    assert world.tally == {LIVE_SENT: 200, PUSHED: 1800}


async def test_nothing_that_is_over_keeps_anything() -> None:
    world = World(with_store=False)
    ada = world.connect("ada", "t")
    await world.publish("t", priority="critical", collapse_key="c")
    await world.ack("ada", "x")
    world.wait(400)
    delivery = world.hub.delivering.delivery
    assert (len(delivery.open), len(delivery.open._collapsing), delivery.open._stranded) == (0, 0, {})
    assert world.record().notification is None
    ada.drop()


async def test_the_same_id_of_two_publishers_is_acked_by_whom_it_was_sent_to() -> None:
    world = World()
    world.connect("ada", "a"), world.connect("bob", "b")
    await world.publish("a")
    body = {"to": ["b"], "id": "x", "notification": {"type": "t"}, "priority": "important"}
    await world.hub.publish(world.hub.prepare(body), f"{KEY}2")
    await world.ack("ada", "x")
    world.wait(8)
    assert world.pushed() == [("x", "bob")]
    await all_written(world.hub.ack("bob", ["x"], []))
    assert world.tally == {ACKED: 2}
