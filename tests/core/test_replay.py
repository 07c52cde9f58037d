"""Replay: in sequence, nothing twice, nothing left out without a gap, and at the pace that is asked for."""

from typing import Any

import pytest

from hubd.core import ring as ring_module
from hubd.core.replay import Replay, gap_fields, put_gaps
from hubd.core.ring import Rings
from hubd.core.users import Snapshot, UserSet
from tests.core.made import Idle, joined, published

ALL = 10**9
TTL_S = 300.0


def rings_with(*channels: str | tuple[str, ...], per_channel: int = 100) -> Rings:
    """Rings with one notification to each of these (lists of) channels, numbered from 1."""
    rings = Rings(per_channel, TTL_S, ALL)
    publish(rings, *channels)
    return rings


def publish(rings: Rings, *channels: str | tuple[str, ...], first: int = 1, **more: Any) -> None:
    for sequence, to in enumerate(channels, start=first):
        rings.append(published(*([to] if isinstance(to, str) else to), sequence=sequence, **more), 0.0)


def read(replay: Replay, connection: Idle, rings: Rings, upto: int = 99, now: float = 0.0) -> list[str]:
    """Read to the end; the ids and the channels of the gaps, in order."""
    assert replay.read(connection, rings, upto, now, ALL)
    return seen(connection)


def seen(connection: Idle) -> list[str]:
    return [frame["id"] if "id" in frame else f"gap {frame['channel']}" for frame in connection.take()]


# --- What is read


def test_everything_after_the_cursor_and_nothing_else() -> None:
    rings = rings_with("t", "notifications", "user:ada:notifications", "other", "user:bob:notifications", "t")
    connection = joined("t", user="ada")
    assert read(Replay(0), connection, rings) == ["n1", "n2", "n3", "n6"]
    assert read(Replay(1), connection, rings) == ["n2", "n3", "n6"]
    assert read(Replay(2), connection, rings) == ["n3", "n6"]
    assert read(Replay(5), connection, rings) == ["n6"]
    assert read(Replay(6), connection, rings) == []


def test_it_goes_as_far_as_the_sequence_has_come() -> None:
    rings = rings_with("t", "t", "t")
    replay = Replay(0)
    assert read(replay, joined("t"), rings, upto=2) == ["n1", "n2"]
    assert replay.position == 2


def test_when_it_is_through_it_stands_at_the_end_even_of_what_wasnt_for_it() -> None:
    rings = rings_with("t", "other", "other")
    replay = Replay(0)
    read(replay, joined("t"), rings, upto=3)
    assert replay.position == 3
    assert replay.count == 1


def test_one_that_went_to_several_of_its_channels_comes_once_by_the_first() -> None:
    rings = rings_with(("b", "a"), ("other", "user:ada:notifications", "a"), ("a", "notifications"))
    connection = joined("a", "b", user="ada")
    Replay(0).read(connection, rings, 99, 0.0, ALL)
    assert [(frame["id"], frame["channel"]) for frame in connection.take()] == [
        ("n1", "b"),
        ("n2", "user:ada:notifications"),
        ("n3", "a"),
    ]


def test_what_has_expired_meanwhile_is_left_out() -> None:
    rings = rings_with()
    publish(rings, "t", ttl_s=10.0)
    publish(rings, "t", first=2)
    assert read(Replay(0), joined("t"), rings, now=9.9) == ["n1", "n2"]
    assert read(Replay(0), joined("t"), rings, now=10.0) == ["n2"]


def test_a_topic_that_was_joined_later_is_read_from_there() -> None:
    rings = rings_with("a", "b", "a", "b")
    connection = joined("a")
    connection.topics["b"] = 3
    assert read(Replay(0), connection, rings) == ["n1", "n3", "n4"]


def test_one_to_an_old_and_to_a_later_topic_comes_by_the_old_one() -> None:
    rings = rings_with(("b", "a"), ("b", "a"))
    connection = joined("a")
    connection.topics["b"] = 1
    Replay(0).read(connection, rings, 99, 0.0, ALL)
    assert [(frame["id"], frame["channel"]) for frame in connection.take()] == [("n1", "a"), ("n2", "b")]


def test_a_topic_that_was_left_meanwhile_is_read_no_more() -> None:
    rings = rings_with("a", "b", "a", "b")
    connection = joined("a", "b")
    replay = Replay(0)
    assert not replay.read(connection, rings, 4, 0.0, 1)
    del connection.topics["b"]
    assert read(replay, connection, rings, upto=4) == ["n1", "n3"]


def test_who_got_a_topics_replay_counts_as_one_it_was_sent_to() -> None:
    rings = rings_with("t", "user:ada:notifications")
    connection = joined("t", user="ada")
    assert connection.user is not None
    made = rings.find("n1", 0.0)
    assert made is not None
    assert made.channel_to("ada", connection.user.number) is None
    read(Replay(0), connection, rings)
    assert made.channel_to("ada", connection.user.number) == "t"
    own = rings.find("n2", 0.0)
    assert own is not None and own.replayed is None, "of a user's own channel the name says it"
    assert made.channel_to("bob", connection.user.number + 1) is None


# --- Pace


def test_it_reads_about_as_many_bytes_as_it_may() -> None:
    rings = rings_with(*["t"] * 10)
    connection, replay = joined("t"), Replay(0)
    assert not replay.read(connection, rings, 10, 0.0, 1)
    assert len(connection.outbox) == 1, "at least one, however large"
    size = len(connection.outbox[0])
    connection.outbox.clear()
    assert not replay.read(connection, rings, 10, 0.0, 3 * size)
    assert len(connection.outbox) == 3
    assert replay.position == 4
    connection.outbox.clear()
    assert replay.read(connection, rings, 10, 0.0, 7 * size)
    assert connection.take_ids() == [f"n{sequence}" for sequence in range(5, 11)]
    assert replay.count == 10


def test_what_is_published_while_it_reads_comes_in_its_turn() -> None:
    rings = rings_with("t", "t")
    connection, replay = joined("t"), Replay(0)
    assert not replay.read(connection, rings, 2, 0.0, 1)
    publish(rings, "t", first=3)
    assert read(replay, connection, rings, upto=3) == ["n1", "n2", "n3"]


# --- Gaps


def test_what_was_evicted_after_the_cursor_is_a_gap_told_before_what_survives() -> None:
    rings = rings_with("t", "t", "t", "t", per_channel=2)  # keeps 3 and 4
    assert read(Replay(0), joined("t"), rings) == ["gap t", "n3", "n4"]
    assert read(Replay(1), joined("t"), rings) == ["gap t", "n3", "n4"]
    assert read(Replay(2), joined("t"), rings) == ["n3", "n4"]


def test_only_channels_that_it_may_see_have_gaps_for_it() -> None:
    rings = rings_with("other", "other", "user:bob", "user:bob", "t", per_channel=1)
    assert read(Replay(0), joined("t"), rings) == ["n5"]


def test_each_channel_has_its_own_gap() -> None:
    rings = rings_with("a", "notifications", "user:ada:notifications", "a", per_channel=1)
    publish(rings, "notifications", "user:ada:notifications", first=5)
    seen_ = read(Replay(0), joined("a", "b", user="ada"), rings)
    assert seen_ == ["gap notifications", "gap user:ada:notifications", "gap a", "n4", "n5", "n6"]


def test_a_gap_is_told_once_until_more_is_missing() -> None:
    rings = rings_with("t", "t", "t", per_channel=2)
    connection, replay = joined("t"), Replay(0)
    assert replay.find_gaps(connection, rings) == ["t"]
    assert replay.find_gaps(connection, rings) == []
    publish(rings, "t", first=4)
    assert replay.find_gaps(connection, rings) == ["t"]
    assert replay.gaps == 2


def test_what_is_evicted_while_it_is_read_is_a_gap_unless_it_was_read_already() -> None:
    rings = rings_with("t", "t", "t", per_channel=3)
    connection, replay = joined("t"), Replay(0)
    assert not replay.read(connection, rings, 3, 0.0, 1)
    publish(rings, "t", first=4)  # evicts 1, which is read
    assert not replay.read(connection, rings, 4, 0.0, 1)
    assert seen(connection) == ["n1", "n2"]
    publish(rings, "t", "t", first=5)  # evicts 2 and 3, of which 3 isn't
    assert read(replay, connection, rings, upto=6) == ["gap t", "n4", "n5", "n6"]


def test_a_later_topic_has_no_gap_from_before_it_was_joined() -> None:
    rings = rings_with("t", "t", "t", per_channel=1)  # evicted 1 and 2
    connection = joined()
    connection.topics["t"] = 2
    assert read(Replay(0), connection, rings) == ["n3"]
    connection.topics["t"] = 1
    assert read(Replay(0), connection, rings) == ["gap t", "n3"]


def test_when_nobody_knows_what_was_evicted_it_is_a_gap_of_any_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "WATERMARKS", 0)
    rings = rings_with("other", "other")
    rings.expire(TTL_S)
    assert rings.floor == 2
    assert read(Replay(0), joined("t"), rings) == ["gap None"]
    assert read(Replay(1), joined("t"), rings) == ["gap None"]
    assert read(Replay(2), joined("t"), rings) == []


def test_the_floor_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "WATERMARKS", 0)
    rings = rings_with("other")
    rings.expire(TTL_S)
    replay = Replay(0)
    connection = joined("t")
    assert replay.find_gaps(connection, rings) == [None]
    assert replay.find_gaps(connection, rings) == []


def test_when_the_floor_is_told_it_is_told_for_every_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    rings = rings_with("t", "t", "t", "t", per_channel=2)
    connection, replay = joined("t"), Replay(0)
    assert replay.find_gaps(connection, rings) == ["t"]
    publish(rings, "t", first=5)  # evicts 3
    rings.floor = 4
    assert replay.find_gaps(connection, rings) == [None]
    assert replay.find_gaps(connection, rings) == []
    publish(rings, "t", "t", first=6)  # evicts 4 and 5
    assert replay.find_gaps(connection, rings) == ["t"]


def test_why_a_cursor_was_no_good_is_told_once_and_first() -> None:
    rings = rings_with("t", "t")
    connection, replay = joined("t"), Replay(0, end=2, names=("t",), told=2)
    replay.reason = "epoch"
    assert not replay.read(connection, rings, 2, 0.0, 1)
    assert read(replay, connection, rings) == ["gap None", "n1", "n2"]


def test_who_goes_on_from_another_replay_tells_only_what_that_one_couldnt() -> None:
    rings = rings_with("t", "t", "u", "u", per_channel=1)
    connection = joined("t", "u")
    topic, rest = Replay(0, end=4, names=("t",)), Replay(0)
    assert read(topic, connection, rings) == ["gap t", "n2"]
    rest.go_on_from(topic)
    assert rest.find_gaps(connection, rings) == ["u"]
    publish(rings, "t", first=5)  # evicts 2
    assert rest.find_gaps(connection, rings) == ["t"]
    rest.go_on_from(Replay(0))
    assert rest.find_gaps(connection, rings) == []


def test_gaps_that_were_told_already_are_not_told_again() -> None:
    rings = rings_with("t", "t", "t", per_channel=1)
    assert read(Replay(0, told=3), joined("t"), rings) == ["n3"]
    assert read(Replay(0, told=1), joined("t"), rings) == ["gap t", "n3"]


# --- Some topics only, newly subscribed


def test_new_topics_are_read_from_their_cursor_to_where_the_connection_stands() -> None:
    rings = rings_with("t", "t", "a", "t", "t")
    assert read(Replay(1, end=4, names=("t",)), joined("a", "t"), rings) == ["n2", "n4"]


def test_what_reached_it_by_another_channel_is_left_out() -> None:
    rings = rings_with(("t", "a"), ("t", "user:ada:notifications"), ("t", "other"), ("a", "t"), "t")
    connection = joined("a", user="ada", since=1)
    connection.topics["t"] = 0
    assert read(Replay(0, end=5, names=("t",)), connection, rings) == ["n1", "n3", "n5"]


def test_what_another_channel_had_lost_already_is_not_left_out() -> None:
    rings = rings_with(("a", "t"), "a", per_channel=1)
    connection = joined("a", "t")
    del connection.topics["t"]
    assert read(Replay(0), connection, rings) == ["gap a", "n2"]
    connection.topics["t"] = 0
    assert read(Replay(0, end=2, names=("t",)), connection, rings) == ["n1"]


def test_what_was_read_before_a_gap_doesnt_come_again() -> None:
    rings = rings_with(("a", "t"), ("a", "t"), "a", per_channel=3)
    connection, replay = joined("a", "t"), Replay(0)
    del connection.topics["t"]
    assert not replay.read(connection, rings, 3, 0.0, 1)
    publish(rings, "a", "a", first=4)  # evicts 1, which is read, and 2
    assert read(replay, connection, rings, upto=5) == ["n1", "gap a", "n3", "n4", "n5"]
    connection.topics["t"] = 0
    assert read(Replay(0, end=5, names=("t",)), connection, rings) == ["n2"]


def test_of_two_that_wait_for_their_replay_the_first_gets_what_went_to_both() -> None:
    rings = rings_with(("a", "b"), ("b", "a"), "b")
    connection = joined("a", "b")
    first, second = Replay(0, end=3, names=("a",)), Replay(0, end=3, names=("b",))
    connection.replays = [first, second, Replay(3)]
    assert read(first, connection, rings) == ["n1", "n2"]
    connection.replays.pop(0)
    assert read(second, connection, rings) == ["n3"]


def test_a_new_topic_that_was_left_meanwhile_is_read_no_more() -> None:
    rings = rings_with("a", "b", "a", "b", per_channel=2)
    connection, replay = joined("a", "b"), Replay(0, end=4, names=("a", "b"))
    assert not replay.read(connection, rings, 4, 0.0, 1)
    replay.leave("b")
    publish(rings, "b", "b", first=5)
    assert read(replay, connection, rings) == ["n1", "n3"]
    assert (replay.count, replay.position, replay.gaps) == (2, 4, 0)
    replay.leave("a")
    publish(rings, "notifications", first=7)
    assert read(Replay(0, names=()), connection, rings) == [], "nothing is left, which isn't everything"


def test_what_reads_all_channels_has_nothing_to_leave() -> None:
    rings = rings_with("a", "b")
    connection, replay = joined("a", "b"), Replay(0)
    replay.leave("b")
    assert read(replay, connection, rings) == ["n1", "n2"], "it asks the connection"


def test_only_the_new_topics_have_gaps() -> None:
    rings = rings_with("a", "a", "t", "t", per_channel=1)
    connection = joined("a", "t")
    replay = Replay(0, end=4, names=("t",))
    assert read(replay, connection, rings) == ["gap t", "n4"]
    assert replay.gaps == 1


def test_a_cursor_beyond_where_the_connection_stands_reads_nothing() -> None:
    rings = rings_with("t", "t", "t", per_channel=1)
    assert read(Replay(2, end=1, names=("t",)), joined("t"), rings) == []


# --- How gaps are told


def test_a_control_connection_is_told_every_gap() -> None:
    connection = Idle()
    put_gaps(connection, ["a", "b"], "evicted")
    put_gaps(connection, [None], "epoch")
    assert connection.take() == [gap_fields("a", "evicted"), gap_fields("b", "evicted"), gap_fields(None, "epoch")]
    assert gap_fields("a", "evicted") == {"hub": "gap", "channel": "a", "reason": "evicted"}


def test_a_plain_connection_is_told_once_that_something_is_missing() -> None:
    for channels, told in ((["a"], "a"), (["a", "b"], None), ([None], None)):
        connection = Idle(control=False)
        put_gaps(connection, [], "evicted")
        assert connection.outbox == []
        put_gaps(connection, list(channels), "evicted")
        put_gaps(connection, ["c"], "evicted")
        assert connection.take() == [gap_fields(told, "evicted")]


# --- Kept from some


def test_what_is_kept_from_a_user_isnt_read_nor_noted() -> None:
    rings = Rings(100, TTL_S, ALL)
    connection = joined("t", user="ada")
    assert connection.user is not None
    for sequence, to in enumerate(("t", "notifications", "user:ada:notifications", "t"), start=1):
        made = published(to, sequence=sequence)
        if sequence < 4:
            made.excluded = Snapshot(UserSet([connection.user.number]))
        rings.append(made, 0.0)
    replay = Replay(0)
    assert read(replay, connection, rings, upto=4) == ["n4"]
    assert replay.position == 4
    assert rings.find("n1", 0.0).replayed is None  # type: ignore[union-attr]  # it is there
    other = joined("t", user="bob")
    other.user.number += 1  # type: ignore[union-attr]  # in another registry, he would be
    assert read(Replay(0), other, rings) == ["n1", "n2", "n4"]


def test_what_is_evicted_is_a_gap_for_whom_it_was_kept_from_too() -> None:
    rings = Rings(1, TTL_S, ALL)
    connection = joined("t", user="ada")
    assert connection.user is not None
    for sequence in (1, 2):
        made = published("t", sequence=sequence)
        made.excluded = Snapshot(UserSet([connection.user.number]))
        rings.append(made, 0.0)
    assert read(Replay(0), connection, rings) == ["gap t"]
