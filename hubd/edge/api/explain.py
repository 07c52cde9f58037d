"""Why somebody got a notification, or not: `/api/notifications/{id}/explain`."""

from typing import Any

from aiohttp import web

from hubd.core.channel import is_user_id
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.identity import ApiKey
from hubd.core.milestones import held
from hubd.edge.credentials import Authenticator
from hubd.edge.http import answer
from hubd.explaining import Explaining
from hubd.hub import Hub


class Explain:
    """The call that explains."""

    def __init__(self, hub: Hub, authenticator: Authenticator) -> None:
        self._hub = hub
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
        if user is not None and not is_user_id(user):
            raise invalid([FieldError("user", "a user id is 1 to 64 of A-Z a-z 0-9 _ . @ | + = -")])
        try:
            if user is None:
                return answer(await self._explaining.of_all(id, key.channels.match))
            any_user = "admin" in key.rights
            return answer(await self._explaining.of_user(id, user, key.channels.match, any_user=any_user))
        except Problem as problem:
            if problem.code != "not_found" or (told := self._scheduled(id, key)) is None:
                raise
            return answer(
                told | ({"accepted": 0, "milestones": {}} if user is None else {"user": user, "channel": None})
            )

    def _scheduled(self, id: str, key: ApiKey) -> dict[str, Any] | None:
        """What is to be said of a call whose time hasn't come: for whom it will be is found out then."""
        for call in self._hub.scheduling.find(id):
            if any(map(key.channels.match, call.channels)):
                text = "It is scheduled: it goes out at its time, to those whom it is meant for then."
                draft = call.draft
                return {
                    "id": id,
                    "type": draft.type,
                    "priority": draft.priority.word,
                    "persistence": draft.persistence.value,
                    "channels": call.channels,
                    "deliver_at": call.deliver_at,
                    "milestone": held("scheduled"),
                    "text": text,
                    "steps": [{"at": call.deliver_at, "step": "scheduled", "text": text}],
                }
        return None
