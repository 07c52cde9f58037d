"""The pump's shortest way: a frame that waits alone goes straight to the socket, and nobody else sees a difference."""

import orjson
import pytest

from hubd.core.replay import Replay
from hubd.pump import FEW, SLICE
from tests.pump_world import Sockets, Wire, World


class Direct(Wire):
    """A wire with a socket, which takes as much as there is room for; the rest goes through `write`."""

    def __init__(self, sockets: Sockets, user: str = "ada") -> None:
        super().__init__(user)
        self.fd = sockets.open(self.take_bytes)
        self.through_write: list[bytes] = []

    def take_bytes(self, data: bytes) -> int:
        if self.fault is not None:
            raise self.fault
        if self.room == 0:
            raise BlockingIOError
        taken = len(data) if self.room is None else min(len(data), self.room)
        if self.room is not None:
            self.room -= taken
        self.writes.append(data[:taken])
        return taken

    def write(self, data: bytes) -> None:
        """What doesn't go straight to the socket; the transport keeps what that doesn't take."""
        self.through_write.append(data)
        try:
            taken = self.take_bytes(data)
        except BlockingIOError:
            taken = 0
        if taken < len(data):
            self.writes.append(data[taken:])
            self.untaken, self.paused = len(data) - taken, True

    def received(self) -> bytes:
        return b"".join(self.writes)

    def ids(self) -> list[str]:
        return [orjson.loads(line)["id"] for line in self.received().splitlines()]


def directs(count: int, world: World) -> list[Direct]:
    made = [Direct(world.sockets, f"u{place}") for place in range(count)]
    for wire in made:
        world.pump.flush(wire)  # as is done when a transport is there
    return made


def test_a_frame_alone_goes_straight_to_the_socket() -> None:
    world = World()
    wires = directs(SLICE + 10, world)
    for id in ("a", "b"):
        world.broadcast(wires, id)
        world.soon.settle()
    assert all(wire.ids() == ["a", "b"] and not wire.through_write for wire in wires)


def test_several_are_joined_and_afterwards_it_goes_straight_again() -> None:
    world = World()
    wires = directs(20, world)
    for id in ("a", "b", "c"):
        world.broadcast(wires, id)
    world.soon.settle()
    assert all(wire.per_write() == [3] and len(wire.through_write) == 1 for wire in wires)
    world.broadcast(wires, "d")
    world.soon.settle()
    assert all(wire.ids() == ["a", "b", "c", "d"] and len(wire.through_write) == 1 for wire in wires)


def test_a_targeted_one_goes_behind_the_frame_that_waits_alone() -> None:
    world = World()
    wires = directs(SLICE + FEW, world)
    world.broadcast(wires, "broadcast")
    world.targeted([wires[-1]], "targeted")
    assert wires[-1].ids() == ["broadcast", "targeted"]
    world.soon.settle()
    assert wires[-1].ids() == ["broadcast", "targeted"], "and not again"


def test_after_a_targeted_one_it_goes_straight_again() -> None:
    world = World()
    wires = directs(20, world)
    world.targeted(wires[:1], "targeted")
    assert len(wires[0].through_write) == 1
    world.broadcast(wires, "broadcast")
    world.soon.settle()
    assert wires[0].ids() == ["targeted", "broadcast"]
    assert len(wires[0].through_write) == 1


def test_the_outbox_shows_the_frame_that_waits_alone_and_what_is_put_there_goes_behind_it() -> None:
    world = World()
    (wire, *_) = wires = directs(20, world)
    world.broadcast(wires, "a")
    assert len(wire.outbox) == 1 and len(wire.outbox) == 1
    wire.outbox.append(b'{"id":"b"}\n')
    world.broadcast(wires, "c")
    world.soon.settle()
    assert wire.ids() == ["a", "b", "c"]
    assert wire.outbox == []


@pytest.mark.parametrize("room", [0, 1, 50])
def test_what_the_socket_doesnt_take_stays_in_front_of_all_that_follows(room: int) -> None:
    world = World()
    wires = directs(20, world)
    narrow = wires[3]
    narrow.room = room
    world.broadcast(wires, "a")
    world.soon.settle()
    assert narrow.paused and narrow.ids() == ["a"]
    assert narrow.untaken == len(wires[0].received()) - room
    for id in ("b", "c"):
        world.broadcast(wires, id)
        world.soon.settle()
    assert narrow.ids() == ["a"], "nothing goes past what the transport still has"
    world.drain(narrow)
    world.soon.settle()
    assert narrow.received() == wires[0].received()


def test_nothing_goes_past_what_the_transport_got_from_elsewhere() -> None:
    world = World()
    wires = directs(20, world)
    world.broadcast(wires, "a")
    wires[2].paused, wires[2].untaken = True, 10
    world.soon.settle()
    assert wires[2].writes == []
    world.drain(wires[2])
    world.soon.settle()
    assert wires[2].ids() == ["a"]


def test_what_waits_for_a_paused_transport_counts_also_when_it_is_one_frame() -> None:
    world = World(queue_bytes=1000)
    wires = directs(20, world)
    stuck = wires[7]
    stuck.room = 0
    world.broadcast(wires, pad=100)
    world.soon.settle()
    assert not world.slow
    world.broadcast(wires, pad=900)
    world.soon.settle()
    assert world.slow == [stuck]
    assert all(len(wire.ids()) == 2 for wire in wires if wire is not stuck)


@pytest.mark.parametrize("fault", [ConnectionResetError(), RuntimeError("broken")])
def test_a_fault_is_one_connections_alone(fault: Exception) -> None:
    world = World()
    wires = directs(20, world)
    wires[0].fault = fault
    world.broadcast(wires)
    world.soon.settle()
    assert world.slow == [wires[0]]
    assert [len(wire.ids()) for wire in wires] == [0] + [1] * 19


def test_who_starts_to_replay_before_the_frame_is_written_gets_it_first_and_then_the_replay() -> None:
    def read_on(wire: Wire) -> None:
        wire.outbox.append(b'{"id":"replayed"}\n')
        wire.replays.clear()

    world = World(read_on=read_on)
    wires = directs(20, world)
    world.broadcast(wires, "a")
    wires[5].live = False
    wires[5].replays.append(Replay(0))
    world.soon.settle()
    assert wires[5].ids() == ["a", "replayed"]


def test_one_socket_that_takes_nothing_holds_up_none_of_those_behind_it() -> None:
    world = World()
    wires = directs(SLICE, world)
    full = (0, 7, 8, SLICE - 1)
    for place in full:
        wires[place].room = 0
    world.broadcast(wires, "a")
    world.soon.settle()
    assert [place for place, wire in enumerate(wires) if wire.through_write] == list(full)
    assert all(wire.ids() == ["a"] for wire in wires)


def test_what_is_published_while_another_resumes_goes_behind_the_lone_frames_of_the_slice() -> None:
    def read_on(wire: Wire) -> None:  # asks a gate, and a gate may publish
        world.targeted([narrow, wide], "meanwhile")
        wire.replays.clear()

    world = World(read_on=read_on)
    narrow, wide, *rest, resuming = wires = directs(20, world)
    world.broadcast(wires, "a")
    narrow.room = 10
    resuming.live = False
    resuming.replays.append(Replay(0))
    world.soon.settle()
    world.drain(narrow)
    world.soon.settle()
    assert [narrow.ids(), wide.ids(), resuming.ids()] == [["a", "meanwhile"], ["a", "meanwhile"], ["a"]]
    assert all(wire.ids() == ["a"] for wire in rest)
