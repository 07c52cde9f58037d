"""Rings, by any history, against a model of plain lists that keeps everything and cuts it down each time."""

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hubd.core.notification import Notification
from hubd.core.ring import REFERENCE_BYTES, RING_BYTES, Rings
from tests.core.made import published

CHANNELS = ["a", "b", "c"]
TTL_S = 50.0


class Kept(NamedTuple):
    """One place in one ring."""

    name: str
    notification: Notification
    since: float


class RingsByAnyHistory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sequence = 0
        self.kept: list[Kept] = []
        self.evicted = dict.fromkeys(CHANNELS, 0)

    @initialize(per_channel=st.integers(1, 4), max_bytes=st.sampled_from([3000, 8000, 10**9]))
    def begin(self, per_channel: int, max_bytes: int) -> None:
        self.per_channel, self.max_bytes = per_channel, max_bytes
        self.rings = Rings(per_channel, TTL_S, max_bytes)

    # The model

    def bytes(self) -> int:
        sizes = {id(one.notification): one.notification.size for one in self.kept}
        rings = {one.name for one in self.kept}
        return sum(sizes.values()) + len(self.kept) * REFERENCE_BYTES + len(rings) * RING_BYTES

    def evict(self, one: Kept) -> None:
        self.kept.remove(one)
        if one.notification.expires_at > self.now:
            self.evicted[one.name] = one.notification.sequence

    def age(self) -> None:
        for one in [one for one in self.kept if one.since <= self.now - TTL_S]:
            self.evict(one)

    # What happens

    @rule(
        to=st.lists(st.sampled_from(CHANNELS), min_size=1, unique=True),
        ttl_s=st.sampled_from([0.5, 10.0, 1000.0]),
        live_only=st.sampled_from([False, False, False, True]),
        pad=st.sampled_from([0, 500]),
    )
    def append(self, to: list[str], ttl_s: float, live_only: bool, pad: int) -> None:
        self.sequence += 1
        payload = {"type": "t", "text": "x" * pad}
        made = published(*to, sequence=self.sequence, ttl_s=self.now + ttl_s, live_only=live_only, payload=payload)
        self.rings.append(made, self.now)
        self.age()
        if live_only:
            return
        for name in to:
            self.kept.append(Kept(name, made, self.now))
            mine = [one for one in self.kept if one.name == name]
            if len(mine) > self.per_channel:
                self.evict(mine[0])
        while self.bytes() > self.max_bytes:
            self.evict(self.kept[0])

    @rule(seconds=st.sampled_from([0.3, 1.0, 20.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self.rings.expire(self.now)
        self.age()

    @rule(back=st.integers(0, 5))
    def find_and_retract(self, back: int) -> None:
        id = f"n{self.sequence - back}"
        found = self.rings.find(id, self.now)
        self.age()
        of_id = [one for one in self.kept if one.notification.id == id and one.notification.expires_at > self.now]
        assert found is (of_id[0].notification if of_id else None)
        if found is not None:
            self.rings.retract(found, self.now)
            self.kept = [one for one in self.kept if one.notification is not found]

    # What must be so

    def alive(self, name: str) -> list[int]:
        return [
            one.notification.sequence
            for one in self.kept
            if one.name == name and one.notification.expires_at > self.now and one.since > self.now - TTL_S
        ]

    @invariant()
    def the_rings_are_what_the_lists_are(self) -> None:
        for name in CHANNELS:
            mine = [one.notification.sequence for one in self.kept if one.name == name]
            assert self.rings.depth(name) == len(mine)
            assert [entry.sequence for entry in self.rings.after([name], 0)] == mine
            assert self.rings.evicted(name) == self.evicted[name]
        assert set(self.rings.names()) == {one.name for one in self.kept}

    @invariant()
    def any_position_reads_what_is_behind_it(self) -> None:
        for position in range(max(0, self.sequence - 6), self.sequence + 2):
            behind = sorted(one.notification.sequence for one in self.kept if one.notification.sequence > position)
            assert [entry.sequence for entry in self.rings.after(CHANNELS, position)] == behind

    @invariant()
    def bytes_are_right_and_bounded(self) -> None:
        assert self.rings.bytes == self.bytes() <= self.max_bytes

    @rule(name=st.sampled_from(CHANNELS), limit=st.integers(1, 3))
    def history(self, name: str, limit: int) -> None:
        expected = self.alive(name)[-limit:]
        assert [one.sequence for one in self.rings.history(name, limit, self.now)] == expected
        self.age()


RingsByAnyHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestRingsByAnyHistory = RingsByAnyHistory.TestCase
