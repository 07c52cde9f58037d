"""Signatures as Standard Webhooks has them (https://www.standardwebhooks.com), which receivers have libraries for."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 24
"""The shortest secret, as bytes."""


def secret_bytes(text: str) -> bytes:
    """The bytes of a secret ``whsec_BASE64``; ``ValueError`` says what is wrong, and nothing of the secret."""
    if not text.startswith(PREFIX):
        raise ValueError(f"a secret is {PREFIX} and base64, such as: echo {PREFIX}$(openssl rand -base64 32)")
    try:
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):  # the latter for what isn't ASCII
        raise ValueError(f"what follows {PREFIX} is no base64") from None
    if len(found) < SECRET_BYTES:
        raise ValueError(f"a secret is at least {SECRET_BYTES} bytes, and this one has {len(found)}")
    return found


def signature(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The signature of one call, ``v1,BASE64``; ``timestamp`` is Unix seconds."""
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def signed_headers(secrets: Iterable[bytes], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one call, signed with each of the secrets."""
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, id, timestamp, body) for secret in secrets),
    }
