"""What can go wrong, as two tables: problems answer one request or action, disconnects end a connection."""

from collections.abc import Sequence
from typing import NamedTuple

STATUS_OF = {
    "invalid_body": 400,
    "upgrade_required": 426,
    "unauthorized": 401,
    "not_authenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "id_conflict": 409,
    "too_large": 413,
    "invalid": 422,
    "unknown_action": 422,
    "subscription_limit": 422,
    "rate_limited": 429,
    "unavailable": 503,
    "internal": 500,
}
"""Every problem code with its HTTP status."""

TITLE_OF = {
    "invalid_body": "The body can't be read",
    "upgrade_required": "Another protocol is needed",
    "unauthorized": "Who are you?",
    "not_authenticated": "Authenticate first",
    "forbidden": "Not allowed",
    "not_found": "Not found",
    "method_not_allowed": "Not with this method",
    "id_conflict": "This id was used for another notification",
    "too_large": "Too large",
    "invalid": "Invalid",
    "unknown_action": "Unknown action",
    "subscription_limit": "Too many subscriptions",
    "rate_limited": "Too many requests",
    "unavailable": "Not available now",
    "internal": "The hub failed",
}


class FieldError(NamedTuple):
    """One wrong field: where it is (``notification.type``) and what to do about it."""

    path: str
    message: str


ERRORS = 100
"""How many wrong fields one problem names."""


class Problem(Exception):
    """A refused request or action; the caller's connection goes on.

    ``code`` is a key of ``STATUS_OF``, ``message`` is for people, ``errors`` name the wrong fields and
    ``retry_after`` (seconds) says when trying again makes sense.
    """

    def __init__(
        self, code: str, message: str, errors: Sequence[FieldError] = (), retry_after: float | None = None
    ) -> None:
        if code not in STATUS_OF:  # plugins make these too
            raise ValueError(f"{code!r} is no code of a problem; there are {', '.join(STATUS_OF)}")
        if not isinstance(message, str) or not isinstance(retry_after, int | float | None):
            raise TypeError("a problem's message is a text, and retry_after a number of seconds")
        if not message.isascii():
            message = message.encode(errors="replace").decode()  # half a surrogate pair can't be sent
        super().__init__(message)
        self.code = code
        self.message = message
        self.errors = tuple(errors[:ERRORS])
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return STATUS_OF[self.code]


def invalid(errors: Sequence[FieldError]) -> Problem:
    """A problem that names wrong fields, with the first of them in its message."""
    first = errors[0]
    where = f"{first.path}: " if first.path else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid", f"{where}{first.message}{more}", errors)


class Disconnect(NamedTuple):
    """Why the hub ends a connection: a WebSocket close code, a word, and whether coming back makes sense."""

    code: int
    reason: str
    reconnect: bool


SHUTDOWN = Disconnect(4000, "shutdown", True)
EXPIRED = Disconnect(4001, "expired", True)
NO_PONG = Disconnect(4009, "no_pong", True)
TOO_MANY = Disconnect(4029, "too_many", True)
BAD_TOKEN = Disconnect(4500, "bad_token", False)
AUTH_TIMEOUT = Disconnect(4501, "auth_timeout", False)
REVOKED = Disconnect(4507, "revoked", False)
DISCONNECTS = (SHUTDOWN, EXPIRED, NO_PONG, TOO_MANY, BAD_TOKEN, AUTH_TIMEOUT, REVOKED)
