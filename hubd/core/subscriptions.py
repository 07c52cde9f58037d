"""Durable subscriptions: which topics a user is joined to at each connect, and under what permission."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from hubd.core.channel import parse_channel
from hubd.core.identity import Identity
from hubd.core.users import Audience, Snapshot, UserNumbers, UserSet


@dataclass(slots=True)
class Grant:
    """Why a durable subscription counts.

    One that the application's server made counts without limit. One that a user made for himself stands on the
    permission of his token (``patterns``): it is checked again at each connect (``checked_at``, Unix seconds), and
    while the last check found it missing (``allowed``), or is too long ago, it counts for nothing. ``stored_at`` is the
    check that a store knows of: 0 when it doesn't know what there is now.
    """

    by_server: bool
    patterns: tuple[str, ...] = ()
    checked_at: float = 0.0
    allowed: bool = True
    stored_at: float = field(default=0.0, compare=False, repr=False)


class DurableSubscriptions(Protocol):
    """What keeps durable subscriptions. Reading is from memory; a change has been kept when its call returns.

    ``changes`` goes up whenever somebody begins or ceases to be among the ``subscribers`` of a topic.
    """

    changes: int

    async def put(self, user: str, topic: str, grant: Grant) -> bool:
        """Make or renew one; True when it is new. A user's own never takes the place of the server's."""
        ...

    async def end(self, user: str, topic: str) -> bool:
        """End one; False when there was none."""
        ...

    def of(self, user: str) -> dict[str, Grant]:
        """A user's durable subscriptions by topic, also those that don't count at the moment."""
        ...

    def count(self, user: str) -> int:
        """How many a user has, with those that are just being made."""
        ...

    def counting(self, user: str, now: float) -> list[str]:
        """The topics of those that count now (Unix seconds)."""
        ...

    def recheck(self, identity: Identity, now: float) -> list[str]:
        """A user connects: check his permissions again. Gives the topics that he is to be joined to."""
        ...

    def subscribers(self, topic: str) -> Snapshot:
        """The numbers of the users whose durable subscription to a topic counts; not to be changed."""
        ...

    def lapse(self, now: float) -> None:
        """Let go of those whose last check is too long ago."""
        ...


_NOBODY = Snapshot(UserSet())


class MemorySubscriptions:
    """Durable subscriptions for as long as the process lives.

    ``grant_s``: for how long a user's own counts after the last check; it may be set anew at any time.
    """

    def __init__(self, numbers: UserNumbers, grant_s: float) -> None:
        self._numbers = numbers
        self.grant_s = grant_s
        self.changes = 0
        self._of: dict[str, dict[str, Grant]] = {}
        self._subscribers: dict[str, Audience] = {}
        self._own: OrderedDict[tuple[str, str], Grant] = OrderedDict()  # users' own, by time of the last check

    async def put(self, user: str, topic: str, grant: Grant) -> bool:
        """Make or renew one; True when it is new."""
        return self._put(user, topic, grant)

    def _put(self, user: str, topic: str, grant: Grant) -> bool:
        topics = self._of.setdefault(user, {})
        before = topics.get(topic)
        if before is not None and before.by_server and not grant.by_server:
            return False
        topics[topic] = grant
        self._own.pop((user, topic), None)
        if not grant.by_server:
            self._own[user, topic] = grant
        if before is None:
            self._numbers.hold(user)
        self._count(user, topic, grant.allowed)
        return before is None

    async def end(self, user: str, topic: str) -> bool:
        """End one; False when there was none."""
        return self._end(user, topic)

    def _end(self, user: str, topic: str) -> bool:
        topics = self._of.get(user)
        if topics is None or topic not in topics:
            return False
        del topics[topic]
        if not topics:
            del self._of[user]
        self._own.pop((user, topic), None)
        self._count(user, topic, False)
        number = self._numbers.find(user)
        assert number is not None
        self._numbers.release(number)
        return True

    def _count(self, user: str, topic: str, counts: bool) -> None:
        self.changes += 1
        number = self._numbers.find(user)
        assert number is not None
        if counts:
            self._subscribers.setdefault(topic, Audience()).add(number)
        elif (subscribers := self._subscribers.get(topic)) is not None:
            subscribers.discard(number)
            if not subscribers.users:
                del self._subscribers[topic]

    def all(self) -> Iterator[tuple[str, str, Grant]]:
        """Every one: user, topic, and why it counts."""
        for user, topics in self._of.items():
            for topic, grant in topics.items():
                yield user, topic, grant

    def put_back(self, them: Iterable[tuple[str, str, Grant]]) -> None:
        """Have again what ``all`` gave; there must be none yet."""
        for user, topic, grant in them:
            self._put(user, topic, grant)
        self._own = OrderedDict(sorted(self._own.items(), key=lambda one: one[1].checked_at))

    def of(self, user: str) -> dict[str, Grant]:
        """A user's durable subscriptions by topic."""
        return self._of.get(user, {})

    def count(self, user: str) -> int:
        """How many a user has."""
        return len(self._of.get(user, ()))

    def counting(self, user: str, now: float) -> list[str]:
        """The topics of those that count now."""
        self.lapse(now)
        return [topic for topic, grant in self.of(user).items() if grant.allowed]

    def recheck(self, identity: Identity, now: float) -> list[str]:
        """Check a connecting user's permissions again; gives the topics that he is to be joined to."""
        self.lapse(now)
        user = identity.user
        for topic, grant in self.of(user).items():
            if grant.by_server:
                continue
            before = grant.allowed, grant.patterns
            grant.allowed = identity.may_subscribe(parse_channel(topic))
            if grant.allowed:
                grant.checked_at = now
                grant.patterns = identity.topics.texts
                self._own.move_to_end((user, topic))
            if (grant.allowed, grant.patterns) != before:
                grant.stored_at = 0.0
            self._count(user, topic, grant.allowed)
            self._checked(user, topic, grant)
        return [topic for topic, grant in self.of(user).items() if grant.allowed]

    def _checked(self, user: str, topic: str, grant: Grant) -> None:
        """A user's permission for one has been checked again."""

    def _lapsed(self, user: str, topic: str) -> None:
        """One has ended because its last check is too long ago."""

    def subscribers(self, topic: str) -> Snapshot:
        """The numbers of the users whose durable subscription to a topic counts; not to be changed."""
        found = self._subscribers.get(topic)
        return found.snapshot() if found is not None else _NOBODY

    def lapse(self, now: float) -> None:
        """Let go of those whose last check is too long ago."""
        while self._own:
            (user, topic), grant = next(iter(self._own.items()))
            if now - grant.checked_at < self.grant_s:
                break
            self._end(user, topic)
            self._lapsed(user, topic)
