"""What is going on in channels: `/api/channels`."""

from typing import Any

import orjson
from aiohttp import web

from hubd.core.channel import BROADCAST, Channel, Kind, parse_channel
from hubd.core.codec import notification_json
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.identity import ApiKey, Identity
from hubd.edge.credentials import Authenticator
from hubd.edge.http import answer, query_int
from hubd.edge.permissions import without_denied
from hubd.hub import Hub

LISTED = 1000


class Channels:
    """The calls about channels."""

    def __init__(self, hub: Hub, authenticator: Authenticator) -> None:
        self._hub = hub
        self._authenticator = authenticator

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.get("/api/channels", self.list_all),
            web.get("/api/channels/{name}", self.read),
            web.get("/api/channels/{name}/history", self.history),
        ]

    async def list_all(self, request: web.Request) -> web.Response:
        """Every channel with subscribers or something in its ring, by name."""
        key = self._authenticator.server(request, "admin")
        prefix = request.query.get("prefix", "")
        users = [user.channel for user in self._hub.registry.users.values() if user.connections]
        known = {BROADCAST, *self._hub.registry.topics, *self._hub.rings.names(), *users}
        names = sorted(name for name in known if name.startswith(prefix) and key.channels.match(name))
        limit = query_int(request, "limit", LISTED, LISTED)
        channels = [self._describe(parse_channel(name)) for name in names[:limit]]
        return answer({"channels": channels, "count": len(names)})

    async def read(self, request: web.Request) -> web.Response:
        """One channel; of one that nobody uses the figures are zero."""
        key = self._authenticator.server(request, "admin")
        channel = _channel(request)
        if not key.channels.match(channel.name):
            raise Problem("forbidden", f"this key is not for {channel.name!r}")
        return answer(self._describe(channel))

    def _describe(self, channel: Channel) -> dict[str, Any]:
        hub = self._hub
        topic = channel.kind is Kind.TOPIC
        return {
            "name": channel.name,
            "kind": channel.kind.value,
            "subscribers": len(hub.registry.members(channel)),
            "durable": len(hub.durables.subscribers(channel.name)) if topic else 0,
            "rate": round(hub.rates.of(channel.name, hub.clock.monotonic()), 3),
            "ring_depth": hub.rings.depth(channel.name),
        }

    async def history(self, request: web.Request) -> web.Response:
        """What the ring holds, oldest first, and the cursor to go on from."""
        caller = await self._authenticator.caller(request)
        channel = _channel(request)
        if isinstance(caller, Identity):
            caller = await without_denied(self._hub, caller, [channel.name])
            self._authenticator.check_still(caller)
        if not _may_read(caller, channel):
            raise Problem("forbidden", f"you may not read {channel.name!r}, or there is no such topic")
        limit = query_int(request, "limit", LISTED, LISTED)
        kept = self._hub.rings.history(channel.name, limit, self._hub.clock.monotonic())
        number = self._hub.numbers.find(caller.user) if isinstance(caller, Identity) else None
        if number is not None:
            for notification in kept:
                self._hub.publishing.judge_late(notification, number)
            kept = [notification for notification in kept if not notification.excludes(number)]
        notifications = [orjson.Fragment(notification_json(notification, channel.name)) for notification in kept]
        return answer({"notifications": notifications, "cursor": self._hub.attendance.cursor()})


def _may_read(caller: ApiKey | Identity, channel: Channel) -> bool:
    return caller.channels.match(channel.name) if isinstance(caller, ApiKey) else caller.may_subscribe(channel)


def _channel(request: web.Request) -> Channel:
    try:
        return parse_channel(request.match_info["name"])
    except Problem as problem:
        raise invalid([FieldError("name", problem.message)]) from None
