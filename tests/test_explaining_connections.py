"""Which connections got a notification, as it follows from what is known of them; against what they really got."""

from random import Random

import pytest

from hubd.config import Config
from hubd.testing import RecordingConnection, connect
from tests.explaining_world import World

TOPICS = ("t1", "t2")


@pytest.mark.parametrize("seed", range(60))
async def test_it_says_of_each_connection_what_it_really_got(seed: int) -> None:
    random = Random(seed)
    world = World(Config.model_validate({"replay": {"per_channel": 5}}), push=False)
    attendance = world.hub.attendance
    ever: list[RecordingConnection] = []
    here: list[RecordingConnection] = []
    cursors = [attendance.cursor()]
    for number in range(30):
        match random.randrange(4):
            case 0:
                topics = tuple(topic for topic in TOPICS if random.random() < 0.6)
                cursor = random.choice([None, *cursors[-12:]])
                ever.append(connect(world.hub, "ada", topics, cursor, room=None))
                here.append(ever[-1])
            case 1 if here:
                here.pop(random.randrange(len(here))).drop()
            case _:
                to = random.sample([*TOPICS, "user:ada", "notifications", "user:bob"], random.randint(1, 3))
                await world.publish(f"n{number}", *to)
        world.let_pass(random.choice([0.1, 1, 10]))
        cursors.append(attendance.cursor())
    written = 0
    for number in range(30):
        if not world.hub.delivering.ledger.find_all(f"n{number}"):
            continue
        steps = await world.steps(f"n{number}", "ada")
        told = [step["connection"] for step in steps if step["step"] == "written"]
        got = [one.id for one in ever for frame in one.notifications() if frame["id"] == f"n{number}"]
        assert sorted(told) == sorted(got), f"n{number}"
        written += len(got)
    assert written


async def test_of_a_connection_that_is_forgotten() -> None:
    world = World()
    ada = connect(world.hub, "ada")
    await world.publish("n1", "user:ada")
    ada.drop()
    world.hub.attendance.visits._limit = 0
    connect(world.hub, "bob").drop()
    (_, written) = await world.steps("n1", "ada")
    assert (written["step"], written["connection"]) == ("written", None)
    assert "nothing is known any more" in written["text"]


async def test_of_many_only_some_are_told() -> None:
    world = World(Config.model_validate({"limits": {"per_user": 100}}))
    connect(world.hub, "bob", ("t",))
    await world.publish("n1", "t")
    for _ in range(50):
        connect(world.hub, "ada")
    steps = await world.steps("n1", "ada")
    assert [step["step"] for step in steps] == ["published", *["not_written"] * 3]
