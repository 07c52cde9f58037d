"""What tests of the core are made of: notifications that are published already, connections that lead nowhere."""

from typing import Any

import orjson

from hubd.core.codec import Form
from hubd.core.connection import Connection
from hubd.core.errors import Disconnect
from hubd.core.identity import Identity
from hubd.core.notification import Notification, Persistence, Priority
from hubd.core.registry import Registry
from hubd.core.users import UserNumbers
from hubd.testing import JSON_FORM, identity

EPOCH = "epoch00000"


def published(*to: str, sequence: int = 1, id: str = "", ttl_s: float = 1e6, **more: Any) -> Notification:
    """A notification with its place in the sequence; it never expires unless told to."""
    options: dict[str, Any] = {
        "payload": {"type": "alert"},
        "priority": Priority.IMPORTANT,
        "persistence": Persistence.BUFFERABLE,
        "sent_at": 1_800_000_000_000,
    } | more
    made = Notification(
        id=id or f"n{sequence}",
        channels={name: place for place, name in enumerate(to)},
        expires_at=ttl_s,
        **options,
    )
    made.sequence = sequence
    made.cursor = f"{EPOCH}-{sequence}"
    return made


class Idle(Connection):
    """A connection that is looked at by its outbox; nothing is ever written."""

    def __init__(
        self, who: Identity | str = "ada", *, form: Form = JSON_FORM, control: bool = True, now: float = 0.0
    ) -> None:
        who = identity(who) if isinstance(who, str) else who
        super().__init__("", who, form, control=control, acks=control, now=now)
        self.ended: Disconnect | None = None

    def end(self, why: Disconnect, retry_after: float = 0.0) -> None:
        self.ended = why

    def take(self) -> list[dict[str, Any]]:
        """What is in the outbox (of a JSON connection), decoded; it is empty then."""
        found = [orjson.loads(frame) for frame in self.outbox]
        self.outbox.clear()
        return found

    def take_ids(self) -> list[str]:
        """The ids of the notifications that are in the outbox, which is empty then."""
        return [frame["id"] for frame in self.take() if "hub" not in frame]


def joined(*topics: str, user: str = "ada", registry: Registry | None = None, since: int = 0, **more: Any) -> Idle:
    """A connection that is in a registry and subscribed to topics."""
    connection = Idle(user, **more)
    registry = registry or Registry(UserNumbers())
    registry.add(connection)
    connection.since = since
    for topic in topics:
        registry.join(connection, topic, since)
    return connection
