"""The hub's configuration: file < environment < command line, checked as a whole before anything starts."""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Protocol, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hubd.config_base import PLUGIN_NAME, Section
from hubd.config_lines import Lines
from hubd.config_options import (
    ApiKeyEntry,
    Auth,
    Config,
    Delivery,
    Hubd,
    JwtKey,
    Limits,
    Log,
    Replay,
    Server,
    Store,
    TypeOptions,
)
from hubd.config_text import default_config_text
from hubd.faults import described, place_of

__all__ = [
    "ApiKeyEntry",
    "Auth",
    "Config",
    "ConfigError",
    "Delivery",
    "Hubd",
    "JwtKey",
    "Limits",
    "Log",
    "Replay",
    "Server",
    "Store",
    "TypeOptions",
    "default_config_text",
    "load_config",
]

ENVIRONMENT_PREFIX = "HUBD_"
Path_ = tuple[str | int, ...]
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class ConfigError(Exception):
    """The configuration can't be used; ``lines`` has every reason, each with its source and path."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


class _Sources:
    """Who gave which value, so that an error names the place where it has to be mended."""

    def __init__(self, file: Path | None, text: str) -> None:
        self._file = file
        self._text = text
        self._lines: Lines | None = None
        self._given: dict[Path_, str] = {}
        self.texts: dict[Path_, str] = {}  # of variables whose option only a plugin knows

    def note(self, path: Path_, source: str) -> None:
        self._given[path] = source

    def line(self, path: Path_, message: str) -> str:
        nearest = (self._given[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self._given)
        return f"{next(nearest, None) or self._in_file(path)}: {dotted(path)}: {message}"

    def _in_file(self, path: Path_) -> str:
        if self._file is None:
            return "config"
        self._lines = self._lines or Lines(self._text)  # read only for who has to be told of an error
        line = self._lines.find(path)
        return f"{self._file}:{line}" if line else str(self._file)


class PluginTypes(Protocol):
    """What knows the plugins that there are. ``errors``: what is wrong with where it looked for them."""

    errors: list[str]

    def config_class(self, name: str) -> type[Section] | str:
        """What checks this plugin's table; a text says why the plugin can't be used."""
        ...


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    plugin_types: Callable[[list[Path]], PluginTypes] | None = None,
) -> Config:
    """Read the file (None: the defaults), then ``HUBD_SECTION__KEY``, then ``overrides`` (``{"server.port": 0}``).

    ``plugin_types`` gives the plugins that there are, also in these folders; None leaves them unchecked. Raises
    ``ConfigError`` with everything that is wrong.
    """
    text = _read(path) if path else ""
    sources = _Sources(path, text)
    raw = _parse(path, text) if path else {}
    errors = _apply_environment(raw, environ, sources)
    for name, value in (overrides or {}).items():
        _put(raw, tuple(name.split(".")), value, "command line", sources)
    context = {"folder": path.parent if path else ".", "file": path.name if path else ""}
    if "HUBD_AUTH__JWT" in environ:  # then these keys don't stand in the file
        context["file"] = ""
    plugins: dict[str, Any] = {}
    if plugin_types is not None:
        types = plugin_types(_plugin_folders(raw, path))
        errors += [sources.line(("hubd", "plugin_dirs"), error) for error in types.errors]
        errors += _check_plugins(raw, types, context, sources, plugins)
    try:
        config = Config.model_validate(raw, context=context)
    except ValidationError as error:
        errors += [_error_line(details, sources) for details in _details(error)]
        raise ConfigError(errors) from None
    if errors:  # the values are fine, but a variable means nothing
        raise ConfigError(errors)
    return config.model_copy(update={"plugins": plugins}) if plugin_types is not None else config


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _plugin_folders(raw: dict[str, Any], path: Path | None) -> list[Path]:
    section = raw.get("hubd")
    folders = section.get("plugin_dirs") if isinstance(section, dict) else None
    base = path.parent if path else Path()
    return [base / one for one in folders if isinstance(one, str)] if isinstance(folders, list | tuple) else []


def _check_plugins(
    raw: dict[str, Any], types: PluginTypes, context: dict[str, Any], sources: _Sources, checked: dict[str, Any]
) -> list[str]:
    """Put the options of each plugin that is turned on into ``checked``; gives what is wrong with them."""
    errors = []
    tables = raw.get("plugins")
    for at, name in _plugins(raw):
        if name in checked or PLUGIN_NAME.fullmatch(name) is None:
            continue
        table = tables.get(name, {}) if isinstance(tables, dict) else {}
        checked[name] = table
        if not isinstance(table, dict):
            continue  # told with the other options
        model = types.config_class(name)
        if isinstance(model, str):
            if model:
                errors.append(sources.line(at, model))
            continue
        try:
            checked[name] = model.model_validate(_with_texts(name, table, model, sources), context=context)
        except ValidationError as error:
            errors += [_error_line(details, sources, ("plugins", name), model) for details in _details(error)]
        except (Exception, SystemExit) as error:  # a plugin's own check can raise anything
            errors.append(sources.line(at, f"its Config failed: {described(error)} ({place_of(error)})"))
    return errors


def _with_texts(name: str, table: dict[str, Any], model: type[Section], sources: _Sources) -> dict[str, Any]:
    """A plugin's table with the variables of options that are texts as they were written, and not read as JSON."""
    texts = {
        key: sources.texts[path]
        for key, field in model.model_fields.items()
        if (path := ("plugins", name, key)) in sources.texts and _is_text(field)
    }
    return table | texts


def _is_text(field: FieldInfo) -> bool:
    kind, origin = field.annotation, get_origin(field.annotation)
    kinds = {*get_args(kind)} - {type(None)} if origin in (Union, UnionType) else {kind}
    return origin is Literal or kinds in ({str}, {SecretStr})


def _plugins(raw: dict[str, Any]) -> Iterator[tuple[Path_, str]]:
    """The plugins that are turned on, and where; what has another shape is told of by whoever checks that."""
    section, tables = raw.get("hubd"), raw.get("plugins")
    names = section.get("plugins") if isinstance(section, dict) else None
    for place, name in enumerate(names if isinstance(names, list | tuple) else ()):
        if isinstance(name, str):
            yield ("hubd", "plugins", place), name
    for name in tables if isinstance(tables, dict) else ():
        yield ("plugins", name), name


def dotted(path: Path_) -> str:
    """A path as people write it: ``auth.jwt[0].key``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: isn't UTF-8 text"]) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        at = _AT_LINE.search(str(error))
        line = f":{at[1]}" if at else f":{len(text.splitlines())}" if "end of document" in str(error) else ""
        raise ConfigError([f"{path}{line}: isn't TOML: {error}"]) from None


def _apply_environment(raw: dict[str, Any], environ: Mapping[str, str], sources: _Sources) -> list[str]:
    """Put the variables in; returns an error line for each that means nothing."""
    errors = []
    for variable in sorted(environ):
        # One underscore (HUBD_URL, or the HUBD_PORT that Kubernetes sets for a service called hubd) isn't ours.
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        path = tuple(part.lower() for part in variable.removeprefix(ENVIRONMENT_PREFIX).split("__"))
        source = f"environment {variable}"
        if path[0] not in Config.model_fields:
            errors.append(f"{source}: {dotted(path[:1])}: {_unknown_key(path[:1])}")
            continue
        if len(path) == 3 and path[0] == "plugins":
            sources.texts[path] = environ[variable]
        try:
            _put(raw, path, _environment_value(path, environ[variable]), source, sources)
        except ValueError as error:
            errors.append(f"{source}: {dotted(path)}: {error}")
    return errors


def _environment_value(path: tuple[str, ...], text: str) -> object:
    """The variable's text as the value that a file would give; ``ValueError`` says what is wrong."""
    if len(path) == 3 and path[0] == "plugins" and all(path):
        return _json_or_text(text)  # only the plugin knows what its options are
    field = _environment_field(path)
    if field is None:
        raise ValueError(_unknown_key(path))
    if field.annotation in (str, SecretStr) or get_origin(field.annotation) is Literal:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('give it as JSON: a number, true or false, or a list such as ["a", "b"]') from None


def _environment_field(path: tuple[str, ...]) -> FieldInfo | None:
    if len(path) == 3 and path[0] == "types" and path[1]:
        return TypeOptions.model_fields.get(path[2])
    section = _model_at(path[:1])
    return section.model_fields.get(path[1]) if section and len(path) == 2 else None


def _json_or_text(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _put(raw: dict[str, Any], path: tuple[str, ...], value: object, source: str, sources: _Sources) -> None:
    table: Any = raw
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            return  # the file has a value where a table belongs: that is the error to tell
    table[path[-1]] = value
    sources.note(path, source)


def _unknown_key(path: Path_, table: type[BaseModel] | None = None) -> str:
    """What to say about a key that isn't declared in its table."""
    table = table or _model_at(path[:-1])
    if table is not None and not table.model_fields:
        return "unknown key: there are no options here (a plugin names its own in the attribute `Config` of its class)"
    near = difflib.get_close_matches(str(path[-1]), table.model_fields if table else (), 1)
    return "unknown key" + (f"; did you mean {near[0]}?" if near else "")


def _model_at(path: Path_) -> type[Section] | None:
    """The table that is declared at this path."""
    if not path:
        return Config
    if path[0] == "types" and len(path) == 2:
        return TypeOptions
    if path[0] == "auth" and len(path) == 3:
        return JwtKey if path[1] == "jwt" else ApiKeyEntry
    field = Config.model_fields.get(str(path[0])) if len(path) == 1 else None
    default = field.get_default() if field else None
    return default.__class__ if isinstance(default, Section) else None


_MESSAGES = {
    "missing": "is missing",
    "int_type": "has to be a whole number, without quotes",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number, without quotes",
    "finite_number": "has to be a finite number",
    "bool_type": "has to be true or false, without quotes",
    "string_type": "has to be a text in quotes",
    "tuple_type": 'has to be a list, such as ["a", "b"]',
    "list_type": 'has to be a list, such as ["a", "b"]',
    "dict_type": "has to be a table",
    "model_type": "has to be a table",
    "literal_error": "has to be {expected}",
    "greater_than": "has to be more than {gt:g}",
    "greater_than_equal": "has to be at least {ge:g}",
    "less_than_equal": "has to be at most {le:g}",
    "string_pattern_mismatch": "has to match {pattern}",
    "value_error": "{error}",
}
"""pydantic's kinds of error, in the words of somebody who edits a file; others keep their own words."""


def _error_line(
    details: ErrorDetails, sources: _Sources, prefix: Path_ = (), table: type[BaseModel] | None = None
) -> str:
    path = (*prefix, *(part for part in details["loc"] if part != "[key]"))
    if details["type"] == "extra_forbidden":
        return sources.line(path, _unknown_key(path, table if len(details["loc"]) == 1 else None))
    context = details.get("ctx", {})
    template = _MESSAGES.get(details["type"], "")
    try:
        return sources.line(path, template.format(**context) if template else details["msg"])
    except KeyError:
        return sources.line(path, details["msg"])
