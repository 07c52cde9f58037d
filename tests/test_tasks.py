"""Tasks: each has a name and an end, and no failure gets lost."""

import asyncio
import logging

import pytest

from hubd.tasks import Tasks


async def test_a_task_runs_under_its_name() -> None:
    async def work() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    assert await Tasks().start(work(), "sweep") == "sweep"


async def test_closing_cancels_what_still_runs_and_waits_for_its_end() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    tasks = Tasks()
    started = [tasks.start(work(), "a"), tasks.start(work(), "b")]
    await asyncio.sleep(0)
    await tasks.close()
    assert ended == [True, True]
    assert all(task.cancelled() for task in started)


async def test_closing_when_nothing_runs() -> None:
    await Tasks().close()


async def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ValueError("what went wrong")

    tasks = Tasks()
    with caplog.at_level(logging.ERROR, "hubd.tasks"):
        task = tasks.start(work(), "sweep")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.getMessage() == "task_failed: A task failed task=sweep"
    assert record.exc_info and str(record.exc_info[1]) == "what went wrong"


async def test_a_failure_while_closing_is_logged_and_the_others_end(caplog: pytest.LogCaptureFixture) -> None:
    async def bad() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("on the way out") from None

    tasks = Tasks()
    tasks.start(bad(), "bad")
    good = tasks.start(asyncio.Event().wait(), "good")
    await asyncio.sleep(0)
    await tasks.close()
    assert good.cancelled()
    assert [record.getMessage() for record in caplog.records] == ["task_failed: A task failed task=bad"]


async def test_a_cancelled_task_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()
    task = tasks.start(asyncio.Event().wait(), "a")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert caplog.records == []


async def test_what_has_ended_is_let_go() -> None:
    tasks = Tasks()

    async def work() -> None:
        pass

    for number in range(100):
        await tasks.start(work(), f"{number}")
    await asyncio.sleep(0)
    assert not tasks._running
