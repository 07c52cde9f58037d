"""Web Push in tests: keys, subscriptions, pushes; a backend, or a whole hub, with a push service on loopback."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hubd_webpush import WebPush
from hubd_webpush.backend import WebPushBackend
from hubd_webpush.config import WebPushConfig

from hubd.egress import Egress
from hubd.hooks.push import Device, Push, PushResult
from hubd.plugin import Priority
from hubd.testing import FakeClock, PluginWorld, hub_for
from hubd.testing.webpush_service import ArrivedPush, WebPushService

SUBJECT = "mailto:ops@example.com"
LOOPBACK = ("127.0.0.1",)
NOW = 1_800_000_000.0


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pem_of(key: EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def pem() -> str:
    return pem_of(generate_private_key(SECP256R1()))


def point_of(key: EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


POINT = base64url(point_of(generate_private_key(SECP256R1())))
AUTH = base64url(b"0123456789abcdef")
PEM = pem()
ENDPOINT = "https://fcm.googleapis.com/fcm/send/abc:def"


def subscription(endpoint: Any = ENDPOINT, **more: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "expirationTime": None, "keys": {"p256dh": POINT, "auth": AUTH}, **more}


def config(**options: Any) -> WebPushConfig:
    key = {} if {"vapid_private_key", "vapid_private_key_file"} & {*options} else {"vapid_private_key": PEM}
    return WebPushConfig.model_validate({**key, "subject": SUBJECT, **options})


def push(data: Mapping[str, Any] | None = None, overrides: Mapping[str, Any] | None = None, **more: Any) -> Push:
    """One whose data shrinks as the hub's does: first the text goes."""
    payload = {"id": "n1", "type": "alert", **(data or {})}

    def data_of(most: int) -> bytes:
        whole = orjson.dumps(payload)
        light = orjson.dumps({"id": payload["id"], "fetch": True})
        return whole if len(whole) <= most else light

    fields: dict[str, Any] = {
        "id": "n1", "type": "alert", "priority": Priority.IMPORTANT, "title": "", "body": "", "url": "",
        "collapse_key": None, "tag": "n1", "expires_at": int(NOW) + 600, "ttl_s": 600, "overrides": overrides or {},
        "data": data_of,
    }  # fmt: skip
    return Push(**{**fields, **more})


class BackendWorld:
    """A backend, and the service."""

    def __init__(self, backend: WebPushBackend, service: WebPushService, clock: FakeClock, options: Any) -> None:
        self.backend = backend
        self.service = service
        self.clock = clock
        self.config = options

    def device(self, *, key: str = "", says: bool = False) -> Device:
        """A browser that has subscribed with this key, or the one of now; and whether it says so."""
        key = key or self.config.key.public
        fields = self.service.subscribe(key) | ({"applicationServerKey": key} if says else {})
        address = self.backend.check(fields)
        return Device("dev_" + address.key[-16:], "ada", "webpush", address.fields, address.app)

    async def send(self, device: Device, *args: Any, **more: Any) -> PushResult:
        return await self.backend.send(device, push(*args, **more))

    @property
    def last(self) -> ArrivedPush:
        return self.service.pushes[-1]


@asynccontextmanager
async def backend_world(*, body_bytes: int = 4096, **options: Any) -> AsyncIterator[BackendWorld]:
    clock = FakeClock()
    async with WebPushService(clock=clock, body_bytes=body_bytes) as service:
        made = config(**{"allow_hosts": list(LOOPBACK), **options})
        backend = WebPushBackend(made)
        egress = Egress(made.allow_hosts)
        backend.open(egress, clock)
        try:
            yield BackendWorld(backend, service, clock, made)
        finally:
            await egress.close()


class HubWorld:
    """A hub that pushes by Web Push, and the service."""

    def __init__(self, hub: PluginWorld, service: WebPushService) -> None:
        self.hub = hub
        self.service = service

    async def key(self) -> str:
        answer = await self.hub.request("GET", "/api/push/vapid-public-key")
        assert answer.status == 200
        return str(answer.json()["key"])

    async def subscribe(self, user: str, **more: Any) -> dict[str, Any]:
        made = self.service.subscribe(await self.key())
        await self.hub.register(user, "webpush", **made, **more)
        return made

    async def arrived(self, count: int) -> list[Any]:
        await self.hub.until(lambda: len(self.service.pushes) >= count, real_s=20)
        return [one.data for one in self.service.pushes]


@asynccontextmanager
async def webpush(**options: Any) -> AsyncIterator[HubWorld]:
    clock = FakeClock()
    async with WebPushService(clock=clock) as service:
        key = {} if "vapid_private_key_file" in options else {"vapid_private_key": PEM}
        made = {**key, "subject": SUBJECT, "allow_hosts": list(LOOPBACK), **options}
        async with hub_for(WebPush, made, clock=clock) as hub:
            yield HubWorld(hub, service)
