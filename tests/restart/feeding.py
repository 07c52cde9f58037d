"""Publishers that go on over an outage, and what they were told."""

import asyncio
import itertools
import random
from typing import NamedTuple

from hubd.publisher import Publisher
from tests.restart.daemon import Daemon

RETRY_S = 60.0


class Sent(NamedTuple):
    """One notification, and where in which epoch it stands, by the answer to its publisher."""

    mark: str
    to: str
    epoch: str
    sequence: int


class Feed:
    """A few publishers side by side, each one call after the other, ``pause_s`` apart."""

    def __init__(self, daemon: Daemon, users: int, topics: int, publishers: int, pause_s: float) -> None:
        self.sent: list[Sent] = []
        self.outages: list[str] = []
        self._daemon = daemon
        self._users = users
        self._topics = topics
        self._numbers = itertools.count()
        self._pause_s = pause_s
        self._on = True
        self._tasks = [asyncio.ensure_future(self._publish()) for _ in range(publishers)]

    async def _publish(self) -> None:
        async with Publisher(self._daemon.url, self._daemon.key, RETRY_S, self.outages.append) as publisher:
            while self._on:
                await self._send(publisher, self._addressee())
                await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))

    def _addressee(self) -> str:
        kind = random.random()
        if kind < 0.1:
            return "notifications"
        if kind < 0.5:
            return f"topic:{random.randrange(self._topics)}"
        return f"user:u{random.randrange(self._users)}:notifications"

    async def _send(self, publisher: Publisher, to: str) -> Sent:
        mark = f"n{next(self._numbers)}"
        body = {"to": to, "id": mark, "notification": {"type": "alert", "title": mark}}
        answer = await publisher.publish(body)
        epoch, _, sequence = answer["cursor"].rpartition("-")
        sent = Sent(mark, to, epoch, int(sequence))
        self.sent.append(sent)
        return sent

    async def to_all(self) -> Sent:
        """One more, to everybody."""
        async with Publisher(self._daemon.url, self._daemon.key, RETRY_S, self.outages.append) as publisher:
            return await self._send(publisher, "notifications")

    async def stop(self) -> None:
        """What is begun is brought to its end; nothing more is published."""
        self._on = False
        await asyncio.gather(*self._tasks)
