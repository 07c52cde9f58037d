"""The grammar of channels and of patterns, said once more, letter by letter."""

from typing import NamedTuple

LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@|+=-")


class Name(NamedTuple):
    """A channel: who receives ("broadcast", "user", "topic"), its canonical name, and whose it is."""

    kind: str
    name: str
    user: str = ""


def is_segment(text: str) -> bool:
    return 1 <= len(text) <= 64 and all(letter in LETTERS for letter in text)


def read_name(text: str) -> Name | None:
    """The channel of that name; None where it is no name."""
    segments = text.split(":")
    if len(text) > 200 or len(segments) > 6 or not all(is_segment(segment) for segment in segments):
        return None
    if text == "notifications":
        return Name("broadcast", text)
    if segments[0] == "hub":
        return None
    if segments[0] != "user":
        return Name("topic", text)
    if len(segments) == 2 or (len(segments) == 3 and segments[2] == "notifications"):
        return Name("user", f"user:{segments[1]}:notifications", segments[1])
    return None


def read_pattern(text: str) -> list[str] | None:
    """The segments of a pattern in its canonical form; None where it is no pattern."""
    segments = text.split(":")
    *before, last = segments
    if not all(segment == "*" or is_segment(segment) for segment in before):
        return None
    if not (last in ("*", "**") or is_segment(last)) or len(text) > 200:
        return None
    if segments[0] == "user" and len(segments) == 2 and last != "**":
        segments.append("notifications")
    return segments if len(segments) <= 6 else None


def matches(pattern: list[str], name: list[str]) -> bool:
    """Whether the pattern's segments stand for these."""
    if pattern == ["**"]:
        return bool(name)
    if not pattern or not name:
        return not pattern and not name
    return pattern[0] in ("*", name[0]) and matches(pattern[1:], name[1:])
