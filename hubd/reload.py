"""Reading the config again while the hub runs: all of it or nothing, and nobody is dropped for it."""

import asyncio
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hubd.config import Config, ConfigError, JwtKey, dotted, load_config
from hubd.config_base import Section
from hubd.faults import PluginError
from hubd.hooks.catalog import Catalog
from hubd.log_events import log_event

log = logging.getLogger("hubd.reload")

SETTLED_S, ATTEMPTS = 0.05, 40
READ_S = 10.0
"""How long reading the files may take; a file system that hangs must not hold up the hub."""


class Source(NamedTuple):
    """Where the config comes from, each time it is read: the file, the environment, and what the flags said."""

    path: Path | None
    overrides: Mapping[str, object]

    def read(self) -> Config:
        """The config as it is written now; ``ConfigError`` has every reason why it can't be used."""
        return load_config(self.path, os.environ, self.overrides, Catalog)

    def catalog(self, config: Config) -> Catalog:
        """The plugins that there are for this config."""
        base = self.path.parent if self.path else Path()
        return Catalog([base / folder for folder in config.hubd.plugin_dirs])

    def resolved(self) -> str | None:
        """The file's whole path; None without a file."""
        return os.path.realpath(self.path) if self.path else None

    def read_again(self) -> Config:
        """The same for a hub that runs; it waits until the file has been left alone for ``SETTLED_S``.

        A file that somebody is just writing may be a good config already, with half of the keys or none at all. So
        would a pipe be which gave the config at the start: now it is empty.
        """
        if self.path is None:
            return self.read()
        for _ in range(ATTEMPTS):
            stamp = _stamp(self.path)
            threading.Event().wait(SETTLED_S)
            if stamp != _stamp(self.path):
                continue
            try:
                config = self.read()
            except ConfigError:
                if stamp == _stamp(self.path):
                    raise
                continue
            if stamp == _stamp(self.path):
                return config
        raise ConfigError([f"{self.path}: is being written all the time; reload when that is over"])


def _stamp(path: Path) -> tuple[int, int, int]:
    """What tells one content of a file from another."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return (0, 0, 0)  # reading it says why
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError([f"{path}: is no regular file, so it can't be read a second time"])
    return (found.st_ino, found.st_mtime_ns, found.st_size)


class Outcome(NamedTuple):
    """How a reload went; in none of it is a secret.

    Either the config was taken over: which options changed, and which ones stay until a restart. Or there are
    ``errors``, and nothing has changed.
    """

    changed: list[str]
    restart: list[str]
    errors: list[str]


class Reloader:
    """Reads the config again when told to, one time after the other.

    ``apply`` takes over a config that is known to be good; when it raises nevertheless, it is called once more with
    the one before. ``reconfigurable`` says whether a plugin takes over its own options while it runs.
    """

    def __init__(
        self,
        source: Source,
        config: Config,
        apply: Callable[[Config], None],
        reconfigurable: Callable[[str], bool] = lambda plugin: False,
    ) -> None:
        self._reconfigurable = reconfigurable
        self.config = config
        self._source = source
        self._apply = apply
        self._turn = asyncio.Lock()

    async def reload(self) -> Outcome:
        """Do it, log how it went, and tell."""
        async with self._turn:
            outcome = await self._reload()
        for error in outcome.errors:
            log_event(log, "config_error", error=error)
        if outcome.errors:
            log_event(log, "config_not_reloaded", errors=len(outcome.errors))
            return outcome
        log_event(log, "config_reloaded", changed=", ".join(outcome.changed))
        for option in outcome.restart:
            log_event(log, "restart_needed", option=option)
        return outcome

    async def _reload(self) -> Outcome:
        try:
            async with asyncio.timeout(READ_S):
                wanted = await asyncio.to_thread(self._source.read_again)
        except ConfigError as error:
            return Outcome([], [], error.lines)
        except TimeoutError:
            return Outcome([], [], [f"{self._source.path}: couldn't be read within {READ_S:g} s"])
        restart = list(needs_restart(self.config, wanted, self._reconfigurable))
        config = without_restart(self.config, wanted, self._reconfigurable)
        changed = list(differences(self.config, config))
        try:
            self._apply(config)
        except PluginError as error:  # it was asked first, and those asked before it have their options back
            return Outcome([], [], [str(error)])
        except Exception as error:  # the config was checked: whatever this is, the hub must not stay in between
            log_event(log, "reload_failed", error)
            self._apply(self.config)
            return Outcome([], [], ["the hub failed to take it over; its log has the traceback"])
        self.config = config
        return Outcome(changed, restart, [])


def differences(old: Config, new: Config) -> Iterator[str]:
    """The paths of all options that aren't the same."""
    for path, _, before, after in _options(old, new, lambda plugin: False):
        if _essence(before) != _essence(after):
            yield path


def needs_restart(
    running: Config, wanted: Config, reconfigurable: Callable[[str], bool] = lambda plugin: False
) -> Iterator[str]:
    """The paths of the options that were changed, and that a running hub can't take over."""
    for path, restart, before, after in _options(running, wanted, reconfigurable):
        if restart and _essence(before) != _essence(after):
            yield path


def without_restart(
    running: Config, wanted: Config, reconfigurable: Callable[[str], bool] = lambda plugin: False
) -> Config:
    """What a running hub can take over of a config: all but the options that need a restart."""
    plugins = {
        name: wanted.plugins[name] if name in wanted.plugins and reconfigurable(name) else options
        for name, options in running.plugins.items()
    }
    sections: dict[str, Any] = {"plugins": plugins}
    for name in Config.model_fields:
        before, after = getattr(running, name), getattr(wanted, name)
        if isinstance(before, Section):
            stays = {key: getattr(before, key) for key, field in _fields(before) if only_by_restart(field)}
            sections[name] = after.model_copy(update=stays)
    return wanted.model_copy(update=sections)


def only_by_restart(field: FieldInfo) -> bool:
    """Whether an option is declared as one that only a restart changes."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("restart"))


def _options(old: Config, new: Config, reconfigurable: Callable[[str], bool]) -> Iterator[tuple[str, bool, Any, Any]]:
    """Every option: its path, whether it needs a restart, and both values."""
    for name in Config.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Section):
            for key, field in _fields(before):
                yield f"{name}.{key}", only_by_restart(field), getattr(before, key), getattr(after, key)
            continue
        for key in dict.fromkeys([*before, *after]):  # tables that carry names: types, plugins
            both = key in before and key in after
            restart = name == "plugins" and not (both and reconfigurable(key))
            yield dotted((name, key)), restart, before.get(key), after.get(key)


def _fields(section: BaseModel) -> list[tuple[str, FieldInfo]]:
    return list(type(section).model_fields.items())


def _essence(value: Any) -> Any:
    """What of a value makes it another one: of a key its material too, which may come from a file."""
    if isinstance(value, tuple):
        return [_essence(one) for one in value]
    if isinstance(value, JwtKey):
        return value.model_dump(), value.keys.verifying if value.keys else None
    return value.model_dump() if isinstance(value, BaseModel) else value
