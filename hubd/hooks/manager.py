"""The plugins of one hub: made from the config, asked for what they add, started, and stopped again."""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from random import Random
from types import FrameType
from typing import Any

import pluggy
from aiohttp import web
from prometheus_client import CollectorRegistry

from hubd.broker import Broker
from hubd.config import Config
from hubd.core.errors import Problem
from hubd.edge.credentials import Authenticator
from hubd.edge.plugin_routes import RouteRefused, Routes
from hubd.faults import PluginError, described, place_of
from hubd.hooks import specs
from hubd.hooks.backends import PluginBackend
from hubd.hooks.brought import checked_backends, checked_broker, metrics_of
from hubd.hooks.calls import BadAnswer, Hook, Hooks, Impl
from hubd.hooks.catalog import Catalog, wrong_hooks
from hubd.hooks.driving import TooLong
from hubd.hooks.handle import PluginHub, tasks_of
from hubd.hooks.push import PushBackend
from hubd.hooks.switching import Plugin
from hubd.hooks.table import HOOKS, PREFIX
from hubd.hooks.watchdog import Block
from hubd.hub import Hub
from hubd.log_events import log_event

END_S = 1.0
"""How long a plugin's tasks may take to end once they are cancelled."""
WHY_CHARS = 300

log = logging.getLogger("hubd.plugins")


class Plugins:
    """Everything that is turned on, in the order in which it is called. ``PluginError`` where one can't be used."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self._manager = pluggy.PluginManager("hubd")
        self._manager.add_hookspecs(specs)
        self._handles: dict[str, PluginHub] = {}
        self._begun: list[Plugin] = []
        self._started = False
        self._modules: dict[str, str] = {}
        self._options: dict[str, Any] = {}
        self._before: list[asyncio.Task[Any]] = []
        self.registries: dict[str, CollectorRegistry] = {}
        self.backends: dict[str, PushBackend] = {}

    @classmethod
    def of(cls, config: Config, catalog: Catalog, hooks: Hooks) -> "Plugins":
        """An instance of each plugin that the config turns on and that there is."""
        plugins = cls(hooks)
        for name, options in config.plugins.items():
            if not isinstance(options, Mapping):  # else it is one that this version doesn't have yet
                try:
                    plugins.add(name, catalog.load(name), options)
                except PluginError as error:
                    raise PluginError(f"plugin {name}: {error}") from error
        return plugins

    def add(self, name: str, plugin: type[Any], options: Any) -> Plugin:
        """Make one, and have its hooks called."""
        for trouble in wrong_hooks(plugin):
            raise PluginError(trouble)
        try:
            instance = plugin() if plugin.__init__ is object.__init__ else plugin(options)
        except BaseException as error:
            raise PluginError(f"can't be made: {described(error)} ({place_of(error)})") from error
        made = Plugin(name, instance)
        try:
            self._manager.register(instance, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(str(error)) from error
        self._own(plugin.__module__, name)
        self._options[name] = options
        self.hooks.add(made, self._impls_of(name))
        return made

    def _own(self, module: str, name: str) -> None:
        """Know a plugin's code by its module, and by the package that this is in, unless others are in it, too."""
        package = module.partition(".")[0]
        for place in {package, module}:
            self._modules[place] = name if self._modules.get(place, name) == name else ""

    def _impls_of(self, name: str) -> Iterator[tuple[str, Callable[..., Any], bool]]:
        for hook in HOOKS:
            for impl in getattr(self._manager.hook, PREFIX + hook).get_hookimpls():
                if impl.plugin_name == name:
                    call = _by_position(impl.function, impl.argnames, specs.arguments_of(hook))
                    yield hook, call, inspect.iscoroutinefunction(impl.function)

    # What they add

    def _at_start(self, hook: str, impl: Impl, *args: Any) -> Any:
        """What one answers in a hook that is called at the start; ``PluginError`` when it fails."""
        return Hook(hook, HOOKS[hook], self._abort).ask_now(impl, *args)

    def _abort(
        self, plugin: Plugin, where: str, kind: str, error: BaseException | None, *, provoked: bool = False
    ) -> None:
        """Instead of counting a fault: the hub can't start with this plugin."""
        raise self._failure(plugin, where, error) from error

    def _failure(self, plugin: Plugin, hook: str, error: BaseException | None) -> PluginError:
        """Why not: in words that were chosen for that; those of other exceptions may quote a secret."""
        if isinstance(error, TooLong):
            timeout_s = self.hooks.each[hook].rule.timeout_s
            return PluginError(f"plugin {plugin.name}: {PREFIX}{hook} took over {timeout_s:g} s")
        if isinstance(error, BadAnswer):
            return PluginError(f"plugin {plugin.name}: {error}")
        assert error is not None
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        by_library = frames[-1].f_globals.get("__name__", "").startswith("prometheus_client") if frames else False
        speaks = isinstance(error, PluginError | Problem | RouteRefused) or (
            by_library and isinstance(error, ValueError)
        )
        why = " ".join(str(error).split())[:WHY_CHARS] if speaks else described(error)
        return PluginError(f"plugin {plugin.name}: {PREFIX}{hook} failed: {why} ({self._place(error)})")

    def _place(self, error: BaseException) -> str:
        """The line of a plugin that it comes from; of whatever else, if it isn't a plugin's."""
        own = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if self.owner(frame)]
        return f"{own[-1][0].f_code.co_filename}:{own[-1][1]}" if own else place_of(error)

    def broker(self) -> Broker | None:
        """The broker that a plugin brings."""
        found: dict[str, Broker] = {}
        for impl in self.hooks.each["broker"].impls:
            answer = self._at_start("broker", impl)
            if answer is not None:
                with self._checks(impl.plugin, "broker"):
                    found[impl.plugin.name] = checked_broker(impl.plugin, answer, self.hooks)
        if len(found) > 1:
            raise PluginError(f"plugins {' and '.join(found)} both bring a broker: turn one of them off")
        return next(iter(found.values()), None)

    @contextmanager
    def _checks(self, plugin: Plugin, hook: str) -> Iterator[None]:
        """While what it answered is looked at."""
        try:
            yield
        except BadAnswer as error:
            raise self._failure(plugin, hook, error) from error

    def attach(self, hub: Hub, random: Random, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        """Ask for what they bring, and make what they see of this hub."""
        for impl in self.hooks.each["push_backends"].impls:
            answer = self._at_start("push_backends", impl)
            with self._checks(impl.plugin, "push_backends"):
                for backend in checked_backends(answer):
                    self._take_backend(impl.plugin, backend)
        taken: set[str] = set()
        for impl in self.hooks.each["register_metrics"].impls:
            registry = self.registries[impl.plugin.name] = CollectorRegistry()
            self._at_start("register_metrics", impl, registry)
            with self._checks(impl.plugin, "register_metrics"):
                try:
                    metrics_of(impl.plugin.name, registry, taken)
                except BadAnswer:
                    raise
                except BaseException as error:  # it may need what only its start makes; else it is told of then
                    log_event(log, "ignored_fault", error)
        for plugin in self.hooks.plugins.values():
            self._handles[plugin.name] = PluginHub(plugin, hub, self.hooks, random, sleep)

    def routes(self, authenticator: Authenticator, taken: list[web.RouteDef]) -> tuple[list[web.RouteDef], ...]:
        """The HTTP calls that they add to those that are ``taken``; and which of them the admin listener has, too."""
        everywhere: list[web.RouteDef] = []
        for_admins: list[web.RouteDef] = []
        for impl in self.hooks.each["register_routes"].impls:
            routes = Routes(impl.plugin, self.hooks, authenticator, [*taken, *everywhere])
            self._at_start("register_routes", impl, routes)
            everywhere += routes.routes
            for_admins += routes.for_admins
        return everywhere, for_admins

    def _take_backend(self, plugin: Plugin, backend: PushBackend) -> None:
        if backend.platform in self.backends:
            raise PluginError(f"plugin {plugin.name}: there is a push backend for {backend.platform!r} already")
        self.backends[backend.platform] = PluginBackend(plugin, backend, self.hooks)

    # Their life

    async def start(self) -> None:
        """Start them one after the other. When one can't, ``stop`` is still to be called."""
        self._before = list(asyncio.all_tasks())
        self.hooks.starter = asyncio.current_task()
        for plugin in list(self.hooks.plugins.values()):
            self._begun.append(plugin)  # one that fails half-way has something to close, too
            for impl in self.hooks.each["startup"].impls:
                if impl.plugin is plugin:
                    await self._start(impl)
            log_event(log, "plugin_started", plugin=plugin.name)
        self._started = True
        self.hooks.starter = None
        self.hooks.all_started.set()

    async def _start(self, impl: Impl) -> None:
        hook = Hook("startup", self.hooks.each["startup"].rule, self._abort)
        await hook.ask(impl, self._handles[impl.plugin.name])

    def reconfigurable(self, name: str) -> bool:
        """Whether a plugin takes over new options while it runs."""
        return any(impl.plugin.name == name for impl in self.hooks.each["reconfigure"].all)

    def apply(self, config: Config) -> None:
        """Hand over the options, and switch on again what is switched off.

        ``PluginError`` when a plugin refuses its options; then all have those before.
        """
        told: list[Impl] = []
        for impl in self.hooks.each["reconfigure"].all:
            told.append(impl)
            try:
                with _awake(impl.plugin):
                    self._at_start("reconfigure", impl, config.plugins[impl.plugin.name])
            except PluginError:
                self._put_back(told)
                raise
        self._options.update((name, config.plugins[name]) for name in self._options if name in config.plugins)
        self.hooks.switching.switch_on()

    def _put_back(self, told: list[Impl]) -> None:
        """Hand over the options before; whoever can't take them is told off for it."""
        for impl in told:
            with _awake(impl.plugin):
                self.hooks.each["reconfigure"].ask_now(impl, self._options[impl.plugin.name])

    async def stop(self, timeout_s: float) -> None:
        """Stop those that were started, the last one first; what they left running is cancelled."""
        hook = self.hooks.each["shutdown"]
        try:
            async with asyncio.timeout(timeout_s):
                for plugin in reversed(self._begun):
                    for impl in hook.all:
                        if impl.plugin is plugin:
                            with _awake(plugin):
                                await hook.ask(impl)
        except TimeoutError:
            pass  # the time of the stop is over: what isn't closed by now ends with the process
        self._begun.clear()
        self.hooks.end()
        own = [task for handle in self._handles.values() for task in tasks_of(handle)]
        await _end(own)
        await self._end_left()

    async def _end_left(self) -> None:
        """End tasks of plugins that nobody owns."""
        left = []
        for task in asyncio.all_tasks() - {asyncio.current_task(), *self._before}:
            frame = getattr(task.get_coro(), "cr_frame", None)
            if frame is not None and (owner := self.owner(frame)):
                log_event(log, "plugin_task_left", plugin=owner, task=task.get_name())
                left.append(task)
        await _end(left)

    def blocked(self, block: Block) -> None:
        """Somebody kept the loop from everybody; a plugin that surely did is told off for it."""
        plugin = self.hooks.plugins.get(block.plugin)
        if plugin is not None and block.certain and self._started:
            self.hooks.fault(plugin, block.stack[-1] if block.stack else "", "blocked")

    def owner(self, frame: FrameType) -> str:
        """The plugin whose code a frame runs; nothing when it is nobody's."""
        module = str(frame.f_globals.get("__name__", ""))
        return self._modules.get(module) or self._modules.get(module.partition(".")[0], "")


def _by_position(function: Callable[..., Any], taken: tuple[str, ...], all_: list[str]) -> Callable[..., Any]:
    """A function that takes all of a hook's arguments and hands on those that the plugin's takes."""
    if list(taken) == all_:
        return function
    places = [all_.index(name) for name in taken]
    return lambda *args: function(*[args[place] for place in places])


@contextmanager
def _awake(plugin: Plugin) -> Iterator[None]:
    """While one that is switched off is called all the same: it has to end in order, and to know its options."""
    was_on, plugin.is_on = plugin.is_on, True
    try:
        yield
    finally:
        plugin.is_on = plugin.is_on and was_on


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end; what takes no notice of that is ended by force."""
    for force in (False, True):
        left = [task for task in tasks if not task.done()]
        for task in left:
            if force:
                log_event(log, "plugin_task_stuck", task=task.get_name())
                with suppress(BaseException):  # it may ignore even this
                    task.get_coro().close()
            task.cancel()
        if left:
            await asyncio.gather(*(await asyncio.wait(left, timeout=END_S))[0], return_exceptions=True)
