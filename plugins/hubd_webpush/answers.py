"""What a push service's answer means for a push: each status, each fault on the way (RFC 8030 sections 5 and 8)."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from hubd.plugin import Outcome, PushResult

TAKEN = (200, 201, 202, 204)
GONE = (404, 410)
TOO_LARGE = 413
TOO_MANY = (406, 429)
"""What services answer that want fewer pushes; Edge's says 406."""
LATER = (401, 403, 408)
"""Our signature or our clock may be wrong, and be mended while the notification's time isn't over."""
OTHER_KEY = (400, 401, 403)
"""What services answer when a push is signed with another key than the browser subscribed with, among other things."""
PAUSES = (502, 503, 504)
LONGEST_S = 86_400.0
"""No service is left alone for longer, whatever it asks for."""
NOT_ABOUT_THE_SERVICE = ("bad answer", "answer too large", "busy", "closed")
_STATUSES = frozenset(int(status) for status in HTTPStatus)


def result_of(status: int, headers: Mapping[str, str], now: float, *, is_shared: bool = False) -> PushResult:
    """What a status means; ``now`` is Unix seconds, for a Retry-After that is a date.

    Where many hosts share a name (``is_shared``), this one may be made up by whoever registered it: what it asks for
    counts for this push alone.
    """
    # Few different words, whatever a server makes up.
    reason = str(status) if status in _STATUSES else f"{status // 100}xx"
    if status in TAKEN:
        return PushResult(Outcome.ACCEPTED, reason)
    if status in GONE:
        return PushResult(Outcome.GONE, reason)
    pause_s = retry_after_s(headers.get("Retry-After", ""), now)
    if status in TOO_MANY:
        return PushResult(Outcome.LATER, reason, pause_s, for_all=not is_shared)
    if 500 <= status <= 599:
        for_all = not is_shared and (status in PAUSES or pause_s is not None)
        return PushResult(Outcome.LATER, reason, pause_s, for_all=for_all)
    if status in LATER:
        return PushResult(Outcome.LATER, reason)
    return PushResult(Outcome.REFUSED, reason)


def failed(reason: str, *, is_shared: bool) -> PushResult:
    """The call failed on its way; ``reason`` is one of the few words of ``EgressFailed``.

    It makes everybody wait, unless it says nothing about the service, or the host shares its name (``is_shared``).
    """
    return PushResult(Outcome.LATER, reason, for_all=not is_shared and reason not in NOT_ABOUT_THE_SERVICE)


def retry_after_s(text: str, now: float) -> float | None:
    """The seconds of a Retry-After (RFC 9110 section 10.2.3), a number or a date; None: there is no good one."""
    text = text.strip()
    if not text or len(text) > 100:
        return None
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_S)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), LONGEST_S)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
