"""Devices that can be pushed to: `/api/push-subscriptions`, `/api/devices`."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from hubd.core.channel import is_user_id
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.overrides import PLATFORMS
from hubd.edge.credentials import Authenticator
from hubd.edge.http import answer, problem_item, read_body
from hubd.hub import Hub
from hubd.push.unserved import UNCHECKED, check_unserved

BODY_BYTES = 16 * 1024
"""How large a registration may be: the longest endpoints and tokens have some kilobytes."""
BATCH = 1000
BATCH_SLICE = 100
"""How many of a batch are checked in one turn of the loop, and stored together."""
_LAST_MS = 253_402_300_799_999
_OWN = {
    "user": "a device belongs to whose token it comes with",
    "platform": "a browser's subscription says nothing of it",
}


class Devices:
    """The calls about devices."""

    def __init__(self, hub: Hub, authenticator: Authenticator) -> None:
        self._hub = hub
        self._authenticator = authenticator

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.post("/api/push-subscriptions", self.subscribe),
            web.post("/api/devices", self.register),
            web.post("/api/devices/batch", self.register_batch),
            web.get("/api/devices", self.list_own),
            web.delete("/api/devices/{id}", self.drop),
        ]

    async def subscribe(self, request: web.Request) -> web.Response:
        """Register a browser, by its PushSubscription as it is: 201, or 200 when it is known."""
        user, fields = await self._read(request)
        return await self._register(user, "webpush", fields, [name for name in _OWN if name in fields])

    async def register(self, request: web.Request) -> web.Response:
        """Register any device, by its platform and what that wants to know: 201, or 200 when it is known."""
        user, fields = await self._read(request)
        platform = fields.pop("platform", None)
        return await self._register(user, platform, fields, [name for name in ("user",) if name in fields])

    async def _read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        """Who is asking, and the body."""
        identity = await self._authenticator.user(request)
        body = await read_body(request, BODY_BYTES)
        self._authenticator.check_still(identity)
        if not isinstance(body, dict):
            raise invalid([FieldError("", "the body is an object that describes a device")])
        return identity.user, body

    async def _register(self, user: str, platform: Any, fields: dict[str, Any], own: list[str]) -> web.Response:
        for name in own:
            del fields[name]
        id, is_new = await self._put(user, platform, fields, [FieldError(name, _OWN[name]) for name in own])
        return answer({"id": id}, 201 if is_new else 200)

    async def register_batch(self, request: web.Request) -> web.Response:
        """Register many devices of many users, for a server that has them from elsewhere; each has its own answer."""
        self._authenticator.server(request, "admin")
        bodies = await read_body(request)
        if not isinstance(bodies, list) or len(bodies) > BATCH:
            raise invalid([FieldError("", f"a batch is an array of up to {BATCH} devices")])
        answers: list[dict[str, Any]] = []
        for place in range(0, len(bodies), BATCH_SLICE):  # in between others are served
            answers += await asyncio.gather(*map(self._register_one, bodies[place : place + BATCH_SLICE]))
        return answer(answers)

    async def _register_one(self, body: Any) -> dict[str, Any]:
        try:
            if not isinstance(body, dict):
                raise invalid([FieldError("", "is no object")])
            fields = {name: value for name, value in body.items() if name not in (*_OWN, "registered_at")}
            user, at, errors = body.get("user"), body.get("registered_at"), []
            if not isinstance(user, str) or not is_user_id(user):
                errors.append(FieldError("user", "a user id is 1 to 64 of A-Z a-z 0-9 _ . @ | + = -"))
            if at is not None and (type(at) not in (int, float) or not 0 <= at <= _LAST_MS):
                errors.append(FieldError("registered_at", "must be Unix milliseconds"))
                at = None
            # Long ago, unless it says when: whoever has registered himself since, it mustn't be taken from.
            since = (at or 0) / 1000
            id, is_new = await self._put(str(user), body.get("platform"), fields, errors, since)
        except Problem as problem:
            self._hub.counts.problems[problem.code] += 1
            return problem_item(problem)
        return {"status": 201 if is_new else 200, "id": id}

    async def _put(
        self, user: str, platform: Any, fields: dict[str, Any], errors: list[FieldError], since: float | None = None
    ) -> tuple[str, bool]:
        """Register it (``since``: Unix s), unless something is wrong with it, or there are ``errors`` already."""
        hub = self._hub
        backend = hub.push_backends.get(platform) if isinstance(platform, str) else None
        try:
            if backend is None and platform not in PLATFORMS:
                there_are = ", ".join(dict.fromkeys((*PLATFORMS, *hub.push_backends)))
                raise invalid([FieldError("platform", f"must be one of {there_are}")])
            address = check_unserved(platform, fields) if backend is None else backend.check(fields)
        except Problem as problem:
            if not errors or not problem.errors:
                raise
            raise invalid([*errors, *problem.errors]) from None
        if errors:
            raise invalid(errors)
        device, is_new = await hub.devices.put(user, platform, address, since)
        return device.id, is_new

    async def list_own(self, request: web.Request) -> web.Response:
        """One's own devices."""
        identity = await self._authenticator.user(request)
        return answer({"devices": described(self._hub, identity.user)})

    async def drop(self, request: web.Request) -> web.Response:
        """One of one's own isn't to be pushed to any more."""
        identity = await self._authenticator.user(request)
        if not await self._hub.devices.drop(request.match_info["id"], identity.user):
            raise Problem("not_found", "you have no such device (any more)")
        return web.Response(status=204)


def described(hub: Hub, user: str) -> list[dict[str, Any]]:
    """A user's devices as may be shown: nothing by which anybody could push to them."""
    found = []
    for device, registered_at in hub.devices.listed(user):
        app = "" if device.app == UNCHECKED else device.app
        shown = {"id": device.id, "platform": device.platform, "app": app, "registered_at": int(registered_at * 1000)}
        if (host := _host(device.address.get("endpoint"))) is not None:
            shown["host"] = host
        found.append(shown)
    return found


def _host(endpoint: Any) -> str | None:
    if not isinstance(endpoint, str):
        return None
    try:
        return urlsplit(endpoint).hostname
    except ValueError:
        return None
