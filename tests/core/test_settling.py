"""The small steps leave a record in order, whatever was decided before."""

from hubd.core.milestones import ACKED, AWAY, NO_ROUTE, PENDING
from hubd.core.notification import Priority
from hubd.core.settling import Settling
from hubd.core.users import UserSet
from tests.core.delivery_world import World, users, where

ADA, BOB = 1, 2


def test_decisions_are_made_of_these_steps() -> None:
    assert isinstance(World().delivery, Settling)


def test_nobody_is_pushed_to_who_has_acked() -> None:
    world = World()
    record = world.publish([ADA, BOB], [ADA, BOB])
    world.ack(record, ADA)
    world.taken()
    world.delivery._push(record, users(ADA, BOB), world.moment)
    assert (list(record.pushing), where(record)[ADA]) == ([BOB], ACKED)


def test_of_those_who_cant_be_pushed_to_critical_ones_wait_and_others_dont() -> None:
    for priority, milestone, waits in ((Priority.CRITICAL, PENDING, [ADA]), (Priority.IMPORTANT, NO_ROUTE, [])):
        world = World()
        record = world.make([ADA], priority=priority)
        world.delivery._strand(record, users(ADA), world.moment)
        assert (where(record), list(record.no_route)) == ({ADA: milestone}, waits)


def test_who_is_missed_is_away() -> None:
    world = World()
    record = world.make([ADA, BOB], priority=Priority.INFORMATIONAL)
    world.delivery._miss(record, users(ADA), world.moment)
    assert where(record) == {ADA: AWAY, BOB: PENDING}


def test_what_has_ended_is_told_to_whoever_pushes_and_closed_once() -> None:
    world = World()
    record = world.critical([ADA])
    world.store(record)
    world.taken()
    world.delivery._end(record)
    world.delivery._end(record)
    assert world.taken() == [("cancel", "n1", [ADA]), ("close", "n1"), ("cancel", "n1", [ADA])]
    assert not record.is_open and not record.is_escalating and isinstance(record.everybody, UserSet)
