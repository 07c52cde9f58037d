"""A hub on a real socket with plugins in it that do as the test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Self

from hubd.config import Config
from hubd.edge.app import Edge
from hubd.edge.http_server import Runner
from hubd.edge.keys import ApiKeys
from hubd.hooks.calls import Hooks
from hubd.hooks.manager import Plugins
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.plugin import Credentials, Draft, Identity, PluginConfig, Problem, hookimpl, identity_of
from tests.edge.live_hub import LiveHub, config_of, eventually

Answer = Callable[[], Any]


class HookedHub(LiveHub):
    """A hub that listens, with these plugins: each a name, a class and its options. ``faults`` are theirs."""

    def __init__(
        self,
        config: Config,
        plugins: Iterable[tuple[str, type[Any], Any]],
        *,
        dev: bool = False,
        timeout_s: float | None = None,
        **of_hub: Any,
    ) -> None:
        super().__init__(config, dev)
        self.hooks = Hooks(self.clock, timeout_s)
        self.faults: list[tuple[str, str]] = []
        self.hooks.on_fault.append(lambda plugin, where, kind, error: self.faults.append((where, kind)))
        self.plugins = Plugins(self.hooks)
        self.made = [self.plugins.add(*one).instance for one in plugins]
        call_soon = asyncio.get_running_loop().call_soon
        ids = Ids(self.clock, Random(1))
        self.hub = Hub(config, clock=self.clock, ids=ids, call_soon=call_soon, hooks=self.hooks, **of_hub)
        self.plugins.attach(self.hub, Random(1))
        keys = ApiKeys(config.auth.api_keys)
        self.edge = Edge(self.hub, keys=keys, tasks=self.tasks, random=Random(1), plugins=self.plugins, dev=dev)
        self.reception = self.edge.reception
        self._runner = Runner(self.reception, self.edge.app, shutdown_timeout=1)

    async def start(self) -> Self:
        """Start the plugins, and listen."""
        await self.plugins.start()
        return await super().start()

    async def stop(self) -> None:
        """End everything; then the plugins."""
        await super().stop()
        await self.plugins.stop(5.0)


@asynccontextmanager
async def hooked(
    *plugins: type[Any],
    sections: Mapping[str, dict[str, Any]] | None = None,
    dev: bool = False,
    timeout_s: float | None = None,
    **of_hub: Any,
) -> AsyncIterator[HookedHub]:
    """A hub with these plugins, called gate, gate2, ..."""
    named = [(f"gate{place or ''}", plugin, PluginConfig()) for place, plugin in enumerate(plugins)]
    hub = HookedHub(config_of(**(sections or {})), named, dev=dev, timeout_s=timeout_s, **of_hub)
    await hub.start()
    try:
        yield hub
    finally:
        for gate in hub.made:
            gate.go.set()
        await hub.stop()


class Steered:
    """What all plugins here have: ``asked`` is what they were asked, ``go`` lets them answer, ``fault`` is raised."""

    def __init__(self, config: PluginConfig) -> None:
        self.asked: list[Any] = []
        self.waiting = 0
        self.fault: BaseException | None = None
        self.nonsense: Any = None
        self.go = asyncio.Event()
        self.go.set()

    async def turn(self, asked: Any) -> None:
        """Note what was asked, wait until the test lets it go, fail if it says so."""
        self.asked.append(asked)
        self.waiting += 1
        try:
            await self.go.wait()
        finally:
            self.waiting -= 1
        if self.fault is not None:
            raise self.fault

    async def is_asked(self) -> None:
        """Wait until somebody waits for this plugin's answer."""
        await eventually(lambda: self.waiting, "the plugin wasn't asked")


class Knowing(Steered):
    """Knows who sends 'app-USER' as the token, or as the cookie ``app``; refuses 'no-...'; the rest isn't its own."""

    grants: dict[str, Any]

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.grants = {"topics": ["**"], "publish": ["**"]}

    @hookimpl
    async def hubd_authenticate(self, credentials: Credentials) -> Identity | None:
        await self.turn(credentials)
        if self.nonsense is not None:
            return self.nonsense
        given = credentials.token or credentials.cookies.get("app", "")
        if given.startswith("no-"):
            raise Problem("unauthorized", f"{given} is not welcome")
        return identity_of(given.removeprefix("app-"), **self.grants) if given.startswith("app-") else None


class Objecting(Steered):
    """Objects to subscribing to the topics in ``denied``."""

    denied: set[str]

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.denied = set()

    @hookimpl
    async def hubd_authorize_subscribe(self, identity: Identity, channels: tuple[str, ...]) -> Any:
        assert channels, "there is nothing to object to"
        await self.turn((identity.user, channels))
        return self.nonsense if self.nonsense is not None else [name for name in channels if name in self.denied]


class Censor(Steered):
    """Objects to publishing to the channels in ``denied``."""

    denied: set[str]

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.denied = set()

    @hookimpl
    async def hubd_authorize_publish(
        self, publisher: str, identity: Identity | None, channels: tuple[str, ...], draft: Draft
    ) -> Any:
        await self.turn((publisher, identity.user if identity else None, channels, draft.payload.get("n")))
        if self.nonsense is not None:
            return self.nonsense
        if draft.segment == "forbidden":
            raise Problem("forbidden", "nobody publishes to this segment")
        return [name for name in channels if name in self.denied]


class Segments(Steered):
    """Knows one segment, which is everybody of the topic `team`."""

    @hookimpl
    async def hubd_resolve_audience(self, segment: Any) -> list[str]:
        return ["team"]


def beside(work: Awaitable[Any]) -> "asyncio.Task[Any]":
    """A client's call that goes on beside the test."""
    return asyncio.ensure_future(work)
