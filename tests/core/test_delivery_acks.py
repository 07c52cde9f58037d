"""Acks and proofs of life: what they cancel, whoever gives them and whenever."""

import pytest

from hubd.core.milestones import ACKED, EXPIRED, LIVE_SENT, PENDING, PUSHED, RETRACTED
from hubd.core.notification import Priority
from hubd.core.users import NOBODY
from tests.core.delivery_world import ADA, BOB, DELAY, EVE, World, users, where


def test_the_last_ack_shuts_it_and_leaves_no_timer() -> None:
    world = World()
    record = world.publish([ADA, BOB], [ADA, BOB])
    world.ack(record, ADA)
    assert record.is_open
    world.ack(record, BOB)
    assert (record.is_open, world.delivery.open.next_deadline()) == (False, float("inf"))


def test_an_ack_at_the_very_moment_is_in_time_and_behind_it_is_late() -> None:
    world = World()
    record = world.publish([ADA], [ADA])
    world.now = 1000.0 + DELAY
    world.delivery.due(world.moment)
    assert world.taken() == [("keep", "n1")], "a tie goes to the ack"
    world.wait(0.001)
    assert world.taken() == [("push", "n1", [ADA])]
    world.ack(record, ADA)
    assert world.taken() == [("acked", "n1", [ADA]), ("cancel", "n1", [ADA]), ("close", "n1")]


def test_the_timer_says_when_it_has_something_to_do_and_not_before() -> None:
    world = World()
    world.publish([ADA], [ADA])
    world.taken()
    at = world.delivery.open.next_deadline()
    assert at > 1000 + DELAY
    world.now = at
    world.delivery.due(world.moment)
    assert world.taken() == [("push", "n1", [ADA])]


def test_what_one_service_accepted_before_the_ack_is_called_off_for_his_other_devices() -> None:
    world = World()
    record = world.publish([ADA, BOB])
    world.accept(record, ADA)
    world.taken()
    assert world.ack(record, ADA)
    assert world.taken() == [("acked", "n1", [ADA]), ("cancel", "n1", [ADA])]
    assert where(record) == {ADA: ACKED, BOB: PENDING}


def test_an_answer_behind_the_ack_changes_nothing() -> None:
    world = World()
    record = world.critical([ADA, BOB])
    world.ack(record, ADA)
    world.taken()
    for answer in (world.accept, world.no_route, world.give_up):
        answer(record, ADA)
    assert (where(record)[ADA], record.no_route, world.taken()) == (ACKED, NOBODY, [])


def test_a_second_ack_is_no_news() -> None:
    world = World()
    record = world.publish([ADA], [ADA])
    assert [world.ack(record, ADA), world.ack(record, ADA)] == [True, False]
    assert [step.what for step in record.steps].count("acked") == 1


def test_an_ack_of_somebody_for_whom_it_was_not_meant_touches_nobody_else() -> None:
    world = World()
    record = world.publish([ADA], [ADA])
    assert world.ack(record, BOB)
    assert (where(record), list(record.waiting)) == ({ADA: LIVE_SENT, BOB: ACKED}, [ADA])


def test_an_ack_of_what_has_been_taken_back_or_has_expired_is_recorded_and_starts_nothing() -> None:
    world = World()
    back, old = world.publish([ADA], here=[ADA], ttl_s=50.0), world.publish([ADA], here=[ADA], ttl_s=1.0)
    world.delivery.retracted(back, world.moment)
    world.wait(2)
    assert (where(back), where(old)) == ({ADA: RETRACTED}, {ADA: EXPIRED})
    world.taken()
    assert world.ack(old, ADA) and world.ack(back, ADA)
    assert (where(back), where(old)) == ({ADA: ACKED}, {ADA: ACKED})
    world.wait(DELAY)
    assert {what for what, *_ in world.taken()} == {"acked"}


@pytest.mark.parametrize("priority", list(Priority))
def test_an_ack_while_it_is_being_stored_counts(priority: Priority) -> None:
    world = World()
    record = world.make([ADA, BOB], priority=priority)
    record.is_stored = True
    world.ack(record, ADA)
    world.send(record, live=[ADA])
    world.wait(DELAY + 1)
    assert where(record)[ADA] == ACKED
    assert [who for what, _, *who in world.taken() if what == "push"] in ([], [[[BOB]]])


def test_a_hundred_thousand_are_one_timer_and_a_few_sets() -> None:
    world = World()
    everybody = range(1, 100_001)
    record = world.publish(everybody, range(1, 10_001))
    assert len(world.delivery.open) == 1
    assert world.delivery.open._deadlines.__len__() == 1
    assert [what for what, *_ in world.taken()] == ["push", "keep"]
    assert len(record.milestones.others or {}) == 1 and len(record.steps) == 2


# --- Proof of life


def alive(world: World) -> list[int]:
    """Who is pushed to in the end."""
    world.wait(DELAY + 1)
    return [number for what, *rest in world.taken() if what == "push" for number in rest[1]]


def test_a_sign_of_life_behind_it_settles_an_important_one() -> None:
    world = World()
    record = world.publish([ADA, BOB], [ADA, BOB], plain=[ADA])
    world.delivery.proved(record.sequence, ADA, world.moment)
    assert (alive(world), where(record)[ADA]) == ([BOB], LIVE_SENT)


def test_no_sign_of_life_settles_a_critical_one() -> None:
    world = World()
    record = world.critical([ADA], [ADA], plain=[ADA])
    world.delivery.proved(record.sequence, ADA, world.moment)
    assert record.is_open and list(record.pushing) == [ADA]


def test_no_sign_of_life_settles_a_critical_one_that_waits_since_a_restart() -> None:
    world = World()
    record = world.make([ADA], priority=Priority.CRITICAL)
    record.sequence, record.due_at = 7, world.now
    world.delivery.restored(record, world.moment)
    world.delivery.proved(7, ADA, world.moment)
    assert alive(world) == [ADA]


def test_a_sign_of_life_is_about_what_was_before_it() -> None:
    world = World()
    first, second = world.publish([ADA], [ADA], plain=[ADA]), world.publish([ADA], [ADA], plain=[ADA])
    world.delivery.proved(first.sequence, ADA, world.moment)
    world.delivery.proved(77, ADA, world.moment)
    assert (first.is_open, second.is_open) == (False, True)


def test_a_sign_of_life_of_somebody_else_settles_nothing() -> None:
    world = World()
    record = world.publish([ADA], [ADA], plain=[ADA, EVE])
    world.delivery.proved(record.sequence, EVE, world.moment)
    assert alive(world) == [ADA]


def test_a_sign_of_life_behind_the_deadline_comes_too_late() -> None:
    world = World()
    record = world.publish([ADA], [ADA], plain=[ADA])
    assert alive(world) == [ADA]
    world.delivery.proved(record.sequence, ADA, world.moment)
    assert (list(record.pushing), world.taken()) == ([ADA], [])


@pytest.mark.parametrize(("plain_ack", "proves", "pushed"), [
    ("alive", True, []), ("alive", False, [ADA]),
    ("never", True, [ADA]), ("never", False, [ADA]),
    ("written", True, []), ("written", False, []),
])  # fmt: skip
def test_what_settles_an_important_one_where_nobody_acks(plain_ack: str, proves: bool, pushed: list[int]) -> None:
    world = World()
    world.delivery.plain_ack = plain_ack
    record = world.publish([ADA], [ADA], plain=[ADA])
    if proves:
        world.delivery.proved(record.sequence, ADA, world.moment)
    assert (alive(world), where(record)) == (pushed, {ADA: LIVE_SENT})


def test_written_means_written_to_him() -> None:
    world = World()
    world.delivery.plain_ack = "written"
    world.publish([ADA, BOB], [BOB], here=[ADA], plain=[ADA])  # his plain connection is of another topic, or gone
    assert alive(world) == [ADA, BOB]


@pytest.mark.parametrize("plain_ack", ["alive", "never", "written"])
def test_a_critical_one_is_pushed_at_once_whatever_settles_others(plain_ack: str) -> None:
    world = World()
    world.delivery.plain_ack = plain_ack
    world.critical([ADA], [ADA], plain=[ADA])
    assert world.taken()[0] == ("push", "n1", [ADA])


def test_whoever_wavers_comes_back_and_shows_that_he_has_it() -> None:
    world = World()
    record = world.publish([ADA], here=[ADA])
    world.delivery.replayed(record, ADA, world.moment)
    assert (where(record), record.is_open) == ({ADA: LIVE_SENT}, True)
    world.delivery.proved(record.sequence, ADA, world.moment)
    assert (record.is_open, alive(world), where(record)) == (False, [], {ADA: LIVE_SENT})


# --- Replay


def test_whoever_comes_back_in_time_gets_an_informational_one_by_his_replay() -> None:
    world = World()
    record = world.publish([ADA, BOB], here=[ADA, BOB], priority=Priority.INFORMATIONAL)
    world.delivery.replayed(record, ADA, world.moment)
    world.wait(DELAY)
    assert (where(record)[ADA], record.is_open) == (LIVE_SENT, False)


def test_whoever_comes_back_too_late_gets_it_all_the_same() -> None:
    world = World()
    for can_push, priority in ((True, Priority.INFORMATIONAL), (False, Priority.IMPORTANT)):
        world.delivery.can_push = can_push
        record = world.publish([ADA], priority=priority)
        assert not record.is_open and where(record)[ADA].startswith("dropped(")
        world.delivery.replayed(record, ADA, world.moment)
        assert where(record) == {ADA: LIVE_SENT}


def test_a_replay_to_somebody_who_joined_later_counts_him() -> None:
    world = World()
    record = world.publish([ADA], [ADA])
    world.delivery.replayed(record, BOB, world.moment)
    assert where(record) == {ADA: LIVE_SENT, BOB: LIVE_SENT}


@pytest.mark.parametrize("milestone", [ACKED, PUSHED])
def test_a_replay_takes_nobody_back(milestone: str) -> None:
    world = World()
    record = world.publish([ADA])
    if milestone == ACKED:
        world.ack(record, ADA)
    else:
        world.accept(record, ADA)
    world.delivery.replayed(record, ADA, world.moment)
    assert where(record) == {ADA: milestone}


def test_a_replay_does_not_settle_a_critical_one() -> None:
    world = World()
    record = world.critical([ADA])
    world.no_route(record, ADA)
    world.delivery.replayed(record, ADA, world.moment)
    assert (record.is_open, record.no_route, where(record)) == (True, users(ADA), {ADA: LIVE_SENT})


def test_also_when_nothing_else_is_open_about_it() -> None:
    world = World()
    record = world.critical([ADA])
    world.accept(record, ADA)
    assert not record.is_open
    world.taken()
    assert world.ack(record, ADA)
    assert ("cancel", "n1", [ADA]) in world.taken()


def test_what_was_never_pushed_needs_no_calling_off() -> None:
    world = World()
    record = world.publish([ADA], [ADA])
    world.ack(record, ADA)
    assert all(what[0] != "cancel" for what in world.taken())
