"""Durable subscriptions as the hub makes and ends them: with their limit, told to plugins, joined on connections."""

from collections.abc import Callable

from hubd.attendance import Attendance
from hubd.clock import Clock
from hubd.config import Config
from hubd.core.errors import Problem
from hubd.core.identity import Identity
from hubd.core.registry import Registry
from hubd.core.subscriptions import Grant, MemorySubscriptions
from hubd.hooks.observers import Observers


class Subscribing:
    """Makes users' subscriptions for good, and ends them."""

    def __init__(
        self,
        *,
        clock: Clock,
        durables: MemorySubscriptions,
        registry: Registry,
        attendance: Attendance,
        observers: Observers,
        config: Config,
    ) -> None:
        self._clock = clock
        self._durables = durables
        self._registry = registry
        self._attendance = attendance
        self._observers = observers
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Go by this config from now on."""
        self._most = config.limits.subscriptions

    async def make_durable(
        self,
        user: str,
        topics: list[str],
        identity: Identity | None,
        join_first: Callable[[], None] = lambda: None,
    ) -> list[str]:
        """Subscribe a user for good: by his own token's permission, or (None) by the application's server.

        His connections are joined; before that ``join_first`` may join the one that asked, which may want a replay.
        Gives those of the topics that are new.
        """
        have = self._durables.of(user)
        new = sum(topic not in have for topic in topics)
        if self._most and identity is not None and self._durables.count(user) + new > self._most:
            raise Problem("subscription_limit", f"a user may have {self._most} durable subscriptions")
        made: list[str] = []
        for topic in topics:
            patterns = identity.topics.texts if identity is not None else ()
            grant = Grant(by_server=identity is None, patterns=patterns, checked_at=self._clock.now())
            if await self._durables.put(user, topic, grant):
                made.append(topic)
                self._observers.subscribed.tell(user, topic, None)
        join_first()
        self._attendance.join_durables(user, topics)
        return made

    async def end_durable(self, user: str, topics: list[str]) -> list[str]:
        """End durable subscriptions, also on the connections that are there; gives those that there were."""
        ended = [topic for topic in topics if await self._durables.end(user, topic)]
        for topic in ended:
            self._observers.unsubscribed.tell(user, topic, None)
        for connection in self._registry.connections_of(user):
            for topic in ended:
                self._attendance.leave(connection, topic)
        return ended
