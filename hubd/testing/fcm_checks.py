"""What Firebase Cloud Messaging finds wrong with a message of its HTTP v1 API, for the stand-in.

After the reference of ``projects.messages``: fields it doesn't know are refused, data are strings alone, some of their
keys are its own, a ttl is written as "3.5s", and keys and values have at most 4,096 bytes together.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

PAYLOAD_BYTES = 4096
LONGEST_TTL_S = 2_419_200.0
TARGETS = ("token", "fid", "topic", "condition")
_TTL = re.compile(r"([0-9]{1,10})(\.[0-9]{1,9})?s")
_COLOR = re.compile("#[0-9a-fA-F]{6}")
_RESERVED = ("from", "message_type", "collapse_key")
_RESERVED_BEGINNINGS = ("google", "gcm")
_APNS_ID_BYTES = 64


class Violation(NamedTuple):
    """A field that is wrong, and what about it."""

    field: str
    description: str


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else "must be a string"


def _boolean(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _count(value: Any) -> str:
    return "" if type(value) is int and value >= 0 else "must be a whole number"


def _texts(value: Any) -> str:
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return "" if is_list else "must be a list of strings"


def _strings(value: Any) -> str:
    is_map = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return "" if is_map else "must be a map of strings"


def _anything(value: Any) -> str:
    return "" if isinstance(value, dict) else "must be an object"


def _data(value: Any) -> str:
    if wrong := _strings(value):
        return wrong
    for key in value:
        if not key or key in _RESERVED or key.lower().startswith(_RESERVED_BEGINNINGS):
            return f"Invalid data payload key: {key}"
    return ""


def _android_priority(value: Any) -> str:
    return "" if value in ("HIGH", "NORMAL", "high", "normal") else "must be HIGH or NORMAL"


def _ttl(value: Any) -> str:
    return "" if ttl_s(value) is not None else "Illegal format; duration must end with 's'"


def _color(value: Any) -> str:
    return "" if isinstance(value, str) and _COLOR.fullmatch(value) else "must be written as #rrggbb"


def _one_of(*words: str) -> Callable[[Any], str]:
    return lambda value: "" if value in words else f"must be one of {', '.join(words)}"


def _link(value: Any) -> str:
    return "" if isinstance(value, str) and value.startswith("https://") else "must be an HTTPS URL"


def _apns_headers(value: Any) -> str:
    if wrong := _strings(value):
        return wrong
    named = {name.lower(): text for name, text in value.items()}
    if named.get("apns-priority", "10") not in ("1", "5", "10"):
        return "apns-priority must be 1, 5 or 10"
    if not named.get("apns-expiration", "0").isdecimal():
        return "apns-expiration must be Unix seconds"
    too_long = len(named.get("apns-collapse-id", "").encode()) > _APNS_ID_BYTES
    return f"apns-collapse-id has more than {_APNS_ID_BYTES} bytes" if too_long else ""


def _apns_payload(value: Any) -> str:
    aps = value.get("aps") if isinstance(value, dict) else None
    return "" if isinstance(aps, dict) else "must be an object with aps"


def _webpush_headers(value: Any) -> str:
    if wrong := _strings(value):
        return wrong
    named = {name.lower(): text for name, text in value.items()}
    if named.get("urgency", "normal") not in ("very-low", "low", "normal", "high"):
        return "Urgency must be very-low, low, normal or high"
    return "" if named.get("ttl", "0").isdecimal() else "TTL must be seconds"


# What each part of a message may have: a check, or a part again.
_OPTIONS = {"analytics_label": _text}
_MESSAGE: dict[str, Any] = {
    "name": _text,
    "token": _text,
    "fid": _text,
    "topic": _text,
    "condition": _text,
    "data": _data,
    "notification": {"title": _text, "body": _text, "image": _text},
    "fcm_options": _OPTIONS,
    "android": {
        "collapse_key": _text,
        "priority": _android_priority,
        "ttl": _ttl,
        "restricted_package_name": _text,
        "data": _data,
        "direct_boot_ok": _boolean,
        "bandwidth_constrained_ok": _boolean,
        "restricted_satellite_ok": _boolean,
        "fcm_options": _OPTIONS,
        "notification": {
            **dict.fromkeys(
                ("title", "body", "icon", "sound", "tag", "click_action", "body_loc_key", "title_loc_key",
                 "channel_id", "ticker", "event_time", "image"),
                _text,
            ),
            **dict.fromkeys(
                ("sticky", "local_only", "default_sound", "default_vibrate_timings", "default_light_settings"),
                _boolean,
            ),
            **dict.fromkeys(("body_loc_args", "title_loc_args", "vibrate_timings"), _texts),
            "color": _color,
            "notification_count": _count,
            "light_settings": _anything,
            "notification_priority": _one_of(
                "PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH",
                "PRIORITY_MAX",
            ),
            "visibility": _one_of("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
            "proxy": _one_of("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
        },
    },
    "webpush": {
        "headers": _webpush_headers,
        "data": _data,
        "notification": _anything,
        "fcm_options": {"link": _link, **_OPTIONS},
    },
    "apns": {
        "headers": _apns_headers,
        "payload": _apns_payload,
        "fcm_options": {"image": _text, **_OPTIONS},
        "live_activity_token": _text,
    },
}  # fmt: skip


def violations_of(body: Any) -> list[Violation]:
    """What is wrong with the body of a call, once it is parsed."""
    if not isinstance(body, dict) or not isinstance(body.get("message"), dict):
        return [Violation("message", "Message is required")]
    if unknown := [name for name in body if name not in ("message", "validate_only")]:
        return [Violation(name, f'Unknown name "{name}": Cannot find field.') for name in unknown]
    message = body["message"]
    found = list(_wrong_in(message, _MESSAGE, "message"))
    targets = [name for name in TARGETS if name in message]
    if len(targets) != 1:
        found.append(Violation("message", "Recipient of the message is not set, or is set more than once."))
    size = payload_bytes(message)
    if size > PAYLOAD_BYTES:
        found.append(Violation("message", f"Message is too big: {size} bytes."))
    return found


def _wrong_in(part: Any, known: dict[str, Any], path: str) -> Iterator[Violation]:
    if not isinstance(part, dict):
        yield Violation(path, "must be an object")
        return
    for name, value in part.items():
        check = known.get(name)
        if check is None:
            yield Violation(f"{path}.{name}", f"Unknown name \"{name}\" at '{path}': Cannot find field.")
        elif isinstance(check, dict):
            yield from _wrong_in(value, check, f"{path}.{name}")
        elif wrong := check(value):
            yield Violation(f"{path}.{name}", wrong)


def ttl_s(text: Any) -> float | None:
    """A duration as protocol buffers write it in JSON; None: it is none, or longer than four weeks."""
    found = _TTL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    seconds = float(found[1] + (found[2] or ""))
    return seconds if seconds <= LONGEST_TTL_S else None


def payload_bytes(message: dict[str, Any]) -> int:
    """What counts of a message: keys and values of its data, and of what is to be shown."""
    counted = [message.get("data"), message.get("notification")]
    for platform, names in (("android", ("data", "notification")), ("webpush", ("data", "notification"))):
        part = message.get(platform)
        counted += [part.get(name) for name in names] if isinstance(part, dict) else []
    apns = message.get("apns")
    counted.append(apns.get("payload") if isinstance(apns, dict) else None)
    return sum(map(_bytes_of, counted))


def _bytes_of(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, dict):
        return sum(len(str(key).encode()) + _bytes_of(one) for key, one in value.items())
    if isinstance(value, list):
        return sum(map(_bytes_of, value))
    return len(str(value).encode())
