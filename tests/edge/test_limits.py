"""Limits at the edge: the pace of publishers, and connections by address."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubd.core.errors import Problem
from hubd.edge import limits
from hubd.edge.limits import Pace, PerAddress
from hubd.testing import FakeClock


class Paced:
    """A pace with its clock."""

    def __init__(self, per_s: int) -> None:
        self.clock = FakeClock()
        self.pace = Pace(self.clock, per_s)

    def take(self, publisher: str = "a", count: int = 1) -> float | None:
        """None: it was taken; else after how many seconds to try again."""
        try:
            self.pace.take(publisher, count)
        except Problem as problem:
            assert (problem.code, problem.status) == ("rate_limited", 429)
            assert problem.retry_after is not None
            return problem.retry_after
        return None


# --- Pace


def test_a_seconds_worth_comes_at_once_and_then_no_more() -> None:
    paced = Paced(10)
    assert [paced.take() for _ in range(10)] == [None] * 10
    assert paced.take() == pytest.approx(0.1)


def test_what_was_refused_costs_nothing() -> None:
    paced = Paced(10)
    for _ in range(10):
        paced.take()
    assert {paced.take() for _ in range(100)} == {0.1}
    paced.clock.advance(0.1)
    assert paced.take() is None
    assert paced.take() is not None


def test_it_comes_back_with_time_but_never_more_than_a_second_of_it() -> None:
    paced = Paced(10)
    for _ in range(10):
        paced.take()
    paced.clock.advance(0.5)
    assert [paced.take() for _ in range(6)][:5] == [None] * 5
    paced.clock.advance(3600)
    assert [paced.take() for _ in range(10)] == [None] * 10
    assert paced.take() is not None


def test_each_publisher_has_a_pace_of_its_own() -> None:
    paced = Paced(1)
    assert paced.take("a") is None
    assert paced.take("a") is not None
    assert paced.take("b") is None


def test_many_at_once_are_taken_by_who_owes_nothing() -> None:
    paced = Paced(10)
    assert paced.take(count=25) is None
    assert paced.take() == pytest.approx(1.6)
    assert paced.take(count=25) == pytest.approx(2.5), "when nothing is owed"
    paced.clock.advance(1.6)
    assert paced.take() is None


def test_no_limit_remembers_nothing() -> None:
    paced = Paced(0)
    assert [paced.take(count=1000) for _ in range(1000)] == [None] * 1000
    assert not paced.pace._spent


def test_so_many_publishers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_PUBLISHERS", 2)
    paced = Paced(1)
    for publisher in "aba":
        paced.take(publisher)
    paced.take("c")  # b is the longest idle
    assert len(paced.pace._spent) == 2
    assert paced.take("a") is not None and paced.take("c") is not None
    assert paced.take("b") is None


@example(25, [(0.0, 1), (0.0, 25)])
@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 60)), min_size=1, max_size=20),
)
def test_whoever_waits_as_long_as_he_is_told_gets_it(per_s: int, history: list[tuple[float, int]]) -> None:
    paced = Paced(per_s)
    began = paced.clock.monotonic()
    taken = 0
    for pause, count in history:
        paced.clock.advance(pause)
        wait = paced.take(count=count)
        if wait is not None:
            assert wait > 0 and wait * 1000 == pytest.approx(math.ceil(wait * 1000 - 1e-6))
            paced.clock.advance(wait)
            assert paced.take(count=count) is None
        taken += count
        most = per_s * (paced.clock.monotonic() - began) + max(per_s, *(count for _, count in history))
        assert taken <= most + 1e-6, "over any time no more than the pace and one burst"


# --- Addresses


def test_connections_are_counted_by_address() -> None:
    addresses = PerAddress()
    assert addresses.of("::1") == 0
    for _ in range(3):
        addresses.add("::1")
    addresses.add("127.0.0.1")
    addresses.discard("::1")
    assert (addresses.of("::1"), addresses.of("127.0.0.1")) == (2, 1)


def test_an_address_without_connections_is_forgotten() -> None:
    addresses = PerAddress()
    for number in range(100):
        addresses.add(f"127.0.0.{number}")
        addresses.discard(f"127.0.0.{number}")
    assert not addresses._counts
    assert addresses.of("127.0.0.1") == 0
