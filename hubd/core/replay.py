"""Replay: what a connection that came back still has to read from the rings, and the gaps it is told of.

A connection that resumes is not put live at once. It reads the rings in sequence, as much as its transport takes, and
turns live in the step in which nothing is left to read. So a long replay can't overrun a queue, and no live frame can
overtake a replayed one.
"""

from collections.abc import Callable
from typing import Any

from hubd.core.codec import channel_for, frame_of
from hubd.core.connection import Connection
from hubd.core.notification import Notification
from hubd.core.ring import Entry, Rings


class Replay:
    """One stretch of the sequence to be read: everything after ``position`` through ``end`` (None: until caught up).

    ``names`` limits it to some topics, newly subscribed ones; then what already reached the connection by another of
    its channels is left out. ``told``: gaps through this sequence number have been told. ``reason``: why its cursor
    couldn't be honoured, if that is still to be told. ``finish`` is called once, when it is through.
    """

    __slots__ = ("_looked", "_told_of", "count", "end", "finish", "gaps", "names", "position", "reason", "told")

    def __init__(
        self,
        position: int,
        end: int | None = None,
        names: tuple[str, ...] | None = None,
        told: int = 0,
        finish: Callable[["Replay"], None] | None = None,
    ) -> None:
        self.position = position
        self.end = end
        self.names = names
        self.told = told
        self.finish = finish
        self.reason = ""
        self.count = 0
        self.gaps = 0
        self._told_of: dict[str, int] = {}
        self._looked: tuple[int, tuple[str, ...]] | None = None  # at what there was of gaps, and in which channels

    def find_gaps(self, connection: Connection, rings: Rings) -> list[str | None]:
        """The channels (None: any) from which something after the position was evicted, each told once."""
        found: list[str | None] = []
        names = self._names(connection)  # none: its topics have been left meanwhile
        if self._looked == (rings.losses, names):  # all that there is has been found
            return found
        self._looked = (rings.losses, names)
        if names and rings.floor > max(self.position, self.told):
            found.append(None)
            self.told = rings.floor
            self._told_of = {name: max(told, rings.floor) for name, told in self._told_of.items()}
        for name in names:
            evicted = rings.evicted(name)
            since = self.position
            if name in connection.topics and self.names is None:
                since = max(since, connection.topics[name])
            if (lost := max(evicted, rings.floor)) > since:
                connection.miss(name, since, lost)
            if evicted > max(since, self._told_of.get(name, self.told)):
                found.append(name)
                self._told_of[name] = evicted
        self.gaps += len(found)
        return found

    def read(self, connection: Connection, rings: Rings, upto: int, now: float, budget: int) -> bool:
        """Put what comes next into the outbox, some ``budget`` bytes of it; True when everything is read."""
        names = self._names(connection)
        if self.reason:
            put_gaps(connection, [None], self.reason)
            self.reason = ""
        put_gaps(connection, self.find_gaps(connection, rings), "evicted")
        end = upto if self.end is None else self.end
        for entry in rings.after(names, self.position):
            if entry.sequence > end:
                break
            if entry.sequence <= self.position:
                continue  # the same notification in another of its rings
            self.position = entry.sequence
            channel = self._channel(connection, entry, names) if entry.notification.expires_at > now else None
            if channel is None or _is_kept_from(connection, entry.notification, rings):
                continue
            frame = frame_of(entry.notification, channel, connection.form)
            connection.outbox.append(frame)
            self._record(connection, entry, rings, channel)
            self.count += 1
            budget -= len(frame)
            if budget <= 0:
                return False
        self.position = end
        return True

    def _record(self, connection: Connection, entry: Entry, rings: Rings, channel: str) -> None:
        """Whoever comes late to a topic is one of those it was sent to, once he has it."""
        assert connection.user is not None
        notification = entry.notification
        rings.replayed(notification, connection)
        if connection.missed is not None:
            connection.found(channel, entry.sequence)
        if channel in connection.topics and notification.record_replay(channel, connection.user.number):
            rings.note_user(notification)

    def go_on_from(self, before: "Replay") -> None:
        """Topics that another replay has read through belong to this one now; of their gaps it has told its own."""
        self._looked = None
        for name in before.names or ():
            self._told_of[name] = before._told_of.get(name, before.told)

    def leave(self, name: str) -> None:
        """The connection has left a topic: it isn't read any more, not even if the connection comes back to it."""
        if self.names is not None:
            self.names = tuple(other for other in self.names if other != name)

    def _names(self, connection: Connection) -> tuple[str, ...]:
        return connection.names() if self.names is None else self.names

    def _channel(self, connection: Connection, entry: Entry, names: tuple[str, ...]) -> str | None:
        """By which channel the connection is to get this entry; None when it isn't, or has it already."""
        notification = entry.notification
        if self.names is None:
            if len(notification.channels) == 1:
                only = entry.ring.name
                return only if connection.since_of(only) < entry.sequence else None
            name = channel_for(notification, names)
            if name is None or connection.since_of(name) < entry.sequence:
                return name
            return channel_for(notification, [name for name in names if connection.since_of(name) < entry.sequence])
        if len(notification.channels) > 1:
            # What waits to be replayed behind this one hasn't reached it either.
            unread = {*self.names, *(name for replay in connection.replays for name in replay.names or ())}
            others = [name for name in connection.names() if name not in unread]
            if channel_for(notification, [name for name in others if connection.had(name, entry.sequence)]):
                return None
        return channel_for(notification, names)


def _is_kept_from(connection: Connection, notification: Notification, rings: Rings) -> bool:
    """Whether gates keep it from whom the connection is of."""
    assert connection.user is not None
    rings.judge_late(notification, connection.user.number)
    return notification.excludes(connection.user.number)


def put_gaps(connection: Connection, channels: list[str | None], reason: str) -> None:
    """Tell a connection of gaps: every one under hubd.v1; a plain connection hears of one in each replay."""
    if not channels:
        return
    if connection.control:
        for channel in channels:
            connection.put_gap(gap_fields(channel, reason))
    elif not connection.gap_told:
        connection.put_gap(gap_fields(channels[0] if len(channels) == 1 else None, reason))
    connection.gap_told = True


def gap_fields(channel: str | None, reason: str) -> dict[str, Any]:
    """The control frame that tells of a gap."""
    return {"hub": "gap", "channel": channel, "reason": reason}
