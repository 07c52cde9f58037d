"""How it ends with a plugin's coroutine that takes too long, or whose caller is cancelled."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import pytest

from hubd.hooks.driving import TooLong
from tests.hooks.driving_world import LONG, SHORT, Work, nothing_left, run, short_cleanup, started

__all__ = ["nothing_left", "short_cleanup"]

# --- It takes too long


async def test_after_its_time_it_is_told_to_stop() -> None:
    story = []

    async def work() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            story.append("told")
            raise
        finally:
            await asyncio.sleep(0.001)
            story.append("cleaned up")

    with pytest.raises(TooLong):
        await run(work(), SHORT)
    assert story == ["told", "cleaned up"]
    current = asyncio.current_task()
    assert current is not None and current.cancelling() == 0
    await asyncio.sleep(0)  # whoever drives it isn't cancelled


async def test_who_needs_his_time_several_times_over_but_never_waits_long_is_stopped_too() -> None:
    turns = 0

    async def work() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    with pytest.raises(TooLong):
        await run(work(), SHORT)
    assert turns > 1


async def test_an_answer_that_comes_too_late_is_none() -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "too late"

    with pytest.raises(TooLong):
        await run(work(), SHORT)


@pytest.mark.parametrize("error", [ValueError, TimeoutError])
async def test_what_it_raises_when_told_to_stop(error: type[Exception]) -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            raise error("instead") from None

    with pytest.raises((TooLong, error)):
        await run(work(), SHORT)
    current = asyncio.current_task()
    assert current is not None and current.cancelling() == 0


async def test_who_takes_no_notice_the_first_time_is_left_behind_the_second() -> None:
    story = []

    async def work() -> None:
        while True:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                story.append("told")
            except GeneratorExit:
                story.append("closed")
                raise

    begun = asyncio.get_running_loop().time()
    work_ = work()
    with pytest.raises(TooLong):
        await run(work_, SHORT)
    assert asyncio.get_running_loop().time() - begun < 2
    assert story == ["told", "closed"]
    assert work_.cr_frame is None  # type: ignore[attr-defined]  # it is over: nothing of it is left
    current = asyncio.current_task()
    assert current is not None and current.cancelling() == 0


async def test_cleaning_up_for_too_long_is_cut_short() -> None:
    story = []

    async def work() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            story.append("cleaning")
            await asyncio.sleep(LONG)
            story.append("never")

    with pytest.raises(TooLong):
        await run(work(), SHORT)
    assert story == ["cleaning"]


async def test_who_ignores_even_being_closed_holds_nobody_up() -> None:
    async def work() -> None:
        ignored = 0
        while ignored < 3:
            try:
                await asyncio.sleep(LONG)
            except BaseException:
                ignored += 1

    with pytest.raises(TooLong):
        await run(work(), SHORT)
    await asyncio.sleep(0)


async def test_what_it_opened_is_closed_when_it_is_left_behind() -> None:
    closed = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        try:
            yield
        finally:
            closed.append("opened")

    async def inner() -> None:
        async with opened():
            await asyncio.sleep(LONG)

    with pytest.raises(TooLong):
        await run(inner(), SHORT)
    assert closed == ["opened"]


async def test_tasks_that_it_waits_for_end_with_it() -> None:
    waited: list[asyncio.Task[None]] = []

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            waited.append(group.create_task(asyncio.sleep(LONG)))
            waited.append(group.create_task(asyncio.sleep(LONG)))

    with pytest.raises(TooLong):
        await run(work(), SHORT)
    assert [task.cancelled() for task in waited] == [True, True]


async def test_nothing_of_it_is_kept() -> None:
    class Heavy:
        pass

    heavy = Heavy()
    known = weakref.ref(heavy)

    async def work(held: Heavy) -> None:
        await asyncio.sleep(LONG)
        del held

    work_ = work(heavy)
    del heavy
    with suppress(TooLong):
        await run(work_, SHORT)
    del work_
    await asyncio.sleep(0)  # the loop lets go of what it has thrown
    gc.collect()
    assert known() is None


# --- Who drives it is cancelled


async def test_whoever_is_cancelled_cancels_it() -> None:
    story = []

    async def work() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(0)
            story.append("cleaned up")

    task = await started(work())
    task.cancel("stop")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert story == ["cleaned up"] and task.cancelled()


async def swallow_once() -> str:
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
    return "went on"


async def swallow_always() -> str:
    while True:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await asyncio.sleep(0)


@pytest.mark.parametrize("work", [swallow_once, swallow_always], ids=lambda work: work.__name__)
async def test_a_plugin_cant_keep_whoever_drives_it_from_being_cancelled(work: Callable[[], Work]) -> None:
    went_on = False

    async def caller() -> None:
        nonlocal went_on
        with suppress(TooLong):
            await run(work(), 0.1)
        await asyncio.sleep(0)
        went_on = True

    task = asyncio.create_task(caller())
    await asyncio.sleep(0.01)
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled() and not went_on


async def test_cancelled_while_it_cleans_up_after_its_time() -> None:
    cleaning = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            cleaning.set()
            await asyncio.sleep(LONG)

    task = asyncio.create_task(run(work(), SHORT))
    await cleaning.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_cancelled_before_it_has_waited_for_anything() -> None:
    async def work() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()  # as somebody else may do between two turns
        await asyncio.sleep(LONG)

    task = asyncio.create_task(run(work()))
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_the_loop_may_end_while_it_waits() -> None:
    closed = []

    async def work() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            closed.append(True)

    work_ = work()  # held here, so that nobody ends it but who drives it

    async def outer() -> None:
        await run(work_)

    waiting = outer()
    loop_turns: Awaitable[Any] = waiting.send(None)
    assert loop_turns is not None
    waiting.close()  # nobody goes on with it
    assert closed == [True]


# --- Any plugin, any caller: a small model

STEPS = {"turn": 6, "wait": 4, "hang": 1, "raise": 1, "cancel": 1, "stubborn": 3}
"""What a plugin may do at each of its steps, and how often it does."""


async def step(name: str) -> None:
    match name:
        case "turn":
            await asyncio.sleep(0)
        case "wait":
            try:
                await asyncio.sleep(0.004)
            finally:
                await asyncio.sleep(0)
        case "hang":
            await asyncio.sleep(LONG)
        case "raise":
            raise ValueError
        case "cancel":
            raise asyncio.CancelledError
        case "stubborn":
            try:
                await asyncio.sleep(0.004)
            except asyncio.CancelledError:
                await asyncio.sleep(0.002)


def expected(steps: list[str]) -> set[str]:
    """How it may end when nobody cancels it."""
    end = next((name for name in steps if name in ("hang", "raise", "cancel")), "")
    ends = {"hang": {"TooLong"}, "raise": {"ValueError", "TooLong"}, "cancel": {"cancelled", "TooLong"}}
    return ends.get(end, {"done", "TooLong"})


def end_of(task: "asyncio.Task[str]") -> str:
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    return type(error).__name__ if error else task.result()


async def test_any_mixture_ends_in_time_as_it_should_and_leaves_nothing() -> None:
    random = Random(4)
    seen = set()

    async def work(steps: list[str]) -> str:
        for name in steps:
            await step(name)
        return "done"

    async def one(number: int) -> None:
        steps = random.choices([*STEPS], [*STEPS.values()], k=5)
        task = asyncio.create_task(run(work(steps), 0.02))
        was_cut = False
        if number % 3 == 0:
            await asyncio.sleep(random.uniform(0, 0.02))
            was_cut = task.cancel()  # false when it is over by now
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        seen.add(end_of(task))
        if was_cut:
            assert end_of(task) == "cancelled", steps
        else:
            assert end_of(task) in expected(steps), steps

    await asyncio.gather(*(one(number) for number in range(150)))
    assert seen == {"done", "TooLong", "ValueError", "cancelled"}
