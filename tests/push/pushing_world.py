"""A hub with real devices and the real dispatcher, in time that is turned; push services are scripted."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, NamedTuple

from hubd.config import Config
from hubd.core.errors import FieldError
from hubd.core.record import Record
from hubd.hooks.push import Address, Device, Limits, Outcome, Push, PushResult
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.tasks import Tasks
from tests.simulation.loop import Clock, VirtualLoop

ACCEPTED = PushResult(Outcome.ACCEPTED, "201")
LATER = PushResult(Outcome.LATER, "503")
DOWN = PushResult(Outcome.LATER, "503", for_all=True)
GONE = PushResult(Outcome.GONE, "410")
REFUSED = PushResult(Outcome.REFUSED, "413")


class Sent(NamedTuple):
    """A call of a push service."""

    at: float
    host: str
    token: str
    id: str
    push: Push


Answer = PushResult | BaseException | Awaitable[PushResult] | object


class Service:
    """A push backend: ``script(sent)`` says what it answers, or what it waits for first; it notes who is how fast."""

    def __init__(self, loop: VirtualLoop | None = None, platform: str = "fake", limits: Limits | None = None) -> None:
        self.platform = platform
        self.limits = limits or Limits()
        self.sent: list[Sent] = []
        self.under_way: dict[str, int] = {}
        self.most_under_way: dict[str, int] = {}
        self.script: Callable[[Sent], Any] = lambda sent: ACCEPTED
        self.takes_s = 0.05
        self._loop = loop

    def check(self, fields: Mapping[str, Any]) -> Address:
        return Address(fields["token"], fields)

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        return []

    def destination(self, device: Device) -> str:
        return str(device.address["host"])

    async def send(self, device: Device, push: Push) -> PushResult:
        host = self.destination(device)
        assert self._loop is not None, "it has no time"
        sent = Sent(self._loop.now, host, device.address["token"], push.id, push)
        self.sent.append(sent)
        self.under_way[host] = now = self.under_way.get(host, 0) + 1
        self.most_under_way[host] = max(now, self.most_under_way.get(host, 0))
        try:
            answer = self.script(sent)
            if isinstance(answer, Awaitable):
                answer = await answer
            else:
                await asyncio.sleep(self.takes_s)
        finally:
            self.under_way[host] -= 1
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]

    def tokens(self) -> list[str]:
        """To which devices pushes went, in order."""
        return [sent.token for sent in self.sent]


class PushWorld:
    """The hub, its time, and its push service."""

    def __init__(self, config: dict[str, Any] | None = None, *, limits: Limits | None = None, seed: int = 1) -> None:
        self.loop = VirtualLoop(seed)
        clock = Clock(self.loop)
        self.clock = clock
        self.service = Service(self.loop, limits=limits)
        self.backends: dict[str, Any] = {"fake": self.service}
        self.tasks = Tasks()
        self.hub = Hub(
            Config.model_validate(config or {}),
            clock=clock,
            ids=Ids(clock, Random(seed)),
            call_soon=self.loop.call_soon,
            call_later=self.loop.call_later,
        )
        self.hub.pushing.push_by(self.backends, random=Random(seed), tasks=self.tasks, call_later=self.loop.call_later)
        assert self.hub.pushing.dispatcher is not None
        self.dispatcher = self.hub.pushing.dispatcher

    def device(self, user: str, token: str, host: str = "h", platform: str = "fake") -> str:
        """A user registers a device; gives its id."""
        address = Address(token, {"token": token, "host": host})
        device, _ = self.loop.run_until_complete(self.hub.devices.put(user, platform, address))
        return device.id

    def drop(self, id: str) -> None:
        self.loop.run_until_complete(self.hub.devices.drop(id, None))

    def publish(self, id: str, *users: str, **more: Any) -> Record:
        """Publish something critical to these users; gives its record."""
        to = [f"user:{user}" for user in users]
        body = {"id": id, "to": to, "notification": {"type": "order"}, "priority": "critical", **more}
        self.loop.run_until_complete(self.hub.publish(self.hub.prepare(body), "backend"))
        return self.record(id)

    def publish_to_topic(self, id: str, topic: str, users: list[str], **more: Any) -> Record:
        """The same to a topic of which these are durable subscribers."""
        for user in users:
            self.loop.run_until_complete(self.hub.make_durable(user, [topic], None))
        body = {"id": id, "to": [topic], "notification": {"type": "order"}, "priority": "critical", **more}
        self.loop.run_until_complete(self.hub.publish(self.hub.prepare(body), "backend"))
        return self.record(id)

    def record(self, id: str) -> Record:
        return self.hub.delivering.ledger.find_all(id)[0]

    def number(self, user: str) -> int:
        return self.hub.numbers.number_of(user)

    def milestone(self, id: str, user: str) -> str | None:
        return self.record(id).milestones.of(self.number(user))

    def ack(self, user: str, id: str) -> None:
        self.hub.delivering.acked(id, None, self.number(user), "")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.run_for(seconds)
        assert not self.loop.faults, self.loop.faults

    def attempts(self, id: str) -> list[str]:
        """What services answered, in order."""
        return [step.detail for step in self.record(id).steps if step.what == "attempt"]

    def close(self) -> None:
        self.loop.run_until_complete(self.tasks.close())
        self.loop.close()
