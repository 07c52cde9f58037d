"""Bugs to plant in the hub, one at a time, and by which promise each is to be found."""

import asyncio
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, NamedTuple

import pytest

import hubd.core.record
import hubd.core.replay
from hubd.arrivals import Arrivals
from hubd.core.connection import Connection, Visibility
from hubd.core.delivery import Delivery
from hubd.core.milestones import ACKED, LIVE_SENT, Milestones
from hubd.core.notification import Notification, Persistence, Priority
from hubd.core.presence import Presence
from hubd.core.record import NOBODY, Moment, Record
from hubd.core.stored import Fact
from hubd.core.users import UserSet
from hubd.delivering import Delivering
from hubd.storing import StoreError
from tests.simulation.disk import MemoryStore

Patch = pytest.MonkeyPatch


def an_ack_after_the_deadline_cancels(patch: Patch) -> None:
    wait = Delivery._wait
    patch.setattr(Delivery, "_wait", lambda self, record, users, until: wait(self, record, users, until + 1.0))


def an_ack_before_the_deadline_does_not_cancel(patch: Patch) -> None:
    patch.setattr(Delivery, "_settle", lambda self, record, number: None)


def an_ack_is_answered_before_its_commit(patch: Patch) -> None:
    patch.setattr(Delivering, "acks_written", lambda self: [])


def the_timer_is_lost_on_restart(patch: Patch) -> None:
    restored = Delivery.restored

    def without_timer(self: Delivery, record: Record, moment: Moment) -> None:
        restored(self, record, moment)
        record.waiting, record.due_at = NOBODY, inf

    patch.setattr(Delivery, "restored", without_timer)


def it_escalates_twice_after_a_restart(patch: Patch) -> None:
    fold = Record.fold

    def forgetful(self: Record, facts: Iterable[Fact]) -> None:
        fold(self, [fact for fact in facts if fact.kind != "pushed"])

    patch.setattr(Record, "fold", forgetful)


def the_grace_is_forgotten(patch: Patch) -> None:
    make, set_times = Presence.__init__, Presence.set_times
    patch.setattr(Presence, "__init__", lambda self, grace_s, *others: make(self, 0.0, *others))
    patch.setattr(Presence, "set_times", lambda self, grace_s, attention_s: set_times(self, 0.0, attention_s))


def a_ghost_tab_keeps_the_phone_silent(patch: Patch) -> None:
    push = Delivering.push

    def quietly(self: Delivering, record: Record, users: UserSet) -> None:
        for number in list(users):
            user = self._registry.users.get(str(self._numbers.id_of(number)))
            if user is not None and any(one.visibility is not Visibility.HIDDEN for one in user.connections):
                users = users - UserSet((number,))
        if users:
            push(self, record, users)

    patch.setattr(Delivering, "push", quietly)


def proof_of_life_is_taken_from_before_the_write(patch: Patch) -> None:
    def pong(self: Arrivals, connection: Connection, sequence: int) -> None:
        if not connection.acks and connection.user is not None:
            for record in list(self._delivering.delivery.open.by_key.values()):
                self._delivering.proved(record.sequence, connection.user.number)

    patch.setattr(Arrivals, "pong", pong)


def a_critical_one_is_settled_by_writing(patch: Patch) -> None:
    escalate = Delivery._escalate

    def written(self: Delivery, record: Record, *args: Any) -> None:
        if record.priority is Priority.CRITICAL:
            record.may_push = record.may_push - record.milestones.at(LIVE_SENT)
        escalate(self, record, *args)

    patch.setattr(Delivery, "_escalate", written)


def the_ttl_runs_on_while_it_is_held(patch: Patch) -> None:
    released_to = Notification.released_to

    def as_it_was(self: Notification, users: Iterable[str], expires_at: float) -> Notification:
        return released_to(self, users, self.expires_at)

    patch.setattr(Notification, "released_to", as_it_was)


def a_retraction_leaves_the_timer(patch: Patch) -> None:
    patch.setattr(Delivery, "retracted", lambda self, record, moment: None)


def a_milestone_is_counted_twice(patch: Patch) -> None:
    count = Milestones._count

    def twice(self: Milestones, before: str, to: str, number: int) -> None:
        count(self, before, to, number)
        if to == ACKED:
            self._tally[to] += number

    patch.setattr(Milestones, "_count", twice)


def an_ephemeral_one_is_pushed(patch: Patch) -> None:
    published = Delivery.published

    def as_if_kept(self: Delivery, record: Record, *args: Any) -> None:
        if record.persistence is Persistence.EPHEMERAL and record.priority is Priority.IMPORTANT:
            record.persistence, record.may_push = Persistence.BUFFERABLE, record.everybody
        published(self, record, *args)

    patch.setattr(Delivery, "published", as_if_kept)


def an_exclusion_is_ignored_in_the_replay(patch: Patch) -> None:
    patch.setattr(hubd.core.replay, "_is_kept_from", lambda connection, notification, rings: False)


def a_store_error_is_answered_by_202(patch: Patch) -> None:
    write = MemoryStore.write

    def hopeful(self: MemoryStore, *args: Any) -> "asyncio.Future[None]":
        told, real = self._loop.create_future(), write(self, *args)

        def done(future: "asyncio.Future[None]") -> None:
            if isinstance(future.exception(), StoreError) and not told.done():
                told.set_result(None)
            elif not told.done():
                told.set_result(future.result())

        real.add_done_callback(done)
        return told

    patch.setattr(MemoryStore, "write", hopeful)


def a_group_commit_answers_one_batch_early(patch: Patch) -> None:
    take = MemoryStore._take

    def early(self: MemoryStore) -> list[Any]:
        batch = take(self)
        for one in batch:
            if one.done is not None and not one.done.done():
                one.done.set_result(None)
        return batch

    patch.setattr(MemoryStore, "_take", early)


class Plant(NamedTuple):
    """``trouble`` is what it shows in, ``promises`` what it breaks: any of these."""

    bug: Callable[[Patch], None]
    promises: tuple[str, ...]
    trouble: tuple[str, ...] = ()


PLANTS = (
    Plant(an_ack_after_the_deadline_cancels, ("push",)),
    Plant(an_ack_before_the_deadline_does_not_cancel, ("push", "once")),
    Plant(an_ack_is_answered_before_its_commit, ("durable",)),
    Plant(the_timer_is_lost_on_restart, ("push", "critical"), ("crash", "stop")),
    Plant(it_escalates_twice_after_a_restart, ("once",), ("crash", "stop")),
    Plant(the_grace_is_forgotten, ("push",)),
    Plant(a_ghost_tab_keeps_the_phone_silent, ("push",), ("network",)),
    Plant(proof_of_life_is_taken_from_before_the_write, ("push",), ("network",)),
    Plant(a_critical_one_is_settled_by_writing, ("push",)),
    Plant(the_ttl_runs_on_while_it_is_held, ("push", "critical"), ("gate",)),
    Plant(a_retraction_leaves_the_timer, ("push",)),
    Plant(a_milestone_is_counted_twice, ("conservation",)),
    Plant(an_ephemeral_one_is_pushed, ("push",)),
    Plant(an_exclusion_is_ignored_in_the_replay, ("quiet",), ("gate",)),
    Plant(a_store_error_is_answered_by_202, ("durable",), ("disk",)),
    Plant(a_group_commit_answers_one_batch_early, ("durable",), ("disk",)),
)
