"""Whatever happens, in whatever order: everybody at one milestone, nothing critical forgotten, nothing left behind."""

from collections import Counter
from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.milestones import ACKED, LIVE_SENT, PENDING, PUSHED, dropped
from hubd.core.notification import Persistence, Priority
from hubd.core.record import Record
from hubd.core.stored import Fact
from hubd.core.users import UserSet
from hubd.core.verdict import Way, digest, drop, hold
from tests.core.delivery_world import World, users, where
from tests.core.made import published

PEOPLE = range(1, 6)
some = st.sets(st.sampled_from(PEOPLE))
one = st.sampled_from(PEOPLE)
which = st.integers(0, 5)
verdicts = st.lists(
    st.tuples(st.sampled_from([drop, hold, digest]), some, st.sampled_from([Way.ALL, Way.LIVE, Way.PUSH])), max_size=2
)
publishes = st.fixed_dictionaries(
    {
        "everybody": some,
        "live": some,
        "here": some,
        "plain": some,
        "priority": st.sampled_from(list(Priority)),
        "persistence": st.sampled_from(list(Persistence)),
        "ttl_s": st.sampled_from([0.0, 3.0, 20.0, 1000.0]),
        "collapse_key": st.sampled_from([None, None, "a"]),
        "verdicts": verdicts,
        "may_push": st.booleans(),
        "joins": some,
    }
)
events = st.one_of(
    st.tuples(st.just("publish"), publishes),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 7.5, 30.0])),
    st.tuples(st.sampled_from(["ack", "prove", "replay"]), which, one),
    st.tuples(st.sampled_from(["accept", "no_route", "give_up", "release"]), which, some),
    st.tuples(st.just("retract"), which),
    st.tuples(st.just("device"), one),
)
histories = st.lists(events, max_size=25)


class History(World):
    """Plays a history, and looks after each event whether what was promised still holds."""

    def __init__(self, can_push: bool, entries: int = 100_000) -> None:
        super().__init__(can_push=can_push, entries=entries)
        self.closed: Counter[str] = Counter()
        self.shut: set[str] = set()  # retracted, or its ttl was over: its key
        self.gone: set[tuple[str, int]] = set()

    def push(self, record: Record, users: UserSet) -> None:
        assert users and not users & record.milestones.at(ACKED), "no push starts after its user's ack"
        assert not users - record.everybody and record.key not in self.shut
        super().push(record, users)

    def close(self, record: Record) -> None:
        self.closed[record.key] += 1
        super().close(record)

    def play(self, event: Any) -> None:
        what, *rest = event
        getattr(self, f"_{what}")(*rest)
        for record in self.records:
            if record.expires_at < self.now and record.deadline == inf:
                self.shut.add(record.key)
        self.look()

    def _pick(self, which: int) -> Record | None:
        return self.records[which % len(self.records)] if self.records else None

    def _publish(self, said: dict[str, Any]) -> None:
        said = dict(said)
        may_push, joins = said.pop("may_push"), UserSet(said.pop("joins"))
        judged = [(make, UserSet(them), way) for make, them, way in said.pop("verdicts")]
        how = {name: said.pop(name) for name in ("live", "here", "plain")}
        if said["priority"] is Priority.CRITICAL and said["persistence"] is Persistence.EPHEMERAL:
            said["persistence"] = Persistence.BUFFERABLE
        record = self.make(**said)
        self.judge(record, *(make(them, "why", way) for make, them, way in judged))
        if said["persistence"] is Persistence.PERSISTENT or said["priority"] is Priority.CRITICAL:
            self.store(record)
            if joined := joins - record.everybody:
                self.delivery.joined(record, joined, may_push=may_push)
                self.judge(record, *(make(them & joined, "why", way) for make, them, way in judged))
        how["live"] = (UserSet(how["live"]) & record.everybody) - record.live_off
        self.send(record, **how)

    def _wait(self, seconds: float) -> None:
        self.wait(seconds)

    def _ack(self, which: int, number: int) -> None:
        if record := self._pick(which):
            self.ack(record, number)

    def _prove(self, which: int, number: int) -> None:
        if record := self._pick(which):
            self.delivery.proved(record.sequence, number, self.moment)

    def _replay(self, which: int, number: int) -> None:
        record = self._pick(which)
        if record is None or number in record.live_off or record.expires_at <= self.now:
            return
        if (record.key, number) not in self.gone:  # to whom it was released, the rings don't give it
            self.delivery.replayed(record, number, self.moment)

    def _accept(self, which: int, them: set[int]) -> None:
        if record := self._pick(which):
            self.accept(record, *(UserSet(them) & record.pushing))

    def _no_route(self, which: int, them: set[int]) -> None:
        if record := self._pick(which):
            self.no_route(record, *them)

    def _give_up(self, which: int, them: set[int]) -> None:
        if record := self._pick(which):
            self.give_up(record, *them)

    def _release(self, which: int, them: set[int]) -> None:
        if record := self._pick(which):
            gone = self.delivery.released(record, UserSet(them), self.moment)
            self.gone |= {(record.key, number) for number in gone}
            if gone and record.key in self.stored:  # with the row of what goes out
                self.stored[record.key][1].append(Fact(record.key, "released", gone, self.moment.ms))

    def _retract(self, which: int) -> None:
        if record := self._pick(which):
            self.shut.add(record.key)
            self.delivery.retracted(record, self.moment)

    def _device(self, number: int) -> None:
        if self.delivery.can_push:
            self.delivery.device_came(number, self.moment)

    # What must hold

    def look(self) -> None:
        counted: Counter[str] = Counter()
        for record in self.records:
            counted.update(where(record).values())
            self._look_at(record)
        assert self.tally == counted
        open_ = {record.key for record in self.records if record.is_open}
        assert set(self.delivery.open.by_key) == open_
        deadlines = [record.deadline for record in self.records if record.is_open]
        assert self.delivery.open.next_deadline() >= min(deadlines, default=inf), "nothing is due before its time"

    def _look_at(self, record: Record) -> None:
        sets = [record.waiting, record.pushing, record.no_route]
        together = UserSet(number for them in sets for number in them)
        assert sum(map(len, sets)) == len(together), "everybody waits for one thing"
        assert not together - record.everybody
        assert not together & record.milestones.at(ACKED)
        assert bool(together) <= record.is_open or record.key in self.shut
        if record.persistence is Persistence.EPHEMERAL:
            assert not record.is_open and not record.held
        if record.is_open:
            assert together or record.held, "it stays open for nothing"
            assert not record.waiting or record.deadline <= record.due_at
            assert not together or record.deadline <= record.expires_at
        if record.is_stored:
            assert (self.closed[record.key] > 0) is not record.is_open
        assert self.closed[record.key] <= 1
        if record.priority is Priority.CRITICAL and record.key not in self.shut:
            left = (record.milestones.at(PENDING) | record.milestones.at(LIVE_SENT)) & record.may_push
            assert not left - together, "an open critical one has a timer, an attempt, a hold, or no route"


@settings(max_examples=120, deadline=None)
@given(st.booleans(), histories)
def test_any_history(can_push: bool, history: list[Any]) -> None:
    world = History(can_push)
    for event in history:
        world.play(event)
    for record in world.records:  # and in the end it is over for all, but for whom it is held
        world._release(world.records.index(record), set(PEOPLE))
    world.play(("wait", 2000.0))
    assert [record.id for record in world.records if record.is_open] == []
    assert world.delivery.open._by_sequence == world.delivery.open._stranded == {}
    assert len(world.delivery.open._collapsing) == 0


@settings(max_examples=50, deadline=None)
@given(st.booleans(), histories)
def test_any_history_with_little_room(can_push: bool, history: list[Any]) -> None:
    world = World(can_push=can_push, entries=2)
    for event in history:
        what, *rest = event
        if what == "publish":
            said = {name: value for name, value in rest[0].items() if name not in ("may_push", "verdicts", "joins")}
            said |= {"priority": Priority(min(said["priority"], 1)), "persistence": Persistence.BUFFERABLE}
            said["live"] = said["live"] & said["everybody"]
            world.publish(**said)
        elif what == "wait":
            world.wait(*rest)
    assert len(world.delivery.open) <= 2
    assert world.tally == Counter(at for record in world.records for at in where(record).values())


# --- After a crash

KNOWN = (PENDING, LIVE_SENT, dropped("away"), dropped("no_route"))
"""What isn't stored: after a crash all of these are pending, or whoever isn't pushed to is away."""


def restarted(world: World, record: Record) -> Record:
    """What the next hub has of it, from its row and facts."""
    row, facts = world.stored[record.key]
    fresh = World()
    fresh.now = world.now
    notification = published(
        *row.channels,
        sequence=record.sequence,
        id=row.id,
        ttl_s=record.expires_at,
        priority=record.priority,
        persistence=Persistence(row.persistence),
        collapse_key=row.collapse_key,
    )
    made = Record(row.key, notification, row.everybody, row.may_push, fresh.delivery.tally, fresh.budget)
    made.is_stored = True
    made.fold(facts)
    made.sequence = record.sequence
    made.due_at = fresh.now
    fresh.delivery.restored(made, fresh.moment)
    assert fresh.tally == Counter(where(made).values())
    return made


@settings(max_examples=80, deadline=None)
@given(histories)
def test_after_a_crash_at_any_moment_everything_goes_on(history: list[Any]) -> None:
    world = History(can_push=True)
    for event in history:
        world.play(event)
        for record in world.records:
            if not record.is_open or record.key not in world.stored:
                continue
            again = restarted(world, record)
            before, after = where(record), where(again)
            assert after.keys() <= before.keys()
            for number, milestone in before.items():
                if number not in after:
                    assert number not in record.may_push, "who came late, and isn't pushed to"
                elif milestone in KNOWN:
                    assert after[number] in KNOWN
                else:
                    assert after[number] == milestone
            still = record.waiting | record.pushing | record.no_route
            if record.escalates:
                assert not still - again.waiting, "each pending one goes on"
            assert not again.waiting & users(*(n for n, at in before.items() if at in (ACKED, PUSHED)))
            assert again.held == record.held
