"""Encrypting (RFC 8291) and signing (RFC 8292), by pywebpush and its VAPID library. Imported when the hub starts."""

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from py_vapid import Vapid02
from pywebpush import WebPusher


class _Sealer(WebPusher):
    """Only what encrypts: pywebpush's own would copy and decode the subscription, and make a session, for each push."""

    def __init__(self, receiver_key: bytes, auth_key: bytes) -> None:
        self.receiver_key = receiver_key
        self.auth_key = auth_key


def encrypt(receiver_key: bytes, auth_key: bytes, data: bytes) -> bytes:
    """The body of a push for one browser alone, in one record of aes128gcm (RFC 8188): 103 bytes more than ``data``.

    ``receiver_key`` is the ``p256dh`` of its subscription, ``auth_key`` the ``auth``.
    """
    body: bytes = _Sealer(receiver_key, auth_key).encode(data)["body"]
    return body


def sign(private: EllipticCurvePrivateKey, origin: str, until: int, subject: str) -> str:
    """The Authorization header for a push service's origin, good until then (Unix seconds)."""
    # The options have checked the subject; the library's own check takes no contact address with a path.
    vapid = Vapid02(private, conf={"no-strict": True})
    # A fresh dict each time: the library puts what it is given into what it signs.
    header: str = vapid.sign({"aud": origin, "exp": until, "sub": subject})["Authorization"]
    return header
