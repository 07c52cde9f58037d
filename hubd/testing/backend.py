"""A push backend without a service: it records what it is given, and answers what a test wants."""

from collections.abc import Callable, Mapping
from typing import Any

from hubd.core.errors import FieldError, invalid
from hubd.hooks.push import Address, Device, Limits, Outcome, Push, PushResult

ACCEPTED = PushResult(Outcome.ACCEPTED, "200")


class RecordingBackend:
    """Stands for one push service: ``sent`` has each device and push that it was given, in order.

    A device of it registers as ``{"token": ..., "host": ...}``, where the host, its destination, may be left out.
    ``answer`` decides what the service says; by itself it accepts everything.
    """

    def __init__(self, platform: str = "toy", limits: Limits | None = None) -> None:
        self.platform = platform
        self.limits = limits or Limits()
        self.sent: list[tuple[Device, Push]] = []
        self.answer: Callable[[Device, Push], PushResult] = lambda device, push: ACCEPTED

    def check(self, fields: Mapping[str, Any]) -> Address:
        """A token, and nothing else but a host."""
        wrong = [FieldError(name, "there is no such field") for name in fields if name not in ("token", "host")]
        if not isinstance(fields.get("token"), str) or not fields["token"]:
            wrong.append(FieldError("token", "must be a string"))
        if wrong:
            raise invalid(wrong)
        return Address(fields["token"], {"token": fields["token"], "host": str(fields.get("host", ""))})

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        """`badge` may be set, to a number."""
        unknown = [FieldError(name, "there is no such field") for name in overrides if name != "badge"]
        return unknown or [
            FieldError("badge", "must be a number") for one in overrides.values() if type(one) is not int
        ]

    def destination(self, device: Device) -> str:
        """The host that the device named."""
        return device.address["host"] or self.platform

    async def send(self, device: Device, push: Push) -> PushResult:
        """Note it, and answer."""
        self.sent.append((device, push))
        return self.answer(device, push)

    @property
    def pushed(self) -> list[tuple[str, str]]:
        """The token and the notification's id of each push."""
        return [(device.address["token"], push.id) for device, push in self.sent]
