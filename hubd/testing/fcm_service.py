"""A stand-in for Firebase Cloud Messaging on loopback: the token endpoint, and the HTTP v1 API with its quotas.

``async with FcmService() as service:`` and then ``hub_for(Fcm, service.options(folder))``. It refuses what FCM would
refuse. What it took is in ``service.pushes``, what would have been too much in ``service.exceeded``; ``service.script``
makes it answer whatever a test wants.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

import orjson
from aiohttp import web

from hubd.clock import Clock, SystemClock
from hubd.testing.fcm_checks import Violation, ttl_s, violations_of
from hubd.testing.fcm_quotas import Exceeded, FcmLimits, FcmQuotas
from hubd.testing.fcm_tokens import FcmTokens, TokenRefused

KEPT = 100_000
"""So many pushes are remembered, the youngest."""
BODY_BYTES = 64 * 1024
LONGEST_TTL_S = 2_419_200.0
_TYPE = "type.googleapis.com/"
_FCM_ERROR = _TYPE + "google.firebase.fcm.v1.FcmError"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

ERRORS: dict[str, tuple[int, str, str]] = {
    "UNREGISTERED": (404, "NOT_FOUND", "Requested entity was not found."),
    "INVALID_ARGUMENT": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "SENDER_ID_MISMATCH": (403, "PERMISSION_DENIED", "SenderId mismatch"),
    "QUOTA_EXCEEDED": (429, "RESOURCE_EXHAUSTED", "Message rate exceeded"),
    "UNAVAILABLE": (503, "UNAVAILABLE", "The service is currently unavailable."),
    "INTERNAL": (500, "INTERNAL", "Internal error encountered."),
    "THIRD_PARTY_AUTH_ERROR": (401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
    "UNSPECIFIED_ERROR": (500, "UNKNOWN", "Unknown error"),
}
"""FCM's own codes, each with its HTTP status, its google.rpc.Code and a message."""
BAD_TOKEN = "The registration token is not a valid FCM registration token"  # noqa: S105


class FcmAnswer(NamedTuple):
    """What the service answers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _NO_HEADERS
    delay_s: float = 0.0


class Mishap(Enum):
    """What can happen to a call instead of an answer."""

    SILENCE = "silence"
    """There is none, ever."""
    HANG_UP = "hang_up"
    """The connection breaks off."""


class FcmPush(NamedTuple):
    """One message that was taken. ``notification``: what stands in its data as that, parsed, if it does."""

    token: str
    message: dict[str, Any]
    at: float
    project: str

    @property
    def data(self) -> dict[str, str]:
        """The data of the app."""
        data: dict[str, str] = self.message.get("data", {})
        return data

    @property
    def notification(self) -> dict[str, Any]:
        """The hub's notification in it."""
        found: dict[str, Any] = orjson.loads(self.data["notification"])
        return found


def error(
    code: str = "",
    status: int = 0,
    word: str = "",
    message: str = "",
    details: Sequence[dict[str, Any]] = (),
    retry_after: str = "",
) -> FcmAnswer:
    """An error as Google's APIs answer it: FCM's ``code`` with what belongs to it, or else what is given."""
    known = ERRORS.get(code, (status or 500, word, message))
    own: list[dict[str, Any]] = [{"@type": _FCM_ERROR, "errorCode": code}] if code else []
    said: dict[str, Any] = {
        "code": status or known[0],
        "message": message or known[2],
        "status": word or known[1],
        "details": [*own, *details],
    }
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    if retry_after:
        headers["Retry-After"] = retry_after
    return FcmAnswer(status or known[0], orjson.dumps({"error": said}), headers)


def bad_request(violations: Sequence[Violation]) -> FcmAnswer:
    """400, and which fields are wrong."""
    fields = [{"field": one.field, "description": one.description} for one in violations]
    detail = {"@type": _TYPE + "google.rpc.BadRequest", "fieldViolations": fields}
    return error("INVALID_ARGUMENT", message=violations[0].description, details=[detail])


def quota_exceeded(quota: str, wait_s: float | None, project: str) -> FcmAnswer:
    """429, as it is for a project, or else for a device."""
    retry_after = "" if wait_s is None else str(int(wait_s) + 1)
    if quota == "project_minute":
        metadata = {
            "service": "fcm.googleapis.com",
            "consumer": f"projects/{project}",
            "quota_limit": "SendsPerMinutePerProject",
        }
        detail: dict[str, Any] = {
            "@type": _TYPE + "google.rpc.ErrorInfo",
            "reason": "RATE_LIMIT_EXCEEDED",
            "metadata": metadata,
        }
        message = "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute'"
        return error(status=429, word="RESOURCE_EXHAUSTED", message=message, details=[detail], retry_after=retry_after)
    violation = {"subject": "device message rate", "description": f"Device message rate exceeded ({quota})"}
    detail = {"@type": _TYPE + "google.rpc.QuotaFailure", "violations": [violation]}
    return error("QUOTA_EXCEEDED", message="Device message rate exceeded", details=[detail], retry_after=retry_after)


class FcmService:
    """FCM for one project. All tokens are registered but those in ``unregistered``; those in ``invalid`` are none."""

    def __init__(
        self,
        project: str = "hubd-stand-in",
        *,
        clock: Clock | None = None,
        limits: FcmLimits | None = None,
    ) -> None:
        self.project = project
        self._clock: Clock = clock or SystemClock()
        self.tokens = FcmTokens(project, self._clock, SystemClock())
        self._quotas = FcmQuotas(self._clock, limits or FcmLimits())
        self.pushes: deque[FcmPush] = deque(maxlen=KEPT)
        self.calls = 0
        """How many calls there were, whatever came of them."""
        self.unregistered: set[str] = set()
        self.invalid: set[str] = set()
        self.script: Callable[[dict[str, Any]], FcmAnswer | Mishap | None] = lambda message: None
        """What to answer to a message that would be taken; None: what FCM would."""
        self.token_script: Callable[[], FcmAnswer | Mishap | None] = lambda: None
        """The same for the token endpoint."""
        self.token_delay_s = 0.0
        self.on_push: Callable[[FcmPush], None] = lambda push: None
        """Called with each message that is taken."""
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._over = asyncio.Event()

    # Where it is

    @property
    def exceeded(self) -> list[Exceeded]:
        """Every quota that was exceeded, each time."""
        return self._quotas.exceeded

    @property
    def endpoint(self) -> str:
        """The plugin's option ``endpoint``."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Where messages are sent to."""
        return f"{self.endpoint}/v1/projects/{self.project}/messages:send"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.endpoint}/token"

    @property
    def account(self) -> dict[str, str]:
        """The service account, as it stands in its file."""
        return self.tokens.account(self.token_url)

    def write_account(self, folder: Path) -> Path:
        """Write the account's file, readable by its owner alone; gives its path."""
        path = folder / "service-account.json"
        path.touch(0o600)
        path.write_bytes(orjson.dumps(self.account))
        return path

    def options(self, folder: Path, **more: Any) -> dict[str, Any]:
        """The plugin's options, with the account's file written into this folder."""
        file = str(self.write_account(folder))
        return {"service_account_file": file, "endpoint": self.endpoint, "allow_hosts": ["127.0.0.1"], **more}

    # Its life

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_post("/token", self._on_token)
        app.router.add_post("/v1/projects/{project}/messages:send", self._on_send)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _on_token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if self.token_delay_s:
            await asyncio.sleep(self.token_delay_s)
        answer = self.token_script()
        if answer is None:
            try:
                answer = FcmAnswer(200, orjson.dumps(self.tokens.exchange(dict(form), self.token_url)))
            except TokenRefused as refused:
                said = {"error": refused.error, "error_description": refused.description}
                answer = FcmAnswer(400, orjson.dumps(said))
        return await self._said(request, answer)

    async def _on_send(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        authorization = request.headers.get("Authorization", "")
        return await self._said(request, self.answer(authorization, request.match_info["project"], body))

    async def _said(self, request: web.Request, answer: FcmAnswer | Mishap) -> web.StreamResponse:
        if isinstance(answer, Mishap):
            if answer is Mishap.SILENCE:
                await self._over.wait()
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        headers = {"Content-Type": "application/json; charset=UTF-8", **answer.headers}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    # What it says

    def answer(self, authorization: str, project: str, body: bytes) -> FcmAnswer | Mishap:
        """What it answers to a call; without a socket, so that it works in virtual time, too."""
        self.calls += 1
        if not self.tokens.is_good(authorization):
            said = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            return error(status=401, word="UNAUTHENTICATED", message=said)
        if project != self.project:
            return error(status=403, word="PERMISSION_DENIED", message="Permission denied on the project")
        try:
            called = orjson.loads(body)
        except ValueError:
            return error(status=400, word="INVALID_ARGUMENT", message="Invalid JSON payload received.")
        if violations := violations_of(called):
            return bad_request(violations)
        message = called["message"]
        scripted = self.script(message)
        if scripted is not None:
            return scripted
        return self._taken(message, called.get("validate_only") is True)

    def _taken(self, message: dict[str, Any], is_trial: bool) -> FcmAnswer:
        token = message.get("token") or message.get("fid") or ""
        if token in self.invalid:
            return error("INVALID_ARGUMENT", message=BAD_TOKEN)
        if token in self.unregistered:
            return error("UNREGISTERED")
        name = f"projects/{self.project}/messages/0:{self.calls}"
        if not is_trial:
            if (refused := self._count(message, token)) is not None:
                return refused
            self.pushes.append(FcmPush(token, message, self._clock.monotonic(), self.project))
            self.on_push(self.pushes[-1])
        return FcmAnswer(200, orjson.dumps({"name": name}))

    def _count(self, message: dict[str, Any], token: str) -> FcmAnswer | None:
        android = message.get("android", {})
        is_shown = "notification" in message or "notification" in android
        collapse_key = None if is_shown else android.get("collapse_key")
        exceeded = self._quotas.take(
            self.project,
            token,
            collapsible=is_shown or collapse_key is not None,
            collapse_key=collapse_key,
            ttl_s=LONGEST_TTL_S if (ttl := ttl_s(android.get("ttl"))) is None else ttl,
        )
        if exceeded is None:
            return None
        what, wait_s = exceeded
        return quota_exceeded(what.quota, wait_s, self.project)
