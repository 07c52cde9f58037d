"""Why somebody got a notification, or not: `/api/notifications/{id}/explain`."""

from aiohttp import web

from hubd.core.channel import is_user_id
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.identity import ApiKey
from hubd.edge.credentials import Authenticator
from hubd.edge.http import answer
from hubd.explaining import Explaining
from hubd.hub import Hub


class Explain:
    """The call that explains."""

    def __init__(self, hub: Hub, authenticator: Authenticator) -> None:
        self._explaining = Explaining(hub)
        self._authenticator = authenticator

    def routes(self) -> list[web.RouteDef]:
        """Where it is."""
        return [web.get("/api/notifications/{id}/explain", self.explain)]

    async def explain(self, request: web.Request) -> web.Response:
        """The whole chain for a user; without one, how many are at each milestone."""
        key = await self._authenticator.caller(request)
        if not isinstance(key, ApiKey):
            raise Problem("forbidden", "this is for servers: it needs an API key")
        id, user = request.match_info["id"], request.query.get("user")
        if user is None:
            return answer(await self._explaining.of_all(id, key.channels.match))
        if not is_user_id(user):
            raise invalid([FieldError("user", "a user id is 1 to 64 of A-Z a-z 0-9 _ . @ | + = -")])
        any_user = "admin" in key.rights
        return answer(await self._explaining.of_user(id, user, key.channels.match, any_user=any_user))
