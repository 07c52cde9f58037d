"""The tiers: who is pushed to, and when, by priority and presence; and what shuts a notification."""

from typing import Any

import pytest

from hubd.core.milestones import ACKED, EXPIRED, LIVE_SENT, PENDING, PUSHED, RETRACTED, dropped, held
from hubd.core.notification import Persistence, Priority
from hubd.core.users import NOBODY
from hubd.core.verdict import Way, digest, drop, hold
from tests.core.delivery_world import ADA, BOB, DELAY, EVE, GRACE, ZOE, World, users, where

CRITICAL, IMPORTANT, INFORMATIONAL = Priority.CRITICAL, Priority.IMPORTANT, Priority.INFORMATIONAL
NEVER, AWAY, NO_ROUTE = None, dropped("away"), dropped("no_route")
AT_DEADLINE, IN_TIME, LATE = DELAY, 2.0, DELAY + 1
# Priority, where he is, when he acks (s); then: when the push starts (s), and the milestone in the end.
TIERS: list[tuple[Priority, str, float | None, float | None, str]] = [
    (CRITICAL, "connected", NEVER, 0, PUSHED),
    (CRITICAL, "connected", IN_TIME, 0, ACKED),
    (CRITICAL, "connected", LATE, 0, ACKED),
    (CRITICAL, "wavering", NEVER, 0, PUSHED),
    (CRITICAL, "wavering", IN_TIME, 0, ACKED),
    (CRITICAL, "away", NEVER, 0, PUSHED),
    (CRITICAL, "away", IN_TIME, 0, ACKED),
    (IMPORTANT, "connected", NEVER, DELAY, PUSHED),
    (IMPORTANT, "connected", IN_TIME, NEVER, ACKED),
    (IMPORTANT, "connected", AT_DEADLINE, NEVER, ACKED),
    (IMPORTANT, "connected", LATE, DELAY, ACKED),
    (IMPORTANT, "wavering", NEVER, DELAY, PUSHED),
    (IMPORTANT, "wavering", IN_TIME, NEVER, ACKED),
    (IMPORTANT, "wavering", AT_DEADLINE, NEVER, ACKED),
    (IMPORTANT, "wavering", LATE, DELAY, ACKED),
    (IMPORTANT, "away", NEVER, 0, PUSHED),
    (IMPORTANT, "away", IN_TIME, 0, ACKED),
    (INFORMATIONAL, "connected", NEVER, NEVER, LIVE_SENT),
    (INFORMATIONAL, "connected", IN_TIME, NEVER, ACKED),
    (INFORMATIONAL, "wavering", NEVER, NEVER, AWAY),
    (INFORMATIONAL, "wavering", IN_TIME, NEVER, ACKED),
    (INFORMATIONAL, "away", NEVER, NEVER, AWAY),
]


@pytest.mark.parametrize(("priority", "presence", "acks_at", "pushed_at", "end"), TIERS)
def test_a_tier(priority: Priority, presence: str, acks_at: float | None, pushed_at: float | None, end: str) -> None:
    world = World()
    pushed: list[float] = []

    def accept(record: Any, them: Any) -> None:
        pushed.extend(world.now - 1000 for _ in them)
        world.delivery.accepted(record, them, world.moment)

    world.reply = accept
    live = [ADA] if presence == "connected" else []
    record = world.publish([ADA], live, here=[] if presence == "away" else [ADA], priority=priority)
    for _ in range(4 * int(DELAY) + 4):
        if acks_at == world.now - 1000:
            assert world.ack(record, ADA), "that is news"
        world.wait(0.5)  # what is due is done with the first look behind its time, and not at it
    assert pushed == ([] if pushed_at is None else [pushed_at + 0.5 if pushed_at else 0])
    assert where(record) == {ADA: end}
    assert not record.is_open and len(world.delivery.open) == 0, "nothing is left to be done"
    assert world.tally == {end: 1}


@pytest.mark.parametrize("priority", list(Priority))
@pytest.mark.parametrize(("presence", "end"), [("connected", LIVE_SENT), ("wavering", AWAY), ("away", AWAY)])
def test_what_is_ephemeral_is_sent_live_and_that_is_all(priority: Priority, presence: str, end: str) -> None:
    world = World()
    live = [ADA] if presence == "connected" else []
    here = [] if presence == "away" else [ADA]
    record = world.publish([ADA], live, here=here, priority=priority, persistence=Persistence.EPHEMERAL)
    assert (where(record), record.is_open, world.taken()) == ({ADA: end}, False, [])


def test_everybody_by_his_own_presence_with_one_timer() -> None:
    world = World()
    record = world.publish([ADA, BOB, EVE, ZOE], [ADA, BOB], here=[EVE])
    assert world.taken() == [("push", "n1", [ZOE]), ("keep", "n1")]
    world.accept(record, ZOE)
    world.ack(record, BOB)
    world.taken()
    assert list(record.waiting) == [ADA, EVE]
    assert world.delivery.open.next_deadline() == pytest.approx(1000 + DELAY)
    world.wait(DELAY + 0.1)
    assert world.taken() == [("push", "n1", [ADA, EVE])]
    assert where(record) == {ADA: LIVE_SENT, BOB: ACKED, EVE: PENDING, ZOE: PUSHED}


# --- Without push services


@pytest.mark.parametrize(
    ("priority", "presence", "end"),
    [
        (IMPORTANT, "connected", LIVE_SENT),
        (IMPORTANT, "wavering", NO_ROUTE),
        (IMPORTANT, "away", NO_ROUTE),
        (INFORMATIONAL, "wavering", AWAY),
    ],
)
def test_without_push_services_nobody_is_waited_for_but_whoever_wavers(
    priority: Priority, presence: str, end: str
) -> None:
    world = World(can_push=False)
    live = [ADA] if presence == "connected" else []
    record = world.publish([ADA], live, here=[] if presence == "away" else [ADA], priority=priority)
    world.wait(GRACE + 0.1)
    assert (where(record), record.is_open) == ({ADA: end}, False)
    assert [what for what, *_ in world.taken() if what == "push"] == []


@pytest.mark.parametrize("live", [[], [ADA]])
def test_without_push_services_a_critical_one_stays_open_until_it_is_acked(live: list[int]) -> None:
    world = World(can_push=False)
    record = world.critical([ADA], live)
    world.wait(500)
    assert (record.is_open, list(record.no_route)) == (True, [ADA])
    world.ack(record, ADA)
    assert (record.is_open, where(record)) == (False, {ADA: ACKED})


# --- What services answer


@pytest.mark.parametrize("priority", [CRITICAL, IMPORTANT])
def test_a_service_took_it(priority: Priority) -> None:
    world = World()
    record = world.publish([ADA, BOB], priority=priority)
    world.accept(record, ADA)
    assert record.is_open
    world.accept(record, BOB)
    assert (where(record), record.is_open) == ({ADA: PUSHED, BOB: PUSHED}, False)
    assert world.taken()[-2:] == [("pushed", "n1", [BOB]), ("close", "n1")]


def test_an_important_one_for_somebody_without_devices_is_dropped() -> None:
    world = World()
    record = world.publish([ADA])
    world.no_route(record, ADA)
    assert (where(record), record.is_open) == ({ADA: NO_ROUTE}, False)


def test_an_important_one_that_was_sent_live_stays_so_when_it_cannot_be_pushed() -> None:
    world = World()
    for answer in (world.no_route, world.give_up):
        record = world.publish([ADA], [ADA])
        world.wait(DELAY + 1)
        answer(record, ADA)
        assert (where(record), record.is_open) == ({ADA: LIVE_SENT}, False)


def test_an_important_one_that_is_given_up_is_dropped() -> None:
    world = World()
    record = world.publish([ADA])
    world.give_up(record, ADA, why="gone")
    assert (where(record), record.is_open) == ({ADA: dropped("gone")}, False)


@pytest.mark.parametrize("answer", ["no_route", "give_up"])
def test_a_critical_one_that_nothing_reaches_waits_for_a_way(answer: str) -> None:
    world = World()
    record = world.critical([ADA, BOB])
    world.accept(record, BOB)
    getattr(world, answer)(record, ADA)
    assert (record.is_open, list(record.no_route), where(record)[ADA]) == (True, [ADA], PENDING)
    assert world.delivery.open.stranded(ADA) == [record] and world.delivery.open.stranded(BOB) == []
    world.taken()
    world.delivery.device_came(BOB, world.moment)
    assert world.taken() == []
    world.delivery.device_came(ADA, world.moment)
    assert world.taken() == [("push", "n1", [ADA])]
    world.delivery.device_came(ADA, world.moment)
    assert world.taken() == [], "once is enough: the first attempt isn't over"
    world.accept(record, ADA)
    assert (where(record)[ADA], record.is_open, world.delivery.open.stranded(ADA)) == (PUSHED, False, [])


def test_an_answer_about_somebody_who_was_not_asked_for_changes_nothing() -> None:
    world = World()
    record = world.critical([ADA])
    for answer in (world.no_route, world.give_up):
        answer(record, BOB)
    world.accept(record, BOB)
    assert (where(record), list(record.pushing), world.delivery.open.stranded(BOB)) == ({ADA: PENDING}, [ADA], [])


def test_an_answer_about_nobody_is_no_step() -> None:
    world = World()
    record = world.critical([ADA])
    steps = [step.what for step in record.steps]
    world.accept(record)
    world.no_route(record)
    world.give_up(record)
    assert [step.what for step in record.steps] == steps


# --- Gates


@pytest.mark.parametrize("priority", list(Priority))
@pytest.mark.parametrize(
    ("verdict", "end"),
    [
        (drop(users(ADA), "muted"), dropped("muted")),
        (hold(users(ADA), "dnd"), held("dnd")),
        (digest(users(ADA), "rarely"), held("digest")),
    ],
)
@pytest.mark.parametrize("here", [[], [ADA]])
def test_what_is_kept_from_somebody_altogether(priority: Priority, verdict: Any, end: str, here: list[int]) -> None:
    world = World()
    record = world.publish([ADA], here=here, verdicts=[verdict], priority=priority)
    world.wait(DELAY + 1)
    assert where(record) == {ADA: end}
    assert [what for what, *_ in world.taken() if what == "push"] == []
    assert record.is_open is end.startswith("held")


@pytest.mark.parametrize("priority", [CRITICAL, IMPORTANT])
@pytest.mark.parametrize("here", [[], [ADA]])
def test_what_is_kept_from_his_connections_only_is_pushed_at_once(priority: Priority, here: list[int]) -> None:
    world = World()
    record = world.publish([ADA], here=here, verdicts=[hold(users(ADA), "dnd", Way.LIVE)], priority=priority)
    assert world.taken()[0] == ("push", "n1", [ADA])
    world.accept(record, ADA)
    assert where(record) == {ADA: PUSHED}


def test_an_informational_one_that_is_kept_from_his_connections_has_no_other_way() -> None:
    world = World()
    record = world.publish([ADA], here=[ADA], verdicts=[hold(users(ADA), "dnd", Way.LIVE)], priority=INFORMATIONAL)
    assert (where(record), record.is_open) == ({ADA: held("dnd")}, True)


@pytest.mark.parametrize("priority", list(Priority))
@pytest.mark.parametrize(
    ("verdict", "end"),
    [
        (drop(users(ADA), "muted", Way.PUSH), dropped("muted")),
        (hold(users(ADA), "quiet", Way.PUSH), held("quiet")),
        (digest(users(ADA), "rarely", Way.PUSH), held("digest")),
    ],
)
def test_what_is_kept_from_his_devices_only(priority: Priority, verdict: Any, end: str) -> None:
    world = World()
    live = world.publish([ADA], [ADA], verdicts=[verdict], priority=priority)
    away = world.publish([ADA], verdicts=[verdict], priority=priority)
    world.wait(DELAY + 1)
    assert [what for what, *_ in world.taken() if what == "push"] == []
    assert (where(live), live.is_open) == ({ADA: LIVE_SENT}, False)
    assert (where(away), away.is_open) == ({ADA: end}, end.startswith("held"))


@pytest.mark.parametrize("priority", [IMPORTANT, INFORMATIONAL])
def test_what_is_kept_from_the_devices_of_somebody_who_wavers(priority: Priority) -> None:
    world = World()
    gone = world.publish([ADA], here=[ADA], verdicts=[hold(users(ADA), "quiet", Way.PUSH)], priority=priority)
    back = world.publish([ADA], here=[ADA], verdicts=[hold(users(ADA), "quiet", Way.PUSH)], priority=priority)
    world.wait(1)
    world.delivery.replayed(back, ADA, world.moment)
    world.wait(DELAY)
    assert (where(gone), where(back)) == ({ADA: held("quiet")}, {ADA: LIVE_SENT})


def test_only_what_still_has_a_way_is_pushed_when_two_gates_take_one_each() -> None:
    world = World()
    verdicts = [drop(users(ADA), "muted", Way.LIVE), hold(users(ADA, BOB), "quiet", Way.PUSH)]
    record = world.publish([ADA, BOB], [BOB], verdicts=verdicts)
    assert (where(record), world.taken()) == ({ADA: held("quiet"), BOB: LIVE_SENT}, [("keep", "n1")])


def test_a_verdict_about_others_touches_nobody() -> None:
    world = World()
    record = world.publish([ADA], [ADA], verdicts=[drop(users(BOB), "muted")])
    assert where(record) == {ADA: LIVE_SENT} and record.steps[0].what != "gate:drop"


# --- Who is meant


def test_to_nobody() -> None:
    world = World()
    for priority in Priority:
        record = world.publish([], priority=priority)
        assert not record.is_open
    assert (world.taken(), world.tally) == ([], {})


def test_to_nobody_and_stored() -> None:
    world = World()
    record = world.make([], priority=CRITICAL)
    record.is_stored = True
    world.send(record)
    assert world.taken() == [("close", "n1")]


def test_whoever_is_reached_by_the_broadcast_only_is_not_pushed() -> None:
    world = World()
    record = world.critical([ADA, BOB], [BOB], may_push=users(ADA))
    assert world.taken()[0] == ("push", "n1", [ADA])
    world.accept(record, ADA)
    assert (where(record), record.is_open) == ({ADA: PUSHED, BOB: LIVE_SENT}, False)


def test_whoever_joins_while_it_is_being_stored_is_meant_too() -> None:
    world = World()
    record = world.make([ADA])
    record.is_stored = True
    world.delivery.joined(record, users(BOB), may_push=True)
    world.delivery.joined(record, users(EVE), may_push=False)
    world.send(record, live=[EVE])
    assert world.taken() == [("joined", "n1", [BOB]), ("push", "n1", [ADA, BOB])]
    assert sum(world.tally.values()) == 3


# --- Time to live


@pytest.mark.parametrize(("ttl_s", "pushed"), [(0.0, False), (DELAY - 1, False), (DELAY + 1, True)])
def test_what_expires_before_it_is_due_is_not_pushed(ttl_s: float, pushed: bool) -> None:
    world = World()
    record = world.publish([ADA], here=[ADA], ttl_s=ttl_s)
    for _ in range(100):
        world.wait(0.1)
    assert [what for what, *_ in world.taken() if what == "push"] == ["push"] * pushed
    assert (where(record), record.is_open) == ({ADA: EXPIRED}, False)


def test_the_end_of_its_ttl_calls_off_what_is_under_way() -> None:
    world = World()
    record = world.critical([ADA, BOB], ttl_s=100.0)
    world.no_route(record, BOB)
    world.wait(100)
    assert record.is_open, "who takes it at the very moment is in time"
    world.taken()
    world.wait(0.1)
    assert (where(record), world.taken()[-2:]) == (
        {ADA: EXPIRED, BOB: EXPIRED},
        [("cancel", "n1", [ADA, BOB]), ("close", "n1")],
    )


def test_ttl_0_is_pushed_now_to_whoever_is_away_or_never() -> None:
    world = World()
    record = world.publish([ADA], ttl_s=0.0, live_only=True)
    assert world.taken()[0] == ("push", "n1", [ADA])
    world.wait(0.1)
    assert (where(record), record.is_open) == ({ADA: EXPIRED}, False)


def test_for_whom_it_is_held_its_ttl_stands_still() -> None:
    world = World()
    record = world.publish([ADA, BOB], here=[BOB], verdicts=[hold(users(ADA), "dnd")], ttl_s=3.0)
    world.wait(1000)
    assert (where(record), record.is_open) == ({ADA: held("dnd"), BOB: EXPIRED}, True)
    assert world.delivery.released(record, users(ADA, BOB), world.moment) == users(ADA)
    assert (where(record), record.is_open) == ({BOB: EXPIRED}, False)


# --- Retract and release


def test_what_is_taken_back_is_taken_back_from_whoever_was_not_shown_it() -> None:
    world = World()
    them = [ADA, BOB, EVE, ZOE]
    record = world.publish(them, [ADA, BOB], verdicts=[hold(users(ZOE), "dnd")])
    world.ack(record, BOB)
    world.taken()
    world.delivery.retracted(record, world.moment)
    assert where(record) == {ADA: RETRACTED, BOB: ACKED, EVE: RETRACTED, ZOE: RETRACTED}
    assert [what for what, *_ in world.taken()] == ["retracted", "cancel", "close"]
    assert not record.is_open
    world.wait(DELAY + 1)
    assert world.taken() == [], "no push starts any more"


def test_what_is_released_counts_no_longer_here() -> None:
    world = World()
    record = world.publish([ADA, BOB, EVE], [EVE], verdicts=[hold(users(ADA, BOB), "dnd")])
    world.ack(record, EVE)
    assert world.delivery.released(record, users(ADA, EVE, ZOE), world.moment) == users(ADA)
    assert (where(record), record.is_open) == ({BOB: held("dnd"), EVE: ACKED}, True)
    assert world.delivery.released(record, users(ADA), world.moment) == NOBODY, "once"
    assert world.delivery.released(record, users(BOB), world.moment) == users(BOB)
    assert (record.is_open, world.tally) == (False, {ACKED: 1})


def test_what_nothing_could_reach_him_with_is_released_when_he_comes() -> None:
    world = World()
    record = world.critical([ADA, BOB], [BOB])
    world.no_route(record, ADA, BOB)
    assert world.delivery.released(record, users(ADA), world.moment) == users(ADA)
    assert (where(record), list(record.no_route), record.is_open) == ({BOB: LIVE_SENT}, [BOB], True)
    assert world.delivery.released(record, users(BOB), world.moment) == users(BOB), "he hasn't acked it"
    assert (where(record), record.is_open) == ({}, False)
