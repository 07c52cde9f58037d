"""What a push service's answer means for a push: each status, each fault on the way (RFC 8030 sections 5 and 8)."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from hubd.plugin import Outcome, PushResult

TAKEN = (200, 201, 202, 204)
GONE = (404, 410)
TOO_LARGE = 413
TOO_MANY = 429
REFUSED = (400, 401, 403)
_PAUSES = (502, 503, 504)
_LONGEST_RETRY_S = 86_400.0


def result_of(status: int, headers: Mapping[str, str], now: float) -> PushResult:
    """What a status means; ``now`` is Unix seconds, for a Retry-After that is a date."""
    reason = str(status)
    retry_after_s = retry_after(headers.get("Retry-After", ""), now)
    if status in TAKEN:
        return PushResult(Outcome.ACCEPTED, reason)
    if status in GONE:
        return PushResult(Outcome.GONE, reason)
    if status == TOO_MANY:
        return PushResult(Outcome.LATER, reason, retry_after_s, for_all=True)
    if 500 <= status <= 599:
        for_all = status in _PAUSES or retry_after_s is not None
        return PushResult(Outcome.LATER, reason, retry_after_s, for_all=for_all)
    return PushResult(Outcome.REFUSED, reason)


def failed(reason: str) -> PushResult:
    """The call failed on its way; ``reason`` is one of the few words of ``EgressFailed``.

    Only what can't be the doing of the one device's address makes everybody wait.
    """
    return PushResult(Outcome.LATER, reason, for_all=reason not in ("bad answer", "answer too large", "busy", "closed"))


def retry_after(text: str, now: float) -> float | None:
    """A Retry-After in seconds (RFC 9110 section 10.2.3), written as a number or a date; None: there is no good one."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return min(float(text), _LONGEST_RETRY_S)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), _LONGEST_RETRY_S)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
