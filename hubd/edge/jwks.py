"""The keys that users' tokens are verified with: those in the config, and those an issuer publishes as a JWKS."""

import asyncio
import hashlib
import hmac
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
import orjson
from jwt.algorithms import Algorithm
from yarl import URL

from hubd import config_checks
from hubd.clock import Clock
from hubd.faults import described
from hubd.log_events import log_event
from hubd.tasks import Tasks

log = logging.getLogger("hubd.edge.jwks")

ALGORITHMS = ("HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA")
"""What a token may be signed with. There is no 'none' among them, and no way to add it."""

REFRESH_S = 600.0
RETRY_S = 30.0
RETRY_EMPTY_S = 2.0
TIMEOUT_S = 5.0
DOCUMENT_BYTES = 256 * 1024
KEYS = 50
RSA_BITS = 2048
_DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_KEY_TYPE = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A key and the one algorithm it is used with.

    The two are bound here and nowhere else, so that a token can't have an RSA key's public text used as an HMAC
    secret. ``fingerprint`` tells whether a published key is still the same one (a configured one has none).
    """

    algorithm: str
    kid: str | None
    fingerprint: bytes
    _how: Algorithm = field(repr=False)
    _material: Any = field(repr=False)

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether the signature over these bytes was made with this key."""
        if (digest := _DIGESTS.get(self.algorithm)) is not None:  # the shortest way for the most usual one
            return hmac.compare_digest(hmac.digest(self._material, signed, digest), signature)
        return self._how.verify(signed, self._material, signature)


def configured_key(algorithm: str, material: Any) -> VerifyKey:
    """The key that stands in the config, already read and checked: a secret's bytes, or a public key."""
    return VerifyKey(algorithm, None, b"", _algorithm(algorithm), material)


def _algorithm(name: str) -> Algorithm:
    if name not in ALGORITHMS:
        raise ValueError(f"the algorithm must be one of {', '.join(ALGORITHMS)}")
    return jwt.get_algorithm_by_name(name)


def published_keys(document: bytes, algorithm: str) -> tuple[VerifyKey, ...]:
    """Those keys of a JWKS document that can verify this algorithm; ValueError when there are none.

    What the issuer publishes for other purposes or algorithms is passed over, and so are private and weak keys.
    """
    parsed = orjson.loads(document)
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it is no JWKS: there is no list 'keys'")
    found = [key for entry in entries[:KEYS] if (key := _published_key(entry, algorithm)) is not None]
    if not found:
        raise ValueError(f"there is no usable key for {algorithm} in it")
    return tuple(found)


def _published_key(entry: object, algorithm: str) -> VerifyKey | None:
    if not isinstance(entry, dict) or not _is_meant_for(entry, algorithm):
        return None
    kid = entry.get("kid")
    how = _algorithm(algorithm)
    try:
        # prepare_key is what checks the curve: from_jwk alone would take a P-384 key for ES256.
        material = how.prepare_key(how.from_jwk(entry))
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        return None
    if algorithm == "RS256" and material.key_size < RSA_BITS:
        return None
    fingerprint = hashlib.sha256(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)).digest()
    return VerifyKey(algorithm, kid, fingerprint, how, material)


def _is_meant_for(entry: dict[str, Any], algorithm: str) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return (
        entry.get("kty") == _KEY_TYPE[algorithm]
        and entry.get("alg", algorithm) == algorithm
        and entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and isinstance(entry.get("kid", ""), str)
        and "d" not in entry
    )


class Jwks:
    """The published keys of one issuer, kept up to date.

    They are fetched when first needed, again in the background when older than ``REFRESH_S``, and at once when a
    token names a key that isn't there, which strangers can provoke: therefore no more than once in ``RETRY_S``
    (``RETRY_EMPTY_S`` while there is no key at all). A fetch that fails leaves the keys as they were.
    ``withdrawn`` is called when a key that was there is gone: what was verified with it must not be trusted on.
    """

    def __init__(
        self, url: str, algorithm: str, clock: Clock, tasks: Tasks, withdrawn: Callable[[], None] = lambda: None
    ) -> None:
        if algorithm not in _KEY_TYPE:
            raise ValueError(f"jwks_url goes with {', '.join(_KEY_TYPE)}: a secret for {algorithm} is not published")
        self._url = config_checks.jwks_url(url)
        # For the log: what an operator put into the address to authenticate himself is nobody else's business.
        self._shown_url = str(URL(url).with_user(None).with_query(None))
        self._algorithm = algorithm
        self._clock = clock
        self._tasks = tasks
        self._withdrawn = withdrawn
        self._keys: tuple[VerifyKey, ...] = ()
        self._fetching: asyncio.Task[None] | None = None
        self._loaded_at = -math.inf
        self._tried_at = -math.inf
        self._closed = False
        self.failing = False
        """Whether the last fetch failed: a key that is missing may exist all the same."""

    def keys(self, kid: str | None) -> tuple[VerifyKey, ...]:
        """The keys of that id which are known now; all of them for a token that names none."""
        return self._keys if kid is None else tuple(key for key in self._keys if key.kid == kid)

    def keep_fresh(self) -> None:
        """Start a refresh in the background if the keys are old; cheap otherwise, so call it at every use."""
        if self._clock.monotonic() - self._loaded_at > REFRESH_S:
            self._start_fetch()

    async def look_again(self, kid: str | None) -> None:
        """Fetch the keys because that one is missing, unless that was tried just now; returns when it is done."""
        if self.keys(kid):
            return
        self._start_fetch()
        if self._fetching is not None:
            # Not awaited directly: many may wait for the one fetch, and none who hangs up may cancel it.
            await asyncio.wait({self._fetching})

    async def close(self) -> None:
        """Stop a fetch that is under way; nothing is fetched any more."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    def _start_fetch(self) -> None:
        now = self._clock.monotonic()
        pause = RETRY_S if self._keys else RETRY_EMPTY_S
        if self._closed or self._fetching is not None or now - self._tried_at < pause:
            return
        self._tried_at = now
        self._fetching = self._tasks.start(self._refresh(), f"jwks {self._shown_url}")

    async def _refresh(self) -> None:
        try:
            fresh = published_keys(await self._fetch(), self._algorithm)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.failing = True
            reason = str(error) if type(error) is ValueError else described(error)  # the first are our own words
            log_event(log, "jwks_failed", url=self._shown_url, known=len(self._keys), reason=reason)
        else:
            self._take(fresh)
        finally:
            self._fetching = None

    def _take(self, fresh: tuple[VerifyKey, ...]) -> None:
        gone = {key.fingerprint for key in self._keys} - {key.fingerprint for key in fresh}
        self._keys = fresh
        self._loaded_at = self._clock.monotonic()
        self.failing = False
        if gone:
            self._withdrawn()

    async def _fetch(self) -> bytes:
        # A session of its own: once in ten minutes a kept connection is of no use, and nothing is left to close.
        # A redirect could lead from the configured host to another, so none is followed.
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(self._url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
        ):
            if response.status != 200:
                raise ValueError(f"the answer has status {response.status}")
            document = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                document += chunk
                if len(document) > DOCUMENT_BYTES:
                    raise ValueError(f"the answer is longer than {DOCUMENT_BYTES} bytes")
            return bytes(document)
