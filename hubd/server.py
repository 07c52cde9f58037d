"""The daemon: builds a hub, listens, says so, reads its config again, and stops in good order."""

import asyncio
import errno
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import SystemRandom
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hubd import logs
from hubd.claim import Claim
from hubd.claiming import claim_saved
from hubd.clock import SystemClock
from hubd.collecting import Collecting
from hubd.config import Config
from hubd.config_options import ApiKeyEntry
from hubd.control import ControlSocket
from hubd.delivering import Pusher
from hubd.edge.app import Edge
from hubd.edge.http_server import Runner
from hubd.edge.keys import ApiKeys, new_key
from hubd.edge.origin import is_loopback
from hubd.faults import PluginError
from hubd.hooks.calls import Hooks
from hubd.hooks.manager import Plugins
from hubd.hooks.watchdog import Watchdog
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.log_events import log_event
from hubd.malloc import keep_large_blocks_apart
from hubd.memory import Memory
from hubd.reload import Outcome, Reloader, Source
from hubd.saved import save, saved_path
from hubd.storekeeper import Storekeeper
from hubd.storing import StoreError
from hubd.systemd import ServiceManager
from hubd.taking_up import take_up
from hubd.tasks import Tasks
from hubd.trying import say_dev

DRAIN_MOST_S = 3600.0
"""The longest drain_s that the config allows."""
PLUGINS_S = 10.0
"""How long all plugins together may take to shut down."""
PUSHES_S = 5.0
"""How long a stop waits for pushes that are under way."""
FLUSH_S = 2.0
"""How long a stop waits until plugins have been told what has happened."""
LEFT_S = 3.0
"""How long what plugins left running may take to end, once everything is done."""
STOPPED_AT_ONCE = 130
"""The exit status after a second SIGINT: 128 and the signal's number, as a shell has it."""

log = logging.getLogger("hubd")


OnReady = Callable[[str, str], None]
"""Is told where the hub listens, and dev mode's API key."""


class Reporter(Pusher, Protocol):
    """A pusher that is told which hub it pushes for, before it has to."""

    hub: Hub | None


def serve(
    source: Source, config: Config, dev: bool, pusher: Reporter | None = None, *, on_ready: OnReady | None = None
) -> int:
    """Run a hub until it is told to stop; gives the exit status. ``source`` is where ``config`` was read from."""
    logs.begin(config.log, harmless=(HttpProcessingError,))
    if dev and not is_loopback(config.server.host):
        print("hubd: --dev trusts everybody who can connect: it runs on 127.0.0.1 or ::1 only", file=sys.stderr)
        return 1
    _raise_open_files()
    _warn(config, dev)
    with asyncio.Runner() as runner:  # its end waits for what is left running
        try:
            status = runner.run(Daemon(source, config, dev, pusher, on_ready).run())
        except (ListenError, PluginError, StoreError) as error:
            what = "the store can't be used: " if isinstance(error, StoreError) else ""
            print(f"hubd: {what}{error}", file=sys.stderr)
            status = 1
        _end_for_sure(status)
    return status


def _end_for_sure(status: int) -> None:
    """All is done and saved: end soon, also when a plugin's task or thread doesn't want to."""

    def end() -> None:
        os.write(2, b"hubd: a plugin left something running that wouldn't end: ended without it\n")
        os._exit(status)

    last = threading.Timer(LEFT_S, end)
    last.daemon = True
    last.start()


class ListenError(Exception):
    """An address can't be listened on, and why."""


def _raise_open_files() -> None:
    """Each connection is an open file: take as many as the system allows, not the cautious number it starts with."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _warn(config: Config, dev: bool) -> None:
    """Say what can't be meant so."""
    if not (config.auth.jwt or dev or config.plugins):  # a plugin may know who people are
        log_event(log, "nobody_can_connect")
    for path in config.unused_settings():
        log_event(log, "setting_unused", option=path)
    for path in config.readable_secrets():
        log_event(log, "secret_readable", option=path)


class Daemon:
    """A hub as a process: its listeners, its signals, and who else wants to be told how it is.

    ``pusher`` brings notifications to devices.
    """

    def __init__(
        self, source: Source, config: Config, dev: bool, pusher: Reporter | None = None, on_ready: OnReady | None = None
    ) -> None:
        self._pusher = pusher
        self._on_ready = on_ready
        self._source = source
        self._config = config
        self._dev = dev
        self._tasks = Tasks()
        self._clock = SystemClock()
        self._manager = ServiceManager(os.environ, self._clock)
        self._stop = asyncio.Event()
        self._runners: list[web.AppRunner] = []
        self._sites: list[web.TCPSite] = []
        self._claim: Claim | None = None
        self._hub: Hub | None = None
        self._memory: Memory | None = None
        self._is_interrupted = False
        self._is_ready = False
        self._is_obeying = self._again = False  # a SIGHUP, and another one that came meanwhile

    async def run(self) -> int:
        """Until it is told to stop; gives the exit status."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logs.on_loop_fault)
        self._listen_to_signals(loop)  # first: from the moment on in which the saved file is gone, a stop saves again
        self._saved, self._claim = await claim_saved(self._config, self._clock, self._stop)
        if self._stop.is_set():
            return 0
        random = SystemRandom()
        ids = Ids(self._clock, random)
        self._plugins = Plugins.of(self._config, self._source.catalog(self._config), Hooks(self._clock))
        self._storekeeper = Storekeeper(self._clock, ids)
        try:
            control = await self._start(ids, random)
        except BaseException as error:
            told_to_stop = isinstance(error, asyncio.CancelledError) and self._stop.is_set()
            await self._plugins.stop(PLUGINS_S)
            await self._storekeeper.close(self._hub)
            if self._memory is not None and not self._memory.is_empty:
                self._save()  # the next start is to find what this one has loaded
            if told_to_stop:
                return 0
            raise
        await self._stop.wait()
        control.close()
        if self._claim is not None:
            self._claim.say_stopping()
        self._manager.stopping("stopping: disconnects everybody")
        until = await self._drain()
        self._watchdog.stop()
        await self._tasks.close()
        await self._storekeeper.close(self._hub, until - self._clock.monotonic())
        self._save()
        return 0

    async def _start(self, ids: Ids, random: SystemRandom) -> ControlSocket:
        """Take up what the hub before left, make the hub, and begin."""
        starting = asyncio.current_task()
        assert starting is not None
        watch = self._tasks.start(self._break_off_when_stopped(starting), "break off the start")
        is_alone = self._saved is not None or saved_path(self._config) is None  # else another hub is here
        await self._storekeeper.open(self._config, waits=is_alone)
        self._memory = await self._storekeeper.memory(self._saved, self._config)
        hub, dev_key = self._build(ids, random)
        self._reloader = Reloader(self._source, self._config, self._apply, self._plugins.reconfigurable)
        self._watchdog.start()
        await self._plugins.start()
        await take_up(hub)
        watch.cancel()
        return await self._begin(hub, dev_key)

    async def _begin(self, hub: Hub, dev_key: str) -> ControlSocket:
        """Listen, and say so."""
        hub.observers.start(self._tasks)
        self._tasks.start(self._storekeeper.keep_clean(hub), "clean the store")
        url = await self._open()
        self._edge.start()
        keep_large_blocks_apart()
        collecting = Collecting(self._edge.hub.counts.collections, self._clock)
        collecting.begin()
        self._tasks.start(collecting.run(), "collect garbage")
        control = await self._control(url)
        self._say_ready(url, dev_key)
        self._is_ready = True
        if self._again:
            self._on_hangup()
        return control

    async def _break_off_when_stopped(self, starting: asyncio.Task[Any]) -> None:
        """A database or a plugin may take its time to start: whoever stops the hub meanwhile needn't wait for that."""
        await self._stop.wait()
        starting.cancel()

    def _build(self, ids: Ids, random: SystemRandom) -> tuple[Hub, str]:
        """Make the hub and its edge; gives it, and dev mode's API key."""
        loop = asyncio.get_running_loop()
        plugins = self._plugins
        hub = self._hub = Hub(
            self._config,
            clock=self._clock,
            ids=ids,
            call_soon=loop.call_soon,
            broker=plugins.broker(),
            memory=self._memory,
            hooks=plugins.hooks,
            store=self._storekeeper.store,
            pusher=self._pusher,
            call_later=loop.call_later,
        )
        hub.in_background = self._tasks.start
        plugins.attach(hub, random)
        if self._pusher is not None:
            self._pusher.hub = hub
        elif plugins.backends:
            hub.pushing.push_by(plugins.backends, random=random, tasks=self._tasks, call_later=loop.call_later)
        self._watchdog = Watchdog(loop, plugins.blocked, clock=self._clock, owner=plugins.owner)
        dev_key, digest = new_key("dev")
        always = [ApiKeyEntry(id="dev", sha256=digest, rights=("publish", "admin"))] if self._dev else []
        keys = ApiKeys(self._config.auth.api_keys, always)
        self._edge = Edge(hub, keys=keys, tasks=self._tasks, random=random, plugins=plugins, dev=self._dev)
        return hub, dev_key

    # Listening

    async def _open(self) -> str:
        """Listen; gives where."""
        server = self._config.server
        port = await self._listen(self._edge.app, server.host, server.port)
        if server.admin_port:
            await self._listen(self._edge.admin_app, server.admin_host, server.admin_port)
        return _url(server.host, port)

    async def _listen(self, app: web.Application, host: str, port: int) -> int:
        """Serve an application at an address; gives the port."""
        # The time is an upper bound: how long it really is, `_drain` decides.
        runner = Runner(self._edge.reception, app, shutdown_timeout=DRAIN_MOST_S)
        await runner.setup()
        try:
            site = await self._edge.reception.listen(runner, host, port)
        except OSError as error:
            await runner.cleanup()
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            hint = " (--port takes another one; 0: any that is free)" if error.errno == errno.EADDRINUSE else ""
            raise ListenError(f"can't listen on {host}:{port}: {why}{hint}") from None
        self._runners.append(runner)
        self._sites.append(site)
        return int(runner.addresses[0][1])

    def _say_ready(self, url: str, dev_key: str) -> None:
        if self._dev:
            say_dev(url, dev_key)
        if self._on_ready is not None:
            self._on_ready(url, dev_key)
        self._manager.ready(f"listening on {url}")
        self._tasks.start(self._manager.keep_alive(), "watchdog")
        try:
            print(f"hubd listening on {url}", flush=True)
        except OSError:  # whoever started us needn't listen; but what couldn't be written would be tried again at exit
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives

    # Signals

    def _listen_to_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

        # Not by the loop: whoever presses Ctrl-C twice means it also when the loop is stuck.
        def interrupted(number: int, frame: object) -> None:
            if self._is_interrupted or self._stop.is_set():
                os.write(2, b"hubd: stopped at once: connections were cut, nothing was saved\n")
                os._exit(STOPPED_AT_ONCE)
            self._is_interrupted = True
            loop.call_soon_threadsafe(self._stop.set)

        signal.signal(signal.SIGINT, interrupted)

    def _on_hangup(self) -> None:
        self._again = True
        if self._is_ready and not self._is_obeying:
            self._is_obeying = True
            self._tasks.start(self._obey(), "reload")

    async def _obey(self) -> None:
        """Reload; however many signals come meanwhile, once more does for all of them."""
        try:
            while self._again:
                self._again = False
                await self._reload()
        finally:
            self._is_obeying = False

    # Reading the config again

    async def _control(self, url: str) -> ControlSocket:
        about = {"url": url, "config": self._source.resolved()}
        control = ControlSocket(self._tasks, self._reload, about)
        await control.open(int(url.rpartition(":")[2]))
        return control

    async def _reload(self) -> Outcome:
        if self._stop.is_set():
            return Outcome([], [], ["the hub is stopping"])
        self._manager.reloading()
        outcome = await self._reloader.reload()
        self._edge.hub.counts.reloads["refused" if outcome.errors else "done"] += 1
        if not outcome.errors:
            _warn(self._reloader.config, self._dev)
        self._manager.ready("the last reload failed: see the log" if outcome.errors else "reloaded")
        return outcome

    def _apply(self, config: Config) -> None:
        """Take over a config; nobody is dropped for it."""
        self._plugins.apply(config)
        self._edge.apply(config)
        logs.begin(config.log)

    # Stopping

    async def _drain(self) -> float:
        """Take nobody in any more, tell everybody, and give what is under way until the end of ``drain_s``.

        Gives when that is.
        """
        until = self._clock.monotonic() + self._reloader.config.server.drain_s
        main, *_ = self._sites  # that of the admins goes on saying that the hub isn't ready, and why
        await main.stop()  # who comes now is refused by the system, and may find another hub
        await self._edge.stop(until)
        main_runner, *others = self._runners
        left_s = until - self._clock.monotonic()
        await self._clean_up([main_runner], left_s - min(PLUGINS_S, left_s / 2))  # who is still asking has plugins, too
        await self._edge.hub.pushing.stop(min(PUSHES_S, max(0.1, until - self._clock.monotonic())))
        await self._edge.hub.observers.flush(min(FLUSH_S, max(0.1, until - self._clock.monotonic())))
        await self._plugins.stop(min(PLUGINS_S, max(0.1, until - self._clock.monotonic())))
        await self._clean_up(others, until - self._clock.monotonic())
        return until

    async def _clean_up(self, runners: Sequence[web.AppRunner], within_s: float) -> None:
        """Wait for requests that are under way; those that aren't through by then are cut when the loop ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, within_s)):
                await asyncio.gather(*(runner.cleanup() for runner in runners))

    def _save(self) -> None:
        """Leave what the hub remembers to the next start."""
        memory = self._memory if self._hub is None else self._hub.memory
        assert memory is not None
        save(self._saved, memory, self._clock)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
