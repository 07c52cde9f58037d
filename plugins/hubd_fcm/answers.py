"""What FCM answers, and what follows from it.

The codes are those of the HTTP v1 API (google.firebase.fcm.v1.ErrorCode), which come as a detail of the error. A device
is gone on UNREGISTERED alone, or when the service says that what isn't valid is the token: a 404 or 400 for another
reason may be our own mistake, and would be one for every device.
"""

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from hubd.plugin import Outcome, PushResult

CODES = (
    "UNREGISTERED",
    "INVALID_ARGUMENT",
    "SENDER_ID_MISMATCH",
    "QUOTA_EXCEEDED",
    "UNAVAILABLE",
    "INTERNAL",
    "THIRD_PARTY_AUTH_ERROR",
    "UNSPECIFIED_ERROR",
)
"""The service's own codes."""
STATUSES = (
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "RESOURCE_EXHAUSTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
)
"""Those that any Google API may answer (google.rpc.Code), where there is none of FCM's."""
OF_THE_ACCOUNT = frozenset({"401 UNAUTHENTICATED", "403 PERMISSION_DENIED"})
"""Reasons for which nothing is taken from this account until somebody mends it."""
QUOTA_S = 60.0
"""How long to wait when a quota is spent and the service doesn't say: its quotas are for a minute."""
LONGEST_S = 86_400.0
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
_BAD_TOKEN = re.compile("not a valid FCM registration token", re.IGNORECASE)
_TOKEN_FIELDS = ("message.token", "message.fid")
_DEVICE = re.compile(r"\bdevice\b", re.IGNORECASE)


def judge(status: int, headers: Mapping[str, str], body: bytes, now: float) -> PushResult:
    """What an answer means; ``now``: Unix seconds, for a ``Retry-After`` that is a date."""
    error = _Error(body)
    if status == 200:
        if error.is_object:
            return PushResult(Outcome.ACCEPTED, "200")
        return PushResult(Outcome.LATER, "200 unreadable", for_all=True)
    reason = f"{status} {error.code}" if error.code else str(status)
    retry_after_s = _retry_after_s(headers.get("Retry-After", ""), now)
    match error.code:
        case "UNREGISTERED":
            return PushResult(Outcome.GONE, reason)
        case "INVALID_ARGUMENT":
            return PushResult(Outcome.GONE, f"{reason} token") if error.is_about_token else _refused(reason)
        case "SENDER_ID_MISMATCH" | "THIRD_PARTY_AUTH_ERROR":
            return _refused(reason)
        case "QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED":
            return _too_many(reason, retry_after_s, for_all=not error.is_about_device)
        case "INTERNAL" | "UNSPECIFIED_ERROR":
            return PushResult(Outcome.LATER, reason, retry_after_s)
        case "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "NOT_FOUND" | "UNAUTHENTICATED" | "PERMISSION_DENIED":
            # The last two are about the account: what is pushed waits until somebody has mended that.
            return PushResult(Outcome.LATER, reason, retry_after_s, for_all=True)
    # Something else than FCM answers, such as a proxy. That is about everybody, but for a 500.
    if status == 413:
        return _refused(reason)
    if status == 429:
        return _too_many(reason, retry_after_s, for_all=True)
    return PushResult(Outcome.LATER, reason, retry_after_s, for_all=status != 500)


def _too_many(reason: str, retry_after_s: float | None, *, for_all: bool) -> PushResult:
    return PushResult(Outcome.LATER, reason, QUOTA_S if retry_after_s is None else retry_after_s, for_all)


def _refused(reason: str) -> PushResult:
    return PushResult(Outcome.REFUSED, reason)


class _Error:
    """The error in an answer's body, as far as it can be read."""

    def __init__(self, body: bytes) -> None:
        try:
            found = orjson.loads(body)
        except ValueError:
            found = None
        self.is_object = isinstance(found, dict)
        error = found.get("error") if isinstance(found, dict) else None
        self._error: dict[str, Any] = error if isinstance(error, dict) else {}

    def _details(self, kind: str) -> Iterator[dict[str, Any]]:
        details = self._error.get("details")
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict) and detail.get("@type") == kind:
                yield detail

    @property
    def code(self) -> str:
        """FCM's code, or else the status word; empty: neither is one that is known."""
        for detail in self._details(_FCM_ERROR):
            code = detail.get("errorCode")
            if code == "APNS_AUTH_ERROR":  # what it was called before
                return "THIRD_PARTY_AUTH_ERROR"
            if isinstance(code, str) and code in CODES:
                return code
        status = self._error.get("status")
        return status if isinstance(status, str) and status in STATUSES else ""

    @property
    def is_about_token(self) -> bool:
        """Whether what isn't valid is the token, and not the message, by what the service says."""
        violations = [one for detail in self._details(_BAD_REQUEST) for one in _dicts(detail.get("fieldViolations"))]
        if violations:
            return all(one.get("field") in _TOKEN_FIELDS for one in violations)
        return _BAD_TOKEN.search(self._message) is not None

    @property
    def is_about_device(self) -> bool:
        """Whether the quota that is spent is a device's, and not the project's."""
        violations = [one for detail in self._details(_QUOTA_FAILURE) for one in _dicts(detail.get("violations"))]
        texts = [self._message, *(str(one.get(name, "")) for one in violations for name in ("subject", "description"))]
        return any(_DEVICE.search(text) for text in texts)

    @property
    def _message(self) -> str:
        message = self._error.get("message")
        return message if isinstance(message, str) else ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _retry_after_s(text: str, now: float) -> float | None:
    """The seconds that a ``Retry-After`` asks for (RFC 9110 section 10.2.3), at most a day; None: it can't be read."""
    text = text.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return min(float(text), LONGEST_S)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), LONGEST_S)
    except (ValueError, OverflowError):
        return None
