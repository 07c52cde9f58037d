"""The hub: the composition root, and the way of a notification from its draft to the outboxes."""

import logging
import resource
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hubd.attendance import Attendance
from hubd.broker import Broker, LocalBroker
from hubd.clock import Clock
from hubd.config import Config
from hubd.core.channel import Channel, Kind, parse_channel
from hubd.core.codec import ControlFrame
from hubd.core.connection import Connection
from hubd.core.errors import REVOKED, TOO_MANY, Disconnect, Problem
from hubd.core.identity import Identity, warn_at
from hubd.core.notification import PRIORITY_OF, Notification, Persistence
from hubd.core.presence import Presence, State
from hubd.core.publish import Bounds, Draft, TypeDefaults, read_draft
from hubd.core.rate import Rates
from hubd.core.registry import Registry
from hubd.core.subscriptions import Grant
from hubd.core.users import Snapshot
from hubd.core.watch import LISTED, Watches
from hubd.counts import Counts
from hubd.ids import Ids
from hubd.log_events import log_event
from hubd.memory import Memory, Receipt
from hubd.pump import FEW, Pump

log = logging.getLogger("hubd")

FILES_RESERVED = 200
"""Open files that are kept for other things than connections, where the limit of connections follows from them."""


class Hub:
    """Everything that is known about channels, connections and notifications in this process.

    ``call_soon`` runs a function in the loop's next turn; ``memory`` is what an earlier hub left. Nothing in here waits
    but ``publish``, for its broker.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        ids: Ids,
        call_soon: Callable[[Callable[[], None]], Any],
        broker: Broker | None = None,
        memory: Memory | None = None,
    ) -> None:
        limits = config.limits
        self._memory = memory = memory or Memory(config, clock, ids.epoch())
        self.clock = clock
        self.ids = ids
        self.counts = Counts()
        self.numbers = memory.numbers
        self.rings = memory.rings
        self.registry = Registry(self.numbers)
        self.presence = Presence(config.delivery.grace_s, config.delivery.attention_ttl_s, self._on_presence)
        self.watches = Watches()
        self.durables = memory.durables
        self.rates = Rates()
        self.attendance = Attendance(
            clock=clock,
            epoch=memory.epoch,
            rings=self.rings,
            registry=self.registry,
            presence=self.presence,
            watches=self.watches,
            durables=self.durables,
            config=config,
            counts=self.counts,
        )
        self.pump = Pump(call_soon, limits.queue_bytes, self._on_slow, self.attendance.read_on, self.counts)
        self.on_presence: list[Callable[[str, State, State], None]] = []
        self.stopping = False
        self._answers = memory.answers
        self._broker = broker or LocalBroker()
        self.attendance.sequence = memory.sequence
        self._broker.start(self._on_publication, memory.sequence)
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Go by this config from now on; who and what is here stays. Nothing in here can fail half-way."""
        limits, replay, delivery = config.limits, config.replay, config.delivery
        self.config = config
        self._bounds = Bounds(limits.message_bytes, limits.json_depth, limits.json_keys)
        self._answers.window_s, self._answers.entries = limits.id_window_s, limits.id_entries
        self.rings.resize(replay.per_channel, replay.ttl_s, replay.max_bytes)
        self.presence.set_times(delivery.grace_s, delivery.attention_ttl_s)
        self.durables.grant_s = config.auth.durable_grant_s
        self.pump.queue_bytes = limits.queue_bytes
        self.attendance.apply(config)

    # The way of a notification

    def prepare(self, body: Any) -> Draft:
        """Check a publish body and fill in what its type decides; a ``Problem`` names all that is wrong."""
        return read_draft(body, self._defaults, self._bounds)

    def _defaults(self, type_: str) -> TypeDefaults:
        options = self.config.type_options(type_)
        return TypeDefaults(PRIORITY_OF[options.priority], Persistence(options.persistence), options.ttl_s)

    async def publish(self, draft: Draft, publisher: str, sender: str | None = None) -> tuple[Receipt, bool]:
        """Publish once; the answer, and whether an earlier call with the same id has it already been for.

        ``publisher`` is whose ids these are (an API key, a user); ``sender`` the user who published, if it was one.
        """
        result = "failed"
        try:
            receipt, again = await self._publish_once(draft, publisher, sender)
            result = "duplicate" if again else "accepted"
        except Problem:
            result = "refused"
            raise
        finally:
            self.counts.published[result, draft.priority.word] += 1
        return receipt, again

    async def _publish_once(self, draft: Draft, publisher: str, sender: str | None) -> tuple[Receipt, bool]:
        if self.stopping:
            raise Problem("unavailable", "the hub is stopping; try again", retry_after=1.0)
        id = draft.id
        if id is None:
            return await self._publish(draft, self.ids.notification(), sender), False
        return await self._answers.once(
            publisher,
            id,
            draft.fingerprint(),
            lambda: self._publish(draft, id, sender),
            table=publisher if sender is None else "users",
        )

    async def _publish(self, draft: Draft, id: str, sender: str | None) -> Receipt:
        notification = Notification(
            id=id,
            payload=draft.payload,
            channels={channel.name: place for place, channel in enumerate(draft.channels)},
            priority=draft.priority,
            persistence=draft.persistence,
            sent_at=int(self.clock.now() * 1000),
            expires_at=self.clock.monotonic() + draft.ttl_s,
            live_only=draft.ttl_s == 0,
            collapse_key=draft.collapse_key,
            group=draft.group,
            sender=sender,
        )
        published = await self._broker.publish(notification)
        receipt = Receipt(id, self.attendance.cursor(published.sequence), published.live)
        log_event(log, "published", id=id, cursor=receipt.cursor, priority=draft.priority.word, live=receipt.live)
        return receipt

    def _on_publication(self, sequence: int, notification: Notification) -> int:
        """Append and fan out, in one step; gives for how many connections it was queued."""
        now = self.clock.monotonic()
        self.attendance.sequence = sequence
        notification.sequence = sequence
        notification.cursor = self.attendance.cursor()
        channels = [parse_channel(name) for name in notification.channels]
        for channel in channels:
            self.rates.note(channel.name, now)
        if not notification.live_only:
            notification.audience = self._audience(channels)
        self.rings.append(notification, now)
        if len(channels) == 1:
            return self._fan_out(notification, channels[0])
        return self._fan_out_to_many(notification, channels)

    def _audience(self, channels: list[Channel]) -> tuple[tuple[str, Snapshot], ...]:
        """Whom the notification is meant for, as far as its channels' names don't say it."""
        sets = []
        for channel in channels:
            if channel.kind is Kind.TOPIC:
                if (topic := self.registry.topics.get(channel.name)) is not None:
                    sets.append((channel.name, topic.audience.snapshot()))
                if subscribers := self.durables.subscribers(channel.name):
                    sets.append((channel.name, subscribers))
        return tuple(sets)

    def _fan_out(self, notification: Notification, channel: Channel) -> int:
        recipients = self.registry.members(channel)
        if len(recipients) <= FEW:
            live = self.pump.fan_out_now(notification, channel.name, list(recipients))
        else:
            live = self.pump.fan_out(notification, channel.name, recipients)
            self.pump.run_soon()
        # One that is resuming reads it from the ring; what is live only it doesn't get.
        return live if notification.live_only else len(recipients)

    def _fan_out_to_many(self, notification: Notification, channels: list[Channel]) -> int:
        """Each recipient gets it once, by the first of the channels that he is subscribed to."""
        reached: dict[Connection, None] = {}
        live = 0
        for channel in channels:
            fresh = [connection for connection in self.registry.members(channel) if connection not in reached]
            live += self.pump.fan_out(notification, channel.name, fresh)
            reached.update(dict.fromkeys(fresh))
        self.pump.run_soon()
        return live if notification.live_only else len(reached)

    def retract(self, notification: Notification) -> None:
        """Take a notification back: out of the rings, and off the screens of those who have it."""
        self.rings.retract(notification, self.clock.monotonic())
        told: dict[Connection, None] = {}
        for name in notification.channels:
            told.update(dict.fromkeys(self.registry.members(parse_channel(name))))
        self._tell(told, {"hub": "retract", "ids": [notification.id]})

    def _tell(self, connections: Iterable[Connection], fields: dict[str, Any]) -> None:
        """Give a control frame to those connections that take control frames."""
        frame = ControlFrame(fields)
        for connection in connections:
            if connection.control:
                connection.outbox.append(frame.of(connection.form))
                self.pump.schedule(connection)

    # Connections

    def refusal(self, identity: Identity) -> Disconnect | None:
        """Why one more connection of this user can't be; None: it can."""
        limit = self.config.limits.per_user
        return TOO_MANY if limit and len(self.registry.connections_of(identity.user)) >= limit else None

    def is_full(self, strangers: int = 0) -> bool:
        """Whether the limit of connections is reached; ``strangers`` haven't said yet who they are, and count too."""
        limit = self.config.limits.connections or max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_RESERVED)
        return len(self.registry.connections) + strangers >= limit

    def end(self, connection: Connection, why: Disconnect, retry_after: float = 0.0) -> None:
        """Take a connection off everything, then tell it why and close it."""
        if self.attendance.detach(connection):
            self._note_end(connection, why.reason)
            connection.end(why, retry_after)

    def lost(self, connection: Connection, reason: str = "gone") -> None:
        """The transport is gone, or isn't the connection's any more."""
        if self.attendance.detach(connection):
            self._note_end(connection, reason)

    def _note_end(self, connection: Connection, reason: str) -> None:
        self.counts.ended[reason] += 1
        log_event(log, "connection_ended", connection=connection.id, user=connection.identity.user, reason=reason)

    def _on_slow(self, connection: Connection) -> None:
        """A slow consumer: no close frame could get through, so it is cut, and resumes."""
        if self.attendance.detach(connection):
            self.counts.slow_consumers += 1
            self.counts.ended["slow_consumer"] += 1
            log_event(log, "slow_consumer", connection=connection.id, user=connection.identity.user)
        connection.abort()

    def revoke(self, user: str) -> int:
        """End all connections of a user; gives how many there were."""
        connections = self.registry.connections_of(user)
        for connection in connections:
            self.end(connection, REVOKED)
        return len(connections)

    def _on_presence(self, user: str, before: State, after: State) -> None:
        log_event(log, "presence_changed", user=user, before=before.value, after=after.value)
        for told in self.on_presence:
            try:
                told(user, before, after)
            except Exception as error:  # a connection is coming or going: whoever listens must not stop it half-way
                log_event(log, "presence_listener_failed", error)

    # What users do

    def sent_to(self, id: str, user: str) -> tuple[Notification, str] | None:
        """A notification that a ring still has and that this user was meant to get, and his channel; None: none."""
        number = self.numbers.find(user)
        for notification in self.rings.find_all(id, self.clock.monotonic()):
            if (channel := notification.channel_to(user, number)) is not None:
                return notification, channel
        return None

    def ack(self, user: str, ids: list[str], by: Sequence[Connection]) -> None:
        """The user was shown these, on these of his connections; what nobody sent him is passed over.

        His other connections are told. He needn't have any: a service worker acks too.
        """
        number = self.numbers.hold(user)
        known, fresh = [], []
        for id in dict.fromkeys(ids):
            found = self.sent_to(id, user)
            if found is None:
                continue
            known.append(id)
            if found[0].record_ack(number):
                self.rings.note_user(found[0])
                fresh.append(id)
        for connection in by:
            connection.record_acks(known)
        if fresh:
            self.counts.acks += len(fresh)
            others = (other for other in self.registry.connections_of(user) if other not in by)
            self._tell(others, {"hub": "read", "ids": fresh})
        self.numbers.release(number)

    def present(self, topic: str) -> tuple[list[str], int]:
        """Who is in a topic: some of the user ids, and how many there are."""
        found = self.registry.topics.get(topic)
        if found is None:
            return [], 0
        users: list[str] = []
        for number in found.audience.users:
            if len(users) == LISTED:
                break
            users.append(self.numbers.id_of(number) or "")
        return users, len(found.audience.users)

    def watch(self, connection: Connection, topic: str) -> None:
        """Tell a connection who joins and leaves a topic."""
        limit = self.config.limits.subscriptions
        if limit and len(connection.watching or ()) >= limit and topic not in (connection.watching or ()):
            raise Problem("subscription_limit", f"a connection may watch {limit} topics")
        self.watches.watch(connection, topic)

    def renew(self, connection: Connection, identity: Identity) -> None:
        """A connection has a fresh token: it counts from now on, with what it allows."""
        connection.identity = identity
        connection.warn_at = warn_at(identity, self.clock.now())
        self.attendance.recheck(connection)

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
        limit = self.config.limits.subscriptions
        have = self.durables.of(user)
        if limit and identity is not None and len(have) + sum(topic not in have for topic in topics) > limit:
            raise Problem("subscription_limit", f"a user may have {limit} durable subscriptions")
        new: list[str] = []
        for topic in topics:
            patterns = identity.topics.texts if identity is not None else ()
            grant = Grant(by_server=identity is None, patterns=patterns, checked_at=self.clock.now())
            if await self.durables.put(user, topic, grant):
                new.append(topic)
        join_first()
        self.attendance.join_durables(user, topics)
        return new

    async def end_durable(self, user: str, topics: list[str]) -> list[str]:
        """End durable subscriptions, also on the connections that are there; gives those that there were."""
        ended = [topic for topic in topics if await self.durables.end(user, topic)]
        for connection in self.registry.connections_of(user):
            for topic in ended:
                self.attendance.leave(connection, topic)
        return ended

    @property
    def memory(self) -> Memory:
        """What may outlive this hub, as it is now."""
        self._memory.sequence = self.attendance.sequence
        return self._memory

    @property
    def remembered_ids(self) -> int:
        """How many publishers' ids are remembered."""
        return len(self._answers)

    def maintain(self) -> None:
        """What is due once a second: old ring entries, ended grace, lapsed grants, presence frames."""
        now = self.clock.monotonic()
        self.rings.expire(now)
        self._answers.expire()
        self.durables.lapse(self.clock.now())
        for user in self.presence.gone(now):
            self.registry.forget(user)
        for connection in self.watches.tell():
            self.pump.schedule(connection)
