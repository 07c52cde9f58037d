"""Attendance, for those who bring a cursor: what they missed, from where, at what pace, and what is gone."""

import orjson
import pytest

from hubd.testing import connect
from tests.hub_world import OLD_EPOCH, World, ids, story

# --- Coming back


async def test_a_cursor_brings_what_was_missed_and_then_what_is_new() -> None:
    world = World()
    await world.publish("t", count=5)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(2))
    await world.publish("t")
    world.settle()
    assert story(connection) == ["welcome", "n3", "n4", "n5", "n6"]
    welcome = connection.frames[0]
    assert (welcome["recovered"], welcome["cursor"]) == (True, world.cursor(2)), "the position before the replay"
    cursors = [frame["cursor"] for frame in connection.notifications()]
    assert cursors == [world.cursor(sequence) for sequence in range(3, 7)]


async def test_with_the_present_cursor_nothing_is_missing() -> None:
    world = World()
    await world.publish("t", count=5)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor())
    assert story(connection) == ["welcome"]
    assert connection.frames[0]["recovered"] is True
    assert connection.live and not connection.replays


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        (OLD_EPOCH, "epoch"),
        ("", "bad_cursor"),
        ("nonsense", "bad_cursor"),
        ("future", "bad_cursor"),
        ("x" * 64, "bad_cursor"),
    ],
)
async def test_a_cursor_that_cant_be_honoured_is_a_gap_then_what_survives(cursor: str, reason: str) -> None:
    world = World(per_channel=2)
    await world.publish("t", count=4)
    if cursor == "future":
        cursor = world.cursor(5)
    for control in (True, False):
        connection = connect(world.hub, "ada", ("t",), cursor=cursor, control=control)
        assert story(connection)[control:] == [f"gap None {reason}", "n3", "n4"], "and not the gap of n1 and n2 too"
        if control:
            assert connection.frames[0]["recovered"] is False


@pytest.mark.parametrize("cursor", [OLD_EPOCH, "nonsense"])
async def test_when_everything_survives_everything_is_replayed(cursor: str) -> None:
    world = World()
    await world.publish("t", count=3)
    connection = connect(world.hub, "ada", ("t",), cursor=cursor)
    assert story(connection)[2:] == ["n1", "n2", "n3"]
    later = connect(world.hub, "bob")
    world.subscribe(later, "t", cursor)
    world.settle()
    assert story(later)[2:] == ["n1", "n2", "n3", "reply"]


async def test_what_has_aged_out_is_a_gap_though_nobody_has_looked_since() -> None:
    world = World()
    before = connect(world.hub, "bob")
    await world.publish("t")
    world.clock.advance(300)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(0))
    assert story(connection) == ["welcome", "gap t evicted"]
    await world.publish("u")
    world.clock.advance(300)
    (reply,) = world.subscribe(before, "u", world.cursor(1))
    world.settle()
    assert (story(before), reply["recovered"]) == (["welcome", "gap u evicted", "reply"], False)


async def test_a_plain_connection_is_told_of_a_gap_for_each_cursor_that_it_gave() -> None:
    world = World(per_channel=1)
    await world.publish("a", "b", "c", count=2)
    connection = connect(world.hub, "ada", ("a",), cursor=world.cursor(0), control=False)
    world.subscribe(connection, "b", world.cursor(0))
    world.subscribe(connection, "c", OLD_EPOCH)
    world.settle()
    gaps = [word for word in story(connection) if word.startswith("gap")]
    assert gaps == ["gap a evicted", "gap b evicted", "gap None epoch"]


async def test_a_plain_connection_that_resumes_is_told_of_each_cursors_gap_too() -> None:
    world = World(per_channel=30)
    await world.publish("a", "b", "c", count=31)
    await world.publish("user:ada", count=30, pad=4000)
    connection = connect(world.hub, "ada", ("a",), cursor=world.cursor(0), control=False, room=10_000)
    assert not connection.live
    world.subscribe(connection, "b", world.cursor(0))
    world.subscribe(connection, "c", OLD_EPOCH)
    world.settle(connection)
    gaps = [word for word in story(connection) if word.startswith("gap")]
    assert gaps == ["gap a evicted", "gap b evicted", "gap None epoch"]


async def test_a_gap_of_a_topic_is_told_once_also_to_who_resumes() -> None:
    world = World(per_channel=50)
    await world.publish("user:ada", count=40, pad=4000)
    await world.publish("t", count=60)
    connection = connect(world.hub, "ada", cursor=world.cursor(0), room=1000)
    replies = world.subscribe(connection, "t", world.cursor(0))
    world.settle(connection)
    got = story(connection)
    assert got.count("gap t evicted") == 1
    assert replies[0]["recovered"] is False
    assert got[-50:] == ids(51, 100)


async def test_what_was_evicted_is_a_gap_of_its_channel_told_before_what_survives() -> None:
    world = World(per_channel=2)
    await world.publish("a", count=3)
    await world.publish("b", count=3)
    connection = connect(world.hub, "ada", ("a", "b"), cursor=world.cursor(0))
    assert story(connection) == ["welcome", "gap a evicted", "gap b evicted", "n2", "n3", "n5", "n6"]
    assert connection.frames[0]["recovered"] is False
    plain = connect(world.hub, "ada", ("a", "b"), cursor=world.cursor(0), control=False)
    assert story(plain) == ["gap None evicted", "n2", "n3", "n5", "n6"]
    exact = connect(world.hub, "ada", ("a", "b"), cursor=world.cursor(4))
    assert story(exact) == ["welcome", "n5", "n6"]
    assert exact.frames[0]["recovered"] is True


async def test_what_was_live_only_retracted_or_expired_is_no_gap() -> None:
    world = World()
    await world.publish("t", persistence="ephemeral")
    await world.publish("t", ttl=0)
    await world.publish("t", ttl=5)
    await world.publish("t")
    await world.publish("t")
    world.clock.advance(5)
    retracted = world.hub.rings.find("n4", world.hub.clock.monotonic())
    assert retracted is not None
    world.hub.retract(retracted)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(0))
    assert story(connection) == ["welcome", "n5"]
    assert connection.frames[0]["recovered"] is True


async def test_a_long_replay_is_read_as_the_transport_takes_it_and_never_cut() -> None:
    world = World(per_channel=1000, queue_bytes=100_000)
    await world.publish("t", count=500, pad=1000)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(0), room=1)
    assert not connection.live
    held = 0
    while not connection.live:
        await world.publish("t", pad=1000)
        held = max(held, sum(map(len, connection.outbox)) + connection.unsent())
        connection.drain()
        world.soon.settle()
    assert not connection.aborted
    assert held < 100_000
    assert world.sent > 510, "it took a while"
    await world.publish("t")
    world.settle(connection)
    assert story(connection) == ["welcome", *ids(1, world.sent)]


@pytest.mark.parametrize("queue_bytes", [4096, 20_000, 65_536])
async def test_a_replay_fills_no_queue_however_small(queue_bytes: int) -> None:
    world = World(queue_bytes=queue_bytes)
    await world.publish("t", count=100, pad=500)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(0), room=1)
    world.settle(connection)
    assert not connection.aborted
    assert story(connection) == ["welcome", *ids(1, 100)]


async def test_nothing_live_is_queued_for_who_reads_a_replay() -> None:
    world = World()
    await world.publish("t", count=50, pad=4000)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(0), room=1)
    waiting = list(connection.outbox)
    await world.publish("t", count=5)
    await world.publish("t", persistence="ephemeral")
    assert connection.outbox == waiting
    await world.publish("user:ada")
    world.settle(connection)
    assert story(connection) == ["welcome", *ids(1, 55), "n57"], "what is live only passed by"
    assert connection.live


async def test_what_is_evicted_during_a_replay_is_told() -> None:
    world = World(per_channel=40)
    await world.publish("t", count=40, pad=4000)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(0), room=1000)
    read = connection.replays[0].position
    assert 1 < read < 40
    await world.publish("t", count=read + 5)
    world.settle(connection)
    assert story(connection) == ["welcome", *ids(1, read), "gap t evicted", *ids(read + 6, world.sent)]


async def test_the_cursor_of_a_resuming_connection_is_where_it_has_read_to() -> None:
    world = World()
    await world.publish("t", count=50, pad=4000)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(0), room=1000)
    got_or_waiting = [*connection.notifications(), *map(orjson.loads, connection.outbox)]
    assert world.attendance.cursor_of(connection) == got_or_waiting[-1]["cursor"] != world.cursor()
    world.settle(connection)
    assert world.attendance.cursor_of(connection) == world.cursor(50)
    await world.publish("other")
    assert world.attendance.cursor_of(connection) == world.cursor(51)


async def test_a_topic_joined_during_a_replay_begins_there() -> None:
    world = World()
    await world.publish("t", "u", count=2)
    await world.publish("u", count=2)
    await world.publish("t", count=40, pad=4000)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(2), room=1)
    world.subscribe(connection, "u")
    await world.publish("u")
    world.settle(connection)
    assert [word for word in story(connection) if word.startswith("n")] == [*ids(5, 44), "n45"]


# --- Subscribing


async def test_a_topic_brings_what_comes_from_now_on() -> None:
    world = World()
    await world.publish("t")
    connection = connect(world.hub, "ada")
    (reply,) = world.subscribe(connection, "t")
    assert reply == {"topics": ["t"], "replayed": 0, "cursor": world.cursor(1)}
    await world.publish("t")
    world.settle()
    assert story(connection) == ["welcome", "reply", "n2"]


async def test_a_cursor_brings_what_was_missed_then_the_reply_then_what_is_new() -> None:
    world = World()
    await world.publish("t", count=3)
    await world.publish("other")
    connection = connect(world.hub, "ada")
    (reply,) = world.subscribe(connection, ["t"], world.cursor(1))
    assert reply == {"topics": ["t"], "recovered": True, "replayed": 2, "cursor": world.cursor(4)}
    assert connection.live, "in the same step"
    await world.publish("t")
    world.settle()
    assert story(connection) == ["welcome", "n2", "n3", "reply", "n5"]
    assert connection.live and not connection.replays


async def test_several_topics_come_in_one_sequence() -> None:
    world = World()
    for name in ("a", "b", "c", "b", "a"):
        await world.publish(name)
    connection = connect(world.hub, "ada", ("c",))
    (reply,) = world.subscribe(connection, ["b", "c", "a"], world.cursor(0))
    world.settle()
    assert story(connection) == ["welcome", "n1", "n2", "n4", "n5", "reply"]
    assert reply == {"topics": ["b", "c", "a"], "recovered": True, "replayed": 4, "cursor": world.cursor(5)}


async def test_for_what_one_has_already_a_cursor_is_ignored() -> None:
    world = World()
    await world.publish("t", "user:ada", count=3)
    connection = connect(world.hub, "ada", ("t",))
    for topics in ("t", "user:ada", "notifications", ["t", "user:ada:notifications"]):
        for cursor in (world.cursor(0), OLD_EPOCH, "nonsense"):
            (reply,) = world.subscribe(connection, topics, cursor)
            assert (reply["recovered"], reply["replayed"], reply["cursor"]) == (True, 0, world.cursor(3))
    world.settle()
    assert set(story(connection)) == {"welcome", "reply"}
    assert list(connection.topics) == ["t"]


async def test_a_subscription_to_ones_own_channel_or_the_broadcast_changes_nothing() -> None:
    world = World()
    connection = connect(world.hub, "ada")
    (reply,) = world.subscribe(connection, ["user:ada", "notifications"])
    assert reply["topics"] == ["user:ada:notifications", "notifications"]
    assert connection.topics == {}
    await world.publish("user:ada")
    await world.publish("notifications")
    world.settle()
    assert story(connection) == ["welcome", "reply", "n1", "n2"]


@pytest.mark.parametrize(
    ("cursor", "gap"), [(OLD_EPOCH, "gap None epoch"), ("?", "gap None bad_cursor"), ("evicted", "gap t evicted")]
)
async def test_a_gap_is_told_before_what_survives(cursor: str, gap: str) -> None:
    world = World(per_channel=2)
    await world.publish("t", count=4)
    connection = connect(world.hub, "ada")
    (reply,) = world.subscribe(connection, "t", world.cursor(1) if cursor == "evicted" else cursor)
    world.settle()
    assert story(connection) == ["welcome", gap, "n3", "n4", "reply"]
    assert (reply["recovered"], reply["replayed"], reply["cursor"]) == (False, 2, world.cursor(4))


async def test_a_cursor_from_before_an_emptied_ring_is_a_gap() -> None:
    world = World()
    await world.publish("t", count=2)
    world.clock.advance(300)
    connection = connect(world.hub, "ada")
    (reply,) = world.subscribe(connection, "t", world.cursor(1))
    world.settle()
    assert (story(connection), reply["recovered"]) == (["welcome", "gap t evicted", "reply"], False)
    (reply,) = world.subscribe(connect(world.hub, "bob"), "t", world.cursor(2))
    assert reply["recovered"] is True


async def test_a_long_replay_of_a_topic_holds_back_the_rest_and_loses_nothing() -> None:
    world = World()
    await world.publish("t", count=50, pad=4000)
    connection = connect(world.hub, "ada", ("live",), room=1)
    replies = world.subscribe(connection, "t", world.cursor(0))
    world.soon.settle()
    assert replies == [] and not connection.live
    await world.publish("live")
    await world.publish("t")
    await world.publish("live", persistence="ephemeral")
    world.settle(connection)
    assert story(connection) == ["welcome", *ids(1, 50), "reply", "n51", "n52"]
    (reply,) = replies
    assert (reply["replayed"], reply["cursor"]) == (50, world.cursor(50)), "it covers what went before, and no more"
    assert connection.live


async def test_two_topics_at_once_while_the_connection_resumes() -> None:
    world = World()
    await world.publish("a", "b")
    await world.publish("a")
    await world.publish("b")
    await world.publish("b", "user:ada")
    await world.publish("user:ada", count=40, pad=4000)
    connection = connect(world.hub, "ada", cursor=world.cursor(3), room=1)
    first = world.subscribe(connection, "a", world.cursor(0))
    second = world.subscribe(connection, "b", world.cursor(0))
    await world.publish("b", "a")
    world.settle(connection)
    got = [word for word in story(connection) if word.startswith("n")]
    assert sorted(got) == sorted(ids(1, 45)), "each once"
    assert got[-1] == "n45"
    assert (first[0]["replayed"], second[0]["replayed"]) == (2, 1)
    assert connection.live


async def test_a_topic_that_is_left_before_its_replay_is_through() -> None:
    world = World()
    await world.publish("t", count=50, pad=4000)
    connection = connect(world.hub, "ada", room=1)
    replies = world.subscribe(connection, "t", world.cursor(0))
    world.soon.settle()
    waiting = len(connection.notifications()) + len(connection.outbox)
    world.attendance.leave(connection, "t")
    again = world.subscribe(connection, "t")
    await world.publish("t")
    world.settle(connection)
    got = connection.notifications()
    assert [frame["id"] for frame in got] == [*ids(1, waiting), "n51"], "what was read already, and what is new"
    assert len(replies) == len(again) == 1
    assert connection.live


async def test_what_one_channel_had_lost_already_comes_by_the_other() -> None:
    world = World(per_channel=1)
    await world.publish("a", "b")
    await world.publish("a")
    connection = connect(world.hub, "ada", ("a",), cursor=world.cursor(0))
    assert story(connection) == ["welcome", "gap a evicted", "n2"]
    (reply,) = world.subscribe(connection, "b", world.cursor(0))
    world.settle()
    assert story(connection)[3:] == ["n1", "reply"]
    assert (reply["recovered"], reply["replayed"]) == (True, 1)


async def test_what_went_to_oneself_too_before_one_was_here_comes_by_the_topic() -> None:
    world = World()
    await world.publish("t", "user:ada", "notifications")
    connection = connect(world.hub, "ada")
    await world.publish("t", "user:ada")
    (reply,) = world.subscribe(connection, "t", world.cursor(0))
    world.settle()
    assert story(connection) == ["welcome", "n2", "n1", "reply"]
    assert reply["replayed"] == 1


async def test_who_comes_late_to_a_publication_to_several_topics_gets_it_once() -> None:
    world = World()
    connection = connect(world.hub, "ada", ("a",))
    await world.publish("b", "a")
    world.subscribe(connection, "b", world.cursor(0))
    world.settle()
    assert story(connection) == ["welcome", "n1", "reply"]
