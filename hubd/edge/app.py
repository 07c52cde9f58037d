"""The aiohttp application: everything that the hub answers, put together."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from random import Random

from aiohttp import web

from hubd.config import Config
from hubd.core.connection import Connection
from hubd.core.errors import SHUTDOWN
from hubd.edge.actions import Actions
from hubd.edge.api.channels import Channels
from hubd.edge.api.connections import Connections
from hubd.edge.api.devices import Devices
from hubd.edge.api.explain import Explain
from hubd.edge.api.metrics import metrics_for_admins, metrics_for_all
from hubd.edge.api.notifications import Notifications
from hubd.edge.api.users import Users
from hubd.edge.counting import counting
from hubd.edge.credentials import Authenticator
from hubd.edge.endpoint import Endpoint
from hubd.edge.express import EXPRESS, Express
from hubd.edge.health import Health
from hubd.edge.http import Handler, middleware
from hubd.edge.keys import ApiKeys
from hubd.edge.limits import Pace
from hubd.edge.origin import Origins
from hubd.edge.polling import Polls
from hubd.edge.reception import Reception
from hubd.edge.sse import open_stream, wants_events
from hubd.edge.sweep import Sweep
from hubd.edge.tickets import Tickets
from hubd.edge.tokens import Revocations, Tokens
from hubd.edge.websocket import Unauthenticated
from hubd.edge.websocket_opening import open_websocket
from hubd.hooks.manager import Plugins
from hubd.hub import Hub
from hubd.log_events import log_event
from hubd.metric_kinds import EdgeSizes
from hubd.metrics import Metrics, watch_lag
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
_ADMIN = (
    *("/api/channels", "/api/channels/{name}"),
    *("/api/users/{id}", "/api/users/{id}/revoke", "/api/devices/batch"),
)
"""The calls that are on the admin listener too, where there is one: those for a key with the right `admin`."""
_WORKER = "hubd-sw.js"
"""The service worker; also where a proxy has the hub below a path, it may serve all pages."""
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Edge:
    """The hub's outward face: an application, and the tasks that belong to it."""

    def __init__(
        self,
        hub: Hub,
        *,
        keys: ApiKeys,
        tasks: Tasks,
        random: Random,
        plugins: Plugins | None = None,
        dev: bool = False,
    ) -> None:
        plugins = plugins or Plugins(hub.hooks)
        config = hub.config
        self.hub = hub
        self.tasks = tasks
        self._random = random
        self.origins = Origins(config.server.public_url, config.auth.origins, dev)
        self.tokens = Tokens(config.auth, hub.clock, tasks, dev, Revocations(hub.clock, hub.memory.revoked, hub.store))
        self._keys = keys
        tickets = Tickets(hub.clock, hub.ids)
        authenticator = Authenticator(
            self.tokens, tickets, keys, self.origins, config, hub.hooks, dev, hub.capabilities
        )
        pace = Pace(hub.clock, config.limits.publish_per_s)
        actions = Actions(hub, authenticator, tasks, pace)
        self.endpoint = Endpoint(
            hub,
            authenticator=authenticator,
            tokens=self.tokens,
            tickets=tickets,
            origins=self.origins,
            actions=actions,
            tasks=tasks,
            random=random,
        )
        self._authenticator, self._actions, self._pace = authenticator, actions, pace
        self.polls = Polls(self.endpoint)
        self.reception = Reception(self.endpoint)
        self.sweep = Sweep(self.endpoint, self.reception, hub.clock)
        self.health = Health(hub)
        self._make_apps(tickets, plugins)
        if dev:
            self.app.add_routes(_demo())
        self._add_plugin_routes(plugins)

    def _make_apps(self, tickets: Tickets, plugins: Plugins) -> None:
        """All that the hub answers, for everybody and on the admin listener."""
        hub, config, authenticator, pace = self.hub, self.hub.config, self._authenticator, self._pace
        around = [counting(hub), middleware(self.origins, hub.counts)]
        self.app = web.Application(middlewares=around, client_max_size=config.limits.body_bytes)
        self.app.add_routes([web.get("/notifications", self.notifications, allow_head=False), *self.health.routes()])
        metrics = Metrics(hub, self._sizes, plugins.registries)
        if not config.server.admin_port:  # else they are there, and there alone
            self.app.add_routes([web.get("/metrics", metrics_for_admins(metrics, authenticator))])
        notifications = Notifications(hub, authenticator, pace)
        self.app[EXPRESS] = Express(hub, notifications, self.origins)
        self.app.add_routes(notifications.routes())
        self.app.add_routes(Explain(hub, authenticator).routes())
        channels, users = Channels(hub, authenticator), Users(hub, authenticator, self.tokens)
        self.app.add_routes(channels.routes())
        self.app.add_routes(Connections(hub, authenticator, tickets).routes())
        self.app.add_routes(users.routes())
        devices = Devices(hub, authenticator)
        self.app.add_routes(devices.routes())
        self.app.add_routes(web.get(f"/{path.name}", _page(path.name)) for path in sorted(WEB.glob("hubd*.js")))
        self.admin_app = web.Application(middlewares=around, client_max_size=config.limits.body_bytes)
        for_admins = [
            route for route in [*channels.routes(), *users.routes(), *devices.routes()] if route.path in _ADMIN
        ]
        self.admin_app.add_routes([*self.health.routes(), web.get("/metrics", metrics_for_all(metrics)), *for_admins])

    def _sizes(self) -> EdgeSizes:
        return EdgeSizes(len(self.reception), len(self.endpoint.unauthenticated))

    def _add_plugin_routes(self, plugins: Plugins) -> None:
        taken = [
            web.route(route.method, route.resource.canonical, route.handler)
            for route in self.app.router.routes()
            if route.resource is not None
        ]
        routes, for_admins = plugins.routes(self._authenticator, taken)
        self.app.add_routes(routes)
        self.admin_app.add_routes(for_admins)

    def apply(self, config: Config) -> None:
        """Go by this config from now on; nobody who is connected is dropped for it.

        It was checked before. Should a part fail with it nevertheless, the same with the config before puts all right.
        """
        self.tokens.apply(config.auth)
        self._keys.apply(config.auth.api_keys)
        self.origins.apply(config.server.public_url, config.auth.origins)
        self.hub.apply(config)
        self._authenticator.apply(config)
        self._pace.per_s = config.limits.publish_per_s
        self._actions.apply(config)
        self.endpoint.apply(config)
        self.sweep.apply(config)
        for app in (self.app, self.admin_app):
            app._client_max_size = config.limits.body_bytes  # what each request takes it from; there is no other way

    def start(self) -> None:
        """Begin what runs beside the requests."""
        self.tasks.start(self.sweep.run(), "sweep")
        self.tasks.start(watch_lag(self.hub.counts, self.hub.clock), "lag")

    async def stop(self, until: float) -> None:
        """Tell everybody and give what is being sent a moment to arrive; by ``until`` all connections are gone.

        ``until`` is a time of the hub's clock (``monotonic``).
        """
        self.hub.stopping = True
        # Strangers are told in this very step: in the next one, somebody could have become a connection unseen.
        connections: list[Connection | Unauthenticated] = [*self.hub.registry.connections]
        strangers = list(self.endpoint.unauthenticated)
        log_event(log, "stopping", connections=len(strangers) + len(connections))
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
            except Exception as error:
                log_event(log, "farewell_failed", error)

    async def notifications(self, request: web.Request) -> web.StreamResponse:
        """The one resource that connections open; its transport follows from the request."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await open_websocket(self.endpoint, request)
        if wants_events(request):
            return await open_stream(self.endpoint, request)
        return await self.polls.open(request)


def _page(name: str) -> Handler:
    path = WEB / name
    headers = _PAGE_HEADERS | ({"Service-Worker-Allowed": "/"} if name == _WORKER else {})
    # Read at each request: these are small, asked for seldom, and whoever works on them sees the change at once.
    content_type = _TYPES[path.suffix]

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=path.read_bytes(), content_type=content_type, charset="utf-8", headers=headers)

    return page


def _demo() -> list[web.RouteDef]:
    async def home(request: web.Request) -> web.Response:
        raise web.HTTPFound("/demo/")

    files = sorted(path.name for path in (WEB / "demo").iterdir() if path.suffix in _TYPES)
    routes = [web.get(f"/demo/{name}", _page(f"demo/{name}")) for name in files]
    return [web.get("/", home), web.get("/demo", home), web.get("/demo/", _page("demo/index.html")), *routes]
