"""What is open: found by sequence, deadline and collapse key, and nothing stays behind of what isn't any more."""

from itertools import count
from math import inf
from typing import Any

import pytest

from hubd.core import open_records
from hubd.core.milestones import Tally
from hubd.core.open_records import OpenRecords
from hubd.core.record import Budget, Record
from hubd.core.users import NOBODY, UserSet
from tests.core.made import published

_numbers = count(1)


def made(*everybody: int, due: float = inf, expires: float = 1e6, **more: Any) -> Record:
    number = next(_numbers)
    notification = published("t", sequence=number, ttl_s=expires, **more)
    them = UserSet(everybody or (1,))
    record = Record(f"key{number}", notification, them, NOBODY, Tally(), Budget())
    record.sequence = number
    if due != inf:
        record.waiting, record.due_at = them, due
    return record


def opened(*records: Record) -> OpenRecords:
    found = OpenRecords()
    for record in records:
        found.add(record)
    return found


def test_found_by_sequence_until_it_is_shut() -> None:
    first, second = made(due=5.0), made(due=5.0)
    found = opened(first, second)
    assert (found.with_sequence(second.sequence), found.first_sequence, len(found)) == (second, first.sequence, 2)
    found.remove(first)
    assert (found.with_sequence(first.sequence), found.first_sequence, len(found)) == (None, second.sequence, 1)
    assert (first.is_open, second.is_open) == (False, True)


def test_deadlines_come_in_their_order_strictly_behind_their_time() -> None:
    late, early, none = made(due=9.0), made(due=5.0), made()
    found = opened(late, early, none)
    assert found.next_deadline() == pytest.approx(5.0) and found.next_deadline() > 5.0
    assert list(found.due(5.0)) == []
    assert list(found.due(found.next_deadline())) == [early]
    assert list(found.due(100.0)) == [late]
    assert found.next_deadline() == inf


def test_the_end_of_the_ttl_is_a_deadline_as_long_as_something_is_to_be_done() -> None:
    record, held = made(due=9.0, expires=4.0), made(expires=4.0)
    assert list(opened(record, held).due(5.0)) == [record]


def test_a_deadline_that_changed_comes_once() -> None:
    record = made(due=5.0)
    found = opened(record)
    record.due_at = 8.0
    found.arm(record)
    assert list(found.due(6.0)) == []
    assert list(found.due(9.0)) == [record]
    assert list(found.due(99.0)) == []


def test_what_is_shut_has_no_deadline_any_more() -> None:
    record = made(due=5.0)
    found = opened(record)
    found.remove(record)
    assert (found.next_deadline(), list(found.due(99.0))) == (inf, [])
    found.arm(record)
    assert found.next_deadline() == inf


def test_deadlines_of_what_is_shut_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_records, "TIDY", 10)
    found = opened(*(stay := [made(due=5.0) for _ in range(3)]))
    for _ in range(500):
        record = made(due=86400.0)
        found.add(record)
        record.waiting, record.pushing = NOBODY, record.waiting  # pushed: what counts now is its ttl
        found.arm(record)
        found.remove(record)
    assert len(found._deadlines) < 50
    assert list(found.due(6.0)) == stay


def test_whom_nothing_could_reach() -> None:
    one, many = made(1), made(1, 2)
    one.no_route, many.no_route = UserSet((1,)), UserSet((2,))
    found = opened(one, many)
    assert (found.stranded(1), found.stranded(2), found.stranded(3)) == ([one], [many], [])
    many.no_route = UserSet((1, 2))
    found.strand(many)
    assert found.stranded(1) == [one, many]
    one.no_route = many.no_route = NOBODY
    assert found.stranded(1) == []
    one.no_route = UserSet((1,))
    found.strand(one)
    assert found.stranded(1) == [one], "he was looked for in vain before"
    found.remove(one)
    assert found.stranded(1) == []


def test_whoever_is_not_among_them_costs_no_look_at_each() -> None:
    records = [made(1) for _ in range(100)]
    looked = 0

    class Counting(UserSet):
        def __contains__(self, number: int) -> bool:
            nonlocal looked
            looked += 1
            return super().__contains__(number)

    for record in records:
        record.no_route = Counting((1,))
    found = opened(*records)
    for number in range(2, 1000):
        assert found.stranded(number) == []
    assert looked == 0
    assert len(found.stranded(1)) == 100
