"""Capabilities: what a push carries so that the device it reaches may read and ack that one notification."""

import base64
import hmac
import struct
from collections.abc import Callable, Mapping

from hubd.clock import Clock
from hubd.core.channel import is_user_id
from hubd.core.notification import is_notification_id
from hubd.push.base64url import decoded

PREFIX = "cap_"
SECRET_BYTES = 32
LATE_S = 86_400.0
"""How long after its notification's end one is still good: an ack may come late."""
_VERSION = 1
_TIMES = struct.Struct(">BQQ")
"""Version, when it was issued (Unix ms), until when it is good (Unix s)."""
_MAC_BYTES = 16
"""Of the 32; RFC 2104 section 5 wants half of them or more."""
_MOST_CHARS = 140
_ENDS_BEFORE = 1 << 40


class Capabilities:
    """Signs and reads capabilities. Each is good for one user, one notification's id and a time.

    ``secret`` gives what to sign with; it is asked for when it is needed first.

    ``revoked``: since when (Unix seconds) each user's older proofs don't count any more; that holds for these, too.
    """

    def __init__(self, secret: Callable[[], bytes], clock: Clock, revoked: Mapping[str, float]) -> None:
        self._make_secret = secret
        self._made = b""
        self._clock = clock
        self._revoked = revoked

    @property
    def _secret(self) -> bytes:
        if not self._made:
            self._made = self._make_secret()
            if len(self._made) < SECRET_BYTES:
                raise ValueError(f"a secret has {SECRET_BYTES} bytes or more")
        return self._made

    def sign(self, id: str, user: str, until: float) -> str:
        """A capability for the notification with this id, in this user's name, until then (Unix seconds)."""
        issued_ms = max(0, int(self._clock.now() * 1000))
        said = _TIMES.pack(_VERSION, issued_ms, min(max(0, int(until)), _ENDS_BEFORE)) + user.encode()
        return PREFIX + base64.urlsafe_b64encode(self._mac(said, id) + said).rstrip(b"=").decode()

    def user_of(self, text: str, id: str) -> str | None:
        """In whose name it may be read and acked; None: this is no capability for this id, or not any more."""
        data = _decoded(text)
        if len(data) <= _MAC_BYTES + _TIMES.size or not is_notification_id(id):
            return None
        said = data[_MAC_BYTES:]
        if not hmac.compare_digest(data[:_MAC_BYTES], self._mac(said, id)):
            return None
        version, issued_ms, until = _TIMES.unpack_from(said)
        user = said[_TIMES.size :].decode("ascii", "replace")
        if version != _VERSION or not is_user_id(user) or self._clock.now() > until:
            return None
        not_before = self._revoked.get(user)
        return user if not_before is None or issued_ms / 1000 > not_before else None

    def _mac(self, said: bytes, id: str) -> bytes:
        # No id has a NUL, and the user is what remains behind parts of known length: so no two look the same.
        return hmac.digest(self._secret, b"hubd capability\0" + id.encode() + b"\0" + said, "sha256")[:_MAC_BYTES]


def _decoded(text: str) -> bytes:
    """What stands in it, mac first; empty when it isn't written as ``sign`` writes it."""
    if not text.startswith(PREFIX) or len(text) > _MOST_CHARS:
        return b""
    return decoded(text[len(PREFIX) :])
