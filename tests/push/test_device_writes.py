"""What the store is told of devices: one thing at a time about each, and nothing is forgotten."""

import asyncio

import pytest

from hubd.core.errors import Problem
from hubd.core.stored import DropDevice, Lane, PutDevice, StoredDevice, Write
from hubd.push.device_writes import AT_ONCE, DeviceWrites
from tests.steered_store import SteeredStore

DEVICE = StoredDevice("", "ada", 1, "apns", "", b"{}", 1)


class World:
    """Devices as they are, and the store with what it was told."""

    def __init__(self) -> None:
        self.there: dict[str, str] = {}
        self.store = SteeredStore()
        self.writes = DeviceWrites(self.store, self.as_it_is)

    def as_it_is(self, id: str) -> PutDevice | DropDevice:
        return PutDevice(DEVICE._replace(id=id, app=self.there[id])) if id in self.there else DropDevice(id)

    def told(self) -> list[Write]:
        return [write for write, _ in self.store.written]

    def put(self, id: str, app: str) -> PutDevice:
        return PutDevice(DEVICE._replace(id=id, app=app))


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_nobody_waits_for_is_stored_as_it_is_by_then() -> None:
    world = World()
    world.store.holds = True
    world.there["a"] = "one"
    world.writes.later("a")
    world.there["a"] = "two"
    world.writes.later("a")
    del world.there["a"]
    world.writes.later("a")
    assert world.writes.waiting == 2, "one under way, and one for all that has changed since"
    world.store.holds = False
    world.store.let_go()
    await turns()
    assert world.told() == [world.put("a", "one"), DropDevice("a")]
    assert world.writes.waiting == 0
    assert {lane for _, lane in world.store.written} == {Lane.BOOKKEEPING}


async def test_whoever_waits_has_his_turn_after_it() -> None:
    world = World()
    world.store.holds = True
    world.writes.later("a")
    done: list[str] = []

    async def register(name: str) -> None:
        async with world.writes.turn("a"):
            assert world.writes.is_awaited("a")
            world.there["a"] = name
            await world.writes.write("a", world.put("a", name))
            done.append(name)

    both = [asyncio.create_task(register(name)) for name in ("first", "second")]
    await turns()
    assert [held[0] for held in world.store.held] == [DropDevice("a")]
    assert not world.writes.is_awaited("a")
    world.store.holds = False
    world.store.let_go()
    await asyncio.gather(*both)
    assert world.told() == [DropDevice("a"), world.put("a", "first"), world.put("a", "second")]
    assert done == ["first", "second"]
    assert not world.writes.is_awaited("a")
    assert world.writes.waiting == 0


async def test_what_changes_within_a_turn_is_stored_after_it() -> None:
    world = World()
    async with world.writes.turn("a"):
        world.writes.later("a")
        await turns()
        assert world.told() == []
    world.writes.go_on()
    await turns()
    assert world.told() == [DropDevice("a")]


async def test_a_write_that_failed_is_followed_by_how_it_is() -> None:
    world = World()
    world.store.trouble = "the disk is full"
    async with world.writes.turn("a"):
        with pytest.raises(Problem, match="the disk is full"):
            await world.writes.write("a", world.put("a", "x"))
    assert world.writes.is_late("a")
    for _ in range(5):
        world.writes.go_on()
        await turns()
        assert world.writes.waiting == 1
    world.store.trouble = ""
    world.writes.go_on()
    await turns()
    assert world.told() == [DropDevice("a")]
    assert not world.writes.is_late("a")


async def test_a_write_that_succeeds_makes_up_for_one_that_failed() -> None:
    world = World()
    world.store.trouble = "away"
    world.writes.later("a")
    await turns()
    world.store.trouble = ""
    async with world.writes.turn("a"):
        world.there["a"] = "x"
        await world.writes.write("a", world.put("a", "x"))
    world.writes.go_on()
    await turns()
    assert world.told() == [world.put("a", "x")]


async def test_a_bounded_number_is_under_way_and_all_get_there() -> None:
    world = World()
    world.store.holds = True
    for place in range(3 * AT_ONCE):
        world.writes.later(f"d{place}")
    assert len(world.store.held) == AT_ONCE
    assert world.writes.waiting == 3 * AT_ONCE
    world.store.holds = False
    world.store.let_go()
    await turns(20)
    assert world.writes.waiting == 0
    assert world.told() == [DropDevice(f"d{place}") for place in range(3 * AT_ONCE)]


async def test_one_whose_turn_is_taken_holds_up_nobody() -> None:
    world = World()
    async with world.writes.turn("a"):
        for id in ("a", "b", "c"):
            world.writes.later(id)
        await turns()
        assert world.told() == [DropDevice("b"), DropDevice("c")]
        assert world.writes.waiting == 1


async def test_without_a_store_nothing_waits() -> None:
    world = World()
    writes = DeviceWrites(None, world.as_it_is)
    writes.later("a")
    async with writes.turn("a"):
        await writes.write("a", DropDevice("a"))
    writes.go_on()
    assert writes.waiting == 0
