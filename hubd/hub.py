"""The hub: the composition root; connections and what users do."""

import logging
import resource
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from hubd.arrivals import Arrivals
from hubd.attendance import Attendance
from hubd.broker import Broker, LocalBroker
from hubd.clock import CallLater, Clock
from hubd.config import Config
from hubd.core.connection import Connection
from hubd.core.cursor import Cursor
from hubd.core.errors import REVOKED, TOO_MANY, Disconnect, Problem
from hubd.core.identity import Identity, warn_at
from hubd.core.notification import Notification
from hubd.core.presence import Presence, State
from hubd.core.registry import Registry
from hubd.core.watch import LISTED, Watches
from hubd.counts import Counts
from hubd.delivering import Delivering, Pusher
from hubd.hooks.calls import Hooks
from hubd.hooks.observers import Observers
from hubd.hooks.push import PushBackend
from hubd.ids import Ids
from hubd.late_acks import LateAcks
from hubd.log_events import log_event
from hubd.memory import Memory
from hubd.publishing import Publishing
from hubd.pump import Pump
from hubd.pushing import Pushing
from hubd.scheduling import Scheduling
from hubd.storing import Store, Written
from hubd.subscribing import Subscribing
from hubd.tasks import at_once

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
        hooks: Hooks | None = None,
        store: Store | None = None,
        pusher: Pusher | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        limits = config.limits
        self._memory = memory = memory or Memory(config, clock, ids.epoch())
        self.clock = clock
        self.ids = ids
        self.counts = Counts()
        self.numbers, self.rings = memory.numbers, memory.rings
        self.registry = Registry(self.numbers)
        self.presence = Presence(config.delivery.grace_s, config.delivery.attention_ttl_s, self._on_presence)
        self.watches = Watches()
        self.durables = memory.durables
        self.hooks = hooks or Hooks(clock)
        self.observers = Observers(self.hooks, clock)
        self.attendance = self._make_attendance(config, memory)
        self.pump = Pump(call_soon, limits.queue_bytes, self._on_slow, self.attendance.read_on, self.counts)
        self.on_presence: list[Callable[[str, State, State], None]] = []
        self.attendance.sequence = memory.sequence
        self.attendance.on_came = self._on_came
        self.store = store
        self.devices = memory.devices
        self.delivering = self._make_delivering(config, pusher, call_later)
        self.arrivals = Arrivals(self.delivering, self.rings)
        self.rings.replayed = self.delivering.replayed
        self.in_background: Callable[[Coroutine[Any, Any, Any], str], Any] = at_once
        """Runs what nobody waits for."""
        run = lambda work, name: self.in_background(work, name)  # noqa: E731, PLW0108 - it is set later
        self.late_acks = None if store is None else LateAcks(store, clock, run)
        self.publishing = self._make_publishing(config, memory, broker or LocalBroker())
        self.scheduling = self.publishing.scheduling = self._make_scheduling(call_later)
        self.pushing = self._make_pushing(config, memory, run)
        self.subscribing = self._make_subscribing(config)
        self._hand_on()
        self._answers = memory.answers
        self.apply(config)

    def _hand_on(self) -> None:
        """What parts of it do, without a detour."""
        self.prepare, self.publish = self.publishing.prepare, self.publishing.publish
        self.retract, self.rates = self.publishing.retract, self.publishing.rates
        self.make_durable, self.end_durable = self.subscribing.make_durable, self.subscribing.end_durable
        self.capabilities = self.pushing.capabilities

    def _make_attendance(self, config: Config, memory: Memory) -> Attendance:
        return Attendance(
            clock=self.clock,
            epoch=memory.epoch,
            rings=self.rings,
            registry=self.registry,
            presence=self.presence,
            watches=self.watches,
            durables=self.durables,
            config=config,
            counts=self.counts,
            observers=self.observers,
        )

    def _make_subscribing(self, config: Config) -> Subscribing:
        return Subscribing(
            clock=self.clock,
            durables=self.durables,
            registry=self.registry,
            attendance=self.attendance,
            observers=self.observers,
            config=config,
        )

    def _make_delivering(self, config: Config, pusher: Pusher | None, call_later: CallLater | None) -> Delivering:
        return Delivering(
            clock=self.clock,
            ids=self.ids,
            numbers=self.numbers,
            registry=self.registry,
            durables=self.durables,
            config=config,
            settle_presence=self._settle_presence,
            store=self.store,
            pusher=pusher,
            call_later=call_later,
        )

    def _make_scheduling(self, call_later: CallLater | None) -> Scheduling:
        return Scheduling(
            clock=self.clock,
            store=self.store,
            new_key=self.ids.publication,
            cursor=self.attendance.cursor,
            publish=self.publishing.carry_out,
            run=lambda work, name: self.in_background(work, name),  # noqa: PLW0108 - it is set later
            call_later=call_later,
        )

    def _make_publishing(self, config: Config, memory: Memory, broker: Broker) -> Publishing:
        return Publishing(
            clock=self.clock,
            ids=self.ids,
            memory=memory,
            registry=self.registry,
            attendance=self.attendance,
            pump=self.pump,
            broker=broker,
            hooks=self.hooks,
            observers=self.observers,
            counts=self.counts,
            config=config,
            delivering=self.delivering,
        )

    def _make_pushing(self, config: Config, memory: Memory, run: Callable[..., Any]) -> Pushing:
        return Pushing(
            config=config,
            clock=self.clock,
            ids=self.ids,
            memory=memory,
            store=self.store,
            delivering=self.delivering,
            publishing=self.publishing,
            observers=self.observers,
            counts=self.counts,
            registry=self.registry,
            run=run,
        )

    def apply(self, config: Config) -> None:
        """Go by this config from now on; who and what is here stays. Nothing in here can fail half-way."""
        limits, replay, delivery = config.limits, config.replay, config.delivery
        self.config = config
        self._answers.window_s, self._answers.entries = limits.id_window_s, limits.id_entries
        self.rings.resize(replay.per_channel, replay.ttl_s, replay.max_bytes)
        self.presence.set_times(delivery.grace_s, delivery.attention_ttl_s)
        self.durables.grant_s = config.auth.durable_grant_s
        self.pump.queue_bytes = limits.queue_bytes
        self.attendance.apply(config)
        self.publishing.apply(config)
        self.delivering.apply(config)
        self.subscribing.apply(config)
        self.pushing.apply(config)
        self.scheduling.most, self.scheduling.most_bytes = limits.scheduled, limits.scheduled_bytes

    @property
    def publishes_at_once(self) -> bool:
        """Whether a publish waits for nothing but the store: no plugin is on its way, and no broker elsewhere."""
        hooks = self.hooks
        return type(self.publishing._broker) is LocalBroker and not (
            hooks.authorize_publish.impls
            or hooks.prepare_notification.impls
            or hooks.resolve_audience.impls
            or hooks.filter_recipients.impls
            or hooks.store_notification.impls
        )

    @property
    def push_backends(self) -> Mapping[str, PushBackend]:
        """What notifications are pushed by, each by its platform."""
        return self.pushing.backends

    @property
    def stopping(self) -> bool:
        """Whether nothing new is taken in any more."""
        return self.publishing.stopping

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self.publishing.stopping = stopping

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
        if self.attendance.detach(connection, why.reason):
            self._note_end(connection, why.reason)
            connection.end(why, retry_after)

    def lost(self, connection: Connection, reason: str = "gone") -> None:
        """The transport is gone, or isn't the connection's any more."""
        if self.attendance.detach(connection, reason):
            self._note_end(connection, reason)

    def _note_end(self, connection: Connection, reason: str) -> None:
        self.counts.ended[reason] += 1
        log_event(log, "connection_ended", connection=connection.id, user=connection.identity.user, reason=reason)
        self._tell_disconnected(connection, reason)

    def _tell_disconnected(self, connection: Connection, reason: str) -> None:
        if self.observers.disconnected.wanted:
            self.observers.disconnected.tell(connection.info, reason)

    def _on_slow(self, connection: Connection) -> None:
        """A slow consumer: no close frame could get through, so it is cut, and resumes."""
        if self.attendance.detach(connection, "slow_consumer"):
            self.counts.slow_consumers += 1
            self.counts.ended["slow_consumer"] += 1
            log_event(log, "slow_consumer", connection=connection.id, user=connection.identity.user)
            self._tell_disconnected(connection, "slow_consumer")
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
        self.observers.presence_changed.tell(user, before, after)

    # What users do

    def sent_to(self, id: str, user: str) -> tuple[Notification, str] | None:
        """A notification that a ring still has and that this user was meant to get, and his channel; None: none."""
        number = self.numbers.find(user)
        for notification in self.rings.find_all(id, self.clock.monotonic()):
            channel = notification.channel_to(user, number)
            if channel is not None and number is not None:
                self.publishing.judge_late(notification, number)
                channel = None if notification.excludes(number) else channel
            if channel is not None:
                return notification, channel
        return None

    def ack(self, user: str, ids: list[str], by: Sequence[Connection]) -> list[Written]:
        """The user was shown these, on these of his connections; what nobody sent him is passed over.

        His other connections are told. He needn't have any: a service worker acks too. Gives what has to be stored
        before that may be confirmed to him (``stored``).
        """
        number = self.numbers.hold(user)
        device = by[0].id if by else ""
        known, fresh, late = [], [], []
        for id in dict.fromkeys(ids):
            found = self.sent_to(id, user)
            notification = None if found is None else found[0]
            is_news = self.delivering.acked(id, notification, number, device)
            if notification is None:
                if not self.delivering.knows(id, number):
                    late.append(id)
                    continue
            elif is_news := notification.record_ack(number):
                self.rings.note_user(notification)
            if notification is not None and notification.record is None and notification.is_durable:
                late.append(id)
            known.append(id)
            if is_news:
                fresh.append(id)
        for connection in by:
            connection.record_acks(known)
        if fresh:
            self.counts.acks += len(fresh)
            self.observers.acked.tell(user, tuple(fresh))
            others = (other for other in self.registry.connections_of(user) if other not in by)
            self.publishing.tell(others, {"hub": "read", "ids": fresh})
        self.numbers.release(number)
        written = self.delivering.acks_written()
        if late and self.late_acks is not None:
            written.append(self.late_acks.write(late, number, device))
        return written

    def _on_came(self, connection: Connection, cursor: Cursor | None, resumes: bool) -> None:
        """Somebody is here; if he ``resumes`` he reads the rings, from his cursor on if that can be honoured."""
        assert connection.user is not None
        if cursor is not None and cursor.answer:
            self.arrivals.answer_arrived(connection, cursor.answer)
        is_back = connection.acks and len(connection.user.connections) == 1
        for notification in self.delivering.stranded(connection.user.number, is_back=is_back):
            if not (resumes and notification.references):  # else he gets it by his replay
                self.in_background(self.publishing.bring(notification, connection.user.id), "bring")

    def _settle_presence(self, now: float) -> None:
        """Whose grace has ended is away from now on."""
        for user in self.presence.gone(now):
            self.registry.forget(user)

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
        self.hooks.switching.maintain()
        self.rings.expire(now)
        self._answers.expire()
        self.durables.lapse(self.clock.now())
        self._settle_presence(now)
        self.devices.maintain()
        self.delivering.maintain()
        self.scheduling.wake()
        for connection in self.watches.tell():
            self.pump.schedule(connection)
