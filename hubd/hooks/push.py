"""What a push backend is: a plugin's part that talks to one push service, and what the hub hands to it."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from hubd.core.errors import FieldError
from hubd.core.notification import Priority


class Address(NamedTuple):
    """What a device said of itself when it registered, checked by the backend of its platform."""

    key: str
    """What makes it the same device when it registers again: an endpoint, a token."""
    fields: Mapping[str, Any]
    """What the push service needs to know; JSON, kept as it is."""
    app: str = ""
    """Which of the backend's applications it belongs to: whether too many of an app's devices would go at once is
    judged by it."""


class Device(NamedTuple):
    """Where a push service reaches a user: a Web Push subscription, an APNs or FCM token, or something of that kind."""

    id: str
    user: str
    platform: str
    address: Mapping[str, Any]
    """``Address.fields``, as the backend's ``check`` gave them."""
    app: str = ""


class Push(NamedTuple):
    """One notification on its way to one device: what the backend turns into a call of its service."""

    id: str
    """The notification's; the same however often it is tried."""
    type: str
    priority: Priority
    title: str
    """What stands in the payload, or else its type: there is always something to show."""
    body: str
    url: str
    """Where a click leads; empty: nowhere."""
    collapse_key: str | None
    """The publisher's. What has the same replaces what was sent before."""
    tag: str
    """What a device shows in one place: the collapse key, or else the id."""
    expires_at: int
    """Unix seconds."""
    ttl_s: int
    """How long the service may try to bring it; 0: now or never."""
    overrides: Mapping[str, Any]
    """What the publish call says about this platform alone; the backend has checked it."""
    data: Callable[[int], bytes]
    """``data(most)``: what the app gets, as a JSON object of at most ``most`` bytes (512 or more).

    It is the notification as a connection would get it, without ``cursor``, and with ``hub_capability``, by which this
    user's device may read and ack this notification without a token. Too large for ``most``, it is a light one: ``id``,
    ``type``, cut ``title`` and ``body``, and ``fetch: true``, as the rest is to be fetched.
    """


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
    """How one push went. ``reason`` is what the service answered, in one or two words of a small vocabulary, such as
    "410 Unregistered": no secrets, no text of a stranger's choice."""

    outcome: Outcome
    reason: str = ""
    retry_after_s: float | None = None
    for_all: bool = False
    """LATER: the service asks everybody to wait, not this device alone; or it can't be reached at all."""
    gone_since: float | None = None
    """GONE: since when (Unix seconds), if the service said so. A device that registered later stays."""


class Rate(NamedTuple):
    """At most ``most`` within any ``per_s`` seconds."""

    most: int
    per_s: float


class Limits(NamedTuple):
    """What a push service takes from us. The hub keeps below all of it; a backend needn't count."""

    at_once: int = 32
    """Calls under way to one destination."""
    timeout_s: float = 15.0
    """How long one ``send`` may take; then it is cancelled, and counts as LATER."""
    per_destination: tuple[Rate, ...] = ()
    per_device: tuple[Rate, ...] = ()
    collapsible_burst: int = 0
    """So many pushes with a collapse key go to one device at once (0: no limit), then one more every
    ``collapsible_every_s`` seconds."""
    collapsible_every_s: float = 0.0
    all_collapsible: bool = False
    """Whether pushes without a collapse key count for that, too."""
    collapse_keys: int = 0
    """So many different collapse keys at a time a service keeps for one device (0: no limit): a push with one more goes
    without its key."""


class PushBackend(Protocol):
    """Talks to one push service. ``platform`` is the word that devices are registered under."""

    platform: str
    limits: Limits

    def check(self, fields: Mapping[str, Any]) -> Address:
        """What a device says of itself as it registers, or a ``Problem`` that names each wrong field."""
        ...

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        """What is wrong with a publish call's ``push.PLATFORM``; paths begin within it. At most 4,096 bytes of JSON."""
        ...

    def destination(self, device: Device) -> str:
        """By which name its service's pace, pauses and failures are counted together: a host, an app. Few, and no
        secrets: it stands in logs and metrics."""
        ...

    async def send(self, device: Device, push: Push) -> PushResult:
        """Bring it to one device; an exception counts as LATER, and is a fault of the plugin. It may be cancelled."""
        ...
