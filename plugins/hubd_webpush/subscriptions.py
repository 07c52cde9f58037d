"""What a browser says as it registers (PushSubscription, W3C Push API section 8), checked before anything is called."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from yarl import URL

from hubd.plugin import Address, FieldError, invalid
from hubd_webpush.keys import POINT_BYTES, base64url, from_base64url, is_point, key_id
from hubd_webpush.services import Services

AUTH_BYTES = 16
_FIELDS = ("endpoint", "expirationTime", "keys", "applicationServerKey")
_KEYS = ("p256dh", "auth")


def check_subscription(
    fields: Mapping[str, Any], services: Services, known_keys: Mapping[str, Any], current: str
) -> Address:
    """The subscription as it is kept, or a ``Problem`` that names everything that is wrong.

    ``known_keys`` are the hub's by their ids; a browser that names none is taken to have subscribed with the
    ``current`` one. Kept are the ``endpoint``, the ``keys``, the id of the hub's key as ``vapid``, and whether the
    browser ``said`` so.
    """
    errors = [*_wrong(fields, services)]
    vapid, given = current, fields.get("applicationServerKey")
    if not errors and given is not None:
        vapid = key_id(from_base64url(given))
        if vapid not in known_keys:
            errors.append(FieldError("applicationServerKey", "is no key of this hub: subscribe anew"))
    if errors:
        raise invalid(errors)
    endpoint = fields["endpoint"]
    keys = {name: base64url(from_base64url(fields["keys"][name])) for name in _KEYS}
    url = URL(endpoint)
    # However the same address is spelled, it is the same device: whose it is must not depend on that.
    key = f"{url.origin()}{url.raw_path_qs}"
    return Address(key, {"endpoint": endpoint, "keys": keys, "vapid": vapid, "said": given is not None}, vapid)


def _wrong(fields: Mapping[str, Any], services: Services) -> Iterator[FieldError]:
    yield from (FieldError(name, "there is no such field") for name in fields if name not in _FIELDS)
    if (why := services.why_not(fields.get("endpoint"))) is not None:
        yield FieldError("endpoint", why)
    expires = fields.get("expirationTime")
    if expires is not None and (type(expires) not in (int, float) or not -math.inf < expires < math.inf):
        yield FieldError("expirationTime", "must be null or a number: Unix milliseconds")
    keys = fields.get("keys")
    if not isinstance(keys, Mapping):
        yield FieldError("keys", "must be an object with p256dh and auth")
    else:
        yield from (FieldError(f"keys.{name}", "there is no such field") for name in keys if name not in _KEYS)
        if not is_point(_bytes(keys.get("p256dh"))):
            yield FieldError("keys.p256dh", f"must be a point of P-256, {POINT_BYTES} bytes in base64url")
        if len(_bytes(keys.get("auth"))) != AUTH_BYTES:
            yield FieldError("keys.auth", f"must be {AUTH_BYTES} bytes in base64url")
    given = fields.get("applicationServerKey")
    if given is not None and not is_point(_bytes(given)):
        yield FieldError("applicationServerKey", f"must be a point of P-256, {POINT_BYTES} bytes in base64url")


def _bytes(text: Any) -> bytes:
    """Empty for what is no base64url."""
    try:
        return from_base64url(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
