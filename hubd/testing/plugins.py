"""A hub for the tests of a plugin, in one call: ``async with hub_for(Greeter, {"greeting": "hi"}) as hub``."""

import asyncio
import heapq
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
from hubd.hooks.calls import Hooks, Plugin
from hubd.hooks.catalog import config_class
from hubd.hooks.manager import Plugins
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.memory import Receipt
from hubd.tasks import Tasks
from hubd.testing.kit import FakeClock, RecordingConnection, connect

STOP_S = 5.0
SETTLE_TURNS = 2000


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


class _Sleepers:
    """Those who wait for the time that is turned by hand."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._due, (self._clock.monotonic() + seconds, self._count, woken))
        await woken

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
        self.plugin: Any = None
        self.name = ""
        self.ended = False

    def _note_fault(self, plugin: Plugin, where: str, kind: str, error: BaseException | None) -> None:
        self.faults.append(Fault(plugin.name, where, kind, error))

    def add(self, other: Other) -> Any:
        """Put a plugin in; gives its instance."""
        return self.plugins.add(other.name, other.plugin, self._options(other.plugin, other.config)).instance

    def _options(self, plugin: type[Any], config: Mapping[str, Any] | BaseModel | None) -> BaseModel:
        if isinstance(config, BaseModel):
            return config
        return config_class(plugin).model_validate(dict(config or {}))

    async def begin(self) -> None:
        """Build the hub, and start the plugins."""
        self.hub = Hub(
            self.config,
            clock=self.clock,
            ids=Ids(self.clock, self._random),
            call_soon=asyncio.get_running_loop().call_soon,
            broker=self.plugins.broker(),
            hooks=self._hooks,
        )
        self.plugins.attach(self.hub, self._random, self._sleepers.sleep)
        self.hub.observers.start(self._tasks)
        tasks, random = self._tasks, self._random
        self.edge = Edge(self.hub, keys=self._keys, tasks=tasks, random=random, plugins=self.plugins, dev=True)
        await self.plugins.start()

    async def end(self) -> None:
        """Stop everything."""
        self.ended = True
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
        options = self._options(type(self.plugin), config)
        self.plugins.apply(self.config.model_copy(update={"plugins": {self.name: options}}))

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

    async def publish(
        self, to: str | Sequence[str], notification: Mapping[str, Any] | None = None, **fields: Any
    ) -> Receipt:
        """Publish as a server does, and wait until everybody has it; ``fields`` are the other ones of that call."""
        body = {"to": to, "notification": dict(notification or {"type": "test"}), **fields}
        if not isinstance(to, str | Mapping):
            body["to"] = list(to)
        receipt, _ = await self.hub.publish(self.hub.prepare(body), "key:test")
        await self.settle()
        return receipt

    async def settle(self) -> None:
        """Let everything happen that needs no time: frames are written, plugins told, their tasks wait again."""
        for _ in range(3):
            for _ in range(SETTLE_TURNS):
                await asyncio.sleep(0)
                if self.hub.observers.is_idle:
                    break
            for _ in range(20):
                await asyncio.sleep(0)

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
        """The value of a metric in `/metrics`; ``KeyError`` when it isn't there."""
        answer = await self.request("GET", "/metrics", key=True)
        wanted = "".join(f'{label}="{value}",' for label, value in sorted(labels.items())).rstrip(",")
        line = f"{name}{{{wanted}}} " if wanted else f"{name} "
        for found in answer.body.decode().splitlines():
            if found.startswith(line):
                return float(found.removeprefix(line))
        raise KeyError(line.strip())


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
    finally:
        await world.end()
    if world.faults and not allow_faults:
        first = world.faults[0]
        message = f"plugin {first.plugin} failed in {first.where} ({first.kind}); {len(world.faults)} faults in all"
        raise AssertionError(message) from first.error
