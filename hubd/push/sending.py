"""One call of a push backend: it ends in time, and whatever it does, there is an answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

from hubd.hooks.push import Device, Outcome, Push, PushBackend, PushResult
from hubd.tasks import Tasks

REASON_CHARS = 80
"""How much of a service's answer is kept."""
_CANCEL_S = 1.0


class Answer(NamedTuple):
    """How a call went. ``is_hosts``: it says that the whole destination doesn't work; ``fault``: the backend's own."""

    result: PushResult
    is_hosts: bool = False
    fault: BaseException | None = None


async def call(backend: PushBackend, device: Device, push: Push, timeout_s: float) -> Answer:
    """Have it brought to one device. Only when this very task is cancelled there is no answer."""
    try:
        async with asyncio.timeout(timeout_s) as limit:
            result: object = await backend.send(device, push)
    except GeneratorExit:  # there is no loop any more
        raise
    except BaseException as error:  # also what a plugin should never raise: it must not end the hub
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        if isinstance(error, TimeoutError) and limit.expired():
            return Answer(PushResult(Outcome.LATER, "timeout"), is_hosts=True)
        return Answer(PushResult(Outcome.LATER, "failed"), is_hosts=True, fault=error)
    if not isinstance(result, PushResult) or not isinstance(result.outcome, Outcome):
        fault = TypeError(f"send gave {type(result).__name__}, not a PushResult")
        return Answer(PushResult(Outcome.LATER, "failed"), is_hosts=True, fault=fault)
    result = result._replace(reason=" ".join(str(result.reason).split())[:REASON_CHARS])
    return Answer(result, is_hosts=result.for_all and result.outcome is Outcome.LATER)


class UnderWay:
    """The calls that are under way."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._running: dict[asyncio.Task[Any], None] = {}

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """One more."""
        task = self._tasks.start(work, "push")
        self._running[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)

    async def finish(self, within_s: float) -> None:
        """Wait for them so long, then have them end."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=within_s)
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running), timeout=_CANCEL_S)
