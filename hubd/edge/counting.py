"""Counts HTTP requests and how long they take."""

from typing import Any

from aiohttp import web

from hubd.edge.http import Handler, route_of
from hubd.hub import Hub

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
WAITING = "/notifications"
"""The route that keeps requests waiting on purpose, so that their time says nothing."""


def counting(hub: Hub) -> Any:
    """Around everything else: also what is refused is a request."""

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = hub.clock.monotonic()
        response = await handler(request)
        route = route_of(request)
        method = request.method if request.method in METHODS else "other"
        seconds = None if route == WAITING else hub.clock.monotonic() - begun
        hub.counts.note_request(method, route, response.status, seconds)
        return response

    return around
