"""The pump: everything in order, joined into few writes, in slices."""

from hubd.core.codec import Form
from hubd.pump import FEW, SLICE, TURNS, WRITE_BYTES
from tests.pump_world import Wire, World, wires_of

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
    slices = [SLICE, 2 * SLICE, 2 * SLICE + 10]
    assert written == [slices[0]] * TURNS + [slices[1]] * TURNS + [slices[2]], (
        "the loop has turned often enough between"
    )


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
