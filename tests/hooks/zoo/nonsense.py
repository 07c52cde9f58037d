"""Answers that no hook can do anything with."""

from collections.abc import Iterator
from typing import Any, NoReturn

from hubd.plugin import Identity, Patterns, Priority, UserSet, drop

ANSWERING = (
    "check_health",
    "authenticate",
    "authorize_subscribe",
    "authorize_publish",
    "prepare_notification",
    "resolve_audience",
    "filter_recipients",
)
"""Hooks whose answers count while the hub runs."""


class Untouchable:
    """Fails whatever is done with it."""

    def _no(self, *args: Any) -> NoReturn:
        raise RuntimeError("don't touch")

    __bool__ = __iter__ = __len__ = __eq__ = __contains__ = __str__ = __repr__ = __getitem__ = __hash__ = _no

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError("don't touch")


class Masked:
    """Says of itself that it is nothing that can be asked about."""

    @property
    def __class__(self) -> NoReturn:
        raise RuntimeError("who am I?")


class Quits:
    """Ends the process when somebody looks into it."""

    def __iter__(self) -> Iterator[Any]:
        raise SystemExit("bye")

    def keys(self) -> NoReturn:
        raise KeyboardInterrupt


def endless() -> Iterator[int]:
    """Never comes to an end."""
    while True:
        yield 1


class OddText(str):
    """A text that isn't one."""

    def __getitem__(self, key: Any) -> str:
        raise RuntimeError("no parts")

    __hash__ = None  # type: ignore[assignment]  # on purpose


def deep(levels: int) -> list[Any]:
    """Lists within lists."""
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


def nobody() -> Identity:
    """Somebody with an id that nobody can have."""
    return Identity("not a user", Patterns(()), Patterns(()), Priority.CRITICAL, None, None)


ANSWERS: dict[str, Any] = {
    "number": lambda: 5,
    "true": lambda: True,
    "not_implemented": lambda: NotImplemented,
    "object": object,
    "class": lambda: dict,
    "numbers": lambda: [1, 2],
    "nones": lambda: [None],
    "bytes": lambda: b"bytes",
    "surrogate": lambda: "\ud800",
    "texts": lambda: ["x", "\ud800", ""],
    "keys": lambda: {1: 2},
    "unknown": lambda: {"nonsense": 1},
    "field": lambda: {"notification": {"n": object()}},
    "deep": lambda: {"notification": {"type": "x", "n": deep(100)}},
    "nan": lambda: {"ttl": float("nan")},
    "priority": lambda: {"priority": "loud"},
    "untouchable": Untouchable,
    "untouchables": lambda: [Untouchable()],
    "masked": Masked,
    "maskeds": lambda: [Masked()],
    "quits": Quits,
    "endless": endless,
    "odd_text": lambda: OddText("x"),
    "nobody": nobody,
    "a_verdict": lambda: drop(UserSet([4_000_000_000]), "asleep"),
    "set_of_odd_numbers": lambda: UserSet([4_000_000_000]),
    "exception": lambda: ValueError("x"),
}
