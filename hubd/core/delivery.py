"""Who is pushed to, and when: the state machine of what becomes of notifications. Pure: events in, effects out."""

from collections.abc import Iterable
from itertools import islice
from math import inf

from hubd.core.milestones import (
    ACKED,
    AWAY,
    EXPIRED,
    LIVE_SENT,
    NO_ROUTE,
    PENDING,
    PUSHED,
    REPLACED,
    RETRACTED,
    dropped,
)
from hubd.core.notification import Persistence, Priority
from hubd.core.record import Moment, Record
from hubd.core.settling import Settling
from hubd.core.stored import Fact
from hubd.core.users import NOBODY, UserSet, union_of

AT_ONCE = 500
"""How many deadlines are seen to in one step: the loop is others', too."""


class Delivery(Settling):
    """Follows notifications until nothing is open about them. All times are handed in.

    ``can_push``: whether there is anybody to push by; without, nobody is waited for. So many (``entries``) of so many
    bytes may be open; of more, important ones are pushed at once and not followed, and ``is_full`` tells whoever has to
    refuse the others.
    """

    # Events

    def published(self, record: Record, moment: Moment, live: UserSet, here: UserSet, plain: UserSet = NOBODY) -> None:
        """It has its place in the sequence. ``live`` are those for whom it was queued.

        ``here``: who is connected or wavering; ``plain``: who has a connection that doesn't ack.
        """
        record.published_at = moment.wall
        milestones = record.milestones
        if milestones.others is not None:  # while it was being stored somebody may have acked it: ids can be guessed
            live = live - milestones.at(ACKED)
        if live:
            milestones.move(live, LIVE_SENT)
        if record.collapses is not None:
            self._replace(record, moment)
        if not self._is_settled(record, moment, here):
            self._decide(record, moment, here, live & plain)
        if record.is_escalating or record.is_stored or record.has_held:
            self._begin(record)
        else:
            if milestones.others is not None:
                record.settle_size()
            self._unlink(record)

    def _is_settled(self, record: Record, moment: Moment, here: UserSet) -> bool:
        """The usual cases: all have it and needn't ack, or one is away for good."""
        milestones = record.milestones
        if milestones.others is not None or (
            record.escalates and (self.can_push or record.priority is Priority.CRITICAL)
        ):
            return False
        if milestones.rest == LIVE_SENT:
            return True
        if milestones.rest != PENDING or len(record.everybody) != 1 or record.unless_live:
            return False
        (number,) = record.everybody
        if number in here:
            return False
        if record.escalates:
            record.note_one(moment.wall, "no_route", number)
        milestones.move_one(number, NO_ROUTE if record.escalates else AWAY)
        return True

    def _decide(self, record: Record, moment: Moment, here: UserSet, plain: UserSet) -> None:
        pending = record.milestones.at(PENDING)
        if record.persistence is Persistence.EPHEMERAL:
            self._drop_pending(record, pending, AWAY)
        elif record.escalates:
            self._escalate(record, moment, here, plain)
        else:
            self._miss(record, pending - here, moment)
            if self.is_full:
                self._miss(record, pending & here, moment)
            else:
                self._wait(record, pending & here, moment.mono + self.grace_s)

    def joined(self, record: Record, users: UserSet, *, may_push: bool) -> None:
        """Somebody joined a topic after its row was written, and before it was published."""
        record.milestones.add_all(users)
        record.milestones.move(users, PENDING)
        record.late = record.late | users
        if may_push and record.escalates:
            record.may_push = record.may_push | users

    def judged_late(self, record: Record, facts: Iterable[Fact], moment: Moment) -> None:
        """Gates have had their say about those who joined, too: of whom it may still reach the store has to know."""
        if users := record.late & union_of([record.may_push, *record.held.values()]):
            self._fact(record, "joined", users, moment)
        for fact in facts:
            self._fact(record, fact.kind, fact.users, moment, fact.detail)

    def _escalate(self, record: Record, moment: Moment, here: UserSet, plain: UserSet) -> None:
        users = record.may_push - record.milestones.at(ACKED)
        if record.priority is Priority.CRITICAL:
            at_once, later = users, NOBODY
        else:
            at_once = (users - here) | (users & record.live_off)
            later = users - at_once
            if self.plain_ack == "written":
                later = later - plain
        self._miss(record, record.milestones.at(PENDING) - users, moment)
        if not self.can_push:
            if self.is_full and not record.is_stored:
                at_once, later = users, NOBODY
            self._strand(record, at_once, moment)
            self._wait(record, later & record.milestones.at(PENDING), moment.mono + self.grace_s)
            return
        if self.is_full and not record.is_stored:
            self._push(record, users, moment)
            record.pushing = NOBODY
            return
        self._wait(record, later, moment.mono + self.push_delay_s)
        if later:
            record.note(moment.wall, "waiting", later, f"{self.push_delay_s:g}")
        self._push(record, at_once, moment)

    def acked(self, record: Record, number: int, moment: Moment, by: str = "") -> bool:
        """A user was shown it, on the connection ``by``; False when that was known."""
        milestones = record.milestones
        if (before := milestones.of(number)) == ACKED:
            return False
        if before is None:  # it reached him by a way that wasn't foreseen
            milestones.add(number, PENDING)
        milestones.move_one(number, ACKED)
        record.note_one(moment.wall, "acked", number, by)
        self._fact(record, "acked", UserSet((number,)), moment, by)
        self._settle(record, number)
        return True

    def proved(self, sequence: int, number: int, moment: Moment) -> None:
        """A connection that doesn't ack has shown that it was there when this was behind it."""
        record = self.open.with_sequence(sequence)
        if record is None or record.priority is Priority.CRITICAL or self.plain_ack == "never":
            return
        if number in record.waiting:
            record.note_one(moment.wall, "proved", number)
            self._fact(record, "proved", UserSet((number,)), moment)
            self._settle(record, number)

    def replayed(self, record: Record, number: int, moment: Moment) -> None:
        """A user who came back got it from a ring."""
        before = record.milestones.of(number)
        if before is None:
            record.milestones.add(number, LIVE_SENT)
        elif before == PENDING or before.startswith(("held(", "dropped(")):
            record.milestones.move_one(number, LIVE_SENT)
            if before not in (PENDING, AWAY, NO_ROUTE):  # the store was told that it is kept from him
                self._fact(record, "proved", UserSet((number,)), moment)
        if record.priority is Priority.INFORMATIONAL and number in record.waiting:
            self._settle(record, number)
        elif record.has_held:
            self._close_if_done(record)

    def due(self, moment: Moment, most: int = AT_ONCE) -> bool:
        """Time has passed: do what was to be done before now, so much of it; False: that was all.

        Who acks at the very moment is in time.
        """
        for record in islice(self.open.due(moment.mono), most):
            if record.expires_at < moment.mono:
                self.expired(record, moment)
            elif record.due_at < moment.mono:
                self._waited(record, moment)
            self.open.arm(record)
        return self.open.next_deadline() <= moment.mono

    def _waited(self, record: Record, moment: Moment) -> None:
        users, record.waiting, record.due_at = record.waiting, NOBODY, inf
        if record.priority is Priority.INFORMATIONAL:
            self._miss(record, users & record.milestones.at(PENDING), moment)
        elif self.can_push:
            self._push(record, users, moment)
        else:
            self._strand(record, users, moment)
        self._close_if_done(record)

    def attempted(self, record: Record, users: UserSet, text: str, moment: Moment) -> None:
        """A push service answered this for a device of each of these users."""
        record.note_attempt(moment.wall, users, text)

    def accepted(self, record: Record, users: UserSet, moment: Moment, detail: str = "") -> None:
        """A push service took it for a device of each of these users; ``detail`` says which, and its answer."""
        if not (users := users & record.everybody):
            return
        record.pushing = record.pushing - users
        record.note(moment.wall, "pushed", users, detail)
        if users := users - record.milestones.at(ACKED):
            record.milestones.move(users, PUSHED)
            self._fact(record, "pushed", users, moment, detail)
        self._close_if_done(record)

    def not_routed(self, record: Record, users: UserSet, moment: Moment) -> None:
        """These users have no device."""
        users = users & record.pushing
        record.pushing = record.pushing - users
        self._strand(record, users, moment)
        self._close_if_done(record)

    def given_up(self, record: Record, users: UserSet, why: str, moment: Moment) -> None:
        """No push service will take it for these users."""
        if not (users := users & record.pushing):
            return
        record.pushing = record.pushing - users
        record.note(moment.wall, "given_up", users, why)
        if record.priority is Priority.CRITICAL:  # it isn't over until it reaches them
            self._strand(record, users, moment)
        elif users := users & record.milestones.at(PENDING):
            record.milestones.move(users, dropped(why))
            self._fact(record, "dropped", users, moment, why)
        self._close_if_done(record)

    def device_came(self, number: int, moment: Moment) -> None:
        """A user has a device now: what couldn't be brought to him goes there."""
        for record in self.open.stranded(number):
            user = UserSet((number,))
            record.no_route = record.no_route - user
            self._push(record, user, moment)

    def retracted(self, record: Record, moment: Moment) -> None:
        """Its publisher took it back."""
        milestones = record.milestones
        still = milestones.at(PENDING) | milestones.at(LIVE_SENT)
        for users in record.held.values():
            still = still | users
        record.note(moment.wall, "retracted", None)
        if still:
            milestones.move(still, RETRACTED)
            self._fact(record, "retracted", still, moment)
        self._end(record)

    def expired(self, record: Record, moment: Moment) -> None:
        """Its ttl is over; for those for whom it is held it stands still."""
        if users := record.milestones.at(PENDING):
            record.note(moment.wall, "expired", users)
            record.milestones.move(users, EXPIRED)
            self._fact(record, "expired", users, moment)
        self._end(record)

    def released(self, record: Record, users: UserSet, moment: Moment) -> UserSet:
        """What was held for these users goes out as a publication of its own; gives for whom it had been held."""
        if them := self.releasable(record) & users:
            record.note(moment.wall, "released", them)
            record.no_route = record.no_route - them
            record.pushing = record.pushing - them
            record.milestones.take_out(them)
            self._close_if_done(record)
        return them

    def releasable(self, record: Record) -> UserSet:
        """For whom it is held, or to whom it is just being brought because nothing could reach them."""
        them = (record.no_route | record.pushing) - record.milestones.at(ACKED)
        for held in record.held.values():
            them = them | held
        return them

    def bringing(self, record: Record, number: int) -> bool:
        """A user whom nothing could reach is here: it is brought to him, by ``released``; False: it is already."""
        if number not in record.no_route:
            return False
        user = UserSet((number,))
        record.no_route = record.no_route - user
        record.pushing = record.pushing | user
        return True

    def not_brought(self, record: Record, number: int, moment: Moment) -> None:
        """That failed: he waits for the next occasion."""
        if record.is_open:
            self.not_routed(record, UserSet((number,)), moment)

    def restored(self, record: Record, moment: Moment) -> None:
        """It was open when the hub before ended: it goes on. ``due_at`` is when it would have been."""
        due_at, record.due_at = record.due_at, inf
        pending = record.milestones.at(PENDING)
        users = record.may_push & pending if record.escalates else NOBODY
        if record.priority is Priority.CRITICAL:
            due_at = moment.mono
        self._wait(record, users, min(due_at, moment.mono + self.push_delay_s))
        self._drop_pending(record, pending - users, AWAY)
        record.note(moment.wall, "restored", None)
        self._begin(record)

    def _replace(self, record: Record, moment: Moment) -> None:
        """What has the same collapse key and wasn't shown yet isn't wanted any more; critical ones are."""
        assert record.collapses is not None
        reached = record.milestones.at(PENDING) | record.milestones.at(LIVE_SENT)
        for old in self.open.collapsing(record.collapses, reached):
            if old.priority is Priority.CRITICAL:
                continue
            users = (old.waiting | old.pushing) & reached
            if not users:
                continue
            old.waiting = old.waiting - users
            old.pushing = old.pushing - users
            if old.was_pushed:
                self._out.cancel(old, users)
            old.milestones.move(users, REPLACED)
            old.note(moment.wall, "replaced", users, record.id)
            self._fact(old, "replaced", users, moment, record.id)
            self._close_if_done(old)
