"""Who is asking: the proofs that a request may carry, and which of them counts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web
from multidict import CIMultiDictProxy

from hubd.config import Config
from hubd.core.channel import Patterns, is_user_id
from hubd.core.errors import BAD_TOKEN, EXPIRED, REVOKED, STATUS_OF, Problem
from hubd.core.identity import ApiKey, Identity
from hubd.core.notification import Priority
from hubd.edge.keys import PREFIX, ApiKeys
from hubd.edge.limits import PerAddress
from hubd.edge.origin import Origins
from hubd.edge.proxies import Proxies
from hubd.edge.tickets import Tickets
from hubd.edge.tokens import TokenRefused, Tokens, dev_identity
from hubd.hooks.calls import BadAnswer, Hooks
from hubd.push.capability import PREFIX as CAPABILITY
from hubd.push.capability import Capabilities

COOKIE = "hubd_token"
_HOW_USER = "send the user's token as 'Authorization: Bearer ...'"
_HOW_SERVER = "send an API key as 'Authorization: Bearer hub_...'"
_FOR_ONE_ALONE = "a capability is no token: it reads and acks its notification, and does nothing else"
_RETRY_S = 5.0
ASKING = 2000
"""For how many at a time plugins are asked who they are; of one address half as many."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What somebody brought to show who he is, as plugins on ``hubd_authenticate`` are given it.

    ``token``: what came as ``Authorization: Bearer`` or in the action ``auth``; None without any. ``headers`` are those
    of the request, by lower-case names, without the cookie where it mustn't count because a foreign page may have sent
    the request; ``cookies`` are then empty too. Of a header that comes more than once, the values are joined. ``query``
    is what stands behind the ``?``. ``address`` is the client's.
    """

    token: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


class Authenticator:
    """Reads who is asking from a request.

    The first proof that is there counts, good or bad: the header, else the cookie, else the address. A bad one is
    never passed over for the next, so that nobody acts as somebody else than he meant to.
    """

    def __init__(
        self,
        tokens: Tokens,
        tickets: Tickets,
        keys: ApiKeys,
        origins: Origins,
        config: Config,
        hooks: Hooks,
        dev: bool = False,
        capabilities: Capabilities | None = None,
    ) -> None:
        self._tokens = tokens
        self._tickets = tickets
        self._keys = keys
        self._origins = origins
        self._dev = dev
        self._hooks = hooks
        self._capabilities = capabilities
        self._asking = PerAddress()
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Go by this config from now on."""
        self._query_token = config.auth.query_token
        self._proxies = Proxies(config.server.trusted_proxies)

    async def user(self, request: web.Request) -> Identity:
        """The user who is asking; ``Problem``: unauthorized without a good token, forbidden for an API key or a page
        that may not use the cookie, unavailable while the token's key can't be had."""
        return await self._user(request, tickets=False)

    async def streaming(self, request: web.Request) -> Identity:
        """The user who opens an SSE stream or polls, by a ticket too; ``Problem`` as for ``user``."""
        return await self._user(request, tickets=True)

    async def _user(self, request: web.Request, *, tickets: bool) -> Identity:
        bearer = _bearer(request.headers)
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
        return self.server_by(request.headers, right)

    def server_by(self, headers: CIMultiDictProxy[str], right: str) -> ApiKey:
        """The same by the headers alone."""
        bearer = _bearer(headers)
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
        bearer = _bearer(request.headers)
        if bearer is not None and bearer.startswith(PREFIX):
            return self._api_key(bearer)
        return await self.user(request)

    async def reader(self, request: web.Request, id: str) -> ApiKey | str:
        """Whoever wants to read the notification with this id: a server, or a user, also by a capability for it;
        ``Problem`` as for them."""
        if (user := self.holder(request, id)) is not None:
            return user
        caller = await self.caller(request)
        return caller if isinstance(caller, ApiKey) else caller.user

    @staticmethod
    def brings_capability(request: web.Request) -> bool:
        """Whether it is a capability that was brought, good or bad; ``Problem`` as for ``holder``."""
        bearer = _bearer(request.headers)
        return bearer is not None and bearer.startswith(CAPABILITY)

    def holder(self, request: web.Request, id: str) -> str | None:
        """The user whose capability for the notification with this id was brought; None: something else was, or
        nothing. ``Problem``: unauthorized for a capability that is no good for it."""
        bearer = _bearer(request.headers)
        if bearer is None or not bearer.startswith(CAPABILITY):
            return None
        user = None if self._capabilities is None else self._capabilities.user_of(bearer, id)
        if user is None:
            raise Problem("unauthorized", "this capability is for another notification, or isn't good any more")
        return user

    async def connecting(self, request: web.Request) -> Identity | None:
        """The user who opens a WebSocket; None when he brings no proof yet and will send it in a frame.

        ``TokenRefused`` for a bad proof: accept, then close with its code. ``Problem`` for what must be refused
        before: forbidden for a page that may not use the cookie, unavailable while the token's key can't be had.
        """
        try:
            bearer = _bearer(request.headers)
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
        if bearer is not None and bearer.startswith(CAPABILITY):
            raise TokenRefused(BAD_TOKEN, _FOR_ONE_ALONE)
        if self._hooks.authenticate.impls:
            if tickets and bearer is None and "ticket" in request.query:
                return self._ticket_holder(request.query["ticket"])  # they were asked when it was issued
            known = await self._ask_plugins(self._credentials(request, bearer, websocket=websocket))
            if known is not None:
                return known
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

    async def by_token(self, token: str, address: str) -> Identity:
        """The user who sent this token in the action ``auth``; ``TokenRefused`` when it is no good."""
        if token.startswith(PREFIX):
            raise TokenRefused(BAD_TOKEN, "an API key opens no connection: a user's token does")
        if token.startswith(CAPABILITY):
            raise TokenRefused(BAD_TOKEN, _FOR_ONE_ALONE)
        if self._hooks.authenticate.impls:
            known = await self._ask_plugins(Credentials(token, address=address))
            if known is not None:
                return known
        return await self._tokens.verify(token)

    def _credentials(self, request: web.Request, bearer: str | None, *, websocket: bool) -> Credentials:
        if any(text.startswith(PREFIX) for text in (request.cookies.get(COOKIE, ""), request.query.get("token", ""))):
            raise TokenRefused(BAD_TOKEN, f"an API key is for servers, and comes in the header alone: {_HOW_USER}")
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            before, between = headers.get(name.lower()), "; " if name.lower() == "cookie" else ", "
            headers[name.lower()] = value if before is None else f"{before}{between}{value}"
        cookies: Mapping[str, str] = request.cookies
        if not self._origins.cookie_allowed(request.method, request.headers, websocket=websocket):
            cookies = {}
            headers.pop("cookie", None)
        return Credentials(bearer, headers, cookies, dict(request.query), self._proxies.address(request))

    async def _ask_plugins(self, credentials: Credentials) -> Identity | None:
        """Whom the first plugin that knows says it is; None: none knows. So many may wait for that, and no more.

        Who hangs up goes on waiting, and counts: else one client could have any number of questions under way.
        """
        address = credentials.address
        if self._asking.total >= ASKING or self._asking.of(address) >= ASKING // 2:
            raise TokenRefused(BAD_TOKEN, "too many wait to be let in; try again later", temporary=True)
        self._asking.add(address)
        try:
            return await self._ask_each(credentials)
        finally:
            self._asking.discard(address)

    async def _ask_each(self, credentials: Credentials) -> Identity | None:
        hook = self._hooks.authenticate
        for impl in hook.impls:
            # From before it was asked: a revocation while it thinks about it has to count.
            asked_at = self._hooks.clock.now()
            try:
                answer = await hook.ask(impl, credentials)
                if answer is None:
                    continue
                if not _is_whole(answer):
                    hook.failed(impl, BadAnswer("hubd_authenticate answers None or an Identity (see identity_of)"))
            except Problem as problem:  # whichever it is, no other proof counts
                temporary = problem.status >= STATUS_OF["rate_limited"]
                raise TokenRefused(BAD_TOKEN, problem.message, temporary=temporary) from None
            known: Identity = answer if answer.issued_at is not None else replace(answer, issued_at=asked_at)
            self.check_revoked(known)
            if known.expires_at is not None and self._hooks.clock.now() > known.expires_at:
                raise TokenRefused(EXPIRED, "what you came with has expired")
            return known
        return None

    def check_revoked(self, identity: Identity) -> None:
        """``TokenRefused`` when what proved this identity has been revoked since; look again after any waiting."""
        if self._tokens.revoked(identity):
            raise TokenRefused(REVOKED, "what you came with has been revoked")

    def check_still(self, identity: Identity) -> None:
        """The same, as a ``Problem``."""
        try:
            self.check_revoked(identity)
        except TokenRefused as refused:
            raise _problem(refused) from None

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


def _is_whole(answer: object) -> bool:
    """Whether it is an identity that can be worked with: somebody may have made it in other ways than he should."""
    if not isinstance(answer, Identity):
        return False
    times = (time for time in (answer.expires_at, answer.issued_at) if time is not None)
    return (
        isinstance(answer.user, str)
        and is_user_id(answer.user)
        and all(isinstance(granted, Patterns) for granted in (answer.topics, answer.publish))
        and isinstance(answer.max_priority, Priority)
        and isinstance(answer.denied, frozenset)
        and all(isinstance(time, int | float) and math.isfinite(time) for time in times)
    )


def _bearer(headers: CIMultiDictProxy[str]) -> str | None:
    """What the Authorization header brings, None without one; ``Problem`` unless it is one 'Bearer ...'."""
    values = headers.getall("Authorization", [])
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
