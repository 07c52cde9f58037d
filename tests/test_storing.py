"""The seam to the store: what a caller is told when nothing can be stored."""

import asyncio
import gc
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.storing import RETRY_S, StoreError, all_written, unavailable


def test_whoever_could_not_be_served_is_told_to_try_again_and_when() -> None:
    problem = unavailable("the disk is full")
    assert (problem.code, problem.retry_after) == ("unavailable", RETRY_S)
    assert "the disk is full" in problem.message and "try again" in problem.message


def test_an_error_says_why_in_words() -> None:
    assert str(StoreError("the disk is full")) == "the disk is full"


async def test_of_several_that_fail_one_is_told_and_the_others_are_no_fault_of_the_loop() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: told.append(context))
    waiting = [loop.create_future() for _ in range(3)]
    for future in waiting:
        future.set_exception(StoreError("the disk is full"))
    with pytest.raises(Problem, match="the disk is full"):
        await all_written(waiting)
    await asyncio.sleep(0)
    del future, waiting
    gc.collect()
    assert told == []
