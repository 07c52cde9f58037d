"""Records by collapse key: of one user by his number, others all."""

from typing import Any

import pytest

from hubd.core.collapsing import Collapsing
from hubd.core.milestones import Tally
from hubd.core.record import Budget, Record
from hubd.core.users import NOBODY, UserSet
from tests.core.made import published

KEY = (None, "k")


def made(name: str, *everybody: int, **more: Any) -> Record:
    notification = published("t", **{"collapse_key": "k"} | more)
    return Record(name, notification, UserSet(everybody), NOBODY, Tally(), Budget())


def found(collapsing: Collapsing, *numbers: int, key: Any = KEY) -> list[str]:
    return sorted(record.key for record in collapsing.find(key, UserSet(numbers)))


@pytest.fixture
def filled() -> tuple[Collapsing, dict[str, Record]]:
    records = [made("a", 1), made("b", 1), made("c", 2), made("d", 1, 2, 3), made("e", 1, sender="eve"), made("f")]
    collapsing = Collapsing()
    for record in records:
        collapsing.add(record)
    return collapsing, {record.key: record for record in records}


def test_those_that_may_be_for_somebody_are_found(filled: Any) -> None:
    collapsing, _ = filled
    assert found(collapsing, 1) == ["a", "b", "d", "f"]
    assert found(collapsing, 2) == found(collapsing, *range(2, 100)) == ["c", "d", "f"]
    assert found(collapsing, 9) == ["d", "f"]


def test_a_key_is_its_publishers_own(filled: Any) -> None:
    collapsing, _ = filled
    assert found(collapsing, 1, key=("eve", "k")) == ["e"]
    assert found(collapsing, 1, key=("ann", "k")) == found(collapsing, 1, key=(None, "other")) == []


def test_what_is_discarded_leaves_nothing(filled: Any) -> None:
    collapsing, records = filled
    collapsing.discard(records["a"])
    collapsing.discard(records["a"])
    assert found(collapsing, 1) == ["b", "d", "f"]
    for record in records.values():
        collapsing.discard(record)
    assert (len(collapsing), found(collapsing, 1), collapsing._numbers) == (0, [], {})


def test_what_has_no_key_is_not_in_here() -> None:
    collapsing, record = Collapsing(), made("a", 1, collapse_key=None)
    collapsing.add(record)
    collapsing.discard(record)
    assert len(collapsing) == 0


def test_somebody_more_who_acked_it_does_not_lose_it() -> None:
    collapsing, record = Collapsing(), made("a", 1)
    collapsing.add(record)
    record.milestones.add(2, "acked")
    assert found(collapsing, 1) == ["a"]
    collapsing.discard(record)
    assert (len(collapsing), collapsing._numbers) == (0, {})
