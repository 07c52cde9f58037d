"""Who has which devices: registering, moving, limits, going and coming back; on the disk before it is confirmed."""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

import hubd.push.devices
from hubd.config import Config
from hubd.core.errors import Problem
from hubd.core.stored import DropDevice, Lane, PutDevice, StoredDevice
from hubd.core.users import UserNumbers
from hubd.hooks.push import Address, Device
from hubd.push.devices import Devices, device_id
from hubd.push.gone import LEAST, WINDOW_S
from hubd.testing import FakeClock
from tests.steered_store import SteeredStore

DAY_S = 86400.0


def address(key: str, app: str = "one", **fields: Any) -> Address:
    return Address(key, {"token": key, **fields}, app)


def events(caplog: pytest.LogCaptureFixture, least: int = 0) -> list[str]:
    return [one.getMessage().partition(":")[0] for one in caplog.records if one.levelno >= least]


class World:
    """Devices, and all that they told."""

    def __init__(self, store: SteeredStore | None = None, **push: Any) -> None:
        self.clock = FakeClock()
        self.numbers = UserNumbers(idle=0)
        self.store = store
        self.devices = Devices(Config.model_validate({"push": push}), self.clock, self.numbers, store)
        self.came: list[str] = []
        self.changed: list[str] = []
        self.gone: list[tuple[str, str, str]] = []
        self.devices.on_came = self._noted(self.came)
        self.devices.on_changed = self._noted(self.changed)
        self.devices.on_gone = self._on_gone

    def _noted(self, found: list[str]) -> Callable[[int], None]:
        return lambda number: found.append(self.numbers.id_of(number) or "")

    def _on_gone(self, user: str, devices: tuple[Device, ...], reason: str) -> None:
        self.gone += [(user, device.address["token"], reason) for device in devices]

    async def put(self, user: str, key: str, app: str = "one", **fields: Any) -> tuple[str, bool]:
        device, is_new = await self.devices.put(user, "apns", address(key, app, **fields))
        assert device == Device(device_id("apns", key), user, "apns", {"token": key, **fields}, app)
        return device.id, is_new

    async def put_many(self, count: int, app: str = "one", prefix: str = "t") -> list[int]:
        """So many devices of one user each; gives their numbers."""
        for place in range(count):
            await self.put(f"{prefix}-user{place}", f"{prefix}{place}", app)
        return [self.number(f"{prefix}-user{place}") for place in range(count)]

    def number(self, user: str) -> int:
        (number,) = self.devices.numbers_of(self.numbers.find(user) or 0)
        return number

    def tokens(self, user: str) -> list[str]:
        return [one.device.address["token"] for one in self.devices.listed(user)]

    def users(self) -> set[str]:
        return {self.numbers.id_of(number) or "?" for number in self.devices.users}

    def stored(self) -> dict[str, StoredDevice]:
        """What the store has by now."""
        assert self.store is not None
        found: dict[str, StoredDevice] = {}
        for write, _ in self.store.written:
            if isinstance(write, PutDevice):
                found[write.device.id] = write.device
            elif isinstance(write, DropDevice):
                found.pop(write.id, None)
        return found

    async def settled(self) -> None:
        """Let all that can be stored be stored."""
        for _ in range(50):
            self.devices.maintain()
            await asyncio.sleep(0)


# Registering


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
