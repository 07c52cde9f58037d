"""HTTP calls that plugins add: who may make them, how long they may take, and that a plugin's fault is its own."""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from hubd.core.errors import Problem
from hubd.core.identity import ApiKey, Identity
from hubd.edge.credentials import Authenticator
from hubd.edge.http import Handler
from hubd.hooks.calls import RETRY_S, BadAnswer, Hooks
from hubd.hooks.switching import Plugin

HANDLER_S = 30.0
"""How long a plugin may take to answer a request."""
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))([A-Za-z0-9._~-]+|\{[a-z_]+\}))+/?")
_VARIABLE = re.compile(r"\{[^}]*\}")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

PublicHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
UserHandler = Callable[[web.Request, Identity], Awaitable[web.StreamResponse]]
ServerHandler = Callable[[web.Request, ApiKey], Awaitable[web.StreamResponse]]


class RouteRefused(ValueError):
    """A call can't be had as a plugin wants it; the message says why, and quotes nothing but that."""


class Routes:
    """Takes the HTTP calls of one plugin. ``RouteRefused`` (a ``ValueError``) for an address that can't be had.

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
        self._add(method, path, _called(handler, "request"))

    def user(self, method: str, path: str, handler: UserHandler) -> None:
        """A call for users: the handler also gets the identity of who is asking."""
        called = _called(handler, "request", "identity")

        async def as_user(request: web.Request) -> web.StreamResponse:
            return await called(request, await self._authenticator.user(request))

        self._add(method, path, as_user)

    def server(self, method: str, path: str, handler: ServerHandler, right: str = "admin") -> None:
        """A call for servers: the handler also gets the API key, which has the ``right`` (publish or admin).

        Those that need ``admin`` are on the admin listener too, where there is one.
        """
        if right not in ("publish", "admin"):
            raise RouteRefused(f"there is no right {right!r}: publish or admin")
        called = _called(handler, "request", "key")

        async def as_server(request: web.Request) -> web.StreamResponse:
            return await called(request, self._authenticator.server(request, right))

        route = self._add(method, path, as_server)
        if right == "admin":
            self.for_admins.append(route)

    def _add(self, method: str, path: str, handler: Handler) -> web.RouteDef:
        if method not in _METHODS:
            raise RouteRefused(f"a method is one of {', '.join(_METHODS)}, not {method!r}")
        if not isinstance(path, str) or _PATH.fullmatch(path) is None:
            raise RouteRefused(f"{path!r} is no path such as /api/greetings/{{name}}")
        if len(variables := _VARIABLE.findall(path)) > len({*variables}):
            raise RouteRefused(f"{path!r} has two variables of one name")
        for route in (*self._taken, *self.routes):
            if route.method in (method, "*") and _covers(route.path, path):
                raise RouteRefused(f"there is a {method} {route.path} already, and it answers {path}")
        route = web.route(method, path, self._guarded(path, handler))
        self.routes.append(route)
        return route

    def _guarded(self, path: str, handler: Handler) -> Handler:
        plugin, hooks = self._plugin, self._hooks

        async def guarded(request: web.Request) -> web.StreamResponse:
            if not plugin.is_on:
                raise Problem("unavailable", f"the plugin '{plugin.name}' is switched off", retry_after=RETRY_S)
            kind = "raised"
            timeout = asyncio.timeout(HANDLER_S)
            try:
                async with timeout:
                    response: object = await handler(request)
                if isinstance(response, web.StreamResponse):
                    return response
                error: BaseException = BadAnswer("a handler answers with a web.Response")
                kind = "bad_answer"
            except (Problem, web.HTTPException, ConnectionResetError, GeneratorExit):
                raise
            except web.RequestPayloadError:
                raise Problem("invalid_body", "the body breaks off, or breaks the rules of HTTP") from None
            except asyncio.CancelledError as cancelled:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                error = cancelled  # nobody cancelled this: it is the plugin's own
            except BaseException as failure:  # also what would end the hub
                error = failure
                kind = "too_long" if timeout.expired() else kind
            hooks.fault(plugin, f"{request.method} {path}", kind, error, provoked=True)
            raise Problem("internal", f"the plugin '{plugin.name}' failed; the failure was logged")

        return guarded


def _called(
    handler: Callable[..., Awaitable[web.StreamResponse]], *arguments: str
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A handler that can be called with these."""
    try:
        inspect.signature(handler).bind(*arguments)
    except (TypeError, ValueError):
        taken = " and ".join(arguments)
        raise RouteRefused(f"a handler is a coroutine function; this one has to take {taken}") from None
    return handler


def _covers(taken: str, path: str) -> bool:
    """Whether all that a path is for gets to another one first."""
    parts, others = path.split("/"), taken.split("/")
    return len(parts) == len(others) and all(
        other == part or (_VARIABLE.fullmatch(other) and part) for part, other in zip(parts, others, strict=True)
    )
