"""HTTP calls that plugins add: who may make them, how long they may take, and that a plugin's fault is its own."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from hubd.core.errors import Problem
from hubd.core.identity import ApiKey, Identity
from hubd.edge.credentials import Authenticator
from hubd.edge.http import Handler
from hubd.hooks.calls import RETRY_S, Hooks, Plugin

HANDLER_S = 30.0
"""How long a plugin may take to answer a request."""
_PATH = re.compile(r"(/([A-Za-z0-9._~-]+|\{[a-z_]+\}))+/?")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

PublicHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
UserHandler = Callable[[web.Request, Identity], Awaitable[web.StreamResponse]]
ServerHandler = Callable[[web.Request, ApiKey], Awaitable[web.StreamResponse]]


class Routes:
    """Takes the HTTP calls of one plugin. ``ValueError`` for an address that can't be had.

    Paths are such as ``/api/greetings/{name}``. A handler gets aiohttp's request and gives a response; a ``Problem``
    that it raises is answered as the hub's own are. It has 30 seconds.
    """

    def __init__(self, plugin: Plugin, hooks: Hooks, authenticator: Authenticator, taken: list[web.RouteDef]) -> None:
        self._plugin = plugin
        self._hooks = hooks
        self._authenticator = authenticator
        self._taken = taken
        self.routes: list[web.RouteDef] = []
        self.for_admins: list[web.RouteDef] = []

    def public(self, method: str, path: str, handler: PublicHandler) -> None:
        """A call that anybody may make."""
        self._add(method, path, handler)

    def user(self, method: str, path: str, handler: UserHandler) -> None:
        """A call for users: the handler also gets the identity of who is asking."""

        async def as_user(request: web.Request) -> web.StreamResponse:
            return await handler(request, await self._authenticator.user(request))

        self._add(method, path, as_user)

    def server(self, method: str, path: str, handler: ServerHandler, right: str = "admin") -> None:
        """A call for servers: the handler also gets the API key, which has the ``right`` (publish or admin).

        Those that need ``admin`` are on the admin listener too, where there is one.
        """
        if right not in ("publish", "admin"):
            raise ValueError(f"there is no right {right!r}: publish or admin")

        async def as_server(request: web.Request) -> web.StreamResponse:
            return await handler(request, self._authenticator.server(request, right))

        route = self._add(method, path, as_server)
        if right == "admin":
            self.for_admins.append(route)

    def _add(self, method: str, path: str, handler: Handler) -> web.RouteDef:
        if method not in _METHODS:
            raise ValueError(f"a method is one of {', '.join(_METHODS)}, not {method!r}")
        if not isinstance(path, str) or _PATH.fullmatch(path) is None:
            raise ValueError(f"{path!r} is no path such as /api/greetings/{{name}}")
        for route in (*self._taken, *self.routes):
            if route.method == method and _shape(route.path) == _shape(path):
                raise ValueError(f"there is a {method} {route.path} already")
        route = web.route(method, path, self._guarded(path, handler))
        self.routes.append(route)
        return route

    def _guarded(self, path: str, handler: Handler) -> Handler:
        plugin, hooks = self._plugin, self._hooks

        async def guarded(request: web.Request) -> web.StreamResponse:
            if not plugin.is_on:
                raise Problem("unavailable", f"the plugin '{plugin.name}' is switched off", retry_after=RETRY_S)
            try:
                async with asyncio.timeout(HANDLER_S):
                    response = await handler(request)
                if not isinstance(response, web.StreamResponse):
                    raise TypeError("no response")
            except (Problem, web.HTTPException, ConnectionResetError):
                raise
            except Exception as error:
                kind = "too_long" if isinstance(error, TimeoutError) else "raised"
                hooks.fault(plugin, f"{request.method} {path}", kind, error)
                message = f"the plugin '{plugin.name}' failed; the failure was logged"
                raise Problem("internal", message) from None
            return response

        return guarded


def _shape(path: str) -> str:
    """A path without the names of its variables: two of one shape are for the same addresses."""
    return re.sub(r"\{[^}]*\}", "{}", path)
