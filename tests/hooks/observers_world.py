"""Plugins that are told what has happened, without a hub."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hubd.hooks.calls import Hooks
from hubd.hooks.observers import Observers
from hubd.hooks.switching import FAULTS, Plugin
from hubd.tasks import Tasks
from hubd.testing import FakeClock


class World:
    """Plugins that are told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.hooks = Hooks(self.clock, 5.0)
        self.tasks = Tasks()
        self.observers = Observers(self.hooks, self.clock)

    def add(self, name: str, **impls: Callable[..., Any]) -> Plugin:
        plugin = Plugin(name, None)
        self.hooks.add(plugin, [(hook, call, inspect.iscoroutinefunction(call)) for hook, call in impls.items()])
        return plugin

    def start(self) -> Observers:
        self.observers.start(self.tasks)
        return self.observers

    async def all_told(self, timeout_s: float = 5) -> None:
        assert await self.observers.flush(timeout_s)

    def switch_off(self, plugin: Plugin) -> None:
        for _ in range(FAULTS):
            self.hooks.fault(plugin, "somewhere", "raised")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    before = asyncio.all_tasks()
    yield made
    async with asyncio.timeout(5):
        await made.tasks.close()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


class Notes:
    """A plugin that notes what it is told; every so often it waits before."""

    def __init__(self, wait_s: float | None = None) -> None:
        self.told: list[Any] = []
        self._wait_s = wait_s

    def note(self, *args: Any) -> None:
        self.told.append(args)

    async def note_later(self, *args: Any) -> None:
        if self._wait_s is not None:
            await asyncio.sleep(self._wait_s)
        self.told.append(args)
