"""What a publish call can say about Apple's devices alone: its ``push.apns``."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from hubd.plugin import FieldError

DATA_BYTES = 1024
_NO_URL = re.compile(r"""[^!-~]|["\\]""")  # what no address has as it is, and what would grow in JSON


def _image(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is no address") from None
    if parts.scheme != "https" or not parts.hostname or _NO_URL.search(url):
        raise ValueError("has to be an https address")
    return url


def _data(data: dict[str, Any]) -> dict[str, Any]:
    if len(orjson.dumps(data)) > DATA_BYTES:
        raise ValueError(f"has more than {DATA_BYTES} bytes as JSON")
    return data


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Sound(_Strict):
    """A sound with more to it than a name. ``critical``: Apple has to have allowed the app that."""

    name: str = Field("default", min_length=1, max_length=60)
    critical: bool = False
    volume: float = Field(1.0, ge=0, le=1)


class Overrides(_Strict):
    """The fields of ``push.apns``; what isn't given comes from the notification."""

    title: str = Field("", max_length=400)
    subtitle: str = Field("", max_length=400)
    body: str | None = Field(None, max_length=2000)
    badge: int | None = Field(None, ge=0, le=999_999_999)
    sound: Annotated[str, Field(max_length=60)] | Sound | None = None
    """Empty: none. None: the usual one, unless the notification is informational."""
    category: str = Field("", max_length=60)
    thread_id: str = Field("", max_length=60)
    image: Annotated[str, Field(max_length=600), AfterValidator(_image)] | None = None
    interruption_level: Literal["passive", "active", "time-sensitive", "critical"] | None = None
    relevance_score: float | None = Field(None, ge=0, le=1)
    content_available: bool = False
    push_type: Literal["alert", "background"] = "alert"
    data: Annotated[dict[str, Any], AfterValidator(_data)] | None = None

    @model_validator(mode="after")
    def _check_background(self) -> "Overrides":
        shown = ("title", "subtitle", "body", "badge", "sound", "category", "image", "interruption_level")
        if self.push_type == "background" and (given := [name for name in shown if name in self.model_fields_set]):
            raise ValueError(f"a background push shows nothing: {', '.join(given)} can't be given")
        return self


NONE = Overrides()


def read_overrides(overrides: Mapping[str, Any]) -> Overrides:
    """What was accepted before; nothing of it where it isn't fine after all."""
    if not overrides:
        return NONE
    try:
        return Overrides.model_validate(overrides)
    except ValidationError:
        return NONE


def wrong_overrides(overrides: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with it, field by field."""
    try:
        Overrides.model_validate(overrides)
    except ValidationError as error:
        return [FieldError(_path(one["loc"]), _message(one)) for one in error.errors(include_url=False)]
    return []


def _path(location: tuple[int | str, ...]) -> str:
    # Within a choice of kinds pydantic names the kind, too: the field is what people know.
    first, *rest = [str(part)[:64] for part in location] or [""]
    return ".".join([first, *(part for part in rest if part in Sound.model_fields)])


def _message(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    if error["type"] == "model_type":
        return "Input should be a name, or an object with name, critical and volume"
    return str(error["msg"]).removeprefix("Value error, ")
