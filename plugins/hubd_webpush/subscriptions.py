"""What a browser says as it registers (PushSubscription, W3C Push API section 8), checked before anything is called."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from yarl import URL

from hubd.plugin import Address, EgressRefused, FieldError, check_url, invalid
from hubd_webpush.keys import POINT_BYTES, base64url, from_base64url, is_point, key_id

AUTH_BYTES = 16
_HTTPS = 443
_FIELDS = ("endpoint", "expirationTime", "keys", "applicationServerKey")
_KEYS = ("p256dh", "auth")


class Subscriptions:
    """Checks subscriptions. ``services`` are hosts that may be called, with all under them; what stands in
    ``allow_hosts`` may be called by any port and by http, wherever it leads."""

    def __init__(self, services: Iterable[str], allow_hosts: Iterable[str]) -> None:
        self._services = tuple(services)
        self._allow_hosts = tuple(allow_hosts)

    def check(self, fields: Mapping[str, Any], known_keys: Mapping[str, Any], current: str) -> Address:
        """The subscription as it is kept, or a ``Problem`` that names everything that is wrong.

        ``known_keys`` are the hub's by their ids; one that the browser doesn't name was ``current``.
        """
        errors = [*self._wrong(fields)]
        vapid = current
        if not errors and (given := fields.get("applicationServerKey")) is not None:
            vapid = key_id(from_base64url(given))
            if vapid not in known_keys:
                errors.append(FieldError("applicationServerKey", "is no key of this hub: subscribe anew"))
        if errors:
            raise invalid(errors)
        keys = {name: base64url(from_base64url(fields["keys"][name])) for name in _KEYS}
        return Address(fields["endpoint"], {"endpoint": fields["endpoint"], "keys": keys, "vapid": vapid}, vapid)

    def _wrong(self, fields: Mapping[str, Any]) -> Iterator[FieldError]:
        yield from (FieldError(name, "there is no such field") for name in fields if name not in _FIELDS)
        if (why := self.why_not(fields.get("endpoint"))) is not None:
            yield FieldError("endpoint", why)
        expires = fields.get("expirationTime")
        if expires is not None and (type(expires) not in (int, float) or not math.isfinite(expires)):
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

    def why_not(self, endpoint: Any) -> str | None:
        """Why this endpoint isn't called; None: it may be. Where its name leads is judged when it is."""
        if not isinstance(endpoint, str):
            return "must be a string" if endpoint is not None else "is required"
        try:
            url = check_url(endpoint, self._allow_hosts)
        except EgressRefused as refused:
            return str(refused)
        if self._is_allowed(url):
            return None
        host = (url.raw_host or "").lower()
        if url.port != _HTTPS:
            return "a push service is called by https on port 443"
        if not any(host == service or host.endswith(f".{service}") for service in self._services):
            return f"{host} is no push service that this hub calls ([plugins.webpush] services)"
        return None

    def _is_allowed(self, url: URL) -> bool:
        """Whether an operator has listed the host: then the same address would do by http, too."""
        try:
            check_url(str(url.with_scheme("http")), self._allow_hosts)
        except EgressRefused:
            return False
        return True

    def destination(self, endpoint: str) -> str:
        """By which name the service's pace is counted: its host; where there are many, what they have in common."""
        host = (URL(endpoint).raw_host or "").lower()
        if host.endswith(_MANY_HOSTS):
            return next(suffix for suffix in _MANY_HOSTS if host.endswith(suffix)).lstrip(".")
        return host


_MANY_HOSTS = (".notify.windows.com",)


def _bytes(text: Any) -> bytes:
    """Empty for what is no base64url."""
    try:
        return from_base64url(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
