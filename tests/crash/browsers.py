"""The browsers of the users of a hub that is killed: a push service in this process, and who registered what."""

import asyncio
import random
import time
from base64 import urlsafe_b64decode
from collections import defaultdict
from math import inf
from typing import Any, NamedTuple

import aiohttp

from hubd.push import capability
from hubd.testing.webpush_service import ArrivedPush, Fault, Scripted, WebPushService
from tests.crash.lives import Lives

AGAIN_S = 0.02
UNDER_WAY_S = 3.0
"""How long a push may have been under way to a busy process when it was no longer wanted."""
REGISTERED = 25
"""So many browsers are registered besides those that everybody has from the beginning."""
_FAULTS: tuple[Scripted | Fault, ...] = (
    Scripted(429, {"Retry-After": "1"}),
    Scripted(503),
    Scripted(500, after_s=0.1),
    Fault.RESET,
)


class Arrival(NamedTuple):
    """A push that the service took for one of a user's browsers."""

    at: float
    """Monotonic seconds."""
    id: str
    user: str


class Browsers:
    """``wrong`` is what pushes and devices weren't as they should be."""

    def __init__(
        self, lives: Lives, dice: random.Random, service: WebPushService, session: aiohttp.ClientSession
    ) -> None:
        self._lives = lives
        self._dice = dice
        self._service = service
        self._session = session
        self._key = ""
        self._home: set[str] = set()
        self._owners: dict[str, list[tuple[str, float]]] = defaultdict(list)
        """Whose each endpoint was, and until when; the last one may still be on his way."""
        self._registered: dict[str, tuple[dict[str, Any], str, str]] = {}
        self._seen: dict[tuple[str, str, str], tuple[str | None, dict[str, Any]]] = {}
        self.arrivals: list[Arrival] = []
        self.capabilities: dict[tuple[str, str], str] = {}
        """The first one that came for each notification and user."""
        self.repeats = 0
        self.wrong: list[str] = []
        service.on_push = self._on_push

    async def begin(self, users: list[str]) -> None:
        """Everybody has a browser; now and then its service is in trouble."""
        async with self._session.get(f"{self._lives.address}/api/push/vapid-public-key") as answer:
            self._key = (await answer.json())["key"]
        for user in users:
            subscription = self._service.subscribe(self._key)
            await self._register(subscription, user)
            self._home.add(subscription["endpoint"])
            faults = [self._dice.choice(_FAULTS) for _ in range(3)]
            self._service.answer(subscription["endpoint"], *faults)

    def _on_push(self, push: ArrivedPush) -> None:
        data = dict(push.data)
        id, proof = data["id"], data.pop("hub_capability")
        now, user = time.monotonic(), _user_in(proof)
        # Of a browser that has changed its owner both may get it, each by his own channel.
        before = self._seen.setdefault((id, push.endpoint, user), (push.topic, data))
        if before[1] is not data:
            self.repeats += 1
        if before != (push.topic, data):
            self.wrong.append(f"{id} was pushed as {before} and then as {(push.topic, data)}")
        self.arrivals.append(Arrival(now, id, user))
        self.capabilities.setdefault((id, user), proof)
        owners = self._owners[push.endpoint]
        if not any(owner == user and now <= until + UNDER_WAY_S for owner, until in owners):
            self.wrong.append(f"{id} of {user} came to a browser of {owners}, {now}")

    # Registering

    async def go_on(self, users: list[str]) -> None:
        """Some more come, change their owners, and go."""
        while True:
            await asyncio.sleep(self._dice.uniform(0.0, 0.1))
            endpoint = self._dice.choice([*self._registered])
            chance = self._dice.random()
            if chance < 0.5 and len(self._registered) < REGISTERED:
                await self._register(self._service.subscribe(self._key), self._dice.choice(users))
            elif chance < 0.8:
                subscription, user, _ = self._registered[endpoint]
                other = user if endpoint in self._home else self._dice.choice(users)
                await self._register(subscription, other)
            elif endpoint not in self._home:
                await self._drop(endpoint)

    async def _register(self, subscription: dict[str, Any], user: str) -> None:
        owners = self._owners[subscription["endpoint"]]
        owners.append((user, inf))
        while True:
            status, body = await self._ask("POST", "/api/push-subscriptions", user, subscription)
            if status in (200, 201):
                self._end(owners[:-1], owners)
                self._registered[subscription["endpoint"]] = subscription, user, body["id"]
                return
            await asyncio.sleep(AGAIN_S)

    async def _drop(self, endpoint: str) -> None:
        _, user, id = self._registered[endpoint]
        while (await self._ask("DELETE", f"/api/devices/{id}", user, None))[0] not in (204, 404):
            await asyncio.sleep(AGAIN_S)
        del self._registered[endpoint]
        self._end(owners := self._owners[endpoint], owners)

    def _end(self, over: list[tuple[str, float]], owners: list[tuple[str, float]]) -> None:
        """From now on it isn't theirs."""
        owners[: len(over)] = [(user, min(until, time.monotonic())) for user, until in over]

    async def _ask(self, method: str, path: str, user: str, body: Any) -> tuple[int, Any]:
        """0: nobody answered."""
        headers = {"Authorization": f"Bearer {self._lives.token(user)}"}
        try:
            async with self._session.request(method, self._lives.address + path, json=body, headers=headers) as answer:
                found = None if answer.status == 204 else await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return 0, None
        if answer.status >= 400 and answer.status not in (404, 503):
            self.wrong.append(f"{method} {path} was answered {answer.status} {found}")
        return answer.status, found

    # In the end

    async def check(self, users: list[str]) -> None:
        """All that were confirmed are there, each as its last owner's, and no others; and what came is worth an ack."""
        expected: dict[str, set[str]] = defaultdict(set)
        for _, user, id in self._registered.values():
            expected[user].add(id)
        for user in users:
            _, body = await self._ask("GET", "/api/devices", user, None)
            found = {device["id"] for device in body["devices"]}
            if found != expected[user]:
                self.wrong.append(f"{user} has the devices {sorted(found)}, and should have {sorted(expected[user])}")
        for (id, user), proof in list(self.capabilities.items())[:3]:
            headers = {"Authorization": f"Bearer {proof}"}
            url = f"{self._lives.address}/api/acks"
            async with self._session.post(url, json={"ids": [id]}, headers=headers) as answer:
                if answer.status != 200:
                    self.wrong.append(f"the ack of {id} by what {user} got with it was answered {answer.status}")


def _user_in(proof: str) -> str:
    """In whose name a capability is."""
    data = urlsafe_b64decode(proof.removeprefix(capability.PREFIX) + "==")
    return data[capability._MAC_BYTES + capability._TIMES.size :].decode()
