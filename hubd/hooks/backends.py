"""Push backends as the hub calls them: what a plugin's own does wrong is the plugin's fault, and harms nobody."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from hubd.core.errors import FieldError, Problem
from hubd.hooks.calls import BadAnswer, Hooks
from hubd.hooks.push import Address, Device, Limits, Outcome, Push, PushBackend, PushResult
from hubd.hooks.switching import Plugin

NAME_CHARS = 200
REASON_CHARS = 100
FAILED = PushResult(Outcome.LATER, "plugin failed", for_all=True)
OFF = PushResult(Outcome.LATER, "plugin switched off", for_all=True)


class PluginBackend:
    """A push backend that a plugin brings, kept to what it promises."""

    def __init__(self, plugin: Plugin, backend: PushBackend, hooks: Hooks) -> None:
        self.platform: str = backend.platform
        self.limits: Limits = backend.limits
        self._plugin = plugin
        self._backend = backend
        self._hooks = hooks

    def check(self, fields: Mapping[str, Any]) -> Address:
        """What it makes of what a device says of itself; a ``Problem`` where it refuses or fails."""
        try:
            address = self._backend.check(fields)
            if _is_address(address):
                return address
            error: BaseException = BadAnswer("a push backend's check answers an Address")
        except Problem:
            raise
        except BaseException as failure:
            error = failure
        self._failed("check", error)
        raise Problem("internal", f"the plugin '{self._plugin.name}' failed; the failure was logged")

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        """What it finds wrong with them; where it fails, that is what is wrong."""
        try:
            found = list(self._backend.check_overrides(overrides))
            if all(isinstance(one, FieldError) for one in found):
                return found
            error: BaseException = BadAnswer("a push backend's check_overrides answers a list of FieldError")
        except BaseException as failure:
            error = failure
        self._failed("check_overrides", error)
        return [FieldError("", f"can't be checked, as the plugin '{self._plugin.name}' failed; the failure was logged")]

    def destination(self, device: Device) -> str:
        """Its name for where this device is reached; the platform where it fails."""
        try:
            name = self._backend.destination(device)
            if isinstance(name, str) and name.isprintable() and 0 < len(name) <= NAME_CHARS:
                return name
            error: BaseException = BadAnswer("a push backend's destination answers a short name")
        except BaseException as failure:
            error = failure
        self._failed("destination", error)
        return self.platform

    async def send(self, device: Device, push: Push) -> PushResult:
        """How it went; LATER where the plugin failed or is switched off."""
        if not self._plugin.is_on:
            return OFF
        try:
            result = await self._backend.send(device, push)
            if _is_result(result):
                return result
            error: BaseException = BadAnswer("a push backend's send answers a PushResult")
        except GeneratorExit:
            raise
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = cancelled
        except BaseException as failure:  # also what would end the hub
            error = failure
        self._failed("send", error)
        return FAILED

    def _failed(self, what: str, error: BaseException) -> None:
        kind = "bad_answer" if isinstance(error, BadAnswer) else "raised"
        # A stranger's device or a service may bring it about, so it switches no plugin off.
        self._hooks.fault(self._plugin, f"push backend {self.platform}: {what}", kind, error, provoked=True)


def _is_address(address: object) -> bool:
    return (
        isinstance(address, Address)
        and isinstance(address.key, str)
        and bool(address.key)
        and isinstance(address.fields, Mapping)
        and isinstance(address.app, str)
        and len(address.app) <= NAME_CHARS
    )


def _is_result(result: object) -> bool:
    if not isinstance(result, PushResult) or not isinstance(result.outcome, Outcome):
        return False
    times = (time for time in (result.retry_after_s, result.gone_since) if time is not None)
    return (
        isinstance(result.reason, str)
        and result.reason.isprintable()
        and len(result.reason) <= REASON_CHARS
        and all(isinstance(time, int | float) and math.isfinite(time) for time in times)
    )
