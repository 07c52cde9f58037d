"""Rates: about right, and bounded."""

import pytest

from hubd.core.rate import WINDOW_S, Rates


def test_what_never_happened_has_no_rate() -> None:
    assert Rates().of("a", 10.0) == 0.0


def test_a_steady_rate_is_told_after_a_while() -> None:
    rates = Rates()
    for tenth in range(10 * 10 * int(WINDOW_S)):
        rates.note("a", tenth / 10)
    assert rates.of("a", 10 * WINDOW_S) == pytest.approx(10, rel=0.01)


def test_it_fades_when_nothing_happens() -> None:
    rates = Rates()
    rates.note("a", 0.0)
    at_once = rates.of("a", 0.0)
    assert at_once == pytest.approx(1 / WINDOW_S)
    later = [rates.of("a", seconds) for seconds in (1, WINDOW_S, 10 * WINDOW_S)]
    assert later == sorted(later, reverse=True)
    assert later[1] == pytest.approx(at_once / 2.718, rel=0.001)
    assert later[2] < at_once / 1000


def test_names_dont_mix() -> None:
    rates = Rates()
    rates.note("a", 0.0)
    rates.note("a", 0.0)
    rates.note("b", 0.0)
    assert rates.of("a", 0.0) == pytest.approx(2 * rates.of("b", 0.0))


def test_the_longest_idle_is_forgotten_first() -> None:
    rates = Rates(names=2)
    rates.note("a", 0.0)
    rates.note("b", 1.0)
    rates.note("a", 2.0)
    rates.note("c", 3.0)
    assert rates.of("b", 3.0) == 0.0
    assert rates.of("a", 3.0) > 0.0 and rates.of("c", 3.0) > 0.0
