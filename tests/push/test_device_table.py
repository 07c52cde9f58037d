"""Devices in memory: found by number, id and user, with few bytes each."""

import gc
import tracemalloc
from random import Random

import pytest

from hubd.push.device_table import DeviceTable, Entry, Gone, device_id, oldest_first

ADDRESS = b'{"endpoint":"https://push.example.com/' + b"e" * 190 + b'","keys":{"auth":"' + b"a" * 109 + b'"}}'


def entry(key: str, owner: int = 1, platform: str = "webpush", app: str = "", at: int = 1_800_000_000_123) -> Entry:
    return Entry(device_id(platform, key), owner, platform, app, b'{"k":"%s"}' % key.encode(), at, at // 1000 * 1000)


def test_an_entry_comes_back_as_it_was() -> None:
    table = DeviceTable()
    first, second = entry("a"), entry("b", 4_000_000_000, "apns", "Ünïted", 9_999_999_999_999 % (1 << 32) * 1000)
    one, two = table.add(first), table.add(second)
    assert (table.entry(one), table.entry(two)) == (first, second)
    assert (table.number_of(first.id), table.number_of(second.id)) == (one, two)
    assert (table.owner_of(one), table.owner_of(two)) == (1, 4_000_000_000)
    assert (table.app_of(one), table.app_of(two)) == (("webpush", ""), ("apns", "Ünïted"))
    assert table.per_platform() == {"apns": 1, "webpush": 1}


def test_an_id_tells_platforms_and_keys_apart_and_nothing_else_is_one() -> None:
    assert device_id("apns", "x") == device_id("apns", "x") != device_id("fcm", "x")
    assert device_id("apns", "\ud800") != device_id("apns", "\ud801"), "half a character is no fault"
    table = DeviceTable()
    number = table.add(entry("a"))
    id = table.entry(number).id
    for wrong in ("", "dev_", id.upper(), id[:-1], f"{id}0", f" {id}", f"{id}\n", id[4:], "dev_" + "٣" * 24):
        assert table.number_of(wrong) is None
    with pytest.raises(ValueError, match="no id"):
        table.add(entry("a")._replace(id="dev_1"))


def test_numbers_are_never_used_again() -> None:
    table = DeviceTable()
    numbers = []
    for _ in range(5):
        numbers.append(table.add(entry("a")))
        table.remove(numbers[-1])
    assert len({*numbers}) == 5
    assert len(table) == 0
    assert not table.users
    assert table.find(numbers[0]) is None
    assert table.owner_of(numbers[0]) is None
    assert table.app_of(numbers[0]) is None


def test_what_is_gone_belongs_to_nobody_and_can_come_back() -> None:
    table = DeviceTable()
    one, two = table.add(entry("a")), table.add(entry("b"))
    table.hide(one, Gone(1.0, 5))
    assert table.of_user(1) == (two,)
    assert table.find(one) is None
    assert table.owner_of(one) is None
    assert table.app_of(one) is None
    assert table.number_of(entry("a").id) == one
    table.hide(two, Gone(0.5, 5))
    assert not table.users
    assert table.per_platform() == {"webpush": 0}
    table.sort_gone()
    assert [*table.gone] == [two, one]
    table.show(one)
    assert table.of_user(1) == (one,)
    assert [*table.users] == [1]
    table.remove(two)
    assert [*table.gone] == []
    assert len(table) == 1


def test_an_app_is_known_as_long_as_it_has_rows() -> None:
    table = DeviceTable()
    for place in range(1000):
        table.remove(table.add(entry("a", app=f"app{place}")))
    assert len(table._apps) == 1
    kept = table.add(entry("b", app="kept"))
    table.renew(kept, entry("b", app="renewed"))
    assert table.app_of(kept) == ("webpush", "renewed")
    assert table.numbers_of_app([("webpush", "renewed"), ("webpush", "kept")]) == [kept]
    assert table.numbers_of_app([("webpush", "kept")]) == []


def test_the_one_that_registered_longest_ago_stands_first() -> None:
    table = DeviceTable()
    numbers = [table.add(entry(key, at=at)) for key, at in (("a", 3000), ("b", 1000), ("c", 2000))]
    assert [number for number, _ in oldest_first(table, numbers)] == [numbers[1], numbers[2], numbers[0]]


def test_any_history_agrees_with_plain_objects() -> None:
    """Thousands of changes, each checked against dicts and sets."""
    random = Random(7)
    table = DeviceTable()
    there: dict[int, Entry] = {}
    hidden: dict[int, Entry] = {}
    for step in range(4000):
        kind = random.choice(("add", "add", "renew", "hide", "show", "remove"))
        pick = random.choice([*there]) if there else None
        away = random.choice([*hidden]) if hidden else None
        if kind == "add":
            made = entry(f"k{step}", random.randrange(1, 30), random.choice(("apns", "fcm")), random.choice("xyz"))
            there[table.add(made)] = made
        elif kind == "renew" and pick is not None:
            there[pick] = there[pick]._replace(address=b"{}", app="new", registered_at=step)
            table.renew(pick, there[pick])
        elif kind == "hide" and pick is not None:
            hidden[pick] = there.pop(pick)
            table.hide(pick, Gone(step, step))
        elif kind == "show" and away is not None:
            there[away] = hidden.pop(away)
            table.show(away)
        elif kind == "remove" and (number := random.choice([pick, away])) is not None:
            there.pop(number, None)
            hidden.pop(number, None)
            table.remove(number)
        if step % 20 == 0:
            _agrees(table, there, hidden)
    _agrees(table, there, hidden)


def _agrees(table: DeviceTable, there: dict[int, Entry], hidden: dict[int, Entry]) -> None:
    assert len(table) == len(there) + len(hidden)
    assert all(table.find(number) == one for number, one in there.items())
    assert all(table.find(number) is None and table.entry(number) == one for number, one in hidden.items())
    assert [*table.gone] == [*hidden]
    assert {*table.users} == {one.owner for one in there.values()}
    for user in range(1, 30):
        assert {*table.of_user(user)} == {number for number, one in there.items() if one.owner == user}
    known = {platform: sum(one.platform == platform for one in there.values()) for platform in ("apns", "fcm")}
    assert {name: count for name, count in table.per_platform().items() if count} == {
        name: count for name, count in known.items() if count
    }


def test_a_device_takes_less_than_700_bytes() -> None:
    count, random = 40_000, Random(1)
    ids = [f"dev_{random.getrandbits(96):024x}" for _ in range(count)]
    gc.collect()
    tracemalloc.start()
    try:
        table = DeviceTable()
        for owner, id in enumerate(ids, start=1):
            address = b"%s" % ADDRESS.replace(b"e", b"f", 1 + owner % 9)
            table.add(Entry(id, owner, "webpush", "", address, 1_800_000_000_000 + owner, 1_800_000_000_000))
        del address, owner, id
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(ADDRESS) >= 344, "as long as Chrome's"
    assert used / count < 700
