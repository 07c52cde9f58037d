"""Names what blocks the event loop: a callback that computes, sleeps or waits without ``await`` stops everybody.

A thread asks the loop for a sign of life. When none comes, it looks where the loop's thread is and logs that place,
while it still is there: whatever never comes back is named as well.

What a report means: the loop didn't turn for ``limit_s``, and this is what it was at just then. Nearly always that is
the culprit. It is an innocent one if the garbage collector ran, if another thread computed, or if the machine gave the
loop's thread no processor. So time in which neither the watchdog nor anything else of the process ran (it was
suspended) doesn't count, and a loop that stands where it waits for work is only late, not blocked by anybody.

C code that never lets go of the interpreter (a regular expression that backtracks, JSON of many megabytes) keeps the
watchdog from running too. It gets its turn right after, while the loop's thread is still in the function that called
it; if the process was computing all the time, that function is named, but as one that is not ``certain``.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Any, NamedTuple

from hubd.clock import Clock
from hubd.log_events import log_event

LOG_PAUSE_S = 1.0
"""Blocks are logged that far apart; those between are told to ``on_block`` alone."""
STALL_S = 1.0
"""From how long on it is logged that the process stood still."""
BUSY = 0.2
"""From which share of a processor on the process is taken to have been computing: others may have had the rest."""
DEPTH = 200
"""How many calls are looked at, the innermost ones."""
STOP_S = 1.0

log = logging.getLogger("hubd.hooks.watchdog")


class LoopBlocked(Exception):
    """Never raised: it carries to the log where the loop is."""


class Block(NamedTuple):
    """The loop was blocked, and turns again.

    ``plugin`` is whose code it was, "" if nobody's. ``stack`` are the places, innermost last, without any value.
    ``lasted_s`` is for how long no sign of life came; the block began up to ``ping_s`` earlier.
    ``certain``: the watchdog saw it go on; otherwise it couldn't run itself and came right after.
    """

    plugin: str
    stack: tuple[str, ...]
    lasted_s: float
    certain: bool


class _Open(NamedTuple):
    """A block that goes on."""

    block: Block
    is_logged: bool


def nobody(frame: FrameType) -> str:
    """An ``owner`` that knows no plugin."""
    return ""


class Watchdog:
    """Watches one loop from a thread. Use it once: ``start``, then ``stop``.

    ``on_block`` is called in the loop, after each block. ``owner`` says which plugin's code a frame is ("": of none);
    it is called in the watchdog's thread, from the innermost frame outwards until one has an owner.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_block: Callable[[Block], None],
        *,
        clock: Clock,
        owner: Callable[[FrameType], str] = nobody,
        limit_s: float = 0.25,
        ping_s: float = 0.1,
    ) -> None:
        self._loop = loop
        self._on_block = on_block
        self._clock = clock
        self._owner = owner
        self._limit_s = limit_s
        self._ping_s = ping_s
        self._watched = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        # The rest is the thread's own, but for the answer, which the loop replaces as a whole.
        self._answer = (0, 0.0)  # which ping was answered last, and when
        self._ping = 0
        self._since = 0.0  # when it was sent; later, if the thread couldn't run in the meantime
        self._certain = True
        self._open: _Open | None = None
        self._may_log_at = 0.0

    def start(self) -> None:
        """Begin; call it in the loop's thread, while the loop runs."""
        self._watched = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for that, ``STOP_S`` seconds at most. The loop needn't run any more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    # In the loop

    def _mark(self, ping: int) -> None:
        self._answer = (ping, self._clock.monotonic())

    def _tell(self, block: Block) -> None:
        try:
            self._on_block(block)
        except Exception as error:
            log_event(log, "task_failed", error, task="watchdog")

    # In the thread

    def _run(self) -> None:
        self._send()
        while not self._waits():
            self._look()

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have it called in the loop; a closed one takes no calls, and nothing is left to watch."""
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            self._stopping.set()

    def _waits(self) -> bool:
        """Sleep until the next look; whether it was the last."""
        begun, computed = self._clock.monotonic(), _cpu_s()
        left = self._since + self._limit_s - begun
        pause = min(self._ping_s, left) if left > 0 else self._ping_s
        ended = self._stopping.wait(pause)
        late = self._clock.monotonic() - begun - pause
        if late > self._ping_s and not ended:
            self._overslept(late, max(0.0, _cpu_s() - computed - pause))
        return ended

    def _overslept(self, late: float, computed: float) -> None:
        """If the process was computing, the loop may be at fault. If not, it was suspended: that doesn't count."""
        if computed < late * BUSY:
            self._since += late
            if late >= STALL_S:
                log_event(log, "process_stalled", for_s=round(late, 3), cpu_s=round(computed, 3))
            return
        self._certain = False
        answered, at = self._answer
        if late >= self._limit_s and answered == self._ping:
            # Nobody was asked when it began. Look before anything else: that would let the loop's thread go on.
            frames = _frames(self._watched)
            self._ended(at)
            self._ping += 1
            now = self._clock.monotonic()
            self._since = now - late
            self._name(frames, now)
            self._soon(self._mark, self._ping)

    def _look(self) -> None:
        now = self._clock.monotonic()
        answered, at = self._answer
        if answered == self._ping:
            self._ended(at)
            self._send()
        elif self._loop.is_closed():
            self._stopping.set()
        elif not self._loop.is_running() or now < self._since:
            self._since = now
        elif self._open is None and now - self._since >= self._limit_s:
            self._name(_frames(self._watched), now)

    def _send(self) -> None:
        self._ping += 1
        self._since = self._clock.monotonic()
        self._certain = True
        self._soon(self._mark, self._ping)

    def _name(self, frames: list[FrameType], now: float) -> None:
        """Log where the loop is, unless it turned in the meantime or only waits for its thread to run."""
        if not frames:
            return
        if self._answer[0] != self._ping:
            block = Block(self._owner_of(frames), _places(frames), now - self._since, self._certain)
            self._open = _Open(block, is_logged=now >= self._may_log_at)
            if self._open.is_logged:
                self._may_log_at = now + LOG_PAUSE_S
                _log_block(block, frames)
        # Frames hold everybody's variables. The last reference must go in the loop: what ends with it may belong there.
        self._soon(frames.clear)

    def _ended(self, at: float) -> None:
        if self._open is None:
            return
        (block, is_logged), self._open = self._open, None
        block = block._replace(lasted_s=max(block.lasted_s, at - self._since))
        if is_logged:
            log_event(log, "loop_free", plugin=block.plugin, for_s=round(block.lasted_s, 3))
        self._soon(self._tell, block)

    def _owner_of(self, frames: list[FrameType]) -> str:
        try:
            return next(filter(None, map(self._owner, reversed(frames))), "")
        except Exception as error:
            log_event(log, "task_failed", error, task="watchdog")
            return ""


def _log_block(block: Block, frames: list[FrameType]) -> None:
    error = LoopBlocked().with_traceback(_trace(frames))
    log_event(log, "loop_blocked", error, plugin=block.plugin, for_s=round(block.lasted_s, 3), certain=block.certain)


def _cpu_s() -> float:
    """What the process has computed, in processor seconds."""
    times = os.times()
    return times.user + times.system


def _frames(thread: int) -> list[FrameType]:
    """The calls that a thread is in, innermost last, without those by which a loop came to its callback."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread)
    while frame is not None and len(frames) < DEPTH:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    return _from_callback(frames)


def _from_callback(frames: list[FrameType]) -> list[FrameType]:
    """What comes after the outermost calls of asyncio's; all, if there are none or nothing comes after them.

    Nothing, if that is where the loop waits for work: a sign of life wakes it as soon as its thread may run.
    """
    was_loop = False
    for place, frame in enumerate(frames):
        is_loop = _package(frame) == "asyncio"
        if was_loop and not is_loop:
            return [] if _package(frame) == "selectors" else frames[place:]
        was_loop = is_loop
    return frames


def _package(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else ""


def _line(frame: FrameType) -> int:
    line: int | None = frame.f_lineno  # none for what the compiler added
    return frame.f_code.co_firstlineno if line is None else line


def _places(frames: Iterable[FrameType]) -> tuple[str, ...]:
    return tuple(f"{frame.f_code.co_filename}:{_line(frame)} {frame.f_code.co_qualname}" for frame in frames)


def _trace(frames: list[FrameType]) -> TracebackType | None:
    trace: TracebackType | None = None
    for frame in reversed(frames):
        trace = TracebackType(trace, frame, frame.f_lasti, _line(frame))
    return trace
