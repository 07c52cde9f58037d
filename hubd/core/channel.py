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

    __slots__ = ("_all", "_exact", "_wild", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(dict.fromkeys(texts))
        # No regular expressions: tokens name topics of one user each, and compiling costs more than all matching.
        read = [_pattern(text) for text in self.texts]
        self._exact = frozenset(":".join(segments) for segments in read if not _is_wild(segments))
        self._wild = tuple(segments for segments in read if _is_wild(segments))
        self._all = "**" in self.texts

    def match(self, name: str) -> bool:
        """Whether any of the patterns matches this canonical name."""
        if self._all or name in self._exact:
            return True
        if not self._wild:
            return False
        segments = name.split(":")
        return any(_fits(pattern, segments) for pattern in self._wild)

    def __bool__(self) -> bool:
        return bool(self.texts)

    def __repr__(self) -> str:
        return f"Patterns({list(self.texts)!r})"


def _pattern(text: str) -> list[str]:
    """A pattern's segments; a ``Problem`` when it isn't one."""
    segments = text.split(":")
    if len(segments) == 2 and segments[0] == "user" and segments[1] != "**":
        segments.append(BROADCAST)
    if len(segments) > SEGMENTS or len(text) > NAME_BYTES:
        raise Problem("invalid", f"pattern {text[:NAME_BYTES]!r}: {_RULE}")
    for place, segment in enumerate(segments):
        last = place == len(segments) - 1
        if not (segment == "*" or (segment == "**" and last) or _USER_ID.fullmatch(segment)):
            raise Problem("invalid", f"pattern {text!r}: segment {segment!r} is no name, no '*' and no last '**'")
    return segments


def _is_wild(segments: list[str]) -> bool:
    return "*" in segments or segments[-1] == "**"


def _fits(pattern: list[str], segments: list[str]) -> bool:
    if pattern[-1] == "**":
        pattern = pattern[:-1]
        if len(segments) <= len(pattern):
            return False
    elif len(segments) != len(pattern):
        return False
    return all(wanted in ("*", found) for wanted, found in zip(pattern, segments, strict=False))


@lru_cache(maxsize=4096)
def patterns(texts: tuple[str, ...]) -> Patterns:
    """The compiled patterns, shared by all who were given the same ones."""
    return Patterns(texts)
