"""The keys by which push services know an application (VAPID, RFC 8292), and what is signed with them."""

import base64
import stat
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

POINT_BYTES = 65
PRIVATE_BYTES = 32
FILE_BYTES = 16 * 1024
"""As much of a key's file as is read; real ones have 241 bytes."""
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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VapidKey) and self.public == other.public

    def __hash__(self) -> int:
        return hash(self.public)


def key_id(point: bytes) -> str:
    """A short name for a public key."""
    return sha256(point).hexdigest()[:16]


def read_key(text: bytes) -> VapidKey:
    """A key in PEM form, or as other tools print it: 32 bytes in base64url.

    ``ValueError`` says what is wrong, and shows nothing of it.
    """
    try:
        private = load_pem_private_key(text, None) if b"-----BEGIN" in text else _from_bare(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is no private key in PEM form: `hubd gen-key vapid --out vapid.pem` makes one") from None
    if not isinstance(private, EllipticCurvePrivateKey) or not isinstance(private.curve, SECP256R1):
        raise ValueError("is a private key of another kind than VAPID needs, which is P-256")
    return VapidKey(private)


def _from_bare(text: bytes) -> EllipticCurvePrivateKey:
    number = from_base64url(text.decode().strip())
    if len(number) != PRIVATE_BYTES:
        raise ValueError
    return derive_private_key(int.from_bytes(number, "big"), SECP256R1())


def read_key_file(path: Path) -> tuple[VapidKey, bool]:
    """The key in a file, and whether others than its owner and his group can read it."""
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise ValueError(f"{path} is no file")
            return read_key(file.read(FILE_BYTES)), bool(mode & stat.S_IROTH)
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


def checked_base64url(text: str) -> bytes:
    """The bytes of what was found to be base64url before, and is kept without padding."""
    return base64.urlsafe_b64decode(text + "==")


def is_point(data: bytes) -> bool:
    """Whether these bytes are a point of P-256, written in full (SEC 1 section 2.3.3)."""
    if len(data) != POINT_BYTES or data[0] != _UNCOMPRESSED:
        return False
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), data)
    except ValueError:
        return False
    return True
