"""Encrypting (RFC 8291) and signing (RFC 8292). Imported when the hub starts.

Signing is by pywebpush. Encrypting is by the primitives that its own way of it (``WebPusher.encode``) comes down to,
and gives the same bytes for two thirds of the time, which decides whether a push costs clearly less than with pywebpush
alone (``python -m bench.webpush``). The tests hold one against the other.
"""

import hmac
import os

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pywebpush import Vapid

SALT_BYTES = 16
ADDED_BYTES = 103
"""By how much the body is longer than what is in it."""
_CURVE, _ECDH = SECP256R1(), ECDH()
_RECORD_BYTES = (4096).to_bytes(4, "big")
_SENDER_BYTES = b"\x41"  # how long the sender's key is, 65 bytes
_LAST_RECORD = b"\x02"
_HASH = "sha256"  # by its name: an object makes it three times slower
_KEY_BYTES, _NONCE_BYTES = 16, 12


def encrypt(
    receiver_key: bytes,
    auth_key: bytes,
    data: bytes,
    *,
    sender: EllipticCurvePrivateKey | None = None,
    salt: bytes = b"",
) -> bytes:
    """The body of a push for one browser alone: one record of aes128gcm (RFC 8188, RFC 8291 section 3).

    ``receiver_key`` is the ``p256dh`` of its subscription, ``auth_key`` the ``auth``; ``data`` has at most 3,993 bytes.
    ``sender`` and ``salt`` are new for each push, and given by tests alone.
    """
    sender = sender or generate_private_key(_CURVE)
    salt = salt or os.urandom(SALT_BYTES)
    sender_key = sender.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = sender.exchange(_ECDH, EllipticCurvePublicKey.from_encoded_point(_CURVE, receiver_key))
    secret = _derived(auth_key, shared, b"WebPush: info\0" + receiver_key + sender_key)
    key = _derived(salt, secret, b"Content-Encoding: aes128gcm\0")[:_KEY_BYTES]
    nonce = _derived(salt, secret, b"Content-Encoding: nonce\0")[:_NONCE_BYTES]
    sealed = AESGCM(key).encrypt(nonce, data + _LAST_RECORD, None)
    return salt + _RECORD_BYTES + _SENDER_BYTES + sender_key + sealed


def _derived(salt: bytes, secret: bytes, info: bytes) -> bytes:
    """HKDF with SHA-256 (RFC 5869), as far as its first 32 bytes go."""
    return hmac.digest(hmac.digest(salt, secret, _HASH), info + b"\x01", _HASH)


def sign(private: EllipticCurvePrivateKey, origin: str, until: int, subject: str) -> str:
    """The Authorization header for a push service's origin, good until then (Unix seconds)."""
    # The options have checked the subject; the library's own check takes no contact address with a path.
    vapid = Vapid(private, conf={"no-strict": True})
    # A fresh dict each time: the library puts what it is given into what it signs.
    header: str = vapid.sign({"aud": origin, "exp": until, "sub": subject})["Authorization"]
    return header
