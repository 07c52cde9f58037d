"""A Web Push service to test with: RFC 8030, with what it gets decrypted (RFC 8291) and its signature checked (8292).

It runs on 127.0.0.1, is as strict as the strictest of the real ones, and can be told to fail in many ways::

    async with WebPushService() as service:
        subscription = service.subscribe(public_key)  # what a browser's PushSubscription.toJSON() would be
        ...
        assert service.pushes[0].data["title"] == "It works"
"""

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

import orjson
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hubd.clock import Clock, SystemClock
from hubd.testing.webpush_checks import Refused, base64url, checked_claims, checked_headers, decrypted

BODY_BYTES = 4096
"""RFC 8030 section 7.2: no service may take less."""
WAITING = 100
"""So many pushes wait for one browser, the youngest."""


class Fault(Enum):
    """What can happen instead of an answer."""

    STALL = "stall"
    """Nothing, for ever."""
    RESET = "reset"
    """The connection is cut."""
    GARBAGE = "garbage"
    """Something that is no HTTP."""


@dataclass(frozen=True)
class Scripted:
    """An answer instead of the right one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0


@dataclass(frozen=True)
class ArrivedPush:
    """A push that a browser would have got. ``data`` is its payload, decrypted and read as JSON where it is that."""

    endpoint: str
    data: Any
    ttl_s: int
    urgency: str
    topic: str | None
    claims: dict[str, Any]
    size: int
    """Bytes of the encrypted body."""
    at: float = 0.0
    """When it came, in Unix seconds."""


class _Subscription:
    def __init__(self, application_server_key: str | None) -> None:
        self.private: EllipticCurvePrivateKey = generate_private_key(SECP256R1())
        self.auth = os.urandom(16)
        self.key = application_server_key.rstrip("=") if application_server_key else None
        self.script: deque[Scripted | Fault] = deque()
        self.is_gone = self.is_away = False
        self.waiting: list[ArrivedPush] = []


class WebPushService:
    """The service. ``pushes`` are those that arrived, in order; ``refused`` why others weren't taken.

    ``tls`` makes it speak https; ``clock`` is for judging signatures, and how long what waits is kept. A body of more
    than ``body_bytes`` is too large for it.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, clock: Clock | None = None, body_bytes: int = BODY_BYTES
    ) -> None:
        self._tls = tls
        self.body_bytes = body_bytes
        self._clock = clock or SystemClock()
        self._subscriptions: dict[str, _Subscription] = {}
        self._runner: web.AppRunner | None = None
        self.pushes: list[ArrivedPush] = []
        self.refused: list[str] = []
        self.requests = 0
        self.on_push: Callable[[ArrivedPush], None] = lambda push: None
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/push/{id}", self._take)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=self._tls).start()
        scheme = "https" if self._tls is not None else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    # What a browser does

    def subscribe(self, application_server_key: str | None = None) -> dict[str, Any]:
        """A new subscription, as ``PushSubscription.toJSON()`` gives it; with a key, nobody else may push to it."""
        id = f"s{len(self._subscriptions) + 1}-{os.urandom(8).hex()}"
        made = self._subscriptions[id] = _Subscription(application_server_key)
        point = made.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": base64url(point), "auth": base64url(made.auth)}
        return {"endpoint": f"{self.url}/push/{id}", "expirationTime": None, "keys": keys}

    def unsubscribe(self, endpoint: str) -> None:
        """The subscription is gone: 410 from now on."""
        self._of(endpoint).is_gone = True

    def go_away(self, endpoint: str) -> None:
        """The browser isn't connected: what comes waits, and of one Topic only the last."""
        self._of(endpoint).is_away = True

    def come_back(self, endpoint: str) -> None:
        """The browser is connected again, and gets what has waited."""
        found = self._of(endpoint)
        found.is_away = False
        waiting, found.waiting = found.waiting, []
        for push in waiting:
            if self._clock.now() <= push.at + push.ttl_s:
                self._deliver(push)

    # What a test wants to go wrong

    def answer(self, endpoint: str, *answers: Scripted | Fault) -> None:
        """The next calls for this subscription go like this, one after the other."""
        self._of(endpoint).script.extend(answers)

    def _of(self, endpoint: str) -> _Subscription:
        return self._subscriptions[endpoint.rpartition("/")[2]]

    # The service

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        body = await request.read()
        found = self._subscriptions.get(request.match_info["id"])
        try:
            if found is None:
                raise Refused(404, "there is no such subscription")
            scripted = found.script.popleft() if found.script else None
            if isinstance(scripted, Fault):
                return await self._fail(request, scripted)
            if scripted is not None:
                await asyncio.sleep(scripted.after_s)
                return web.Response(status=scripted.status, headers=scripted.headers)
            if found.is_gone:
                raise Refused(410, "the subscription is gone")
            push = self._read(request, found, body)
        except Refused as refused:
            self.refused.append(f"{refused.status} {refused}")
            return web.Response(status=refused.status, text=str(refused))
        if found.is_away:
            found.waiting = [one for one in found.waiting if one.topic is None or one.topic != push.topic]
            if push.ttl_s:  # else it is now or never
                found.waiting = [*found.waiting, push][-WAITING:]
        else:
            self._deliver(push)
        return web.Response(status=201, headers={"Location": f"{self.url}/message/1", "TTL": str(push.ttl_s)})

    def _deliver(self, push: ArrivedPush) -> None:
        self.pushes.append(push)
        self.on_push(push)

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault is Fault.STALL:
            await asyncio.Event().wait()
        assert request.transport is not None
        if fault is Fault.GARBAGE:
            request.transport.write(b"220 this is no HTTP\r\n\r\n")
            request.transport.close()
        else:
            request.transport.abort()
        return web.Response(status=500)

    def _read(self, request: web.Request, found: _Subscription, body: bytes) -> ArrivedPush:
        """What a browser gets of it; ``Refused`` as a strict service refuses."""
        headers = request.headers
        ttl_s, urgency, topic = checked_headers(headers)
        if len(body) > self.body_bytes:
            raise Refused(413, "the body is too long")
        claims = checked_claims(headers.get("Authorization"), self.url, self._clock.now(), found.key)
        data: Any = None
        if body:  # else it only wakes the browser
            if headers.get("Content-Encoding") != "aes128gcm":
                raise Refused(415, "Content-Encoding is not aes128gcm")
            data = decrypted(body, found.private, found.auth)
            with suppress(orjson.JSONDecodeError):
                data = orjson.loads(data)
        endpoint = f"{self.url}{request.path}"
        return ArrivedPush(endpoint, data, ttl_s, urgency, topic, claims, len(body), self._clock.now())
