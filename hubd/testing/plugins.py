"""A hub for the tests of a plugin, in one call: ``async with hub_for(Greeter, {"greeting": "hi"}) as hub``."""

import asyncio
import difflib
import heapq
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import click
import orjson
from aiohttp.test_utils import TestClient, TestServer
from pydantic import BaseModel

from hubd.config import Config
from hubd.config_options import ApiKeyEntry
from hubd.core.identity import Identity
from hubd.edge.app import Edge
from hubd.edge.keys import ApiKeys, new_key
from hubd.hooks.calls import Hooks
from hubd.hooks.catalog import config_class
from hubd.hooks.handle import PluginHub
from hubd.hooks.manager import Plugins
from hubd.hooks.switching import Plugin
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.memory import Receipt
from hubd.tasks import Tasks
from hubd.testing.kit import FakeClock, RecordingConnection, connect, identity

STOP_S = 5.0
NEAR = 10
"""How many metrics are named when the one that was asked for isn't there."""
REAL_STEP_S = 0.002
SETTLE_TURNS = 5000
QUIET_TURNS = 20
"""After so many turns of the loop in which nothing happened, nothing will by itself."""


class Other(NamedTuple):
    """One more plugin in the same hub, called after those before it."""

    name: str
    plugin: type[Any]
    config: Mapping[str, Any] | BaseModel | None = None


class Fault(NamedTuple):
    """A fault of a plugin that the hub has put up with; ``kind`` as in the metric ``hubd_plugin_faults_total``."""

    plugin: str
    where: str
    kind: str
    error: BaseException | None


class HttpAnswer(NamedTuple):
    """The hub's answer to an HTTP request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return orjson.loads(self.body)


class _Call:
    """A call that is to come."""

    def __init__(self, due: "asyncio.Future[None]") -> None:
        self._due = due

    def cancel(self) -> None:
        """Call it off."""
        self._due.cancel()


class _Sleepers:
    """Those who wait for the time that is turned by hand."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self.is_over = False

    def end(self) -> None:
        """Nobody turns the clock any more: whoever waits for it goes on at once, or nearly so."""
        self.is_over = True
        for _, _, woken in self._due:
            if not woken.done():
                woken.set_result(None)
        self._due.clear()

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        if self.is_over:
            await asyncio.sleep(REAL_STEP_S)  # others get their turn, whoever sleeps in a loop
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._due, (self._clock.monotonic() + seconds, self._count, woken))
        await woken

    def call_later(self, seconds: float, function: Callable[[], None]) -> "_Call":
        """Have a function called then; cancelling what this gives calls it off."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.is_over:
            return _Call(woken)
        woken.add_done_callback(lambda done: None if done.cancelled() or self.is_over else function())
        if seconds <= 0:
            woken.set_result(None)
            return _Call(woken)
        self._count += 1
        heapq.heappush(self._due, (self._clock.monotonic() + seconds, self._count, woken))
        return _Call(woken)

    def next_due(self) -> float | None:
        while self._due and self._due[0][2].done():
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def wake(self) -> None:
        while (due := self.next_due()) is not None and due <= self._clock.monotonic():
            heapq.heappop(self._due)[2].set_result(None)


class PluginWorld:
    """A hub with a plugin in it, and what a test does with both.

    ``plugin`` is the instance, ``name`` the name that it has in the hub; ``clock`` is turned by ``advance``; ``hub`` is
    the whole hub, for what nothing here does. ``faults`` are those of its plugins so far.
    """

    def __init__(
        self, settings: Mapping[str, Any], seed: int, timeout_s: float | None, clock: FakeClock | None
    ) -> None:
        self.config = Config.model_validate(dict(settings))
        self.clock = clock or FakeClock()
        self.faults: list[Fault] = []
        self._random = Random(seed)  # noqa: S311 - a test wants the same every time, and keeps no secrets
        self._sleepers = _Sleepers(self.clock)
        self._tasks = Tasks()
        self._hooks = Hooks(self.clock, timeout_s)
        self._hooks.on_fault.append(self._note_fault)
        self.plugins = Plugins(self._hooks)
        self._key, digest = new_key("test")
        self._keys = ApiKeys((), [ApiKeyEntry(id="test", sha256=digest, rights=("publish", "admin"))])
        self._client: TestClient[Any, Any] | None = None
        self._client_lock = asyncio.Lock()
        self._options: dict[str, BaseModel] = {}
        self.plugin: Any = None
        self.name = ""
        self.ended = False
        self.left_open = False
        self._is_made = False

    def _note_fault(self, plugin: Plugin, where: str, kind: str, error: BaseException | None) -> None:
        self.faults.append(Fault(plugin.name, where, kind, error))

    def add(self, other: Other) -> Any:
        """Put a plugin in; gives its instance."""
        self._options[other.name] = _checked(other.plugin, other.config)
        return self.plugins.add(other.name, other.plugin, self._options[other.name]).instance

    async def begin(self) -> None:
        """Build the hub, and start the plugins. ``handle`` is the hub as a plugin sees it, for the test itself."""
        self.hub = Hub(
            self.config,
            clock=self.clock,
            ids=Ids(self.clock, self._random),
            call_soon=asyncio.get_running_loop().call_soon,
            broker=self.plugins.broker(),
            hooks=self._hooks,
            call_later=self._sleepers.call_later,
        )
        self._is_made = True
        self.plugins.attach(self.hub, self._random, self._sleepers.sleep)
        if self.plugins.backends:
            call_later = self._sleepers.call_later
            self.hub.pushing.push_by(
                self.plugins.backends, random=self._random, tasks=self._tasks, call_later=call_later
            )
        self.handle = PluginHub(Plugin("test", None), self.hub, self._hooks, self._random)
        tasks, random = self._tasks, self._random
        self.edge = Edge(self.hub, keys=self._keys, tasks=tasks, random=random, plugins=self.plugins, dev=True)
        await self.plugins.start()
        self.hub.observers.start(self._tasks)

    async def end(self) -> None:
        """Stop everything."""
        self.ended = True
        if self._is_made:
            self.hub.stopping = True  # as a hub does first of all
        self._sleepers.end()
        if self._is_made:
            await self.hub.pushing.stop(STOP_S)
            await self.hub.observers.flush(STOP_S)
        await self.plugins.stop(STOP_S)
        if self._client is not None:
            await self._client.close()
        await self._tasks.close()

    # What a test does

    def reconfigure(self, config: Mapping[str, Any] | BaseModel) -> None:
        """Hand the plugin other options, as a reload of the config does; plugins that are switched off come on again.

        Raises what the plugin raises. One without ``hubd_reconfigure`` keeps what it has.
        """
        options = {**self._options, self.name: _checked(type(self.plugin), config)}
        self.plugins.apply(self.config.model_copy(update={"plugins": options}))
        self._options = options

    @property
    def commands(self) -> click.Group:
        """What the plugins add to the command line; for click's ``CliRunner().invoke(hub.commands, [...])``."""
        group = click.Group("hubd")
        for impl in self._hooks.each["register_commands"].impls:
            impl.call(group)
        return group

    def connect(
        self, who: Identity | str, topics: Sequence[str] = (), cursor: str | None = None
    ) -> RecordingConnection:
        """Connect a user, subscribed to these topics; what he gets is in ``frames`` and ``notifications()``."""
        return connect(self.hub, who, tuple(topics), cursor)

    async def register(self, user: str, platform: str, **fields: Any) -> str:
        """Register a device of a user, as he would himself; gives its id."""
        if platform == "webpush":
            answer = await self.request("POST", "/api/push-subscriptions", user=user, json=fields)
        else:
            answer = await self.request("POST", "/api/devices", user=user, json={"platform": platform, **fields})
        assert answer.status in (200, 201), answer
        return str(answer.json()["id"])

    async def publish(
        self,
        to: str | Sequence[str],
        notification: Mapping[str, Any] | None = None,
        *,
        settle: bool = True,
        as_user: Identity | str | None = None,
        **fields: Any,
    ) -> Receipt:
        """Publish as a server does, and wait until everybody has it; ``fields`` are the other ones of that call.

        Without ``settle`` it returns as soon as the publisher has his answer. ``as_user``: as this user does, by the
        action of his connection; what his token would allow him isn't looked at.
        """
        body = {"to": to, "notification": dict(notification or {"type": "test"}), **fields}
        if not isinstance(to, str | Mapping):
            body["to"] = list(to)
        user = identity(as_user) if isinstance(as_user, str) else as_user
        publisher = "key:test" if user is None else f"user:{user.user}"
        receipt, _ = await self.hub.publish(self.hub.prepare(body), publisher, user)
        if settle:
            await self.settle()
        return receipt

    async def until(self, condition: Callable[[], Any], *, step_s: float = 1.0, real_s: float = 10.0) -> None:
        """Let time pass in steps until the condition holds, with a moment for real sockets at each step.

        ``AssertionError`` when that takes longer than ``real_s`` seconds of real time.
        """
        for _ in range(int(real_s / REAL_STEP_S)):
            if condition():
                return
            await self.advance(step_s)
            await asyncio.sleep(REAL_STEP_S)
        raise AssertionError(f"it didn't happen within {real_s:g} s")

    async def settle(self) -> None:
        """Let everything happen that needs no time: frames are written, plugins told, their tasks wait again."""
        # What the loop will run in its next turn. Loops that don't show it are given a few turns more instead.
        ready = getattr(asyncio.get_running_loop(), "_ready", ())
        quiet = 0
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
            quiet = 0 if ready or not self.hub.observers.is_idle else quiet + 1
            if quiet == QUIET_TURNS:
                break

    async def advance(self, seconds: float) -> None:
        """Let time pass: whoever waits by ``hub.sleep`` wakes when his time comes, one after the other."""
        end = self.clock.monotonic() + seconds
        await self.settle()
        while (due := self._sleepers.next_due()) is not None and due <= end:
            self.clock.advance(max(0.0, due - self.clock.monotonic()))
            self._sleepers.wake()
            await self.settle()
        self.clock.advance(end - self.clock.monotonic())
        self.hub.maintain()
        await self.settle()

    async def request(
        self,
        method: str,
        path: str,
        *,
        user: str = "",
        key: bool = False,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Ask the hub by HTTP, over a real socket: as a ``user``, with an API ``key`` that may do all, or as nobody."""
        async with self._client_lock:  # the first ones may come together
            if self._client is None:
                self._client = TestClient(TestServer(self.edge.app))
                await self._client.start_server()
        sent = dict(headers or {})
        if key:
            sent["Authorization"] = f"Bearer {self._key}"
        params = {"user": user} if user else {}
        body = None if json is None else orjson.dumps(json)
        async with self._client.request(method, path, params=params, data=body, headers=sent) as response:
            return HttpAnswer(response.status, response.headers, await response.read())

    async def metric(self, name: str, **labels: str) -> float:
        """The value of a metric in `/metrics`; ``KeyError`` when it isn't there, with those that are like it."""
        answer = await self.request("GET", "/metrics", key=True)
        wanted = "".join(f'{label}="{value}",' for label, value in sorted(labels.items())).rstrip(",")
        line = f"{name}{{{wanted}}} " if wanted else f"{name} "
        there = answer.body.decode().splitlines()
        for found in there:
            if found.startswith(line):
                return float(found.removeprefix(line))
        near = [found.rpartition(" ")[0] for found in there if found.startswith(name)]
        near += difflib.get_close_matches(name, {found.partition("{")[0].partition(" ")[0] for found in there})
        raise KeyError(f"{line.strip()}; there are: {', '.join(near[:NEAR]) or 'none like it'}")


def _checked(plugin: type[Any], config: Mapping[str, Any] | BaseModel | None) -> BaseModel:
    """The options of a plugin."""
    return config if isinstance(config, BaseModel) else config_class(plugin).model_validate(dict(config or {}))


@asynccontextmanager
async def hub_for(
    plugin: type[Any],
    config: Mapping[str, Any] | BaseModel | None = None,
    *,
    name: str = "",
    others: Sequence[Other] = (),
    settings: Mapping[str, Any] | None = None,
    allow_faults: bool = False,
    timeout_s: float | None = None,
    clock: FakeClock | None = None,
    seed: int = 1,
    opened: Callable[[PluginWorld], None] = lambda world: None,
) -> AsyncIterator[PluginWorld]:
    """A hub with this plugin, under its class's name in lower case if it isn't given another.

    ``config`` is what stands in its ``[plugins.NAME]``, ``settings`` are the hub's own sections, ``others`` further
    plugins. ``timeout_s`` shortens what hooks may take. The hub puts up with a plugin's faults; here they make the test
    fail at the end, unless ``allow_faults``.
    """
    if not inspect.isclass(plugin):
        raise TypeError("hub_for takes the class of a plugin, and makes the instance itself")
    world = PluginWorld(settings or {}, seed, timeout_s, clock)
    world.name = name or plugin.__name__.lower()
    world.plugin = world.add(Other(world.name, plugin, config))
    for other in others:
        world.add(other)
    opened(world)
    try:
        await world.begin()
        yield world
        await world.settle()
    except GeneratorExit:  # nobody closed it, so the loop does at its own end
        world.left_open = True
        raise
    finally:
        await world.end()
    if world.faults and not allow_faults:
        first = world.faults[0]
        message = f"plugin {first.plugin} failed in {first.where} ({first.kind}); {len(world.faults)} faults in all"
        raise AssertionError(message) from first.error
