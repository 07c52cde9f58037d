"""What APNs would have against a request: the checks of its stand-in, and the reasons that Apple documents."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hubd.clock import Clock

PAYLOAD_BYTES = 4096
COLLAPSE_ID_BYTES = 64
TOKEN_OLD_S = 3600.0
TOKEN_NEW_S = 1200.0
"""A provider token is good for an hour, and another one isn't taken within 20 minutes."""
AHEAD_S = 300.0
"""How far a provider's clock may be ahead."""

PUSH_TYPES = frozenset(
    (
        "alert", "background", "complication", "controls", "fileprovider", "liveactivity", "location", "mdm",
        "pushtotalk", "voip", "widgets",
    )
)  # fmt: skip
_REASONS: Mapping[int, Sequence[str]] = {
    400: (
        "BadCollapseId", "BadDeviceToken", "BadExpirationDate", "BadMessageId", "BadPriority", "BadTopic",
        "DeviceTokenNotForTopic", "DuplicateHeaders", "IdleTimeout", "InvalidPushType", "MissingDeviceToken",
        "MissingTopic", "PayloadEmpty", "TopicDisallowed",
    ),
    403: (
        "BadCertificate", "BadCertificateEnvironment", "BadEnvironmentKeyIdInToken", "ExpiredProviderToken",
        "Forbidden", "InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken",
    ),
    404: ("BadPath",),
    405: ("MethodNotAllowed",),
    410: ("ExpiredToken", "Unregistered"),
    413: ("PayloadTooLarge",),
    429: ("TooManyProviderTokenUpdates", "TooManyRequests"),
    500: ("InternalServerError",),
    503: ("ServiceUnavailable", "Shutdown"),
}  # fmt: skip
STATUS_OF: Mapping[str, int] = {reason: status for status, reasons in _REASONS.items() for reason in reasons}
"""Every reason that Apple documents ("Handling notification responses from APNs"), with its status."""

_PATH = re.compile(r"/3/device/([^/]*)")
_DEVICE = re.compile(r"[0-9a-f]{64,200}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9.-]{1,255}")


class Request(NamedTuple):
    """One request as it came. ``headers`` as they came, in order; pseudo headers among them."""

    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first of that name."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def token(self) -> str:
        """The device's token, of the path."""
        found = _PATH.fullmatch(self.header(":path") or "")
        return found[1] if found else ""


class Provider(Protocol):
    """What a token is checked by."""

    key_id: str
    team_id: str
    public_key: ec.EllipticCurvePublicKey
    clock: Clock


def wrong_request(request: Request, topics: Sequence[str]) -> str:
    """The reason why a request is refused, whoever sends it; nothing: it is fine."""
    names = [name for name, _ in request.headers]
    if len(set(names)) != len(names):
        return "DuplicateHeaders"
    if request.header(":method") != "POST":
        return "MethodNotAllowed"
    if _PATH.fullmatch(request.header(":path") or "") is None:
        return "BadPath"
    if not request.token:
        return "MissingDeviceToken"
    return _wrong_headers(request) or _wrong_topic(request.header("apns-topic"), topics) or _wrong_payload(request.body)


def _wrong_headers(request: Request) -> str:
    id, expiration = request.header("apns-id"), request.header("apns-expiration")
    priority, push_type = request.header("apns-priority"), request.header("apns-push-type") or "alert"
    if id is not None and _UUID.fullmatch(id) is None:
        return "BadMessageId"
    if expiration is not None and not (expiration.isascii() and expiration.isdigit()):
        return "BadExpirationDate"
    if push_type not in PUSH_TYPES:
        return "InvalidPushType"
    # Apple: a background push with priority 10 is an error.
    if priority not in (None, "1", "5", "10") or (push_type == "background" and priority == "10"):
        return "BadPriority"
    if len((request.header("apns-collapse-id") or "").encode()) > COLLAPSE_ID_BYTES:
        return "BadCollapseId"
    return ""


def _wrong_topic(topic: str | None, topics: Sequence[str]) -> str:
    if not topic:
        return "MissingTopic"
    if _TOPIC.fullmatch(topic) is None:
        return "BadTopic"
    return "" if topic in topics else "TopicDisallowed"


def _wrong_payload(body: bytes) -> str:
    if len(body) > PAYLOAD_BYTES:
        return "PayloadTooLarge"
    payload = payload_of(body)
    return "" if payload and isinstance(payload.get("aps"), dict) else "PayloadEmpty"


def payload_of(body: bytes) -> dict[str, Any]:
    """What a body says; nothing where it isn't a JSON object."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def wrong_device(token: str) -> bool:
    """Whether it can't be a device's token."""
    return _DEVICE.fullmatch(token) is None


class ProviderTokens:
    """The provider tokens of one key as they came. It takes a new one every 20 minutes at most."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._good: dict[str, float] = {}
        self.taken: list[float] = []
        """When each of them came first, by the clock on the wall."""

    def wrong(self, authorization: str | None) -> str:
        """The reason why the header ``authorization`` isn't taken; nothing: it is fine."""
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            return "MissingProviderToken"
        now = self._provider.clock.now()
        issued_at = self._good.get(token)
        if issued_at is None:
            issued_at = _issued_at(token, self._provider)
            if issued_at is None or issued_at > now + AHEAD_S:
                return "InvalidProviderToken"
        if now - issued_at > TOKEN_OLD_S:
            return "ExpiredProviderToken"
        if token not in self._good:
            if self.taken and now - self.taken[-1] < TOKEN_NEW_S:
                return "TooManyProviderTokenUpdates"
            self.taken.append(now)
            self._good[token] = issued_at
        return ""


def _issued_at(token: str, provider: Provider) -> float | None:
    """When a token was issued, if it is one of this provider's (RFC 7515, with ES256 by RFC 7518, 3.4)."""
    try:
        head_text, claims_text, signature_text = token.split(".")
        head, claims = (orjson.loads(_decoded(text)) for text in (head_text, claims_text))
        signature = _decoded(signature_text)
        if len(signature) != 64:
            return None
        der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        provider.public_key.verify(der, f"{head_text}.{claims_text}".encode(), ec.ECDSA(hashes.SHA256()))
        named = head["alg"] == "ES256" and head["kid"] == provider.key_id and claims["iss"] == provider.team_id
        return float(claims["iat"]) if named and type(claims["iat"]) is int else None
    except (ValueError, KeyError, TypeError, InvalidSignature):
        return None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
