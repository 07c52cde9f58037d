"""What a hub is to publishers, and what can go wrong with it: a small server that misbehaves to plan."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class StandIn:
    """What a hub answers to publishers, and what it was asked; ``plan`` holds answers to give first."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.arrived = asyncio.Event()
        self.plan: list[Callable[[web.Request, Any], Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def published(self) -> list[Any]:
        """Everything that was sent, batches taken apart."""
        return [one for _, _, body in self.asked for one in (body if isinstance(body, list) else [body])]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked.append((request.path, dict(request.headers), body))
        self.arrived.set()
        await self.gate.wait()
        if self.plan:
            answer = self.plan.pop(0)(request, body)
        elif isinstance(body, list):
            answer = web.json_response([accepted(one) for one in body])
        else:
            answer = web.json_response(accepted(body), status=202)
        assert isinstance(answer, web.StreamResponse)
        return answer

    async def until(self, count: int) -> None:
        """Wait until that many notifications have arrived."""
        while len(self.published) < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 10)


def accepted(body: Any) -> dict[str, Any]:
    return {"status": 202, "id": body["id"], "cursor": "c", "duplicate": False, "live": 1}


def problem(status: int, code: str, detail: str = "no", **more: Any) -> Callable[[web.Request, Any], web.Response]:
    """A planned refusal of a whole request."""
    headers = more.pop("headers", {})
    value = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code} | more
    return lambda request, body: web.json_response(value, status=status, headers=headers)


def hang_up(request: web.Request, body: Any) -> web.Response:
    """Take the request, and lose the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def running_stand_in() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/api/notifications", stand_in.answer)
    app.router.add_post("/api/notifications/batch", stand_in.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stand_in
    await runner.cleanup()
