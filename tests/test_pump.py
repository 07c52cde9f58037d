"""The pump: in order, joined, in slices, bounded, and no fault of one connection harms another."""

import logging
from collections.abc import Callable

import orjson
import pytest

from hubd.core.codec import Form
from hubd.core.replay import Replay
from hubd.pump import FEW, SLICE, WRITE_BYTES, Pump
from hubd.testing import JSON_FORM, Soon
from tests.core.made import Idle, joined, published

QUEUE_BYTES = 10_000


class Wire(Idle):
    """A connection whose writes can be looked at; it takes `room` bytes, then pauses until it is drained."""

    def __init__(self, user: str = "ada", *, room: int | None = None, form: Form = JSON_FORM) -> None:
        super().__init__(user, form=form)
        self.live = True
        self.room = room
        self.writes: list[bytes] = []
        self.untaken = 0
        self.fault: Exception | None = None
        self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.paused, "written to while paused"
        if self.fault is not None:
            raise self.fault
        self.writes.append(data)
        if self.room is not None:
            self.untaken = max(0, len(data) - self.room)
            self.room = max(0, self.room - len(data))
            self.paused = self.untaken > 0

    def unsent(self) -> int:
        return self.untaken

    def abort(self) -> None:
        self.aborted = True
        self.outbox.clear()

    def ids(self) -> list[str]:
        """The ids of all notifications that were written, in order."""
        return [orjson.loads(line)["id"] for data in self.writes for line in data.splitlines()]

    def per_write(self) -> list[int]:
        """How many frames each write had."""
        return [len(data.splitlines()) for data in self.writes]


class World:
    """A pump with a loop that is turned by hand; `slow` are those that it gave up."""

    def __init__(self, queue_bytes: int = QUEUE_BYTES, read_on: Callable[[Wire], None] | None = None) -> None:
        self.soon = Soon()
        self.slow: list[Wire] = []
        self.sequence = 0
        self.pump = Pump(self.soon, queue_bytes, self.on_slow, read_on or (lambda wire: None))  # type: ignore[arg-type]

    def on_slow(self, wire: Wire) -> None:
        if not wire.aborted:
            self.slow.append(wire)
        wire.live = False
        wire.abort()

    def broadcast(self, wires: list[Wire], id: str = "", pad: int = 0) -> int:
        self.sequence += 1
        made = published("t", sequence=self.sequence, id=id, payload={"type": "t", "text": "x" * pad})
        live = self.pump.fan_out(made, "t", wires)  # type: ignore[arg-type]
        self.pump.run_soon()
        return live

    def targeted(self, wires: list[Wire], id: str = "", pad: int = 0) -> int:
        self.sequence += 1
        made = published("t", sequence=self.sequence, id=id, payload={"type": "t", "text": "x" * pad})
        return self.pump.fan_out_now(made, "t", wires)  # type: ignore[arg-type]

    def drain(self, wire: Wire, room: int | None = None) -> None:
        """The other side has read everything; what a transport does then."""
        wire.room, wire.untaken = room, 0
        wire.paused = False
        wire.counted = wire.queued = 0
        self.pump.schedule(wire)

    def backlog(self) -> int:
        """How much the pump has noted for itself."""
        return len(self.pump._waiting) + len(self.pump._pass)


def wires_of(count: int) -> list[Wire]:
    return [Wire(f"u{place}") for place in range(count)]


# --- Fan-out


def test_a_broadcast_is_put_into_all_outboxes_in_one_step_and_written_later() -> None:
    world, wires = World(), wires_of(20)
    assert world.broadcast(wires, "a") == 20
    assert all(len(wire.outbox) == 1 and not wire.writes for wire in wires)
    world.soon.turn()
    assert all(wire.ids() == ["a"] and not wire.outbox for wire in wires)


def test_everybody_of_one_form_gets_the_very_same_bytes() -> None:
    world, wires = World(), wires_of(20)
    world.broadcast(wires)
    assert all(wire.outbox[0] is wires[0].outbox[0] for wire in wires)


def test_each_form_gets_its_own_bytes() -> None:
    form = Form("other", "json", lambda data, cursor: b" " + data + b"\n")
    world, wires = World(), [Wire("a"), Wire("b", form=form), Wire("c"), Wire("d", form=form)]
    world.broadcast(wires)
    first, second, third, fourth = (wire.outbox[0] for wire in wires)
    assert first is third and second is fourth
    assert second == b" " + first


def test_who_isnt_live_is_passed_over() -> None:
    world, wires = World(), wires_of(4)
    wires[1].live = False
    assert world.broadcast(wires) == 3
    assert world.targeted(wires) == 3
    world.soon.settle()
    assert [len(wire.ids()) for wire in wires] == [2, 0, 2, 2]
    assert wires[1].outbox == []


def test_nobody_costs_nothing() -> None:
    world = World()
    assert world.broadcast([]) == world.targeted([]) == 0
    assert not world.soon.turn()


def test_a_publication_to_few_is_written_at_once() -> None:
    world, wires = World(), wires_of(FEW)
    assert world.targeted(wires, "a") == FEW
    assert all(wire.ids() == ["a"] for wire in wires)
    assert not world.soon.turn()


# --- Slices and order


def test_one_turn_writes_one_slice() -> None:
    world, wires = World(), wires_of(2 * SLICE + 10)
    world.broadcast(wires)
    written = []
    while world.soon.turn():
        written.append(sum(bool(wire.writes) for wire in wires))
    assert written == [SLICE, 2 * SLICE, 2 * SLICE + 10]


def test_a_targeted_one_goes_out_behind_the_broadcast_that_still_waits() -> None:
    world, wires = World(), wires_of(3 * SLICE)
    world.broadcast(wires, "broadcast")
    world.soon.turn()
    first, last = wires[0], wires[-1]
    world.targeted([first, last], "targeted")
    assert first.ids() == ["broadcast", "targeted"]
    assert last.ids() == ["broadcast", "targeted"], "at once, with what was in front of it"
    world.soon.settle()
    assert last.ids() == ["broadcast", "targeted"], "and not again"


def test_what_comes_during_a_pass_is_joined_into_one_write_in_order() -> None:
    world, wires = World(), wires_of(2 * SLICE)
    world.broadcast(wires, "a")
    world.soon.turn()
    world.broadcast(wires, "b")
    world.broadcast(wires, "c")
    world.soon.settle()
    assert wires[0].ids() == wires[-1].ids() == ["a", "b", "c"]
    assert wires[0].per_write() == [1, 2], "its first was written before the others came"
    assert wires[-1].per_write() == [3]


def test_everybody_gets_everything_in_order_whatever_overtakes_whatever() -> None:
    world, wires = World(), wires_of(SLICE + 50)
    expected: dict[Wire, list[str]] = {wire: [] for wire in wires}
    for round_ in range(60):
        some = wires[round_ * 7 % 100 :: 1 + round_ % 3]
        if round_ % 4 == 0:
            some = some[:FEW]
            world.targeted(some, f"n{round_}")
        else:
            world.broadcast(some, f"n{round_}")
        for wire in some:
            expected[wire].append(f"n{round_}")
        if round_ % 5 == 0:
            world.soon.turn()
    world.soon.settle()
    assert {wire: wire.ids() for wire in wires} == expected


def test_one_write_takes_about_so_many_bytes() -> None:
    world, wire = World(queue_bytes=10**9), Wire()
    for _ in range(40):
        world.broadcast([wire], pad=5000)
    world.soon.settle()
    assert len(wire.ids()) == 40
    assert all(len(data) <= WRITE_BYTES for data in wire.writes)
    assert len(wire.writes) == 4


def test_a_frame_larger_than_one_write_goes_alone() -> None:
    world, wire = World(queue_bytes=10**9), Wire()
    for pad in (10, WRITE_BYTES + 1, 10, 10):
        world.broadcast([wire], pad=pad)
    world.soon.settle()
    assert wire.per_write() == [1, 1, 2]


# --- Bounds of its own lists


def test_its_lists_dont_grow_under_publications_to_few() -> None:
    world, wires = World(), wires_of(5)
    for _ in range(1000):
        world.targeted(wires)
    assert world.backlog() == 0


def test_its_lists_dont_grow_under_publications_to_those_who_wait_already() -> None:
    world, wires = World(), wires_of(30)
    for _ in range(100):
        world.broadcast(wires)
    assert world.backlog() == 30
    world.targeted(wires)
    assert world.backlog() == 30
    world.soon.settle()
    assert world.backlog() == 0
    assert all(len(wire.ids()) == 101 for wire in wires)


def test_it_rests_when_nothing_waits_and_starts_again() -> None:
    world, wires = World(), wires_of(3)
    for _ in range(3):
        world.broadcast(wires)
        assert world.soon.turn()
        assert not world.soon.turn()
    assert len(wires[0].ids()) == 3


def test_it_asks_for_one_turn_at_a_time() -> None:
    world, wires = World(), wires_of(2 * SLICE)
    for _ in range(5):
        world.broadcast(wires)
        world.pump.schedule(wires[0])
    assert len(world.soon._calls) == 1
    world.soon.turn()
    world.broadcast(wires)
    assert len(world.soon._calls) == 1


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


def test_a_slow_consumer_of_broadcasts_and_control_frames_too() -> None:
    for put in (World.broadcast, lambda world, wires: (wires[0].put_control({"x": "y" * 900}), schedule(world, wires))):
        world, wire = World(), Wire(room=0)
        for _ in range(200):
            put(world, [wire])  # type: ignore[operator]
            world.soon.settle()
        assert world.slow == [wire]
        assert wire.outbox == [] or not wire.live


def schedule(world: World, wires: list[Wire]) -> None:
    world.pump.schedule(wires[0])


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
    assert all("writing to connection" in record.getMessage() for record in caplog.records)
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
    assert world.reads == [0, 0, 1, 2], "the first at the flush, then one in each turn"
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
