"""An event loop whose waiting takes no time: what is planned for later is done as soon as nothing is left for now.

Its tasks are asyncio's own, so everything that is written for asyncio runs on it unmodified, and a day passes in
seconds. There are no threads and no sockets; `network` stands for those. With the same seed all comes out the same.
"""

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from math import inf, nextafter
from random import Random
from typing import Any

SPINS = 200_000
"""So many turns without time passing are no accident."""


class Deadlock(Exception):
    """It would go on like this for ever."""


class _Selector:
    """Stands where a loop waits for sockets: all that can come is the next thing that is planned."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop
        self._spins = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is planned any more")
        self._spins = 0 if timeout > 0 else self._spins + 1
        if self._spins > SPINS:
            raise Deadlock("there is always something to do, and time stands still")
        if timeout > 0:
            now = self._loop.now
            self._loop.now = max(now + timeout, nextafter(now, inf))
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """``now`` is its time, in seconds. ``random`` is for delays, so that they can be had again."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now = 1000.0
        self.random = Random(seed)
        self.serving: dict[tuple[str, int], Callable[[], asyncio.Protocol]] = {}
        self.faults: list[str] = []
        self.broken: list[AssertionError] = []
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.set_exception_handler(VirtualLoop._on_fault)

    def _on_fault(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, AssertionError):
            self.broken.append(error)
            self.stop()
        else:
            self.faults.append(f"{context.get('message')}: {error!r}")

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        """A task; they can be ended in the order in which they began, which a set of tasks doesn't know."""
        task = super().create_task(coro, **options)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def cancel_all(self) -> None:
        """End whatever goes on as a task."""
        for task in list(self._tasks):
            task.cancel()

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Done here and now; the answer comes a little later."""
        done = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            self.call_later(0.001, _settle, done, None, error)
        else:
            self.call_later(0.001, _settle, done, result, None)
        return done

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int, **options: Any
    ) -> asyncio.AbstractServer:
        """Whoever connects to this address (`network`) gets such a protocol on the other side."""
        self.serving[host, port] = protocol_factory
        return _Server(self, (host, port))

    def run_for(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        self.call_at(until, self.stop)
        self.run_forever()


class _Server(asyncio.AbstractServer):
    sockets = ()

    def __init__(self, loop: VirtualLoop, address: tuple[str, int]) -> None:
        self._loop = loop
        self._address = address

    def close(self) -> None:
        self._loop.serving.pop(self._address, None)

    async def wait_closed(self) -> None:
        pass

    def is_serving(self) -> bool:
        return self._address in self._loop.serving


class Clock:
    """The hub's clock: seconds of the loop, and a wall clock that somebody can set to another time."""

    def __init__(self, loop: VirtualLoop, epoch: float = 1_800_000_000.0) -> None:
        self._loop = loop
        self._ahead = epoch - loop.now

    def now(self) -> float:
        """Unix seconds."""
        return self._loop.now + self._ahead

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return self._loop.now

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._ahead += seconds


def _settle(done: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
