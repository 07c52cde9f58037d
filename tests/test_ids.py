"""Ids: as they are on the wire, in order of time, and never the same twice."""

import re
from random import Random
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from hubd.core.cursor import Cursor, read_cursor
from hubd.core.notification import is_notification_id
from hubd.ids import Ids
from hubd.testing import FakeClock


def ids_at(now: float = 1_800_000_000.0, seed: int = 1) -> Ids:
    return Ids(FakeClock(now), Random(seed))


@given(st.floats(0, 2**47 / 1000), st.integers())
def test_a_notifications_id_is_a_uuid_of_version_7(now: float, seed: int) -> None:
    text = ids_at(now, seed).notification()
    found = UUID(text)
    assert (str(found), found.version, found.variant) == (text, 7, RFC_4122)
    assert found.int >> 80 == int(now * 1000)
    assert is_notification_id(text)


def test_all_its_random_bits_are_random() -> None:
    ids = ids_at()
    made = [UUID(ids.notification()).int for _ in range(200)]
    fixed = (0xFFFFFFFFFFFF << 80) | (0xF << 76) | (0b11 << 62)
    ever_set = ever_unset = 0
    for value in made:
        ever_set |= value
        ever_unset |= ~value
    assert ever_set & ever_unset & ((1 << 128) - 1) == ((1 << 128) - 1) & ~fixed


def test_ids_sort_by_the_millisecond_in_which_they_were_made() -> None:
    clock = FakeClock()
    ids = Ids(clock, Random(1))
    made = []
    for _ in range(500):
        made.append(ids.notification())
        clock.advance(0.002)
    assert made == sorted(made)


def test_no_id_comes_twice() -> None:
    ids = ids_at()
    for make in (ids.notification, ids.connection, ids.epoch):
        assert len({make() for _ in range(5000)}) == 5000


def test_a_connections_id_isnt_to_be_guessed() -> None:
    assert re.fullmatch("[0-9a-f]{24}", ids_at().connection())


def test_an_epoch_fits_a_cursor() -> None:
    cursor = Cursor(ids_at().epoch(), 0)
    assert read_cursor(str(cursor)) == cursor


def test_everything_comes_from_what_was_handed_in() -> None:
    def all_of(ids: Ids) -> list[str]:
        return [ids.notification(), ids.connection(), ids.epoch()]

    assert all_of(ids_at(seed=5)) == all_of(ids_at(seed=5))
    assert all_of(ids_at(seed=5)) != all_of(ids_at(seed=6))
