"""What a gate says about some of those whom a notification is meant for: drop, hold or digest, always with a reason."""

import re
from dataclasses import dataclass
from enum import Flag, StrEnum, auto

from hubd.core.users import UserSet

_REASON = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Action(StrEnum):
    """What a gate does with a notification for some users."""

    DROP = "drop"
    """They never get it."""
    HOLD = "hold"
    """They don't get it now. Whoever holds it releases it later (``PluginHub.release``)."""
    DIGEST = "digest"
    """They get it in a summary later, from whoever makes it."""


class Way(Flag):
    """By which ways it doesn't reach them."""

    LIVE = auto()
    """Their connections, now and when they come back and read what they missed."""
    PUSH = auto()
    """Their devices."""
    ALL = LIVE | PUSH


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate's verdict on some users.

    ``users`` needn't be among those whom it is meant for: whoever is named doesn't get it, not even when he comes later
    and reads what he missed. ``reason`` is one word for machines and people, such as ``muted``: a-z, 0-9 and _, 40 at
    most; ``ValueError`` when it isn't.
    """

    action: Action
    users: UserSet
    reason: str
    way: Way = Way.ALL

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        if not isinstance(self.users, UserSet):
            raise ValueError("a verdict is about a UserSet")
        if not isinstance(self.reason, str) or _REASON.fullmatch(self.reason) is None:
            raise ValueError("a verdict's reason is one word of a-z, 0-9 and _, 40 characters at most")
        if not isinstance(self.action, Action) or not isinstance(self.way, Way) or not self.way:
            raise ValueError("a verdict has an Action and a Way")


def drop(users: UserSet, reason: str, way: Way = Way.ALL) -> Verdict:
    """They never get it."""
    return Verdict(Action.DROP, users, reason, way)


def hold(users: UserSet, reason: str, way: Way = Way.ALL) -> Verdict:
    """They get it later, when it is released."""
    return Verdict(Action.HOLD, users, reason, way)


def digest(users: UserSet, reason: str, way: Way = Way.ALL) -> Verdict:
    """They get it in a summary."""
    return Verdict(Action.DIGEST, users, reason, way)
