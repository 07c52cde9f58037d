"""One push to one browser: encrypted for it alone, signed with our key, posted to its push service."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Protocol

import orjson
from yarl import URL

from hubd.plugin import (
    Address,
    Answer,
    Clock,
    Device,
    Egress,
    EgressFailed,
    EgressRefused,
    FieldError,
    Limits,
    Outcome,
    Priority,
    Push,
    PushResult,
)
from hubd_webpush.answers import TOO_LARGE, failed, result_of
from hubd_webpush.config import SERVICES, WebPushConfig
from hubd_webpush.keys import base64url
from hubd_webpush.overrides import HEADERS, wrong_overrides
from hubd_webpush.subscriptions import Subscriptions

AT_ONCE = 32
SMALLER = 1000
"""How long the payload is that a service gets who found the first one too large."""
SIGNED_S = 12 * 3600
"""For how long a signature holds; services take up to 24 hours (RFC 8292 section 2)."""
RENEWED_S = 3600
"""How long before its end a signature is made anew."""
SIGNATURES = 1000
URGENCY = {Priority.CRITICAL: "high", Priority.IMPORTANT: "normal", Priority.INFORMATIONAL: "low"}
_TOPIC_CHARS = 32


class Cipher(Protocol):
    """Encrypts for one subscription (RFC 8291)."""

    def __call__(self, subscription: Mapping[str, Any], data: bytes) -> bytes:
        """The body as it is posted."""
        ...


class WebPushBackend:
    """Talks to the push services of browsers."""

    platform = "webpush"

    def __init__(self, config: WebPushConfig) -> None:
        self.limits = Limits(at_once=AT_ONCE, timeout_s=3 * config.timeout_s)
        self._signatures: dict[tuple[str, str], tuple[float, str]] = {}
        self._egress: Egress | None = None
        self._clock: Clock | None = None
        self.apply(config)

    def apply(self, config: WebPushConfig) -> None:
        """Go by these options from now on."""
        self._config = config
        self._keys = config.keys
        self._subscriptions = Subscriptions((*SERVICES, *config.services), config.allow_hosts)
        self._signatures.clear()

    def open(self, egress: Egress, clock: Clock) -> None:
        """Be ready to send. Only now what encrypts and signs is loaded."""
        from hubd_webpush.sealing import encrypt, sign

        self._encrypt: Cipher = encrypt
        self._sign: Callable[..., str] = sign
        self._egress = egress
        self._clock = clock

    def check(self, fields: Mapping[str, Any]) -> Address:
        """A browser's subscription, or a ``Problem``."""
        return self._subscriptions.check(fields, self._keys, self._config.key.id)

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        """What is wrong with a publish call's ``push.webpush``."""
        return wrong_overrides(overrides)

    def destination(self, device: Device) -> str:
        """The host of its push service."""
        return self._subscriptions.destination(device.address["endpoint"])

    async def send(self, device: Device, push: Push) -> PushResult:
        """Post it; one that is too large for the service once more as a light one."""
        if device.address["vapid"] not in self._keys:
            return PushResult(Outcome.REFUSED, "key is gone")
        if self._subscriptions.why_not(device.address["endpoint"]) is not None:
            return PushResult(Outcome.REFUSED, "not allowed")
        try:
            answer = await self._post(device, push, self._config.data_bytes)
            if answer.status == TOO_LARGE:
                answer = await self._post(device, push, SMALLER)
        except EgressFailed as failure:
            return failed(failure.reason)
        except EgressRefused:
            return PushResult(Outcome.REFUSED, "not allowed")
        assert self._clock is not None
        return result_of(answer.status, answer.headers, self._clock.now())

    async def _post(self, device: Device, push: Push, most: int) -> Answer:
        assert self._egress is not None
        endpoint: str = device.address["endpoint"]
        headers = {
            "Authorization": self._authorization(device.address["vapid"], endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(push.ttl_s),
            "Urgency": push.overrides.get("urgency") or URGENCY[push.priority],
        }
        if self._has_topic(endpoint, push):
            headers["Topic"] = topic_of(push.tag)
        body = self._encrypt(device.address, payload_of(push, most))
        return await self._egress.send(
            "POST", endpoint, headers=headers, body=body, timeout_s=self._config.timeout_s, answer_bytes=0
        )

    def _has_topic(self, endpoint: str, push: Push) -> bool:
        wanted = push.overrides.get("topic")
        if wanted is not None:
            return bool(wanted)
        return self._config.topic_for_fcm or not self.destination_is_fcm(endpoint)

    def destination_is_fcm(self, endpoint: str) -> bool:
        """Whether it is Chrome's push service."""
        host = (URL(endpoint).raw_host or "").lower()
        return host == "googleapis.com" or host.endswith(".googleapis.com")

    def _authorization(self, key_id: str, endpoint: str) -> str:
        """Signed once for each origin and half a day, not for each push."""
        assert self._clock is not None
        origin = str(URL(endpoint).origin())
        now = self._clock.now()
        until, header = self._signatures.get((key_id, origin), (0.0, ""))
        if until - RENEWED_S < now or until - SIGNED_S > now:
            until = now + SIGNED_S
            header = self._sign(self._keys[key_id].private, origin, int(until), self._config.subject)
            if len(self._signatures) >= SIGNATURES:
                self._signatures.clear()
            self._signatures[key_id, origin] = until, header
        return header


def payload_of(push: Push, most: int) -> bytes:
    """What the worker gets: the notification's JSON, with what is said for browsers alone as ``hub_push``."""
    shown = {name: value for name, value in push.overrides.items() if name not in HEADERS and value is not None}
    if not shown:
        return push.data(most)
    own = b',"hub_push":%b}' % orjson.dumps(shown)
    left = most - len(own)
    if left < _LEAST:  # they alone fill it: then the notification's own words have to do
        return push.data(most)
    return push.data(left)[:-1] + own


_LEAST = 512


def topic_of(tag: str) -> str:
    """A Topic, which has up to 32 characters of base64url (RFC 8030 section 5.4)."""
    return base64url(sha256(tag.encode()).digest())[:_TOPIC_CHARS]
