"""Every kind of step of an explanation, from a hub in which it happens."""

import pytest

from hubd.config import Config
from hubd.core.connection import Visibility
from hubd.core.errors import Problem
from hubd.core.stored import Fact, Kept, Row
from hubd.core.users import UserSet
from hubd.taking_up import made_again
from hubd.testing import connect
from tests.explaining_world import Rows, World, word


async def test_who_was_looking_and_acked() -> None:
    world = World()
    ada = connect(world.hub, "ada", ("team:a",))
    world.hub.attendance.set_visibility(ada, Visibility.VISIBLE)
    await world.publish("n1", "team:a", "user:bob", priority="important", ttl=600)
    sent_at = int(world.clock.now() * 1000)
    world.let_pass(2)
    world.hub.ack("ada", ["n1"], [ada])
    found = await world.explain("n1", "ada")
    texts = [step.pop("text") for step in found["steps"]]
    channels = ["team:a", "user:bob:notifications"]
    assert found == {
        "id": "n1", "user": "ada", "channel": "team:a", "type": "order", "priority": "important",
        "persistence": "bufferable", "sent_at": sent_at, "expires_at": sent_at + 600_000, "milestone": "acked",
        "text": "Delivered: ada was shown it.",
        "steps": [
            {"at": sent_at, "step": "published", "channels": channels, "meant_for": 2, "is_release": False},
            {"at": sent_at, "step": "written", "connection": ada.id, "transport": "recording", "visibility": "visible",
             "acks": True, "way": "live", "waits": False, "ended_at": None, "why": None},
            {"at": sent_at, "step": "waiting", "until": sent_at + 7000},
            {"at": sent_at + 2000, "step": "acked", "connection": ada.id, "transport": "recording"},
        ],
    }  # fmt: skip
    assert texts == [
        "Published to team:a, user:bob:notifications; meant for 2 users.",
        f"Sent live to connection {ada.id} (recording), which acks, its tab visible when it last said so.",
        "Waited up to 7 s for ada to ack, before pushing it.",
        f"ada was shown it: acked by connection {ada.id} (recording).",
    ]


async def test_who_did_not_ack_is_pushed_to() -> None:
    world = World()
    ada = connect(world.hub, "ada")
    await world.publish("n1", "user:ada", priority="important")
    assert "it is pushed in 7 s" in (await world.explain("n1", "ada"))["text"]
    ada.drop()
    world.let_pass(8)
    found = await world.explain("n1", "ada")
    assert [*map(word, found["steps"])] == ["published", "written(live)", "waiting", "push_begun", "pushed"]
    assert found["milestone"] == "pushed"
    written = found["steps"][1]
    assert (written["ended_at"], written["why"]) == (written["at"], "gone")
    assert "that connection ended 0 ms later (the client or the network ended it)" in written["text"]


async def test_a_push_without_answer_and_one_that_is_given_up() -> None:
    world = World()
    world.pusher.answers = False
    await world.publish("n1", "user:ada", priority="important")
    found = await world.explain("n1", "ada")
    assert (found["milestone"], word(found["steps"][-1])) == ("pending", "push_begun")
    assert "no push service has taken it yet" in found["text"]
    (record,) = world.hub.delivering.ledger.find_all("n1")
    world.hub.delivering.given_up(record, record.everybody, "too_large")
    assert await world.story("n1", "ada") == [
        "published",
        "not_written(absent)",
        "push_begun",
        "given_up(too_large)",
        "dropped(too_large)",
    ]
    assert "given up (too_large)" in (await world.explain("n1", "ada"))["text"]


async def test_somebody_away_and_informational() -> None:
    world = World()
    ada = connect(world.hub, "ada")
    world.let_pass(1)
    ada.drop()
    world.let_pass(90)
    await world.publish("n1", "user:ada")
    found = await world.explain("n1", "ada")
    assert [*map(word, found["steps"])] == ["not_written(gone)", "published"]
    assert (found["milestone"], found["channel"]) == ("dropped(away)", "user:ada:notifications")
    assert found["text"] == (
        "Not delivered: ada had no connection when it was published, and informational ones aren't pushed."
    )
    assert found["steps"][0]["text"] == (
        f"ada had no connection: the last one, connection {ada.id} (recording), had ended 90 s before"
        " (the client or the network ended it)."
    )


async def test_somebody_who_was_gone_for_a_moment() -> None:
    world = World()
    connect(world.hub, "ada").drop()
    world.let_pass(1)
    await world.publish("n1", "user:ada")
    found = await world.explain("n1", "ada")
    assert found["milestone"] == "pending"
    assert "gone a moment ago; if he isn't back in 5 s, it is dropped" in found["text"]


async def test_a_replay_and_what_came_too_late_for_one() -> None:
    world = World()
    cursor = world.hub.attendance.cursor()
    await world.publish("n1", "user:ada", ttl=100)
    world.let_pass(50)
    connect(world.hub, "ada")
    assert await world.story("n1", "ada") == [
        "published",
        "not_written(absent)",
        "not_written(started_after)",
        "dropped(away)",
    ]
    back = connect(world.hub, "ada", (), cursor)
    world.soon.settle()
    assert [frame["id"] for frame in back.notifications()] == ["n1"]
    assert await world.story("n1", "ada") == ["published", "written(replay)", "live_sent"]
    world.let_pass(60)
    late = connect(world.hub, "ada", (), cursor)
    world.soon.settle()
    assert not late.notifications()
    assert await world.story("n1", "ada") == ["published", "written(replay)", "not_written(expired)", "live_sent"]


async def test_a_gap() -> None:
    world = World(Config.model_validate({"replay": {"per_channel": 1}}))
    cursor = world.hub.attendance.cursor()
    await world.publish("n1", "user:ada")
    await world.publish("n2", "user:ada")
    world.let_pass(1)
    connect(world.hub, "ada", (), cursor)
    world.soon.settle()
    assert await world.story("n1", "ada") == [
        "published",
        "not_written(absent)",
        "not_written(evicted)",
        "dropped(away)",
    ]
    assert await world.story("n2", "ada") == ["published", "written(replay)", "live_sent"]


async def test_who_has_not_read_so_far() -> None:
    world = World()
    cursor = world.hub.attendance.cursor()
    for number in range(20):
        await world.publish(f"n{number}", "user:ada", notification={"type": "t", "text": "x" * 30_000})
    world.let_pass(1)
    slow = connect(world.hub, "ada", (), cursor, room=1000)
    world.soon.settle()
    assert (await world.story("n0", "ada"))[1] == "written(replay)"
    assert (await world.steps("n0", "ada"))[1]["text"].endswith("takes no more at the moment, so this may still wait.")
    assert (await world.story("n19", "ada"))[2] == "not_written(behind)"
    slow.drop()
    assert (await world.story("n19", "ada"))[2] == "not_written(ended_behind)"


async def test_what_is_ephemeral_is_not_replayed() -> None:
    world = World()
    cursor = world.hub.attendance.cursor()
    await world.publish("n1", "user:ada", persistence="ephemeral")
    world.let_pass(1)
    connect(world.hub, "ada", (), cursor)
    assert await world.story("n1", "ada") == [
        "published",
        "not_written(absent)",
        "not_written(live_only)",
        "dropped(away)",
    ]
    assert "sent live or not at all" in (await world.explain("n1", "ada"))["text"]


async def test_somebody_it_was_not_meant_for() -> None:
    world = World()
    connect(world.hub, "ada", ("team:a",))
    connect(world.hub, "bob", ("team:b",))
    await world.publish("n1", "team:b")
    found = await world.explain("n1", "ada")
    assert (found["milestone"], found["channel"]) == (None, None)
    assert [*map(word, found["steps"])] == ["published", "not_written(not_subscribed)"]
    assert "ada, who wasn't subscribed to any of its channels when it was published: team:b" in found["text"]
    assert [*map(word, (await world.explain("n1", "ada", any_user=False))["steps"])] == ["published"]
    nobody = await world.explain("n1", "nobody")
    assert (nobody["milestone"], [*map(word, nobody["steps"])]) == (None, ["published"])
    await world.publish("n2", "user:bob")
    assert "Not meant for ada: it was published to user:bob" in (await world.explain("n2", "ada"))["text"]
    await world.publish("n3", "notifications")
    assert "everybody who was connected then" in (await world.explain("n3", "nobody"))["text"]


async def test_one_that_took_its_place() -> None:
    world = World()
    connect(world.hub, "ada")
    await world.publish("n1", "user:ada", priority="important", collapse_key="k")
    await world.publish("n2", "user:ada", priority="important", collapse_key="k")
    assert (await world.story("n1", "ada"))[-2:] == ["replaced(n2)", "dropped(replaced)"]


async def test_taken_back_and_over() -> None:
    world = World()
    connect(world.hub, "ada")
    await world.publish("n1", "user:ada", priority="important")
    sent = world.hub.rings.find("n1", world.clock.monotonic())
    assert sent is not None
    world.hub.retract(sent)
    assert (await world.story("n1", "ada"))[-2:] == ["retracted", "retracted"]
    world.pusher.without_devices = {"bob"}
    await world.publish("n2", "user:bob", priority="critical", ttl=60)
    world.let_pass(61)
    assert await world.story("n2", "bob") == [
        "published",
        "not_written(absent)",
        "push_begun",
        "no_route",
        "expired",
        "expired",
    ]


async def test_critical_without_any_way_goes_out_when_there_is_one() -> None:
    world = World()
    world.pusher.without_devices = {"ada"}
    await world.publish("n1", "user:ada", priority="critical")
    found = await world.explain("n1", "ada")
    assert (found["milestone"], word(found["steps"][-1])) == ("pending", "no_route")
    assert "neither a connection nor a device" in found["text"]
    world.let_pass(30)
    connect(world.hub, "ada")
    world.soon.settle()
    found = await world.explain("n1", "ada")
    assert [*map(word, found["steps"])] == [
        "published", "push_begun", "no_route", "released", "published", "written(live)", "push_begun", "no_route",
    ]  # fmt: skip
    assert [step["meant_for"] for step in found["steps"] if step["step"] == "published"] == [1, 1]
    assert found["steps"][4]["at"] == found["steps"][3]["at"] == found["steps"][0]["at"] + 30_000


async def test_a_sign_of_life() -> None:
    world = World()
    plain = connect(world.hub, "ada", control=False)
    await world.publish("n1", "user:ada", priority="important")
    (record,) = world.hub.delivering.ledger.find_all("n1")
    world.hub.arrivals.pong(plain, record.sequence)
    found = await world.explain("n1", "ada")
    assert [*map(word, found["steps"])] == ["published", "written(live)", "waiting", "proved"]
    assert found["text"] == "Delivered to a connection of ada that doesn't ack: it has got it."


async def test_of_very_many_steps_the_reason_stays_where_it_is_the_same() -> None:
    world = World()
    users = [f"u{number}" for number in range(400)]
    here = [connect(world.hub, user, ("t",)) for user in users]
    await world.publish("n1", "t")
    for user, connection in zip(users, here, strict=True):
        world.clock.advance(0.01)
        world.hub.ack(user, ["n1"], [connection])
    found = await world.explain("n1", "u350")
    acked = found["steps"][-1]
    assert acked["step"] == "acked" and "connection" not in acked
    assert acked["at"] < acked["at_latest"] and "at_latest" in acked["text"]
    assert found["milestone"] == "acked"


# What is not there, and what the store has


async def test_nothing_is_known() -> None:
    world = World()
    with pytest.raises(Problem) as refused:
        await world.explain("n1", "ada")
    assert refused.value.code == "not_found"
    await world.publish("n1", "team:a")
    with pytest.raises(Problem) as refused:
        await world.explaining.of_user("n1", "ada", lambda channel: channel == "team:b")
    assert refused.value.code == "not_found"


async def test_how_many_are_at_each_milestone() -> None:
    world = World()
    ada, _ = connect(world.hub, "ada", ("t",)), connect(world.hub, "bob", ("t",))
    await world.publish("n1", "t", "user:eve")
    world.hub.ack("ada", ["n1"], [ada])
    found = await world.explaining.of_all("n1", lambda channel: True)
    assert (found["accepted"], found["milestones"]) == (3, {"acked": 1, "live_sent": 1, "dropped(away)": 1})


def kept(world: World, *facts: tuple[str, list[str], str]) -> Kept:
    """A closed row of a notification to ada, bob and eve, an hour old."""
    numbers = world.hub.numbers
    users = UserSet(numbers.number_of(user) for user in ("ada", "bob", "eve"))
    at = int(world.clock.now() * 1000) - 3_600_000
    body = b'{"id":"n1","type":"order","priority":"important","sent_at":%d' % at
    row = Row("k1", "n1", body, ("t",), "persistent", at, at + 86_400_000, None, None, (("t", users),), users, users, 0)
    noted = [Fact("k1", kind, UserSet(map(numbers.number_of, them)), at + 1000, detail) for kind, them, detail in facts]
    return Kept(row, tuple(noted), is_open=False)


async def test_what_only_the_store_knows() -> None:
    world, rows = World(), Rows()
    world.hub.store = rows  # type: ignore[assignment]
    rows.rows["n1"] = [kept(world, ("acked", ["ada"], "c1"), ("dropped", ["bob"], "muted"))]
    tally = dict(world.hub.delivering.delivery.tally)
    ada = await world.explain("n1", "ada")
    assert (ada["milestone"], ada["channel"], ada["type"]) == ("acked", "t", "order")
    assert [*map(word, ada["steps"])] == ["published", "acked"] and ada["steps"][1]["connection"] == "c1"
    assert await world.story("n1", "bob") == ["published", "dropped(muted)", "dropped(muted)"]
    eve = await world.explain("n1", "eve")
    assert eve["milestone"] == "unknown" and "started anew" in eve["text"]
    found = await world.explaining.of_all("n1", lambda channel: True)
    assert found["milestones"] == {"acked": 1, "dropped(muted)": 1, "unknown": 1}
    assert dict(world.hub.delivering.delivery.tally) == tally and world.hub.delivering.ledger.budget.used == 0


async def test_a_store_that_cannot_be_read() -> None:
    world, rows = World(), Rows()
    world.hub.store = rows  # type: ignore[assignment]
    rows.fails = "the disk is gone"
    with pytest.raises(Problem) as refused:
        await world.explain("n1", "ada")
    assert (refused.value.code, refused.value.retry_after is not None) == ("unavailable", True)


async def test_what_went_on_after_a_restart() -> None:
    world, rows = World(), Rows()
    one = kept(world, ("proved", ["bob"], ""))
    moment = world.hub.delivering.moment()
    notification = made_again(one.row, moment.mono, moment.wall)
    world.hub.delivering.restore(one, notification)
    world.hub.store = None
    await world.hub.publishing.restore(notification)
    world.let_pass(8)
    world.hub.store = rows  # type: ignore[assignment]
    rows.rows["n1"] = [one]
    assert await world.story("n1", "ada") == [
        "published",
        "not_written(absent)",
        "restored",
        "push_begun",
        "pushed",
        "pushed",
    ]
    rows.fails = "the disk is gone"
    found = await world.explain("n1", "ada")
    assert word(found["steps"][-1]) == "store_failed(the disk is gone)"
