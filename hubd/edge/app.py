"""The aiohttp application: everything that the hub answers, put together."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from random import Random

from aiohttp import web

from hubd.core.connection import Connection
from hubd.core.errors import SHUTDOWN, Problem
from hubd.edge.actions import Actions
from hubd.edge.api.channels import Channels
from hubd.edge.api.notifications import Notifications
from hubd.edge.api.users import Users
from hubd.edge.credentials import Authenticator
from hubd.edge.endpoint import Endpoint
from hubd.edge.http import Handler, answer, middleware
from hubd.edge.keys import ApiKeys
from hubd.edge.limits import Pace
from hubd.edge.origin import Origins
from hubd.edge.sweep import Sweep
from hubd.edge.tokens import Tokens
from hubd.edge.websocket import Unauthenticated
from hubd.hub import Hub
from hubd.tasks import Tasks

log = logging.getLogger("hubd")

SPREAD_S = 10.0
"""Over how long the clients of a hub that stops are spread when they come back."""
SLICE = 500
"""How many of them are told before the loop gets its turn."""
WEB = Path(__file__).parent.parent / "web"
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Edge:
    """The hub's outward face: an application, and the tasks that belong to it."""

    def __init__(self, hub: Hub, *, keys: ApiKeys, tasks: Tasks, random: Random, dev: bool = False) -> None:
        config = hub.config
        self.hub = hub
        self.tasks = tasks
        self._random = random
        self.origins = Origins(config.server.public_url, config.auth.origins, dev)
        self.tokens = Tokens(config.auth, hub.clock, tasks, dev)
        authenticator = Authenticator(self.tokens, keys, self.origins, config, dev)
        pace = Pace(hub.clock, config.limits.publish_per_s)
        self.endpoint = Endpoint(
            hub,
            authenticator=authenticator,
            tokens=self.tokens,
            origins=self.origins,
            actions=Actions(hub, self.tokens, tasks, pace),
            tasks=tasks,
            random=random,
        )
        self.sweep = Sweep(self.endpoint, hub.clock)
        self.app = web.Application(middlewares=[middleware(self.origins)], client_max_size=config.limits.body_bytes)
        self.app.add_routes([web.get("/notifications", self.notifications), *_health(hub)])
        self.app.add_routes(Notifications(hub, authenticator, pace).routes())
        self.app.add_routes(Channels(hub, authenticator).routes())
        self.app.add_routes(Users(hub, authenticator, self.tokens).routes())
        self.app.add_routes(web.get(f"/{path.name}", _page(path.name)) for path in sorted(WEB.glob("hubd*.js")))
        if dev:
            self.app.add_routes(_demo())

    def start(self) -> None:
        """Begin what runs beside the requests."""
        self.tasks.start(self.sweep.run(), "sweep")

    async def stop(self, until: float) -> None:
        """Tell everybody and give what is being sent a moment to arrive; by ``until`` all connections are gone.

        ``until`` is a time of the hub's clock (``monotonic``).
        """
        self.hub.stopping = True
        # Strangers are told in this very step: in the next one, somebody could have become a connection unseen.
        connections: list[Connection | Unauthenticated] = [*self.hub.registry.connections]
        strangers = list(self.endpoint.unauthenticated)
        log.info("stopping: telling %d connections", len(strangers) + len(connections))
        self._refuse(strangers)
        for start in range(0, len(connections), SLICE):
            self._refuse(connections[start : start + SLICE])
            await asyncio.sleep(0)
        await self.endpoint.all_gone(max(0.0, until - self.hub.clock.monotonic()))
        for leaving in list(self.endpoint.leaving):
            leaving.transport.abort()
        await self.tokens.close()

    def _refuse(self, going: Iterable[Connection | Unauthenticated]) -> None:
        for one in going:
            retry_after = round(SPREAD_S * self._random.random(), 1)
            try:
                if isinstance(one, Connection):
                    self.hub.end(one, SHUTDOWN, retry_after)
                else:
                    one.refuse(SHUTDOWN, retry_after)
            except Exception:
                log.exception("a connection couldn't be told that the hub stops")

    async def notifications(self, request: web.Request) -> web.StreamResponse:
        """The one resource that connections open; its transport follows from the request."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.endpoint.open(request)
        raise Problem("upgrade_required", "open a WebSocket here: this hub has no other transport yet")


def _health(hub: Hub) -> list[web.RouteDef]:
    async def live(request: web.Request) -> web.Response:
        return answer({"status": "ok"})

    async def ready(request: web.Request) -> web.Response:
        if hub.stopping:
            raise Problem("unavailable", "the hub is stopping", retry_after=1.0)
        return answer({"status": "ok"})

    return [web.get("/health/live", live), web.get("/health/ready", ready)]


def _page(name: str) -> Handler:
    path = WEB / name
    # Read at each request: these are small, asked for seldom, and whoever works on them sees the change at once.
    content_type = _TYPES[path.suffix]

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=path.read_bytes(), content_type=content_type, charset="utf-8", headers=_PAGE_HEADERS)

    return page


def _demo() -> list[web.RouteDef]:
    async def home(request: web.Request) -> web.Response:
        raise web.HTTPFound("/demo/")

    files = sorted(path.name for path in (WEB / "demo").iterdir() if path.suffix in _TYPES)
    routes = [web.get(f"/demo/{name}", _page(f"demo/{name}")) for name in files]
    return [web.get("/", home), web.get("/demo", home), web.get("/demo/", _page("demo/index.html")), *routes]
