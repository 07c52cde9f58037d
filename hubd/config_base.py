"""What the declarations of options are made of: the table, the kinds of values, the marks."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from hubd import config_checks as checks

Seconds = Annotated[float, Field(allow_inf_nan=False), AfterValidator(checks.whole_if_integral)]
Host = Annotated[str, AfterValidator(checks.host)]
Origin = Annotated[str, AfterValidator(checks.origin)]
Network = Annotated[str, AfterValidator(checks.network)]
TopicPattern = Annotated[str, AfterValidator(checks.topic_pattern)]
ChannelPattern = Annotated[str, AfterValidator(checks.channel_pattern)]
PLUGIN_NAME = re.compile("[a-z][a-z0-9_-]*")
PluginName = Annotated[str, Field(pattern=f"^{PLUGIN_NAME.pattern}$")]
Table = Annotated[Any, AfterValidator(checks.table)]
"""A table with options that somebody else knows."""
ListOf = Field(strict=False)
"""Marks a tuple that TOML gives as a list: strictness would ask for a Python tuple."""

NOT_YET: dict[str, Any] = {"used": False}
"""``json_schema_extra`` of an option that is checked, but that this version doesn't act upon."""
RESTART: dict[str, Any] = {"restart": True}
"""``json_schema_extra`` of an option that only a restart changes; all others are taken over by a reload."""


class Section(BaseModel):
    """A table of the config: frozen, without unknown keys, without conversions, silent about what was put in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def unused(self, prefix: str) -> Iterator[str]:
        """The paths of the options in here that were changed, and that this version doesn't act upon."""
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            not_yet = isinstance(extra, dict) and extra.get("used") is False
            if not_yet and name in self.model_fields_set and getattr(self, name) != field.get_default():
                yield f"{prefix}.{name}"


def raise_at(errors: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
    """Raise all these (path, message) as one validation error, if there are any."""
    details = [
        InitErrorDetails(type=PydanticCustomError("value_error", "{why}", {"why": message}), loc=path, input=None)
        for path, message in errors
    ]
    if details:
        raise ValidationError.from_exception_data("config", details)
