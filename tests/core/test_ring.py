"""Rings: the last so many of the last so long, in so many bytes; and what was evicted is not forgotten unnoticed."""

import pytest

from hubd.core import ring as ring_module
from hubd.core.notification import Notification, Persistence
from hubd.core.ring import REFERENCE_BYTES, RING_BYTES, WATERMARK_S, Rings
from tests.core.made import published

TTL_S = 300.0
PLENTY = 10**9


def rings_of(per_channel: int = 100, ttl_s: float = TTL_S, max_bytes: int = PLENTY) -> Rings:
    return Rings(per_channel, ttl_s, max_bytes)


def fill(rings: Rings, *to: str, first: int = 1, count: int = 1, now: float = 0.0, **more: object) -> None:
    for sequence in range(first, first + count):
        rings.append(published(*to, sequence=sequence, **more), now)


def kept(rings: Rings, name: str, now: float = 0.0) -> list[int]:
    return [notification.sequence for notification in rings.history(name, PLENTY, now)]


def after(rings: Rings, position: int, *names: str) -> list[int]:
    return [entry.sequence for entry in rings.after(names, position)]


# --- Bounds: count, age, bytes


def test_the_last_so_many_of_each_channel() -> None:
    rings = rings_of(per_channel=3)
    fill(rings, "a", first=1, count=3)
    assert (kept(rings, "a"), rings.evicted("a")) == ([1, 2, 3], 0)
    fill(rings, "b", first=4)
    fill(rings, "a", first=5, count=2)
    assert (kept(rings, "a"), rings.evicted("a")) == ([3, 5, 6], 2)
    assert (kept(rings, "b"), rings.evicted("b")) == ([4], 0)
    assert (rings.depth("a"), rings.depth("b"), rings.depth("c")) == (3, 1, 0)


def test_a_ring_for_one() -> None:
    rings = rings_of(per_channel=1)
    fill(rings, "a", count=3)
    assert (kept(rings, "a"), rings.evicted("a")) == ([3], 2)


def test_what_is_too_old_goes() -> None:
    rings = rings_of()
    fill(rings, "a", first=1, now=0.0)
    fill(rings, "a", first=2, now=10.0)
    rings.expire(TTL_S - 0.001)
    assert (kept(rings, "a"), rings.evicted("a")) == ([1, 2], 0)
    rings.expire(TTL_S)
    assert (kept(rings, "a", TTL_S), rings.evicted("a")) == ([2], 1)
    rings.expire(TTL_S + 10)
    assert (kept(rings, "a", TTL_S + 10), rings.evicted("a")) == ([], 2)
    assert (list(rings.names()), rings.bytes) == ([], 0)


def test_appending_and_reading_let_go_of_what_is_too_old_too() -> None:
    for use in (
        lambda rings: rings.append(published("b", sequence=2), TTL_S),
        lambda rings: rings.find("n1", TTL_S),
        lambda rings: rings.history("a", 1, TTL_S),
    ):
        rings = rings_of()
        fill(rings, "a")
        use(rings)
        assert rings.depth("a") == 0
        assert rings.evicted("a") == 1


def test_bytes_are_counted_and_the_oldest_of_all_channels_goes_first() -> None:
    one = published("a")
    rings = rings_of(max_bytes=3 * (one.size + REFERENCE_BYTES + RING_BYTES))
    for sequence, name in enumerate("abc", start=1):
        fill(rings, name, first=sequence)
    assert rings.bytes == 3 * (one.size + REFERENCE_BYTES + RING_BYTES)
    fill(rings, "d", first=4)
    assert [name for name in "abcd" if rings.depth(name)] == ["b", "c", "d"]
    assert rings.evicted("a") == 1
    fill(rings, "c", first=5)
    assert rings.evicted("b") == 2
    assert kept(rings, "c") == [3, 5]


def test_a_notification_is_counted_once_and_each_reference_too() -> None:
    rings = rings_of()
    made = published("a", "b", "c")
    rings.append(made, 0.0)
    assert rings.bytes == made.size + 3 * (REFERENCE_BYTES + RING_BYTES)
    assert made.references == 3
    fill(rings, "a", first=2)
    assert rings.bytes == made.size + published("a").size + 4 * REFERENCE_BYTES + 3 * RING_BYTES


def test_what_is_larger_than_the_budget_is_evicted_at_once_and_that_is_a_gap() -> None:
    rings = rings_of(max_bytes=5000)
    fill(rings, "a", payload={"type": "t", "text": "x" * 10_000})
    assert (rings.depth("a"), rings.bytes, rings.evicted("a")) == (0, 0, 1)


def test_references_alone_cant_outgrow_the_budget() -> None:
    rings = rings_of(max_bytes=100_000)
    fill(rings, *(f"t{place}" for place in range(1000)))
    assert rings.bytes <= 100_000
    assert sum(rings.depth(f"t{place}") for place in range(1000)) < 130
    assert sum(bool(rings.evicted(f"t{place}")) for place in range(1000)) > 870


def test_its_frames_are_let_go_with_its_last_reference() -> None:
    rings = rings_of(per_channel=1)
    made = published("a", "b")
    made.frames = {}
    rings.append(made, 0.0)
    fill(rings, "a", first=2)
    assert made.frames == {} and made.references == 1
    fill(rings, "b", first=3)
    assert made.frames is None and made.references == 0


# --- What is no gap


def test_what_is_live_only_is_not_kept() -> None:
    rings = rings_of()
    fill(rings, "a", persistence=Persistence.EPHEMERAL)
    fill(rings, "a", first=2, live_only=True)
    assert (list(rings.names()), rings.bytes, rings.evicted("a")) == ([], 0, 0)
    assert rings.find("n1", 0.0) is None


def test_what_expired_by_its_own_ttl_is_not_read_and_no_gap() -> None:
    rings = rings_of(per_channel=2)
    fill(rings, "a", first=1, ttl_s=10.0)
    assert kept(rings, "a", 9.9) == [1]
    assert kept(rings, "a", 10.0) == []
    assert rings.find("n1", 9.9) is not None
    assert rings.find("n1", 10.0) is None
    fill(rings, "a", first=2, count=2, now=20.0)
    assert (kept(rings, "a", 20.0), rings.evicted("a")) == ([2, 3], 0)


def test_what_was_evicted_before_its_ttl_ran_out_stays_a_gap() -> None:
    rings = rings_of(per_channel=1)
    fill(rings, "a", first=1, ttl_s=10.0)
    fill(rings, "a", first=2, now=5.0)
    rings.expire(20.0)
    assert rings.evicted("a") == 1


def test_what_ages_out_after_its_own_ttl_is_no_gap() -> None:
    rings = rings_of()
    fill(rings, "a", ttl_s=TTL_S - 1)
    rings.expire(TTL_S)
    assert (rings.depth("a"), rings.evicted("a")) == (0, 0)


def test_what_expires_in_the_moment_of_its_eviction_is_no_gap() -> None:
    rings = rings_of(per_channel=1)
    fill(rings, "a", first=1, ttl_s=5.0)
    fill(rings, "a", first=2, now=5.0)
    assert rings.evicted("a") == 0


def test_what_is_retracted_is_out_of_all_rings_and_no_gap() -> None:
    rings = rings_of()
    fill(rings, "a", first=1)
    made = published("a", "b", sequence=2)
    rings.append(made, 0.0)
    fill(rings, "a", first=3)
    before = rings.bytes
    rings.retract(made, 0.0)
    assert (kept(rings, "a"), kept(rings, "b")) == ([1, 3], [])
    assert (rings.evicted("a"), rings.evicted("b")) == (0, 0)
    assert rings.bytes == before - made.size - 2 * REFERENCE_BYTES - RING_BYTES
    assert made.references == 0
    rings.retract(made, 0.0)
    assert kept(rings, "a") == [1, 3]


def test_retracting_doesnt_forget_what_had_been_evicted() -> None:
    rings = rings_of(per_channel=1)
    fill(rings, "a", count=2)
    last = rings.find("n2", 0.0)
    assert last is not None
    rings.retract(last, 0.0)
    assert (rings.depth("a"), rings.evicted("a")) == (0, 1)


def test_what_one_of_its_rings_evicted_is_retracted_from_the_others() -> None:
    rings = rings_of(per_channel=1)
    made = published("a", "b")
    rings.append(made, 0.0)
    fill(rings, "a", first=2)
    rings.retract(made, 0.0)
    assert (kept(rings, "a"), kept(rings, "b")) == ([2], [])
    assert (rings.evicted("a"), rings.evicted("b")) == (1, 0)


# --- What has been evicted, when the ring is empty


def test_a_ring_that_was_emptied_knows_what_it_evicted() -> None:
    rings = rings_of()
    fill(rings, "a", count=2)
    rings.expire(TTL_S)
    assert (list(rings.names()), rings.evicted("a"), rings.floor) == ([], 2, 0)
    fill(rings, "a", first=3, now=TTL_S)
    assert (kept(rings, "a", TTL_S), rings.evicted("a")) == ([3], 2)
    rings.expire(2 * TTL_S)
    assert rings.evicted("a") == 3


def test_after_a_while_only_the_floor_remembers() -> None:
    rings = rings_of()
    fill(rings, "a", count=2)
    fill(rings, "b", first=3)
    rings.expire(TTL_S)
    rings.expire(TTL_S + WATERMARK_S + TTL_S - 1)
    assert (rings.evicted("a"), rings.evicted("b"), rings.floor) == (2, 3, 0)
    rings.expire(TTL_S + WATERMARK_S + TTL_S)
    assert (rings.evicted("a"), rings.evicted("b"), rings.floor) == (0, 0, 3)


def test_a_channel_that_went_on_is_not_forgotten_as_idle() -> None:
    rings = rings_of()
    fill(rings, "a")
    rings.expire(TTL_S)
    fill(rings, "a", first=2, now=2 * TTL_S)
    rings.expire(TTL_S + WATERMARK_S + TTL_S)
    assert (rings.evicted("a"), rings.floor) == (2, 0)


def test_of_too_many_channels_the_oldest_is_left_to_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "WATERMARKS", 2)
    rings = rings_of()
    for sequence, name in enumerate("abc", start=1):
        fill(rings, name, first=sequence, now=float(sequence))
    rings.expire(TTL_S + 3)
    assert [rings.evicted(name) for name in "abc"] == [0, 2, 3]
    assert rings.floor == 1


def test_the_floor_never_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "WATERMARKS", 0)
    rings = rings_of(per_channel=1)
    fill(rings, "a", first=1)
    fill(rings, "b", first=2, count=2, now=1.0)  # evicts 2 from b
    rings.expire(TTL_S)
    assert rings.floor == 1
    rings.retract(published("b", sequence=3), 0.0)  # another object: nothing happens
    found = rings.find("n3", TTL_S)
    assert found is not None
    rings.retract(found, TTL_S)
    rings.expire(TTL_S)
    assert rings.floor == 2
    fill(rings, "c", first=4, ttl_s=0.0, now=TTL_S)
    rings.expire(3 * TTL_S)
    assert rings.floor == 2, "what expired by its own ttl is no gap"


# --- Reading


def test_what_comes_after_a_position_the_bound_is_exclusive() -> None:
    rings = rings_of()
    fill(rings, "a", first=2, count=3)
    assert after(rings, 0, "a") == [2, 3, 4]
    assert after(rings, 1, "a") == [2, 3, 4]
    assert after(rings, 2, "a") == [3, 4]
    assert after(rings, 3, "a") == [4]
    assert after(rings, 4, "a") == []
    assert after(rings, 99, "a") == []
    assert after(rings, 0) == after(rings, 0, "b") == []


def test_several_channels_are_merged_in_sequence() -> None:
    rings = rings_of()
    for sequence, name in enumerate("abcabccba", start=1):
        fill(rings, name, first=sequence)
    assert after(rings, 0, "a", "b", "c") == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert after(rings, 4, "c", "a") == [6, 7, 9]
    assert after(rings, 8, "a", "b", "c", "d") == [9]


def test_what_is_in_several_rings_comes_from_each() -> None:
    rings = rings_of()
    fill(rings, "a", "b", first=1)
    fill(rings, "b", first=2)
    fill(rings, "b", "c", "a", first=3)
    assert after(rings, 0, "a", "b") == [1, 1, 2, 3, 3]
    assert after(rings, 0, "c") == [3]


def test_history_is_the_newest_so_many_oldest_first() -> None:
    rings = rings_of()
    fill(rings, "a", count=4)
    fill(rings, "a", first=5, ttl_s=1.0)
    assert [n.sequence for n in rings.history("a", 2, 0.0)] == [4, 5]
    assert [n.sequence for n in rings.history("a", 2, 2.0)] == [3, 4]
    assert [n.sequence for n in rings.history("a", 99, 2.0)] == [1, 2, 3, 4]
    assert rings.history("a", 0, 0.0) == rings.history("b", 9, 0.0) == []


# --- By id


def found(rings: Rings, id: str, now: float = 0.0) -> Notification | None:
    return rings.find(id, now)


def test_it_is_found_by_its_id_while_any_ring_has_it() -> None:
    rings = rings_of(per_channel=1)
    made = published("a", "b", id="x", sequence=1)
    rings.append(made, 0.0)
    assert found(rings, "x") is made
    assert found(rings, "y") is None
    fill(rings, "a", first=2)
    assert found(rings, "x") is made
    fill(rings, "b", first=3)
    assert found(rings, "x") is None


def test_of_two_with_the_same_id_both_are_found_the_last_first() -> None:
    rings = rings_of(per_channel=2)
    old, new = published("a", id="x", sequence=1), published("b", id="x", sequence=2)
    rings.append(old, 0.0)
    rings.append(new, 0.0)
    assert rings.find_all("x", 0.0) == [new, old]
    assert found(rings, "x") is new
    rings.retract(new, 0.0)
    assert rings.find_all("x", 0.0) == [old]
    fill(rings, "a", first=3, count=2)  # evicts it
    assert rings.find_all("x", 0.0) == []
    assert found(rings, "x") is None


def test_the_older_of_two_goes_and_the_newer_stays() -> None:
    rings = rings_of(per_channel=1)
    old, new = published("a", id="x", sequence=1), published("b", id="x", sequence=2)
    rings.append(old, 0.0)
    rings.append(new, 0.0)
    fill(rings, "a", first=3)
    assert rings.find_all("x", 0.0) == [new]


def test_what_a_user_published_hides_nothing_of_the_servers() -> None:
    rings = rings_of()
    servers = published("a", id="x", sequence=1)
    users = [published("a", id="x", sequence=sequence, sender="ada") for sequence in (2, 3)]
    for made in (servers, *users):
        rings.append(made, 0.0)
    assert rings.find_all("x", 0.0) == [servers, users[1], users[0]]


def test_of_two_one_has_expired() -> None:
    rings = rings_of()
    rings.append(published("a", id="x", sequence=1, ttl_s=50.0), 0.0)
    rings.append(published("a", id="x", sequence=2, ttl_s=10.0), 0.0)
    assert [made.sequence for made in rings.find_all("x", 9.0)] == [2, 1]
    assert [made.sequence for made in rings.find_all("x", 10.0)] == [1]
    assert rings.find_all("x", 50.0) == []


def test_of_several_with_the_same_id_a_servers_comes_before_a_clients() -> None:
    rings = rings_of(per_channel=3)
    servers, clients = published("a", id="x"), published("b", id="x", sequence=2, sender="ada")
    for made in (servers, clients):
        rings.append(made, 0.0)
    assert rings.find_all("x", 0.0) == [servers, clients]
    rings.retract(servers, 0.0)
    assert rings.find_all("x", 0.0) == [clients]
    rings.retract(clients, 0.0)
    assert rings.find_all("x", 0.0) == []
