"""What is told about what has happened: from the arguments of a hook to the JSON of one event. No I/O in here."""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from random import Random
from typing import Any

from hubd.plugin import Action, ConnectionInfo, Device, Notification, State, Verdict, Way
from hubd_webhooks.config import EventType

LISTED = 100
"""How many channels, users, ids or devices one event names; there is always a count of all of them, too."""
PAYLOAD_BYTES = 256 * 1024
"""A notification that is longer than that is left out of its event."""
REASON_CHARS = 200

EVENT_OF: dict[Action, EventType] = {Action.DROP: "dropped", Action.HOLD: "held", Action.DIGEST: "digested"}
"""What a gate did, as an event."""

Data = dict[str, Any]

_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def about_notification(notification: Notification) -> Data:
    """What each event about a notification says of it."""
    return {
        "id": notification.id,
        "type": notification.type,
        "channels": list(islice(notification.channels, LISTED)),
        "channel_count": len(notification.channels),
    }


def published(notification: Notification, live: int) -> Data:
    """A notification was published; without what it says."""
    return {
        **about_notification(notification),
        "priority": notification.priority.word,
        "persistence": notification.persistence.value,
        "sent_at": notification.sent_at,
        "sender": notification.sender,
        "live": live,
    }


def withheld(notification: Notification, plugin: str, verdict: Verdict, user_of: Callable[[int], str | None]) -> Data:
    """A gate kept a notification from users."""
    users = (user_of(number) for number in islice(verdict.users, LISTED))
    return {
        **about_notification(notification),
        "plugin": plugin,
        "reason": verdict.reason,
        "ways": [way.name.lower() for way in (Way.LIVE, Way.PUSH) if way in verdict.way and way.name],
        "users": [user for user in users if user is not None],
        "user_count": len(verdict.users),
    }


def acked(user: str, ids: Sequence[str]) -> Data:
    """A user was shown notifications."""
    return {"user": user, "ids": list(ids[:LISTED]), "id_count": len(ids)}


def connected(connection: ConnectionInfo) -> Data:
    """A connection came. Its address is nobody's business here."""
    return {"user": connection.user, "connection": connection.id, "transport": connection.transport}


def disconnected(connection: ConnectionInfo, reason: str) -> Data:
    """A connection went."""
    return {**connected(connection), "reason": reason[:REASON_CHARS]}


def subscription(user: str, topic: str, connection: ConnectionInfo | None) -> Data:
    """A subscription began or ended."""
    return {"user": user, "topic": topic, "connection": None if connection is None else connection.id}


def presence(user: str, before: State, after: State) -> Data:
    """A user's presence changed."""
    return {"user": user, "before": before.value, "after": after.value}


def gone(user: str, devices: Sequence[Device], reason: str) -> Data:
    """A push service doesn't know devices any more. Their addresses are secrets, so they aren't told."""
    named = [{"id": device.id, "platform": device.platform} for device in devices[:LISTED]]
    return {"user": user, "devices": named, "device_count": len(devices), "reason": reason[:REASON_CHARS]}


def new_id(prefix: str, random: Random) -> str:
    """An id that nothing else has."""
    return f"{prefix}_{random.getrandbits(128):032x}"


def encoded(id: str, type_: str, at_ms: int, data: Data) -> bytes:
    """One event as JSON."""
    event = {"id": id, "type": type_, "at": at_ms, "data": data}
    return _json(event).encode()


def with_payload(data: Data, notification: Notification) -> Data:
    """The same with what the notification says, if that isn't too long."""
    if len(notification.body) > PAYLOAD_BYTES:
        return {**data, "payload": None, "payload_left_out": True}
    return {**data, "payload": notification.payload}


def body_of(events: Iterable[bytes]) -> bytes:
    """The body of one call."""
    return b'{"events":[' + b",".join(events) + b"]}"
