"""The push services of a simulation: hosts that take pushes, refuse them, ask to wait, fail or never answer."""

import asyncio
import json
from collections.abc import Mapping
from math import inf
from random import Random
from typing import Any, NamedTuple

from hubd.plugin import (
    Address,
    Device,
    FieldError,
    Limits,
    Outcome,
    PluginConfig,
    Problem,
    Push,
    PushResult,
    Rate,
    hookimpl,
)
from tests.simulation.observer import Observer
from tests.simulation.phones import PLATFORM, Phone
from tests.simulation.sends import Send

HOSTS = ("host-0", "host-1", "host-2")
TIMEOUT_S = 3.0
LIMITS = (
    Limits(timeout_s=TIMEOUT_S),
    Limits(at_once=2, timeout_s=TIMEOUT_S),
    Limits(timeout_s=TIMEOUT_S, per_device=(Rate(2, 3.0), Rate(4, 10.0))),
    Limits(timeout_s=TIMEOUT_S, per_destination=(Rate(3, 2.0),)),
    Limits(timeout_s=TIMEOUT_S, collapsible_burst=1, collapsible_every_s=4.0, collapse_keys=2),
    Limits(at_once=3, timeout_s=TIMEOUT_S, per_destination=(Rate(4, 1.0), Rate(9, 10.0)), per_device=(Rate(3, 5.0),)),
)
_SLOW_S = (0.02, 0.02, 0.1, 0.6, 2.5)


class _Answer(NamedTuple):
    result: PushResult | None
    """None: no answer ever."""
    after_s: float
    fails: bool = False
    """An exception instead."""


_TROUBLES = (
    # what it is, how often
    ("accepted", 40),
    ("later", 12),
    ("retry_after", 10),
    ("all_later", 4),
    ("all_retry_after", 6),
    ("gone", 4),
    ("not_gone", 2),
    ("refused", 4),
    ("fails", 6),
    ("silence", 5),
)


class PushServices:
    """All of them, for all lives of a hub. ``is_troubled``: whether some hosts are in a bad way, until ``calm``.

    ``well`` are those that never are.
    """

    def __init__(self, observer: Observer, seed: int, *, is_troubled: bool) -> None:
        self.observer = observer
        self._random = random = Random(seed)
        self.limits = random.choice(LIMITS) if is_troubled else LIMITS[0]
        self.manners = dict.fromkeys(HOSTS, "well")
        self._down: dict[str, tuple[float, float]] = {}
        if is_troubled:  # the first one is always well: whatever becomes of the others is nothing to it
            for host in HOSTS[1:]:
                self.manners[host] = random.choice(("well", "troubled", "troubled", "troubled", "down"))
                begin = observer.now + random.uniform(0.0, 20.0)
                self._down[host] = begin, begin + random.choice((2.0, 10.0))
        self.well = {host for host, manners in self.manners.items() if manners == "well"}

    def calm(self) -> None:
        """From now on all are well."""
        self.manners = dict.fromkeys(HOSTS, "well")

    def backend(self) -> "ToyBackend":
        """What a new life of the hub has to talk to them."""
        return ToyBackend(self)

    def plugin(self, backend: "ToyBackend") -> type[Any]:
        """The plugin that brings it."""
        return type("SimulatedPush", (_Plugin,), {"backend": backend})

    def answer(self, phone: Phone) -> _Answer:
        """What becomes of a push, decided as it begins."""
        random = self._random
        host = phone.host
        manners = self.manners[host]
        after_s = random.choice(_SLOW_S[:3] if manners == "well" else _SLOW_S)
        if phone.is_dead:
            return _Answer(PushResult(Outcome.GONE, "410 Unregistered"), after_s)
        if manners == "down" and self._down[host][0] <= self.observer.now < self._down[host][1]:
            return random.choice((_Answer(None, inf), _Answer(PushResult(Outcome.LATER, "down", for_all=True), 0.1)))
        if manners != "troubled":
            return _Answer(PushResult(Outcome.ACCEPTED, "201"), after_s)
        kinds, weights = zip(*_TROUBLES, strict=True)
        return self._troubled(random.choices(kinds, weights)[0], phone, after_s)

    def _troubled(self, kind: str, phone: Phone, after_s: float) -> _Answer:
        wait_s = self._random.choice((0.5, 3.0, 9.0))
        match kind:
            case "later":
                return _Answer(PushResult(Outcome.LATER, "503"), after_s)
            case "retry_after":
                return _Answer(PushResult(Outcome.LATER, "429", wait_s), after_s)
            case "all_later":
                return _Answer(PushResult(Outcome.LATER, "unreachable", for_all=True), after_s)
            case "all_retry_after":
                return _Answer(PushResult(Outcome.LATER, "429", wait_s, for_all=True), after_s)
            case "gone":
                phone.is_dead = True
                return _Answer(PushResult(Outcome.GONE, "410 Unregistered"), after_s)
            case "not_gone":  # it says of a phone that it had gone long before it was registered again
                return _Answer(PushResult(Outcome.GONE, "410 Unregistered", gone_since=1_000_000_000.0), after_s)
            case "refused":
                return _Answer(PushResult(Outcome.REFUSED, "400"), after_s)
            case "fails":
                return _Answer(None, after_s, fails=True)
            case "silence":
                return _Answer(None, inf)
        return _Answer(PushResult(Outcome.ACCEPTED, "201"), after_s)


class ToyBackend:
    """Talks to them, for one life of the hub."""

    platform = PLATFORM

    def __init__(self, services: PushServices) -> None:
        self._services = services
        self.limits = services.limits
        self.is_dead = False

    def check(self, fields: Mapping[str, Any]) -> Address:
        token, host = fields.get("token"), fields.get("host")
        if not isinstance(token, str) or host not in HOSTS:
            raise Problem("bad_request", "no such phone", ())
        return Address(token, {"token": token, "host": host}, host)

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        return []

    def destination(self, device: Device) -> str:
        return str(device.address["host"])

    async def send(self, device: Device, push: Push) -> PushResult:
        services = self._services
        observer = services.observer
        phone = observer.phones[device.address["token"]]
        if self.is_dead:
            raise ConnectionError("the hub is gone")
        send = Send(observer.now, observer.life, device.user, phone, push)
        self._look_at(device, push)
        observer.sent(send)
        answer = services.answer(phone)
        try:
            await asyncio.sleep(min(answer.after_s, 1e6))
        except asyncio.CancelledError:
            send.ended_at, send.how = observer.now, "cancelled"
            raise
        send.ended_at = observer.now
        if answer.fails or answer.result is None:
            send.how = "failed"
            raise ConnectionError("something is wrong with it")
        send.how, send.result = str(answer.result.outcome), answer.result
        observer.note(f"{phone.token} {send.how} {push.id}")
        if answer.result.outcome is Outcome.ACCEPTED:
            phone.show(send)
        elif answer.result.outcome is Outcome.GONE and answer.result.gone_since is None:
            phone.died(observer.now, send.at)
        return answer.result

    def _look_at(self, device: Device, push: Push) -> None:
        observer = self._services.observer
        data = json.loads(push.data(3000))
        if data["id"] != push.id or not str(data["hub_capability"]).startswith("cap_"):
            observer.break_off(f"push: the payload of {push.id} is {data}")
        wanted = observer.publications[push.id].collapse_key
        if push.tag != (wanted or push.id) or push.title != push.id:
            observer.break_off(f"push: {push.id} has the tag {push.tag} and the title {push.title}")
        if device.platform != PLATFORM or device.id[:4] != "dev_":
            observer.break_off(f"push: {push.id} goes to {device}")


class _Plugin:
    """What brings the backend into the hub."""

    backend: ToyBackend

    def __init__(self, config: PluginConfig) -> None: ...

    @hookimpl
    def hubd_push_backends(self) -> list[ToyBackend]:
        return [self.backend]
