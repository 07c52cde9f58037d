"""Tracebacks for the log: where it happened and what kind of fault it was, without any value.

The message of an exception is built from values, and those may be a token, a key or somebody's notification:
``KeyError`` quotes the key, ``int()`` what it was given, pydantic the whole input. So a message is shown only of those
kinds whose messages are made by the system or name things of the program. The line of the source that raised is shown
with each, and that tells what the message would have said.
"""

import traceback
from collections.abc import Iterator

FRAMES = 20
"""How many calls of one exception are shown, the last ones."""
LINKED = 5
"""How many exceptions that led to one another, or that are in one group, are shown."""


class PluginError(Exception):
    """A plugin can't do what it is there for, and the message says to the operator why, and what to do.

    It is shown as it is, in the log too: no secrets in it.
    """


_SPEAKING = (PluginError, AttributeError, ImportError, NameError, RecursionError, ZeroDivisionError, SyntaxError)


def described(error: BaseException) -> str:
    """An exception in one line: its kind, and its message where that can't hold a value."""
    kind = type(error).__qualname__
    if isinstance(error, OSError):
        return f"{kind}: [Errno {error.errno}] {error.strerror}" if error.strerror else kind
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg}"
    if isinstance(error, _SPEAKING):
        return f"{kind}: {error}"
    return kind


def place_of(error: BaseException) -> str:
    """The file and line that an exception comes from, the innermost; nothing where that isn't known."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def traced(error: BaseException) -> str:
    """An exception and what led to it, the first cause first, as Python writes tracebacks."""
    lines: list[str] = []
    for link, how in reversed(list(_chain(error))):
        if link.__traceback__ is not None:
            lines.append("Traceback (most recent call last):")
            frames = traceback.StackSummary.extract(traceback.walk_tb(link.__traceback__), limit=-FRAMES)
            lines += "".join(frames.format()).rstrip("\n").split("\n")
        lines.append(described(link))
        if isinstance(link, BaseExceptionGroup):
            lines += [f"  of which one: {described(member)}" for member in link.exceptions[:LINKED]]
        if how:
            lines.append(how)
    return "\n".join(lines)


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The exception, its cause, the cause's cause, and so on, each with how it led to the one before."""
    how = ""
    link: BaseException | None = error
    for _ in range(LINKED):
        if link is None:
            return
        yield link, how
        if link.__cause__ is not None:
            link, how = link.__cause__, "This led to:"
        elif not link.__suppress_context__:
            link, how = link.__context__, "While that was dealt with:"
        else:
            return
