"""When a call has failed: whether it makes sense to try again, and when. No I/O in here."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from random import Random

FIRST_S = 1.0
MOST_S = 60.0
"""The bounds of the back-off: what the first delay is drawn below, and what no delay is drawn above."""
RETRY_AFTER_S = 300.0
"""An endpoint that asks for more time than that is called again nevertheless."""

_TRY_AGAIN = frozenset({408, 425, 429})


class Result(Enum):
    """What becomes of a call."""

    DONE = "done"
    AGAIN = "again"
    """It failed, and may succeed later."""
    FAILED = "failed"
    """It failed, and would fail again."""
    OFF = "off"
    """The endpoint wants no more calls, ever."""


def judge(status: int) -> tuple[Result, str]:
    """What an answer means, by its status alone, and in one word why it isn't good."""
    if 200 <= status < 300:
        return Result.DONE, ""
    if 300 <= status < 400:
        return Result.FAILED, "redirect"
    if status == 410:
        return Result.OFF, "status_410"
    if status in _TRY_AGAIN or status >= 500:
        return Result.AGAIN, f"status_{status}" if status in _TRY_AGAIN else "status_5xx"
    return Result.FAILED, "status_4xx"


def backoff_s(failures: int, random: Random) -> float:
    """How long to wait after so many failures of a call: anything below a bound that doubles (full jitter)."""
    bound = min(MOST_S, FIRST_S * 2.0 ** min(failures - 1, 30))
    return random.uniform(0.0, bound)


def retry_after_s(headers: Mapping[str, str], now: float) -> float:
    """How long the endpoint asks to be left alone, by ``Retry-After`` in seconds or as a date; 0 if it doesn't.

    ``now`` is Unix seconds. It is never more than `RETRY_AFTER_S`.
    """
    text = headers.get("Retry-After", "").strip()
    if not text or len(text) > 100:
        return 0.0
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(text)
        at = date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(0.0, at - now), RETRY_AFTER_S)
