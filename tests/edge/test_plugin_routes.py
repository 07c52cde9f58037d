"""HTTP calls that plugins add. Those that are refused at the start are in the zoo."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from hubd.core.errors import Problem
from hubd.core.identity import ApiKey, Identity
from hubd.hooks.switching import FAULTS
from hubd.plugin import PluginError, Routes, hookimpl
from hubd.testing import hub_for


class Routed:
    """Calls of each kind; ``act`` is what the public one does."""

    def __init__(self, config: Any) -> None:
        self.act: Any = None

    @hookimpl
    def hubd_register_routes(self, routes: Routes) -> None:
        routes.public("GET", "/api/act", self.public)
        routes.user("POST", "/api/me/{thing}", self.user)
        routes.server("GET", "/api/admin-thing", self.server)
        routes.server("GET", "/api/publish-thing", self.server, right="publish")

    async def public(self, request: web.Request) -> web.StreamResponse:
        found: web.StreamResponse = await self.act()
        return found

    async def user(self, request: web.Request, identity: Identity) -> web.StreamResponse:
        return web.json_response({"user": identity.user, "thing": request.match_info["thing"]})

    async def server(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        return web.json_response({"key": key.id})


async def test_who_may_call() -> None:
    async with hub_for(Routed) as hub:
        assert (await hub.request("POST", "/api/me/hat", user="ada")).json() == {"user": "ada", "thing": "hat"}
        assert (await hub.request("POST", "/api/me/hat")).status == 401
        assert (await hub.request("POST", "/api/me/hat", key=True)).status == 403
        for path in ("/api/admin-thing", "/api/publish-thing"):
            assert (await hub.request("GET", path, key=True)).json() == {"key": "test"}
            assert (await hub.request("GET", path)).status == 401
            assert (await hub.request("GET", path, headers={"Authorization": "Bearer a.b.c"})).status == 403
        assert (await hub.request("GET", "/api/me/hat", user="ada")).status == 405


async def test_what_needs_admin_is_on_the_admin_listener() -> None:
    async with hub_for(Routed, settings={"server": {"admin_port": 9}}) as hub:
        paths = {route.resource.canonical for route in hub.edge.admin_app.router.routes() if route.resource}
        assert "/api/admin-thing" in paths
        assert not {"/api/act", "/api/me/{thing}", "/api/publish-thing"} & paths


class Forgetful:
    """Its handler takes no identity."""

    @hookimpl
    def hubd_register_routes(self, routes: Routes) -> None:
        routes.user("GET", "/api/x", self.x)  # type: ignore[arg-type]  # that is what it is about

    async def x(self, request: web.Request) -> web.Response:
        return web.Response()


async def test_a_handler_that_cant_be_called_is_refused_at_the_start() -> None:
    with pytest.raises(PluginError, match="this one has to take request and identity"):
        async with hub_for(Forgetful):
            pass


ERRORS = [RuntimeError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, MemoryError, TimeoutError]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
async def test_a_fault_is_the_plugins_and_its_words_stay_here(error: type[BaseException]) -> None:
    async def act() -> None:
        raise error("secret")

    async with hub_for(Routed, allow_faults=True) as hub:
        hub.plugin.act = act
        answer = await hub.request("GET", "/api/act")
        assert answer.status == 500 and answer.json()["code"] == "internal"
        assert "routed" in answer.json()["detail"] and b"secret" not in answer.body
        assert [(fault.where, fault.kind) for fault in hub.faults] == [("GET /api/act", "raised")]


@pytest.mark.parametrize("answer", [None, 5, "text", {"a": 1}, web.Response], ids=repr)
async def test_nonsense_is_a_fault(answer: Any) -> None:
    async def act() -> Any:
        return answer

    async with hub_for(Routed, allow_faults=True) as hub:
        hub.plugin.act = act
        assert (await hub.request("GET", "/api/act")).status == 500
        assert [fault.kind for fault in hub.faults] == ["bad_answer"]


async def test_one_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.edge.plugin_routes.HANDLER_S", 0.05)
    async with hub_for(Routed, allow_faults=True) as hub:
        hub.plugin.act = lambda: asyncio.sleep(3600)
        assert (await hub.request("GET", "/api/act")).status == 500
        assert [fault.kind for fault in hub.faults] == ["too_long"]


async def test_problems_and_redirects_are_answers() -> None:
    async def refuse() -> None:
        raise Problem("not_found", "there is no such hat")

    async def redirect() -> None:
        raise web.HTTPFound("/elsewhere")

    async with hub_for(Routed) as hub:
        hub.plugin.act = refuse
        answer = await hub.request("GET", "/api/act")
        assert (answer.status, answer.json()["detail"]) == (404, "there is no such hat")
        hub.plugin.act = redirect
        assert (await hub.request("GET", "/api/act")).status in (302, 404)  # the client goes there


async def test_one_that_is_switched_off_answers_503() -> None:
    async def act() -> None:
        raise RuntimeError

    async with hub_for(Routed, allow_faults=True) as hub:
        hub.plugin.act = act
        for _ in range(FAULTS + 1):
            assert (await hub.request("GET", "/api/act")).status == 500, "strangers can ask as often as they like"
        for _ in range(FAULTS):
            hub.plugins.hooks.fault(hub.plugins.hooks.plugins["routed"], "elsewhere", "raised")
        answer = await hub.request("GET", "/api/act")
        assert answer.status == 503 and "switched off" in answer.json()["detail"]
        assert answer.headers["Retry-After"]
        assert (await hub.request("GET", "/health/ready")).status == 200
