"""What plugins object to: asked before somebody subscribes, so that from then on his identity says it."""

from collections.abc import Iterable
from dataclasses import replace

from hubd.core.channel import Kind, parse_channel
from hubd.core.connection import Connection
from hubd.core.errors import Problem
from hubd.core.identity import Identity
from hubd.hub import Hub


async def without_denied(hub: Hub, identity: Identity, topics: Iterable[str]) -> Identity:
    """The identity without those of the topics that a plugin objects to; what is no topic is passed over.

    ``Problem`` ('unavailable') when a plugin that is to be asked failed.
    """
    hook = hub.hooks.authorize_subscribe
    if not hook.impls:
        return identity
    asked = {name: None for text in topics if (name := _topic(text)) is not None}
    fresh = replace(identity, denied=identity.denied.difference(asked))
    names = tuple(name for name in asked if fresh.may_subscribe(parse_channel(name)))
    if not names:
        return fresh
    denied = await hub.hooks.denied(hook, None, names, fresh, names)
    return replace(fresh, denied=fresh.denied.union(denied))


def topics_at_connect(hub: Hub, identity: Identity, asked: str) -> list[str]:
    """What somebody who connects will be subscribed to: what his address asks for, and his own durable topics."""
    return [*asked.split(","), *own_durable(hub, identity.user)]


def topics_at_renewal(hub: Hub, connection: Connection) -> list[str]:
    """What somebody with a fresh token may still not have: all that he has, also what he only watches."""
    return [*connection.topics, *(connection.watching or ()), *own_durable(hub, connection.identity.user)]


def own_durable(hub: Hub, user: str) -> list[str]:
    """The topics that a user is subscribed to for good by his own permission."""
    return [topic for topic, grant in hub.durables.of(user).items() if not grant.by_server]


def _topic(text: str) -> str | None:
    try:
        channel = parse_channel(text)
    except Problem:
        return None
    return channel.name if channel.kind is Kind.TOPIC else None
