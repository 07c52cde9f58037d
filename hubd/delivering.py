"""What becomes of notifications: the pure decisions of ``core.delivery`` with a timer, a store and push services."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from hubd.audience import Audiences
from hubd.clock import CallLater, Clock, Handle
from hubd.config import Config
from hubd.core.channel import Channel, Kind
from hubd.core.connection import Connection
from hubd.core.delivery import Delivery
from hubd.core.ledger import Ledger
from hubd.core.milestones import ACKED, AWAY, EXPIRED, LIVE_SENT, NO_ROUTE, PENDING, PUSHED, REPLACED
from hubd.core.notification import Notification, Priority
from hubd.core.record import Moment, Record
from hubd.core.registry import Registry
from hubd.core.stored import Close, Fact, Keep, Kept, Lane, Note, StoredAnswer
from hubd.core.subscriptions import DurableSubscriptions
from hubd.core.users import NOBODY, UserNumbers, UserSet
from hubd.ids import Ids
from hubd.log_events import log_event
from hubd.storing import Store, StoreError, Written, unavailable

log = logging.getLogger("hubd")
_MAY_ACK = (PENDING, LIVE_SENT, PUSHED, ACKED, EXPIRED, AWAY, NO_ROUTE, REPLACED)
"""The milestones of those whom a notification may have reached, or still can."""


class Pusher(Protocol):
    """Brings notifications to devices. It answers for each user by one of ``Delivering``'s reports, at any time."""

    def push(self, record: Record, users: UserSet) -> None:
        """Begin to bring it to these users' devices."""
        ...

    def cancel(self, record: Record, users: UserSet) -> None:
        """What no service has taken yet isn't wanted any more."""
        ...


class Delivering:
    """Follows what is published. ``call_later(seconds, function)`` is the loop's; without it ``wake`` has to be called.

    ``store`` None: nothing outlives the process; ``pusher`` None: nobody is pushed to.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        ids: Ids,
        numbers: UserNumbers,
        registry: Registry,
        durables: DurableSubscriptions,
        config: Config,
        settle_presence: Callable[[float], None],
        store: Store | None = None,
        pusher: Pusher | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._numbers = numbers
        self._registry = registry
        self._audiences = Audiences(registry, durables, numbers)
        self._settle_presence = settle_presence
        self._call_later = call_later
        self._timer: Handle | None = None
        self._timer_at = inf
        self._acks: list[Written] = []
        self.on_stranded: Callable[[Record, UserSet], None] = lambda record, users: None
        self.store = store
        self.pusher = pusher
        self.ledger = Ledger()
        self.delivery = Delivery(self)
        self.delivery.can_push = pusher is not None
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Go by this config from now on; what waits already keeps its deadline."""
        delivery = config.delivery
        self.delivery.push_delay_s = delivery.push_delay_s
        self.delivery.grace_s = delivery.grace_s
        self.delivery.plain_ack = delivery.plain_ack
        self.delivery.entries, self.delivery.max_bytes = delivery.open_entries, delivery.open_bytes
        self.ledger.keep_s, self.ledger.max_bytes = delivery.explain_s, delivery.explain_bytes

    def push_by(self, pusher: Pusher) -> None:
        """Push by this one from now on."""
        self.pusher = pusher
        self.delivery.can_push = True

    def moment(self) -> Moment:
        """Now."""
        return Moment(self._clock.monotonic(), self._clock.now())

    # On the way of a publish

    def begin(self, notification: Notification, channels: Sequence[Channel], key: str | None = None) -> Record:
        """The record of a notification that is about to be published: whom it is meant for is fixed with this.

        ``key``: the name that this publication has already.
        """
        everybody, is_broadcast = self._audiences.meant(channels)
        may_push = everybody if notification.escalates else NOBODY  # a broadcast never pushes
        if is_broadcast:
            present = self._registry.present.snapshot()
            everybody = everybody | present if everybody else present
        key = key or self._ids.publication()
        record = Record(key, notification, everybody, may_push, self.delivery.tally, self.ledger.budget)
        record.ttl_s = notification.expires_at - self._clock.monotonic()
        notification.record = record
        self.ledger.add(record)
        return record

    async def keep_first(
        self,
        record: Record,
        answer: StoredAnswer | None = None,
        instead_of: str | None = None,
        released: Fact | None = None,
    ) -> None:
        """Have it on the disk before anybody sees it, with what belongs to it (``Keep``); a ``Problem`` if it can't."""
        assert self.store is not None and record.notification is not None
        moment = self.moment()
        record.judge(record.notification.verdicts, moment.wall)
        row = record.row(self._due_ms(record, moment), moment)
        record.is_stored = True
        keep = Keep(row, record.facts(moment.ms), answer, instead_of, released)
        try:
            await self.store.write(keep, Lane.PUBLISH)
        except StoreError as error:
            self._never_was(record)
            raise unavailable(str(error)) from None
        except BaseException:
            self._never_was(record)
            raise

    def _never_was(self, record: Record) -> None:
        record.milestones.take_out(record.everybody)
        self.ledger.drop(record)

    def _due_ms(self, record: Record, moment: Moment) -> int:
        if not record.may_push:
            return 0
        delay = 0.0 if record.priority is Priority.CRITICAL else self.delivery.push_delay_s
        return int((moment.wall + delay) * 1000)

    def published(self, notification: Notification, channels: Sequence[Channel], sequence: int) -> None:
        """It has its number and is in the rings; in this very step it is queued for those who are here."""
        record = notification.record
        if record is None:
            record = self.begin(notification, channels)
        elif record.due_at != inf:  # it has been restored: for whom it is has been fixed long ago
            record.sequence = sequence
            self.go_on(record)
            return
        elif not notification.is_release:
            self._take_in_joined(record, channels)
        moment = self.moment()
        record.sequence = sequence
        facts = record.judge(notification.verdicts, moment.wall) if len(notification.verdicts) > record.heard else ()
        if record.is_stored:  # what was judged now is about those who have joined since
            self.delivery.judged_late(record, facts, moment)
        live = self._audiences.reached(notification, channels)
        plain = self._registry.plain.users
        self._settle_presence(moment.mono)
        self.delivery.published(record, moment, live, self._registry.known.users, plain)
        notification.wants_proof = bool(record.waiting and record.waiting & plain)
        if record.deadline < self._timer_at:
            self._set_timer()

    def _take_in_joined(self, record: Record, channels: Sequence[Channel]) -> None:
        """Whoever has joined one of its topics since it was stored is meant, too."""
        for channel in channels:
            if channel.kind is not Kind.USER:
                sets = self._audiences.of_topic(channel.name)
                if channel.kind is Kind.BROADCAST:
                    sets = [self._registry.present.snapshot()]
                for users in sets:
                    if joined := users - record.everybody:
                        self.delivery.joined(record, joined, may_push=channel.kind is Kind.TOPIC)

    # What users do

    def acked(self, id: str, notification: Notification | None, number: int, by: str) -> bool:
        """A user was shown it; whether that is news. ``notification``: the one that a ring has for him."""
        record = self._record_for(id, notification, number)
        if record is None:
            return False
        fresh = self.delivery.acked(record, number, self.moment(), by)
        written = None if fresh or record.ack_writes is None else record.ack_writes.get(number)
        if isinstance(written, asyncio.Future):  # he was told nothing yet, or that it couldn't be stored
            if not written.done():
                self._acks.append(written)
            else:
                self.fact(record, Fact(record.key, "acked", UserSet((number,)), self.moment().ms, by))
        return fresh

    def acks_written(self) -> list[Written]:
        """What has to be on the disk before the acks since the last call are answered."""
        waiting, self._acks = self._acks, []
        return [future for future in waiting if not future.done() or future.exception() is not None]

    def _record_for(self, id: str, notification: Notification | None, number: int) -> Record | None:
        if notification is not None and notification.record is not None:
            return notification.record
        return next(
            (one for one in self.ledger.find_all(id) if one.sequence and one.milestones.of(number) in _MAY_ACK), None
        )

    def knows(self, id: str, number: int) -> bool:
        """Whether a notification with this id was meant for a user, as far as it is still remembered."""
        return self._record_for(id, None, number) is not None

    def replayed(self, notification: Notification, connection: Connection) -> None:
        """A connection that came back gets it from a ring: it is the last in its outbox."""
        record, user = notification.record, connection.user
        if record is None or user is None:
            return
        self.delivery.replayed(record, user.number, self.moment())
        prove = None if notification.wants_proof else connection.form.prove
        if prove is not None and user.number in record.waiting:
            connection.outbox.append(prove(notification.sequence))

    def proved(self, sequence: int, number: int) -> None:
        """A user (by number) who can't ack what has this sequence number has got it."""
        self.delivery.proved(sequence, number, self.moment())

    def stranded(self, number: int, *, is_back: bool) -> list[Notification]:
        """Critical ones that a user (by number) is to get now that he is here, since nothing reached him.

        Where he ``is_back``, with no connection that lasted, also those that were written to one before and not acked.
        """
        lost = (PENDING, LIVE_SENT) if is_back else (PENDING,)
        return [
            record.notification
            for record in self.delivery.open.stranded(number)
            if record.notification is not None and record.milestones.of(number) in lost
        ]

    def bringing(self, notification: Notification, number: int) -> bool:
        """It is being brought to him: ``release`` follows, or ``not_brought``; False: it is already, or needn't be."""
        return notification.record is not None and self.delivery.bringing(notification.record, number)

    def not_brought(self, notification: Notification, number: int) -> None:
        """It could not be."""
        if notification.record is not None:
            self.delivery.not_brought(notification.record, number, self.moment())

    def retract(self, notification: Notification) -> None:
        """A notification was taken back, and all that was released of it."""
        moment = self.moment()
        for record in self.ledger.find_all(notification.id):
            if record.notification is None:  # nothing is open but what waits for a second device of somebody
                if record.was_pushed and record.sent_at == notification.sent_at:
                    self.cancel(record, record.everybody)
            elif record.notification.body == notification.body:
                self.delivery.retracted(record, moment)

    def release(self, notification: Notification, users: UserSet) -> None:
        """What was held for these users, or couldn't be brought to them, goes out as a publication of its own."""
        if notification.record is not None:
            self.delivery.released(notification.record, users, self.moment())

    def restore(self, kept: Kept, notification: Notification) -> None:
        """Take up what was open when the hub before ended; its next publication goes on with it."""
        row, moment = kept.row, self.moment()
        record = Record(row.key, notification, row.everybody, row.may_push, self.delivery.tally, self.ledger.budget)
        record.is_stored = True
        record.ttl_s = (row.expires_at - row.sent_at) / 1000
        record.fold(kept.facts)
        record.due_at = moment.mono + max(0.0, row.due_at / 1000 - moment.wall)
        notification.record = record
        self.ledger.add(record)

    def go_on(self, record: Record) -> None:
        """What was restored is in the rings, or was there all the time."""
        self.delivery.restored(record, self.moment())
        self._set_timer()

    # What push services say

    def attempted(self, record: Record, users: UserSet, text: str) -> None:
        """A push service answered a push to a device of each of these users: which, how it went, and its words."""
        self.delivery.attempted(record, users, text, self.moment())

    def accepted(self, record: Record, users: UserSet, detail: str = "") -> None:
        """A push service took it for a device of each of these users; ``detail`` says which, and its answer."""
        self.delivery.accepted(record, users, self.moment(), detail)

    def not_routed(self, record: Record, users: UserSet) -> None:
        """These users have no device."""
        self.delivery.not_routed(record, users, self.moment())
        self.on_stranded(record, users)

    def given_up(self, record: Record, users: UserSet, why: str) -> None:
        """No push service will take it for these users; ``why`` is one word."""
        self.delivery.given_up(record, users, why, self.moment())
        self.on_stranded(record, users)

    def device_came(self, number: int) -> None:
        """A user (by number) has registered a device."""
        self.delivery.device_came(number, self.moment())

    # Time

    def wake(self) -> None:
        """Do what is due; of very much, the rest in the loop's next turns."""
        self._timer_at = inf
        while self.delivery.due(self.moment()) and self._call_later is None:
            pass
        self._set_timer()

    def _set_timer(self) -> None:
        at = self.delivery.open.next_deadline()
        if self._call_later is None or at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at != inf:
            self._timer = self._call_later(max(0.0, at - self._clock.monotonic()), self.wake)

    def maintain(self) -> None:
        """What is due once a second."""
        self.wake()
        self.ledger.expire(self._clock.now())

    def stop(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()
        self._call_later = None

    # Effects of the decisions

    def push(self, record: Record, users: UserSet) -> None:
        """Bring it to devices."""
        if self.pusher is None:
            return
        try:
            self.pusher.push(record, users)
        except Exception as error:  # the others that are due are to go on
            log_event(log, "push_failed", error, id=record.id)
            self.given_up(record, users, "failed")

    def cancel(self, record: Record, users: UserSet) -> None:
        """Don't, as far as it hasn't happened."""
        if self.pusher is None:
            return
        try:
            self.pusher.cancel(record, users)
        except Exception as error:
            log_event(log, "push_failed", error, id=record.id)

    def keep(self, record: Record) -> None:
        """Something is open about one that nobody waited for to be stored."""
        if self.store is not None and record.notification is not None:
            record.is_stored = True
            moment = self.moment()
            row = record.row(self._due_ms(record, moment), moment)
            self.store.note(Keep(row, record.facts(moment.ms)))

    def fact(self, record: Record, fact: Fact) -> None:
        """Something became of a stored one."""
        if self.store is None:
            return
        if fact.kind != "acked" or (self.store.trouble and not record.is_durable):
            self.store.note(Note(fact))
            return
        written = self.store.write(Note(fact), Lane.ACK)
        self._acks.append(written)
        if record.ack_writes is None:
            record.ack_writes = {}
        writes = record.ack_writes
        for number in fact.users:
            writes[number] = written

        def done(future: Written) -> None:
            if not future.cancelled() and future.exception() is None:
                for number in fact.users:
                    writes.pop(number, None)

        written.add_done_callback(done)

    def close(self, record: Record) -> None:
        """Nothing is open about a stored one any more."""
        if self.store is not None:
            moment = self.moment()
            left_s = record.expires_at - moment.mono
            keep_until = int((moment.wall + left_s) * 1000) if record.is_durable else 0
            self.store.note(Close(record.key, keep_until))
