"""Devices whose platform no plugin serves at the moment: taken as they are, to be checked when one does."""

import math
import re
from collections.abc import Mapping
from typing import Any

from hubd.core.errors import FieldError, invalid
from hubd.core.overrides import PLATFORMS
from hubd.hooks.push import Address
from hubd.push.base64url import decoded

UNCHECKED = "unchecked"
"""The ``app`` of such a device: the backend has yet to say what it is."""
ENDPOINT_CHARS = 2048
TOKEN_CHARS = 4096
OTHER_CHARS = 256
OTHERS = 10
_ENDPOINT = re.compile(r"https://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:[/?][!-~]*)?")
_SUBSCRIPTION = ("endpoint", "expirationTime", "keys", "applicationServerKey")
_KEYS = {"p256dh": 65, "auth": 16}
_POINT_BYTES = 65
_UNCOMPRESSED = 4


def check_unserved(platform: str, fields: Mapping[str, Any]) -> Address:
    """What a device says of itself; a ``Problem`` names everything that can't be right, whatever the plugin is."""
    if platform not in PLATFORMS:
        raise invalid([FieldError("platform", f"there is no such platform; there are {', '.join(PLATFORMS)}")])
    errors = [*(_wrong_subscription(fields) if platform == "webpush" else _wrong_token(fields))]
    if errors:
        raise invalid(errors)
    key = fields["endpoint" if platform == "webpush" else "token"]
    return Address(key, dict(fields), UNCHECKED)


def _wrong_subscription(fields: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with a PushSubscription as ``toJSON()`` gives it (W3C Push API section 8)."""
    errors = [FieldError(name, "there is no such field") for name in fields if name not in _SUBSCRIPTION]
    endpoint, keys, expires = fields.get("endpoint"), fields.get("keys"), fields.get("expirationTime")
    if not isinstance(endpoint, str) or len(endpoint) > ENDPOINT_CHARS or not _ENDPOINT.fullmatch(endpoint):
        errors.append(FieldError("endpoint", f"must be an https URL of at most {ENDPOINT_CHARS} characters"))
    if expires is not None and (type(expires) not in (int, float) or not math.isfinite(expires)):
        errors.append(FieldError("expirationTime", "must be null or a number: Unix milliseconds"))
    if isinstance(keys, dict):
        errors += [FieldError(f"keys.{name}", "there is no such field") for name in keys if name not in _KEYS]
        errors += [_wrong_key(f"keys.{name}", keys.get(name), size) for name, size in _KEYS.items()]
    else:
        errors.append(FieldError("keys", "must be an object with p256dh and auth"))
    if fields.get("applicationServerKey") is not None:
        errors.append(_wrong_key("applicationServerKey", fields["applicationServerKey"], _POINT_BYTES))
    return [error for error in errors if error.message]


def _wrong_key(path: str, text: Any, size: int) -> FieldError:
    """Its message is empty where nothing is wrong."""
    data = _decoded(text) if isinstance(text, str) else b""
    if len(data) == size and (size != _POINT_BYTES or data[0] == _UNCOMPRESSED):
        return FieldError(path, "")
    point = ", an uncompressed point," if size == _POINT_BYTES else ""
    return FieldError(path, f"must be {size} bytes{point} in base64url")


def _decoded(text: str) -> bytes:
    bare = text.rstrip("=")
    if len(text) > TOKEN_CHARS or len(text) - len(bare) not in (0, -len(bare) % 4):
        return b""
    return decoded(bare)


def _wrong_token(fields: Mapping[str, Any]) -> list[FieldError]:
    token, errors = fields.get("token"), []
    if not isinstance(token, str) or not 1 <= len(token) <= TOKEN_CHARS or not token.isprintable() or " " in token:
        errors.append(FieldError("token", f"must be 1 to {TOKEN_CHARS} printable characters without spaces"))
    if len(fields) > 1 + OTHERS:
        return [*errors, FieldError("", f"more than {OTHERS} other fields")]
    for name, value in fields.items():
        is_small = value is None or isinstance(value, int | float) or (
            isinstance(value, str) and len(value) <= OTHER_CHARS and value.isprintable()
        )  # fmt: skip
        if name != "token" and not is_small:
            errors.append(FieldError(name, f"must be a number or up to {OTHER_CHARS} printable characters"))
        elif len(name) > OTHER_CHARS:
            errors.append(FieldError(name[:OTHER_CHARS], "there is no such field"))
    return errors
