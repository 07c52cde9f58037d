"""What rings keep, put back into other rings, as after a restart."""

from hubd.core.ring import WATERMARK_S, Rings
from tests.core.made import published

TTL_S = 300.0
PLENTY = 10**9


def rings_of(per_channel: int = 100, max_bytes: int = PLENTY) -> Rings:
    return Rings(per_channel, TTL_S, max_bytes)


def fill(rings: Rings, *to: str, first: int = 1, count: int = 1, now: float = 0.0) -> None:
    for sequence in range(first, first + count):
        rings.append(published(*to, sequence=sequence), now)


def after(rings: Rings, position: int, *names: str) -> list[int]:
    return [entry.sequence for entry in rings.after(names, position)]


def put_back(rings: Rings, per_channel: int = 100, max_bytes: int = PLENTY, now: float = 0.0) -> Rings:
    others = rings_of(per_channel=per_channel, max_bytes=max_bytes)
    others.floor = rings.floor
    for mark in [*rings.marks(now)]:
        others.put_back_mark(mark)
    for notification, names in [*rings.kept()]:
        again = published(*notification.channels, sequence=notification.sequence)
        again.kept_at = notification.kept_at
        others.put_back(again, names, now)
    return others


def test_what_is_kept_comes_once_in_sequence_with_the_rings_that_have_it() -> None:
    rings = rings_of(per_channel=2)
    fill(rings, "a", "b", first=1)
    fill(rings, "b", "c", first=2)
    fill(rings, "a", first=3, count=2)
    assert [(one.sequence, names) for one, names in rings.kept()] == [
        (1, ["b"]), (2, ["b", "c"]), (3, ["a"]), (4, ["a"])
    ]  # fmt: skip


def test_put_back_they_are_as_they_were() -> None:
    rings = rings_of(per_channel=2)
    fill(rings, "a", "b", first=1)
    fill(rings, "a", first=2, count=2)
    fill(rings, "gone", first=4, now=1.0)
    rings.retract(rings.history("gone", 1, 1.0)[0], 1.0)
    fill(rings, "emptied", first=5, count=3, now=2.0)
    for one in rings.history("emptied", 2, 2.0):
        rings.retract(one, 2.0)
    others = put_back(rings, per_channel=2, now=2.0)
    assert others.bytes == rings.bytes
    for name in ("a", "b", "gone", "emptied"):
        assert after(others, 0, name) == after(rings, 0, name)
        assert others.evicted(name) == rings.evicted(name)
    assert (others.evicted("a"), others.evicted("emptied"), others.depth("emptied")) == (1, 5, 0)


def test_put_back_it_keeps_its_age() -> None:
    rings = rings_of()
    fill(rings, "a", first=1, now=10.0)
    fill(rings, "a", first=2, now=20.0)
    others = put_back(rings, now=30.0)
    others.expire(10.0 + TTL_S)
    assert (after(others, 0, "a"), others.evicted("a")) == ([2], 1)


def test_what_doesnt_fit_any_more_is_a_gap() -> None:
    rings = rings_of()
    fill(rings, "a", first=1, count=5)
    assert put_back(rings, per_channel=2).evicted("a") == 3
    small = put_back(rings, max_bytes=rings.bytes - 1)
    assert (after(small, 0, "a"), small.evicted("a")) == ([2, 3, 4, 5], 1)


def test_marks_keep_their_age() -> None:
    rings = rings_of(per_channel=1)
    fill(rings, "a", count=2)
    rings.expire(TTL_S)
    assert [*rings.marks(TTL_S + 5)] == [("a", 2, TTL_S)]
    others = put_back(rings, now=TTL_S + 5)
    others.expire(2 * TTL_S + WATERMARK_S - 1)
    assert (others.evicted("a"), others.floor) == (2, 0)
    others.expire(2 * TTL_S + WATERMARK_S)
    assert (others.evicted("a"), others.floor) == (0, 2)
