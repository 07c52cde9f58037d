"""The model of durable subscriptions: who is joined to what at each connect, and for how long."""

from collections.abc import Iterable, Mapping

from tests.model.surroundings import GRANT_S


class Durables:
    """By user and topic: None where the application made it, else when its permission was last found good, or wasn't.

    'A durable subscription that a user made for himself stores the permission it was made under, is checked again at
    each connect, and counts no more durable_grant_s after the last check; servers make and end them without limit.'
    """

    def __init__(self) -> None:
        self._by_server: dict[str, dict[str, None]] = {}
        self._own: dict[str, dict[str, tuple[float, bool]]] = {}

    def make(self, user: str, topics: Iterable[str], now: float | None) -> None:
        """Made: by the user at this time, or (None) by the application."""
        for topic in topics:
            if now is None:
                self._own.get(user, {}).pop(topic, None)
                self._by_server.setdefault(user, {})[topic] = None
            elif topic not in self._by_server.get(user, {}):
                self._own.setdefault(user, {})[topic] = (now, True)

    def end(self, user: str, topics: Iterable[str]) -> list[str]:
        """Ended; gives those that there were."""
        ended = []
        for topic in topics:
            own, given = self._own.get(user, {}), self._by_server.get(user, {})
            if topic in own or topic in given:
                own.pop(topic, None)
                given.pop(topic, None)
                ended.append(topic)
        return ended

    def lapse(self, now: float) -> None:
        """Those whose last good check is too long ago are no more."""
        for own in self._own.values():
            for topic, (checked_at, _) in list(own.items()):
                if now - checked_at >= GRANT_S:
                    del own[topic]

    def recheck(self, user: str, allowed: Iterable[str], now: float) -> list[str]:
        """The user connects with a token that allows these topics; gives those that he is joined to."""
        self.lapse(now)
        own = self._own.get(user, {})
        for topic, (checked_at, _) in list(own.items()):
            own[topic] = (now, True) if topic in allowed else (checked_at, False)
        return [*self._by_server.get(user, {}), *(topic for topic, (_, good) in own.items() if good)]

    def counting(self, user: str, now: float) -> Mapping[str, bool]:
        """The topics that count now, and whether the application made them."""
        self.lapse(now)
        found = dict.fromkeys(self._by_server.get(user, {}), True)
        return found | {topic: False for topic, (_, good) in self._own.get(user, {}).items() if good}
