"""One push to one browser: encrypted for it alone, signed with our key, posted to its push service."""

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

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
from hubd_webpush.answers import OTHER_KEY, TOO_LARGE, failed, result_of
from hubd_webpush.config import WebPushConfig
from hubd_webpush.keys import base64url, checked_base64url
from hubd_webpush.overrides import LEAST, payload_of, wrong_overrides
from hubd_webpush.services import SERVICES, Origin, Services
from hubd_webpush.subscriptions import check_subscription

AT_ONCE = 32
SMALLER = 1000
"""How long a payload is at most for a service that finds the first one too large."""
SIGNED_S = 12 * 3600
"""For how long a signature holds; services take up to 24 hours (RFC 8292 section 2)."""
RENEWED_S = 3600
"""How long before its end a signature is made anew."""
SIGNATURES = 1000
FOUND_KEYS = 10_000
LONGEST_TTL_S = 28 * 86_400
"""The longest time that every service takes for a TTL: four weeks."""
TOPIC_CHARS = 32
"""RFC 8030 section 5.4."""
URGENCY = {Priority.CRITICAL: "high", Priority.IMPORTANT: "normal", Priority.INFORMATIONAL: "low"}
_MISMATCHES = frozenset(map(str, OTHER_KEY))


class WebPushBackend:
    """Talks to the push services of browsers."""

    platform = "webpush"

    def __init__(self, config: WebPushConfig) -> None:
        self.limits = Limits(at_once=AT_ONCE, timeout_s=3 * config.timeout_s)
        self._signatures: dict[tuple[str, str], tuple[float, str]] = {}
        self._found: dict[str, str] = {}
        self._egress: Egress | None = None
        self.apply(config)

    def apply(self, config: WebPushConfig) -> None:
        """Go by these options from now on."""
        self._config = config
        self._keys = config.keys
        self._services = Services((*SERVICES, *config.services), config.allow_hosts)
        self._signatures.clear()
        self._found.clear()

    def open(self, egress: Egress, clock: Clock) -> None:
        """Be ready to send. Only now what encrypts and signs is loaded."""
        from hubd_webpush.sealing import encrypt, sign

        self._encrypt: Callable[[bytes, bytes, bytes], bytes] = encrypt
        self._sign: Callable[[EllipticCurvePrivateKey, str, int, str], str] = sign
        self._clock = clock
        self._egress = egress

    def check(self, fields: Mapping[str, Any]) -> Address:
        """A browser's subscription, or a ``Problem``."""
        return check_subscription(fields, self._services, self._keys, self._config.key.id)

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        """What is wrong with a publish call's ``push.webpush``."""
        return wrong_overrides(overrides, self._config.data_bytes - LEAST)

    def destination(self, device: Device) -> str:
        """The push service: the host by which browsers name it, or what its hosts have in common."""
        return self._services.origin_of(device.address["endpoint"]).name

    async def send(self, device: Device, push: Push) -> PushResult:
        """Encrypt, sign, post, and say what the answer means."""
        if self._egress is None:
            return PushResult(Outcome.LATER, "not started", for_all=True)
        origin = self._services.origin_of(device.address["endpoint"])
        if origin.why_not is not None:
            return PushResult(Outcome.REFUSED, "not allowed")
        result = PushResult(Outcome.REFUSED, "key is gone")
        for place, key in enumerate(self._keys_of(device)):
            result = await self._bring(device, push, origin, key)
            if result.reason in _MISMATCHES:
                continue
            if place and result.outcome is Outcome.ACCEPTED:
                self._note_key(device.id, key)
            break
        return result

    def _keys_of(self, device: Device) -> Iterator[str]:
        """The ids of the keys that it may have subscribed with, the likeliest first; one, if it has said so."""
        likely: str = self._found.get(device.id) or device.address["vapid"]
        if likely in self._keys:
            yield likely
        if not device.address["said"]:
            yield from (key for key in reversed(self._keys) if key != likely)

    def _note_key(self, device: str, key: str) -> None:
        if len(self._found) >= FOUND_KEYS:
            self._found.clear()
        self._found[device] = key

    async def _bring(self, device: Device, push: Push, origin: Origin, key: str) -> PushResult:
        """Post it; one that is too large for the service once more as a light one."""
        data = payload_of(push, self._config.data_bytes)
        try:
            answer = await self._post(device, push, origin, key, data)
            smaller = min(SMALLER, len(data) // 2)
            if answer.status == TOO_LARGE and smaller >= LEAST:
                answer = await self._post(device, push, origin, key, payload_of(push, smaller))
        except EgressFailed as failure:
            return failed(failure.reason, is_shared=origin.is_shared)
        except EgressRefused:
            return PushResult(Outcome.REFUSED, "not allowed")
        return result_of(answer.status, answer.headers, self._clock.now(), is_shared=origin.is_shared)

    async def _post(self, device: Device, push: Push, origin: Origin, key: str, data: bytes) -> Answer:
        assert self._egress is not None  # send has looked
        keys = device.address["keys"]
        headers = {
            "Authorization": self._authorization(key, origin.audience),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(min(push.ttl_s, LONGEST_TTL_S)),
            "Urgency": push.overrides.get("urgency") or URGENCY[push.priority],
        }
        if self._has_topic(origin, push):
            headers["Topic"] = topic_of(push.tag)
        return await self._egress.send(
            "POST",
            device.address["endpoint"],
            headers=headers,
            body=self._encrypt(checked_base64url(keys["p256dh"]), checked_base64url(keys["auth"]), data),
            timeout_s=self._config.timeout_s,
            answer_bytes=0,
        )

    def _has_topic(self, origin: Origin, push: Push) -> bool:
        wanted: bool | None = push.overrides.get("topic")
        return (self._config.topic_for_fcm or not origin.is_fcm) if wanted is None else wanted

    def _authorization(self, key: str, audience: str) -> str:
        """Signed once for each origin and half a day, not for each push."""
        now = self._clock.now()
        until, header = self._signatures.get((key, audience), (0.0, ""))
        if not now + RENEWED_S < until <= now + SIGNED_S:  # the clock may have been put back, too
            until = now + SIGNED_S
            header = self._sign(self._keys[key].private, audience, int(until), self._config.subject)
            if len(self._signatures) >= SIGNATURES:
                self._signatures.clear()
            self._signatures[key, audience] = until, header
        return header


def topic_of(tag: str) -> str:
    """The Topic by which the service replaces what it has not brought yet: it tells nobody what the tag is."""
    return base64url(sha256(tag.encode()).digest())[:TOPIC_CHARS]
