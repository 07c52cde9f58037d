"""The log: lines on standard error, plain or JSON, whoever logs.

Three things can't happen. No line says what a client or an operator wants to keep for himself: hubd's own lines are
made of `hubd.log_events`, of a library's lines only the fixed words are shown, of tracebacks no values
(`hubd.faults`). Nobody outside can fill the disk: of one kind there are ``LINES`` a minute, then a line with how many
were left out. And whoever reads standard error slowly, or not at all, doesn't stop the hub: a thread does the writing,
and what is too much for its queue is left out and counted.
"""

import asyncio
import json
import logging
import os
import queue
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from hubd.config_options import Log
from hubd.faults import traced
from hubd.log_events import EVENTS, Line, Value, clipped, log_event

LINES = 60
WINDOW_S = 60.0
"""Of one kind there are so many lines within so many seconds; but whoever asks for debug lines gets them all."""
QUEUE_LINES = 2000
"""How many lines may wait for standard error."""
LINE_CHARS = 16_384
FLUSH_S = 1.0
"""How long the end of the process waits for lines that aren't written yet."""
TICK_S = 1.0
PAUSE_S = 0.01

log = logging.getLogger("hubd.logs")


class Tally:
    """How many lines there were by level, how many of a kind that was too frequent, how many that couldn't be written.

    There is one log in a process, so there is one of these.
    """

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()
        self.suppressed = 0
        self.lost = 0


TALLY = Tally()


def begin(options: Log, harmless: tuple[type[BaseException], ...] = ()) -> None:
    """Log to standard error from now on, in this way; may be called again with other options.

    A line with an exception of a ``harmless`` kind is for debugging only, whatever the library thinks of it.
    """
    root = logging.getLogger()
    handler = next((found for found in root.handlers if isinstance(found, StderrHandler)), None)
    if handler is None:
        handler = StderrHandler(2)
        root.addHandler(handler)
        sys.excepthook = _crashed
        sys.unraisablehook = _ignored
        threading.excepthook = _thread_crashed
    handler.harmless = harmless or handler.harmless
    handler.show = as_json if options.format == "json" else as_plain
    root.setLevel(options.level.upper())


def on_loop_fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For ``loop.set_exception_handler``: the loop's own handler would show reprs, and what is in them."""
    task = context.get("task") or context.get("future")
    name = task.get_name() if isinstance(task, asyncio.Task) else ""
    log_event(log, "loop_fault", context.get("exception"), what=_fixed_words(context.get("message", "")), task=name)


def _crashed(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if isinstance(error, KeyboardInterrupt):
        return
    log_event(log, "crashed", error)


def _thread_crashed(about: threading.ExceptHookArgs) -> None:
    log_event(log, "crashed", about.exc_value, thread=about.thread.name if about.thread else None)


def _ignored(about: "sys.UnraisableHookArgs") -> None:
    log_event(log, "ignored_fault", about.exc_value)


# From a record to a line


def as_plain(record: logging.LogRecord) -> str:
    """For people: time, level, logger, event, its text and fields; lines of a traceback follow, indented."""
    line = _line(record)
    text = f"{_moment(record)} {record.levelname} {record.name} {line}"
    trace = _trace(record)
    return text + "".join(f"\n    {part}" for part in trace.split("\n")) if trace else text


def as_json(record: logging.LogRecord) -> str:
    """For programs: one object on one line; ``exc`` is the traceback."""
    line = _line(record)
    fields: dict[str, Value] = {
        "ts": _moment(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": line.event,
        "message": line.text,
    }
    fields |= {name: clipped(value) for name, value in line.fields.items()}
    if trace := _trace(record):
        fields["exc"] = trace
    return json.dumps(fields)  # not orjson: this escapes all that a terminal could take for a command


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _line(record: logging.LogRecord) -> Line:
    if isinstance(record.msg, Line):
        return record.msg
    return Line("library", {"words": _fixed_words(str(record.msg))})


_WORD = re.compile(r"[A-Za-z][A-Za-z_.,-]{0,30}(\(\))?|%[a-z]")


def _fixed_words(message: str) -> str:
    """Of what a library says, the words before the first thing that may be a value."""
    return " ".join(takewhile(_WORD.fullmatch, message.split(maxsplit=20)[:20]))


def _trace(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return traced(error)[-LINE_CHARS:] if error is not None else ""


# From a line to standard error


class Limiter:
    """Lets through ``LINES`` lines of each kind within ``WINDOW_S`` seconds, and counts the others."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}  # since when, and how many

    def takes(self, kind: str, now: float) -> bool:
        """Whether one more may be shown; call ``ended`` first."""
        since, count = self._windows.get(kind, (now, 0))
        self._windows[kind] = (since, count + 1)
        return count < LINES

    def ended(self, now: float) -> list[tuple[str, int]]:
        """The kinds whose window is over and of which some were left out, and how many; a clock may be set back."""
        over = [kind for kind, (since, _) in self._windows.items() if not 0 <= now - since < WINDOW_S]
        counts = [(kind, self._windows.pop(kind)[1] - LINES) for kind in over]
        return [(kind, left_out) for kind, left_out in counts if left_out > 0]


class StderrHandler(logging.Handler):
    """Writes lines to a file descriptor, by a thread: whoever logs never waits."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.show: Callable[[logging.LogRecord], str] = as_plain
        self.harmless: tuple[type[BaseException], ...] = ()
        self._descriptor = descriptor
        self._limiter = Limiter()
        self._lost = 0  # since it was last told
        self._never = threading.Event()
        self._queue: queue.Queue[bytes | None] = queue.Queue(QUEUE_LINES)
        self.addFilter(self._is_wanted)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def _is_wanted(self, record: logging.LogRecord) -> bool:
        is_harmless = record.exc_info is not None and isinstance(record.exc_info[1], self.harmless)
        return not is_harmless or log.isEnabledFor(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record, unless there have been too many of its kind."""
        try:
            self._emit(record)
        except Exception:
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        TALLY.lines[record.levelname.lower()] += 1
        self._tell_left_out(record.created)
        if record.levelno > logging.DEBUG:
            kind = record.msg.event if isinstance(record.msg, Line) else f"library {record.name}"
            if not self._limiter.takes(kind, record.created):
                TALLY.suppressed += 1
                return
        self._put(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that can't be shown is counted; the standard library would print the record with all its values."""
        TALLY.lost += 1

    def flush(self) -> None:
        """Wait for what isn't written yet, ``FLUSH_S`` seconds at most."""
        for _ in range(int(FLUSH_S / PAUSE_S)):
            if not self._queue.unfinished_tasks:
                return
            self._never.wait(PAUSE_S)

    def close(self) -> None:
        """Let the thread end when it has written what waits."""
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        super().close()

    def _tell_left_out(self, now: float) -> None:
        for kind, count in self._limiter.ended(now):
            self._put(_own_record("lines_suppressed", kind=kind, count=count))
        if self._lost and self._queue.qsize() < QUEUE_LINES // 2:
            count, self._lost = self._lost, 0
            self._put(_own_record("lines_lost", count=count))

    def _put(self, record: logging.LogRecord) -> None:
        try:
            self._queue.put_nowait((self.show(record) + "\n").encode())
        except queue.Full:
            TALLY.lost += 1
            self._lost += 1

    def _run(self) -> None:
        """The thread: write, and when nothing comes for a while, tell what was left out."""
        while True:
            try:
                data = self._queue.get(timeout=TICK_S)
            except queue.Empty:
                with self._locked():
                    self._tell_left_out(datetime.now(UTC).timestamp())
                continue
            if data is None:
                return
            self._write(data)
            self._queue.task_done()

    def _write(self, data: bytes) -> None:
        try:
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:  # it is shared with somebody who doesn't want to wait
                    self._never.wait(PAUSE_S)
        except OSError:  # nobody reads it any more
            TALLY.lost += 1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


def _own_record(event: str, **fields: Value) -> logging.LogRecord:
    return logging.LogRecord(log.name, EVENTS[event].level, __file__, 0, Line(event, fields), (), None)
