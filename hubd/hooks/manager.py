"""The plugins of one hub: made from the config, asked for what they add, started, and stopped again."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
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
from hubd.edge.plugin_routes import Routes
from hubd.faults import described, place_of
from hubd.hooks import specs
from hubd.hooks.calls import Hooks, Impl, Plugin
from hubd.hooks.catalog import Catalog, PluginError, wrong_hooks
from hubd.hooks.handle import PluginHub
from hubd.hooks.push import PushBackend
from hubd.hooks.table import HOOKS, PREFIX
from hubd.hooks.watchdog import Block
from hubd.hub import Hub
from hubd.log_events import log_event

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
            instance = plugin(options)
        except (Exception, SystemExit) as error:
            raise PluginError(f"can't be made: {described(error)} ({place_of(error)})") from error
        made = Plugin(name, instance)
        try:
            self._manager.register(instance, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(str(error)) from error
        self._own(plugin.__module__, name)
        self.hooks.add(made, self._impls_of(name))
        return made

    def _own(self, module: str, name: str) -> None:
        """Know a plugin's code by its module, and by the package that this is in, unless others are in it, too."""
        package = module.partition(".")[0]
        self._modules[package] = name if self._modules.get(package, name) == name else ""
        self._modules[module] = name

    def _impls_of(self, name: str) -> Iterator[tuple[str, Callable[..., Any], bool]]:
        for hook in HOOKS:
            for impl in getattr(self._manager.hook, PREFIX + hook).get_hookimpls():
                if impl.plugin_name == name:
                    call = _by_position(impl.function, impl.argnames, specs.arguments_of(hook))
                    yield hook, call, inspect.iscoroutinefunction(impl.function)

    # What they add

    def _each(self, hook: str, *args: Any) -> Iterator[tuple[Plugin, Any]]:
        """What each answers in a hook that is called at the start."""
        for impl in self.hooks.each[hook].impls:
            yield impl.plugin, self._at_start(hook, impl, *args)

    def _at_start(self, hook: str, impl: Impl, *args: Any) -> Any:
        impl.calls += 1
        try:
            return impl.call(*args)
        except (Exception, SystemExit) as error:
            raise _failed(impl.plugin, hook, error) from error

    def broker(self) -> Broker | None:
        """The broker that a plugin brings."""
        found = [(plugin, broker) for plugin, broker in self._each("broker") if broker is not None]
        if len(found) > 1:
            raise PluginError(f"plugins {' and '.join(plugin.name for plugin, _ in found)} both bring a broker")
        for plugin, broker in found:
            if not callable(getattr(broker, "start", None)) or not callable(getattr(broker, "publish", None)):
                raise PluginError(f"plugin {plugin.name}: hubd_broker answers a Broker")
            return broker  # type: ignore[no-any-return]  # it was looked at above
        return None

    def attach(self, hub: Hub, random: Random, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        """Ask for what they bring, and make what they see of this hub."""
        for plugin, backends in self._each("push_backends"):
            for backend in backends or ():
                self._take_backend(plugin, backend)
        for impl in self.hooks.each["register_metrics"].impls:
            registry = self.registries[impl.plugin.name] = CollectorRegistry()
            self._at_start("register_metrics", impl, registry)
        for plugin in self.hooks.plugins.values():
            self._handles[plugin.name] = PluginHub(plugin, hub, self.hooks, random, self.backends, sleep)

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
        platform = getattr(backend, "platform", None)
        if not isinstance(platform, str) or not callable(getattr(backend, "send", None)):
            raise PluginError(f"plugin {plugin.name}: hubd_push_backends answers a list of PushBackend")
        if platform in self.backends:
            raise PluginError(f"plugin {plugin.name}: there is a push backend for {platform!r} already")
        self.backends[platform] = backend

    # Their life

    async def start(self) -> None:
        """Start them one after the other. When one can't, ``stop`` is still to be called."""
        self._before = list(asyncio.all_tasks())
        for plugin in list(self.hooks.plugins.values()):
            self._begun.append(plugin)  # one that fails half-way has something to close, too
            for impl in self.hooks.each["startup"].impls:
                if impl.plugin is plugin:
                    await self._start(impl)
            log_event(log, "plugin_started", plugin=plugin.name)
        self._started = True

    async def _start(self, impl: Impl) -> None:
        timeout_s = HOOKS["startup"].timeout_s
        impl.calls += 1
        try:
            async with asyncio.timeout(timeout_s) as timeout:
                answer = impl.call(self._handles[impl.plugin.name])
                if inspect.isawaitable(answer):
                    await answer
        except TimeoutError as error:
            if not timeout.expired():
                raise _failed(impl.plugin, "startup", error) from error
            raise PluginError(f"plugin {impl.plugin.name}: hubd_startup took over {timeout_s:g} s") from error
        except (Exception, SystemExit) as error:
            raise _failed(impl.plugin, "startup", error) from error

    def reconfigurable(self, name: str) -> bool:
        """Whether a plugin takes over new options while it runs."""
        return any(impl.plugin.name == name for impl in self.hooks.each["reconfigure"].all)

    def apply(self, config: Config) -> None:
        """Hand over the options, and switch on again what is switched off. Raises what a plugin raises.

        The same with the config before then puts all right again, as far as plugins can.
        """
        for impl in self.hooks.each["reconfigure"].all:
            impl.calls += 1
            impl.call(config.plugins[impl.plugin.name])
        self.hooks.switch_on()

    async def stop(self, timeout_s: float) -> None:
        """Stop those that were started, the last one first; what they left running is cancelled."""
        hook = self.hooks.each["shutdown"]
        try:
            async with asyncio.timeout(timeout_s):
                for plugin in reversed(self._begun):
                    for impl in hook.all:
                        if impl.plugin is plugin:
                            await _shut_down(self.hooks, impl)
        except TimeoutError:
            pass  # the time of the stop is over: what isn't closed by now ends with the process
        self._begun.clear()
        for handle in self._handles.values():
            await _within(handle.tasks.close(), timeout_s=1.0)
        await self._cancel_left()

    async def _cancel_left(self) -> None:
        """Cancel tasks of plugins that nobody owns."""
        left = []
        for task in asyncio.all_tasks() - {asyncio.current_task(), *self._before}:
            frame = getattr(task.get_coro(), "cr_frame", None)
            if frame is not None and (owner := self.owner(frame)):
                log_event(log, "plugin_task_left", plugin=owner, task=task.get_name())
                task.cancel()
                left.append(task)
        if left:
            await asyncio.wait(left, timeout=1.0)

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


def _failed(plugin: Plugin, hook: str, error: BaseException) -> PluginError:
    """Why the hub can't start with a plugin: its own words where it chose them for that."""
    why = f"{error}" if isinstance(error, PluginError | Problem | ValueError) else described(error)
    return PluginError(f"plugin {plugin.name}: {PREFIX}{hook} failed: {why} ({place_of(error)})")


async def _shut_down(hooks: Hooks, impl: Impl) -> None:
    hook = hooks.each["shutdown"]
    was_on, impl.plugin.is_on = impl.plugin.is_on, True  # what is switched off has to close what it opened, too
    try:
        await hook.ask(impl)
    except Problem as problem:
        hook.failed(impl, problem)
    finally:
        impl.plugin.is_on = was_on


async def _within(work: Awaitable[Any], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except TimeoutError:
        pass
