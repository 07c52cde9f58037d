"""Facts that are read back as fewer: the same comes of them."""

import random

import pytest

from hubd.core.record import STEPS, Record
from hubd.core.stored import Fact
from hubd.core.users import UserSet
from hubd.store.uniting import WITHIN_MS, United
from tests.core.delivery_world import World


def united(facts: list[Fact]) -> list[Fact]:
    found = United()
    for fact in facts:
        found.add(fact)
    return found.all()


def acks(count: int, every_ms: int = 1) -> list[Fact]:
    return [Fact("k", "acked", UserSet([n]), n * every_ms, f"c{n}") for n in range(1, count + 1)]


def folded(facts: list[Fact]) -> Record:
    record = World().make(range(1, 7))
    record.fold(facts)
    return record


def test_the_first_ones_stay_as_they_are() -> None:
    assert united(acks(STEPS)) == acks(STEPS)


def test_of_what_comes_then_many_become_one_without_their_details() -> None:
    *first, last = united(acks(5000))
    assert first == acks(STEPS)
    assert last == Fact("k", "acked", UserSet(range(STEPS + 1, 5001)), STEPS + 1, "")


def test_what_was_long_after_is_one_of_its_own() -> None:
    found = united(acks(STEPS + 100, every_ms=WITHIN_MS // 2))
    assert len(found) == STEPS + 50
    assert sum(len(fact.users) for fact in found) == STEPS + 100


def test_what_depends_on_the_order_is_not_put_together() -> None:
    some, others = UserSet([1]), UserSet([2])
    later = [
        Fact("k", "held", some, 0, "dnd"),
        Fact("k", "held", others, 0, "dnd"),
        Fact("k", "held", others, 0, "digest"),
        Fact("k", "acked", some, 0, "c"),
        Fact("k", "released", others, 0, "x"),
        Fact("k", "acked", others, 0, "c"),
    ]
    kinds = [(fact.kind, fact.detail, list(fact.users)) for fact in united(acks(STEPS) + later)[STEPS:]]
    assert kinds == [
        ("held", "dnd", [1, 2]),
        ("held", "digest", [2]),
        ("acked", "c", [1]),
        ("released", "x", [2]),
        ("acked", "c", [2]),
    ]


KINDS = (
    *("acked", "pushed", "not_live", "proved", "held", "dropped", "released", "joined"),
    *("expired", "retracted", "replaced"),
)


@pytest.mark.parametrize("seed", range(60))
def test_the_same_comes_of_many_facts_as_of_each_alone(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    kinds = ["pushed", "proved"] if seed < 5 else chance.sample(KINDS, chance.randint(2, 6))
    last, facts = 6, []
    for at in range(300):
        kind = chance.choice(kinds)
        last += kind == "joined"
        who = last if kind == "joined" else chance.randint(1, last)  # who joins wasn't there before
        facts.append(Fact("k", kind, UserSet([who]), at, chance.choice(("dnd", "muted"))))
    alone = folded(facts)
    monkeypatch.setattr("hubd.core.record.STEPS", 5)
    monkeypatch.setattr("hubd.store.uniting.STEPS", 5)
    for record in (folded(facts), folded(united(facts))):
        for number in range(1, 400):
            assert record.milestones.of(number) == alone.milestones.of(number), number
        assert record.everybody == alone.everybody
        assert record.may_push == alone.may_push and record.pushable == alone.pushable
        assert record.live_off == alone.live_off and record.has_held == alone.has_held
        noted = UserSet(
            n for step in record.steps for n in ([step.users] if isinstance(step.users, int) else step.users)
        )
        assert noted == UserSet(n for fact in facts for n in fact.users)
    assert len(united(facts)) < len(facts)
