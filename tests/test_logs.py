"""Lines on standard error: their form, what they never show, how many there are, and who waits for them: nobody."""

import asyncio
import gc
import json
import logging
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from hubd import logs
from hubd.config_options import Log
from hubd.log_events import log_event
from hubd.logs import LINES, QUEUE_LINES, TALLY, WINDOW_S, Limiter, StderrHandler, as_json, as_plain
from tests.command import environment

SECRET = "eyJhbGciOiJIUzI1NiJ9.canary"
PLAIN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([A-Z]+) (\S+) ([a-z_]+): (.*)")
log = logging.getLogger("hubd.some")


def record(message: object, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("hubd.some", logging.WARNING, "some.py", 1, message, args, info)


class Pipe:
    """A handler that writes into a pipe."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.handler = StderrHandler(self.writing)
        self.log = logging.Logger("hubd.some", logging.DEBUG)
        self.log.addHandler(self.handler)

    def lines(self) -> list[str]:
        """All that was written so far."""
        self.handler.flush()
        os.set_blocking(self.reading, False)
        found = b""
        try:
            while data := os.read(self.reading, 65536):
                found += data
        except BlockingIOError:
            pass
        return found.decode("ascii").splitlines()

    def events(self) -> list[str]:
        found = [PLAIN.fullmatch(line) for line in self.lines()]
        return [line[4] if line else "?" for line in found]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)  # whoever writes is not stopped any more
    pipe.handler.close()
    pipe.handler._thread.join(5)
    assert not pipe.handler._thread.is_alive()
    os.close(pipe.writing)


# Form


def test_a_plain_line(pipe: Pipe) -> None:
    log_event(pipe.log, "task_failed", task="a b")
    (line,) = pipe.lines()
    found = PLAIN.fullmatch(line)
    assert found and found.groups()[1:] == ("ERROR", "hubd.some", "task_failed", 'A task failed task="a b"')
    assert abs(datetime.fromisoformat(found[1]).timestamp() - time.time()) < 60


def test_a_json_line(pipe: Pipe) -> None:
    pipe.handler.show = as_json
    log_event(pipe.log, "task_failed", ValueError(), task="a\nb", count=3, flag=True)
    (line,) = pipe.lines()
    fields = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("ts"))
    assert fields == {
        "level": "error",
        "logger": "hubd.some",
        "event": "task_failed",
        "message": "A task failed",
        "task": "a\nb",
        "count": 3,
        "flag": True,
        "exc": "ValueError",
    }


def test_a_moment_without_a_fraction_has_its_milliseconds_too() -> None:
    some = record("x")
    some.created = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
    assert as_plain(some).startswith("2026-11-22T12:00:00.000Z ")


def test_a_traceback_is_indented_in_plain_and_one_field_in_json(pipe: Pipe) -> None:
    try:
        int(SECRET)
    except ValueError as error:
        log_event(pipe.log, "task_failed", error, task="x")
        pipe.handler.show = as_json
        log_event(pipe.log, "task_failed", error, task="x")
    first, *trace, last = pipe.lines()
    assert PLAIN.fullmatch(first)
    assert trace and all(line.startswith("    ") for line in trace)
    assert trace[-1] == "    ValueError"
    assert json.loads(last)["exc"].splitlines() == [line.removeprefix("    ") for line in trace]
    assert SECRET not in first + "".join(trace) + last


@pytest.mark.parametrize("form", [as_plain, as_json])
def test_nobody_outside_can_forge_a_line_or_a_traceback(form: Callable[[logging.LogRecord], str], pipe: Pipe) -> None:
    pipe.handler.show = form
    forged = "x\n2026-11-22T12:00:00.000Z INFO hubd started: all is well\r\n    ValueError\u2028\x85\x1b[1A"
    log_event(pipe.log, "connection_ended", user=forged, reason=forged)
    pipe.log.warning(forged)
    pipe.log.warning("%s", forged)
    lines = pipe.lines()
    assert len(lines) == 3
    assert not re.search(r"[^ -~]", "".join(lines))


# What libraries log


@pytest.mark.parametrize(
    ("message", "args", "shown"),
    [
        ("Error handling request from %s", (SECRET,), "Error handling request from %s"),
        ("Task exception was never retrieved\nfuture: <Task ...>", (), "Task exception was never retrieved"),
        (f"Exception in callback f({SECRET!r})", (), "Exception in callback"),
        (f"Unclosed connection client={SECRET}", (), "Unclosed connection"),
        (f"bad token {SECRET}", (), "bad token"),
        ("socket.send() raised exception.", (), "socket.send() raised exception."),
        (SECRET, (), ""),
        ({"token": SECRET}, (), ""),
    ],
)
def test_of_a_librarys_line_only_the_fixed_words_are_shown(
    message: object, args: tuple[object, ...], shown: str
) -> None:
    some = record(message, *args)
    fields = json.loads(as_json(some))
    assert (fields["event"], fields["words"]) == ("library", shown)
    assert SECRET not in as_plain(some)


def test_the_loops_faults_are_told_without_what_they_are_about(caplog: pytest.LogCaptureFixture) -> None:
    async def secretly(word: str) -> None:
        raise ValueError(word)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logs.on_loop_fault)
        loop.call_soon(int, SECRET)
        task = loop.create_task(secretly(SECRET), name="a task")
        await asyncio.sleep(0.01)
        del task
        gc.collect()

    asyncio.run(main())
    texts = [as_plain(found) for found in caplog.records]
    assert len(texts) == 2 and all(" loop_fault: " in text and "ValueError" in text for text in texts)
    assert 'what="Exception in callback"' in texts[0]
    assert 'what="Task exception was never retrieved" task="a task"' in texts[1]
    assert SECRET not in "".join(texts)


# How many


def test_of_one_kind_there_are_so_many_a_minute_and_then_how_many_were_left_out(pipe: Pipe) -> None:
    suppressed = TALLY.suppressed
    for _ in range(LINES + 40):
        log_event(pipe.log, "slow_consumer", connection="x")
    log_event(pipe.log, "task_failed", task="another kind")
    assert pipe.events() == ["slow_consumer"] * LINES + ["task_failed"]
    assert TALLY.suppressed - suppressed == 40
    some = record("x")
    some.created += WINDOW_S + 1
    pipe.handler.handle(some)
    first, second = pipe.lines()
    assert first.endswith("kind=slow_consumer count=40") and " lines_suppressed: " in first
    assert " library: " in second


def test_how_many_were_left_out_is_told_even_if_nothing_else_is_logged(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(LINES + 1):
        log_event(pipe.log, "slow_consumer", connection="x")
    assert len(pipe.lines()) == LINES
    monkeypatch.setattr(logs, "WINDOW_S", 0.1)
    deadline = time.monotonic() + 10
    while not (lines := pipe.lines()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert lines[0].endswith("kind=slow_consumer count=1")


def test_debug_lines_are_not_counted(pipe: Pipe) -> None:
    for _ in range(LINES + 40):
        log_event(pipe.log, "connection_ended", reason="gone")
    assert len(pipe.lines()) == LINES + 40


def test_a_window_that_a_clock_set_back_would_keep_open_is_closed() -> None:
    limiter = Limiter()
    for _ in range(LINES + 2):
        limiter.takes("x", 1000.0)
    assert not limiter.takes("x", 1000.0)
    assert limiter.ended(1000.0) == []
    assert limiter.ended(10.0) == [("x", 3)]
    assert limiter.takes("x", 10.0)


# Who waits


def test_nobody_waits_for_a_standard_error_that_takes_nothing(pipe: Pipe) -> None:
    lost = TALLY.lost
    begun = time.monotonic()
    count = QUEUE_LINES + 2000  # the pipe takes 64 KiB, some 600 lines
    for _ in range(count):
        log_event(pipe.log, "connection_ended", reason="gone")
    assert time.monotonic() - begun < 5
    missing = TALLY.lost - lost
    assert missing > 0
    events: list[str] = []
    deadline = time.monotonic() + 10
    while len(events) < count - missing:
        assert time.monotonic() < deadline
        events += pipe.events()
    log_event(pipe.log, "connection_ended", reason="gone")
    told, line = pipe.lines()
    assert told.endswith(f"so some were left out count={missing}")
    assert " connection_ended: " in line


def test_a_standard_error_that_is_gone_harms_nobody() -> None:
    lost = TALLY.lost
    pipe = Pipe()
    os.close(pipe.reading)
    log_event(pipe.log, "connection_ended", reason="gone")
    pipe.handler.flush()
    assert TALLY.lost == lost + 1
    pipe.handler.close()
    pipe.handler._thread.join(5)
    os.close(pipe.writing)


def test_a_line_that_cant_be_shown_is_counted(pipe: Pipe, capfd: pytest.CaptureFixture[str]) -> None:
    class Bad:
        def __str__(self) -> str:
            raise ValueError(SECRET)

    lost = TALLY.lost
    pipe.log.warning(Bad())
    log_event(pipe.log, "task_failed", task="x")
    assert pipe.events() == ["task_failed"]
    assert TALLY.lost == lost + 1
    assert capfd.readouterr() == ("", "")


# The whole of it


def run(code: str, timeout: float = 30, **options: object) -> "subprocess.CompletedProcess[str]":
    begin = "from hubd import logs\nfrom hubd.config_options import Log\nimport logging\n"
    return subprocess.run(
        [sys.executable, "-c", begin + code], capture_output=True, text=True, timeout=timeout, env=environment()
    )


def test_a_process_writes_what_waits_before_it_ends() -> None:
    done = run("logs.begin(Log(format='json'))\nfor n in range(50): logging.getLogger('x').warning('line')")
    assert done.returncode == 0 and done.stdout == ""
    assert [json.loads(line)["words"] for line in done.stderr.splitlines()] == ["line"] * 50


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_level(level: str) -> None:
    code = f"logs.begin(Log(format='json', level='{level}'))\n" + "".join(
        f"logging.getLogger('x').{one}('line')\n" for one in ("debug", "info", "warning", "error")
    )
    words = [json.loads(line)["level"] for line in run(code).stderr.splitlines()]
    assert words == ["debug", "info", "warning", "error"][["debug", "info", "warning", "error"].index(level) :]


def test_it_may_begin_again_in_another_way() -> None:
    done = run(
        "logs.begin(Log(), harmless=(KeyError,))\nlogging.getLogger('x').warning('one')\n"
        "logs.begin(Log(format='json', level='error'))\n"
        "logging.getLogger('x').warning('two')\nlogging.getLogger('x').error('three')\n"
        "logging.getLogger('x').error('four', exc_info=KeyError())\n"
        "assert len(logging.getLogger().handlers) == 1"
    )
    first, second = done.stderr.splitlines()
    assert "words=one" in first and json.loads(second)["words"] == "three"


def test_what_is_harmless_is_for_debugging_only() -> None:
    code = f"logging.getLogger('x').error('line', exc_info=KeyError('{SECRET}'))"
    assert run("logs.begin(Log(), harmless=(KeyError,))\n" + code).stderr == ""
    shown = run("logs.begin(Log(level='debug'), harmless=(LookupError,))\n" + code).stderr
    assert "KeyError" in shown and SECRET not in shown


@pytest.mark.parametrize(
    ("code", "event"),
    [
        (f"int('{SECRET}')", "crashed"),
        (f"import threading\nt = threading.Thread(target=int, args=('{SECRET}',)); t.start(); t.join()", "crashed"),
        (f"class A:\n    def __del__(self): int('{SECRET}')\nA()", "ignored_fault"),
    ],
)
def test_what_python_itself_would_print_goes_the_same_way(code: str, event: str) -> None:
    done = run("logs.begin(Log(format='json'))\n" + code)
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == event and "ValueError" in json.loads(line)["exc"]
    assert SECRET not in line.replace(code, "")


def test_a_process_whose_standard_error_is_stuck_ends() -> None:
    begin = (
        "from hubd import logs\nfrom hubd.config_options import Log\nimport logging\nlogs.begin(Log(level='debug'))\n"
    )
    code = begin + "for n in range(5000): logging.getLogger('x').debug('line')\nprint('done')"
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, timeout=30, env=environment()
        )
        assert (done.returncode, done.stdout) == (0, b"done\n")
    finally:
        os.close(reading)
        os.close(writing)


def test_options_of_the_log() -> None:
    assert Log() == Log(format="plain", level="info")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Log.model_validate({"format": "json", "level": "debug"}).level == "debug"
