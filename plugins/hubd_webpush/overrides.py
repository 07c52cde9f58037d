"""What a publish call may say for browsers alone: ``"push": {"webpush": {...}}``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hubd.plugin import FieldError, Push

Text = Annotated[str, Field(min_length=1, max_length=1000)]
Link = Annotated[str, Field(min_length=1, max_length=1000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Action(_Part):
    """A button on what the browser shows; ``url`` is where it leads."""

    action: Annotated[str, Field(min_length=1, max_length=64)]
    title: Annotated[str, Field(min_length=1, max_length=100)]
    icon: Link | None = None
    url: Link | None = None


class Overrides(_Part):
    """How the browser shows it: the options of ``showNotification``, and two headers."""

    title: Text | None = None
    body: Text | None = None
    icon: Link | None = None
    image: Link | None = None
    badge: Link | None = None
    actions: Annotated[list[Action], Field(max_length=5)] | None = None
    require_interaction: bool | None = None
    silent: bool | None = None
    renotify: bool | None = None
    lang: Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,35}$")] | None = None
    dir: Literal["auto", "ltr", "rtl"] | None = None
    vibrate: Annotated[list[Annotated[int, Field(ge=0, le=10_000)]], Field(max_length=100)] | None = None
    urgency: Literal["very-low", "low", "normal", "high"] | None = None
    topic: bool | None = None


HEADERS = ("urgency", "topic")
"""Those that the push service gets, and not the browser."""


LEAST = 512
"""Fewer bytes are no payload."""


def payload_of(push: Push, most: int) -> bytes:
    """What the worker gets, in at most ``most`` bytes: the notification's JSON, with what is said for browsers alone as
    ``hub_push``. Where both don't fit, the notification is cut down; where that isn't enough, it goes without."""
    own = _member(push.overrides)
    if not own or most - len(own) < LEAST:
        return push.data(most)
    return push.data(most - len(own))[:-1] + own + b"}"


def _member(overrides: Mapping[str, Any]) -> bytes:
    """What of them is the browser's, as a member of an object; empty, if there is nothing."""
    shown = {name: value for name, value in overrides.items() if name not in HEADERS and value is not None}
    return b',"hub_push":' + orjson.dumps(shown) if shown else b""


def wrong_overrides(overrides: Mapping[str, Any], most: int) -> list[FieldError]:
    """Everything that is wrong with them; what the browser gets of them has at most ``most`` bytes."""
    try:
        Overrides.model_validate(dict(overrides))
    except ValidationError as error:
        return [
            FieldError(
                ".".join(map(str, one["loc"])),
                "there is no such field" if one["type"] == "extra_forbidden" else one["msg"],
            )
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    if len(_member(overrides)) > most:
        return [FieldError("", f"is longer than {most} bytes, which leaves no room for the notification")]
    return []
