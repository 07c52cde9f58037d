"""base64url as it comes from outside: read only where it is written in the one way that it should be."""

import base64


def decoded(text: str) -> bytes:
    """The bytes of a text without padding (RFC 4648 section 5); empty when it is anything else."""
    if not text.isascii():
        return b""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
    # It passes over what is no base64url: then it would be written otherwise.
    return data if base64.urlsafe_b64encode(data).decode().rstrip("=") == text else b""
