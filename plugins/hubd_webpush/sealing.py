"""Encrypting (RFC 8291) and signing (RFC 8292), by pywebpush and its VAPID library. Imported when the hub starts."""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from py_vapid import Vapid02
from pywebpush import WebPusher


def encrypt(subscription: Mapping[str, Any], data: bytes) -> bytes:
    """The body of a push for this subscription alone, in one record of aes128gcm (RFC 8188)."""
    body: bytes = WebPusher(dict(subscription)).encode(data)["body"]
    return body


def sign(private: EllipticCurvePrivateKey, origin: str, until: int, subject: str) -> str:
    """The Authorization header for a push service's origin, good until then (Unix seconds)."""
    # A fresh dict each time: the library puts what it is given into what it signs.
    header: str = Vapid02(private).sign({"aud": origin, "exp": until, "sub": subject})["Authorization"]
    return header
