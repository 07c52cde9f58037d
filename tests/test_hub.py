"""The hub: the way of a notification to everybody who should have it, once; and what users and servers do."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hubd.broker import LocalBroker, Published
from hubd.config import Config
from hubd.config_options import Auth, Limits, TypeOptions
from hubd.core.connection import Connection
from hubd.core.errors import REVOKED, SHUTDOWN, TOO_MANY, Problem
from hubd.core.notification import Notification, Persistence, Priority
from hubd.core.presence import State
from hubd.hub import Hub, Receipt
from hubd.pump import FEW
from hubd.testing import MSGPACK_FORM, RecordingConnection, connect, identity, make_hub


def body(to: Any, **more: Any) -> dict[str, Any]:
    return {"to": to, "notification": {"type": "alert"}, **more}


async def publish(hub: Hub, to: Any, **more: Any) -> Receipt:
    receipt, duplicate = await hub.publish(hub.prepare(body(to, **more)), "backend")
    assert not duplicate
    return receipt


def got(connection: RecordingConnection) -> list[tuple[str, str]]:
    """The ids of its notifications, and by which channels they came."""
    return [(frame["id"], frame["channel"]) for frame in connection.notifications()]


def told(connection: RecordingConnection, word: str) -> list[dict[str, Any]]:
    return [frame for frame in connection.frames if frame.get("hub") == word]


async def problem(work: Awaitable[Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        await work
    return caught.value


# --- Publishing


async def test_the_receipt_says_what_became_of_it() -> None:
    hub, _, _ = make_hub()
    connect(hub, "ada", ("t",))
    connect(hub, "ada", ("t",))
    connect(hub, "bob")
    assert await publish(hub, "t", id="x") == Receipt("x", hub.attendance.cursor(1), 2)
    assert await publish(hub, "nobody", id="y") == Receipt("y", hub.attendance.cursor(2), 0)


async def test_without_an_id_it_gets_one() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    receipts = [await publish(hub, "t") for _ in range(3)]
    assert [id for id, _ in got(connection)] == [receipt.id for receipt in receipts]
    assert len({receipt.id for receipt in receipts}) == 3


async def test_what_those_see_who_are_reached() -> None:
    hub, clock, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    call = {"to": "t", "notification": {"type": "badge", "count": 3}, "id": "x", "priority": "critical"}
    await hub.publish(hub.prepare(call), "user:bob", sender="bob")
    assert connection.notifications() == [
        {
            "id": "x", "type": "badge", "count": 3, "channel": "t", "priority": "critical", "from": "bob",
            "sent_at": int(clock.now() * 1000), "cursor": hub.attendance.cursor(1),
        }
    ]  # fmt: skip


async def test_each_kind_of_channel_reaches_its_own() -> None:
    hub, _, _ = make_hub()
    ada, second, bob = connect(hub, "ada", ("t",)), connect(hub, "ada"), connect(hub, "bob", ("t",))
    await publish(hub, "notifications", id="all")
    await publish(hub, "user:ada", id="ada")
    await publish(hub, "t", id="t")
    assert [id for id, _ in got(ada)] == ["all", "ada", "t"]
    assert [id for id, _ in got(second)] == ["all", "ada"]
    assert [id for id, _ in got(bob)] == ["all", "t"]


async def test_several_channels_reach_everybody_once_by_the_first_that_is_his() -> None:
    hub, _, soon = make_hub()
    ada = connect(hub, "ada", ("b", "a"))
    bob = connect(hub, "bob", ("b",))
    cyd = connect(hub, "cyd", form=MSGPACK_FORM)
    dan = connect(hub, "dan", ("a", "b"))
    receipt = await publish(hub, ["c", "user:dan", "a", "b", "user:ada"], id="x")
    assert receipt.live == 3
    await publish(hub, ["b", "notifications"], id="y")
    soon.settle()
    assert got(ada) == [("x", "a"), ("y", "b")]
    assert got(bob) == [("x", "b"), ("y", "b")]
    assert got(cyd) == [("y", "notifications")]
    assert got(dan) == [("x", "user:dan:notifications"), ("y", "b")]


async def test_nobody_sees_the_other_channels() -> None:
    hub, _, soon = make_hub()
    ada = connect(hub, "ada", ("t",))
    await publish(hub, ["secret", "t", "user:bob"])
    soon.settle()
    (frame,) = ada.notifications()
    assert "secret" not in str(frame) and "bob" not in str(frame)


async def test_to_many_it_is_written_in_the_loops_next_turn_behind_nothing() -> None:
    hub, _, soon = make_hub()
    many = [connect(hub, f"u{place}", ("t",)) for place in range(FEW + 1)]
    receipt = await publish(hub, "t", id="x")
    assert receipt.live == FEW + 1
    assert [got(connection) for connection in many] == [[]] * (FEW + 1)
    await publish(hub, "user:u3", id="y")
    assert [id for id, _ in got(many[3])] == ["x", "y"], "never past a broadcast that still waits"
    soon.settle()
    assert {len(got(connection)) for connection in many} == {1, 2}


async def test_to_few_it_is_written_at_once() -> None:
    hub, _, _ = make_hub()
    few = [connect(hub, f"u{place}", ("t",)) for place in range(FEW)]
    await publish(hub, "t", id="x")
    assert [got(connection) for connection in few] == [[("x", "t")]] * FEW


async def test_who_has_left_gets_nothing_not_even_what_was_meant_for_a_list() -> None:
    hub, _, soon = make_hub()
    ada = connect(hub, "ada", ("a", "b"))
    hub.attendance.leave(ada, "a")
    await publish(hub, "a", id="x")
    await publish(hub, ["a", "b"], id="y")
    soon.settle()
    assert got(ada) == [("y", "b")]


# --- How many it was queued for


async def test_live_counts_connections_once_and_those_that_resume() -> None:
    hub, _, soon = make_hub()
    for _ in range(50):
        await publish(hub, "t", notification={"type": "alert", "text": "x" * 4000})
    connect(hub, "ada", ("t", "u"))
    resuming = connect(hub, "bob", ("t",), cursor=hub.attendance.cursor(0), room=1000)
    assert not resuming.live
    assert not resuming.live
    assert (await publish(hub, "t", id="x")).live == 2
    assert (await publish(hub, ["u", "t", "user:ada"], id="y")).live == 2
    assert (await publish(hub, "t", id="live", persistence="ephemeral")).live == 1, "it won't get that"
    assert (await publish(hub, ["u", "t"], id="now", ttl=0)).live == 1
    while resuming.paused:
        resuming.drain()
        soon.settle()
    assert [id for id, _ in got(resuming)][-2:] == ["x", "y"]


@pytest.mark.parametrize("said", [{"persistence": "ephemeral"}, {"ttl": 0}])
async def test_what_is_live_only_is_kept_nowhere(said: dict[str, Any]) -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    receipt = await publish(hub, "t", id="x", **said)
    assert receipt.live == 1
    assert got(connection) == [("x", "t")]
    assert hub.rings.depth("t") == 0
    assert hub.sent_to("x", "ada") is None
    again = connect(hub, "ada", ("t",), cursor=hub.attendance.cursor(0))
    assert got(again) == []


# --- What the type decides


async def test_a_type_of_the_config_decides_what_the_call_doesnt() -> None:
    typing = TypeOptions(priority="informational", persistence="ephemeral", ttl_s=5)
    hub, _, _ = make_hub(Config(types={"default": TypeOptions(ttl_s=60), "typing": typing}))
    draft = hub.prepare({"to": "t", "notification": {"type": "typing"}})
    assert (draft.priority, draft.persistence, draft.ttl_s) == (Priority.INFORMATIONAL, Persistence.EPHEMERAL, 5)
    draft = hub.prepare(body("t"))
    assert (draft.priority, draft.persistence, draft.ttl_s) == (Priority.IMPORTANT, Persistence.BUFFERABLE, 60)


async def test_limits_of_the_config_are_kept() -> None:
    hub, _, _ = make_hub(Config(limits=Limits(message_bytes=64, json_depth=2, json_keys=3)))
    with pytest.raises(Problem, match="more than 64 bytes"):
        hub.prepare({"to": "t", "notification": {"type": "x" * 100}})
    with pytest.raises(Problem, match="deeper than 2"):
        hub.prepare({"to": "t", "notification": {"type": "x", "a": [[[]]]}})
    with pytest.raises(Problem, match="more than 3 keys"):
        hub.prepare({"to": "t", "notification": {"type": "x", "a": 1, "b": 2, "c": 3}})


# --- Ids of the publishers


async def test_the_same_again_is_sent_once() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    first = await publish(hub, "t", id="x")
    connect(hub, "bob", ("t",))
    assert await hub.publish(hub.prepare(body(["t"], id="x")), "backend") == (first, True)
    assert len(got(connection)) == 1
    assert hub.attendance.sequence == 1


async def test_another_with_the_same_id_is_refused() -> None:
    hub, _, _ = make_hub()
    await publish(hub, "t", id="x")
    assert (await problem(hub.publish(hub.prepare(body("u", id="x")), "backend"))).code == "id_conflict"
    receipt, duplicate = await hub.publish(hub.prepare(body("u", id="x")), "another backend")
    assert (receipt.id, duplicate) == ("x", False)


async def test_a_publish_that_failed_is_not_remembered() -> None:
    class Failing(LocalBroker):
        failing = True

        async def publish(self, notification: Notification) -> Published:
            if self.failing:
                raise Problem("unavailable", "not now", retry_after=1)
            return await super().publish(notification)

    broker = Failing()
    hub, _, _ = make_hub(broker=broker)
    connection = connect(hub, "ada", ("t",))
    for _ in range(2):
        assert (await problem(hub.publish(hub.prepare(body("t", id="x")), "backend"))).code == "unavailable"
    broker.failing = False
    assert (await publish(hub, "t", id="x")).live == 1
    assert len(got(connection)) == 1


async def test_a_hub_that_stops_takes_nothing() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    hub.stopping = True
    found = await problem(hub.publish(hub.prepare(body("t")), "backend"))
    assert (found.code, found.retry_after) == ("unavailable", 1.0)
    assert got(connection) == []


# --- Whom it was sent to


async def test_it_was_sent_to_those_who_were_there() -> None:
    hub, _, _ = make_hub()
    connect(hub, "ada", ("t",))
    await hub.make_durable("bob", ["t"], None)
    await publish(hub, "t", id="x")
    await publish(hub, ["user:cyd", "t"], id="y")
    connect(hub, "late", ("t",))
    for user, ways in (("ada", ["t", "t"]), ("bob", ["t", "t"]), ("cyd", [None, "user:cyd:notifications"])):
        for id, way in zip("xy", ways, strict=True):
            found = hub.sent_to(id, user)
            assert (found[1] if found else None) == way
    assert hub.sent_to("x", "late") is None
    assert hub.sent_to("z", "ada") is None


async def test_it_was_sent_to_who_got_it_by_a_replay() -> None:
    hub, _, _ = make_hub()
    await publish(hub, "t", id="x")
    connect(hub, "other")
    connect(hub, "ada", ("t",), cursor=hub.attendance.cursor(0))
    found = hub.sent_to("x", "ada")
    assert found is not None and found[1] == "t"
    assert hub.sent_to("x", "other") is None


async def test_who_left_since_was_sent_it_all_the_same() -> None:
    hub, clock, _ = make_hub()
    connection = connect(hub, "ada", ("t",))
    await publish(hub, "t", id="x")
    hub.lost(connection)
    clock.advance(60)
    hub.maintain()
    assert hub.sent_to("x", "ada") is not None
    clock.advance(300)
    assert hub.sent_to("x", "ada") is None, "no ring has it any more"


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
    hub.ack(ada, ["x"])
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
    hub.ack(phone, ["x", "y", "x"])
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
    hub.ack(phone, ["x"])
    hub.ack(laptop, ["x"])
    hub.ack(phone, ["y", "x"])
    soon.settle()
    assert [frame["ids"] for frame in told(laptop, "read")] == [["x"], ["y"]]
    assert told(phone, "read") == []
    assert list(laptop.acked or ()) == ["x"]


async def test_what_nobody_sent_him_is_passed_over() -> None:
    hub, _, soon = make_hub()
    ada, second = connect(hub, "ada"), connect(hub, "ada")
    await publish(hub, "user:bob", id="bobs")
    await publish(hub, "t", id="topic")
    hub.ack(ada, ["bobs", "topic", "unknown", ""])
    soon.settle()
    assert not ada.acked
    assert told(second, "read") == []
    found = hub.sent_to("bobs", "bob")
    assert found is not None and found[0].acked is None


async def test_an_ack_of_what_came_by_a_replay_counts() -> None:
    hub, _, soon = make_hub()
    await publish(hub, "t", id="x")
    ada, second = connect(hub, "ada", ("t",), cursor=hub.attendance.cursor(0)), connect(hub, "ada")
    hub.ack(ada, ["x"])
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
        f"connection {slow.id} of user ada is too slow: cut"
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
