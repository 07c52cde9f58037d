"""Who has which devices: registering, moving, limits; on the disk before it is confirmed."""

import asyncio
import logging
from random import Random
from typing import Any

import pytest

from hubd.config import Config
from hubd.core.errors import Problem
from hubd.core.stored import Lane, PutDevice
from hubd.hooks.push import Address
from hubd.push.devices import device_id
from hubd.push.gone import WINDOW_S
from tests.push.devices_world import DAY_S, World, address, events
from tests.steered_store import SteeredStore


async def test_a_device_is_listed_and_found() -> None:
    world = World()
    id, is_new = await world.put("ada", "t1", env="sandbox")
    assert is_new
    number = world.number("ada")
    ((device, registered_at),) = world.devices.listed("ada")
    assert device == world.devices.get(number)
    assert (device.id, device.user, registered_at) == (id, "ada", world.clock.now())
    assert world.devices.owner_of(number) == world.numbers.find("ada")
    assert world.users() == {"ada"}
    assert (len(world.devices), world.devices.per_platform()) == (1, {"apns": 1})
    assert (world.came, world.changed) == (["ada"], ["ada"])
    assert world.devices.listed("bob") == []


async def test_the_same_again_is_the_same() -> None:
    world = World()
    id, _ = await world.put("ada", "t1")
    number = world.number("ada")
    world.clock.advance(5)
    assert await world.put("ada", "t1") == (id, False)
    assert world.number("ada") == number
    assert world.devices.listed("ada")[0].registered_at == world.clock.now()
    assert world.came == ["ada"]


async def test_a_new_address_of_the_same_device_replaces_the_old_one() -> None:
    world = World(SteeredStore())
    id, _ = await world.put("ada", "t1", keys="old")
    number = world.number("ada")
    assert await world.put("ada", "t1", keys="new") == (id, False)
    found = world.devices.get(number)
    assert found is not None
    assert found.address["keys"] == "new"
    assert b'"new"' in world.stored()[id].address
    assert world.changed == ["ada", "ada"]


async def test_ownership_moves_and_what_is_on_its_way_to_the_old_owner_does_not_find_it() -> None:
    world = World(SteeredStore())
    id, _ = await world.put("ada", "t1")
    number = world.number("ada")
    assert await world.put("bob", "t1") == (id, False)
    assert world.tokens("ada") == []
    assert world.tokens("bob") == ["t1"]
    assert world.users() == {"bob"}
    assert world.devices.get(number) is None
    assert world.devices.owner_of(number) is None
    assert world.number("bob") != number
    assert world.changed == ["ada", "ada", "bob"]
    assert world.came == ["ada", "bob"]
    assert world.stored()[id].user == "bob"
    assert world.numbers.find("ada") is None, "nobody holds him any more"
    assert len(world.devices) == 1


async def test_it_counts_only_when_it_is_on_the_disk() -> None:
    store = SteeredStore()
    world = World(store)
    store.holds = True
    waiting = asyncio.create_task(world.put("ada", "t1"))
    await asyncio.sleep(0)
    assert world.tokens("ada") == []
    assert not world.devices.users
    store.let_go()
    id, is_new = await waiting
    assert is_new
    assert world.tokens("ada") == ["t1"]
    dropping = asyncio.create_task(world.devices.drop(id, "ada"))
    await asyncio.sleep(0)
    assert world.tokens("ada") == ["t1"]
    store.let_go()
    assert await dropping
    assert world.tokens("ada") == []
    assert [lane for _, lane in store.written] == [Lane.ACK, Lane.ACK]


async def test_what_cannot_be_stored_is_refused_and_the_store_is_set_right_later() -> None:
    store = SteeredStore()
    world = World(store)
    id, _ = await world.put("ada", "t1")
    store.trouble = "the disk is full"
    for call in (world.put("bob", "t1"), world.put("ada", "t2"), world.devices.drop(id, "ada")):
        with pytest.raises(Problem) as problem:
            await call
        assert problem.value.code == "unavailable"
    assert world.users() == {"ada"}
    assert world.tokens("ada") == ["t1"]
    assert world.numbers.find("bob") is None
    # What was refused may be on the disk all the same: it is written as it is, when that can be done.
    store.trouble = ""
    store.written.append((PutDevice(world.stored()[id]._replace(user="bob")), Lane.ACK))
    await world.settled()
    assert {one.user for one in world.stored().values()} == {"ada"}
    assert world.devices.unstored == 0


async def test_whoever_goes_away_leaves_nothing_in_the_store() -> None:
    store = SteeredStore()
    world = World(store)
    store.holds = True
    waiting = asyncio.create_task(world.put("ada", "t1"))
    await asyncio.sleep(0)
    write, lane, _ = store.held[0]
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    store.written.append((write, lane))  # it was on its way to the disk already
    store.holds = False
    await world.settled()
    assert world.stored() == {}
    assert len(world.devices) == 0
    assert (await world.put("ada", "t1"))[1]


async def test_a_device_that_registers_every_day_is_written_every_day_and_not_more_often() -> None:
    store = SteeredStore()
    world = World(store)
    await world.put("ada", "t1")
    for _ in range(30):
        world.clock.advance(DAY_S / 10 + 1)
        await world.put("ada", "t1")
    assert len(store.written) == 1 + 3
    world.clock.advance(-10 * DAY_S)
    await world.put("ada", "t1")
    assert len(store.written) == 5, "nor is a clock that went back believed"


async def test_what_may_not_be_stored_yet_is_not_confirmed_as_known() -> None:
    store = SteeredStore()
    world = World(store)
    id, _ = await world.put("ada", "t1")
    store.trouble = "away"
    with pytest.raises(Problem):
        await world.devices.drop(id, "ada")
    with pytest.raises(Problem):
        await world.put("ada", "t1")
    store.trouble = ""
    assert await world.put("ada", "t1") == (id, False)
    assert [*world.stored()] == [id]


async def test_the_user_limit_replaces_the_one_that_registered_longest_ago(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubd.push")
    world = World(SteeredStore(), devices_per_user=3)
    for key in ("t1", "t2", "t3"):
        await world.put("ada", key)
        world.clock.advance(1)
    await world.put("ada", "t1")  # the oldest is t2 now
    world.clock.advance(1)
    await world.put("ada", "t4")
    assert world.tokens("ada") == ["t3", "t1", "t4"]
    assert events(caplog) == ["device_replaced"]
    assert world.gone == [], "its service knows it"
    assert world.devices.replaced_counts == {"apns": 1}
    await world.settled()
    assert {one.address for one in world.stored().values()} == {b'{"token":"t%d"}' % n for n in (1, 3, 4)}


async def test_very_many_at_the_same_time_keep_to_the_limit() -> None:
    world = World(SteeredStore(), devices_per_user=5)
    await asyncio.gather(*(world.put("ada", f"t{place}") for place in range(100)))
    assert len(world.tokens("ada")) == 5
    await world.settled()
    assert {one.address.decode() for one in world.stored().values()} == {
        f'{{"token":"{token}"}}' for token in world.tokens("ada")
    }


async def test_of_too_many_devices_new_ones_are_refused() -> None:
    store = SteeredStore()
    world = World(store, devices=10)
    store.holds = True
    puts = [asyncio.create_task(world.put(f"u{place}", f"t{place}")) for place in range(25)]
    await asyncio.sleep(0)
    store.let_go()
    done = await asyncio.gather(*puts, return_exceptions=True)
    refused = [one for one in done if isinstance(one, Problem)]
    assert len(refused) == 15
    assert {one.code for one in refused} == {"unavailable"}
    assert len(world.devices) == 10
    store.holds = False
    await world.put("eve", "t0")
    assert world.tokens("eve") == ["t0"], "one that is known may move"
    world.devices.apply(Config.model_validate({"push": {"devices": 11}}))
    await world.put("fay", "new")
    with pytest.raises(Problem):
        await world.put("fay", "newer")


async def test_what_is_imported_takes_nothing_back_from_whoever_registered_later() -> None:
    world = World(SteeredStore(), devices_per_user=2)
    now = world.clock.now()
    id, _ = await world.put("bob", "t1")
    for at in (0.0, -5.0, now - 1):
        device, is_new = await world.devices.put("ada", "apns", address("t1"), at)
        assert (device.user, is_new) == ("bob", False)
    world.devices.gone(world.number("bob"), "410", None)
    await world.devices.put("bob", "apns", address("t1"), now - 1)
    assert world.tokens("bob") == [], "nor does it bring back what is gone"
    _, is_new = await world.devices.put("ada", "apns", address("old"), 0.0)
    assert is_new
    assert world.devices.listed("ada")[0].registered_at == 0.0
    written = len(world.stored())
    for _ in range(2):
        assert not (await world.devices.put("ada", "apns", address("old"), 0.0))[1]
    assert len(world.stored()) == written
    number = world.number("ada")
    assert world.devices.registered_at(number) == 0.0
    assert world.devices.gone(number, "410", 1.0), "its service has said so since"
    assert world.devices.registered_at(number) is None
    await world.devices.put("cy", "apns", address("early"), now + 1e6)
    assert world.devices.listed("cy")[0].registered_at == now
    assert id != device_id("apns", "old")


async def test_what_is_imported_makes_room_itself_if_it_is_the_oldest() -> None:
    world = World(SteeredStore(), devices_per_user=2)
    for key in ("t1", "t2"):
        await world.put("ada", key)
    await world.devices.put("ada", "apns", address("old"), 5.0)
    assert world.tokens("ada") == ["t1", "t2"]
    await world.settled()
    assert len(world.stored()) == 2


async def test_of_those_of_one_moment_the_first_one_makes_room() -> None:
    world = World(devices_per_user=3)
    for place in range(20):
        await world.put("ada", f"t{place}")
    assert world.tokens("ada") == ["t17", "t18", "t19"]


@pytest.mark.parametrize("fields", [{"token": "\ud800"}, {"token": b"x"}, {"token": 1 << 70}, {"token": "x" * 20_000}])
async def test_an_address_that_is_no_json_or_too_large_is_refused(fields: dict[str, Any]) -> None:
    world = World()
    with pytest.raises(Problem) as problem:
        await world.devices.put("ada", "apns", Address("k", fields))
    assert problem.value.code == "invalid"
    assert len(world.devices) == 0
    assert world.numbers.find("ada") is None


# Dropping


async def test_only_its_owner_drops_a_device() -> None:
    world = World(SteeredStore())
    id, _ = await world.put("ada", "t1")
    assert not await world.devices.drop(id, "bob")
    assert not await world.devices.drop("dev_0", "ada")
    assert not await world.devices.drop("dev_" + 24 * "0", "ada")
    assert not await world.devices.drop("x" * 100_000, None)
    assert await world.devices.drop(id, "ada")
    assert not await world.devices.drop(id, "ada")
    assert (world.stored(), world.users(), len(world.devices)) == ({}, set(), 0)
    assert world.changed == ["ada", "ada"]
    id, is_new = await world.put("ada", "t1")
    assert is_new
    assert await world.devices.drop(id, None)


async def test_the_store_has_what_is_done_at_the_same_time_in_the_order_in_which_it_counts() -> None:
    """Whatever goes first in the store: of one device there is one write under way."""
    random = Random(3)
    store = SteeredStore()
    world = World(store, devices_per_user=2)

    async def one() -> None:
        for _ in range(30):
            user, key = random.choice("abc"), f"t{random.randrange(5)}"
            if random.random() < 0.3:
                await world.devices.drop(device_id("apns", key), random.choice((user, None)))
            elif random.random() < 0.2 and (numbers := world.devices.numbers_of(world.numbers.find(user) or 0)):
                world.devices.gone(numbers[0], "410", None)
            else:
                await world.put(user, key)
            world.clock.advance(random.random())

    async def shuffled() -> None:
        while True:
            random.shuffle(store.held)
            store.let_go()
            world.devices.maintain()
            await asyncio.sleep(0)

    store.holds = True
    disk = asyncio.create_task(shuffled())
    await asyncio.wait_for(asyncio.gather(*(one() for _ in range(12))), 20)
    world.clock.advance(WINDOW_S + 1)
    for _ in range(20):
        await asyncio.sleep(0)
    disk.cancel()
    there = {(one.id, one.user) for one in world.stored().values()}
    assert there == {(found.device.id, user) for user in "abc" for found in world.devices.listed(user)}
    assert all(one.gone_at == 0 for one in world.stored().values())
    assert not store.held


# What services say
