"""A whole day of a small hub: what only shows after hours."""

from random import Random

import pytest

from tests.simulation.observer import Publication
from tests.simulation.world import World

HOURS, USERS = 24, 20
EVERY_S = 60.0


@pytest.mark.timeout(300)
def test_a_day_with_twenty_clients() -> None:
    random = Random(24)
    settings = {"limits": {"ping_s": 60, "pong_s": 10}, "delivery": {"explain_s": 200_000}}
    world = World(24, settings)
    world.users += [f"u{number}" for number in range(USERS)]
    try:
        world.start()
        for user in world.users:
            world.loop.call_later(random.uniform(0.1, 30.0), world.add_phone, user)
            tab = world.add_tab(user, topics=("news",), is_plain=False, acks=True, ack_chance=0.7)
            world.loop.call_later(random.uniform(0.1, 30.0), tab.open)
        for number in range(int(HOURS * 3600 / EVERY_S)):
            world.loop.call_later(60 + number * EVERY_S, _minute, world, random, number)
        world.run(HOURS * 3600 + 120.0)
        world.check()
        assert len(world.observer.publications) == HOURS * 3600 / EVERY_S
        assert world.process is not None
        assert not len(world.process.hub.delivering.delivery.open)
    finally:
        world.close()


def _minute(world: World, random: Random, number: int) -> None:
    """Something is published, and somebody goes and comes back."""
    to = random.choice([f"user:{user}" for user in world.users] + ["news"])
    priority = random.choice(("critical", "important", "informational"))
    publication = Publication(
        f"n{number}", (to,), priority, random.choice(("bufferable", "persistent")), None, None, None
    )
    world.publishers[0].publish(publication, world.clock.now())
    if number % 5 == 0:
        tab = random.choice(world.tabs)
        tab.shut()
        world.loop.call_later(random.choice((1.0, 4.0, 30.0)), tab.open)
