"""One destination: room, pauses, the probe after them; and the table of all of them."""

import logging
from random import Random

import pytest

from hubd.core.users import UserSet
from hubd.counts import PushCounts
from hubd.hooks.push import Limits, Rate
from hubd.push.destination import (
    DESTINATIONS,
    FAILED_USERS,
    FAILURES,
    LONGEST_ASKED_S,
    OTHERS,
    Destination,
    Destinations,
)
from hubd.push.jobs import Part, PartKey
from tests.push.pushing_world import Service
from tests.push.test_retrying import job


class Steady(Random):
    """Always the most."""

    def uniform(self, a: float, b: float) -> float:
        return b


RANDOM = Steady()


def destination(limits: Limits | None = None) -> tuple[Destination, PushCounts]:
    counts = PushCounts()
    return Destination("fake", "push.example.com", limits or Limits(at_once=8), counts, 1), counts


def test_room_is_what_the_limit_leaves() -> None:
    one, counts = destination()
    for left in (8, 7, 6):
        assert one.room(0.0) == left
        one.began(0.0, 1)
    assert counts.under_way["fake"] == 3
    one.ended(1)
    assert (one.room(0.0), counts.under_way["fake"]) == (6, 2)


def test_failures_in_a_row_pause_it_and_one_probe_decides(caplog: pytest.LogCaptureFixture) -> None:
    one, counts = destination()
    with caplog.at_level(logging.INFO, "hubd"):
        for number in range(FAILURES):
            assert one.wait(10.0) == 0, f"after {number}"
            one.failed(10.0, 0, "503", None, RANDOM, number)
        assert (one.wait(10.0), one.room(10.5), counts.paused["fake"]) == (1.0, 0, 1)
        for pause in (2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
            now = one.paused_until
            assert (one.wait(now), one.room(now)) == (0, 1)
            one.began(now, 1)
            assert one.room(now) == 0, "one probe at a time"
            one.ended(1)
            one.failed(now, one.period, "503", None, RANDOM)
            assert one.wait(now) == pause
        one.worked(one.period)
    assert (one.wait(now), one.room(now), counts.paused["fake"]) == (0, 8, 0)
    assert caplog.text.count("push_paused") == caplog.text.count("push_resumed") == 1
    assert "destination=push.example.com" in caplog.text and "reason=503" in caplog.text
    for number in range(FAILURES):
        one.failed(now, one.period, "503", None, RANDOM, number)
    assert one.wait(now) == 1.0, "it begins anew"


def test_a_success_between_failures_is_a_sign_of_life() -> None:
    one, _ = destination()
    for _ in range(20):
        for number in range(FAILURES - 1):
            one.failed(0.0, 0, "503", None, RANDOM, number)
        one.worked(0)
    assert one.wait(0.0) == 0


def test_answers_to_what_was_begun_before_the_pause_change_nothing() -> None:
    one, _ = destination()
    for number in range(FAILURES):
        one.failed(0.0, 0, "503", None, RANDOM, number)
    for number in range(30):
        one.failed(0.0, 0, "503", None, RANDOM, number)
        one.worked(0)
    assert (one.wait(0.0), one.is_paused) == (1.0, True)


def test_failures_have_to_be_of_several_users() -> None:
    one, _ = destination()
    for number in range(100):
        one.failed(0.0, 0, "503", None, RANDOM, number % (FAILED_USERS - 1))
        assert one.wait(0.0) == 0
    one.failed(0.0, 0, "503", None, RANDOM, FAILED_USERS)
    assert one.wait(0.0) == 1.0


def test_nobody_takes_all_the_room_alone() -> None:
    one, _ = destination(Limits(at_once=32))
    waiting = job(1)
    for _ in range(4):
        assert one.has_room_for(7)
        one.began(0.0, 7)
    assert not one.has_room_for(7) and one.has_room_for(8)
    for device in range(3):
        one.set_aside(waiting, device, PartKey(1, 0), 7)
    assert (one.waiting, len(one.lanes)) == (3, 0)
    one.ended(7)
    part = one.lanes.next()
    assert part is not None and (list(part.devices), one.waiting) == ([0], 3)
    part.take_first()  # it isn't wanted any more, so nothing of it is under way that would end
    for _ in range(3):
        one.ended(7)
    part = one.lanes.next()
    assert part is not None and (list(part.devices), one.waiting) == ([1, 2], 2)
    assert (one._aside, one._users) == ({}, {})


def test_the_longest_pause_that_was_asked_for_counts() -> None:
    one, _ = destination()
    one.failed(0.0, 0, "429", 100.0, RANDOM)
    one.failed(0.0, 0, "429", 5.0, RANDOM)
    assert one.wait(0.0) == 100
    one.failed(0.0, one.period, "429", 1e12, RANDOM)
    assert one.wait(0.0) == LONGEST_ASKED_S
    other, _ = destination()
    other.failed(0.0, 0, "429", -5.0, RANDOM)
    assert other.wait(0.0) == 1.0, "not at once, whatever it says"


def test_what_waits_with_the_same_key_waits_together() -> None:
    one, _ = destination()
    first, again, later = job(1), job(1), job(1)
    for each, attempt, device in ((first, 0, 1), (again, 0, 2), (later, 1, 3)):
        part = Part(each, one, PartKey(1, attempt))
        part.put(UserSet((device,)))
        one.put(part)
    assert (len(one.lanes), one.waiting) == (2, 3)
    assert not again.parts


def test_there_is_a_limit_and_idle_ones_make_room() -> None:
    backend, counts = Service(None, limits=Limits(per_destination=(Rate(1, 10),))), PushCounts()
    table = Destinations(counts)
    for number in range(DESTINATIONS):
        table.of(backend, f"h{number}", 0.0).began(0.0, 1)
    others = table.of(backend, "one more", 0.0)
    assert others.name == OTHERS and table.of(backend, "another one", 0.0) is others
    for one in table:
        if one.name != OTHERS:
            one.ended(1)
    assert table.of(backend, "one more", 5.0).name == OTHERS, "their pace isn't made good yet"
    found = table.of(backend, "one more", 20.0)
    assert found.name == "one more" and len(table) < 5


def test_one_that_was_just_asked_for_is_not_forgotten() -> None:
    backend, table = Service(), Destinations(PushCounts(), most=3)
    first = [table.of(backend, name, 7.0) for name in "abc"]
    assert table.of(backend, "d", 7.0).name == OTHERS
    assert [table.of(backend, name, 7.0) for name in "abc"] == first


def test_limits_that_change() -> None:
    backend, table = Service(), Destinations(PushCounts())
    one = table.of(backend, "h", 0.0)
    backend.limits = Limits(at_once=3)
    assert table.of(backend, "h", 0.0) is one and one.room(0.0) == 3
    backend.limits = Limits(at_once=0)
    assert table.of(backend, "h", 0.0).room(0.0) == 1, "never nothing"


def test_names_are_cut() -> None:
    backend = Service()
    assert len(Destinations(PushCounts()).of(backend, "x" * 5000, 0.0).name) == 100
