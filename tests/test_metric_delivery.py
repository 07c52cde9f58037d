"""The metrics of what becomes of notifications: they add up, whatever happens, and their labels are bounded."""

from random import Random

import pytest

from hubd.core.verdict import hold
from hubd.metric_delivery import DELIVERY, REASONS, milestones
from hubd.testing import connect, hub_for
from tests.explaining_world import World
from tests.gates_world import keeping
from tests.test_metrics import of, samples


@pytest.mark.parametrize("seed", range(20))
async def test_the_milestones_add_up_to_what_was_accepted(seed: int) -> None:
    """Whom each is meant for is known here without the hub: these users, and nobody joins anything meanwhile."""
    random = Random(seed)
    world = World()
    world.pusher.without_devices = {"u1", "u2"}
    users = [f"u{number}" for number in range(8)]
    here = {user: connect(world.hub, user) for user in users[:4]}
    accepted = 0
    for number in range(60):
        to = random.sample(users, random.randint(1, 5))
        priority = random.choice(["informational", "important", "critical"])
        more = {"collapse_key": "k"} if random.random() < 0.3 else {}
        await world.publish(f"n{number}", *(f"user:{user}" for user in to), priority=priority, ttl=30, **more)
        accepted += len(to)
        if random.random() < 0.5:
            acker = random.choice(users[:4])
            world.hub.ack(acker, [f"n{random.randint(0, number)}"], [here[acker]])
        if random.random() < 0.1 and (found := world.hub.rings.find(f"n{number}", world.clock.monotonic())):
            world.hub.retract(found)
        world.let_pass(random.choice([0, 1, 9]))
        shown = await samples(world.hub)
        assert of(shown, "hubd_accepted") == of(shown, "hubd_milestones") == accepted
    kinds = {name.partition("(")[0] for name, count in world.hub.delivering.delivery.tally.items() if count}
    assert kinds >= {"acked", "pushed", "live_sent", "dropped"}


async def test_what_is_held_and_released_counts_once() -> None:
    async with hub_for(keeping("ada", verdict=hold)) as hub:
        await hub.publish(["user:ada", "user:bob"], id="n1")
        assert await hub.metric("hubd_milestones", milestone="held", reason="muted") == 1
        held = hub.plugin.hub.find("n1")
        await hub.plugin.hub.release(held, hub.plugin.hub.users(["ada"]))
        with pytest.raises(KeyError):  # a reason that nobody is at any more
            await hub.metric("hubd_milestones", milestone="held", reason="muted")
        assert await hub.metric("hubd_accepted") == 2


def test_reasons_are_bounded() -> None:
    tally = {"pending": 3} | {f"dropped(r{number})": 2 for number in range(200)} | {"held(r1)": 1}
    found = milestones(tally)
    assert sum(found.values()) == sum(tally.values())
    assert len({reason for _, reason in found}) <= REASONS + 2  # and none, and other
    assert found["dropped", "other"] == 2 * (200 - (REASONS - 3))
    assert found["held", "r1"] == 1


async def test_what_is_open_and_remembered() -> None:
    world = World()
    connect(world.hub, "ada")
    assert {of(await samples(world.hub), metric.name) for metric in DELIVERY} == {0}
    await world.publish("n1", "user:ada", priority="important")
    shown = await samples(world.hub)
    assert of(shown, "hubd_open_notifications") == of(shown, "hubd_waiting_deadlines") == 1
    assert of(shown, "hubd_explained_notifications") == 1
    assert of(shown, "hubd_explain_bytes") == world.hub.delivering.ledger.budget.used > 0
    world.let_pass(8)
    shown = await samples(world.hub)
    assert of(shown, "hubd_open_notifications") == of(shown, "hubd_waiting_deadlines") == 0
