"""The hub as a process that starts, stops, and is killed: its parts put together as the daemon does it."""

import asyncio
import hashlib
from pathlib import Path
from random import Random
from typing import Any

from hubd.config import Config
from hubd.core.users import UserNumbers
from hubd.edge.app import Edge
from hubd.edge.http_server import Runner
from hubd.edge.keys import ApiKeys
from hubd.hooks.calls import Hooks
from hubd.hooks.manager import Plugins
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.saved import save
from hubd.taking_up import remembered, take_up
from hubd.tasks import Tasks
from tests.simulation import wire
from tests.simulation.disk import MemoryStore
from tests.simulation.loop import Clock, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.observer import Observer
from tests.simulation.watch import Watch

KEY = "hub_backend_" + "5" * 64
DRAIN_S = 3.0
HOST, PORT = "127.0.0.1", 8080


def config_of(settings: dict[str, Any]) -> Config:
    """The config of a hub that knows the simulation's users and its server."""
    sha256 = hashlib.sha256(KEY.encode()).hexdigest()
    auth = {
        "jwt": [{"algorithm": "HS256", "key": wire.SECRET}],
        "api_keys": [{"id": "backend", "sha256": sha256, "rights": ["publish", "admin"]}],
    }
    return Config.model_validate({"auth": auth, **settings})


class HubProcess:
    """One life of a hub, from its start to its end. ``push`` is the class of the plugin that pushes, ``gate`` that of
    one that holds things, if there is one."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        clock: Clock,
        config: Config,
        *,
        seed: int,
        gate: type[Any] | None,
        store: MemoryStore,
        observer: Observer,
        push: type[Any],
    ) -> None:
        self._loop = loop
        self._network = network
        self._clock = clock
        self._config = config
        self._random = Random(seed)
        self._gate = gate
        self._store = store
        self._push = push
        self._observer = observer
        self._tasks = Tasks()
        self.plugin: Any = None
        self.watch: Watch
        self.hub: Hub
        self.edge: Edge
        self.is_up = False

    async def start(self, saved: Path | None) -> None:
        """From nothing to where it can be connected to; ``saved`` is what a clean stop has left."""
        numbers = UserNumbers()
        self._store.attach(numbers)
        hooks = Hooks(self._clock)
        self._plugins = plugins = Plugins(hooks)
        plugins.add("toy", self._push, None)
        if self._gate is not None:
            self.plugin = plugins.add("gate", self._gate, None).instance
        ids = Ids(self._clock, self._random)
        memory = await remembered(self._store, saved, self._config, self._clock, ids, numbers)
        self.hub = hub = Hub(
            self._config,
            clock=self._clock,
            ids=ids,
            call_soon=self._loop.call_soon,
            memory=memory,
            hooks=hooks,
            store=self._store,
            call_later=self._loop.call_later,
        )
        hub.in_background = self._tasks.start
        plugins.attach(hub, self._random)
        hub.pushing.push_by(plugins.backends, random=self._random, tasks=self._tasks, call_later=self._loop.call_later)
        self.watch = Watch(self._observer, hub)
        keys = ApiKeys(self._config.auth.api_keys)
        self.edge = edge = Edge(hub, keys=keys, tasks=self._tasks, random=self._random, plugins=plugins)
        await plugins.start()
        hub.observers.start(self._tasks)
        await take_up(hub)
        self._runner = Runner(edge.reception, edge.app, shutdown_timeout=DRAIN_S)
        await self._runner.setup()
        self._site = await edge.reception.listen(self._runner, HOST, PORT)
        self._tasks.start(edge.sweep.run(), "sweep")  # all of `edge.start()` but the watch over the loop's lag
        self.is_up = True

    async def stop(self, saved: Path) -> None:
        """A clean stop; what is to be remembered is left in a file."""
        until = self._loop.now + DRAIN_S
        await self._site.stop()
        await self.edge.stop(until)
        try:
            async with asyncio.timeout(max(0.1, until - self._loop.now)):
                await self._runner.cleanup()
        except TimeoutError:
            pass
        await self.hub.pushing.stop(max(0.1, until - self._loop.now))
        await self.hub.observers.flush(0.5)
        await self._plugins.stop(0.5)
        await self._tasks.close()
        await self._store.close(1.0)
        save(saved, self.hub.memory, self._clock)
        self.is_up = False

    def kill(self) -> None:
        """Gone, from one moment to the next."""
        self.is_up = False
        if hasattr(self, "watch"):
            self.watch.is_dead = True
        self._network.kill_servers()
        self._loop.cancel_all()
