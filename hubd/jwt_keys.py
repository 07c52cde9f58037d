"""Keys that tokens are signed and verified with: read, checked for strength, and ready for use."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_RSA_BITS = 2048


class JwtKeys(NamedTuple):
    """One key in the form that PyJWT takes; ``signing`` is None where only the public half is known."""

    verifying: Any
    signing: Any

    def __repr__(self) -> str:
        return f"JwtKeys(signing={self.signing is not None})"  # never the secret itself


def read_key_file(folder: str | os.PathLike[str], name: str) -> str:
    """The text of a key file, stripped; ``ValueError`` says why it can't be had."""
    try:
        return (Path(folder) / name).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"key_file {name!r} isn't text: give a PEM file, or a secret in letters") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise ValueError(f"key_file {name!r} can't be read: {reason}") from None


def others_can_read(folder: str | os.PathLike[str], name: str) -> bool:
    """Whether users of this machine who are neither owner nor in the group can read a file; not without a name."""
    if not name:
        return False
    with suppress(OSError, ValueError):
        return bool((Path(folder) / name).stat().st_mode & stat.S_IROTH)
    return False


def prepare_keys(algorithm: str, text: str) -> JwtKeys:
    """Make a secret (HS...) or a PEM key, private or public, ready for use.

    ``ValueError`` says what is wrong with it, and never contains it.
    """
    if algorithm in _HMAC_BYTES:
        return _shared_secret(algorithm, text.encode())
    return _key_pair(algorithm, text)


def _shared_secret(algorithm: str, secret: bytes) -> JwtKeys:
    from jwt import InvalidKeyError, get_algorithm_by_name  # late: loads the cryptography library

    need = _HMAC_BYTES[algorithm]
    if len(secret) < need:
        raise ValueError(
            f"the {algorithm} key has {len(secret)} bytes and needs at least {need}"
            " (RFC 7518, 3.2); `hubd gen-key jwt` makes one"
        )
    try:
        get_algorithm_by_name(algorithm).prepare_key(secret)
    except InvalidKeyError:
        raise ValueError(f"this is a PEM or SSH key; {algorithm} wants a shared secret") from None
    return JwtKeys(secret, secret)


def _key_pair(algorithm: str, text: str) -> JwtKeys:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt import InvalidKeyError, get_algorithm_by_name  # late: as above

    try:
        key: Any = get_algorithm_by_name(algorithm).prepare_key(text)
    except (InvalidKeyError, ValueError, TypeError):
        raise ValueError(
            f"this is no key for {algorithm}: give it in PEM form, without a password ({_how_to_make(algorithm)})"
        ) from None
    is_private = hasattr(key, "public_key")
    public = key.public_key() if is_private else key
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < _RSA_BITS:
        raise ValueError(f"the RSA key has {public.key_size} bits and needs at least {_RSA_BITS} (RFC 7518, 3.3)")
    return JwtKeys(public, key if is_private else None)


def _how_to_make(algorithm: str) -> str:
    kind = {
        "RS256": "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "ES256": "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "EdDSA": "-algorithm ED25519",
    }[algorithm]
    return f"openssl genpkey {kind} -out jwt.pem"
