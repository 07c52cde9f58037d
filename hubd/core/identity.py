"""Who somebody is and what he may do, once that has been proved."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hubd.core.channel import Channel, Kind, Patterns, is_user_id, patterns
from hubd.core.errors import Problem
from hubd.core.notification import PRIORITY_OF, Priority


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user with the claims of his token.

    ``expires_at`` and ``issued_at`` are Unix seconds; ``expires_at`` None never expires (dev mode), ``issued_at``
    None means that the token doesn't say.
    """

    user: str
    topics: Patterns
    publish: Patterns
    max_priority: Priority
    expires_at: float | None
    issued_at: float | None
    tags: tuple[str, ...] = ()
    denied: frozenset[str] = frozenset()
    """Topics that ``topics`` would allow, and that a plugin objects to."""

    def may_subscribe(self, channel: Channel) -> bool:
        """Whether he may receive this channel: everybody the broadcast and his own, topics as granted."""
        if channel.kind is Kind.TOPIC:
            return self.topics.match(channel.name) and channel.name not in self.denied
        return channel.kind is Kind.BROADCAST or channel.user == self.user

    def is_revoked(self, not_before: float | None) -> bool:
        """Whether a revocation (Unix seconds; None: there was none) covers what this identity was proved with."""
        return not_before is not None and (self.issued_at is None or self.issued_at <= not_before)

    def may_publish(self, channel: Channel) -> bool:
        """Whether his token lets him publish to this channel."""
        return self.publish.match(channel.name)


def identity_of(
    user: str,
    *,
    topics: Iterable[str] = (),
    publish: Iterable[str] = (),
    max_priority: str = "important",
    expires_at: float | None = None,
    issued_at: float | None = None,
    tags: Iterable[str] = (),
) -> Identity:
    """An identity, as an application describes it; ``ValueError`` says what is wrong with it.

    ``topics`` and ``publish`` are patterns of what he may subscribe and publish to. ``expires_at`` and ``issued_at``
    are Unix seconds: his connections end then, and a revocation covers what was issued before it; None: never, and now.
    """
    if not is_user_id(user):
        raise ValueError("a user id is 1 to 64 of A-Z a-z 0-9 _ . @ | + = -")
    for name, when in (("expires_at", expires_at), ("issued_at", issued_at)):
        if when is not None and (
            isinstance(when, bool) or not isinstance(when, int | float) or not math.isfinite(when)
        ):
            raise ValueError(f"{name} is Unix time in seconds")
    if max_priority not in PRIORITY_OF:
        raise ValueError(f"max_priority is one of {', '.join(PRIORITY_OF)}")
    try:
        may_have, may_publish = patterns(tuple(topics)), patterns(tuple(publish))
    except Problem as problem:
        raise ValueError(problem.message) from None
    return Identity(user, may_have, may_publish, PRIORITY_OF[max_priority], expires_at, issued_at, tuple(tags))


WARN_S = 60.0


def warn_at(identity: Identity, now: float) -> float:
    """When to say that a token runs out (Unix seconds): a minute before, or with the last fifth of a short one."""
    if identity.expires_at is None:
        return math.inf
    return identity.expires_at - min(WARN_S, max(0.0, identity.expires_at - now) / 5)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An application's server, known by its key: what it may do and to which channels."""

    id: str
    rights: frozenset[str]
    channels: Patterns
