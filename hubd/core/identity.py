"""Who somebody is and what he may do, once that has been proved."""

import math
from dataclasses import dataclass

from hubd.core.channel import Channel, Kind, Patterns
from hubd.core.notification import Priority


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

    def may_subscribe(self, channel: Channel) -> bool:
        """Whether he may receive this channel: everybody the broadcast and his own, topics as granted."""
        if channel.kind is Kind.TOPIC:
            return self.topics.match(channel.name)
        return channel.kind is Kind.BROADCAST or channel.user == self.user

    def may_publish(self, channel: Channel) -> bool:
        """Whether his token lets him publish to this channel."""
        return self.publish.match(channel.name)


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
