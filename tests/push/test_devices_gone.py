"""Devices that their services don't know any more: they go, and come back when too many would; also over a restart."""

import asyncio
import logging

import pytest

import hubd.push.devices
from hubd.core.stored import Lane, PutDevice
from hubd.push.devices import device_id
from hubd.push.gone import LEAST, WINDOW_S
from tests.push.devices_world import DAY_S, World, events
from tests.steered_store import SteeredStore


async def test_a_gone_device_disappears_at_once_and_for_good_after_the_window(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hubd.push")
    world = World(SteeredStore())
    id, _ = await world.put("ada", "t1")
    number = world.number("ada")
    assert world.devices.gone(number, "410 Unregistered", None)
    assert world.tokens("ada") == []
    assert not world.devices.users
    assert world.devices.get(number) is None
    assert world.devices.owner_of(number) is None
    assert (len(world.devices), world.devices.per_platform()) == (0, {"apns": 0})
    assert world.gone == [("ada", "t1", "410 Unregistered")]
    assert world.changed == ["ada", "ada"]
    assert world.devices.gone(number, "410", None), "it is gone already"
    assert events(caplog) == ["device_gone"]
    assert "t1" not in caplog.text
    await world.settled()
    assert world.stored()[id].gone_at == int(world.clock.now() * 1000)
    world.clock.advance(WINDOW_S - 1)
    await world.settled()
    assert id in world.stored()
    world.clock.advance(2)
    await world.settled()
    assert world.stored() == {}
    assert world.numbers.find("ada") is None
    assert world.devices.gone_counts == {"apns": 1}


async def test_what_registered_since_stays() -> None:
    world = World()
    await world.put("ada", "t1")
    number = world.number("ada")
    registered = world.clock.now()
    assert not world.devices.gone(number, "410", registered - 1)
    world.clock.advance(100)
    await world.put("ada", "t1")  # and that isn't written
    assert not world.devices.gone(number, "410", registered + 50)
    assert world.tokens("ada") == ["t1"]
    assert world.devices.gone(number, "410", registered + 101)


async def test_a_gone_device_that_registers_again_is_new_and_stays() -> None:
    world = World(SteeredStore())
    id, _ = await world.put("ada", "t1")
    number = world.number("ada")
    world.devices.gone(number, "410", None)
    assert await world.put("ada", "t1") == (id, True)
    assert world.number("ada") != number
    world.clock.advance(2 * WINDOW_S)
    await world.settled()
    assert world.tokens("ada") == ["t1"]
    assert world.stored()[id].gone_at == 0


async def test_what_a_service_says_while_it_registers_does_not_count() -> None:
    store = SteeredStore()
    world = World(store)
    id, _ = await world.put("ada", "t1")
    store.holds = True
    waiting = asyncio.create_task(world.put("bob", "t1"))
    await asyncio.sleep(0)
    assert not world.devices.gone(world.number("ada"), "410", None)
    store.let_go()
    await waiting
    store.holds = False
    await world.settled()
    assert world.tokens("bob") == ["t1"]
    assert world.stored()[id].gone_at == 0


async def test_whoever_registers_a_gone_one_waits_until_the_mark_is_stored() -> None:
    store = SteeredStore()
    world = World(store)
    id, _ = await world.put("ada", "t1")
    store.holds = True
    world.devices.gone(world.number("ada"), "410", None)
    again = asyncio.create_task(world.put("ada", "t1"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(store.held) == 1
    store.let_go()
    for _ in range(5):
        await asyncio.sleep(0)
    store.let_go()
    assert await again == (id, True)
    assert world.stored()[id].gone_at == 0


async def test_of_sixty_that_are_all_gone_none_is_deleted(caplog: pytest.LogCaptureFixture) -> None:
    world = World(SteeredStore())
    numbers = await world.put_many(60)
    world.came.clear()
    gone = [world.devices.gone(number, "400 BadDeviceToken", None) for number in numbers]
    assert gone == [True] * (LEAST - 1) + [False] * 11
    assert len(world.devices) == 60
    assert len(world.came) == LEAST - 1, "stranded notifications go out to those who are back"
    assert [world.devices.owner_of(number) is not None for number in numbers] == [True] * 60
    assert world.devices.distrusted_apps == 1
    assert world.devices.kept_counts == {"apns": 60}
    assert events(caplog, logging.ERROR) == ["devices_kept"]
    world.clock.advance(3 * WINDOW_S)
    await world.settled()
    assert len(world.stored()) == 60
    assert all(one.gone_at == 0 for one in world.stored().values())


async def test_two_percent_of_five_hundred_are_deleted() -> None:
    world = World(SteeredStore())
    for place, number in enumerate(await world.put_many(500)):
        if place % 50 == 49:
            assert world.devices.gone(number, "410", None)
        else:
            world.devices.answered(number)
    world.clock.advance(WINDOW_S + 1)
    await world.settled()
    assert len(world.stored()) == len(world.devices) == 490
    assert world.devices.distrusted_apps == 0


async def test_thirty_of_thirty_go() -> None:
    world = World(SteeredStore())
    for number in await world.put_many(30):
        assert world.devices.gone(number, "410", None)
    world.clock.advance(WINDOW_S + 1)
    await world.settled()
    assert world.stored() == {}


async def test_those_come_back_that_went_before_it_was_seen_and_a_trickle_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hubd.push")
    world = World(SteeredStore())
    numbers = await world.put_many(60)
    assert all(world.devices.gone(number, "410", None) for number in numbers[:40])
    world.clock.advance(500)
    await world.settled()
    assert [world.devices.gone(number, "410", None) for number in numbers[40:]] == [True] * 9 + [False] * 11
    assert len(world.devices) == 60
    more = await world.put_many(30, prefix="more")
    for number in more:
        world.clock.advance(WINDOW_S)
        assert not world.devices.gone(number, "410", None)
        await world.settled()
    assert len(world.stored()) == len(world.devices) == 90
    other = await world.put_many(1, app="two", prefix="other")
    assert world.devices.gone(other[0], "410", None), "another app goes its own way"
    for number in await world.put_many(LEAST, prefix="well"):
        world.devices.answered(number)
    assert world.devices.distrusted_apps == 1
    for number in await world.put_many(LEAST, prefix="better"):
        world.devices.answered(number)
    assert world.devices.distrusted_apps == 0
    assert world.devices.gone(more[0], "410", None)
    assert "devices_trusted_again" in events(caplog)


async def test_very_many_come_back_in_turns_and_none_of_them_is_forgotten_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hubd.push.devices, "AT_ONCE", 100)
    world = World()
    numbers = await world.put_many(350)
    for number in await world.put_many(9 * 350 - 1, prefix="well"):
        world.devices.answered(number)
    assert [world.devices.gone(number, "410", None) for number in numbers] == [True] * 349 + [False]
    there = len(world.devices)
    world.clock.advance(WINDOW_S + 1)
    for _ in range(3):
        assert len(world.devices) == there
        there += 100
        world.devices.maintain()
    assert len(world.devices) == 10 * 350 - 1


async def test_a_gone_one_whose_time_is_over_while_it_is_dropped() -> None:
    store = SteeredStore()
    world = World(store)
    id, _ = await world.put("ada", "t1")
    world.devices.gone(world.number("ada"), "410", None)
    await world.settled()
    store.holds = True
    dropping = asyncio.create_task(world.devices.drop(id, "ada"))
    await asyncio.sleep(0)
    world.clock.advance(WINDOW_S + 1)
    world.devices.maintain()
    store.let_go()
    assert await dropping
    assert world.stored() == {}
    assert world.numbers.find("ada") is None


async def test_a_gone_device_that_its_user_drops_does_not_come_back() -> None:
    world = World(SteeredStore())
    numbers = await world.put_many(60)
    world.devices.gone(numbers[0], "410", None)
    id = device_id("apns", "t0")
    assert not await world.devices.drop(id, "t-user1")
    told = len(world.changed)
    assert await world.devices.drop(id, "t-user0")
    assert len(world.changed) == told, "he hadn't it any more"
    for number in numbers[1:]:
        world.devices.gone(number, "410", None)
    await world.settled()
    assert world.tokens("t-user0") == []
    assert id not in world.stored()
    assert len(world.devices) == 59


async def test_marks_that_cannot_be_stored_are_tried_again() -> None:
    store = SteeredStore()
    world = World(store)
    await world.put_many(3)
    store.trouble = "away"
    for place in range(3):
        assert world.devices.gone(world.number(f"t-user{place}"), "410", None)
    await world.settled()
    assert world.devices.unstored == 3
    store.trouble = ""
    await world.settled()
    assert all(one.gone_at for one in world.stored().values())


# A restart


async def restarted(world: World) -> World:
    """A hub that begins with what the store has."""
    await world.settled()
    store = SteeredStore()
    after = World(store)
    after.clock = world.clock
    after.devices._clock = world.clock
    stored = [*world.stored().values()]
    after.numbers.go_on_from(1_000_000)
    for number, user in dict.fromkeys((one.number, one.user) for one in stored):
        after.numbers.put_back(number, user)
        after.numbers.hold(user)
    after.devices.put_back(stored)
    store.written += [(PutDevice(one), Lane.ACK) for one in stored]
    return after


async def test_a_restart_keeps_everything() -> None:
    world = World(SteeredStore())
    await world.put_many(5)
    await world.put("ada", "x1", env="sandbox")
    await world.put("ada", "x2", "two")
    after = await restarted(world)
    assert after.devices.listed("ada") == world.devices.listed("ada")
    assert after.users() == world.users()
    assert after.devices.per_platform() == {"apns": 7}
    written = len(after.store.written) if after.store else 0
    assert not (await after.put("ada", "x1", env="sandbox"))[1]
    assert after.store is not None
    assert len(after.store.written) == written, "it is known"


async def test_a_restart_within_the_window_forgets_no_mark() -> None:
    world = World(SteeredStore())
    numbers = await world.put_many(3)
    for number in numbers[:2]:
        world.devices.gone(number, "410", None)
        world.clock.advance(300)
    after = await restarted(world)
    assert len(after.devices) == 1
    after.clock.advance(1)
    await after.settled()
    assert len(after.stored()) == 2, "the first one's time is over"
    after.clock.advance(300)
    await after.settled()
    assert len(after.stored()) == 1


async def test_those_that_went_before_a_restart_come_back_after_it() -> None:
    world = World(SteeredStore())
    numbers = await world.put_many(60)
    assert all(world.devices.gone(number, "410", None) for number in numbers[:40])
    after = await restarted(world)
    assert len(after.devices) == 20
    gone = [after.devices.gone(after.number(f"t-user{place}"), "410", None) for place in range(40, 60)]
    assert gone == [True] * 9 + [False] * 11
    assert len(after.devices) == 60
    await after.settled()
    assert all(one.gone_at == 0 for one in after.stored().values())


async def test_a_restart_long_after_the_window_deletes_what_was_gone() -> None:
    world = World(SteeredStore())
    (number,) = await world.put_many(1)
    world.devices.gone(number, "410", None)
    await world.settled()
    world.clock.advance(DAY_S)
    after = await restarted(world)
    await after.settled()
    assert after.stored() == {}


async def test_marks_from_the_future_are_not_older_than_the_window() -> None:
    world = World(SteeredStore())
    (number,) = await world.put_many(1)
    world.devices.gone(number, "410", None)
    await world.settled()
    world.clock.advance(-DAY_S)  # somebody has set the clock
    after = await restarted(world)
    after.clock.advance(WINDOW_S + 1)
    await after.settled()
    assert after.stored() == {}
