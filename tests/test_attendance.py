"""Attendance: who is here, and what each connection may have."""

from typing import Any

import pytest

from hubd.core.channel import parse_channel
from hubd.core.connection import Visibility
from hubd.core.errors import Problem
from hubd.core.presence import State
from hubd.core.subscriptions import Grant
from hubd.testing import RecordingConnection, connect, identity
from tests.hub_world import World, story

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
            "attention_s": 1800,
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
    asked = ("no name", "news", "", "team:a", "secret", "user:bob", "user:ada", "notifications", "hub:x", "news")
    assert list(connect(world.hub, who, asked).topics) == ["news", "team:a"]


def test_more_topics_than_the_limit_are_left_out() -> None:
    world = World(subscriptions=2)
    assert list(connect(world.hub, "ada", ("a", "a", "b", "c")).topics) == ["a", "b"]
    unlimited = World(subscriptions=0)
    assert len(connect(unlimited.hub, "ada", tuple(f"t{place}" for place in range(500))).topics) == 500


async def test_what_the_user_made_durable_counts_and_what_the_server_gave_him_does_not() -> None:
    world = World(subscriptions=2)
    await world.hub.make_durable("ada", ["d"], identity("ada"))
    await world.hub.make_durable("ada", ["x", "y", "z"], None)
    connection = connect(world.hub, "ada", ("a", "d", "b", "c"))
    assert list(connection.topics) == ["d", "x", "y", "z", "a"]


async def test_a_durable_topic_is_joined_only_while_it_is_allowed() -> None:
    world = World()
    await world.hub.durables.put("ada", "team:a", Grant(False, ("**",), world.clock.now()))
    await world.hub.durables.put("ada", "news", Grant(True))
    assert list(connect(world.hub, identity("ada", topics=())).topics) == ["news"]
    assert list(connect(world.hub, identity("ada", topics=("team:*",))).topics) == ["team:a", "news"]
    world.clock.advance(1000)
    assert list(connect(world.hub, identity("ada", topics=("team:*",))).topics) == ["news"]


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

    def told() -> list[tuple[list[str], list[str]]]:
        world.hub.maintain()
        world.settle()
        return [(frame["joined"], frame["left"]) for frame in watcher.frames if frame["hub"] == "presence"]

    first = connect(world.hub, "ada", ("t",))
    assert told() == [(["ada"], [])], "with the first of his connections"
    second = connect(world.hub, "ada", ("t",))
    world.attendance.detach(first)
    assert len(told()) == 1
    world.attendance.leave(second, "t")
    assert told()[1:] == [([], ["ada"])], "and with the last"
    world.subscribe(second, "t")
    assert told()[2:] == [(["ada"], [])]
    world.attendance.detach(second)
    assert told()[3:] == [([], ["ada"])]


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


async def test_what_the_server_gives_is_joined_beyond_the_limit() -> None:
    world = World(subscriptions=2)
    connection = connect(world.hub, "ada", ("a", "b"))
    await world.hub.make_durable("ada", ["c"], None)
    world.attendance.join_durables("ada", ["c"])
    assert list(connection.topics) == ["a", "b", "c"]
    with pytest.raises(Problem, match="2 subscriptions"):
        world.attendance.check_room(connection, [parse_channel("d")])


async def test_leaving_a_topic_takes_its_pending_replay_along() -> None:
    world = World()
    await world.publish("t", count=50)
    connection = connect(world.hub, "ada", cursor=world.cursor(0), room=0)
    replies: list[dict[str, Any]] = []
    for _ in range(20):
        channels = [parse_channel("t")]
        world.attendance.subscribe(connection, channels, world.cursor(0), replies.append)
        world.attendance.leave(connection, "t")
    assert len(connection.replays) <= 1
    assert len(replies) == 20


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
