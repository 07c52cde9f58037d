"""What the clients of SSE streams and polls say by HTTP, as others do in frames; and tickets to open a stream with."""

from typing import Annotated, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hubd.core.connection import Connection, Visibility
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.protocol import IDS
from hubd.core.publish import field_errors
from hubd.edge.credentials import Authenticator
from hubd.edge.http import answer, read_body
from hubd.edge.tickets import UNUSED_S, Tickets
from hubd.hub import Hub
from hubd.storing import all_written

BODY_BYTES = 4096
"""Of somebody who has shown only that he begins like a capability."""
_Id = Annotated[str, Field(min_length=1, max_length=256)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


Said = TypeVar("Said", bound=_Said)


class AckBody(_Said):
    """These were shown to a person; ``connection`` is the one that brought them."""

    ids: Annotated[list[_Id], Field(max_length=IDS)]
    connection: _Id | None = None


class DeviceAckBody(_Said):
    """This was shown to a person on a device."""

    ids: Annotated[list[_Id], Field(min_length=1, max_length=1)]


class VisibilityBody(_Said):
    """Whether a connection's tab can be seen; ``visible`` also says that there was input."""

    connection: _Id
    state: Literal["visible", "hidden"]


class Connections:
    """The calls of users about their own connections."""

    def __init__(self, hub: Hub, authenticator: Authenticator, tickets: Tickets) -> None:
        self._hub = hub
        self._authenticator = authenticator
        self._tickets = tickets

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.post("/api/acks", self.ack),
            web.post("/api/visibility", self.set_visibility),
            web.post("/api/tickets", self.issue_ticket),
        ]

    async def ack(self, request: web.Request) -> web.Response:
        """As the action `ack`; without a connection it counts for all of the user's that can't say it themselves.

        A device that was pushed to says it by its capability: all connections are told then.
        """
        if self._authenticator.brings_capability(request):
            return await self._ack_by_device(request)
        user = (await self._authenticator.user(request)).user
        said = await _read(request, AckBody)
        if said.connection is not None:
            by = [self._connection(user, said.connection)]
        else:
            by = [one for one in self._hub.registry.connections_of(user) if not one.answers_pings]
        await all_written(self._hub.ack(user, said.ids, by))
        return answer({"ok": True})

    async def _ack_by_device(self, request: web.Request) -> web.Response:
        said = await _read(request, DeviceAckBody, BODY_BYTES)
        user = self._authenticator.holder(request, said.ids[0])
        assert user is not None
        await all_written(self._hub.ack(user, said.ids, []))
        return answer({"ok": True})

    async def set_visibility(self, request: web.Request) -> web.Response:
        """As the action `visibility`."""
        user = (await self._authenticator.user(request)).user
        said = await _read(request, VisibilityBody)
        self._hub.attendance.set_visibility(self._connection(user, said.connection), Visibility(said.state))
        return answer({"ok": True})

    async def issue_ticket(self, request: web.Request) -> web.Response:
        """A proof that may stand in an address: it opens one stream."""
        identity = await self._authenticator.user(request)
        return answer({"ticket": self._tickets.issue(identity), "expires_in": UNUSED_S}, 201)

    def _connection(self, user: str, id: str) -> Connection:
        for connection in self._hub.registry.connections_of(user):
            if connection.id == id:
                return connection
        raise Problem("not_found", "you have no such connection (any more)")


async def _read(request: web.Request, model: type[Said], most: int | None = None) -> Said:
    body = await read_body(request, most)
    if not isinstance(body, dict):
        raise invalid([FieldError("", "the body is an object")])
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None
