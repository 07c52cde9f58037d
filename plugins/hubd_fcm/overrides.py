"""What a publish call may say about FCM alone, in its ``push.fcm``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hubd.plugin import FieldError, check_url

DATA_BYTES = 1024
"""How much the keys and values of ``data`` have together."""
OWN_KEYS = frozenset({"notification", "id", "tag", "url"})
"""Keys of the data that are the hub's."""
_RESERVED = frozenset({"from", "message_type", "collapse_key"})
_RESERVED_BEGINNINGS = ("google", "gcm")


def is_reserved(key: str) -> bool:
    """Whether FCM keeps this key of the data for itself."""
    return key in _RESERVED or key.lower().startswith(_RESERVED_BEGINNINGS)


def _data(values: dict[str, str]) -> dict[str, str]:
    for key in values:
        if not key or is_reserved(key):
            raise ValueError(f"the key {key[:100]!r} is one that FCM keeps for itself")
        if key in OWN_KEYS or key in SHOWING:
            raise ValueError(f"the key {key!r} is one that the hub sets")
    if sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > DATA_BYTES:
        raise ValueError(f"keys and values have more than {DATA_BYTES} bytes together")
    return values


def _picture(text: str) -> str:
    check_url(text)  # the phone loads it, not the hub; it's the same what is an address that anybody can load
    return text


Word = Annotated[str, Field(min_length=1, max_length=100)]


class Overrides(BaseModel):
    """``push.fcm`` of a publish call."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    title: Annotated[str, Field(max_length=200)] | None = None
    body: Annotated[str, Field(max_length=1000)] | None = None
    image: Annotated[str, Field(max_length=500), AfterValidator(_picture)] | None = None
    badge: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    sound: Word | None = None
    channel_id: Word | None = None
    icon: Word | None = None
    color: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")] | None = None
    click_action: Word | None = None
    data_only: bool = False
    priority: Literal["high", "normal"] | None = None
    data: Annotated[dict[str, str], AfterValidator(_data)] | None = None


SHOWING = ("title", "body", "image", "badge", "sound", "channel_id", "icon", "color", "click_action")
"""Those about how it is shown: an app that shows it by itself finds them in the data, under the same names."""


def wrong_in(overrides: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with ``push.fcm``."""
    try:
        Overrides.model_validate(dict(overrides))
    except ValidationError as error:
        return [
            FieldError(".".join(str(step) for step in details["loc"]), details["msg"].removeprefix("Value error, "))
            for details in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    return []
