"""What Prometheus asks for: `/metrics`."""

from aiohttp import web

from hubd.edge.credentials import Authenticator
from hubd.edge.http import Handler
from hubd.metrics import Metrics


def metrics_for_all(metrics: Metrics) -> Handler:
    """The handler for a listener that only those can reach who may know."""

    async def page(request: web.Request) -> web.Response:
        body, content_type = await metrics.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return page


def metrics_for_admins(metrics: Metrics, authenticator: Authenticator) -> Handler:
    """The handler for a listener that everybody can reach: it takes a key with the right ``admin``."""
    page = metrics_for_all(metrics)

    async def guarded(request: web.Request) -> web.StreamResponse:
        authenticator.server(request, "admin")
        return await page(request)

    return guarded
