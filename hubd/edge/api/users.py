"""Users, and the topics they are subscribed to for good: `/api/users`, `/api/subscriptions`."""

from typing import Any

from aiohttp import web

from hubd.core.channel import Kind, is_user_id, parse_channel
from hubd.core.connection import Connection
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.identity import ApiKey, Identity
from hubd.edge.api.devices import described
from hubd.edge.credentials import Authenticator
from hubd.edge.http import answer
from hubd.edge.permissions import without_denied
from hubd.edge.tokens import Tokens
from hubd.hub import Hub


class Users:
    """The calls about users and durable subscriptions."""

    def __init__(self, hub: Hub, authenticator: Authenticator, tokens: Tokens) -> None:
        self._hub = hub
        self._authenticator = authenticator
        self._tokens = tokens

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.get("/api/users/{id}", self.read),
            web.post("/api/users/{id}/revoke", self.revoke),
            web.get("/api/users/{id}/subscriptions", self.list_of_user),
            web.put("/api/users/{id}/subscriptions/{topic}", self.put_of_user),
            web.delete("/api/users/{id}/subscriptions/{topic}", self.end_of_user),
            web.get("/api/subscriptions", self.list_own),
            web.put("/api/subscriptions/{topic}", self.put),
            web.delete("/api/subscriptions/{topic}", self.end),
        ]

    async def read(self, request: web.Request) -> web.Response:
        """Where a user is: presence, connections, devices, durable subscriptions. Somebody unknown is away."""
        self._authenticator.server(request, "admin")
        hub, id = self._hub, _user(request)
        now = hub.clock.monotonic()
        connections = [self._describe(connection, now) for connection in hub.registry.connections_of(id)]
        return answer(
            {
                "user": id,
                "presence": hub.presence.state(hub.registry.users.get(id), now).value,
                "connections": connections,
                "devices": described(hub, id),
                "subscriptions": self._subscriptions(id),
            }
        )

    def _describe(self, connection: Connection, now: float) -> dict[str, Any]:
        return {
            "connection": connection.id,
            "transport": connection.transport_name,
            "control": connection.control,
            "acking": connection.acks,
            "visibility": connection.visibility.value if connection.visibility else None,
            "attentive": self._hub.presence.is_attentive(connection, now),
            "acks": list(connection.acked or ()),
            "topics": list(connection.topics),
            "age_s": round(now - connection.opened_at, 3),
        }

    async def revoke(self, request: web.Request) -> web.Response:
        """End a user's connections, and refuse every token of his that was issued before now."""
        self._authenticator.server(request, "admin")
        id = _user(request)
        self._tokens.revoke(id)
        disconnected = self._hub.revoke(id)
        await self._tokens.revocations.stored(id)
        return answer({"user": id, "disconnected": disconnected})

    async def list_of_user(self, request: web.Request) -> web.Response:
        """A user's durable subscriptions, for the server."""
        await self._server(request)
        return answer({"subscriptions": self._subscriptions(_user(request))})

    async def put_of_user(self, request: web.Request) -> web.Response:
        """Subscribe a user for good: no permission of his is needed, and it doesn't lapse."""
        key, user, topic = await self._server(request), _user(request), _topic(request)
        _check_key(key, topic)
        return await self._put(user, topic, None)

    async def end_of_user(self, request: web.Request) -> web.Response:
        """End it."""
        key, user, topic = await self._server(request), _user(request), _topic(request)
        _check_key(key, topic)
        return await self._end(user, topic)

    async def list_own(self, request: web.Request) -> web.Response:
        """One's own durable subscriptions."""
        identity = await self._authenticator.user(request)
        return answer({"subscriptions": self._subscriptions(identity.user)})

    async def put(self, request: web.Request) -> web.Response:
        """Subscribe oneself for good, as far as the token allows it."""
        identity, topic = await self._authenticator.user(request), _topic(request)
        identity = await without_denied(self._hub, identity, [topic])
        self._authenticator.check_still(identity)
        if not identity.may_subscribe(parse_channel(topic)):
            raise Problem("forbidden", f"you may not subscribe to {topic!r}, or there is no such topic")
        return await self._put(identity.user, topic, identity)

    async def end(self, request: web.Request) -> web.Response:
        """End one's own."""
        identity, topic = await self._authenticator.user(request), _topic(request)
        return await self._end(identity.user, topic)

    async def _server(self, request: web.Request) -> ApiKey:
        caller = await self._authenticator.caller(request)
        if not isinstance(caller, ApiKey):
            raise Problem("forbidden", "this is for servers; users have /api/subscriptions")
        return caller

    async def _put(self, user: str, topic: str, identity: Identity | None) -> web.Response:
        new = await self._hub.make_durable(user, [topic], identity)
        return answer({"topic": topic}, 201 if new else 200)

    async def _end(self, user: str, topic: str) -> web.Response:
        if not await self._hub.end_durable(user, [topic]):
            raise Problem("not_found", f"there is no durable subscription to {topic!r}")
        return web.Response(status=204)

    def _subscriptions(self, user: str) -> list[dict[str, str]]:
        counting = self._hub.durables.counting(user, self._hub.clock.now())
        grants = self._hub.durables.of(user)
        return [{"topic": topic, "made_by": "server" if grants[topic].by_server else "user"} for topic in counting]


def _user(request: web.Request) -> str:
    id = request.match_info["id"]
    if not is_user_id(id):
        raise invalid([FieldError("id", "a user id is 1 to 64 of A-Z a-z 0-9 _ . @ | + = -")])
    return id


def _topic(request: web.Request) -> str:
    try:
        channel = parse_channel(request.match_info["topic"])
    except Problem as problem:
        raise invalid([FieldError("topic", problem.message)]) from None
    if channel.kind is not Kind.TOPIC:
        raise invalid([FieldError("topic", "is no topic: the broadcast and one's own channel come by themselves")])
    return channel.name


def _check_key(key: ApiKey, topic: str) -> None:
    if not key.channels.match(topic):
        raise Problem("forbidden", f"this key is not for {topic!r}")
