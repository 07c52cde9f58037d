"""The push backend: what devices may say of themselves, and how a push to one of them goes."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hubd.plugin import (
    Address,
    Device,
    FieldError,
    Limits,
    Outcome,
    PluginHub,
    Push,
    PushResult,
    invalid,
)
from hubd_apns.config import ApnsConfig, AppConfig
from hubd_apns.overrides import NONE, Overrides, read_overrides, wrong_overrides
from hubd_apns.payload import headers_of, payload_of
from hubd_apns.results import EXPIRED, LOOK_AT, TOO_LARGE, read

if TYPE_CHECKING:
    from hubd_apns.lines import Line, Lines

AT_ONCE = 200
TIMEOUT_S = 15.0
TOLD_AGAIN_S = 60.0
ENVIRONMENTS = ("production", "sandbox")
_TOKEN = re.compile(r"[0-9a-f]{64,200}")
_FIELDS = ("token", "app", "environment")


class ApnsBackend:
    """Talks to Apple's push service."""

    platform = "apns"
    limits = Limits(at_once=AT_ONCE, timeout_s=TIMEOUT_S)

    def __init__(self, config: ApnsConfig) -> None:
        self._hub: PluginHub | None = None
        self._lines: Lines | None = None
        self._told: dict[tuple[str, str], float] = {}
        self._latest: tuple[Mapping[str, Any], Overrides] = ({}, NONE)
        self.apply(config)

    def apply(self, config: ApnsConfig) -> None:
        """Go by these apps."""
        self._apps: dict[str, AppConfig] = {app.label: app for app in config.apps}

    def start(self, hub: PluginHub, lines: "Lines") -> None:
        """From now on it can send."""
        self._hub, self._lines = hub, lines

    # Devices

    def check(self, fields: Mapping[str, Any]) -> Address:
        """A ``token`` as the app got it from iOS; which ``app`` and ``environment``, unless it is the usual one."""
        wrong = [FieldError(name[:64], "there is no such field") for name in fields if name not in _FIELDS]
        token, app, environment = (fields.get(name) for name in _FIELDS)
        token = token.lower() if isinstance(token, str) else ""
        if _TOKEN.fullmatch(token) is None:
            wrong.append(FieldError("token", "must be the device token in hex: 64 to 200 characters"))
        found = next(iter(self._apps.values()), None) if app is None else self._named(app)
        if found is None:
            there = ", ".join(self._apps) or "none"
            what = "no app is configured" if app is None else f"there is no app {str(app)[:64]!r}; there are: {there}"
            wrong.append(FieldError("app", what))
        if environment is not None and environment not in ENVIRONMENTS:
            wrong.append(FieldError("environment", 'must be "production" or "sandbox"'))
        if wrong:
            raise invalid(wrong)
        assert found is not None
        address = {"token": token, "app": found.label, "environment": environment or found.environment}
        return Address(token, address, _destination(address))

    def _named(self, app: Any) -> AppConfig | None:
        return self._apps.get(app) if isinstance(app, str) else None

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        """What is wrong with a publish call's ``push.apns``."""
        return wrong_overrides(overrides)

    def destination(self, device: Device) -> str:
        """The app and the environment: each has a connection of its own."""
        return _destination(device.address)

    # Pushes

    async def send(self, device: Device, push: Push) -> PushResult:
        """Bring it to one device."""
        assert self._hub is not None and self._lines is not None
        app = self._named(device.address["app"])
        if app is None:
            return PushResult(Outcome.REFUSED, "unknown app")
        line = await self._lines.of(app, device.address["environment"])
        overrides = self._overrides(push)
        headers = headers_of(device, push, app.topic, overrides)
        token = device.address["token"]
        result, authorization = await self._tried(line, token, headers, payload_of(push, overrides))
        if result.reason == TOO_LARGE:
            result, authorization = await self._tried(line, token, headers, payload_of(push, overrides, least=True))
        if result.reason == EXPIRED and line.tokens.refresh(authorization):
            result, _ = await self._tried(line, token, headers, payload_of(push, overrides))
        if result.reason in LOOK_AT:
            self._tell(app, result.reason)
        return result

    async def _tried(self, line: "Line", token: str, headers: dict[str, str], body: bytes) -> tuple[PushResult, str]:
        """One request, and the provider token that it had."""
        assert self._hub is not None
        answer = await line.send(token, headers, body)
        if isinstance(answer, PushResult):
            return answer, ""
        return read(answer.status, answer.body, answer.retry_after, self._hub.clock.now()), answer.authorization

    def _overrides(self, push: Push) -> Overrides:
        """Read once for all devices of a notification."""
        given, found = self._latest
        if push.overrides is not given and push.overrides != given:
            found = read_overrides(push.overrides)
        self._latest = (push.overrides, found)
        return found

    def _tell(self, app: AppConfig, reason: str) -> None:
        """Tell the log that Apple refuses the app or its key, once a minute."""
        assert self._hub is not None
        now, what = self._hub.clock.monotonic(), (app.label, reason)
        if now >= self._told.get(what, now):
            self._told[what] = now + TOLD_AGAIN_S
            text = "Apple refuses this app or its key"
            self._hub.log.error(text, app=app.label, answer=reason, look_at=LOOK_AT[reason])


def _destination(address: Mapping[str, Any]) -> str:
    return f"{address['app']}:{address['environment']}"
