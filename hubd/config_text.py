"""The commented ``config.toml``, written from the declaration of the options."""

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from hubd.config_base import Section
from hubd.config_options import ApiKeyEntry, Config, JwtKey, TypeOptions

_WIDTH = 110
_HEADER = """\
# hubd's configuration. Every option is here with its default: change what you need, delete what you don't.
# Each one can also be set in the environment, as HUBD_SECTION__KEY (HUBD_LIMITS__PING_S=5; lists as JSON),
# which beats this file; what is given on the command line beats both. `hubd check-config` checks all of it.
# Lines that begin with # and a letter or a bracket, without a space, are examples to uncomment."""
_PLUGINS = """\
# Options of a plugin; the table also turns it on. `hubd plugins` lists those that are installed, and
# `hubd default-config NAME` prints the table of one, with every option.
#[plugins.webhooks]"""


def default_config_text() -> str:
    """The whole file. Loaded as it is, it gives the defaults."""
    parts = [_HEADER]
    for name, field in Config.model_fields.items():
        default = field.get_default()
        if isinstance(default, Section):
            parts += _section(name, default)
    return "\n\n".join(parts) + "\n"


def plugin_table_text(name: str, table: type[Section]) -> str:
    """The table of a plugin, with every option. What has no default stands there as a comment to be filled in."""
    lines = [_comment(" ".join(inspect.cleandoc(table.__doc__).split()))] if table.__doc__ else []
    lines.append(f"[plugins.{name}]")
    for key, field in table.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        has_none = field.is_required() or default is None
        about = " ".join(part for part in (_description(field), "Required." if field.is_required() else "") if part)
        lines += [_comment(about)] if about else []
        value = (field.examples or [_empty(field.annotation)])[0] if has_none else default
        lines.append(f"{'#' if has_none else ''}{field.alias or key} = {_inline(value)}")
    return "\n".join(lines) + "\n"


def _empty(kind: Any) -> Any:
    """A value of a kind that stands for one that isn't known."""
    return {bool: False, int: 0, float: 0.0}.get(kind, [] if get_origin(kind) in (list, tuple, set) else "")


def _inline(value: Any) -> str:
    """A value as TOML in one line, whatever an option can be."""
    if isinstance(value, BaseModel):
        value = {key: getattr(value, key) for key in type(value).model_fields if getattr(value, key) is not None}
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_toml(str(key))} = {_inline(one)}" for key, one in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, Enum):
        return _inline(value.value)
    return _toml(value if isinstance(value, bool | int | float | str | SecretStr) else str(value))


def _section(name: str, section: Section) -> Iterator[str]:
    """The parts of one table, and of the optional ones that belong behind it."""
    options = [
        f"{_comment(_description(field))}\n{key} = {_toml(field.get_default())}"
        for key, field in type(section).model_fields.items()
        if field.description
    ]
    yield "\n".join([_comment(_doc(type(section))), f"[{name}]", *options])
    if name == "auth":
        yield _example("[[auth.jwt]]", JwtKey)
        yield _example("[[auth.api_keys]]", ApiKeyEntry)
    if name == "delivery":
        yield from _types()
    if name == "hubd":
        yield _PLUGINS


def _types() -> Iterator[str]:
    options = [
        f"{_comment(_description(field))}\n{key} = {_toml(field.get_default())}"
        for key, field in TypeOptions.model_fields.items()
    ]
    yield "\n".join([_comment(_doc(TypeOptions)), "[types.default]", *options])
    yield "\n".join(
        [
            "# A type of its own; what its table leaves out is as in [types.default].",
            "#[types.security_alert]",
            '#priority = "critical"',
            '#persistence = "persistent"',
        ]
    )


def _example(title: str, table: type[Section]) -> str:
    options = [
        f"{_comment(_description(field))}\n#{key} = {_toml(field.examples[0])}"
        for key, field in table.model_fields.items()
        if field.examples
    ]
    return "\n".join([_comment(_doc(table)), f"#{title}", *options])


def _doc(table: type[Section]) -> str:
    return " ".join((inspect.getdoc(table) or "").split())


def _description(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    parts = [field.description or "", _range(field)]
    if isinstance(extra, dict) and extra.get("restart"):
        parts.append("Needs a restart.")
    if isinstance(extra, dict) and extra.get("used") is False:
        parts.append("Not used yet.")
    return " ".join(part for part in parts if part)


def _range(field: FieldInfo) -> str:
    """The bounds in words, so that nobody has to find them by trying; that a number isn't negative goes unsaid."""
    low = next((f"{item.ge}" for item in field.metadata if isinstance(item, Ge)), "0")
    high = next((f"{item.le}" for item in field.metadata if isinstance(item, Le)), "")
    if high:
        return f"At most {high}." if low == "0" else f"From {low} to {high}."
    return "" if low == "0" else f"At least {low}."


def _comment(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _toml(value: Any) -> str:
    """A value as TOML: the kinds that occur here look the same in JSON."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
