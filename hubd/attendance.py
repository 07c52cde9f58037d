"""Attendance: connections come, subscribe, resume, and go."""

import logging
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.channel import Channel, Kind, parse_channel
from hubd.core.connection import Connection, Visibility
from hubd.core.cursor import Cursor, cursor_text, read_cursor
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.presence import Presence, State
from hubd.core.registry import Registry
from hubd.core.replay import Replay, put_gaps
from hubd.core.ring import Rings
from hubd.core.subscriptions import DurableSubscriptions
from hubd.core.visits import Visits, visit_of
from hubd.core.watch import Watches
from hubd.counts import Counts
from hubd.hooks.observers import Observers
from hubd.log_events import log_event
from hubd.pump import WRITE_BYTES

log = logging.getLogger("hubd.attendance")
Fields = dict[str, Any]


class Attendance:
    """Who is here and what each connection gets. ``sequence`` is the last publication's number, of this ``epoch``."""

    def __init__(
        self,
        *,
        clock: Clock,
        epoch: str,
        rings: Rings,
        registry: Registry,
        presence: Presence,
        watches: Watches,
        durables: DurableSubscriptions,
        config: Config,
        counts: Counts,
        observers: Observers,
    ) -> None:
        self._observers = observers
        self._clock = clock
        self._epoch = epoch
        self._rings = rings
        self._registry = registry
        self._presence = presence
        self._watches = watches
        self._durables = durables
        self._counts = counts
        self.sequence = 0
        self.visits = Visits()
        self.on_came: Callable[[Connection, Cursor | None, bool], None] = lambda connection, cursor, resumes: None
        """Told of each connection that was attached, of its cursor, if it has a good one, and whether it resumes."""
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Go by these limits from now on; a connection keeps the topics that it has."""
        limits = config.limits
        self._limit = limits.subscriptions or sys.maxsize
        self._ping_s = limits.ping_s
        self._attention_s = config.delivery.attention_ttl_s
        self._replay_bytes = min(WRITE_BYTES, limits.queue_bytes // 4)  # what a replay adds never fills a queue

    def cursor(self, sequence: int | None = None) -> str:
        """The cursor of a sequence number, by default of the last one."""
        return cursor_text(self._epoch, self.sequence if sequence is None else sequence)

    def cursor_of(self, connection: Connection) -> str:
        """Where a connection stands once everything in its outbox has been received."""
        if not connection.replays:
            return self.cursor()
        return self.cursor(min(replay.position for replay in connection.replays))

    def attach(self, connection: Connection, topics: Iterable[str] = (), cursor: str | None = None) -> None:
        """Take in a connection: its place in the sequence is fixed when this returns, and nothing after is missed.

        Of ``topics`` those that it may not have are left out. With a cursor it replays from there.
        """
        now = self._clock.monotonic()
        self._rings.expire(now)
        user = self._registry.add(connection)
        replay, reason = self._replay_from(cursor) if cursor is not None else (None, "")
        position = self.sequence if replay is None else replay.position
        connection.since = position
        connection.came_at = self.sequence
        for name in self._durables.recheck(connection.identity, self._clock.now()):
            self._join(connection, name, position)
        for name in self._permitted(connection, topics):
            self._join(connection, name, position)
        self._presence.changed(user, now)
        gaps = replay.find_gaps(connection, self._rings) if replay is not None else []
        self._note_attached(connection, reason, len(gaps), replay is not None)
        if connection.control:
            welcome: Fields = {
                "hub": "welcome",
                "user": user.id,
                "connection": connection.id,
                "cursor": self.cursor(position),
                "topics": list(connection.topics),
                "ping_s": self._ping_s if connection.ping_s is None else connection.ping_s,
                "attention_s": self._attention_s,
            }
            if replay is not None:
                welcome["recovered"] = not gaps and not reason
            connection.put_control(welcome)
        if replay is None:
            connection.live = True
        else:
            put_gaps(connection, [None] if reason else [], reason)
            put_gaps(connection, gaps, "evicted")
            connection.replays.append(replay)
        self.on_came(connection, read_cursor(cursor or "") if not reason else None, replay is not None)

    def _note_attached(self, connection: Connection, reason: str, gaps: int, resumes: bool) -> None:
        transport = connection.transport_name
        self._counts.opened[transport] += 1
        if resumes:
            self._counts.note_resumed(reason, gaps)
        log_event(
            log,
            "connection_opened",
            connection=connection.id,
            user=connection.identity.user,
            address=connection.address,
            transport=transport,
            resumes=resumes,
        )
        if self._observers.connected.wanted:
            self._observers.connected.tell(connection.info)

    def _replay_from(self, text: str) -> tuple[Replay, str]:
        """The replay that a cursor asks for, and why it can't be honoured (empty: it can)."""
        cursor = read_cursor(text)
        if cursor is None or (cursor.epoch == self._epoch and cursor.sequence > self.sequence):
            return Replay(0, told=self.sequence), "bad_cursor"
        if cursor.epoch != self._epoch:
            return Replay(0, told=self.sequence), "epoch"
        return Replay(cursor.sequence), ""

    def _permitted(self, connection: Connection, topics: Iterable[str]) -> list[str]:
        found: dict[str, None] = {}
        for text in topics:
            try:
                channel = parse_channel(text)
            except Problem:
                continue
            if channel.kind is Kind.TOPIC and connection.identity.may_subscribe(channel):
                found[channel.name] = None
        fresh = [name for name in found if name not in connection.topics]
        return fresh[: self._room(connection)]

    def _room(self, connection: Connection) -> int:
        """How many more topics a connection may have. Those that the application's server gave its user don't count."""
        given = sum(grant.by_server for grant in self._durables.of(connection.identity.user).values())
        return max(0, self._limit + given - len(connection.topics))

    def _join(self, connection: Connection, name: str, since: int) -> None:
        if name in connection.topics:
            return
        if self._registry.join(connection, name, since):
            self._watches.joined(name, connection.identity.user)
        if self._observers.subscribed.wanted:
            self._observers.subscribed.tell(connection.identity.user, name, connection.info)

    def leave(self, connection: Connection, name: str) -> None:
        """Unsubscribe a connection from a topic; nothing happens where it isn't subscribed."""
        for replay in list(connection.replays):
            replay.leave(name)
            if replay.names == ():  # nothing of it is left to be read
                self._end_replay(connection, replay)
        if connection.missed is not None:
            connection.missed.pop(name, None)
        was_in = name in connection.topics
        if self._registry.leave(connection, name):
            self._watches.left(name, connection.identity.user)
        if was_in and self._observers.unsubscribed.wanted:
            self._observers.unsubscribed.tell(connection.identity.user, name, connection.info)

    def detach(self, connection: Connection, why: str = "gone") -> bool:
        """Take a connection off everything; False when it was off already. ``why`` is one word."""
        user = connection.user
        if user is None or connection not in self._registry.connections:
            return False
        now = self._clock.monotonic()
        self.visits.note(visit_of(connection, self.sequence, now, self._clock.now(), why))
        connection.live = False
        connection.replays.clear()
        self._watches.drop(connection)
        for name in self._registry.remove(connection, now):
            self._watches.left(name, user.id)
        self._presence.changed(user, now)
        if self._presence.state(user, now) is State.AWAY:  # without a grace nobody will come to forget him later
            self._registry.forget(user)
        return True

    def read_on(self, connection: Connection) -> None:
        """Let a resuming connection read some more; when nothing is left it turns live, in this very step."""
        replay = connection.replays[0]
        gaps, count = replay.gaps, replay.count
        is_through = replay.read(connection, self._rings, self.sequence, self._clock.monotonic(), self._replay_bytes)
        self._counts.gaps["evicted"] += replay.gaps - gaps
        self._counts.replayed += replay.count - count
        if not is_through:
            return
        self._end_replay(connection, replay)
        if not connection.replays:
            connection.live = True

    def _end_replay(self, connection: Connection, replay: Replay) -> None:
        if connection.replays[0] is replay:
            connection.gap_told = False  # what is missing in the next one is told anew
        connection.replays.remove(replay)
        if connection.replays:
            connection.replays[-1].go_on_from(replay)
        if replay.finish is not None:
            replay.finish(replay)

    def channels(self, connection: Connection, topics: str | Sequence[str], *, leaving: bool = False) -> list[Channel]:
        """The channels of these names, all of which the connection may have (or is ``leaving``); else a ``Problem``.

        ``topics`` stand in a list of that name; a single name stands in the field ``topic``.
        """
        found: dict[Channel, None] = {}
        errors = []
        for place, text in enumerate([topics] if isinstance(topics, str) else topics):
            try:
                found[parse_channel(text)] = None
            except Problem as problem:
                errors.append(FieldError("topic" if isinstance(topics, str) else f"topics.{place}", problem.message))
        if errors:
            raise invalid(errors)
        for channel in found:
            if not leaving and not connection.identity.may_subscribe(channel):
                raise Problem("forbidden", f"you may not subscribe to {channel.name!r}, or there is no such topic")
        return list(found)

    def check_room(self, connection: Connection, channels: Sequence[Channel]) -> None:
        """A ``Problem`` when these topics would be too many for the connection."""
        new = sum(channel.kind is Kind.TOPIC and channel.name not in connection.topics for channel in channels)
        if new > self._room(connection):
            raise Problem("subscription_limit", f"a connection may have {self._limit} subscriptions")

    def subscribe(
        self, connection: Connection, channels: Sequence[Channel], cursor: str | None, done: Callable[[Fields], None]
    ) -> None:
        """Join topics for which there is room; ``done`` gets the reply's fields, behind the replayed frames."""
        names = [channel.name for channel in channels]
        new = tuple(
            channel.name for channel in channels if channel.kind is Kind.TOPIC and channel.name not in connection.topics
        )
        if cursor is None or not new:
            for name in new:
                self._join(connection, name, self.sequence)
            recovered = {"recovered": True} if cursor is not None else {}
            done({"topics": names, **recovered, "replayed": 0, "cursor": self.cursor_of(connection)})
            return
        self._rings.expire(self._clock.monotonic())
        replay, reason = self._replay_from(cursor)
        replay.names, replay.reason = new, reason

        def finish(replay: Replay) -> None:
            self._counts.note_resumed(reason, 0, missed=replay.gaps)
            fields = {"topics": names, "recovered": not reason and not replay.gaps, "replayed": replay.count}
            done({**fields, "cursor": self.cursor_of(connection)})

        replay.finish = finish
        replay.end = self.sequence if connection.live else connection.replays[-1].position
        for name in new:
            self._join(connection, name, replay.position)
        self._start(connection, replay)

    def _start(self, connection: Connection, replay: Replay) -> None:
        """Replay topics that are new to a connection; if that takes longer, the connection resumes as a whole."""
        if not connection.live:
            if len(connection.replays) == 1:  # this one is read next, and its gaps are its own
                connection.gap_told = False
            connection.replays.insert(len(connection.replays) - 1, replay)
            return
        connection.live = False
        connection.replays += [replay, Replay(self.sequence)]
        self.read_on(connection)
        if len(connection.replays) == 1:  # the topics are through, and nothing was published meanwhile
            connection.replays.clear()
            connection.live = True

    def join_durables(self, user: str, topics: Collection[str]) -> None:
        """Join a user's connections to durable subscriptions just made; to his own, as far as their tokens allow it."""
        counting = [topic for topic in self._durables.counting(user, self._clock.now()) if topic in topics]
        grants = self._durables.of(user)
        for connection in self._registry.connections_of(user):
            for topic in counting:
                if grants[topic].by_server or connection.identity.may_subscribe(parse_channel(topic)):
                    self._join(connection, topic, self.sequence)

    def set_visibility(self, connection: Connection, visibility: Visibility) -> None:
        """The connection says whether its tab can be seen; 'visible' counts as input."""
        now = self._clock.monotonic()
        connection.visibility = visibility
        if visibility is Visibility.VISIBLE:
            connection.input_at = now
        assert connection.user is not None
        self._presence.changed(connection.user, now)

    def attention_ended(self, connection: Connection) -> None:
        """Its tab is visible, but there has been no input for too long."""
        assert connection.user is not None
        self._presence.changed(connection.user, self._clock.monotonic())

    def recheck(self, connection: Connection) -> None:
        """Its identity has changed (a fresh token): leave the topics that the new one doesn't allow."""
        counting = self._durables.recheck(connection.identity, self._clock.now())
        for name in list(connection.topics):
            if name not in counting and not connection.identity.may_subscribe(parse_channel(name)):
                self.leave(connection, name)
        for topic in list(connection.watching or ()):
            if not connection.identity.may_subscribe(parse_channel(topic)):
                self._watches.unwatch(connection, topic)
