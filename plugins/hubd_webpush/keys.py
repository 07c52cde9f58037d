"""The keys by which push services know an application (VAPID, RFC 8292), and what is signed with them."""

import base64
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

POINT_BYTES = 65
_UNCOMPRESSED = 4


class VapidKey:
    """A private key on P-256. ``public`` is the other half as browsers take it, ``id`` a short name for the pair."""

    def __init__(self, private: EllipticCurvePrivateKey) -> None:
        self.private = private
        point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public = base64url(point)
        self.id = key_id(point)

    def __repr__(self) -> str:
        return f"VapidKey({self.id})"


def key_id(point: bytes) -> str:
    """A short name for a public key."""
    return sha256(point).hexdigest()[:16]


def read_key(text: bytes) -> VapidKey:
    """A key in PEM form; ``ValueError`` says what is wrong, and shows nothing of it."""
    try:
        private = load_pem_private_key(text, None)
    except (ValueError, TypeError):
        raise ValueError("is no private key in PEM form: `hubd gen-key vapid` makes one") from None
    if not isinstance(private, EllipticCurvePrivateKey) or not isinstance(private.curve, SECP256R1):
        raise ValueError("is a private key of another kind than VAPID needs, which is P-256")
    return VapidKey(private)


def read_key_file(folder: str, path: str) -> VapidKey:
    """The key in a file; a relative path starts in the folder."""
    try:
        return read_key((Path(folder) / path).read_bytes())
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None


def base64url(data: bytes) -> str:
    """Without padding, as in a URL (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """The bytes, whether there is padding or not; ``ValueError`` when the text is anything else."""
    bare = text.rstrip("=")
    if len(text) - len(bare) > 2 or not text.isascii():
        raise ValueError
    data = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    if base64url(data) != bare:
        raise ValueError
    return data


def is_point(data: bytes) -> bool:
    """Whether these bytes are a point of P-256, written in full (SEC 1 section 2.3.3)."""
    if len(data) != POINT_BYTES or data[0] != _UNCOMPRESSED:
        return False
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), data)
    except ValueError:
        return False
    return True
