"""A later one with the same collapse key replaces what hasn't been shown yet; and how much may be open."""

from typing import Any

from hubd.core.milestones import ACKED, LIVE_SENT, PENDING, PUSHED, REPLACED
from hubd.core.notification import Priority
from hubd.core.verdict import hold
from tests.core.delivery_world import ADA, BOB, DELAY, EVE, World, users, where

KEY: dict[str, Any] = {"collapse_key": "order-1"}


def test_a_later_one_takes_the_place_of_what_waits() -> None:
    world = World()
    old = world.publish([ADA, BOB, EVE], [ADA, BOB], **KEY)
    world.ack(old, BOB)
    world.taken()
    world.publish([ADA, BOB, EVE], [ADA, BOB, EVE], **KEY)
    assert world.taken()[:2] == [("cancel", "n1", [ADA, EVE]), ("replaced", "n1", [ADA, EVE])]
    assert (where(old), old.is_open) == ({ADA: REPLACED, BOB: ACKED, EVE: REPLACED}, False)
    world.wait(DELAY + 1)
    assert [done for done in world.taken() if done[0] == "push"] == [("push", "n2", [ADA, BOB, EVE])]


def test_only_for_those_who_get_the_later_one() -> None:
    world = World()
    old = world.publish([ADA, BOB, EVE], [ADA, BOB, EVE], **KEY)
    world.publish([ADA, BOB], [ADA], **KEY, verdicts=[hold(users(BOB), "dnd")])
    assert (where(old), list(old.waiting)) == ({ADA: REPLACED, BOB: LIVE_SENT, EVE: LIVE_SENT}, [BOB, EVE])


def test_another_key_or_none_replaces_nothing() -> None:
    world = World()
    old = world.publish([ADA], [ADA], **KEY)
    world.publish([ADA], [ADA], collapse_key="order-2")
    world.publish([ADA], [ADA])
    assert list(old.waiting) == [ADA]


def test_what_a_user_publishes_replaces_nothing_of_a_server_or_of_another_user() -> None:
    world = World()
    old, mine = world.publish([ADA], [ADA], **KEY), world.publish([ADA], [ADA], sender="ann", **KEY)
    world.publish([ADA], [ADA], sender="bob", **KEY)
    assert (list(old.waiting), list(mine.waiting)) == ([ADA], [ADA])
    world.publish([ADA], [ADA], sender="ann", **KEY)
    assert (list(old.waiting), list(mine.waiting)) == ([ADA], [])


def test_a_critical_one_is_never_replaced() -> None:
    world = World()
    old = world.critical([ADA], **KEY)
    world.publish([ADA], **KEY)
    assert (where(old), list(old.pushing)) == ({ADA: PENDING}, [ADA])


def test_what_a_service_has_taken_stays_pushed() -> None:
    world = World()
    old = world.publish([ADA, BOB], **KEY)
    world.accept(old, ADA)
    world.publish([ADA, BOB], **KEY)
    assert where(old) == {ADA: PUSHED, BOB: REPLACED}


def test_each_replaces_the_one_before() -> None:
    world = World()
    records = [world.publish([ADA], [ADA], **KEY) for _ in range(5)]
    assert [record.is_open for record in records] == [False] * 4 + [True]
    world.ack(records[-1], ADA)
    assert len(world.delivery.open._collapsing) == 0, "keys are strangers' words: nothing of them may stay"


def test_the_same_key_for_very_many_users_costs_each_of_them_little() -> None:
    """One word for all of them, such as "badge": none of them looks at all the others."""
    world = World()
    looked = 0

    class Counted(list[Any]):
        def __iter__(self) -> Any:
            nonlocal looked
            looked += len(self)
            return super().__iter__()

    find = world.delivery.open.collapsing
    world.delivery.open.collapsing = lambda *said: Counted(find(*said))  # type: ignore[method-assign]
    for number in range(1, 301):
        world.publish([number], [number], **KEY)
    assert len(world.delivery.open) == 300
    assert looked < 300, "each has looked at all that were open"
    old = world.publish([1, 2], [1, 2], **KEY)
    assert len(world.delivery.open) == 299, "and it replaces those of its users"
    world.publish([1], [1], **KEY)
    assert (where(old), list(old.waiting)) == ({1: REPLACED, 2: LIVE_SENT}, [2])


# --- How much may be open


def test_what_is_too_much_is_pushed_at_once_and_not_followed() -> None:
    world = World(entries=2)
    for _ in range(2):
        world.publish([ADA], [ADA])
    assert world.delivery.is_full
    world.taken()
    record = world.publish([ADA, BOB], [ADA])
    assert (world.taken(), record.is_open, len(world.delivery.open)) == ([("push", "n3", [ADA, BOB])], False, 2)
    world.accept(record, ADA, BOB)
    assert where(record) == {ADA: PUSHED, BOB: PUSHED}


def test_what_is_stored_is_followed_all_the_same() -> None:
    world = World(entries=1)
    world.publish([ADA], [ADA])
    record = world.make([ADA])
    record.is_stored = True
    world.send(record, live=[ADA])
    assert record.is_open, "who stores it has looked whether there is room"


def test_informational_ones_for_whoever_wavers_are_bounded_too() -> None:
    world = World(entries=2)
    records = [world.publish([ADA], here=[ADA], priority=Priority.INFORMATIONAL) for _ in range(5)]
    assert len(world.delivery.open) <= 2
    assert [where(record)[ADA] for record in records[2:]] == ["dropped(away)"] * 3


def test_without_push_services_what_waits_is_bounded_too() -> None:
    world = World(entries=2, can_push=False)
    records = [world.publish([ADA], here=[ADA]) for _ in range(5)]
    assert len(world.delivery.open) <= 2
    assert [where(record)[ADA] for record in records[2:]] == ["dropped(no_route)"] * 3
