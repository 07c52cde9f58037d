"""Which plugins there are, found by their names, and what their classes say before anything is started."""

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

from pydantic import model_validator
from pydantic.fields import FieldInfo

from hubd.config_base import PLUGIN_NAME, Section
from hubd.faults import PluginError, described, place_of
from hubd.hooks.table import HOOKS, PREFIX

GROUP = "hubd"
"""The group of entry points in which packages name their plugins."""
OWN = ("apns", "batching", "digest", "email", "fcm", "inbox", "preferences", "quiet_hours", "webpush")
"""hubd's own plugins that this version doesn't have yet: a config that names them is told so."""
FILE_CLASS = "Plugin"
"""What the class is called in a plugin that is a single file."""


class PluginConfig(Section):
    """The options of a plugin: what may stand in its ``[plugins.NAME]``.

    Frozen, without unknown keys, without conversions; a list in the file does for a tuple or a set. A plugin without
    options needs none of its own.
    """

    @model_validator(mode="before")
    @classmethod
    def _take_lists(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: _from_list(cls.model_fields.get(name), value) for name, value in values.items()}


def _from_list(field: FieldInfo | None, value: Any) -> Any:
    """The value as the kind of collection that the option is, if it is one and a list was given."""
    kind = get_origin(field.annotation) or field.annotation if field is not None else None
    if not isinstance(value, list) or kind not in (tuple, set, frozenset):
        return value
    try:
        return kind(value)
    except TypeError:  # what can't be in a set: that is told of as a wrong type
        return value


class Found:
    """A plugin that there is, whether it is turned on or not. ``place`` says where, for people."""

    def __init__(self, name: str, place: str, source: EntryPoint | Path) -> None:
        self.name = name
        self.place = place
        self._source = source

    def is_same(self, other: "Found") -> bool:
        """Whether both are one file, in a folder that was named twice."""
        return isinstance(self._source, Path) and self._source == other._source

    @property
    def version(self) -> str:
        """The package that it came with, or its file."""
        source = self._source
        if isinstance(source, Path):
            return str(source)
        return f"{source.dist.name} {source.dist.version}" if source.dist else "unknown distribution"

    def load(self) -> type[Any]:
        """Its class; ``PluginError`` when that can't be had."""
        source = self._source
        try:
            if isinstance(source, EntryPoint):
                found = source.load()
            else:
                found = getattr(_module_of(source), FILE_CLASS, None)
                if found is None:
                    raise PluginError(f"{source} has no class {FILE_CLASS}")
        except PluginError:
            raise
        except BaseException as error:  # importing it runs it: anything can happen
            where = f"{error.filename}:{error.lineno}" if isinstance(error, SyntaxError) else place_of(error)
            why = f"SyntaxError: {error.msg}" if isinstance(error, SyntaxError) else described(error)
            raise PluginError(f"can't be loaded: {why}{f' ({where})' if where else ''}") from error
        if not inspect.isclass(found):
            raise PluginError(f"{self.place} is no class")
        return found


def _module_of(path: Path) -> ModuleType:
    """A file as a module, loaded once in the process."""
    name = f"hubd_plugin_file_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class Catalog:
    """The plugins that there are: installed ones, and files in these folders. ``errors``: what is wrong with them."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.plugins: dict[str, Found] = {}
        self.ambiguous: dict[str, str] = {}
        self.errors: list[str] = []
        for found in (*_installed(), *self._in_folders(folders)):
            other = self.plugins.get(found.name)
            if other is None or other.is_same(found):
                self.plugins[found.name] = found
            else:
                two = f"{other.version} ({other.place}) and {found.version} ({found.place})"
                self.ambiguous[found.name] = f"two plugins have the name {found.name!r}: {two}; remove one of them"

    def _in_folders(self, folders: Iterable[Path]) -> Iterator[Found]:
        for folder in folders:
            try:
                files = sorted(folder.glob("*.py")) if folder.is_dir() else None
            except OSError as error:
                self.errors.append(f"{folder} can't be read: {error.strerror}")
                continue
            if files is None:
                self.errors.append(f"there is no folder {folder}")
            for path in files or ():
                if PLUGIN_NAME.fullmatch(path.stem):  # others, as _common.py, are no plugins
                    yield Found(path.stem, str(path), path.resolve())

    def find(self, name: str) -> Found:
        """The plugin of that name; ``PluginError`` when there is none, or more than one."""
        if name in self.ambiguous:
            raise PluginError(self.ambiguous[name])
        found = self.plugins.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.plugins, 1)
            hint = f"; did you mean {near[0]}?" if near else "; `hubd plugins` lists those that are"
            raise PluginError(f"no plugin {name[:64]!r} is installed{hint}")
        return found

    def config_class(self, name: str) -> type[Section] | str:
        """What checks this plugin's table; a text says why the plugin can't be used (empty: not in this version)."""
        if name in OWN and name not in self.plugins:
            return ""
        try:
            return config_class(self.load(name))
        except PluginError as error:
            return str(error)

    def load(self, name: str) -> type[Any]:
        """The plugin's class, which uses hooks as they are; ``PluginError`` when it can't be used."""
        found = self.find(name).load()
        for trouble in wrong_hooks(found):
            raise PluginError(trouble)
        return found


def _installed() -> list[Found]:
    # An environment may list one distribution twice.
    unique = {(entry.name, entry.value, entry.dist and entry.dist.name): entry for entry in entry_points(group=GROUP)}
    return [Found(unique[key].name, unique[key].value, unique[key]) for key in sorted(unique, key=str)]


def config_class(plugin: type[Any]) -> type[PluginConfig]:
    """What checks a plugin's ``[plugins.NAME]``; ``PluginError`` when it is nothing that could."""
    found = getattr(plugin, "Config", PluginConfig)
    if not (inspect.isclass(found) and issubclass(found, PluginConfig)):
        raise PluginError("its `Config` has to be a class derived from hubd.plugin.PluginConfig")
    return found


def wrong_hooks(plugin: type[Any]) -> Iterator[str]:
    """What is wrong with the hooks that a class implements, in sentences."""
    if plugin.__init__ is not object.__init__ and not _takes_options(plugin):
        yield "its __init__ has to take its options: def __init__(self, config)"
    for name in dir(plugin):
        method = inspect.getattr_static(plugin, name)
        marked = getattr(method, "hubd_impl", None)
        hook = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and hook in HOOKS:
            yield from _wrong_method(name, hook, method, marked)
        elif name.startswith(PREFIX) or marked is not None:
            near = difflib.get_close_matches(hook, HOOKS, 1)
            yield f"there is no hook {name}" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")


def _takes_options(plugin: type[Any]) -> bool:
    try:
        inspect.signature(plugin).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def _wrong_method(name: str, hook: str, method: Any, marked: Any) -> Iterator[str]:
    if not inspect.isfunction(method):
        yield f"{name} has to be a plain method"
    elif not isinstance(marked, dict):
        yield f"{name} lacks its decorator @hookimpl, so it would never be called"
    elif options := [option for option, value in marked.items() if value]:
        yield f"{name}: {', '.join(options)} can't be used: plugins are called in the order of the config"
    elif inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        yield f"{name} has to return its answer: it can't `yield`"
    else:
        yield from _wrong_signature(name, hook, method)


def _wrong_signature(name: str, hook: str, method: Any) -> Iterator[str]:
    from hubd.hooks.specs import arguments_of

    known = arguments_of(hook)
    taken = list(inspect.signature(method).parameters.values())
    own, parameters = taken[:1], taken[1:]
    if not own or own[0].name in known:
        yield f"{name} has to have `self` as its first argument"
        return
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield f"{name}: name its arguments instead of *{parameter.name}; there are: {', '.join(known) or 'none'}"
        elif parameter.name not in known:
            near = difflib.get_close_matches(parameter.name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has: {', '.join(known) or 'none'}"
            yield f"{name} has no argument {parameter.name!r}{hint}"
        elif parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
            yield f"{name}: its argument {parameter.name!r} has to be a plain one: no default, not behind a *"
    if HOOKS[hook].sync and inspect.iscoroutinefunction(method):
        yield f"{name} can't wait for anything: it has to be a plain function, not `async def`"
