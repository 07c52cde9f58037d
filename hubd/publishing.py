"""The way of a notification, from its draft to the outboxes of those who are to get it."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from hubd.asking import Asking
from hubd.attendance import Attendance
from hubd.broker import Broker
from hubd.clock import Clock
from hubd.config import Config, TypeOptions
from hubd.core.channel import Channel, Kind, Patterns, parse_channel
from hubd.core.codec import ControlFrame
from hubd.core.connection import Connection
from hubd.core.errors import FieldError, Problem
from hubd.core.identity import Identity
from hubd.core.notification import PRIORITY_OF, Notification, Persistence
from hubd.core.overrides import check_known
from hubd.core.publish import Bounds, Draft, TypeDefaults, read_draft
from hubd.core.rate import Rates
from hubd.core.registry import Registry
from hubd.core.stored import Remember, StoredAnswer
from hubd.core.users import Snapshot, UserSet
from hubd.counts import Counts
from hubd.delivering import Delivering
from hubd.gates import Gates
from hubd.hooks.calls import Hooks
from hubd.hooks.observers import Observers
from hubd.hooks.push import PushBackend
from hubd.idempotency import Answered
from hubd.ids import Ids
from hubd.log_events import log_event
from hubd.memory import Memory, Receipt
from hubd.pump import FEW, Pump
from hubd.releasing import Releasing
from hubd.scheduled_call import Asked, ScheduledCall, row_key
from hubd.scheduling import Scheduling
from hubd.storing import unavailable

log = logging.getLogger("hubd")


def _defaults_of(options: TypeOptions) -> TypeDefaults:
    return TypeDefaults(PRIORITY_OF[options.priority], Persistence(options.persistence), options.ttl_s)


def _stopping() -> Problem:
    return Problem("unavailable", "the hub is stopping; try again", retry_after=1.0)


class Publishing:
    """Publishes, retracts, and releases what was held. ``hooks`` are asked on the way, ``observers`` told after it."""

    def __init__(
        self,
        *,
        clock: Clock,
        ids: Ids,
        memory: Memory,
        registry: Registry,
        attendance: Attendance,
        pump: Pump,
        broker: Broker,
        hooks: Hooks,
        observers: Observers,
        counts: Counts,
        config: Config,
        delivering: Delivering,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._answers = memory.answers
        self._revoked = memory.revoked
        self._numbers = memory.numbers
        self._rings = memory.rings
        self._durables = memory.durables
        self._registry = registry
        self._attendance = attendance
        self._pump = pump
        self._broker = broker
        self._hooks = hooks
        self._observers = observers
        self._counts = counts
        self.rates = Rates()
        self.delivering = delivering
        self.scheduling: Scheduling  # the hub puts it there: it calls `carry_out`
        self._asking = Asking(hooks, memory.numbers, lambda: (self._defaults, self._bounds))
        self._releasing = Releasing(clock, memory, delivering, attendance.cursor, self._send)
        self.release, self.bring = self._releasing.release, self._releasing.bring
        self.gates = Gates(hooks.filter_recipients, registry, memory.durables, memory.numbers, counts)
        self.push_backends: Mapping[str, PushBackend] = {}
        """By their platforms; the hub puts them there."""
        self.stopping = False
        self.apply(config)
        memory.rings.judge_late = self.judge_late
        broker.start(self.on_publication, memory.sequence)

    def apply(self, config: Config) -> None:
        """Go by this config from now on."""
        limits = config.limits
        self._type_defaults = {name: _defaults_of(options) for name, options in config.types.items()}
        self._bounds = Bounds(limits.message_bytes, limits.json_depth, limits.json_keys, self._check_overrides)

    def _check_overrides(self, platform: str, overrides: Mapping[str, Any]) -> list[FieldError] | None:
        """What is wrong with what a publish call says about a platform; None: there is no such."""
        backend = self.push_backends.get(platform)
        if backend is not None:
            return backend.check_overrides(overrides)
        return check_known(platform, overrides)

    def prepare(self, body: Any) -> Draft:
        """Check a publish body and fill in what its type decides; a ``Problem`` names all that is wrong."""
        now = None if self.delivering.store is None else self._clock.now
        segments = bool(self._hooks.resolve_audience.impls)
        return read_draft(body, self._defaults, self._bounds, segments=segments, now=now)

    def _defaults(self, type_: str) -> TypeDefaults:
        known = self._type_defaults
        return known.get(type_) or known["default"]

    async def publish(
        self, draft: Draft, publisher: str, identity: Identity | None = None, allowed: Patterns | None = None
    ) -> tuple[Receipt, bool]:
        """Publish once; the answer, and whether an earlier call with the same id has it already been for.

        ``publisher`` is whose ids these are (an API key, a user, a plugin); ``identity`` the user who publishes, if it
        is one; ``allowed`` are the channels that what a segment stands for must be among.
        """
        result = "failed"
        try:
            receipt, again = await self._publish_once(draft, publisher, identity, allowed)
            result = "duplicate" if again else "accepted"
        except Problem:
            result = "refused"
            raise
        finally:
            self._counts.published[result, draft.priority.word] += 1
        return receipt, again

    async def _publish_once(
        self, draft: Draft, publisher: str, identity: Identity | None, allowed: Patterns | None
    ) -> tuple[Receipt, bool]:
        if self.stopping:
            raise _stopping()
        sender = None if identity is None else identity.user
        id = draft.id
        fingerprint = b"" if id is None else draft.fingerprint()
        if (hook := self._hooks.authorize_publish).impls:
            names = tuple([channel.name for channel in draft.channels])
            if (asked := hook.step(hook.impls, 0, publisher, identity, names, draft))[1] is not None:
                await self._authorize(asked, names, publisher, identity, draft)
        table = publisher if sender is None else "users"
        if id is None:
            id = self._ids.notification()
            if self.scheduling.is_later(draft.deliver_at):
                return await self.scheduling.add(draft, Asked(id, publisher, table, b"", sender, allowed)), False
            return await self._publish(draft, id, sender, allowed), False
        if (call := self.scheduling.asked_already(publisher, id, fingerprint)) is not None:
            return call.receipt, True
        if self.scheduling.is_later(draft.deliver_at):
            later = partial(self.scheduling.add, draft, Asked(id, publisher, table, fingerprint, sender, allowed))
            return await self._answers.once(publisher, id, fingerprint, later, table=table)
        to_store = StoredAnswer(table, publisher, id, fingerprint, "", 0, int(self._clock.now() * 1000))
        work = partial(self._publish, draft, id, sender, allowed, to_store)
        return await self._answers.once(publisher, id, fingerprint, work, table=table)

    async def carry_out(self, call: ScheduledCall, draft: Draft) -> Receipt:
        """Publish what was scheduled; its id counts from now on as long as any other."""
        if self.stopping:
            raise _stopping()
        asked, answer = call.asked, call.answer(self._clock.now())
        receipt = await self._publish(draft, asked.id, asked.sender, asked.allowed, answer, call.key)
        if answer is not None:
            known = Answered(asked.fingerprint, call.receipt, self._clock.monotonic())
            self._answers.put_back(asked.table, (asked.publisher, asked.id), known)
        return receipt

    async def _authorize(
        self, asked: tuple[int, Any], names: tuple[str, ...], publisher: str, identity: Identity | None, draft: Draft
    ) -> None:
        """Go on asking, from the first that had something to say; a ``Problem`` when any of them objects."""
        hook = self._hooks.authorize_publish
        denied = await self._hooks.denied(hook, asked, names, publisher, identity, names, draft)
        if denied:
            raise Problem("forbidden", f"you may not publish to {', '.join(map(repr, denied[:10]))}")
        # It may have taken a while.
        if self.stopping:
            raise _stopping()
        if identity is not None and identity.is_revoked(self._revoked.get(identity.user)):
            raise Problem("unauthorized", "your token has been revoked")

    async def _publish(
        self,
        draft: Draft,
        id: str,
        sender: str | None,
        allowed: Patterns | None,
        asked: StoredAnswer | None = None,
        scheduled: str | None = None,
    ) -> Receipt:
        """Publish, and remember the answer where one is ``asked`` for; ``scheduled`` is the key of the call, if any."""
        if (hook := self._hooks.prepare_notification).impls:
            impls = hook.impls
            place, change = hook.step(impls, 0, draft)
            if change is not None:
                draft = await self._asking.prepared(draft, impls, place, change)
        channels = draft.channels if draft.segment is None else await self._asking.resolved(draft.segment, allowed)
        notification = Notification(
            id=id,
            payload=draft.payload,
            type=draft.type,
            data=draft.data,
            channels={channel.name: place for place, channel in enumerate(channels)},
            priority=draft.priority,
            persistence=draft.persistence,
            sent_at=int(self._clock.now() * 1000),
            expires_at=self._clock.monotonic() + draft.ttl_s,
            live_only=draft.ttl_s == 0,
            collapse_key=draft.collapse_key,
            group=draft.group,
            sender=sender,
            push=draft.push,
        )
        if self.delivering.delivery.is_full and (notification.is_durable or self._hooks.filter_recipients.impls):
            raise unavailable("too many notifications wait to be acked, pushed or released")
        if self._hooks.store_notification.impls:
            self.gates.judge(notification, channels)
            recipients = notification.judged if notification.judged is not None else self.gates.meant(channels)
            await self._asking.store(notification, recipients)
        if self.delivering.store is not None and channels and (notification.is_durable or scheduled):
            await self._keep(notification, channels, asked, scheduled)  # from there on nothing stops it
        elif self.stopping:  # since plugins were asked
            raise _stopping()
        receipt = await self._send(notification)
        if asked is not None and scheduled is None and self.delivering.store is not None:
            self.delivering.store.note(Remember(asked._replace(cursor=receipt.cursor, live=receipt.live)))
        return receipt

    async def _keep(
        self,
        notification: Notification,
        channels: Sequence[Channel],
        asked: StoredAnswer | None = None,
        scheduled: str | None = None,
    ) -> None:
        """Have it on the disk, with all that is known of it by now."""
        self.gates.judge(notification, channels)
        notification.audience = self._audience(channels)
        record = self.delivering.begin(notification, channels, row_key(scheduled) if scheduled else None)
        await self.delivering.keep_first(record, asked, scheduled)

    async def _send(self, notification: Notification) -> Receipt:
        """Give it its place in the sequence, and have it brought to everybody."""
        if not notification.channels:  # a segment that nobody is in
            return Receipt(notification.id, self._attendance.cursor(), 0)
        notification.is_ours = True
        published = await self._broker.publish(notification)
        cursor = notification.cursor if notification.sequence == published.sequence else ""
        receipt = Receipt(notification.id, cursor or self._attendance.cursor(published.sequence), published.live)
        word = notification.priority.word
        log_event(log, "published", id=receipt.id, cursor=receipt.cursor, priority=word, live=receipt.live)
        if self._observers.published.wanted and not notification.is_release:  # that was told when it was published
            self._observers.published.tell(notification, published.live)
        self._tell_filtered(notification)  # behind `published`
        return receipt

    def _tell_filtered(self, notification: Notification) -> None:
        if notification.verdicts:
            self._observers.filtered.tell(notification, notification.verdicts)
            notification.verdicts = ()

    def judge_late(self, notification: Notification, number: int) -> None:
        """Ask gates about a user (by number) who is about to read what was published when he wasn't there."""
        if self._hooks.filter_recipients.impls and (count := self.gates.judge_late(notification, number)):
            self._rings.note_user(notification, count)
            if notification.record is not None:
                notification.record.judge_late(notification.verdicts, number, self._clock.now())
            self._tell_filtered(notification)

    # To everybody

    def on_publication(self, sequence: int, notification: Notification) -> int:
        """Append and fan out, in one step; gives for how many connections it was queued."""
        now = self._clock.monotonic()
        self._attendance.sequence = sequence
        notification.sequence = sequence
        notification.cursor = self._attendance.cursor()
        channels = [parse_channel(name) for name in notification.channels]
        for channel in channels:
            self.rates.note(channel.name, now)
        if self._hooks.filter_recipients.impls:
            self.gates.judge(notification, channels)
        if notification.live_only:
            notification.judged = None
        else:
            self.gates.keep_judged(notification, channels)
            audience = self._audience(channels)
            # One that is restored was meant for others, too; a release has no topics.
            notification.audience = (*notification.audience, *audience) if notification.is_release else audience
        self._rings.append(notification, now)
        self.delivering.published(notification, channels, sequence)
        if not notification.is_ours:  # of those, `_send` tells
            self._tell_filtered(notification)
        if len(channels) == 1:
            return self._fan_out(notification, channels[0])
        return self._fan_out_to_many(notification, channels)

    def _audience(self, channels: Sequence[Channel]) -> tuple[tuple[str, Snapshot], ...]:
        """Whom the notification is meant for, as far as its channels' names don't say it."""
        sets = []
        for channel in channels:
            if channel.kind is Kind.TOPIC:
                if (topic := self._registry.topics.get(channel.name)) is not None:
                    sets.append((channel.name, topic.audience.snapshot()))
                if subscribers := self._durables.subscribers(channel.name):
                    sets.append((channel.name, subscribers))
        return tuple(sets)

    def _fan_out(self, notification: Notification, channel: Channel) -> int:
        recipients = self._registry.members(channel)
        if not recipients:
            return 0
        if notification.excluded is not None:
            recipients = self._without(notification.excluded, recipients)
        if len(recipients) <= FEW:
            live = self._pump.fan_out_now(notification, channel.name, list(recipients))
        else:
            live = self._pump.fan_out(notification, channel.name, recipients)
            self._pump.run_soon()
        # One that is resuming reads it from the ring; what is live only it doesn't get.
        return live if notification.live_only else len(recipients)

    def _fan_out_to_many(self, notification: Notification, channels: list[Channel]) -> int:
        """Each recipient gets it once, by the first of the channels that he is subscribed to."""
        reached: dict[Connection, None] = {}
        live = 0
        for channel in channels:
            members = self._registry.members(channel)
            if notification.excluded is not None:
                members = self._without(notification.excluded, members)
            fresh = [connection for connection in members if connection not in reached]
            live += self._pump.fan_out(notification, channel.name, fresh)
            reached.update(dict.fromkeys(fresh))
        self._pump.run_soon()
        return live if notification.live_only else len(reached)

    def _without(self, excluded: UserSet, members: Collection[Connection]) -> list[Connection]:
        """The members of a channel but the connections of these users: at the price of the smaller of both."""
        out = excluded & self._registry.present.users
        if len(out) > len(members) // 4:
            return [one for one in members if one.user is not None and one.user.number not in excluded]
        users = (self._registry.users[self._numbers.id_of(number) or ""] for number in out)
        leave_out = {connection: None for user in users for connection in user.connections}
        return [one for one in members if one not in leave_out]

    # Afterwards

    def retract(self, notification: Notification) -> None:
        """Take a notification back: out of the rings, and off the screens of those who have it; releases of it, too."""
        now = self._clock.monotonic()
        copies = [copy for copy in self._rings.find_all(notification.id, now) if copy.body == notification.body]
        told: dict[Connection, None] = {}
        notification.is_retracted = True
        self.delivering.retract(notification)  # first: what leaves the rings is let go of
        for copy in copies or [notification]:
            copy.is_retracted = True
            self._rings.retract(copy, now)
            for name in copy.channels:
                told.update(dict.fromkeys(self._registry.members(parse_channel(name))))
        self.tell(told, {"hub": "retract", "ids": [notification.id]})
        self._observers.retracted.tell(notification)

    async def restore(self, notification: Notification) -> None:
        """Something is open about it from before the start: it is in the rings again, and goes on."""
        notification.is_release = True  # gates had their say about it
        await self._broker.publish(notification)

    def tell(self, connections: Iterable[Connection], fields: dict[str, Any]) -> None:
        """Give a control frame to those connections that take control frames."""
        frame = ControlFrame(fields)
        for connection in connections:
            if connection.control:
                connection.outbox.append(frame.of(connection.form))
                self._pump.schedule(connection)
