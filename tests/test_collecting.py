"""hubd/collecting.py: full collections happen when there is little to do, and never by Python's own rule."""

import gc
from collections.abc import Iterator

import pytest

from hubd.collecting import (
    BUSY_TIMES,
    GROWN_LEAST_S,
    LEAST_S,
    LITTLE,
    LONGEST_S,
    QUIET,
    Collecting,
    resident_bytes,
    used_cpu_s,
)
from hubd.counts import LAG_BUCKETS, Histogram
from hubd.testing import FakeClock


class World:
    """A clock that is turned, a processor that is used as the test says, and a collector that is only counted."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cpu_s = 0.0
        self.memory = 100 << 20
        self.garbage = 2 * LITTLE
        self.collections = 0
        self.took = Histogram(LAG_BUCKETS)
        self.collecting = Collecting(self.took, self.clock, lambda: self.cpu_s, self.collect, lambda: self.memory)

    def collect(self) -> int:
        self.collections += 1
        self.cpu_s += 0.5
        return self.garbage

    def second(self, share: float) -> None:
        """Another second, of which the process has used this share."""
        self.clock.advance(1)
        self.cpu_s += share
        self.collecting.look()

    def seconds(self, count: float, share: float) -> None:
        for _ in range(int(count)):
            self.second(share)


@pytest.fixture
def world() -> Iterator[World]:
    thresholds = gc.get_threshold()
    world = World()
    world.collecting.begin()
    world.collections = 0
    yield world
    gc.set_threshold(*thresholds)
    gc.unfreeze()


BUSY, IDLE = QUIET * 1.5, QUIET / 2


def test_from_the_beginning_python_collects_only_what_is_young(world: World) -> None:
    young, middle, old = gc.get_threshold()
    assert (young, middle) != (0, 0)
    assert old > 10**9
    assert gc.get_freeze_count() > 0


def test_in_a_quiet_second_when_the_last_one_was_long_ago(world: World) -> None:
    world.seconds(LEAST_S - 1, IDLE)
    assert world.collections == 0
    world.second(IDLE)
    assert world.collections == 1
    world.seconds(LEAST_S - 1, IDLE)
    assert world.collections == 1
    world.second(IDLE)
    assert world.collections == 2


def test_a_busy_hub_puts_it_off_until_there_is_a_quiet_second(world: World) -> None:
    world.seconds(LEAST_S * 2, BUSY)
    assert world.collections == 0
    world.second(IDLE)
    assert world.collections == 1


def test_but_not_for_ever(world: World) -> None:
    world.seconds(BUSY_TIMES * LEAST_S - 1, BUSY)
    assert world.collections == 0
    world.second(BUSY)
    assert world.collections == 1


def test_when_there_is_little_to_be_found_it_is_looked_for_less_often(world: World) -> None:
    world.garbage = LITTLE
    world.seconds(LEAST_S * (1 + 2 + 4), IDLE)
    assert world.collections == 3
    world.garbage += 1
    world.seconds(LEAST_S * 8, IDLE)
    assert world.collections == 4
    world.seconds(LEAST_S, IDLE)
    assert world.collections == 5, "there was more: as often as at first"
    world.garbage = 0
    world.seconds(LEAST_S * 100 + LONGEST_S, IDLE)
    before = world.collections
    world.seconds(LONGEST_S, IDLE)
    assert world.collections == before + 1


def test_when_it_has_become_much_larger(world: World) -> None:
    world.memory = 160 << 20
    world.seconds(100, BUSY)
    assert world.collections == 0, "half as much again, but not much"
    world.memory = 165 << 20
    world.second(BUSY)
    assert world.collections == 1
    world.memory = 240 << 20
    world.seconds(100, BUSY)
    assert world.collections == 1, "much, but not half as much again as it had then"
    world.memory = 250 << 20
    world.second(BUSY)
    assert world.collections == 2
    world.memory = 999 << 20
    world.seconds(GROWN_LEAST_S - 1, BUSY)
    assert world.collections == 2, "not at once again"
    world.second(BUSY)
    assert world.collections == 3


def test_the_memory_that_it_has() -> None:
    before = resident_bytes()
    much = bytearray(64 << 20)
    assert before + len(much) // 2 < resident_bytes() < 1 << 40


def test_the_collection_itself_is_no_work_of_the_next_second(world: World) -> None:
    world.seconds(LEAST_S, IDLE)
    assert world.collecting._used_s == world.cpu_s


def test_how_long_it_took_is_told(world: World) -> None:
    assert sum(world.took.counts) == 0, "what happened before anybody was here is nobody's concern"
    world.seconds(LEAST_S, IDLE)
    assert sum(world.took.counts) == 1
    assert world.took.sum > 0


def test_the_processor_that_was_used() -> None:
    before = used_cpu_s()
    sum(range(3_000_000))
    assert before < used_cpu_s() < before + 60
