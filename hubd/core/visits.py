"""Visits: what is remembered of connections that are gone, so that it can be told what they were given."""

from collections import deque
from typing import NamedTuple

from hubd.core.connection import Connection

VISITS = 20_000
TOPICS = 200_000
"""How many visits are remembered, and how many topics they had together; the oldest are forgotten."""


class Visit(NamedTuple):
    """A connection from its coming to its end; one that is still there has neither ``ended_at`` nor ``why``.

    ``opened_at`` and ``ended_at`` are Unix seconds. ``came_at`` and ``gone_at`` are the hub's sequence number when it
    came and when it went (or now), ``through`` is how far it had read by then; ``since``, ``topics`` and ``missed`` are
    as in ``Connection``. ``waiting``: its socket took no more.
    """

    connection: str
    user: str
    transport: str
    acks: bool
    visibility: str | None
    opened_at: float
    ended_at: float
    why: str
    came_at: int
    gone_at: int
    since: int
    through: int
    topics: tuple[tuple[str, int], ...]
    missed: dict[str, list[tuple[int, int]]] | None
    waiting: bool

    def topic_since(self, topic: str) -> int | None:
        """The sequence number after which it got what was published to a topic; None: it wasn't subscribed to it."""
        return next((since for name, since in self.topics if name == topic), None)

    def has_missed(self, channel: str, sequence: int) -> bool:
        """Whether what was published to a channel under this number was evicted before it could be read."""
        return any(after < sequence <= through for after, through in (self.missed or {}).get(channel, ()))


def visit_of(connection: Connection, sequence: int, now: float, wall: float, why: str = "") -> Visit:
    """The visit of a connection as it is now, at this place in the sequence; with a ``why`` it ends now."""
    replays = connection.replays
    return Visit(
        connection=connection.id,
        user=connection.identity.user,
        transport=connection.transport_name,
        acks=connection.acks,
        visibility=connection.visibility.value if connection.visibility else None,
        opened_at=wall - (now - connection.opened_at),
        ended_at=wall if why else 0.0,
        why=why,
        came_at=connection.came_at,
        gone_at=sequence,
        since=connection.since,
        through=min(replay.position for replay in replays) if replays else sequence,
        topics=tuple(connection.topics.items()),
        missed=connection.missed,
        waiting=connection.paused,
    )


class Visits:
    """The last visits that have ended, by user."""

    def __init__(self, limit: int = VISITS, topics: int = TOPICS) -> None:
        self._limit = limit
        self._topics_limit = topics
        self._topics = 0
        self._all: deque[Visit] = deque()
        self._of_user: dict[str, deque[Visit]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def note(self, visit: Visit) -> None:
        """A visit has ended."""
        self._all.append(visit)
        self._of_user.setdefault(visit.user, deque()).append(visit)
        self._topics += len(visit.topics)
        while len(self._all) > self._limit or self._topics > self._topics_limit:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._all.popleft()
        self._topics -= len(oldest.topics)
        of_user = self._of_user[oldest.user]
        of_user.popleft()
        if not of_user:
            del self._of_user[oldest.user]

    def of(self, user: str) -> list[Visit]:
        """A user's visits, in the order in which they ended."""
        return list(self._of_user.get(user, ()))
