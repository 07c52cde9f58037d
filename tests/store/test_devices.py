"""Devices and secrets in either database: as they were given, over restarts, crashes and a change of the tables."""

import asyncio
import json
import signal
import subprocess
import sys

import pytest

from hubd.clock import SystemClock
from hubd.config import Config
from hubd.core.stored import (
    DropDevice,
    Fact,
    Keep,
    KeepSecret,
    Lane,
    PutDevice,
    Scheduled,
    StoredAnswer,
    StoredDevice,
)
from hubd.core.subscriptions import Grant
from hubd.core.users import UserNumbers, UserSet
from hubd.hooks.push import Address
from hubd.push.devices import Devices
from hubd.push.gone import WINDOW_S
from hubd.store import forgetting, reading
from hubd.store.database import database_of
from hubd.store.migrating import VERSIONS, migrate
from hubd.store.opening import open_store
from hubd.storing import StoreError
from hubd.tasks import Tasks
from hubd.testing import FakeClock
from tests.store.before import make_before
from tests.store.store_world import FAST, WAIT_S, World, opened, until


def a_device(id: str, user: str, number: int, **more: object) -> StoredDevice:
    plain = StoredDevice(id, user, number, "apns", "one ☃", b'{"token":"\xc3\xbc\\u0000"}', 1_800_000_000_123)
    return plain._replace(**more)  # type: ignore[arg-type]


async def test_devices_come_back_as_they_were_given(url: str) -> None:
    async with opened(url) as world:
        (ada,), (bob,) = world.users("ada"), world.users("bob")
        one = a_device("dev_1", "ada", ada)
        two = a_device("dev_2", "bob", bob, gone_at=1_800_000_999_999, app="", registered_at=(1 << 41) + 1)
        for device in (one, two, a_device("dev_3", "ada", ada)):
            await world.store.write(PutDevice(device), Lane.ACK)
        await world.store.write(PutDevice(two), Lane.BOOKKEEPING)
        await world.store.write(DropDevice("dev_3"), Lane.ACK)
        await world.store.write(DropDevice("dev_4"), Lane.ACK)
        await world.store.write(KeepSecret("capability", b"\x00first"), Lane.ACK)
        world.store.note(KeepSecret("capability", b"\xff\x00second"))
    async with opened(url) as world:
        loaded = await world.store.load()
        assert [*loaded.devices] == [one, two]
        assert dict(loaded.secrets) == {"capability": b"\xff\x00second"}
        moved = one._replace(user="bob", number=bob, address=b"{}", registered_at=5)
        await world.store.write(PutDevice(moved), Lane.ACK)
        assert [*(await world.store.load()).devices] == [moved, two]


async def test_in_one_transaction_the_last_word_counts(url: str) -> None:
    async with opened(url) as world:
        (ada,) = world.users("ada")
        device = a_device("dev_1", "ada", ada)
        again = device._replace(app="again")
        writes = [PutDevice(device), DropDevice("dev_1"), PutDevice(again), PutDevice(a_device("dev_2", "ada", ada))]
        futures = [world.store.write(write, Lane.ACK) for write in (*writes, DropDevice("dev_2"))]
        await asyncio.gather(*futures)
        assert world.store.counts.commits == 1
        assert [*(await world.store.load()).devices] == [again]


async def test_very_many_are_read_in_slices(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SMALL_SLICE", 7)
    async with opened(url) as world:
        numbers = [world.numbers.number_of(f"u{place}") for place in range(35)]
        devices = [a_device(f"dev_{place:02}", f"u{place}", number) for place, number in enumerate(numbers)]
        await asyncio.gather(*(world.store.write(PutDevice(device), Lane.ACK) for device in reversed(devices)))
        assert [*(await world.store.load()).devices] == devices


async def test_what_a_call_says_of_platforms_comes_back(url: str) -> None:
    async with opened(url) as world:
        await world.store.write(Keep(world.row("k1", push=b'{"apns":{"badge":3}}')), Lane.PUBLISH)
        await world.store.write(world.keep("k2"), Lane.PUBLISH)
    async with opened(url) as world:
        assert [kept.row.push async for kept in world.store.open_rows()] == [b'{"apns":{"badge":3}}', None]


async def test_users_with_devices_are_not_forgotten_and_keep_their_numbers(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "FORGET_FROM", 3)
    async with opened(url) as world:
        numbers = [world.numbers.number_of(name) for name in ("zoe", "ada", "bob")]
        for number, name in zip(numbers, ("zoe", "ada", "bob"), strict=True):
            await world.store.write(PutDevice(a_device(f"dev_{name}", name, number)), Lane.ACK)
        await world.store.write(PutDevice(a_device("dev_ada", "ada", numbers[1], gone_at=7)), Lane.ACK)
        await world.store.write(DropDevice("dev_zoe"), Lane.ACK)
        world.numbers._limit = 0
        assert await world.store.clean(0, 0) == 1, "zoe alone"
        assert world.numbers.find("ada") == numbers[1]
    async with opened(url) as world:
        assert [world.numbers.find(name) for name in ("ada", "bob", "zoe")] == [*numbers[1:], None]
        assert world.numbers.number_of("new") not in numbers


# With devices in front


def devices_of(world: World, clock: FakeClock | None = None) -> Devices:
    return Devices(Config(), clock or FakeClock(), world.numbers, world.store)


def address(key: str) -> Address:
    return Address(key, {"token": key}, "one")


async def test_registered_moved_dropped_and_gone_ones_after_a_restart(url: str) -> None:
    clock = FakeClock()
    async with opened(url) as world:
        devices = devices_of(world, clock)
        for key in ("moved", "dropped", "stays", "gone"):
            await devices.put("ada", "apns", address(key))
        moved, _ = await devices.put("bob", "apns", address("moved"))
        (dropped,) = [one.device.id for one in devices.listed("ada") if one.device.address["token"] == "dropped"]
        assert await devices.drop(dropped, "ada")
        ada = world.numbers.find("ada")
        (gone,) = [n for n in devices.numbers_of(ada or 0) if devices.get(n).address == {"token": "gone"}]
        assert devices.gone(gone, "410", None)
        await until(lambda: devices.unstored == 0)
        told = devices.listed("ada"), devices.listed("bob")
    async with opened(url) as world:
        after = devices_of(world, clock)
        after.put_back((await world.store.load()).devices)
        assert (after.listed("ada"), after.listed("bob")) == told
        assert [one.device.id for one in after.listed("bob")] == [moved.id]
        assert {world.numbers.id_of(number) for number in after.users} == {"ada", "bob"}
        clock.advance(WINDOW_S + 1)
        after.maintain()
        await until(lambda: after.unstored == 0)
        assert len((await world.store.load()).devices) == 2


async def test_what_a_database_that_was_away_missed_is_stored_when_it_is_back(url: str) -> None:
    async with opened(url) as world:
        devices = devices_of(world)
        await devices.put("ada", "apns", address("t1"))
        (number,) = devices.numbers_of(world.numbers.find("ada") or 0)
        world.store._writer.trouble = "planted"
        assert devices.gone(number, "410", None)
        await asyncio.sleep(0)
        assert devices.unstored == 1
        world.store._writer.trouble = ""
        devices.maintain()
        await until(lambda: devices.unstored == 0)
        (stored,) = (await world.store.load()).devices
        assert stored.gone_at


async def register_until_killed(url: str) -> None:
    """Register, move and drop devices, and print what was confirmed: of each device who has it."""
    store = await open_store(url, SystemClock(), numbers := UserNumbers(), Tasks(), limits=FAST, start_s=WAIT_S)
    await store.load()
    devices = Devices(Config(), SystemClock(), numbers, store)

    async def one(place: int) -> None:
        for turn in range(10_000):
            key, user = f"{place}-{turn // 3}", f"user{turn % 3}-{place}"
            if turn % 9 == 8:
                device, _ = await devices.put(user, "apns", address(key))
                print(json.dumps([key, "?"]), flush=True)
                await devices.drop(device.id, user)
                user = ""
            else:
                await devices.put(user, "apns", address(key))
            print(json.dumps([key, user]), flush=True)

    await asyncio.gather(*(one(place) for place in range(20)))


async def test_what_was_confirmed_is_there_after_a_kill(url: str) -> None:
    code = "import asyncio, sys, tests.store.test_devices as t; asyncio.run(t.register_until_killed(sys.argv[1]))"
    told: dict[str, str] = {}
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                key, user = json.loads(line)
                told[key] = user
                if len(told) == 400:
                    child.send_signal(signal.SIGKILL)
        finally:
            child.kill()
    assert len(told) >= 400
    async with opened(url) as world:
        devices = devices_of(world)
        stored = (await world.store.load()).devices
        devices.put_back(stored)
        owners = {json.loads(one.address)["token"]: one.user for one in stored}
    wrong = {key: (user, owners.get(key)) for key, user in told.items() if owners.get(key, "") != user and user != "?"}
    # The last thing that was done about a device may be on the disk, and not confirmed yet: one for each of the twenty.
    assert len(wrong) <= 20
    assert all(found is None or found.endswith(key.partition("-")[0]) for key, (_, found) in wrong.items())
    places = {key: tuple(map(int, key.split("-"))) for key in told}
    last = {place: max(turn for other, turn in places.values() if other == place) for place in range(20)}
    assert all(places[key][1] == last[places[key][0]] for key in wrong)


# The tables of before


async def test_a_database_from_before_is_brought_up_to_date_with_all_that_is_in_it(url: str) -> None:
    await make_before(url)
    async with opened(url) as world:
        loaded = await world.store.load()
        assert [*loaded.users] == [(1, "bob"), (2, "ada"), (3, "cy"), (4, "eve")]
        assert loaded.next_number == 5
        assert [*loaded.answers] == [
            StoredAnswer("notifications", "backend", "p1", b"\x00\xff", "ep.7", 3, 1_800_000_000_123)
        ]
        assert [*loaded.scheduled] == [Scheduled("s1", "later", 1_800_000_099_000, b'{"to":"user:ada"}')]
        assert [*loaded.revoked] == [("dan", 1_800_000_000.5)]
        ((user, topic, grant),) = loaded.subscriptions
        assert (user, topic) == ("eve", "news")
        assert (grant.patterns, grant.checked_at) == (Grant(False, ("news:*",)).patterns, 1_799_999_999.25)
        assert (len(loaded.devices), len(loaded.secrets)) == (0, 0)
        (kept,) = [kept async for kept in world.store.open_rows()]
        before = world.row(
            "k1",
            "ada",
            "bob",
            body='{"id":"id-k1","type":"feed","text":"ü"'.encode(),
            collapse_key="c",
            group="g",
            may_push=UserSet([1]),
            due_at=1_800_000_007_000,
        )
        assert kept.row == before
        assert kept.facts == (
            Fact("k1", "dropped", UserSet([3]), 3, "muted"),
            Fact("k1", "acked", UserSet([2]), 9, "phone"),
        )
        (closed,) = await world.found("id-k2")
        assert not closed.is_open
        await world.store.write(PutDevice(a_device("dev_1", "ada", 2)), Lane.ACK)
        await world.store.write(Keep(world.row("k3", push=b"{}")), Lane.PUBLISH)
    async with opened(url) as world:
        assert len((await world.store.load()).devices) == 1
        assert [kept.row.push async for kept in world.store.open_rows()] == [None, b"{}"]


async def test_a_change_that_fails_halfway_leaves_the_database_of_before(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations
    from sqlalchemy import inspect, text

    await make_before(url)
    make = Operations.create_table  # type: ignore[attr-defined]

    def failing(self: Operations, name: str, *columns: object, **more: object) -> object:
        if name == "hubd_secrets":
            raise StoreError("planted")
        return make(self, name, *columns, **more)

    database = database_of(url)
    with monkeypatch.context() as patch:
        patch.setattr(Operations, "create_table", failing)
        with pytest.raises(StoreError, match="planted"):
            await migrate(database.engine)
    async with database.engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        columns = await connection.run_sync(lambda sync: inspect(sync).get_columns("hubd_notifications"))
        version = (await connection.execute(text(f"SELECT version_num FROM {VERSIONS}"))).scalar()
    await database.close()
    assert "hubd_devices" not in tables
    assert "push" not in [column["name"] for column in columns]
    assert version == "0001"
    async with opened(url) as world:
        assert await world.open_keys() == ["k1"]
