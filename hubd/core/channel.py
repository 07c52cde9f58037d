"""Channel names: one grammar, one canonical form, and the patterns that match it."""

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from hubd.core.errors import Problem

BROADCAST = "notifications"
NAME_BYTES = 200
SEGMENTS = 6
_SEGMENT = r"[A-Za-z0-9_.@|+=-]{1,64}"
_NAME = re.compile(rf"{_SEGMENT}(?::{_SEGMENT}){{0,{SEGMENTS - 1}}}")
_USER_ID = re.compile(_SEGMENT)
_RESERVED = ("user", "hub")
_RULE = (
    "a channel is 1 to 6 segments joined by ':', each 1 to 64 of A-Z a-z 0-9 _ . @ | + = -, 200 bytes at most;"
    " 'user' and 'hub' are reserved as the first one (a user's channel is user:ID or user:ID:notifications)"
)


class Kind(Enum):
    """Who receives what is published to a channel."""

    BROADCAST = "broadcast"
    USER = "user"
    TOPIC = "topic"


class Channel(NamedTuple):
    """A channel by its canonical name; ``user`` is the user's id where it is a user channel, else empty."""

    name: str
    kind: Kind
    user: str = ""


def is_user_id(text: str) -> bool:
    """Whether the text can be a user id: one segment of the channel grammar."""
    return _USER_ID.fullmatch(text) is not None


def user_channel(user: str) -> str:
    """The canonical name of a user's own channel."""
    return f"user:{user}:notifications"


@lru_cache(maxsize=65536)
def parse_channel(text: str) -> Channel:
    """Read a channel name, also the short form ``user:ID``; a ``Problem`` ('invalid') when it isn't one."""
    if len(text) > NAME_BYTES or _NAME.fullmatch(text) is None:
        raise Problem("invalid", _RULE)
    if text == BROADCAST:
        return Channel(BROADCAST, Kind.BROADCAST)
    first, _, rest = text.partition(":")
    if first not in _RESERVED:
        return Channel(text, Kind.TOPIC)
    user, _, tail = rest.partition(":")
    if first == "user" and user and tail in ("", BROADCAST):
        return Channel(user_channel(user), Kind.USER, user)
    raise Problem("invalid", _RULE)


class Patterns:
    """A set of channel patterns: ``*`` stands for one segment, a last ``**`` for the rest (one or more).

    A pattern in the short form ``user:ID`` means the canonical ``user:ID:notifications``.
    """

    __slots__ = ("_regex", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(dict.fromkeys(texts))
        parts = [_pattern_regex(text) for text in self.texts]
        self._regex = re.compile("|".join(parts)) if parts else None

    def match(self, name: str) -> bool:
        """Whether any of the patterns matches this canonical name."""
        return self._regex is not None and self._regex.fullmatch(name) is not None

    def __bool__(self) -> bool:
        return bool(self.texts)

    def __repr__(self) -> str:
        return f"Patterns({list(self.texts)!r})"


def _pattern_regex(text: str) -> str:
    segments = text.split(":")
    if len(segments) == 2 and segments[0] == "user" and segments[1] != "**":
        segments.append(BROADCAST)
    if len(segments) > SEGMENTS or len(text) > NAME_BYTES:
        raise Problem("invalid", f"pattern {text[:NAME_BYTES]!r}: {_RULE}")
    parts = []
    for place, segment in enumerate(segments):
        if segment == "**" and place == len(segments) - 1:
            parts.append(f"{_SEGMENT}(?::{_SEGMENT})*")
        elif segment == "*":
            parts.append(_SEGMENT)
        elif _USER_ID.fullmatch(segment):
            parts.append(re.escape(segment))
        else:
            raise Problem("invalid", f"pattern {text!r}: segment {segment!r} is no name, no '*' and no last '**'")
    return ":".join(parts)


@lru_cache(maxsize=4096)
def patterns(texts: tuple[str, ...]) -> Patterns:
    """The compiled patterns, shared by all who were given the same ones."""
    return Patterns(texts)
