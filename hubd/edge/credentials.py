"""Who is asking: the proofs that a request may carry, and which of them counts."""

from aiohttp import web

from hubd.config import Config
from hubd.core.errors import BAD_TOKEN, REVOKED, Problem
from hubd.core.identity import ApiKey, Identity
from hubd.edge.keys import PREFIX, ApiKeys
from hubd.edge.origin import Origins
from hubd.edge.tickets import Tickets
from hubd.edge.tokens import TokenRefused, Tokens, dev_identity

COOKIE = "hubd_token"
_HOW_USER = "send the user's token as 'Authorization: Bearer ...'"
_HOW_SERVER = "send an API key as 'Authorization: Bearer hub_...'"
_RETRY_S = 5.0


class Authenticator:
    """Reads who is asking from a request.

    The first proof that is there counts, good or bad: the header, else the cookie, else the address. A bad one is
    never passed over for the next, so that nobody acts as somebody else than he meant to.
    """

    def __init__(
        self, tokens: Tokens, tickets: Tickets, keys: ApiKeys, origins: Origins, config: Config, dev: bool = False
    ) -> None:
        self._tokens = tokens
        self._tickets = tickets
        self._keys = keys
        self._origins = origins
        self._dev = dev
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Go by this config from now on."""
        self._query_token = config.auth.query_token

    async def user(self, request: web.Request) -> Identity:
        """The user who is asking; ``Problem``: unauthorized without a good token, forbidden for an API key or a page
        that may not use the cookie, unavailable while the token's key can't be had."""
        return await self._user(request, tickets=False)

    async def streaming(self, request: web.Request) -> Identity:
        """The user who opens an SSE stream or polls, by a ticket too; ``Problem`` as for ``user``."""
        return await self._user(request, tickets=True)

    async def _user(self, request: web.Request, *, tickets: bool) -> Identity:
        bearer = _bearer(request)
        if bearer is not None and bearer.startswith(PREFIX):
            self._api_key(bearer)
            raise Problem("forbidden", f"this is for users, not for servers: {_HOW_USER}")
        try:
            identity = await self._identity(request, bearer, tickets=tickets)
        except TokenRefused as refused:
            raise _problem(refused) from None
        if identity is None:
            raise Problem("unauthorized", self._how_to_begin(request))
        return identity

    def server(self, request: web.Request, right: str) -> ApiKey:
        """The server that is asking, by a key with this right ('publish', 'admin'); ``Problem``: unauthorized without
        a good key, forbidden for a key without the right and for a user's token."""
        bearer = _bearer(request)
        if bearer is None:
            raise Problem("unauthorized", f"this is for servers: {_HOW_SERVER}")
        if not bearer.startswith(PREFIX) and bearer.count(".") == 2:
            raise Problem("forbidden", f"this is for servers, not for users: {_HOW_SERVER}")
        key = self._api_key(bearer)
        if right not in key.rights:
            raise Problem("forbidden", f"this key doesn't have the right '{right}'")
        return key

    async def caller(self, request: web.Request) -> ApiKey | Identity:
        """Whoever is asking, server or user; ``Problem`` as for them."""
        bearer = _bearer(request)
        if bearer is not None and bearer.startswith(PREFIX):
            return self._api_key(bearer)
        return await self.user(request)

    async def connecting(self, request: web.Request) -> Identity | None:
        """The user who opens a WebSocket; None when he brings no proof yet and will send it in a frame.

        ``TokenRefused`` for a bad proof: accept, then close with its code. ``Problem`` for what must be refused
        before: forbidden for a page that may not use the cookie, unavailable while the token's key can't be had.
        """
        try:
            bearer = _bearer(request)
        except Problem as problem:
            raise TokenRefused(BAD_TOKEN, problem.message) from None
        if bearer is not None and bearer.startswith(PREFIX):
            raise TokenRefused(BAD_TOKEN, "an API key opens no connection: a user's token does")
        try:
            return await self._identity(request, bearer, websocket=True, tickets=True)
        except TokenRefused as refused:
            if refused.temporary:
                raise _problem(refused) from None
            raise

    async def _identity(
        self, request: web.Request, bearer: str | None, *, websocket: bool = False, tickets: bool
    ) -> Identity | None:
        """By the first proof of a user that there is; None without any."""
        if bearer is not None:
            return await self._tokens.verify(bearer)
        if cookie := request.cookies.get(COOKIE):
            if not self._origins.cookie_allowed(request.method, request.headers, websocket=websocket):
                raise Problem(
                    "forbidden",
                    f"the cookie '{COOKIE}' alone does only for the hub's own pages and those in [auth] origins;"
                    f" else {_HOW_USER}",
                )
            return await self._tokens.verify(cookie)
        if tickets and "ticket" in request.query:
            return self._ticket_holder(request.query["ticket"])
        if "token" in request.query:
            if not self._query_token:
                raise TokenRefused(BAD_TOKEN, f"?token= is off ([auth] query_token): {_HOW_USER}")
            return await self._tokens.verify(request.query["token"])
        if self._dev and "user" in request.query:
            return dev_identity(request.query["user"])
        return None

    def _ticket_holder(self, ticket: str) -> Identity:
        identity = self._tickets.identity(ticket)
        if self._tokens.revocations.cover(identity):
            raise TokenRefused(REVOKED, "the token behind this ticket has been revoked")
        return identity

    def _api_key(self, bearer: str) -> ApiKey:
        key = self._keys.find(bearer)
        if key is None:
            raise Problem("unauthorized", f"this API key is not known: {_HOW_SERVER}")
        return key

    def _how_to_begin(self, request: web.Request) -> str:
        if self._dev:
            return f"{_HOW_USER}, or in dev mode say who you are with ?user=42"
        if "user" in request.query:
            return f"?user= does only in dev mode: {_HOW_USER}"
        return f"{_HOW_USER}, or as the cookie '{COOKIE}'"


def _bearer(request: web.Request) -> str | None:
    """What the Authorization header brings, None without one; ``Problem`` unless it is one 'Bearer ...'."""
    values = request.headers.getall("Authorization", [])
    if not values:
        return None
    scheme, _, value = values[0].strip().partition(" ")
    value = value.strip()
    if len(values) > 1 or scheme.lower() != "bearer" or not value or " " in value:
        raise Problem("unauthorized", "the Authorization header must be one 'Bearer ', then a token or an API key")
    return value


def _problem(refused: TokenRefused) -> Problem:
    if refused.temporary:
        return Problem("unavailable", refused.reason, retry_after=_RETRY_S)
    return Problem("unauthorized", refused.reason)
