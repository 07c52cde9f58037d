"""The hub: what users do, and what is done to them: acks, retractions, ends, presence, durable subscriptions."""

import logging
from collections.abc import Callable

import pytest

from hubd.config import Config
from hubd.config_options import Auth, Limits
from hubd.core.connection import Connection
from hubd.core.errors import REVOKED, SHUTDOWN, TOO_MANY, Problem
from hubd.core.presence import State
from hubd.log_events import Line
from hubd.testing import RecordingConnection, connect, identity, make_hub
from tests.hub_calls import body, got, problem, publish, told

# --- Retracting


async def test_what_is_retracted_is_told_to_those_who_have_it_and_replayed_to_nobody() -> None:
    hub, clock, soon = make_hub()
    ada, plain = connect(hub, "ada", ("t", "u")), connect(hub, "ada", ("t",), control=False)
    other = connect(hub, "bob")
    await publish(hub, ["t", "u"], id="x")
    soon.settle()
    kept = hub.rings.find("x", clock.monotonic())
    assert kept is not None
    hub.retract(kept)
    soon.settle()
    assert told(ada, "retract") == [{"hub": "retract", "ids": ["x"]}]
    assert told(other, "retract") == [] and len(plain.frames) == 1
    assert hub.sent_to("x", "ada") is None
    late = connect(hub, "late", ("t", "u"), cursor=hub.attendance.cursor(0))
    assert got(late) == [] and late.frames[0]["recovered"] is True


async def test_who_got_it_by_several_channels_is_told_of_its_end_once() -> None:
    hub, clock, soon = make_hub()
    connection = connect(hub, "ada", ("t", "u"))
    await publish(hub, ["t", "u", "user:ada", "notifications"], id="x")
    kept = hub.rings.find("x", clock.monotonic())
    assert kept is not None
    hub.retract(kept)
    soon.settle()
    assert [frame.get("hub") for frame in connection.frames] == ["welcome", None, "retract"]


async def test_of_two_with_the_same_id_each_user_has_his_own() -> None:
    hub, _, soon = make_hub()
    ada, bob = connect(hub, "ada"), connect(hub, "bob")
    second = connect(hub, "ada")
    await publish(hub, "user:ada", id="x")
    await hub.publish(hub.prepare(body("user:bob", id="x")), "another backend")
    for user in ("ada", "bob"):
        found = hub.sent_to("x", user)
        assert found is not None and found[1] == f"user:{user}:notifications"
    hub.ack(ada.identity.user, ["x"], [ada])
    soon.settle()
    assert told(second, "read") == [{"hub": "read", "ids": ["x"]}]
    assert told(bob, "read") == []


# --- Acks


async def test_an_ack_is_recorded_and_told_to_the_users_other_connections() -> None:
    hub, _, soon = make_hub()
    phone, laptop, bob = connect(hub, "ada", ("t",)), connect(hub, "ada"), connect(hub, "bob", ("t",))
    plain = connect(hub, "ada", control=False)
    await publish(hub, "t", id="x")
    await publish(hub, "user:ada", id="y")
    hub.ack(phone.identity.user, ["x", "y", "x"], [phone])
    soon.settle()
    assert list(phone.acked or ()) == ["x", "y"]
    assert told(laptop, "read") == [{"hub": "read", "ids": ["x", "y"]}]
    assert told(phone, "read") == told(bob, "read") == []
    assert plain.frames == plain.notifications()
    found = hub.sent_to("x", "ada")
    assert found is not None and laptop.user is not None
    assert list(found[0].acked or ()) == [laptop.user.number]


async def test_an_ack_is_news_once() -> None:
    hub, _, soon = make_hub()
    phone, laptop = connect(hub, "ada"), connect(hub, "ada")
    await publish(hub, "user:ada", id="x")
    await publish(hub, "user:ada", id="y")
    hub.ack(phone.identity.user, ["x"], [phone])
    hub.ack(laptop.identity.user, ["x"], [laptop])
    hub.ack(phone.identity.user, ["y", "x"], [phone])
    soon.settle()
    assert [frame["ids"] for frame in told(laptop, "read")] == [["x"], ["y"]]
    assert told(phone, "read") == []
    assert list(laptop.acked or ()) == ["x"]


async def test_what_nobody_sent_him_is_passed_over() -> None:
    hub, _, soon = make_hub()
    ada, second = connect(hub, "ada"), connect(hub, "ada")
    await publish(hub, "user:bob", id="bobs")
    await publish(hub, "t", id="topic")
    hub.ack(ada.identity.user, ["bobs", "topic", "unknown", ""], [ada])
    soon.settle()
    assert not ada.acked
    assert told(second, "read") == []
    found = hub.sent_to("bobs", "bob")
    assert found is not None and found[0].acked is None


async def test_an_ack_of_what_came_by_a_replay_counts() -> None:
    hub, _, soon = make_hub()
    await publish(hub, "t", id="x")
    ada, second = connect(hub, "ada", ("t",), cursor=hub.attendance.cursor(0)), connect(hub, "ada")
    hub.ack(ada.identity.user, ["x"], [ada])
    soon.settle()
    assert list(ada.acked or ()) == ["x"]
    assert told(second, "read") == [{"hub": "read", "ids": ["x"]}]


# --- Room, and ends


def test_a_user_has_so_many_connections() -> None:
    hub, _, _ = make_hub(Config(limits=Limits(per_user=2)))
    connect(hub, "ada")
    assert hub.refusal(identity("ada")) is None
    gone = connect(hub, "ada")
    assert hub.refusal(identity("ada")) is TOO_MANY
    assert hub.refusal(identity("bob")) is None
    hub.lost(gone)
    assert hub.refusal(identity("ada")) is None
    unlimited, _, _ = make_hub(Config(limits=Limits(per_user=0)))
    for _ in range(100):
        connect(unlimited, "ada")
    assert unlimited.refusal(identity("ada")) is None


def test_the_hub_has_so_many_connections() -> None:
    hub, _, _ = make_hub(Config(limits=Limits(connections=2)))
    connect(hub, "ada")
    assert not hub.is_full()
    connect(hub, "bob")
    assert hub.is_full()


def test_without_a_limit_the_open_files_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, _, _ = make_hub()
    connect(hub, "ada")
    connect(hub, "bob")
    assert not hub.is_full()
    monkeypatch.setattr("resource.getrlimit", lambda which: (202, 4096))
    assert hub.is_full()
    monkeypatch.setattr("resource.getrlimit", lambda which: (203, 4096))
    assert not hub.is_full()


async def test_who_is_ended_is_told_why_and_off_everything() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    hub.end(connection, SHUTDOWN, 2.5)
    assert connection.ended is SHUTDOWN
    assert (await publish(hub, "t")).live == 0
    connection.ended = None
    hub.end(connection, REVOKED)
    assert connection.ended is None, "once"


async def test_a_revocation_ends_all_connections_of_a_user() -> None:
    hub, _, _ = make_hub()
    mine, others = [connect(hub, "ada", ("t",)) for _ in range(3)], connect(hub, "bob", ("t",))
    assert hub.revoke("ada") == 3
    assert [connection.ended for connection in mine] == [REVOKED] * 3
    assert others.ended is None
    assert (await publish(hub, "t")).live == 1
    assert hub.revoke("ada") == hub.revoke("nobody") == 0


async def test_a_slow_consumer_is_cut_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    hub, _, soon = make_hub(Config(limits=Limits(queue_bytes=2000)))
    slow, quick = connect(hub, "ada", ("t",), room=300), connect(hub, "bob", ("t",))
    for number in range(50):
        await publish(hub, "t", id=f"n{number}")
    soon.settle()
    assert slow.aborted and slow.ended is None
    assert slow not in hub.registry.connections
    assert len(got(quick)) == 50
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        str(Line("slow_consumer", {"connection": slow.id, "user": "ada"}))
    ]


async def test_a_connection_whose_write_fails_is_cut_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(RecordingConnection):
        def write(self, data: bytes) -> None:
            raise OSError("broken")

    hub, _, soon = make_hub()
    before = connect(hub, "a", ("t",))
    broken = Broken(hub, identity("ada"))
    hub.attendance.attach(broken, ("t",))
    after = connect(hub, "z", ("t",))
    await publish(hub, "t", id="x")
    soon.settle()
    assert got(before) == got(after) == [("x", "t")]
    assert broken.aborted
    assert list(hub.registry.connections) == [before, after]


# --- Presence


def test_presence_is_told_to_who_asked() -> None:
    hub, clock, _ = make_hub()
    edges: list[tuple[str, State, State]] = []
    hub.on_presence.append(lambda *edge: edges.append(edge))
    hub.lost(connect(hub, "ada"))
    clock.advance(5)
    hub.maintain()
    assert edges == [
        ("ada", State.AWAY, State.ATTENTIVE),
        ("ada", State.ATTENTIVE, State.WAVERING),
        ("ada", State.WAVERING, State.AWAY),
    ]


def test_who_is_in_a_topic() -> None:
    hub, _, _ = make_hub()
    assert hub.present("t") == ([], 0)
    connect(hub, "bob", ("t",))
    connect(hub, "ada", ("t",))
    gone = connect(hub, "cyd", ("t",))
    connect(hub, "ada", ("t",))
    connect(hub, "dan")
    assert hub.present("t") == (["bob", "ada", "cyd"], 3)
    hub.lost(gone)
    assert hub.present("t") == (["bob", "ada"], 2)


def test_a_list_of_who_is_there_is_bounded_the_count_isnt() -> None:
    hub, _, _ = make_hub()
    for place in range(130):
        connect(hub, f"u{place}", ("t",))
    users, count = hub.present("t")
    assert (users, count) == ([f"u{place}" for place in range(100)], 130)


def test_a_connection_watches_so_many_topics() -> None:
    hub, _, _ = make_hub(Config(limits=Limits(subscriptions=2)))
    connection = connect(hub, "ada")
    for topic in ("a", "b", "a"):
        hub.watch(connection, topic)
    with pytest.raises(Problem) as caught:
        hub.watch(connection, "c")
    assert caught.value.code == "subscription_limit"
    hub.watches.unwatch(connection, "a")
    hub.watch(connection, "c")


# --- Durable subscriptions


async def test_a_user_makes_so_many_durable_subscriptions() -> None:
    hub, _, _ = make_hub(Config(limits=Limits(subscriptions=2)))
    who = identity("ada")
    await hub.make_durable("ada", ["a"], who)
    assert (await problem(hub.make_durable("ada", ["b", "c"], who))).code == "subscription_limit"
    assert list(hub.durables.of("ada")) == ["a"], "all or nothing"
    await hub.make_durable("ada", ["a", "b"], who)
    await hub.make_durable("ada", ["c", "d"], None)
    assert list(hub.durables.of("ada")) == ["a", "b", "c", "d"], "servers are not bound by it"


async def test_a_durable_subscription_stores_the_permission_it_was_made_under() -> None:
    hub, clock, _ = make_hub()
    await hub.make_durable("ada", ["team:a"], identity("ada", topics=("team:*",)))
    await hub.make_durable("ada", ["news"], None)
    own, servers = hub.durables.of("ada").values()
    assert (own.by_server, own.patterns, own.checked_at) == (False, ("team:*",), clock.now())
    assert (servers.by_server, servers.patterns) == (True, ())


async def test_ending_one_takes_it_off_the_connections_that_are_there() -> None:
    hub, _, _ = make_hub()
    await hub.make_durable("ada", ["a", "b"], None)
    ada, bob = connect(hub, "ada"), connect(hub, "bob", ("a",))
    assert await hub.end_durable("ada", ["a", "c"]) == ["a"]
    assert (list(ada.topics), list(bob.topics)) == (["b"], ["a"])
    assert (await publish(hub, "a", id="x")).live == 1
    assert got(ada) == []


# --- What is due once a second


async def test_what_is_old_is_let_go() -> None:
    hub, clock, _ = make_hub(Config(auth=Auth(durable_grant_s=100)))
    await publish(hub, "t")
    await hub.make_durable("ada", ["t"], identity("ada"))
    hub.lost(connect(hub, "bob"))
    clock.advance(99)
    hub.maintain()
    assert hub.registry.users == {}
    assert hub.durables.of("ada")
    clock.advance(1)
    hub.maintain()
    assert not hub.durables.of("ada")
    clock.advance(200)
    hub.maintain()
    assert hub.rings.bytes == 0


def test_who_watches_is_told_at_the_next_round() -> None:
    hub, _, soon = make_hub()
    watcher = connect(hub, "ada")
    hub.watch(watcher, "t")
    connect(hub, "bob", ("t",))
    soon.settle()
    assert told(watcher, "presence") == []
    hub.maintain()
    soon.settle()
    assert told(watcher, "presence") == [{"hub": "presence", "topic": "t", "joined": ["bob"], "left": []}]
    hub.maintain()
    soon.settle()
    assert len(told(watcher, "presence")) == 1


async def test_rates_are_counted_by_channel() -> None:
    hub, clock, _ = make_hub()
    for _ in range(3):
        await publish(hub, ["a", "user:ada"])
    await publish(hub, "a", persistence="ephemeral")
    now = clock.monotonic()
    assert hub.rates.of("a", now) > hub.rates.of("user:ada:notifications", now) > hub.rates.of("b", now) == 0


def test_the_loop_is_asked_for_turns_and_for_nothing_else() -> None:
    asked: list[Callable[[], None]] = []
    hub, _, _ = make_hub()
    hub.pump._call_soon = asked.append
    connection: Connection = connect(hub, "ada")
    connection.put_control({"hub": "ping"})
    hub.pump.schedule(connection)
    hub.pump.schedule(connection)
    assert len(asked) == 1
