"""What a strict push service and a browser look at in a push: its signature (RFC 8292), and whether it can be read
(RFC 8188, RFC 8291)."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import http_ece
import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey

LONGEST_EXP_S = 24 * 3600
"""RFC 8292 section 2."""
RECORD_BYTES = 4096
_URGENCIES = ("very-low", "low", "normal", "high")
_TOPIC = re.compile("[A-Za-z0-9_-]{1,32}")
_VAPID = re.compile(r"vapid +(?:t=([^, ]+), *k=([^, ]+)|k=([^, ]+), *t=([^, ]+))", re.IGNORECASE)
_SUBJECTS = ("mailto:", "https:")
_POINT_BYTES = 65
_HEAD_BYTES = 16 + 4 + 1
_TAG_BYTES = 16


class Refused(Exception):
    """Why the service doesn't take a push, and with which status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def checked_headers(headers: Mapping[str, str]) -> tuple[int, str, str | None]:
    """TTL, Urgency and Topic (RFC 8030 sections 5.2 to 5.4)."""
    ttl = headers.get("TTL", "")
    if not (ttl.isascii() and ttl.isdecimal()):
        raise Refused(400, "TTL is missing or no number")
    urgency = headers.get("Urgency", "normal")
    if urgency not in _URGENCIES:
        raise Refused(400, "there is no such Urgency")
    topic = headers.get("Topic")
    if topic is not None and _TOPIC.fullmatch(topic) is None:
        raise Refused(400, "Topic has up to 32 characters of base64url")
    return int(ttl), urgency, topic


def checked_claims(header: str | None, audience: str, now: float, key: str | None) -> dict[str, Any]:
    """What the signature in an Authorization header says (RFC 8292 sections 2, 3 and 4.2).

    ``audience`` is the service's origin, ``now`` Unix seconds, ``key`` the public key that the subscription is
    restricted to; without one a push may come without a signature.
    """
    if header is None:
        if key is None:
            return {}
        raise Refused(401, "this subscription asks for a signature")
    match = _VAPID.fullmatch(header)
    if match is None:
        raise Refused(401, "the Authorization header is no vapid one")
    token, signer = (match[1], match[2]) if match[1] else (match[4], match[3])
    if key is not None and signer.rstrip("=") != key.rstrip("="):
        raise Refused(403, "it is signed with another key than this subscription was made with")
    try:
        point = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), from_base64url(signer))
        options: Any = {"verify_exp": False, "verify_aud": False, "require": ["aud", "exp"]}
        claims: dict[str, Any] = jwt.decode(token, point, algorithms=["ES256"], options=options)
    except (ValueError, jwt.InvalidTokenError) as error:
        raise Refused(403, f"the signature is no good: {type(error).__name__}") from None
    if claims["aud"] != audience:
        raise Refused(403, "it is signed for another service")
    if not isinstance(claims["exp"], int) or not now < claims["exp"] <= now + LONGEST_EXP_S:
        raise Refused(403, "its time is over, or more than 24 hours")
    if not str(claims.get("sub", "")).startswith(_SUBJECTS):  # not required by the RFC, but by Apple
        raise Refused(403, "there is nobody to write to")
    return claims


def decrypted(body: bytes, private: EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """What a browser reads of a body. A real service couldn't look; the browser would drop it without a word."""
    record_bytes, key_bytes = int.from_bytes(body[16:20], "big"), body[20:21]
    sealed = len(body) - _HEAD_BYTES - _POINT_BYTES
    # RFC 8291 section 4: one record, and the sender's key as its id.
    if key_bytes != bytes([_POINT_BYTES]) or not _TAG_BYTES < sealed <= record_bytes:
        raise Refused(400, "the body is not one record with a key before it")
    try:
        data: bytes = http_ece.decrypt(body, private_key=private, auth_secret=auth, version="aes128gcm")
    except (http_ece.ECEException, InvalidTag, ValueError, IndexError):
        raise Refused(400, "the browser can't decrypt it") from None
    return data


def base64url(data: bytes) -> str:
    """Without padding (RFC 4648 section 5)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """With padding or without."""
    bare = text.rstrip("=")
    return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
