"""A day in virtual time: the hub with its dispatcher and this plugin's backend, against the quotas that FCM counts.

The network takes its time, for each call another one, so that what was sent evenly arrives less so.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from random import Random
from typing import Any

import pytest
from firebase_admin import messaging
from hubd_fcm.backend import FcmBackend
from hubd_fcm.credential import Credential
from hubd_fcm.messages import Messages
from hubd_fcm.senders import HttpSender

from hubd.plugin import Answer, PluginLog, Rate
from hubd.testing.fcm_quotas import FcmLimits
from hubd.testing.fcm_service import FcmAnswer, FcmPush, FcmService
from tests.push.pushing_world import PushWorld

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
FASTEST_S, SLOWEST_S = 0.02, 0.4
"""How long a call is on its way to the service."""


class Network:
    """Brings calls to the service, in place of an `Egress`."""

    def __init__(self, service: FcmService, random: Random) -> None:
        self.service = service
        self._random = random

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float, answer_bytes: int
    ) -> Answer:
        assert (method, url) == ("POST", "https://fcm.googleapis.com/v1/projects/hubd-stand-in/messages:send")
        await asyncio.sleep(self._random.uniform(FASTEST_S, SLOWEST_S))
        answer = self.service.answer(headers["Authorization"], "hubd-stand-in", body)
        assert isinstance(answer, FcmAnswer)
        await asyncio.sleep(self._random.uniform(FASTEST_S, SLOWEST_S))
        return Answer(answer.status, answer.headers, answer.body)

    async def close(self) -> None:
        pass


class Owner:
    """What the credential needs of a plugin's hub, and the token endpoint."""

    def __init__(self, world: PushWorld, service: FcmService) -> None:
        self.clock = world.clock
        self.log = None
        self._world = world
        self._service = service

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return self._world.loop.create_task(work)

    def fetch(self) -> tuple[str, float]:
        return self._service.tokens.give(), 3600.0


class Day:
    """A hub, the backend, and the service that counts."""

    def __init__(self, *, notification: bool = False, limits: FcmLimits | None = None) -> None:
        self.random = Random(7)
        self.world = PushWorld()
        self.service = FcmService(clock=self.world.clock, limits=limits)
        self.backend = FcmBackend("hubd-stand-in", all_collapsible=notification)
        if limits is not None:
            self.backend.limits = self.backend.limits._replace(per_destination=(Rate(limits.project_minute, 60),))
        owner: Any = Owner(self.world, self.service)
        network: Any = Network(self.service, self.random)
        url = "https://fcm.googleapis.com/v1/projects/hubd-stand-in/messages:send"
        sender = HttpSender(url, Credential(owner, owner), network, self.world.clock)
        self.backend.begin(Messages(messaging, notification=notification, channel_id=""), sender, PluginLog("fcm"))
        self.world.backends["fcm"] = self.backend
        self.published: dict[str, list[tuple[str, float]]] = defaultdict(list)
        self._count = 0

    def device(self, user: str) -> None:
        address = self.backend.check({"token": f"phone-of-{user}"})
        self.world.loop.run_until_complete(self.world.hub.devices.put(user, "fcm", address))

    async def publish(self, user: str, **fields: Any) -> None:
        self._count += 1
        id = f"{user}-{self._count}"
        body = {"id": id, "to": f"user:{user}", "notification": {"type": "order"}, "priority": "critical", **fields}
        await self.world.hub.publish(self.world.hub.prepare(body), "backend")
        self.published[user].append((id, self.world.clock.monotonic()))

    async def every(self, mean_s: float, until_s: float, user: str, **fields: Any) -> None:
        """Publish to one user at irregular moments; a field that is a list is one of it each time."""
        while self.world.loop.now < until_s:
            await asyncio.sleep(self.random.expovariate(1 / mean_s))
            chosen = {name: self.random.choice(one) if isinstance(one, list) else one for name, one in fields.items()}
            await self.publish(user, **chosen)

    async def bursts(self, every_s: float, until_s: float, user: str, count: int, **fields: Any) -> None:
        """Publish so many at once, again and again."""
        while self.world.loop.now < until_s:
            for _ in range(count):
                await self.publish(user, **fields)
            await asyncio.sleep(every_s)

    def run(self, *work: Coroutine[Any, Any, Any], rest_s: float) -> None:
        """Do all this at the same time, and let so much time pass after it."""

        async def all_of_it() -> None:
            await asyncio.gather(*work)

        try:
            self.world.loop.run_until_complete(all_of_it())
            self.world.run(rest_s)
        finally:
            self.world.close()
        assert self.service.exceeded == []

    def pushes(self, user: str) -> dict[str, FcmPush]:
        """What the service took for a user, by id."""
        return {one.data["id"]: one for one in self.service.pushes if one.token == f"phone-of-{user}"}

    def waits(self, user: str) -> list[float]:
        """How long each that was published took until the service had it; all of them did."""
        pushes = self.pushes(user)
        assert [id for id, _ in self.published[user] if id not in pushes] == []
        return [pushes[id].at - at for id, at in self.published[user]]


def a_day(day: Day, seconds: float) -> None:
    users = [f"u{number}" for number in range(10)]
    for user in [*users, "flooded", "score", "rooms", "urgent"]:
        day.device(user)
    until_s = day.world.loop.now + seconds
    day.run(
        *(day.every(600, until_s, user) for user in users),
        day.bursts(2 * HOUR_S, until_s, "flooded", 1500, ttl=HOUR_S),
        day.every(30, until_s, "score", priority="important", collapse_key="score", ttl=HOUR_S),
        day.every(60, until_s, "rooms", priority="important", collapse_key=list("abcdefgh"), ttl=HOUR_S),
        day.every(120, until_s, "urgent", collapse_key=["x", "y"], ttl=HOUR_S),
        rest_s=2 * HOUR_S,
    )
    assert max(max(day.waits(user)) for user in users) < 5  # whatever others get
    assert max(day.waits("urgent")) < 5  # without its key when it would have to wait
    # Of 5,000 an hour a tenth comes at 240 a minute, and the rest evenly.
    assert max(day.waits("flooded")) < (500 / 240 * 60 + 1000 / 4500 * HOUR_S) * 1.1
    for user in ("score", "rooms"):  # of what replaces one another the latest comes, and not much later
        pushes = day.pushes(user)
        last, at = day.published[user][-1]
        assert pushes[last].at - at < 600
        assert 20 < len(pushes) < len(day.published[user])


def test_some_hours_of_it() -> None:
    a_day(Day(), 3 * HOUR_S)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_day() -> None:
    a_day(Day(), DAY_S)


def test_notification_messages_go_at_the_pace_of_collapsible_ones() -> None:
    day = Day(notification=True)
    for user in ("ada", "bob"):
        day.device(user)
    until_s = day.world.loop.now + 2 * HOUR_S
    day.run(
        day.bursts(3 * HOUR_S, until_s, "ada", 60, ttl=6 * HOUR_S),
        day.every(900, until_s, "bob"),
        rest_s=3 * HOUR_S,
    )
    assert sorted(day.waits("ada"))[19] < 60  # twenty at once
    assert 39 * 180 < max(day.waits("ada")) < 40 * 180 * 1.15
    assert max(day.waits("bob")) < 5


def test_the_project_s_quota_is_shared_and_nobody_starves() -> None:
    limits = FcmLimits(project_minute=600)
    day = Day(limits=limits)
    users = [f"u{number}" for number in range(20)]
    for user in users:
        day.device(user)
    until_s = day.world.loop.now + 60
    day.run(*(day.bursts(600, until_s, user, 150, ttl=HOUR_S) for user in users), rest_s=HOUR_S)
    assert max(max(day.waits(user)) for user in users) < 3000 / 600 * 60 * 1.3
