"""What APNs' answers mean for a push. No I/O in here."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import orjson

from hubd.plugin import Outcome, PushResult

RETRY_AFTER_S = 3600.0
"""Nobody is waited for longer than that."""
OTHER = "other"
EXPIRED = "403 ExpiredProviderToken"
TOO_LARGE = "413 PayloadTooLarge"
_ACCEPTED, _GONE, _REFUSED, _LATER = Outcome.ACCEPTED, Outcome.GONE, Outcome.REFUSED, Outcome.LATER

MEANING: Mapping[str, tuple[Outcome, bool]] = {
    "400 BadCollapseId": (_REFUSED, False),
    "400 BadDeviceToken": (_GONE, False),
    "400 BadExpirationDate": (_REFUSED, False),
    "400 BadMessageId": (_REFUSED, False),
    "400 BadPriority": (_REFUSED, False),
    "400 BadTopic": (_REFUSED, False),
    "400 DeviceTokenNotForTopic": (_REFUSED, False),
    "400 DuplicateHeaders": (_REFUSED, False),
    "400 IdleTimeout": (_LATER, False),
    "400 InvalidPushType": (_REFUSED, False),
    "400 MissingDeviceToken": (_REFUSED, False),
    "400 MissingTopic": (_REFUSED, False),
    "400 PayloadEmpty": (_REFUSED, False),
    "400 TopicDisallowed": (_REFUSED, False),
    "403 BadCertificate": (_LATER, True),
    "403 BadCertificateEnvironment": (_LATER, True),
    "403 BadEnvironmentKeyIdInToken": (_LATER, True),
    EXPIRED: (_LATER, True),
    "403 Forbidden": (_LATER, True),
    "403 InvalidProviderToken": (_LATER, True),
    "403 MissingProviderToken": (_LATER, True),
    "403 UnrelatedKeyIdInToken": (_LATER, True),
    "404 BadPath": (_REFUSED, False),
    "405 MethodNotAllowed": (_REFUSED, False),
    "410 ExpiredToken": (_GONE, False),
    "410 Unregistered": (_GONE, False),
    TOO_LARGE: (_REFUSED, False),
    "429 TooManyProviderTokenUpdates": (_LATER, True),
    "429 TooManyRequests": (_LATER, False),
    "500 InternalServerError": (_LATER, True),
    "503 ServiceUnavailable": (_LATER, True),
    "503 Shutdown": (_LATER, True),
}
"""Every reason that Apple documents: how it ends, and whether everybody has to wait."""

_KEY = "team_id, key_id and key_file, and whether the key is still there at Apple with APNs ticked"
_CLOCK = "this machine's clock: Apple takes a token for an hour, and one new token in 20 minutes"
_TOPIC = "topic: it has to be the app's bundle id, and the app one of this team's"
LOOK_AT: Mapping[str, str] = {
    **{reason: _KEY for reason in MEANING if reason.startswith("403 ")},
    EXPIRED: _CLOCK,
    "403 BadEnvironmentKeyIdInToken": "the key at Apple: it isn't for this environment (sandbox or production)",
    "429 TooManyProviderTokenUpdates": _CLOCK + "; and whether something else signs with this key",
    **dict.fromkeys(("400 BadTopic", "400 MissingTopic", "400 TopicDisallowed"), _TOPIC),
}
"""What isn't about one device but the app or its key, and what an operator is to look at then."""


def read(status: str, body: bytes, retry_after: str, now: float) -> PushResult:
    """What an answer means; ``retry_after`` is the header of that name, ``now`` Unix seconds.

    What Apple doesn't document counts by its status alone, and never takes a device away.
    """
    if status == "200":
        return PushResult(_ACCEPTED, "200")
    said = _object(body)
    reason = f"{status} {said.get('reason')}"
    later = retry_after_s(retry_after, now)
    meaning = MEANING.get(reason)
    if meaning is None:
        return _undocumented(status, later)
    outcome, for_all = meaning
    if outcome is _LATER:
        return PushResult(_LATER, reason, retry_after_s=later, for_all=for_all)
    return PushResult(outcome, reason, gone_since=_seconds(said.get("timestamp")) if outcome is _GONE else None)


def _undocumented(status: str, later: float | None) -> PushResult:
    known = len(status) == 3 and status.isascii() and status.isdecimal() and status[0] in "2345"
    reason = f"{status} {OTHER}" if known else OTHER
    if status == "429" or status == "408":
        return PushResult(_LATER, reason, retry_after_s=later)
    if not known or status[0] == "5":
        return PushResult(_LATER, reason, retry_after_s=later, for_all=True)
    return PushResult(_REFUSED, reason)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        said = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(timestamp: object) -> float | None:
    """Apple's milliseconds as Unix seconds."""
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float) or not 0 < timestamp < 1e14:
        return None
    return timestamp / 1000


def retry_after_s(text: str, now: float) -> float | None:
    """How long APNs asks to be left alone, by ``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3)."""
    text = text.strip()
    if not text or len(text) > 100:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(text)
        at = date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, at - now), RETRY_AFTER_S)
