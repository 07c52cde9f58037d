"""What a push backend is: a plugin's part that talks to one push service."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from hubd.core.notification import Notification


class Device(NamedTuple):
    """Where a push service reaches a user: a Web Push subscription, an APNs or FCM token, or something of that kind."""

    id: str
    user: str
    platform: str
    address: Mapping[str, Any]
    """What the service needs to know, as the device registered it."""


class Outcome(StrEnum):
    """How one push went."""

    ACCEPTED = "accepted"
    """The service took it."""
    LATER = "later"
    """Try again, after ``retry_after_s`` if the service said so."""
    GONE = "gone"
    """The service doesn't know this device any more: delete it."""
    REFUSED = "refused"
    """The service won't take this push, however often it is tried; the device stays."""


class PushResult(NamedTuple):
    """How one push went, and in the service's own words why (no secrets)."""

    outcome: Outcome
    reason: str = ""
    retry_after_s: float | None = None


class PushBackend(Protocol):
    """Talks to one push service. ``platform`` is the word that devices are registered under."""

    platform: str

    async def send(self, device: Device, notification: Notification) -> PushResult:
        """Bring a notification to one device; an exception counts as ``LATER``."""
        ...
