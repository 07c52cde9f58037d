"""Who is here: connections by user and by topic."""

from collections.abc import Collection

from hubd.core.channel import Channel, Kind, user_channel
from hubd.core.connection import Connection
from hubd.core.users import Audience, Snapshot, UserNumbers, UserSet


class User:
    """A user who is connected, or was a moment ago (``gone_at``, monotonic seconds)."""

    __slots__ = ("_alone", "channel", "connections", "gone_at", "id", "number")

    def __init__(self, id: str, number: int) -> None:
        self.id = id
        self.number = number
        self._alone: Snapshot | None = None
        self.channel = user_channel(id)
        self.connections: tuple[Connection, ...] = ()
        self.gone_at = 0.0

    @property
    def alone(self) -> Snapshot:
        """The set of just this user."""
        if self._alone is None:
            self._alone = Snapshot(UserSet((self.number,)))
        return self._alone


class Topic:
    """A topic that somebody is subscribed to live: its connections, in order of joining, and their users."""

    __slots__ = ("audience", "connections")

    def __init__(self) -> None:
        self.connections: dict[Connection, None] = {}
        self.audience = Audience()

    def add(self, connection: Connection, user: User) -> bool:
        """Join; True when he is the first of his user's."""
        self.connections[connection] = None
        if user.number in self.audience.users:
            return False
        self.audience.add(user.number)
        return True

    def discard(self, connection: Connection, user: User) -> bool:
        """Leave; True when no other connection of the user is left here."""
        del self.connections[connection]
        if any(other in self.connections for other in user.connections):
            return False
        self.audience.discard(user.number)
        return True


class Registry:
    """Connections by user and by topic; everything that a publication needs to find its recipients."""

    def __init__(self, numbers: UserNumbers) -> None:
        self.connections: dict[Connection, None] = {}
        self.users: dict[str, User] = {}
        self.topics: dict[str, Topic] = {}
        self.present = Audience()  # the users of all connections
        self.known = Audience()  # those, and who was here a moment ago
        self.plain = Audience()  # those who have a connection that doesn't ack
        self.changes = 0
        """Goes up whenever somebody comes, goes, joins or leaves."""
        self._numbers = numbers

    def add(self, connection: Connection) -> User:
        """Take a connection in, under its identity's user; it has no topics yet."""
        self.changes += 1
        id = connection.identity.user
        user = self.users.get(id)
        if user is None:
            user = self.users[id] = User(id, self._numbers.hold(id))
            self.known.add(user.number)
        if not user.connections:
            self.present.add(user.number)
        if not connection.acks:
            self.plain.add(user.number)
        user.connections = (*user.connections, connection)
        connection.user = user
        self.connections[connection] = None
        return user

    def remove(self, connection: Connection, now: float) -> list[str]:
        """Take a connection out, of its topics too; gives the topics that its user left by that."""
        self.changes += 1
        user = connection.user
        assert user is not None
        del self.connections[connection]
        left = [name for name in list(connection.topics) if self.leave(connection, name)]
        user.connections = tuple(other for other in user.connections if other is not connection)
        if not user.connections:
            user.gone_at = now
            self.present.discard(user.number)
        if not connection.acks and all(other.acks for other in user.connections):
            self.plain.discard(user.number)
        return left

    def forget(self, user: User) -> None:
        """Drop the record of a user who has no connection."""
        if not user.connections and self.users.get(user.id) is user:
            del self.users[user.id]
            self.known.discard(user.number)
            self._numbers.release(user.number)

    def join(self, connection: Connection, name: str, since: int) -> bool:
        """Subscribe a connection to a topic; True when its user is new there."""
        self.changes += 1
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = Topic()
        connection.topics[name] = since
        assert connection.user is not None
        return topic.add(connection, connection.user)

    def leave(self, connection: Connection, name: str) -> bool:
        """Unsubscribe a connection from a topic; True when its user is gone from there."""
        if connection.topics.pop(name, None) is None:
            return False
        self.changes += 1
        topic = self.topics[name]
        assert connection.user is not None
        gone = topic.discard(connection, connection.user)
        if not topic.connections:
            del self.topics[name]
        return gone

    def members(self, channel: Channel) -> Collection[Connection]:
        """The connections that are subscribed to a channel, in order of joining."""
        if channel.kind is Kind.BROADCAST:
            return self.connections
        if channel.kind is Kind.USER:
            user = self.users.get(channel.user)
            return user.connections if user else ()
        topic = self.topics.get(channel.name)
        return topic.connections if topic else ()

    def connections_of(self, user: str) -> tuple[Connection, ...]:
        """All connections of a user, the oldest first."""
        found = self.users.get(user)
        return found.connections if found else ()
