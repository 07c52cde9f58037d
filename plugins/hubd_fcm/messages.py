"""What FCM is given: made and checked by firebase-admin once for each notification, with little put in per device.

A *data message* reaches the app, which shows it. A *notification message* is shown by the system while the app is in
the background, but FCM collapses it with any other one: a phone that was off gets the last of them alone.
"""

import base64
from collections import OrderedDict
from hashlib import blake2b
from typing import Any

import orjson

from hubd.plugin import Priority, Push
from hubd_fcm.overrides import SHOWING, Overrides

MESSAGE_BYTES = 4096
"""What FCM takes. It counts keys and values; here all of the message is, but for the device's token, so it is less."""
DATA_ROOM = 1100
"""What is left for the notification itself at least: a light one has 512 bytes, and twice that within a string."""
LEAST_DATA = 512
APNS_ID_BYTES = 64
LONGEST_TTL_S = 2_419_200
"""Four weeks, the longest time for which FCM keeps a message."""
REMEMBERED = 64
_NO_OVERRIDES = Overrides()
_ANDROID_HIGH = {Priority.CRITICAL: "high", Priority.IMPORTANT: "high", Priority.INFORMATIONAL: "normal"}
_URGENCY = {Priority.CRITICAL: "high", Priority.IMPORTANT: "normal", Priority.INFORMATIONAL: "low"}
_INTERRUPTION = {Priority.CRITICAL: "time-sensitive", Priority.IMPORTANT: "active", Priority.INFORMATIONAL: "passive"}


class Messages:
    """Makes messages with firebase-admin's ``messaging``."""

    def __init__(self, messaging: Any, *, notification: bool, channel_id: str) -> None:
        self._messaging = messaging
        self._notification = notification
        self._channel_id = channel_id
        self._latest: OrderedDict[str, tuple[tuple[Any, ...], Shared]] = OrderedDict()

    def shared(self, push: Push) -> "Shared":
        """What is the same for all devices that get this; ``ValueError`` when firebase-admin doesn't take it."""
        said = push[:-1]  # all but what differs from user to user
        known = self._latest.get(push.id)
        if known is not None and known[0] == said:
            return known[1]
        shared = self._make(push)
        self._latest[push.id] = (said, shared)
        if len(self._latest) > REMEMBERED:
            self._latest.popitem(last=False)
        return shared

    def _make(self, push: Push) -> "Shared":
        overrides = Overrides.model_validate(dict(push.overrides)) if push.overrides else _NO_OVERRIDES
        is_shown = self._notification and not overrides.data_only
        title, body = overrides.title or push.title, push.body if overrides.body is None else overrides.body
        url = push.url
        while True:
            message = self._message(push, overrides, is_shown, title, body, url)
            shared = Shared(message)
            short_by = DATA_ROOM - shared.room
            if short_by <= 0 or not (url or body or len(title) > 1):
                return shared
            if url:  # it is in the notification, too
                url = ""
            elif body:
                body = shortened(body, len(body.encode()) - short_by)
            else:
                title = shortened(title, len(title.encode()) - short_by) or title[0]

    def _message(self, push: Push, overrides: Overrides, is_shown: bool, title: str, body: str, url: str) -> Any:
        messaging = self._messaging
        data = dict(overrides.data or {})
        if not is_shown:  # the app shows it, by what is set for that
            data |= {name: str(value) for name in SHOWING if (value := getattr(overrides, name)) is not None}
            if self._channel_id and overrides.channel_id is None:
                data["channel_id"] = self._channel_id
        data |= {"id": push.id, "tag": push.tag}
        if url:
            data["url"] = url
        notification = messaging.Notification(title=title, body=body, image=overrides.image) if is_shown else None
        message = messaging.Message(
            data=data,
            notification=notification,
            android=self._android(push, overrides, is_shown),
            apns=self._apns(push, overrides, title, body),
            webpush=self._webpush(push, url, is_shown),
        )
        message.token = "-"  # noqa: S105 - each device's own takes its place; set like this it doesn't warn
        return message

    def _android(self, push: Push, overrides: Overrides, is_shown: bool) -> Any:
        notification = None
        if is_shown:
            notification = self._messaging.AndroidNotification(
                tag=push.tag,
                channel_id=overrides.channel_id or self._channel_id or None,
                sound=overrides.sound,
                icon=overrides.icon,
                color=overrides.color,
                click_action=overrides.click_action,
                notification_count=overrides.badge,
            )
        return self._messaging.AndroidConfig(
            priority=overrides.priority or _ANDROID_HIGH[push.priority],
            ttl=ttl_s(push),
            collapse_key=push.collapse_key,
            notification=notification,
        )

    def _apns(self, push: Push, overrides: Overrides, title: str, body: str) -> Any:
        """For iOS phones, which show it by themselves unless nothing is to be shown."""
        messaging = self._messaging
        headers = {
            "apns-collapse-id": _apns_id(push.tag),
            "apns-expiration": str(push.expires_at if push.ttl_s > 0 else 0),
        }
        if overrides.data_only:
            headers |= {"apns-priority": "5", "apns-push-type": "background"}
            aps = messaging.Aps(content_available=True, badge=overrides.badge)
        else:
            is_high = (overrides.priority or _ANDROID_HIGH[push.priority]) == "high"
            headers["apns-priority"] = "10" if is_high else "5"
            aps = messaging.Aps(
                alert=messaging.ApsAlert(title=title, body=body or None),
                badge=overrides.badge,
                sound=overrides.sound,
                custom_data={"interruption-level": _INTERRUPTION[push.priority]},
            )
        return messaging.APNSConfig(headers=headers, payload=messaging.APNSPayload(aps=aps))

    def _webpush(self, push: Push, url: str, is_shown: bool) -> Any:
        link = url if is_shown and url.startswith("https://") else None
        return self._messaging.WebpushConfig(
            headers={"Urgency": _URGENCY[push.priority], "TTL": str(ttl_s(push))},
            fcm_options=self._messaging.WebpushFCMOptions(link=link) if link else None,
        )


class Shared:
    """A message without its token and the notification's own text, and the place for both."""

    __slots__ = ("_after", "_before", "_message", "room")

    def __init__(self, message: Any) -> None:
        self._message = message
        encoded: dict[str, Any] = orjson.loads(str(message))
        del encoded["token"]
        data = orjson.dumps(encoded.pop("data"))
        self._before = b'{"message":' + orjson.dumps(encoded)[:-1] + b',"data":' + data[:-1] + b',"notification":'
        self._after = b'},"token":'
        self.room = MESSAGE_BYTES - len(self._before) + len(b'{"message":') - len(b'""}}')

    def _fitting(self, push: Push) -> tuple[str, bytes]:
        """The notification for this user, and the same as a JSON string, in which it is longer than by itself."""
        room = self.room + len(b'""')
        most = self.room
        while True:
            text = push.data(most).decode()
            quoted = orjson.dumps(text)
            if len(quoted) <= room or most == LEAST_DATA:
                return text, quoted
            most = max(LEAST_DATA, most - (len(quoted) - room))

    def encoded(self, push: Push, token: str) -> bytes:
        """The body of the call that brings it to one device."""
        return b"".join((self._before, self._fitting(push)[1], self._after, orjson.dumps(token), b"}}"))

    def complete(self, messaging: Any, push: Push, token: str) -> Any:
        """The message for one device, as firebase-admin has it."""
        same = self._message
        message = messaging.Message(
            data={**same.data, "notification": self._fitting(push)[0]},
            notification=same.notification,
            android=same.android,
            apns=same.apns,
            webpush=same.webpush,
        )
        message.token = token
        return message


def ttl_s(push: Push) -> int:
    """For how long FCM may keep it."""
    return min(max(push.ttl_s, 0), LONGEST_TTL_S)


def shortened(text: str, most: int) -> str:
    """As much of it as has at most so many bytes."""
    return text.encode()[: max(0, most)].decode(errors="ignore")


def _apns_id(tag: str) -> str:
    raw = tag.encode()
    if len(raw) <= APNS_ID_BYTES:
        return tag
    return base64.urlsafe_b64encode(blake2b(raw, digest_size=24).digest()).decode()
