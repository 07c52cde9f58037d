"""The record of a publication: its steps, what gates said, what the store has of it."""

from typing import Any

import pytest

from hubd.core.milestones import ACKED, LIVE_SENT, PENDING, PUSHED, dropped, held
from hubd.core.notification import Persistence, Priority
from hubd.core.record import FACTS, STEPS, Record, Step
from hubd.core.stored import Fact
from hubd.core.users import NOBODY, UserSet
from hubd.core.verdict import Way, digest, drop, hold
from tests.core.delivery_world import ADA, BOB, EVE, WALL, ZOE, World, users, where


def made(*everybody: int, **more: Any) -> Record:
    return World().make(everybody or (ADA, BOB), **more)


# --- Steps


def numbers_of(step: Step) -> list[int]:
    return [step.users] if isinstance(step.users, int) else list(step.users or ())


def test_steps_are_kept_one_by_one_and_then_with_others_of_their_kind() -> None:
    record = made(*range(1, 2 * STEPS + 1))
    record.note(WALL, "push", users(1))
    for number in range(1, 2 * STEPS + 1):
        record.note_one(WALL + number, "acked", number, f"c{number}")
    assert len(record.steps) == STEPS
    assert UserSet(n for step in record.steps[1:] for n in ([step.users] if isinstance(step.users, int) else step.users)
                   ) == record.everybody, "nobody's is lost"  # fmt: skip
    last = record.steps[-1]
    assert (last.at, last.until, last.detail) == (WALL + STEPS - 1, WALL + 2 * STEPS, "")
    assert record.steps[1].detail == "c1"


def test_what_has_no_other_of_its_kind_is_kept_all_the_same() -> None:
    record = made(*range(1, STEPS + 1))
    for number in range(1, STEPS + 1):
        record.note_one(WALL, "acked", number)
    record.note(WALL, "retracted", None)
    record.note(WALL, "pushed", users(1))
    assert [step.what for step in record.steps[-2:]] == ["retracted", "pushed"]


def test_no_answer_of_a_push_service_gets_lost_among_many() -> None:
    record = made(*range(1, 2001))
    texts = ["fake later 503", "fake later 429", "fake gone 410", "fake accepted 201"]
    for number in range(2000):
        record.note_attempt(WALL + number, users(number + 1), texts[min(3, number // 450)])
    assert len(record.steps) == STEPS + 3
    for place, text in enumerate(texts):
        seen = [step for step in record.steps if step.detail == text]
        first, last = 1 + 450 * place, 450 * (place + 1) if place < 3 else 2000
        assert {number for step in seen for number in numbers_of(step)} == set(range(first, last + 1))
        assert seen[-1].until == WALL + last - 1


def test_answers_that_are_all_different_are_bounded() -> None:
    record = made(1)
    for number in range(5000):
        record.note_attempt(WALL + number, users(1), f"fake later {number}")
    assert len(record.steps) == 2 * STEPS
    assert (record.steps[-1].detail, record.steps[-1].until) == ("", WALL + 4999)


def test_very_many_pushes_that_the_store_tells_of_keep_their_words() -> None:
    facts = [("pushed", [number + 1], f"fake {200 + number % 3}") for number in range(3 * STEPS)]
    record = folded(*facts)
    found = {step.detail: set() for step in record.steps}
    for step in record.steps:
        found[step.detail] |= set(numbers_of(step))
    assert found == {f"fake {200 + rest}": set(range(rest + 1, 3 * STEPS + 1, 3)) for rest in range(3)}
    assert len(record.steps) <= STEPS + 3


def test_its_memory_is_counted_with_all_others() -> None:
    world = World()
    first, second = world.make([ADA]), world.make([ADA])
    second.note(WALL, "push", users(ADA))
    assert world.budget.used == first.size + second.size
    assert second.size > first.size > 0


def test_many_sets_of_users_count_when_it_is_over() -> None:
    world = World()
    record = world.make(range(1, 10_001))
    record.milestones.move(UserSet(range(1, 10_001, 2)), LIVE_SENT)
    before = record.size
    record.settle_size()
    assert 8_000 <= record.size - before <= 50_000
    assert world.budget.used == record.size


# --- Gates


@pytest.mark.parametrize(
    ("verdict", "milestone", "live_off", "may_push", "is_held"),
    [
        (drop(users(ADA), "muted"), dropped("muted"), [ADA], [BOB], False),
        (hold(users(ADA), "dnd"), held("dnd"), [ADA], [BOB], True),
        (digest(users(ADA), "rarely"), held("digest"), [ADA], [BOB], True),
        (hold(users(ADA), "dnd", Way.LIVE), PENDING, [ADA], [ADA, BOB], False),
        (hold(users(ADA), "dnd", Way.PUSH), PENDING, [], [BOB], False),
    ],
)
def test_a_verdict(verdict: Any, milestone: str, live_off: list[int], may_push: list[int], is_held: bool) -> None:
    record = made()
    record.judge([("gate", verdict)], WALL)
    assert where(record) == {ADA: milestone, BOB: PENDING}
    assert (list(record.live_off), list(record.may_push), record.has_held) == (live_off, may_push, is_held)


def test_verdicts_count_once_though_they_are_told_again() -> None:
    record = made()
    first, second = ("a", hold(users(ADA), "dnd")), ("b", drop(users(BOB), "muted"))
    assert [fact.kind for fact in record.judge([first], WALL)] == ["not_live", "held"]
    assert [(fact.kind, list(fact.users)) for fact in record.judge([first, second], WALL)] == [
        ("not_live", [BOB]), ("dropped", [BOB]),
    ]  # fmt: skip
    assert record.judge([first, second], WALL) == []


def test_a_plugins_own_set_is_not_held_on_to() -> None:
    record, its = made(), users(ADA)
    record.judge([("gate", hold(its, "dnd"))], WALL)
    its.add(BOB)
    assert where(record) == {ADA: held("dnd"), BOB: PENDING} and list(record.live_off) == [ADA]


def test_for_whom_it_is_held_by_the_reason() -> None:
    record = made(ADA, BOB, EVE, ZOE)
    verdicts = [hold(users(ADA), "dnd"), hold(users(BOB), "quiet"), digest(users(EVE), "rarely")]
    record.judge([("gate", verdict) for verdict in verdicts], WALL)
    assert {why: list(them) for why, them in record.held.items()} == {"dnd": [ADA], "quiet": [BOB], "digest": [EVE]}


def test_held_for_all_and_then_for_nobody() -> None:
    record = made(ADA)
    record.judge([("gate", hold(users(ADA), "dnd"))], WALL)
    assert record.held == {"dnd": users(ADA)}
    record.milestones.take_out(users(ADA))
    assert record.held == {}, "or it would stay open for ever"


def test_what_is_ephemeral_is_never_held() -> None:
    record = made(persistence=Persistence.EPHEMERAL)
    record.judge([("gate", hold(users(ADA), "dnd")), ("gate", digest(users(BOB), "rarely"))], WALL)
    assert (where(record), record.has_held) == ({ADA: dropped("dnd"), BOB: dropped("rarely")}, False)


# --- What the store has


def test_the_row_says_what_it_is_and_when_it_is_due() -> None:
    world = World()
    record = world.make([ADA, BOB], id="x", priority=Priority.CRITICAL, collapse_key="c", group="g", ttl_s=60.0)
    row = record.row(123, world.moment)
    assert (row.key, row.id, row.channels, row.persistence) == ("key1", "x", ("t",), "bufferable")
    assert (row.collapse_key, row.group, row.due_at) == ("c", "g", 123)
    assert row.expires_at == int((WALL + world.now + 60) * 1000)
    assert (row.everybody, row.may_push) == (users(ADA, BOB), users(ADA, BOB))


def test_what_has_become_of_it_before_its_row_was_written_goes_with_it() -> None:
    record = made(ADA, BOB, EVE, ZOE, 5)
    record.judge([("gate", hold(users(ADA), "dnd")), ("gate", drop(users(BOB), "muted"))], WALL)
    record.milestones.move_one(EVE, PUSHED)
    record.milestones.move_one(ZOE, ACKED)
    found = {(fact.kind, fact.detail): list(fact.users) for fact in record.facts(7)}
    assert found == {
        ("held", "dnd"): [ADA], ("dropped", "muted"): [BOB], ("pushed", ""): [EVE], ("acked", ""): [ZOE],
        ("not_live", ""): [ADA, BOB],
    }  # fmt: skip
    assert {fact.at for fact in record.facts(7)} == {7}


def folded(*facts: tuple[str, list[int], str]) -> Record:
    record = made(ADA, BOB, EVE)
    record.fold(Fact(record.key, kind, UserSet(them), 1000, detail) for kind, them, detail in facts)
    return record


@pytest.mark.parametrize(
    ("kind", "detail", "milestone", "may_push"),
    [
        ("acked", "c1", ACKED, False),
        ("proved", "", LIVE_SENT, False),
        ("pushed", "", PUSHED, False),
        ("held", "dnd", held("dnd"), False),
        ("dropped", "gone", dropped("gone"), False),
        ("replaced", "n2", dropped("replaced"), False),
        ("expired", "", "expired", False),
        ("retracted", "", "retracted", False),
        ("joined", "", PENDING, True),
        ("not_live", "", PENDING, True),
    ],
)
def test_what_the_store_was_told_counts_again(kind: str, detail: str, milestone: str, may_push: bool) -> None:
    record = folded((kind, [ADA], detail))
    assert where(record) == {ADA: milestone, BOB: PENDING, EVE: PENDING}
    assert (ADA in record.may_push, BOB in record.may_push) == (may_push, True)
    assert record.steps[-1].what == kind and record.steps[-1].at == 1.0


def test_every_kind_that_is_stored_can_be_read() -> None:
    assert {"acked", "proved", "pushed", "held", "dropped", "replaced", "expired", "retracted", "joined",
            "released"} <= set(FACTS)  # fmt: skip


def test_what_was_released_counts_elsewhere() -> None:
    record = folded(("held", [ADA, BOB], "dnd"), ("released", [ADA], ""))
    assert (where(record), list(record.may_push)) == ({BOB: held("dnd"), EVE: PENDING}, [EVE])


def test_nothing_takes_back_an_ack() -> None:
    record = folded(("acked", [ADA], ""), ("pushed", [ADA, BOB], ""), ("retracted", [ADA, EVE], ""))
    assert where(record) == {ADA: ACKED, BOB: PUSHED, EVE: "retracted"}


def test_somebody_who_joined_or_acked_and_is_not_in_the_row() -> None:
    record = folded(("joined", [ZOE, 5], ""), ("acked", [6, ADA], ""), ("held", [5], "dnd"))
    assert where(record) == {ADA: ACKED, BOB: PENDING, EVE: PENDING, ZOE: PENDING, 5: held("dnd"), 6: ACKED}
    assert list(record.may_push) == [BOB, EVE, ZOE]


def test_a_hundred_thousand_who_joined_are_one_step() -> None:
    record = made(ADA)
    record.fold([Fact(record.key, "joined", UserSet(range(2, 100_002)), 0)])
    assert len(record.everybody) == 100_001 and record.milestones.others is None


def test_informational_ones_are_for_nobodys_devices() -> None:
    assert made(priority=Priority.INFORMATIONAL).may_push == NOBODY


def test_very_many_facts_are_few_steps_and_say_until_when() -> None:
    record = made(*range(1, 5001))
    record.fold(Fact("k", "acked", users(n), 1000 * n, f"c{n}") for n in range(1, 5001))
    assert len(record.steps) == STEPS and record.steps[0].detail == "c1"
    last = record.steps[-1]
    assert (last.what, last.until, last.detail) == ("acked", 5000.0, "")
    assert record.milestones.at(ACKED) == record.everybody
    assert not record.may_push
