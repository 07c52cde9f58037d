"""Driving a plugin's coroutine as the hub does, and looking at what is left afterwards."""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from hubd.hooks import driving
from hubd.hooks.driving import drive

LONG = 30.0
"""A timeout that no test here reaches."""
SHORT = 0.03

Work = Coroutine[Any, Any, Any]


async def run(work: Work, timeout_s: float = LONG) -> Any:
    """What whoever calls hooks does: the first step by itself, the rest, if there is one, driven."""
    try:
        waits_for = work.send(None)
    except StopIteration as done:
        return done.value
    return await drive(work, waits_for, timeout_s)


async def started(work: Work, timeout_s: float = LONG) -> "asyncio.Task[Any]":
    """It runs in a task of its own, and waits."""
    task = asyncio.create_task(run(work, timeout_s))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


@pytest.fixture(autouse=True)
def short_cleanup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "CLEANUP_S", 0.05)


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Each test leaves no task behind; what else is left would warn when it is collected, and warnings are errors."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}
    gc.collect()
