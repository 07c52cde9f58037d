"""Animals that keep the hub from starting: each says in ``why`` what the hub says of it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, ClassVar

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric

from hubd.plugin import Limits, Problem, Routes, hookimpl
from tests.hooks.zoo.nonsense import Masked, Quits, Untouchable, endless


class Animal:
    """One without options."""

    why: ClassVar[str] = ""


def _class(name: str, why: str, **members: Any) -> type[Any]:
    hooks = {f"hubd_{hook}": hookimpl(method) for hook, method in members.items()}
    return type(name, (Animal,), {"why": why, **hooks})


async def answer(request: web.Request) -> web.Response:
    """A handler."""
    return web.Response()


def routes(*wanted: tuple[Any, ...], why: str) -> type[Any]:
    """One that asks for these calls."""

    def hubd_register_routes(self: Any, routes: Routes) -> None:
        for one in wanted:
            routes.public(*one)

    return _class("Routed", f"plugin animal: hubd_register_routes failed: {why}", register_routes=hubd_register_routes)


def answers(hook: str, answer: Callable[[], Any], why: str) -> type[Any]:
    """One that answers this."""

    def method(self: Any) -> Any:
        return answer()

    return _class("Answers", why, **{hook: method})


def raises(hook: str, error: BaseException | type[BaseException], why: str) -> type[Any]:
    """One that raises this."""

    def method(self: Any) -> Any:
        raise error

    return _class("Raises", f"plugin animal: hubd_{hook} failed: {why} (", **{hook: method})


def metrics(*made: Callable[[CollectorRegistry], Any], why: str) -> type[Any]:
    """One with these metrics."""

    def hubd_register_metrics(self: Any, registry: CollectorRegistry) -> None:
        for make in made:
            make(registry)

    return _class("Measured", why, register_metrics=hubd_register_metrics)


class Collector:
    """A collector of prometheus-client's that shows this."""

    def __init__(self, *families: Any) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        """That."""
        return list(self.families)


class BadInit(Animal):
    """Fails when it is made."""

    why = "can't be made: RuntimeError ("

    def __init__(self, config: Any) -> None:
        raise RuntimeError("secret")


class ExitingInit(Animal):
    """Wants no hub at all."""

    why = "can't be made: SystemExit ("

    def __init__(self, config: Any) -> None:
        raise SystemExit("secret")


class InitWithMore(Animal):
    """Wants more than there is."""

    why = "its __init__ has to take its options: def __init__(self, config)"

    def __init__(self, config: Any, more: Any) -> None:
        pass


class Hangs(Animal):
    """Waits for ever."""

    why = "plugin animal: hubd_startup took over 0.1 s"

    @hookimpl
    async def hubd_startup(self) -> None:
        await asyncio.sleep(3600)


class Swallows(Animal):
    """The same, and takes no notice of being cancelled."""

    why = "plugin animal: hubd_startup took over 0.1 s"

    @hookimpl
    async def hubd_startup(self) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)


class BrokerOf:
    """No good broker."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def start(self, *args: Any) -> None:
        """Doesn't."""
        raise self.error

    async def publish(self, notification: Any) -> None:
        """Nor this."""


class Platform:
    """A push backend, as far as it can be seen."""

    limits: Any = Limits()
    check = check_overrides = destination = staticmethod(answer)

    def __init__(self, platform: Any = "fcm", send: Any = answer) -> None:
        self.platform = platform
        self.send = send


class Unlimited(Platform):
    """A push backend that says nothing of its limits."""

    limits = None


BACKENDS = "plugin animal: hubd_push_backends answers None or a list of PushBackend, each with `platform` (a word)"
BROKER = "plugin animal: hubd_broker answers None or a Broker, with `start` and `publish`"
METRICS = "plugin animal: its metrics have to be called animal_...: "


def _late() -> Iterator[Any]:
    yield Platform()
    raise RuntimeError


class _Waits:
    def __await__(self) -> Iterator[Any]:
        yield None


ANIMALS = {
    "bad init": BadInit,
    "exiting init": ExitingInit,
    "init with more": InitWithMore,
    "hangs": Hangs,
    "swallows": Swallows,
    "raises": raises("startup", RuntimeError("secret"), "RuntimeError"),
    "exits": raises("startup", SystemExit("secret"), "SystemExit"),
    "interrupts": raises("startup", KeyboardInterrupt, "KeyboardInterrupt"),
    "cancelled": raises("startup", asyncio.CancelledError, "CancelledError"),
    "no memory": raises("startup", MemoryError, "MemoryError"),
    "value": raises("startup", ValueError("secret"), "ValueError"),
    "own words": raises("startup", Problem("unavailable", "the database\nis away"), "the database is away"),
    "taken": routes(("GET", "/notifications", answer), why="there is a GET /notifications already, and it answers"),
    "covered": routes(("GET", "/api/users/me", answer), why="there is a GET /api/users/{id} already, and it answers"),
    "twice": routes(("GET", "/a/{b}", answer), ("GET", "/a/{c}", answer), why="there is a GET /a/{b} already"),
    "relative": routes(("GET", "a", answer), why="'a' is no path such as /api/greetings/{name}"),
    "dots": routes(("GET", "/a/../b", answer), why="'/a/../b' is no path such as"),
    "pattern": routes(("GET", "/a/{b:.*}", answer), why="'/a/{b:.*}' is no path such as"),
    "no path": routes(("GET", 5, answer), why="5 is no path such as"),
    "two variables": routes(("GET", "/{a}/{a}", answer), why="'/{a}/{a}' has two variables of one name"),
    "no method": routes(("LOOK", "/a", answer), why="a method is one of GET, POST, PUT, PATCH, DELETE, not 'LOOK'"),
    "no handler": routes(("GET", "/a", None), why="a handler is a coroutine function; this one has to take request"),
    "routes exit": raises("register_routes", SystemExit, "SystemExit"),
    "waits for routes": answers(
        "register_routes", _Waits, "plugin animal: hubd_register_routes gave something to be awaited"
    ),
    "foreign metric": metrics(lambda into: Gauge("hub_x", "X", registry=into), why=METRICS + "'hub_x' isn't"),
    "metric of hubd": metrics(lambda into: Gauge("hubd_up", "X", registry=into), why=METRICS + "'hubd_up' isn't"),
    "metric twice": metrics(
        lambda into: Gauge("animal_x", "X", registry=into),
        lambda into: Gauge("animal_x", "X", registry=into),
        why="plugin animal: hubd_register_metrics failed: Duplicated timeseries in CollectorRegistry: {'animal_x'}",
    ),
    "families twice": metrics(
        lambda into: into.register(Collector(*[GaugeMetricFamily("animal_x", "X", value=1)] * 2)),
        why="plugin animal: there is a metric 'animal_x' already",
    ),
    "samples twice": metrics(
        lambda into: Counter("animal_x", "X", registry=into),
        lambda into: into.register(Collector(GaugeMetricFamily("animal_x_total", "X", value=1))),
        why="plugin animal: there is a metric 'animal_x_total' already",
    ),
    "metrics raise": raises("register_metrics", KeyError("secret"), "KeyError"),
    "number for a broker": answers("broker", lambda: 5, BROKER),
    "half a broker": answers("broker", Platform, BROKER),
    "untouchable broker": answers("broker", Untouchable, BROKER),
    "broker exits": answers(
        "broker", lambda: BrokerOf(SystemExit("secret")), "plugin animal: its broker can't start: "
    ),
    "broker fails": answers("broker", lambda: BrokerOf(OSError("secret")), "plugin animal: its broker can't start: "),
    "broker raises": raises("broker", RuntimeError("secret"), "RuntimeError"),
    "number for backends": answers("push_backends", lambda: 5, BACKENDS),
    "one for backends": answers("push_backends", Platform, BACKENDS),
    "backends of numbers": answers("push_backends", lambda: [5], BACKENDS),
    "backend of no platform": answers("push_backends", lambda: [Platform("")], BACKENDS),
    "backend of many words": answers("push_backends", lambda: [Platform("two words")], BACKENDS),
    "backend without limits": answers("push_backends", lambda: [Unlimited()], BACKENDS),
    "backend that can't send": answers("push_backends", lambda: [Platform("x", None)], BACKENDS),
    "untouchable backends": answers("push_backends", Untouchable, BACKENDS),
    "backends that fail late": answers("push_backends", _late, BACKENDS),
    "backends that quit": answers("push_backends", Quits, BACKENDS),
    "masked backends": answers("push_backends", lambda: [Masked()], BACKENDS),
    "endless backends": answers("push_backends", endless, BACKENDS),
    "backends of one platform": answers(
        "push_backends", lambda: [Platform(), Platform()], "plugin animal: there is a push backend for 'fcm' already"
    ),
}
