"""What a device gets: the whole notification where it fits, or a light one that says where to get the rest."""

import base64
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import orjson

from hubd.clock import Clock
from hubd.core.notification import Notification
from hubd.core.overrides import unpacked
from hubd.hooks.push import Device, Push, PushBackend
from hubd.push.capability import LATE_S, Capabilities

LEAST = 512
"""For how few bytes there is a payload."""
TITLE_BYTES, BODY_BYTES, URL_BYTES = 400, 1600, 1000
"""How much of them a push has at most, as JSON: no phone shows more, and there is room for the payload beside them."""
TAG_BYTES = 64
_LIGHT_BYTES = 4096
"""How much of a title or a body a light payload can have."""
_REMEMBERED = 256
_LIGHTS = 16
_MORE = "…"
_JOINER = "\u200d"  # what stands behind it is the rest of the same emoji


class Payloads:
    """Makes what is pushed; what is the same for all recipients once for each notification.

    ``backends``, by their platforms, say which overrides are no good after all: they came before the backend did.
    """

    def __init__(
        self, clock: Clock, capabilities: Capabilities, backends: Mapping[str, PushBackend] | None = None
    ) -> None:
        self._clock = clock
        self._capabilities = capabilities
        self._backends = backends or {}
        self._latest: OrderedDict[int, _Shared] = OrderedDict()

    def push_for(self, notification: Notification, device: Device, user_number: int | None) -> Push:
        """One notification on its way to one device of a user (by number; None: he has none)."""
        shared = self._shared(notification)
        user = device.user
        left_s = max(0.0, notification.expires_at - self._clock.monotonic())
        expires_at = int(self._clock.now() + left_s)
        channel = notification.channel_toward(user, user_number)
        return Push(
            id=notification.id,
            type=notification.type,
            priority=notification.priority,
            title=shared.title,
            body=shared.body,
            url=shared.url,
            collapse_key=shared.collapse_key,
            tag=shared.collapse_key or notification.id,
            expires_at=expires_at,
            ttl_s=int(left_s),
            overrides=self._overrides(shared, device.platform),
            data=partial(self._data, shared, user, channel, expires_at),
        )

    def _data(self, shared: "_Shared", user: str, channel: str | None, expires_at: int, most: int) -> bytes:
        if most < LEAST:
            raise ValueError(f"a payload needs {LEAST} bytes")
        notification = shared.notification
        capability = self._capabilities.sign(notification.id, user, expires_at + LATE_S)
        own = _member("hub_capability", capability) + shared.tag_member + b"}"
        whole = notification.body + (b"" if channel is None else _member("channel", channel)) + own
        return whole if len(whole) <= most else shared.light(most - len(own)) + own

    def _overrides(self, shared: "_Shared", platform: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = shared.overrides.get(platform, {})
        if found and platform not in shared.checked:
            shared.checked.append(platform)
            backend = self._backends.get(platform)
            if backend is not None and backend.check_overrides(found):
                found = shared.overrides[platform] = {}
        return found

    def _shared(self, notification: Notification) -> "_Shared":
        latest = self._latest
        key = id(notification)  # no other one's, as long as it is in there
        shared = latest.get(key)
        if shared is None:
            shared = latest[key] = _Shared(notification)
            if len(latest) > _REMEMBERED:
                latest.popitem(last=False)
        else:
            latest.move_to_end(key)
        return shared

    def forget(self, notification: Notification) -> None:
        """Nobody is pushed it any more."""
        self._latest.pop(id(notification), None)


class _Shared:
    """What is the same for all who get a notification."""

    __slots__ = (
        "_light_body", "_light_title", "_light_url", "_lights",
        "body", "checked", "collapse_key", "notification", "overrides", "tag_member", "title", "url",
    )  # fmt: skip

    def __init__(self, notification: Notification) -> None:
        self.notification = notification
        payload: dict[str, Any] = orjson.loads(notification.body + b"}")
        title, body, url = (_text(payload.get(name)) for name in ("title", "body", "url"))
        self._light_title, self._light_body = cut(title, _LIGHT_BYTES), cut(body, _LIGHT_BYTES)
        self._light_url = url if _size(url) <= _LIGHT_BYTES else ""
        self._lights: dict[int, bytes] = {}
        self.title = cut(title or notification.type, TITLE_BYTES)
        self.body = cut(body, BODY_BYTES)
        self.url = url if _size(url) <= URL_BYTES else ""  # a part of it would lead elsewhere
        self.collapse_key = _collapse_key(notification)
        tag = self.collapse_key
        self.tag_member = b"" if tag is None else _member("hub_tag", tag)
        self.overrides = unpacked(notification.push)
        self.checked: list[str] = []

    def light(self, room: int) -> bytes:
        """The light one, without its last brace, in at most ``room`` bytes."""
        made = self._lights.get(room)
        if made is None:
            if len(self._lights) >= _LIGHTS:
                self._lights.clear()
            made = self._lights[room] = self._make_light(room)
        return made

    def _make_light(self, room: int) -> bytes:
        notification = self.notification
        made = b'{"id":"%b"' % notification.id.encode() + _member("fetch", True)
        for name, value in (
            ("type", notification.type), ("priority", notification.priority.word), ("sent_at", notification.sent_at),
        ):  # fmt: skip
            member = _member(name, value)
            if len(made) + len(member) <= room:
                made += member
        url = _member("url", self._light_url)
        if self._light_url and len(url) <= (room - len(made)) // 2:
            made += url
        left = room - len(made) - len(b',"title":""') - len(b',"body":""')
        title = cut(self._light_title, max(left // 3, left - _size(self._light_body)))
        if title:
            made += _member("title", title)
            left -= _size(title)
        body = cut(self._light_body, left)
        return made + _member("body", body) if body else made


def cut(text: str, most: int) -> str:
    """The text as far as it takes at most ``most`` bytes as JSON, the quotes not counted; "…" stands for the rest."""
    if len(text) <= most and _size(text) <= most:
        return text
    text = text[: max(0, most)]
    room = most - len(_MORE.encode())
    end = bisect_right(range(len(text) + 1), room, key=lambda length: _size(text[:length])) - 1
    kept = text[: max(0, end)].rstrip(_JOINER + " ")
    return kept + _MORE if kept else ""


def _size(text: str) -> int:
    return len(orjson.dumps(text)) - 2


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _member(name: str, value: Any) -> bytes:
    return b',"%b":%b' % (name.encode(), orjson.dumps(value))


def _collapse_key(notification: Notification) -> str | None:
    """The publisher's, in a form that fits everywhere: users can't take what a server has published off a screen."""
    key, sender = notification.collapse_key, notification.sender
    if key is None or (sender is None and _size(key) <= TAG_BYTES):
        return key
    said = key.encode() if sender is None else b"%b\0%b" % (sender.encode(), key.encode())
    digest = blake2b(said, digest_size=24, person=b"hubd tag").digest()
    return base64.urlsafe_b64encode(digest).decode()
