"""The way of a notification, from its draft to the outboxes of those who are to get it."""

import logging
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from hubd.attendance import Attendance
from hubd.broker import Broker
from hubd.clock import Clock
from hubd.config import Config, TypeOptions
from hubd.core.channel import Channel, Kind, Patterns, parse_channel, user_channel
from hubd.core.codec import ControlFrame
from hubd.core.connection import Connection
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.identity import Identity
from hubd.core.notification import PRIORITY_OF, Notification, Persistence, Priority
from hubd.core.publish import CHANNELS, Bounds, Draft, TypeDefaults, changed_draft, read_draft
from hubd.core.rate import Rates
from hubd.core.registry import Registry
from hubd.core.users import Snapshot, UserSet
from hubd.counts import Counts
from hubd.gates import Gates
from hubd.hooks.calls import BadAnswer, Failed, Hooks, Impl, Waiting
from hubd.hooks.observers import Observers
from hubd.ids import Ids
from hubd.log_events import log_event
from hubd.memory import Memory, Receipt
from hubd.pump import FEW, Pump

log = logging.getLogger("hubd")
_TOO_MANY = f"is more than {CHANNELS} channels: make it a topic with durable subscriptions"


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
        self.gates = Gates(hooks.filter_recipients, registry, memory.durables, memory.numbers, counts)
        self.stopping = False
        self.apply(config)
        memory.rings.judge_late = self.judge_late
        broker.start(self.on_publication, memory.sequence)

    def apply(self, config: Config) -> None:
        """Go by this config from now on."""
        limits = config.limits
        self._type_defaults = {name: _defaults_of(options) for name, options in config.types.items()}
        self._bounds = Bounds(limits.message_bytes, limits.json_depth, limits.json_keys)

    def prepare(self, body: Any) -> Draft:
        """Check a publish body and fill in what its type decides; a ``Problem`` names all that is wrong."""
        return read_draft(body, self._defaults, self._bounds, segments=bool(self._hooks.resolve_audience.impls))

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
        if id is None:
            return await self._publish(draft, self._ids.notification(), sender, allowed), False
        return await self._answers.once(
            publisher,
            id,
            fingerprint,
            lambda: self._publish(draft, id, sender, allowed),
            table=publisher if sender is None else "users",
        )

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

    async def _publish(self, draft: Draft, id: str, sender: str | None, allowed: Patterns | None) -> Receipt:
        if (hook := self._hooks.prepare_notification).impls:
            impls = hook.impls
            place, change = hook.step(impls, 0, draft)
            if change is not None:
                draft = await self._prepared(draft, impls, place, change)
        channels = draft.channels if draft.segment is None else await self._resolved(draft.segment, allowed)
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
        )
        if self._hooks.store_notification.impls:
            self.gates.judge(notification, channels)
            recipients = notification.judged if notification.judged is not None else self.gates.meant(channels)
            await self._store(notification, recipients)
        if self.stopping:  # since plugins were asked
            raise _stopping()
        return await self._send(notification)

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
            self._tell_filtered(notification)

    # What plugins make of it

    async def _prepared(self, draft: Draft, impls: tuple[Impl, ...], place: int, change: Any) -> Draft:
        """Go on preparing, from the first plugin that had something to change."""
        hook = self._hooks.prepare_notification
        while change is not None:
            if type(change) is Waiting:
                change = await change.rest()
            if change is not None:
                draft = self._changed(impls[place], draft, change)
            place, change = hook.step(impls, place + 1, draft)
        return draft

    def _changed(self, impl: Impl, draft: Draft, change: Any) -> Draft:
        """The draft as a plugin wants it, or as it was when that is no good."""
        hook = self._hooks.prepare_notification
        try:
            return changed_draft(draft, change, self._defaults, self._bounds)
        except Problem as problem:
            why = "; ".join(f"{error.path}: {error.message}" for error in problem.errors) or problem.message
            hook.failed(impl, BadAnswer(f"what hubd_prepare_notification answered is no good: {why}"))
        except BaseException:
            hook.failed(impl, BadAnswer("hubd_prepare_notification answers None, or a dict of what is to change"))
        return draft

    async def _resolved(self, segment: Any, allowed: Patterns | None) -> tuple[Channel, ...]:
        hook = self._hooks.resolve_audience
        found: dict[Channel, None] = {}
        known = False
        for impl in hook.impls:
            answer = await hook.ask(impl, segment)
            if answer is not None:
                known = True
                if isinstance(answer, UserSet) and len(answer) > CHANNELS:
                    raise invalid([FieldError("to.segment", _TOO_MANY)])
                try:
                    found.update(dict.fromkeys(self._channels_of(answer)))
                except BaseException:
                    expected = f"hubd_resolve_audience answers None, a UserSet or a list of up to {CHANNELS} channels"
                    hook.failed(impl, BadAnswer(expected))
        if not known:
            raise invalid([FieldError("to.segment", "nobody here knows this segment")])
        if len(found) > CHANNELS:
            raise invalid([FieldError("to.segment", _TOO_MANY)])
        if allowed is not None and not all(allowed.match(channel.name) for channel in found):
            raise Problem("forbidden", "this key may not publish to everybody in this segment")
        return tuple(found)

    def _channels_of(self, answer: Any) -> Iterable[Channel]:
        if isinstance(answer, UserSet):
            users = (self._numbers.id_of(number) for number in answer)
            return [parse_channel(user_channel(user)) for user in users if user is not None]
        if isinstance(answer, str):
            raise TypeError
        return [parse_channel(name) for name in islice(answer, CHANNELS + 1)]

    async def _store(self, notification: Notification, recipients: UserSet) -> None:
        """Have it kept; what must not get lost is refused when that fails."""
        hook = self._hooks.store_notification
        impls = hook.impls
        must = notification.priority is Priority.CRITICAL or notification.persistence is Persistence.PERSISTENT
        place = 0
        while True:
            try:
                place, answer = hook.step(impls, place, notification, recipients)
            except Failed:
                if must:
                    raise
                place = hook.at + 1
                continue
            if answer is None:
                return
            if type(answer) is Waiting:
                try:
                    await answer.rest()
                except Failed:
                    if must:
                        raise
            place += 1

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
            notification.audience = self._audience(channels)
        self._rings.append(notification, now)
        if not notification.is_ours:  # of those, `_send` tells
            self._tell_filtered(notification)
        if len(channels) == 1:
            return self._fan_out(notification, channels[0])
        return self._fan_out_to_many(notification, channels)

    def _audience(self, channels: list[Channel]) -> tuple[tuple[str, Snapshot], ...]:
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
        for copy in copies or [notification]:
            copy.is_retracted = True
            self._rings.retract(copy, now)
            for name in copy.channels:
                told.update(dict.fromkeys(self._registry.members(parse_channel(name))))
        self.tell(told, {"hub": "retract", "ids": [notification.id]})
        self._observers.retracted.tell(notification)

    async def release(self, notification: Notification, users: Iterable[str]) -> Receipt:
        """Bring a notification to users from whom it had been kept: by their own channels, under its id.

        No gate is asked any more. Its ttl has stood still meanwhile. What was taken back meanwhile stays so.
        """
        if notification.is_retracted:
            return Receipt(notification.id, self._attendance.cursor(), 0)
        left_s = notification.expires_at - notification.kept_at
        if not notification.kept_at:  # no ring took it
            left_s = notification.expires_at - self._clock.monotonic() + self._clock.now() - notification.sent_at / 1000
        return await self._send(notification.released_to(users, self._clock.monotonic() + left_s))

    def tell(self, connections: Iterable[Connection], fields: dict[str, Any]) -> None:
        """Give a control frame to those connections that take control frames."""
        frame = ControlFrame(fields)
        for connection in connections:
            if connection.control:
                connection.outbox.append(frame.of(connection.form))
                self._pump.schedule(connection)
