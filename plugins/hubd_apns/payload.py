"""What APNs is given for a push: the payload that the phone shows, and the headers beside it. No I/O in here."""

import base64
import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import orjson

from hubd.plugin import Device, Priority, Push
from hubd_apns.overrides import NONE, Overrides, Sound

PAYLOAD_BYTES = 4096
COLLAPSE_ID_BYTES = 64
DATA_BYTES = 512
"""What is left for the app's data at least: so much the hub needs for the light form of a notification."""
TITLE_BYTES = 400
BODY_BYTES = 1600
_IDS = UUID("5b1f1a1c-5f0e-5f43-9d0e-6c7b5a0c0a11")
_MORE = "…"


class _Urgency(NamedTuple):
    priority: str
    interruption_level: str
    rings: bool


_URGENCY = {
    Priority.CRITICAL: _Urgency("10", "time-sensitive", True),
    Priority.IMPORTANT: _Urgency("10", "active", True),
    Priority.INFORMATIONAL: _Urgency("5", "passive", False),
}


def headers_of(device: Device, push: Push, topic: str, overrides: Overrides = NONE) -> dict[str, str]:
    """The headers that begin with ``apns-``."""
    is_background = overrides.push_type == "background"
    return {
        # The same each time that this is tried for this device, and another for every other device.
        "apns-id": str(uuid5(_IDS, f"{push.id}\n{device.id}")),
        "apns-topic": topic,
        "apns-push-type": overrides.push_type,
        "apns-priority": "5" if is_background else _URGENCY[push.priority].priority,
        "apns-expiration": str(push.expires_at if push.ttl_s > 0 else 0),
        "apns-collapse-id": collapse_id(push.tag),
    }


def collapse_id(tag: str) -> str:
    """The tag, or a hash of it when it is too long or no header could carry it."""
    if len(tag) <= COLLAPSE_ID_BYTES and tag.isascii() and tag.isprintable() and tag == tag.strip() != "":
        return tag
    return base64.urlsafe_b64encode(hashlib.sha256(tag.encode()).digest()[:24]).decode()


def payload_of(push: Push, overrides: Overrides = NONE, *, least: bool = False) -> bytes:
    """The JSON for one device, of at most 4,096 bytes; ``least``: as small as it can be.

    The data of the app gets what the visible part leaves, and that leaves enough: long texts are cut.
    """
    beside: dict[str, Any] = {}
    if overrides.image:
        beside["image"] = overrides.image
    if overrides.data is not None:
        beside["data"] = overrides.data
    aps = _aps(push, overrides)
    fixed = len(orjson.dumps({"aps": aps, **beside, "notification": {}})) - 2
    alert = _alert(push, overrides, PAYLOAD_BYTES - DATA_BYTES - fixed, DATA_BYTES if least else BODY_BYTES)
    if alert:
        aps = {"alert": alert, **aps}
    head = orjson.dumps({"aps": aps, **beside})[:-1] + b',"notification":'
    most = DATA_BYTES if least else PAYLOAD_BYTES - len(head) - 1
    return b"%b%b}" % (head, push.data(most))


def _aps(push: Push, overrides: Overrides) -> dict[str, Any]:
    """The part that Apple reads, but for the texts."""
    if overrides.push_type == "background":
        return {"content-available": 1}
    urgency = _URGENCY[push.priority]
    aps: dict[str, Any] = {"interruption-level": overrides.interruption_level or urgency.interruption_level}
    if overrides.badge is not None:
        aps["badge"] = overrides.badge
    if isinstance(overrides.sound, Sound):
        sound = overrides.sound
        aps["sound"] = {"name": sound.name, "critical": int(sound.critical), "volume": sound.volume}
    elif overrides.sound is None and urgency.rings:
        aps["sound"] = "default"
    elif overrides.sound:
        aps["sound"] = overrides.sound
    if overrides.category:
        aps["category"] = overrides.category
    if overrides.thread_id:
        aps["thread-id"] = overrides.thread_id
    if overrides.relevance_score is not None:
        aps["relevance-score"] = overrides.relevance_score
    if overrides.image:
        aps["mutable-content"] = 1
    if overrides.content_available:
        aps["content-available"] = 1
    return aps


def _alert(push: Push, overrides: Overrides, room: int, body_bytes: int) -> Mapping[str, str]:
    """The texts that are shown, within so many bytes; nothing for a push that shows nothing."""
    if overrides.push_type == "background":
        return {}
    texts = {
        "title": (overrides.title or push.title, TITLE_BYTES),
        "subtitle": (overrides.subtitle, TITLE_BYTES),
        "body": (push.body if overrides.body is None else overrides.body, body_bytes),
    }
    alert: dict[str, str] = {}
    room -= len(b'"alert":{},')
    for name, (text, most) in texts.items():
        room -= len(f'"{name}":"",')
        if shown := cut(text, min(most, room)):
            alert[name] = shown
            room -= _size(shown)
    return alert


def cut(text: str, most: int) -> str:
    """The text as far as it takes at most ``most`` bytes within JSON; "…" stands for the rest."""
    if len(text) <= most and _size(text) <= most:
        return text
    room = most - len(_MORE.encode())
    end = bisect_right(range(min(len(text), max(0, most)) + 1), room, key=lambda length: _size(text[:length])) - 1
    return text[:end].rstrip() + _MORE if end > 0 else ""


def _size(text: str) -> int:
    return len(orjson.dumps(text)) - 2
