"""Telling plugins what has happened: each everything, in order, and nobody in the way of anybody."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.hooks.observers import QUEUE, SLICE, SLICE_NOW, TOLD_AGAIN_S
from hubd.hooks.switching import FAULTS
from tests.hooks.observers_world import Notes, World, world

__all__ = ["world"]


# --- Who is told what


async def test_without_plugins_nobody_is_told(world: World) -> None:
    observers = world.start()
    assert not any(observer.wanted for observer in observers.each.values())
    for observer in observers.each.values():
        observer.tell(1, 2, 3)
    assert observers.queues == {} and observers.is_idle
    assert observers.lost() == {}


async def test_only_what_somebody_wants_to_know_is_wanted(world: World) -> None:
    notes = Notes()
    world.add("p", acked=notes.note)
    observers = world.start()
    assert [name for name, observer in observers.each.items() if observer.wanted] == ["acked"]
    observers.published.tell("a notification", 1)
    observers.acked.tell("ada", ("n1",))
    await world.all_told()
    assert notes.told == [("ada", ("n1",))]


@pytest.mark.parametrize("kind", ["note", "note_later"])
async def test_it_is_told_afterwards_and_not_within(world: World, kind: str) -> None:
    notes = Notes()
    world.add("p", published=getattr(notes, kind))
    world.start().published.tell(1)
    assert notes.told == [] and not world.observers.is_idle
    await world.all_told()
    assert notes.told == [(1,)]


async def test_what_happens_before_the_start_is_told_to_nobody(world: World) -> None:
    notes = Notes()
    world.add("p", published=notes.note)
    world.observers.published.tell("before")
    world.start().published.tell("after")
    await world.all_told()
    assert notes.told == [("after",)]


@pytest.mark.parametrize(
    "kinds", [("note", "note"), ("note_later", "note_later"), ("note", "note_later"), ("note_later", "note")]
)
async def test_the_order_holds_over_all_hooks(world: World, kinds: tuple[str, str]) -> None:
    notes = Notes(wait_s=0)
    world.add("p", published=getattr(notes, kinds[0]), retracted=getattr(notes, kinds[1]))
    observers = world.start()
    for number in range(3 * SLICE):
        (observers.published if number % 3 else observers.retracted).tell(number)
    await world.all_told()
    assert notes.told == [(number,) for number in range(3 * SLICE)]


# --- Nobody is in the way of anybody


async def test_a_slow_plugin_delays_no_other(world: World) -> None:
    go = asyncio.Event()
    slow_told, others = [], [Notes(), Notes(wait_s=0), Notes()]

    async def slow(number: int) -> None:
        await go.wait()
        slow_told.append(number)

    world.add("before", published=others[0].note_later)
    world.add("slow", published=slow)
    world.add("after", published=others[1].note_later)
    world.add("plain", published=others[2].note)
    observers = world.start()
    for number in range(2 * SLICE):
        observers.published.tell(number)
    assert not await observers.flush(0.3)
    expected = [(number,) for number in range(2 * SLICE)]
    assert [other.told for other in others] == [expected] * 3
    observers.published.tell("one more")  # who is told while the slow one waits still
    async with asyncio.timeout(5):
        while [len(other.told) for other in others] != [2 * SLICE + 1] * 3:
            await asyncio.sleep(0.001)
    assert slow_told == []
    go.set()
    await world.all_told()
    assert slow_told == [*range(2 * SLICE), "one more"]


async def test_several_slow_plugins_each_have_somebody_who_stays_with_them(world: World) -> None:
    many = [Notes(wait_s=0.02) for _ in range(10)]
    for number, notes in enumerate(many):
        world.add(f"p{number}", published=notes.note_later)
    observers = world.start()
    begun = asyncio.get_running_loop().time()
    for number in range(5):
        observers.published.tell(number)
    await world.all_told()
    assert asyncio.get_running_loop().time() - begun < 0.8  # one after the other would take a second
    assert all(notes.told == [(number,) for number in range(5)] for notes in many)


async def test_those_who_took_over_end_when_it_is_over(world: World) -> None:
    for number in range(10):
        world.add(f"p{number}", published=Notes(wait_s=0.001).note_later)
    observers = world.start()
    before = len(asyncio.all_tasks())
    for number in range(30):
        observers.published.tell(number)
        await asyncio.sleep(0.001)
    await world.all_told()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_coroutines_that_never_wait_need_one_task_for_all(world: World) -> None:
    many = [Notes(), Notes()]
    world.add("p", published=many[0].note_later)
    world.add("q", acked=many[1].note_later)
    observers = world.start()
    before = len(asyncio.all_tasks())
    for number in range(5 * SLICE):
        observers.published.tell(number)
    await world.all_told()
    observers.acked.tell("ada")
    await world.all_told()
    for _ in range(5):
        await asyncio.sleep(0)
    assert [len(one.told) for one in many] == [5 * SLICE, 1]
    assert len(asyncio.all_tasks()) == before


class Turns:
    """How many events are told at most between two turns of the loop."""

    def __init__(self) -> None:
        self.told = 0
        self._most = 0

    def note(self, *args: Any) -> None:
        self.told += 1

    async def note_but_wait_once(self, *args: Any) -> None:
        self.told += 1
        if self.told == 1:
            await asyncio.sleep(0.005)

    async def most(self, world: World) -> int:
        while not world.observers.is_idle:
            before = self.told
            await asyncio.sleep(0)
            self._most = max(self._most, self.told - before)
        return self._most


@pytest.mark.parametrize(("kind", "most"), [("note", 2 * SLICE_NOW), ("note_but_wait_once", 2 * SLICE)])
async def test_the_loop_has_its_turn_after_a_slice_of_events(world: World, kind: str, most: int) -> None:
    turns = Turns()
    world.add("p", published=getattr(turns, kind))
    observers = world.start()
    for number in range(10 * most):
        observers.published.tell(number)
    assert await turns.most(world) <= most
    assert turns.told == 10 * most


# --- Those that fail


async def fails_later(*args: Any) -> None:
    await asyncio.sleep(0)
    raise ValueError


def fails(*args: Any) -> None:
    raise Problem("forbidden", "there is nobody whom it could be told to")


async def hangs(*args: Any) -> None:
    await asyncio.sleep(60)


async def cancels(*args: Any) -> None:
    raise asyncio.CancelledError


async def cancels_whoever_tells(*args: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)


async def cancels_and_goes_on(*args: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def ends_everything(*args: Any) -> None:
    raise KeyboardInterrupt


BAD = [fails, fails_later, hangs, cancels, cancels_whoever_tells, cancels_and_goes_on, ends_everything]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
async def test_a_plugin_that_fails_harms_no_other(world: World, bad: Callable[..., Any]) -> None:
    notes = [Notes(), Notes(), Notes()]
    world.hooks.each["published"].rule = world.hooks.each["published"].rule._replace(timeout_s=0.01)
    world.add("before", published=notes[0].note_later)
    world.add("bad", published=bad)
    world.add("after", published=notes[1].note_later)
    world.add("plain", published=notes[2].note)
    observers = world.start()
    for number in range(10):
        observers.published.tell(number)
        await asyncio.sleep(0)
    await world.all_told()
    assert [len(one.told) for one in notes] == [10, 10, 10]
    found = world.hooks.plugins["bad"]
    if bad is hangs:  # all of that was within a moment: one stall
        assert (found.faults.total(), found.is_on) == (10, True)
    else:
        assert (found.faults.total(), found.is_on) == (FAULTS, False)


async def test_who_takes_no_notice_of_being_told_to_stop_doesnt_hold_up_the_stop(world: World) -> None:
    async def swallows(*args: Any) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.4)

    world.add("p", published=swallows)
    observers = world.start()
    for number in range(100):
        observers.published.tell(number)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        await world.tasks.close()


async def test_what_waits_for_a_plugin_that_is_switched_off_is_dropped_and_counted(world: World) -> None:
    notes, other = Notes(wait_s=0.01), Notes()
    plugin = world.add("p", published=notes.note_later)
    world.add("q", published=other.note)
    observers = world.start()
    for number in range(50):
        observers.published.tell(number)
    await asyncio.sleep(0.005)
    world.switch_off(plugin)
    assert not observers.queues["p"].events
    observers.published.tell("while it is off")
    await world.all_told()
    told = len(notes.told)
    assert told <= 1 and observers.lost()["p"] == 50 - 1
    assert len(other.told) == 51 and observers.lost()["q"] == 0
    world.hooks.switching.switch_on()
    observers.published.tell("on again")
    await world.all_told()
    assert notes.told[told:] == [("on again",)] and len(other.told) == 52


async def test_what_nobody_wants_while_the_only_one_is_off(world: World) -> None:
    plugin = world.add("p", published=Notes().note)
    observers = world.start()
    world.switch_off(plugin)
    assert not observers.published.wanted
    world.hooks.switching.switch_on()
    assert observers.published.wanted


# --- Too much


async def test_a_full_queue_loses_counts_and_says_so_once_a_minute(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    go, notes, other = asyncio.Event(), Notes(), Notes()

    async def slow(number: int) -> None:
        await go.wait()
        notes.note(number)

    world.add("slow", published=slow)
    world.add("quick", published=other.note)
    observers = world.start()
    observers.published.tell(0)
    await asyncio.sleep(0.01)  # this one it is busy with
    with caplog.at_level(logging.WARNING, "hubd"):
        for number in range(1, QUEUE + 101):
            observers.published.tell(number)
            if number % 1000 == 0:
                await observers.flush(0.05)
        first = [record.getMessage() for record in caplog.records]
        world.clock.advance(TOLD_AGAIN_S)
        observers.published.tell(QUEUE + 101)
    assert len(first) == 1 and "plugin_events_lost" in first[0] and "slow" in first[0]
    assert len(caplog.records) == 2
    assert observers.lost()["slow"] == 101 and observers.lost()["quick"] == 0
    go.set()
    await world.all_told(20)
    assert notes.told == [(number,) for number in range(QUEUE + 1)]  # what was there first, in order
    assert len(other.told) == QUEUE + 102


async def test_flush_says_whether_all_was_told(world: World) -> None:
    go = asyncio.Event()
    observers = world.start()
    assert await observers.flush(0)

    async def slow(*args: Any) -> None:
        await go.wait()

    world.add("slow", published=slow)
    observers.arrange()
    observers.published.tell(1)
    assert not await observers.flush(0) and not await observers.flush(0.02)
    go.set()
    assert await observers.flush(5)
