"""The table of what is logged, and that everybody keeps to it."""

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubd.log_events import EVENTS, FIELD_CHARS, RESERVED, Line, clipped, log_event, shown

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "hubd").rglob("*.py"))
OWN = {"log_events.py", "logs.py"}
"""Where lines are made: here `log` is called itself, and events are chosen by what comes from libraries."""
METHODS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log"}


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path, node


def logged() -> Iterator[tuple[Path, ast.Call]]:
    for path, call in calls():
        if isinstance(call.func, ast.Name) and call.func.id in ("log_event", "_own_record"):
            yield path, call


def event_of(call: ast.Call) -> ast.expr:
    assert isinstance(call.func, ast.Name)
    return call.args[1 if call.func.id == "log_event" else 0]


def where(path: Path, call: ast.Call) -> str:
    return f"{path.relative_to(ROOT)}:{call.lineno}"


def test_nobody_logs_in_another_way() -> None:
    found = [
        where(path, call)
        for path, call in calls()
        if path.name not in OWN
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in METHODS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in ("log", "logger", "logging", "_log", "_logger")
    ]
    assert found == []


def test_every_line_is_a_declared_event_and_every_declared_event_is_used() -> None:
    used: dict[str, str] = {}
    for path, call in logged():
        events = [node for node in ast.walk(event_of(call)) if isinstance(node, ast.Constant)]
        names = [str(node.value) for node in events]
        assert names, f"{where(path, call)}: the event must stand there as a string"
        used |= dict.fromkeys(names, where(path, call))
    undeclared = {event: place for event, place in used.items() if event not in EVENTS}
    assert undeclared == {}
    assert set(EVENTS) - set(used) == {"library", "plugin"}  # which is what all others log, and what plugins do


def test_no_field_is_called_what_a_line_has_anyway_and_none_holds_what_is_secret() -> None:
    secret = {"token", "key", "body", "title", "payload", "password", "secret", "authorization", "cookie", "ticket"}
    for path, call in logged():
        names = [keyword.arg for keyword in call.keywords]
        assert None not in names, f"{where(path, call)}: name the fields"
        assert not set(names) & {*RESERVED, *secret}, where(path, call)
        assert all(re.fullmatch(r"[a-z][a-z_]*", name or "") for name in names)


def test_every_event_has_a_good_name_a_level_and_a_sentence() -> None:
    for name, event in EVENTS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert logging.getLevelName(event.level) in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        assert re.fullmatch(r"\S.*[^.\s]", event.text) and "\n" not in event.text and len(event.text) < 200, name


def test_a_line_as_text() -> None:
    line = Line("slow_consumer", {"connection": "abc", "user": "ada lovelace", "bytes": 12, "ratio": 0.5, "none": None})
    assert str(line) == (
        "slow_consumer: A connection took its frames too slowly and was cut; it may resume"
        ' connection=abc user="ada lovelace" bytes=12 ratio=0.5 none=null'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain-id_1.2@x|+=:/*", "plain-id_1.2@x|+=:/*"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\nb\r\x1b[2J\x00", '"a\\nb\\r\\u001b[2J\\u0000"'),
        ("\x9b\u2028\u202e\ud800é", '"\\u009b\\u2028\\u202e\\ud800\\u00e9"'),
        (True, "true"),
        (None, "null"),
        (7, "7"),
        ("x" * 1000, "x" * FIELD_CHARS + "..."),
    ],
)
def test_a_value_in_a_plain_line(value: str | int | bool | None, text: str) -> None:
    assert shown(value) == text


def test_what_is_no_plain_value_is_shown_by_its_type() -> None:
    assert clipped({"token": "secret"}) == "dict"
    assert clipped(b"secret") == "bytes"


def test_it_is_logged_with_its_level_and_traceback(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("hubd.some")
    error = ValueError()
    with caplog.at_level(logging.INFO, "hubd.some"):
        log_event(log, "task_failed", error, task="x")
        log_event(log, "published", id="n1")  # a debug line
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and record.exc_info and record.exc_info[1] is error
    assert record.getMessage() == "task_failed: A task failed task=x"
    assert record.funcName == "test_it_is_logged_with_its_level_and_traceback"
