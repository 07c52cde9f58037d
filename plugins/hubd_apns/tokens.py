"""The tokens by which APNs knows who sends: JWTs by ES256, seldom made anew."""

import base64
import json
from typing import TYPE_CHECKING

from hubd.plugin import Clock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ISSUED_EVERY_S = 1800
"""Tokens are issued on the hour and on the half hour."""
AT_LEAST_S = 1200.0
"""Apple takes no more than one new token in 20 minutes."""


class ProviderTokens:
    """The one source of tokens for a key, whatever connections, environments and apps it serves.

    A token says that it was issued on the full or half hour before, and signing is deterministic where the library
    can (RFC 6979): a hub that is restarted, and a second hub, have the same token and not a new one.
    """

    def __init__(self, key: "EllipticCurvePrivateKey", key_id: str, team_id: str, clock: Clock) -> None:
        self._key = key
        self._key_id = key_id
        self._team_id = team_id
        self._clock = clock
        self._header = ""
        self._issued_at = 0
        self._signed_at = self._signed_monotonic = float("-inf")
        self.signed = 0
        """How many were made."""

    def get_header(self) -> str:
        """The header ``authorization``, good for the next ten minutes at least."""
        now = self._clock.now()
        issued_at = int(now - now % ISSUED_EVERY_S)
        if not self._header or (issued_at != self._issued_at and self._may_sign()):
            self._sign(issued_at)
        return self._header

    def refresh(self, refused: str) -> bool:
        """APNs says that this one has expired: whether there is another to try."""
        if refused != self._header:
            return True
        if not self._may_sign():
            return False
        self._sign(int(self._clock.now()))
        return True

    def _may_sign(self) -> bool:
        # Either clock alone may stand still or jump: a machine sleeps, or its time is put right.
        passed = self._clock.now() - self._signed_at, self._clock.monotonic() - self._signed_monotonic
        return max(passed) >= AT_LEAST_S

    def _sign(self, issued_at: int) -> None:
        self._header = f"bearer {_signed(self._key, self._key_id, self._team_id, issued_at)}"
        self._issued_at = issued_at
        self._signed_at, self._signed_monotonic = self._clock.now(), self._clock.monotonic()
        self.signed += 1


def _signed(key: "EllipticCurvePrivateKey", key_id: str, team_id: str, issued_at: int) -> str:
    """A JWT (RFC 7519) signed by ES256 (RFC 7518, 3.4)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    head, claims = {"alg": "ES256", "kid": key_id}, {"iss": team_id, "iat": issued_at}
    signed = b".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    try:
        der = key.sign(signed, ECDSA(SHA256(), deterministic_signing=True))
    except UnsupportedAlgorithm:
        der = key.sign(signed, ECDSA(SHA256()))
    r, s = decode_dss_signature(der)
    return b".".join((signed, _encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big")))).decode()


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
