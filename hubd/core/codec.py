"""One notification becomes its frame per wire form: made once, when first needed, shared by all who get it."""

from collections.abc import Callable
from typing import Any, Literal

import msgpack
import orjson

from hubd.core.notification import Notification

Encoding = Literal["json", "msgpack"]
_pack: Callable[[Any], bytes] = msgpack.Packer().pack


class Form:
    """A wire form: how objects are encoded, and how a transport wraps the bytes.

    ``wrap(data, cursor)`` gives the bytes that go on the wire; a control frame has an empty cursor. Where clients don't
    ack, ``prove(sequence)`` gives what goes out behind a notification to be answered by whoever has got it.
    """

    __slots__ = ("encoding", "name", "prove", "wrap")

    def __init__(
        self,
        name: str,
        encoding: Encoding,
        wrap: Callable[[bytes, str], bytes],
        prove: Callable[[int], bytes] | None = None,
    ) -> None:
        self.name = name
        self.encoding = encoding
        self.wrap = wrap
        self.prove = prove

    def control(self, fields: dict[str, Any]) -> bytes:
        """A control frame or reply in this form."""
        return self.wrap(encode(fields, self.encoding), "")


class ControlFrame:
    """A control frame for any number of connections: encoded once in each form that one of them has."""

    __slots__ = ("_fields", "_frames")

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields
        self._frames: dict[Form, bytes] = {}

    def of(self, form: Form) -> bytes:
        """The frame in a form."""
        frame = self._frames.get(form)
        if frame is None:
            frame = self._frames[form] = form.control(self._fields)
        return frame


def encode(value: Any, encoding: Encoding) -> bytes:
    """The value as bytes of that encoding."""
    return orjson.dumps(value) if encoding == "json" else _pack(value)


def notification_json(notification: Notification, channel: str) -> bytes:
    """The notification as a JSON object, as those see it who are reached by this channel."""
    return b'%b,"channel":"%b","cursor":"%b"}' % (notification.body, channel.encode(), notification.cursor.encode())


def frame_of(notification: Notification, channel: str, form: Form) -> bytes:
    """Its frame in a form; kept with the notification, unless it goes to many channels and so has many frames."""
    frames = notification.frames
    if frames is not None and (frame := frames.get(form)) is not None:
        return frame
    data = notification_json(notification, channel)
    if form.encoding == "msgpack":
        data = _pack(orjson.loads(data))
    frame = form.wrap(data, notification.cursor)
    if form.prove is not None and notification.wants_proof:
        frame += form.prove(notification.sequence)
    if len(notification.channels) == 1:
        if frames is None:
            frames = notification.frames = {}
        frames[form] = frame
    return frame


def channel_for(notification: Notification, names: Any) -> str | None:
    """By which of its channels somebody subscribed to ``names`` is reached: the first such in `to`."""
    channels = notification.channels
    if len(channels) == 1:
        (only,) = channels
        return only if only in names else None
    shared = [name for name in names if name in channels] if len(names) < len(channels) else None
    if shared is None:
        return next((name for name in channels if name in names), None)
    return min(shared, key=channels.__getitem__, default=None)
