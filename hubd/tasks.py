"""The only place that starts tasks: each has an owner and a name, and ends at shutdown."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from hubd.log_events import log_event

log = logging.getLogger("hubd.tasks")


class Tasks:
    """The tasks of one owner; ``on_failure`` is told of one that fails (its name, the fault), else the log is."""

    def __init__(self, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        self._on_failure = on_failure
        self._running: dict[asyncio.Task[Any], None] = {}
        self.closed = False

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``work`` until it ends or the owner closes; a failure is logged, never lost."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            if self._on_failure is not None:
                self._on_failure(task.get_name(), error)
            else:
                log_event(log, "task_failed", error, task=task.get_name())

    @property
    def running(self) -> list[asyncio.Task[Any]]:
        """Those that haven't ended, the oldest first."""
        return list(self._running)

    async def close(self) -> None:
        """Cancel what still runs and wait for its end."""
        self.closed = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def at_once(work: Coroutine[Any, Any, Any], name: str) -> None:
    """Run what shouldn't have to wait for anything; it is broken off where it does."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError(f"{name} has to wait for something, and nobody is there to run it")
