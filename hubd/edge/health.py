"""Whether the hub lives, and whether it is ready to be sent clients: `/health/live`, `/health/ready`."""

import asyncio
from collections.abc import Callable

import orjson
from aiohttp import web

from hubd.core.errors import Problem
from hubd.edge.http import PROBLEM_TYPE, answer, problem_fields, problem_headers
from hubd.hooks.calls import BadAnswer
from hubd.hub import Hub

RETRY_S = 1.0
ASK_S = 1.0
REASON_CHARS = 200


def _is_text(answer: object) -> bool:
    """Whether it can be shown: what a plugin answers can be anything."""
    return type(answer) is str and answer.isprintable()


class Health:
    """What load balancers and container managers ask. Each of ``checks`` gives why the hub isn't ready, or nothing."""

    def __init__(self, hub: Hub) -> None:
        self._hook = hub.hooks.check_health
        self._clock = hub.clock
        self._ask_at = float("-inf")
        self._asked: asyncio.Future[list[str]] | None = None
        self.checks: list[Callable[[], str]] = [lambda: "stopping" if hub.stopping else ""]
        if (store := hub.store) is not None:
            self.checks.append(lambda: f"the store: {store.trouble}" if store.trouble else "")

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [web.get("/health/live", self.live), web.get("/health/ready", self.ready)]

    async def reasons(self) -> list[str]:
        """Why the hub isn't ready, by itself and by what plugins say; nothing when it is."""
        reasons = [reason for check in self.checks if (reason := check())]
        return reasons + await self._of_plugins()

    async def _of_plugins(self) -> list[str]:
        """What plugins say. They are asked once a second at most, however many want to know."""
        now = self._clock.monotonic()
        if now >= self._ask_at or self._asked is None:
            self._ask_at = now + ASK_S
            self._asked = asyncio.get_running_loop().create_future()
            reasons: list[str] = []
            try:
                reasons = await self._ask()
            finally:
                self._asked.set_result(reasons)
        return await asyncio.shield(self._asked)

    async def _ask(self) -> list[str]:
        reasons: list[str] = []
        for impl in self._hook.impls:
            reason = await self._hook.ask(impl)
            if reason is not None and not _is_text(reason):
                expected = "hubd_check_health answers None, or in a few words why the hub isn't ready"
                self._hook.failed(impl, BadAnswer(expected))
            elif reason:
                reasons.append(f"{impl.plugin.name}: {reason[:REASON_CHARS]}")
        return reasons

    async def live(self, request: web.Request) -> web.Response:
        """It answers, so it lives."""
        return answer({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """200, or 503 and every reason why not."""
        reasons = await self.reasons()
        if not reasons:
            return answer({"status": "ok"})
        problem = Problem("unavailable", f"the hub is not ready: {', '.join(reasons)}", retry_after=RETRY_S)
        body = orjson.dumps(problem_fields(problem) | {"reasons": reasons})
        return web.Response(body=body, status=503, content_type=PROBLEM_TYPE, headers=problem_headers(problem))
