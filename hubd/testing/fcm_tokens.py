"""Google's token endpoint for the stand-in of FCM: a service account, and access tokens for its assertions.

By RFC 7523: an assertion is a JWT that the account's key has signed.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hubd.clock import Clock

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = frozenset(
    f"https://www.googleapis.com/auth/{name}" for name in ("firebase.messaging", "firebase", "cloud-platform")
)
"""With any of these a token is good for sending."""
GOOGLE = "https://oauth2.googleapis.com/token"
"""For whom google-auth's assertions are, whatever the account's file says."""
LONGEST_S = 3600
SKEW_S = 300
TOKENS = 1000
"""So many tokens are remembered, the youngest."""


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class TokenRefused(Exception):
    """The endpoint gives none: ``error`` and ``description`` as RFC 6749 section 5.2 has them."""

    def __init__(self, description: str, error: str = "invalid_grant") -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class FcmTokens:
    """One service account and its access tokens. ``clock`` is that of the tokens' end, ``wall`` that of assertions."""

    def __init__(self, project: str, clock: Clock, wall: Clock) -> None:
        self.email = f"hubd@{project}.iam.gserviceaccount.com"
        self.key_id = "0123456789abcdef"
        self.good_for_s = float(LONGEST_S)
        self.given = 0
        """How many tokens were given so far."""
        self._project = project
        self._clock = clock
        self._wall = wall
        self._ends: dict[str, float] = {}

    def account(self, token_url: str) -> dict[str, str]:
        """What stands in the account's file."""
        pem = _key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return {
            "type": "service_account",
            "project_id": self._project,
            "private_key_id": self.key_id,
            "private_key": pem,
            "client_email": self.email,
            "client_id": "100000000000000000000",
            "token_uri": token_url,
        }

    def exchange(self, form: Mapping[str, Any], token_url: str) -> dict[str, Any]:
        """A token for an assertion; ``TokenRefused`` when it is none that this account has signed just now."""
        if form.get("grant_type") != GRANT:
            raise TokenRefused("Invalid grant_type", "unsupported_grant_type")
        assertion = form.get("assertion")
        if not isinstance(assertion, str):
            raise TokenRefused("Missing assertion", "invalid_request")
        self._check(assertion, token_url)
        return {"access_token": self.give(), "expires_in": int(self.good_for_s), "token_type": "Bearer"}

    def give(self) -> str:
        """A token, just like that."""
        self.given += 1
        token = f"ya29.stand-in-{self.given}"
        self._ends[token] = self._clock.monotonic() + self.good_for_s
        if len(self._ends) > TOKENS:
            del self._ends[next(iter(self._ends))]
        return token

    def _check(self, assertion: str, token_url: str) -> None:
        try:
            if jwt.get_unverified_header(assertion).get("kid") != self.key_id:
                raise TokenRefused("Invalid key id")
            claims = jwt.decode(
                assertion,
                _key().public_key(),
                algorithms=["RS256"],
                audience=[token_url, GOOGLE],
                issuer=self.email,
                options={"require": ["iss", "aud", "scope", "iat", "exp"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"Invalid JWT: {type(error).__name__}") from None
        scope = claims["scope"]
        if not isinstance(scope, str) or not SCOPES & set(scope.split(" ")):
            raise TokenRefused("Empty or missing scope not allowed.", "invalid_scope")
        issued, ends, now = claims["iat"], claims["exp"], self._wall.now()
        if type(issued) is not int or type(ends) is not int or not issued < ends <= issued + LONGEST_S:
            raise TokenRefused("Invalid JWT: Token must be a short-lived token (60 minutes)")
        if not issued - SKEW_S <= now <= ends + SKEW_S:
            raise TokenRefused("Invalid JWT: check your iat and exp values")

    def is_good(self, authorization: str) -> bool:
        """Whether a header ``Authorization`` has a token that is good now."""
        kind, _, given = authorization.partition(" ")
        return kind.lower() == "bearer" and self._clock.monotonic() < self._ends.get(given, 0.0)

    def revoke(self) -> None:
        """No token that was given so far is good any more."""
        self._ends.clear()
