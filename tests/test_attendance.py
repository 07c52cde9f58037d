"""Attendance: who is here, what each connection gets, and from where in the sequence."""

from typing import Any

import orjson
import pytest

from hubd.config import Config
from hubd.config_options import Auth, Delivery, Limits
from hubd.config_options import Replay as ReplayOptions
from hubd.core.connection import Visibility
from hubd.core.errors import Problem
from hubd.core.presence import State
from hubd.core.subscriptions import Grant
from hubd.testing import RecordingConnection, connect, identity, make_hub

OLD_EPOCH = "oldepoch00-5"


class World:
    """A hub without sockets, with few words to make things happen in it."""

    def __init__(self, *, per_channel: int = 100, subscriptions: int = 100, grace_s: float = 5, **limits: Any) -> None:
        self.config = Config(
            limits=Limits(subscriptions=subscriptions, **limits),
            replay=ReplayOptions(per_channel=per_channel, ttl_s=300),
            delivery=Delivery(grace_s=grace_s),
            auth=Auth(durable_grant_s=1000),
        )
        self.hub, self.clock, self.soon = make_hub(self.config)
        self.attendance = self.hub.attendance
        self.sent = 0

    async def publish(self, *to: str, count: int = 1, pad: int = 0, **more: Any) -> None:
        """Publish so many, with the ids n1, n2, ... by their place in the sequence."""
        for _ in range(count):
            self.sent += 1
            body = {"to": list(to), "notification": {"type": "t", "text": "x" * pad}, "id": f"n{self.sent}", **more}
            await self.hub.publish(self.hub.prepare(body), "backend")
            assert self.attendance.sequence == self.sent

    def cursor(self, sequence: int | None = None) -> str:
        return self.attendance.cursor(sequence)

    def subscribe(
        self, connection: RecordingConnection, topics: str | list[str], cursor: str | None = None
    ) -> list[dict[str, Any]]:
        """Subscribe as the action does; the reply's fields are put into the list that is given back, and sent."""
        replies: list[dict[str, Any]] = []

        def done(fields: dict[str, Any]) -> None:
            replies.append(fields)
            connection.put_control({"hub": "reply", **fields})
            self.hub.pump.schedule(connection)

        channels = self.attendance.channels(connection, topics)
        self.attendance.check_room(connection, channels)
        self.attendance.subscribe(connection, channels, cursor, done)
        self.hub.pump.schedule(connection)
        return replies

    def settle(self, *connections: RecordingConnection) -> None:
        """Let everything be written and read, in as many turns as it takes."""
        self.soon.settle()
        for connection in connections:
            while connection.paused:
                connection.drain()
                self.soon.settle()


def story(connection: RecordingConnection) -> list[str]:
    """What it got, in order, in short."""
    words = []
    for frame in connection.frames:
        match frame.get("hub"):
            case None:
                words.append(frame["id"])
            case "gap":
                words.append(f"gap {frame['channel']} {frame['reason']}")
            case other:
                words.append(other)
    return words


def ids(first: int, last: int) -> list[str]:
    return [f"n{number}" for number in range(first, last + 1)]


# --- Coming


async def test_the_welcome_says_who_one_is_and_where_one_stands() -> None:
    world = World(ping_s=20)
    await world.publish("t", count=3)
    connection = connect(world.hub, "ada", ("b", "a"))
    assert connection.frames == [
        {
            "hub": "welcome",
            "user": "ada",
            "connection": connection.id,
            "cursor": world.cursor(3),
            "topics": ["b", "a"],
            "ping_s": 20,
        }
    ]
    assert connection.live


async def test_a_plain_connection_is_told_nothing() -> None:
    world = World()
    connection = connect(world.hub, "ada", ("a",), control=False)
    await world.publish("a")
    assert story(connection) == ["n1"]


async def test_who_is_attached_misses_nothing_after() -> None:
    world = World()
    await world.publish("notifications")
    connection = connect(world.hub, "ada", ("t",))
    await world.publish("notifications")
    await world.publish("user:ada")
    await world.publish("t")
    await world.publish("user:bob")
    await world.publish("u")
    assert story(connection) == ["welcome", "n2", "n3", "n4"]


def test_of_the_topics_in_the_address_those_are_left_out_that_one_may_not_have() -> None:
    world = World()
    who = identity("ada", topics=("team:*", "news"))
    asked = ("news", "team:a", "secret", "user:bob", "user:ada", "notifications", "hub:x", "no name", "", "news")
    assert list(connect(world.hub, who, asked).topics) == ["news", "team:a"]


def test_more_topics_than_the_limit_are_left_out() -> None:
    world = World(subscriptions=2)
    assert list(connect(world.hub, "ada", ("a", "b", "c")).topics) == ["a", "b"]
    unlimited = World(subscriptions=0)
    assert len(connect(unlimited.hub, "ada", tuple(f"t{place}" for place in range(500))).topics) == 500


async def test_durable_topics_are_joined_first_and_count() -> None:
    world = World(subscriptions=2)
    await world.hub.make_durable("ada", ["d"], None)
    connection = connect(world.hub, "ada", ("a", "b", "c"))
    assert list(connection.topics) == ["d", "a"]


async def test_a_durable_topic_is_joined_only_while_it_is_allowed() -> None:
    world = World()
    await world.hub.durables.put("ada", "team:a", Grant(False, ("**",), world.clock.now()))
    await world.hub.durables.put("ada", "news", Grant(True))
    assert list(connect(world.hub, identity("ada", topics=())).topics) == ["news"]
    assert list(connect(world.hub, identity("ada", topics=("team:*",))).topics) == ["team:a", "news"]
    world.clock.advance(1000)
    assert list(connect(world.hub, identity("ada", topics=("team:*",))).topics) == ["news"]


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


# --- Going


async def test_who_is_gone_gets_nothing_more_and_leaves_nothing() -> None:
    world = World()
    connection = connect(world.hub, "ada", ("t",))
    assert world.attendance.detach(connection) is True
    assert world.attendance.detach(connection) is False
    await world.publish("t", "notifications", "user:ada")
    assert story(connection) == ["welcome"]
    assert not connection.live
    assert world.hub.registry.topics == world.hub.registry.connections == {}


async def test_a_replay_ends_with_its_connection() -> None:
    world = World()
    await world.publish("t", count=50, pad=4000)
    connection = connect(world.hub, "ada", ("t",), cursor=world.cursor(0), room=1000)
    read = len(connection.notifications()) + len(connection.outbox)
    assert 1 < read < 50
    world.attendance.detach(connection)
    connection.drain()
    world.settle(connection)
    assert len(connection.notifications()) == read, "what it had read already, and no more"
    assert not connection.live


def test_one_that_was_never_here_cant_go() -> None:
    world = World()
    assert world.attendance.detach(RecordingConnection(world.hub, identity("ada"))) is False


def test_coming_and_going_is_told_to_those_who_watch() -> None:
    world = World()
    watcher = connect(world.hub, "watcher")
    world.hub.watch(watcher, "t")
    first, second = connect(world.hub, "ada", ("t",)), connect(world.hub, "ada", ("t",))
    world.hub.maintain()
    world.attendance.detach(first)
    world.hub.maintain()
    world.attendance.leave(second, "t")
    world.hub.maintain()
    world.settle()
    told = [(frame["joined"], frame["left"]) for frame in watcher.frames if frame["hub"] == "presence"]
    assert told == [(["ada"], []), ([], ["ada"])], "with the first of his connections, and with the last"


def test_who_watched_and_is_gone_is_told_nothing() -> None:
    world = World()
    watcher = connect(world.hub, "watcher")
    world.hub.watch(watcher, "t")
    world.attendance.detach(watcher)
    connect(world.hub, "ada", ("t",))
    world.hub.maintain()
    world.settle()
    assert story(watcher) == ["welcome"]


def test_a_user_is_forgotten_when_his_grace_is_over_also_without_one() -> None:
    for grace_s in (5, 0):
        world = World(grace_s=grace_s)
        world.attendance.detach(connect(world.hub, "ada"))
        assert ("ada" in world.hub.registry.users) is bool(grace_s)
        world.clock.advance(grace_s)
        world.hub.maintain()
        assert world.hub.registry.users == {}


# --- Subscribing


async def test_a_topic_brings_what_comes_from_now_on() -> None:
    world = World()
    await world.publish("t")
    connection = connect(world.hub, "ada")
    (reply,) = world.subscribe(connection, "t")
    assert reply == {"topics": ["t"], "cursor": world.cursor(1)}
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


async def test_who_comes_late_to_a_publication_to_several_topics_gets_it_once() -> None:
    world = World()
    connection = connect(world.hub, "ada", ("a",))
    await world.publish("b", "a")
    world.subscribe(connection, "b", world.cursor(0))
    world.settle()
    assert story(connection) == ["welcome", "n1", "reply"]


# --- What may be subscribed to


def test_all_names_that_are_no_channels_are_named() -> None:
    world = World()
    connection = connect(world.hub, "ada")
    with pytest.raises(Problem) as caught:
        world.attendance.channels(connection, ["ok", "not ok", "hub:x"])
    assert [error.path for error in caught.value.errors] == ["topics.1", "topics.2"]
    for topics, path in (("not ok", "topic"), (["not ok"], "topics.0")):
        with pytest.raises(Problem) as caught:
            world.attendance.channels(connection, topics)
        assert [error.path for error in caught.value.errors] == [path]


@pytest.mark.parametrize("topic", ["secret", "user:bob", "user:bob:notifications"])
def test_what_one_may_not_have_is_forbidden_all_or_nothing(topic: str) -> None:
    world = World()
    connection = connect(world.hub, identity("ada", topics=("news",)))
    with pytest.raises(Problem) as caught:
        world.attendance.channels(connection, ["news", topic])
    assert caught.value.code == "forbidden"
    assert connection.topics == {}
    found = world.attendance.channels(connection, ["news", topic], leaving=True)
    assert found[0].name == "news", "whoever leaves needs no permission"


def test_each_channel_is_named_once_in_its_canonical_form() -> None:
    world = World()
    connection = connect(world.hub, "ada")
    found = world.attendance.channels(connection, ["t", "user:ada", "t", "user:ada:notifications"])
    assert [channel.name for channel in found] == ["t", "user:ada:notifications"]


def test_there_is_room_up_to_the_limit_exactly() -> None:
    world = World(subscriptions=3)
    connection = connect(world.hub, "ada", ("a",))
    world.subscribe(connection, ["a", "b", "c", "notifications", "user:ada"])
    with pytest.raises(Problem) as caught:
        world.subscribe(connection, "d")
    assert caught.value.code == "subscription_limit"
    world.attendance.leave(connection, "b")
    world.subscribe(connection, "d")
    assert list(connection.topics) == ["a", "c", "d"]


def test_leaving_where_one_isnt_is_nothing() -> None:
    world = World()
    connection = connect(world.hub, "ada")
    world.attendance.leave(connection, "t")
    assert story(connection) == ["welcome"]


# --- Durable subscriptions of those who are here


async def test_a_durable_subscription_of_the_servers_joins_all_connections() -> None:
    world = World()
    plain, control = connect(world.hub, identity("ada", topics=()), control=False), connect(world.hub, "ada")
    other = connect(world.hub, "bob")
    await world.publish("t")
    await world.hub.make_durable("ada", ["t"], None)
    world.attendance.join_durables("ada", ["t"])
    await world.publish("t")
    assert story(plain) == ["n2"]
    assert story(control) == ["welcome", "n2"]
    assert story(other) == ["welcome"]


async def test_ones_own_joins_those_connections_whose_tokens_allow_it() -> None:
    world = World()
    allowed, denied = connect(world.hub, "ada"), connect(world.hub, identity("ada", topics=()))
    await world.hub.make_durable("ada", ["t"], allowed.identity)
    world.attendance.join_durables("ada", ["t"])
    assert (list(allowed.topics), list(denied.topics)) == (["t"], [])


async def test_only_what_was_made_just_now_is_joined() -> None:
    world = World()
    await world.hub.make_durable("ada", ["old", "new"], None)
    connection = connect(world.hub, "ada")
    world.attendance.leave(connection, "old")
    world.attendance.leave(connection, "new")
    world.attendance.join_durables("ada", ["new"])
    assert list(connection.topics) == ["new"]


async def test_joining_stops_at_the_limit() -> None:
    world = World(subscriptions=2)
    connection = connect(world.hub, "ada", ("a", "b"))
    await world.hub.make_durable("ada", ["c"], None)
    world.attendance.join_durables("ada", ["c"])
    assert list(connection.topics) == ["a", "b"]


# --- A fresh token


async def test_a_narrower_token_takes_topics_and_watches_away() -> None:
    world = World()
    connection = connect(world.hub, "ada", ("team:a", "news"))
    world.hub.watch(connection, "team:a")
    world.hub.watch(connection, "news")
    world.hub.renew(connection, identity("ada", topics=("news",)))
    assert list(connection.topics) == ["news"]
    assert list(connection.watching or ()) == ["news"]
    await world.publish("team:a")
    await world.publish("news")
    assert story(connection) == ["welcome", "n2"]


async def test_what_the_server_made_durable_stays_whatever_the_token_says() -> None:
    world = World()
    await world.hub.make_durable("ada", ["t"], None)
    connection = connect(world.hub, "ada")
    world.hub.renew(connection, identity("ada", topics=()))
    assert list(connection.topics) == ["t"]


async def test_ones_own_durable_is_suspended_by_a_narrower_token() -> None:
    world = World()
    connection = connect(world.hub, "ada")
    await world.hub.make_durable("ada", ["t"], connection.identity)
    world.attendance.join_durables("ada", ["t"])
    world.hub.renew(connection, identity("ada", topics=()))
    assert list(connection.topics) == []
    assert not world.hub.durables.subscribers("t")
    assert list(connect(world.hub, "ada").topics) == ["t"], "and revives under a wider one"


# --- Visibility


def test_what_a_connection_says_of_its_tab() -> None:
    world = World()
    edges: list[tuple[State, State]] = []
    world.hub.on_presence.append(lambda user, before, after: edges.append((before, after)))
    connection = connect(world.hub, "ada")
    world.attendance.set_visibility(connection, Visibility.HIDDEN)
    world.clock.advance(100)
    world.attendance.set_visibility(connection, Visibility.VISIBLE)
    assert connection.input_at == world.clock.monotonic()
    world.clock.advance(1800)
    assert edges[-1] == (State.CONNECTED, State.ATTENTIVE)
    world.attendance.attention_ended(connection)
    world.attendance.attention_ended(connection)
    assert edges == [
        (State.AWAY, State.ATTENTIVE),
        (State.ATTENTIVE, State.CONNECTED),
        (State.CONNECTED, State.ATTENTIVE),
        (State.ATTENTIVE, State.CONNECTED),
    ]


def test_hiding_is_no_input() -> None:
    world = World()
    connection = connect(world.hub, "ada")
    before = connection.input_at
    world.clock.advance(100)
    world.attendance.set_visibility(connection, Visibility.HIDDEN)
    assert connection.input_at == before
