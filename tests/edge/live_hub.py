"""A whole hub on a real socket of this machine, its clock turned by hand, and clients of its HTTP API."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from random import Random
from typing import Any, NamedTuple, Protocol, Self

import aiohttp
import jwt
import msgpack
import orjson
from aiohttp import web
from yarl import URL

from hubd.broker import LocalBroker, Published
from hubd.config import Config
from hubd.core.notification import Notification
from hubd.core.presence import State
from hubd.edge.app import Edge
from hubd.edge.http_server import Runner
from hubd.edge.keys import ApiKeys, new_key
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.tasks import Tasks
from hubd.testing import FakeClock
from tests.edge.ws_client import JSON, Client, Message

HOST = "127.0.0.1"
SECRET = "s" * 64
OWN_ORIGIN = "https://hub.example.com"
LISTED_ORIGIN = "https://app.example.com"
DEADLINE_S = 10.0
_LARGE = 1 << 20  # aiohttp's client warns of sending more as bytes

_KEYS = {name: new_key(name) for name in ("backend", "other", "publisher", "admin", "news")}
_ENTRIES: list[dict[str, Any]] = [
    {"id": "backend", "rights": ["publish", "admin"]},
    {"id": "other", "rights": ["publish", "admin"]},
    {"id": "publisher", "rights": ["publish"]},
    {"id": "admin", "rights": ["admin"]},
    {"id": "news", "rights": ["publish", "admin"], "channels": ["news:*"]},
]


class Answer(NamedTuple):
    """What the HTTP API answered."""

    status: int
    headers: Any
    body: Any

    @property
    def code(self) -> str:
        """The code of a problem, which must be a whole one (RFC 9457)."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self
        problem = self.body
        assert {"type", "title", "status", "detail", "code"} <= set(problem) <= {*_PROBLEM_FIELDS}, problem
        assert problem["status"] == self.status
        for name in ("type", "title", "detail", "code"):
            assert isinstance(problem[name], str) and problem[name], problem
        return str(problem["code"])

    @property
    def paths(self) -> list[str]:
        """Where the wrong fields are."""
        assert self.code == "invalid" and self.status == 422, self
        assert all(set(error) == {"path", "message"} and error["message"] for error in self.body["errors"])
        return [error["path"] for error in self.body["errors"]]


_PROBLEM_FIELDS = ("type", "title", "status", "detail", "code", "errors", "reasons")


async def eventually(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until something is so; a failure after a while."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what or "it didn't come about"
        await asyncio.sleep(0.002)


def config_of(**sections: dict[str, Any]) -> Config:
    """The config of these tests, with some sections' options changed."""
    auth = {
        "jwt": [{"algorithm": "HS256", "key": SECRET}],
        "api_keys": [entry | {"sha256": _KEYS[entry["id"]][1]} for entry in _ENTRIES],
        "origins": [LISTED_ORIGIN],
    }
    server = {"public_url": OWN_ORIGIN}
    merged = sections | {"auth": auth | sections.get("auth", {}), "server": server | sections.get("server", {})}
    return Config.model_validate(merged)


class SlowBroker(LocalBroker):
    """Waits before each publication until it is let go; the first ``failures`` fail."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.asked = 0
        self.failures = failures

    async def publish(self, notification: Notification) -> Published:
        self.asked += 1
        await self.go.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the broker is down")
        return await super().publish(notification)


class HasWriter(Protocol):
    """A client of whatever transport."""

    @property
    def writer(self) -> asyncio.StreamWriter:
        """What it writes to its connection with."""
        ...


class LiveHub:
    """A hub that listens. Nothing happens by itself: ``sweep`` is what else a second brings."""

    def __init__(self, config: Config, dev: bool = False, *, clock: FakeClock | None = None, **of_hub: Any) -> None:
        self.clock = clock or FakeClock()
        self.tasks = Tasks()
        call_soon = asyncio.get_running_loop().call_soon
        self.hub = Hub(config, clock=self.clock, ids=Ids(self.clock, Random(1)), call_soon=call_soon, **of_hub)
        self.hub.in_background = self.tasks.start
        keys = ApiKeys(config.auth.api_keys)
        self.edge = Edge(self.hub, keys=keys, tasks=self.tasks, random=Random(1), dev=dev)
        self.edges: list[tuple[str, State, State]] = []
        self.hub.on_presence.append(lambda *edge: self.edges.append(edge))
        self.clients: list[HasWriter] = []
        self.port = 0
        self.reception = self.edge.reception
        self._runner = Runner(self.reception, self.edge.app, shutdown_timeout=1)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> Self:
        """Listen on a free port."""
        await self._runner.setup()
        await self.reception.listen(self._runner, HOST, 0)
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """End all clients, then the hub; nothing may be left of any connection."""
        for client in self.clients:
            client.writer.transport.abort()
        if self._session is not None:
            await self._session.close()
        await eventually(self.is_empty, f"left over: {self.left_over()}")
        await self.stop_listening()
        await self.tasks.close()

    async def stop_listening(self) -> None:
        """End aiohttp's part."""
        await self._runner.cleanup()

    def server(self) -> web.Server:
        """aiohttp's server, which knows the connections that are still its own."""
        assert self._runner.server is not None
        return self._runner.server

    def slow_broker(self, failures: int = 0) -> SlowBroker:
        """From now on every publication waits until ``go`` is set."""
        broker = SlowBroker(failures)
        broker.start(self.hub.publishing.on_publication)
        self.hub.publishing._broker = broker
        return broker

    def left_over(self) -> dict[str, Any]:
        """What the hub still keeps of connections: all of it empty when there are none."""
        hub, endpoint = self.hub, self.edge.endpoint
        return {
            "connections": list(hub.registry.connections),
            "topics": list(hub.registry.topics),
            "users": [user.id for user in hub.registry.users.values() if user.connections],
            "watched": list(hub.watches._topics),
            "unauthenticated": list(endpoint.unauthenticated),
            "leaving": list(endpoint.leaving),
            "addresses": dict(endpoint.addresses._counts),
            "polls": [*self.edge.polls._ends, *self.edge.polls._due],
            "tasks": [task.get_name() for task in self.tasks._running],
        }

    def is_empty(self) -> bool:
        """Whether nothing is kept of any connection."""
        return not any(self.left_over().values())

    def sweep(self) -> None:
        """What the sweep does once a second."""
        self.edge.sweep.look(list(self.hub.registry.connections))
        self.edge.sweep.look_at_strangers()
        self.reception.look()
        self.hub.maintain()

    def run_in_real_time(self) -> None:
        """Let the sweep run by itself, by a clock that goes as fast as the machine's."""
        begun = time.monotonic()
        now, monotonic = self.clock.now(), self.clock.monotonic()
        self.clock.now = lambda: now + time.monotonic() - begun  # type: ignore[method-assign]  # a running clock
        self.clock.monotonic = lambda: monotonic + time.monotonic() - begun  # type: ignore[method-assign]  # the same
        self._sweeping = self.tasks.start(self.edge.sweep.run(), "sweep")

    async def stop_sweeping(self) -> None:
        """Leave it to the test again."""
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)

    def let_pass(self, seconds: float) -> None:
        """Let time pass, then sweep."""
        self.clock.advance(seconds)
        self.sweep()

    # Proofs

    def token(self, user: str = "42", secret: str = SECRET, **claims: Any) -> str:
        """A user's token; a claim that is None is left out."""
        now = self.clock.now()
        given = {"sub": user, "exp": now + 3600, "iat": now - 10} | claims
        return jwt.encode({name: value for name, value in given.items() if value is not None}, secret, "HS256")

    def bearer(self, key: str) -> str:
        """The Authorization header of an API key, by the key's id."""
        return f"Bearer {_KEYS[key][0]}"

    # HTTP

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    async def call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        key: str | None = "backend",
        token: str | None = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A call of the HTTP API, by an API key unless there is a token (or neither: ``key=None``)."""
        if self._session is None:
            self._session = aiohttp.ClientSession(skip_auto_headers=["Content-Type"])
        given = dict(headers or {})
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        elif key is not None:
            given["Authorization"] = self.bearer(key)
        if json is not None:
            data = orjson.dumps(json)
        sent = BytesIO(data) if isinstance(data, bytes) and len(data) > _LARGE else data
        url = URL(self.url + path, encoded=True)
        async with self._session.request(method, url, data=sent, headers=given, allow_redirects=False) as response:
            body = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, response.headers, orjson.loads(body) if is_json and body else body)

    async def publish(self, to: Any = "notifications", **fields: Any) -> Any:
        """Publish what must be accepted: the answer's body."""
        answer = await self.try_publish(to, **fields)
        assert answer.status in (200, 202), answer
        return answer.body

    async def try_publish(
        self,
        to: Any = "notifications",
        *,
        key: str = "backend",
        packed: bool = False,
        n: int | None = None,
        **fields: Any,
    ) -> Answer:
        """Publish; ``n`` is a short way to tell notifications apart."""
        fields.setdefault("notification", {"type": "alert"} if n is None else {"type": "alert", "n": n})
        body = {"to": to, **fields}
        if not packed:
            return await self.call("POST", "/api/notifications", body, key=key)
        headers = {"Content-Type": "application/msgpack"}
        return await self.call("POST", "/api/notifications", data=msgpack.packb(body), headers=headers, key=key)

    # WebSocket

    async def open(self, **options: Any) -> Client:
        """A WebSocket without any proof of who one is, and without reading anything."""
        client = await Client.open(HOST, self.port, **options)
        self.clients.append(client)
        return client

    async def connect(
        self,
        user: str = "42",
        subprotocol: str | None = JSON,
        *,
        topics: str = "",
        cursor: str | None = None,
        claims: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        **options: Any,
    ) -> Client:
        """A connection of a user who may subscribe to everything; under hubd.v1 its welcome is in ``welcome``."""
        token = self.token(user, **{"topics": ["**"], "publish": ["**"]} | (claims or {}))
        asked = dict(query or {})
        if topics:
            asked["topics"] = topics
        if cursor is not None:
            asked["cursor"] = cursor
        headers = {"Authorization": f"Bearer {token}"}
        return await self.open(headers=headers, query=asked, subprotocol=subprotocol, **options)

    async def opened(self, subprotocol: str | None, user: str = "42", **options: Any) -> Client:
        """A user's connection in any wire form, the welcome read where there is one."""
        client = await self.connect(user, subprotocol, **options)
        await client.messages()
        return client

    async def gone(self, client: Client) -> None:
        """Hang up a client's connection, and wait until the hub knows."""
        before = len(self.hub.registry.connections)
        client.hang_up()
        await eventually(lambda: len(self.hub.registry.connections) < before)

    async def welcomed(self, user: str = "42", subprotocol: str = JSON, **options: Any) -> tuple[Client, Message]:
        """The same under hubd.v1, and its welcome, which comes first."""
        client = await self.connect(user, subprotocol, **options)
        welcome = await client.next()
        assert welcome["hub"] == "welcome", welcome
        return client, welcome


class Faults(logging.Handler):
    """Collects what was logged as an error: a hub that works logs none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.found.append(self.format(record))


def no_faults() -> Iterator[Faults]:
    """A fixture's body: fails when anything was logged as an error meanwhile."""
    faults = Faults()
    logging.getLogger().addHandler(faults)
    yield faults
    logging.getLogger().removeHandler(faults)
    assert not faults.found, "\n".join(faults.found)
