"""Tracebacks say where and what kind, and never a value."""

import os
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from hubd.faults import FRAMES, LINKED, described, traced

SECRET = "eyJhbGciOiJIUzI1NiJ9-canary"


class Model(BaseModel):
    number: int


def raised(work: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        work()
    return caught.value


@pytest.mark.parametrize(
    "work",
    [
        lambda: {}[SECRET],
        lambda: int(SECRET),
        lambda: Model.model_validate({"number": SECRET}),
        lambda: bytes([255]).decode("ascii" if SECRET else SECRET),
        lambda: exec("raise RuntimeError(SECRET)", {"SECRET": SECRET}),
        lambda: os.stat(f"/nowhere/{SECRET}"),
        lambda: exec("raise ExceptionGroup(SECRET, [ValueError(SECRET)])", {"SECRET": SECRET}),
        lambda: exec("assert False, SECRET", {"SECRET": SECRET}),
        lambda: exec("f(**{SECRET: 1})", {"SECRET": SECRET, "f": lambda: 1}),
    ],
)
def test_no_value_of_an_exception_is_shown(work: Callable[[], object]) -> None:
    error = raised(work)
    error.add_note(SECRET)
    text = traced(error)
    assert SECRET not in text and SECRET not in described(error)
    assert type(error).__name__ in text
    assert "test_faults.py" in text and "in raised" in text


def test_the_line_that_raised_is_shown() -> None:
    def work() -> None:
        raise ValueError(f"no {SECRET} here")

    lines = traced(raised(work)).split("\n")
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2].strip() == 'raise ValueError(f"no {SECRET} here")'
    assert lines[-1] == "ValueError"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: [Errno 111] Connection refused"),
        (FileNotFoundError(2, "No such file", f"/{SECRET}"), "FileNotFoundError: [Errno 2] No such file"),
        (OSError(SECRET), "OSError"),
        (AttributeError("'X' object has no attribute 'y'"), "AttributeError: 'X' object has no attribute 'y'"),
        (RuntimeError(SECRET), "RuntimeError"),
    ],
)
def test_messages_of_the_system_and_about_the_program_are_shown(error: BaseException, shown: str) -> None:
    assert described(error) == shown


def test_what_led_to_it_comes_first() -> None:
    def work() -> None:
        try:
            int(SECRET)
        except ValueError:
            try:
                {}[SECRET]  # type: ignore[index]  # it raises
            except KeyError as error:
                raise RuntimeError(SECRET) from error

    kinds = [line for line in traced(raised(work)).split("\n") if not line.startswith((" ", "Traceback"))]
    assert kinds == ["ValueError", "While that was dealt with:", "KeyError", "This led to:", "RuntimeError"]


def test_from_none_hides_what_led_to_it() -> None:
    def work() -> None:
        try:
            int(SECRET)
        except ValueError:
            raise RuntimeError from None

    assert "ValueError" not in traced(raised(work)).split("\n")


def test_however_deep_it_is_the_text_stays_short() -> None:
    def deep(level: int) -> None:
        if level == 0:
            raise ValueError
        other(level - 1)

    def other(level: int) -> None:
        deep(level)

    assert traced(raised(lambda: deep(200))).count("File ") == FRAMES
    error: BaseException = ValueError()
    for _ in range(50):
        outer = KeyError()
        outer.__cause__ = error
        error = outer
    assert traced(error).count("KeyError") == LINKED
    assert traced(ExceptionGroup("", [ValueError() for _ in range(1000)])).count("ValueError") == LINKED


def test_an_exception_that_was_never_raised() -> None:
    assert traced(ValueError(SECRET)) == "ValueError"
