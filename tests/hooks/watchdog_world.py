"""A loop in a thread of its own that is blocked until the test lets go, its watchdog, and what that logs."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from hubd.clock import Clock, SystemClock
from hubd.faults import traced
from hubd.hooks.watchdog import Block, Watchdog
from hubd.log_events import Line

LIMIT_S = 0.06
PING_S = 0.02


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def zoo(frame: FrameType) -> str:
    """Functions that are called `bad_*` are the zoo's."""
    return "zoo" if frame.f_code.co_name.startswith("bad_") else ""


class World:
    """A loop that runs in a thread of its own, and its watchdog."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.gate = threading.Event()
        """Whoever blocks the loop goes on when this is set."""
        self.faults: list[dict[str, Any]] = []
        self.blocks: list[Block] = []
        self.told_in: set[int | None] = set()
        self.watchdog: Watchdog | None = None
        self._thread = threading.Thread(target=self._run)

    def start(
        self,
        *,
        clock: Clock | None = None,
        owner: Callable[[FrameType], str] = zoo,
        on_block: Callable[[Block], None] | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        clock = clock or SystemClock()
        self.watchdog = Watchdog(
            self.loop, on_block or self.told, clock=clock, owner=owner, limit_s=limit_s, ping_s=PING_S
        )
        self.loop.call_soon(self.watchdog.start)
        self._thread.start()
        self.turns(1)

    def _run(self) -> None:
        self.loop.set_exception_handler(lambda loop, context: self.faults.append(context))
        self.loop.run_forever()
        self.loop.close()

    def told(self, block: Block) -> None:
        self.told_in.add(threading.get_ident())
        self.blocks.append(block)

    def bad_wait(self, secret: str = "s3cr3t") -> None:
        self.gate.wait(30)

    def bad_sleep(self) -> None:
        while not self.gate.is_set():
            time.sleep(0.25)

    def bad_computing(self) -> None:
        while not self.gate.is_set():
            pass

    async def bad_coroutine(self) -> None:
        await asyncio.sleep(0)
        self.bad_wait()

    def block(self, call: Callable[..., object]) -> None:
        self.gate.clear()
        self.loop.call_soon_threadsafe(call)

    def turns(self, count: int) -> None:
        """Wait until the loop has turned and the thread had its time, so often."""
        for _ in range(count):
            turned = threading.Event()
            self.loop.call_soon_threadsafe(turned.set)
            assert turned.wait(15)
            time.sleep(PING_S)

    @property
    def of_zoo(self) -> list[Block]:
        """On a busy machine there may be others, of nobody."""
        return [block for block in self.blocks if block.plugin == "zoo"]

    @property
    def ident(self) -> int | None:
        return self._thread.ident

    def close(self) -> None:
        self.gate.set()
        if self.watchdog is not None:
            self.watchdog.stop()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(15)
        assert self.faults == []


class Lines(logging.Filter):
    """What was logged: event, fields and traceback, made at once like the hub's own log does.

    Nothing gets to pytest's handlers, which would keep the frames.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, Any], str]] = []

    def filter(self, record: logging.LogRecord) -> bool:
        assert isinstance(record.msg, Line)
        error = record.exc_info[1] if record.exc_info else None
        self.seen.append((record.msg.event, record.msg.fields, traced(error) if error else ""))
        return False

    def of(self, event: str, plugin: str = "zoo") -> list[str]:
        """The tracebacks of these lines."""
        return [trace for name, fields, trace in self.seen if name == event and fields.get("plugin", plugin) == plugin]
