"""Users' tokens (JWT): who somebody is, proved by a signature."""

import base64
import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from hubd.clock import Clock
from hubd.config import Auth, JwtKey
from hubd.core.channel import Patterns, is_user_id, patterns
from hubd.core.errors import BAD_TOKEN, EXPIRED, REVOKED, Disconnect, Problem
from hubd.core.identity import Identity
from hubd.core.notification import Priority
from hubd.core.stored import Lane, Revoke
from hubd.edge.jwks import Jwks, VerifyKey, configured_key
from hubd.storing import RETRY_S, Store, StoreError
from hubd.tasks import Tasks

LEEWAY_S = 5.0
"""How far the issuer's clock may be off."""

TOKEN_BYTES = 8192
PATTERNS = 100
TAGS = 100
TAG_CHARS = 128
CACHED_TOKENS = 10_000
_HEADS = 256
REVOKED_USERS = 1_000_000
# The end of the year 9999. What lies beyond is no time but a mistake, mostly milliseconds.
_LAST_SECOND = 253_402_300_799
_PRIORITIES = {priority.word: priority for priority in Priority}


class TokenRefused(Exception):
    """A token that proves nothing (any more).

    ``disconnect`` is what a connection ends with, ``reason`` a sentence for people that holds nothing of the token.
    ``temporary`` says that the fault is not the token's: the key that it needs can't be had now.
    """

    def __init__(self, disconnect: Disconnect, reason: str, temporary: bool = False) -> None:
        super().__init__(reason)
        self.disconnect = disconnect
        self.reason = reason
        self.temporary = temporary


class Revocations:
    """Since when each user's older tokens don't count any more. In memory, the latest million users.

    ``not_before`` is where they are kept: by user, in Unix seconds; and ``store`` what they outlive the process in.
    """

    def __init__(
        self,
        clock: Clock,
        not_before: dict[str, float] | None = None,
        store: Store | None = None,
        *,
        limit: int = REVOKED_USERS,
    ) -> None:
        self._clock = clock
        self._store = store
        self._limit = limit
        self._not_before = {} if not_before is None else not_before

    def add(self, user: str) -> None:
        """From now on refuse every token of this user that was issued until now, or that doesn't say when."""
        self._not_before.pop(user, None)
        self._not_before[user] = self._clock.now()
        if len(self._not_before) > self._limit:
            del self._not_before[next(iter(self._not_before))]

    async def stored(self, user: str) -> None:
        """Wait until the store has what was added last for a user; a ``Problem`` when it can't have it."""
        since = self._not_before.get(user)
        if self._store is None or since is None:
            return
        try:
            await self._store.write(Revoke(user, since), Lane.ACK)
        except StoreError as error:
            why = f"this counts now, but a restart would forget it: it can't be stored ({error}); try again"
            raise Problem("unavailable", why, retry_after=RETRY_S) from None

    def cover(self, identity: Identity) -> bool:
        """Whether what this identity was proved with has been revoked since."""
        return identity.is_revoked(self._not_before.get(identity.user))


@dataclass(frozen=True, slots=True)
class _Issuer:
    """One ``[[auth.jwt]]``: keys of one algorithm, and what else must be right in a token signed with one."""

    algorithm: str
    issuer: str | None
    audience: str | None
    fixed: tuple[VerifyKey, ...] = ()
    jwks: Jwks | None = None

    def keys(self, kid: str | None) -> tuple[VerifyKey, ...]:
        return self.fixed if self.jwks is None else self.jwks.keys(kid)


@dataclass(frozen=True, slots=True, repr=False)
class _Signed:
    """A token taken apart; nothing of it is to be trusted before a key has verified ``signed``."""

    algorithm: str
    kid: str | None
    signed: bytes
    payload: bytes
    signature: bytes


class Tokens:
    """Verifies users' tokens against the keys in ``auth.jwt``; ``tasks`` runs the fetching of published keys.

    With ``dev``, a token that names no topics may subscribe to all of them, unless the config says otherwise.
    """

    def __init__(
        self, auth: Auth, clock: Clock, tasks: Tasks, dev: bool = False, revocations: Revocations | None = None
    ) -> None:
        self.revocations = revocations or Revocations(clock)
        self._clock = clock
        self._tasks = tasks
        self._dev = dev
        self._jwks: dict[tuple[str, str], Jwks] = {}
        self.apply(auth)

    def apply(self, auth: Auth) -> None:
        """Go by these keys from now on; revocations stay, and so do keys that were fetched and are still wanted."""
        jwks: dict[tuple[str, str], Jwks] = {}
        default_topics = patterns(tuple(auth.default_topics) or (("**",) if self._dev else ()))
        issuers = [self._issuer(entry, jwks) for entry in auth.jwt]
        dropped = [one for place, one in self._jwks.items() if place not in jwks]
        self._default_topics, self._issuers, self._jwks = default_topics, issuers, jwks
        # A new one, not an emptied one: a check that is under way may still put in what the old keys have proved.
        self._cache: OrderedDict[bytes, Identity] = OrderedDict()
        for one in dropped:
            self._tasks.start(one.close(), "jwks close")

    def _issuer(self, entry: JwtKey, jwks: dict[tuple[str, str], Jwks]) -> _Issuer:
        audience, issuer = entry.audience or None, entry.issuer or None
        if entry.keys is not None:
            return _Issuer(entry.algorithm, issuer, audience, (configured_key(entry.algorithm, entry.keys.verifying),))
        place = (entry.jwks_url, entry.algorithm)
        jwks[place] = jwks.get(place) or self._jwks.get(place) or self._published(*place)
        return _Issuer(entry.algorithm, issuer, audience, jwks=jwks[place])

    def _published(self, url: str, algorithm: str) -> Jwks:
        # A key that is gone takes with it what was verified with it, so that a leaked one can be withdrawn.
        return Jwks(url, algorithm, self._clock, self._tasks, withdrawn=self._forget)

    def _forget(self) -> None:
        self._cache.clear()

    async def verify(self, token: str) -> Identity:
        """Whom the token proves its bearer to be; ``TokenRefused`` when it doesn't.

        It waits only for published keys that aren't here yet (``jwks.TIMEOUT_S`` at most).
        """
        if len(token) > TOKEN_BYTES or not token.isascii():
            raise TokenRefused(BAD_TOKEN, f"a token has {TOKEN_BYTES} ASCII characters at most")
        for jwks in self._jwks.values():
            jwks.keep_fresh()
        digest = hashlib.sha256(token.encode()).digest()
        cache = self._cache
        identity = cache.pop(digest, None) or await self._prove(token)
        self._check_in_force(identity)
        cache[digest] = identity
        if len(cache) > CACHED_TOKENS:
            cache.popitem(last=False)
        return identity

    @property
    def at_once(self) -> bool:
        """Whether ``verify`` never waits: there are no published keys."""
        return not self._jwks

    def revoke(self, user: str) -> None:
        """Refuse from now on every token of this user that was issued until now, or that doesn't say when."""
        self.revocations.add(user)

    def revoked(self, identity: Identity) -> bool:
        """Whether the token behind a live connection has been revoked since it was verified."""
        return self.revocations.cover(identity)

    async def close(self) -> None:
        """Stop fetching published keys."""
        for jwks in self._jwks.values():
            await jwks.close()

    def _check_in_force(self, identity: Identity) -> None:
        # Revocation first: 'expired' would invite the client to fetch another token and come back.
        if self.revoked(identity):
            raise TokenRefused(REVOKED, "this token has been revoked")
        if identity.expires_at is not None and self._clock.now() > identity.expires_at + LEEWAY_S:
            raise TokenRefused(EXPIRED, "this token has expired")

    async def _prove(self, token: str) -> Identity:
        parts = _take_apart(token)
        issuers = [issuer for issuer in self._issuers if issuer.algorithm == parts.algorithm]
        identity = self._judge(parts, issuers)
        if identity is None:
            # Only now may published keys be waited for: one issuer's slow server must not hold up another's users.
            for issuer in issuers:
                if issuer.jwks is not None:
                    await issuer.jwks.look_again(parts.kid)
            identity = self._judge(parts, issuers)
        if identity is not None:
            return identity
        if any(issuer.jwks is not None and issuer.jwks.failing for issuer in issuers):
            raise TokenRefused(BAD_TOKEN, "the key that this token needs can't be had now", temporary=True)
        raise TokenRefused(BAD_TOKEN, self._advice(issuers))

    def _advice(self, issuers: Sequence[_Issuer]) -> str:
        if not self._issuers:
            return "no key for users' tokens is configured ([[auth.jwt]])"
        if not issuers:
            return "this token's algorithm is not that of a configured key"
        return "this token is not signed with a configured key"

    def _judge(self, parts: _Signed, issuers: Sequence[_Issuer]) -> Identity | None:
        """Whom the token proves; None when no key known now has signed it; refused when one has, but it is wrong."""
        refusal: TokenRefused | None = None
        for issuer in issuers:
            if not any(key.verifies(parts.signed, parts.signature) for key in issuer.keys(parts.kid)):
                continue
            try:
                return self._read_claims(parts.payload, issuer)
            except TokenRefused as refused:
                # The same key may stand in the config for another issuer too.
                refusal = refusal or refused
        if refusal is not None:
            raise refusal
        return None

    def _read_claims(self, payload: bytes, issuer: _Issuer) -> Identity:
        try:
            claims = orjson.loads(payload)
        except ValueError:
            raise TokenRefused(BAD_TOKEN, "this token's claims are not JSON") from None
        if not isinstance(claims, dict):
            raise TokenRefused(BAD_TOKEN, "this token's claims are not an object")
        _check_addressed(claims, issuer)
        self._check_begun(claims)
        user = claims.get("sub")
        if not isinstance(user, str) or not is_user_id(user):
            raise TokenRefused(BAD_TOKEN, "'sub' must be a user id: 1 to 64 of A-Z a-z 0-9 _ . @ | + = -")
        expires_at = _seconds(claims, "exp")
        if expires_at is None:
            raise TokenRefused(BAD_TOKEN, "'exp' is required")
        topics = _patterns(claims, "topics")
        return Identity(
            user=user,
            topics=self._default_topics if topics is None else topics,
            publish=_patterns(claims, "publish") or patterns(()),
            max_priority=_max_priority(claims),
            expires_at=expires_at,
            issued_at=_seconds(claims, "iat"),
            tags=_tags(claims),
        )

    def _check_begun(self, claims: Mapping[str, Any]) -> None:
        latest = self._clock.now() + LEEWAY_S
        if (_seconds(claims, "nbf") or 0) > latest:
            raise TokenRefused(BAD_TOKEN, "this token is not valid yet ('nbf')")
        # A token from the future would outlive its revocation.
        if (_seconds(claims, "iat") or 0) > latest:
            raise TokenRefused(BAD_TOKEN, "this token was issued in the future ('iat'): compare the clocks")


def dev_identity(user: str) -> Identity:
    """Whoever somebody says he is, with every permission: for development only. TokenRefused if it is no user id."""
    if not is_user_id(user):
        raise TokenRefused(BAD_TOKEN, "a user id is 1 to 64 of A-Z a-z 0-9 _ . @ | + = -")
    everything = patterns(("**",))
    return Identity(user, everything, everything, Priority.CRITICAL, expires_at=None, issued_at=None)


def _take_apart(token: str) -> _Signed:
    """A token's parts (RFC 7515 section 7.1), which are only read here: each configured key verifies them later."""
    try:
        head, payload, signature = token.encode().split(b".")
        parts = _base64url(payload), _base64url(signature)
        algorithm, kid = _read_head(head)
    except ValueError:
        # Without its cause, which may quote the token.
        raise TokenRefused(BAD_TOKEN, "this is not a signed token (JWT)") from None
    return _Signed(algorithm, kid, head + b"." + payload, *parts)


@lru_cache(maxsize=_HEADS)  # the tokens of one issuer all have the same
def _read_head(segment: bytes) -> tuple[str, str | None]:
    """The algorithm and the key's id that a token names; ``ValueError`` when it is no token's head."""
    header = orjson.loads(_base64url(segment))
    if not isinstance(header, dict) or not isinstance(header.get("kid", ""), str):
        raise ValueError("no header of a token")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise TokenRefused(BAD_TOKEN, "this token doesn't say how it is signed")
    if "crit" in header or "b64" in header:
        raise TokenRefused(BAD_TOKEN, "this token needs extensions ('crit', 'b64') that the hub doesn't have")
    return algorithm, header.get("kid")


def _base64url(segment: bytes) -> bytes:
    """What was encoded (RFC 7515 section 2); some issuers pad it. ``ValueError`` unless written as it has to be."""
    bare = segment.rstrip(b"=")
    padding = -len(bare) % 4
    if len(segment) - len(bare) not in (0, padding):
        raise ValueError("padding of another length")
    data = base64.urlsafe_b64decode(bare + b"=" * padding)
    if base64.urlsafe_b64encode(data).rstrip(b"=") != bare:  # it passes over what is no base64
        raise ValueError("no base64url")
    return data


def _check_addressed(claims: Mapping[str, Any], issuer: _Issuer) -> None:
    if issuer.issuer is not None and claims.get("iss") != issuer.issuer:
        raise TokenRefused(BAD_TOKEN, "this token is from another issuer ('iss')")
    if issuer.audience is not None:
        audience = claims.get("aud")
        if issuer.audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenRefused(BAD_TOKEN, "this token is meant for somebody else ('aud')")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefused(BAD_TOKEN, f"{name!r} must be a number of seconds")
    if not 0 <= value <= _LAST_SECOND:
        raise TokenRefused(BAD_TOKEN, f"{name!r} must be Unix time in seconds (is it milliseconds?)")
    return value


def _patterns(claims: Mapping[str, Any], name: str) -> Patterns | None:
    if name not in claims:
        return None
    texts = _strings(claims[name], name, PATTERNS)
    try:
        return patterns(texts)
    except Problem:
        raise TokenRefused(BAD_TOKEN, f"{name!r} holds an invalid channel pattern") from None


def _strings(value: object, name: str, limit: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > limit or not all(isinstance(text, str) for text in value):
        raise TokenRefused(BAD_TOKEN, f"{name!r} must be a list of at most {limit} strings")
    return tuple(value)


def _max_priority(claims: Mapping[str, Any]) -> Priority:
    word = claims.get("max_priority", Priority.IMPORTANT.word)
    priority = _PRIORITIES.get(word) if isinstance(word, str) else None
    if priority is None:
        raise TokenRefused(BAD_TOKEN, f"'max_priority' must be one of {', '.join(_PRIORITIES)}")
    return priority


def _tags(claims: Mapping[str, Any]) -> tuple[str, ...]:
    tags = _strings(claims.get("tags", []), "tags", TAGS)
    if any(not 1 <= len(tag) <= TAG_CHARS for tag in tags):
        raise TokenRefused(BAD_TOKEN, f"each of 'tags' must have 1 to {TAG_CHARS} characters")
    return tuple(dict.fromkeys(tags))
