"""The pump where it gets tight: transports that take no more, slow consumers, faults, long replays."""

import logging

import pytest

from hubd.core.replay import Replay
from hubd.pump import SLICE, TURNS
from hubd.testing import JSON_FORM
from tests.core.made import joined, published
from tests.pump_world import QUEUE_BYTES, Wire, World, wires_of

# --- A transport that takes no more


def test_nothing_is_written_past_a_pause() -> None:
    world, wire = World(), Wire(room=1)
    for id in "abc":
        world.targeted([wire], id)
    world.soon.settle()
    assert wire.ids() == ["a"]
    assert len(wire.outbox) == 2
    world.drain(wire)
    world.soon.settle()
    assert wire.ids() == ["a", "b", "c"]
    assert wire.per_write() == [1, 2]


def test_it_pauses_and_goes_on_as_often_as_it_must() -> None:
    world, wire = World(queue_bytes=10**9), Wire(room=0)
    sent = []
    for round_ in range(20):
        world.broadcast([wire], f"n{round_}")
        sent.append(f"n{round_}")
        world.soon.settle()
        if round_ % 3 == 0:
            world.drain(wire, room=10)
            world.soon.settle()
    world.drain(wire)
    world.soon.settle()
    assert wire.ids() == sent


def test_too_many_bytes_that_wait_make_a_slow_consumer() -> None:
    world, wire = World(), Wire(room=0)
    size = 0
    while not world.slow:
        world.targeted([wire], pad=1000)
        size = size or len(wire.writes[0])
        assert sum(map(len, wire.outbox)) + wire.unsent() <= QUEUE_BYTES
    assert world.slow == [wire]
    assert world.sequence == QUEUE_BYTES // size + 1, "exactly when the bound is passed"
    assert world.targeted([wire]) == 0


def test_what_is_exactly_the_bound_is_no_slow_consumer() -> None:
    wire = Wire(room=0)
    size = len(JSON_FORM.control({"a": 1}))
    world = World(queue_bytes=3 * size)
    for _ in range(3):
        wire.put_control({"a": 1})
        world.pump.flush(wire)
    assert wire.unsent() + sum(map(len, wire.outbox)) == 3 * size
    assert world.slow == []
    wire.put_control({"a": 1})
    world.pump.flush(wire)
    assert world.slow == [wire]


def test_broadcasts_make_a_slow_consumer_too() -> None:
    world, wire = World(), Wire(room=0)
    for _ in range(200):
        world.broadcast([wire])
        world.soon.settle()
    assert world.slow == [wire]
    assert wire.aborted and wire.outbox == []


def test_control_frames_make_a_slow_consumer_too() -> None:
    world, wire = World(), Wire(room=0)
    while not world.slow:
        wire.put_control({"hub": "ping", "cursor": "x" * 900})
        world.pump.schedule(wire)
        world.soon.settle()
        assert sum(map(len, wire.outbox)) < QUEUE_BYTES
    assert wire.aborted


def test_what_is_left_of_one_visit_counts_at_once() -> None:
    world, wire = World(), Wire(room=0)
    for _ in range(200):
        world.broadcast([wire], pad=1000)
    world.soon.turn()
    assert world.slow == [wire]


def test_bytes_are_counted_once_however_often_it_is_visited() -> None:
    world, wire = World(), Wire(room=0)
    world.targeted([wire], pad=1000)
    world.targeted([wire], pad=1000)
    for _ in range(100):
        world.pump.schedule(wire)
        world.soon.settle()
    assert world.slow == []
    assert wire.queued == sum(map(len, wire.outbox))


def test_after_a_drain_the_count_begins_anew() -> None:
    world, wire = World(), Wire(room=0)
    for _ in range(30):
        for _ in range(7):
            world.targeted([wire], pad=1000)
        world.drain(wire, room=10**6)
        world.soon.settle()
        wire.room = 0
    assert world.slow == []
    assert len(wire.ids()) == 210


def test_a_slow_consumer_holds_nobody_up() -> None:
    world, wires = World(), wires_of(50)
    wires[10].room = 0
    for _ in range(20):
        world.broadcast(wires, pad=1000)
        world.soon.settle()
    assert world.slow == [wires[10]]
    assert {len(wire.ids()) for wire in wires if wire is not wires[10]} == {20}


# --- Faults


def test_a_fault_in_one_connection_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    for few in (True, False):
        world, wires = World(), wires_of(10)
        wires[3].fault = OSError("broken")
        (world.targeted if few else world.broadcast)(wires, "a")
        world.soon.settle()
        assert [wire.ids() for wire in wires] == [["a"]] * 3 + [[]] + [["a"]] * 6
        assert world.slow == [wires[3]]
        world.broadcast(wires, "b")
        world.soon.settle()
        assert {len(wire.ids()) for wire in wires if wire is not wires[3]} == {2}
    assert all(record.getMessage().startswith("write_failed: ") for record in caplog.records)
    assert len(caplog.records) == 2


def test_not_even_one_that_cant_be_cut(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Wire):
        def abort(self) -> None:
            raise RuntimeError("it can't be cut either")

    world, wires = World(), [*wires_of(2), Stuck(), *wires_of(SLICE)]
    wires[2].fault = OSError("broken")
    world.broadcast(wires, "a")
    world.soon.settle()
    world.broadcast(wires, "b")
    with caplog.at_level(logging.CRITICAL):
        world.soon.settle()
    assert {tuple(wire.ids()) for wire in wires if wire is not wires[2]} == {("a", "b")}


def test_a_fault_in_a_replay_is_that_connections_alone() -> None:
    def fail(wire: Wire) -> None:
        raise ValueError("the replay is broken")

    world, wires = World(read_on=fail), wires_of(3)
    wires[1].replays.append(Replay(0))
    for wire in wires:
        world.pump.schedule(wire)
    world.broadcast(wires, "a")
    world.soon.settle()
    assert world.slow == [wires[1]]
    assert wires[0].ids() == wires[2].ids() == ["a"]


# --- Replays


class Reading(World):
    """A pump whose connections read `shares` of one frame each before they turn live."""

    def __init__(self, shares: int) -> None:
        super().__init__(read_on=self.read)
        self.left = shares
        self.reads: list[int] = []  # how many turns had gone by at each read
        self.turns = 0

    def read(self, wire: Wire) -> None:
        self.reads.append(self.turns)
        self.left -= 1
        wire.outbox.append(JSON_FORM.control({"id": f"replayed {self.left}"}))
        if self.left == 0:
            wire.replays.clear()
            wire.live = True

    def settle(self) -> None:
        while self.soon.turn():
            self.turns += 1


def resuming(room: int | None = None) -> Wire:
    wire = Wire(room=room)
    wire.live = False
    wire.replays.append(Replay(0))
    return wire


def test_a_resuming_connection_reads_one_share_at_each_visit() -> None:
    world, wire = Reading(shares=4), resuming()
    world.pump.flush(wire)
    world.settle()
    assert wire.ids() == ["replayed 3", "replayed 2", "replayed 1", "replayed 0"]
    assert world.reads == [0, 0, TURNS, 2 * TURNS], "the first at the flush, then one in each pass"
    assert wire.live
    assert world.backlog() == 0


def test_it_reads_no_further_than_its_transport_takes() -> None:
    world, wire = Reading(shares=50), resuming(room=0)
    world.pump.flush(wire)
    world.settle()
    assert wire.ids() == ["replayed 49"]
    for _ in range(30):
        world.drain(wire, room=0)
        world.settle()
    assert world.slow == []
    assert world.left == 19
    assert not wire.live
    world.drain(wire)
    world.settle()
    assert wire.live and len(wire.ids()) == 50


def test_what_waits_already_goes_before_what_is_read() -> None:
    world, wire = Reading(shares=2), resuming()
    wire.put_control({"id": "welcome"})
    world.pump.flush(wire)
    world.settle()
    assert wire.ids() == ["welcome", "replayed 1", "replayed 0"]


def test_others_get_their_turn_during_a_long_replay() -> None:
    world, wire, other = Reading(shares=1000), resuming(), Wire("bob")
    world.pump.flush(wire)
    world.broadcast([other], "a")
    world.soon.turn()
    assert other.ids() == ["a"]
    assert world.left > 990


def test_a_connection_from_the_registry_is_one_like_any_other() -> None:
    """The stand-ins above say of themselves that they are live; this one is as the registry makes it."""
    world = World()
    connection = joined("t")
    assert world.pump.fan_out(published("t"), "t", [connection]) == 0
    connection.live = True
    assert world.pump.fan_out(published("t"), "t", [connection]) == 1
    assert connection.take_ids() == ["n1"]
