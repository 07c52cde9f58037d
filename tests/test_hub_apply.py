"""A hub that is given another config goes by it from then on, and who and what is there stays."""

from typing import Any

import pytest

from hubd.config import Config
from hubd.core.errors import Problem
from hubd.core.presence import State
from hubd.testing import connect
from tests.hub_world import World, ids, story


def apply(world: World, **sections: dict[str, Any]) -> None:
    """The config of the world with these options changed."""
    known = world.config.model_dump(exclude={"types", "plugins"})
    types = sections.pop("types", {})
    merged = {name: known[name] | sections.get(name, {}) for name in known}
    world.hub.apply(Config.model_validate({**merged, "types": types}))


def refused(world: World, **fields: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        world.hub.prepare({"to": "news", "notification": {"type": "t"}} | fields)
    return caught.value


async def test_nobody_is_dropped_and_nothing_is_lost() -> None:
    world = World()
    there = connect(world.hub, "42", ("news",))
    cursor = world.cursor()
    await world.publish("news", count=3)
    apply(world, limits={"per_user": 1, "subscriptions": 1}, replay={"ttl_s": 100})
    await world.publish("news")
    back = connect(world.hub, "43", ("news",), cursor=cursor)
    world.settle(there, back)
    assert story(there) == ["welcome", *ids(1, 4)]
    assert story(back) == ["welcome", *ids(1, 4)]


@pytest.mark.parametrize(
    ("limit", "fields"),
    [
        ({"message_bytes": 64}, {"notification": {"type": "t", "text": "x" * 100}}),
        ({"json_depth": 2}, {"notification": {"type": "t", "a": {"b": {"c": {"d": 1}}}}}),
        ({"json_keys": 3}, {"notification": {"type": "t", "a": 1, "b": 2, "c": 3}}),
    ],
)
async def test_bounds_of_notifications(limit: dict[str, int], fields: dict[str, Any]) -> None:
    world = World()
    world.hub.prepare({"to": "news"} | fields)
    apply(world, limits=limit)
    assert refused(world, **fields).code in ("too_large", "invalid")


async def test_types() -> None:
    world = World()
    apply(world, types={"t": {"priority": "critical", "ttl_s": 7}})
    draft = world.hub.prepare({"to": "news", "notification": {"type": "t"}})
    assert (draft.priority.word, draft.ttl_s) == ("critical", 7)


async def test_per_user_and_connections() -> None:
    world = World()
    first = connect(world.hub, "42")
    assert world.hub.refusal(first.identity) is None
    apply(world, limits={"per_user": 1})
    assert world.hub.refusal(first.identity) is not None
    assert not world.hub.is_full()
    apply(world, limits={"connections": 1})
    assert world.hub.is_full()


async def test_subscriptions_and_ping_s() -> None:
    world = World()
    apply(world, limits={"subscriptions": 1, "ping_s": 3})
    there = connect(world.hub, "42", ("a", "b"))
    world.settle(there)
    assert (there.frames[0]["topics"], there.frames[0]["ping_s"]) == (["a"], 3)


async def test_queue_bytes() -> None:
    world = World()
    apply(world, limits={"queue_bytes": 2000})
    there = connect(world.hub, "42", ("news",))
    there.paused = True
    await world.publish("news", count=5, pad=1000)
    world.soon.settle()
    assert there not in world.hub.registry.connections


async def test_the_window_of_ids() -> None:
    world = World()
    body = {"to": "news", "notification": {"type": "t"}, "id": "mine"}
    await world.hub.publish(world.hub.prepare(body), "backend")
    world.clock.advance(100)
    assert (await world.hub.publish(world.hub.prepare(body), "backend"))[1] is True
    apply(world, limits={"id_window_s": 50})
    assert (await world.hub.publish(world.hub.prepare(body), "backend"))[1] is False


async def test_the_number_of_ids() -> None:
    world = World()
    for id in ("a", "b", "c"):
        await world.hub.publish(world.hub.prepare({"to": "n", "notification": {"type": "t"}, "id": id}), "backend")
    apply(world, limits={"id_entries": 1})
    again = world.hub.prepare({"to": "n", "notification": {"type": "t"}, "id": "a"})
    assert (await world.hub.publish(again, "backend"))[1] is False


async def test_smaller_rings() -> None:
    world = World()
    await world.publish("news", count=10)
    apply(world, replay={"per_channel": 4})
    await world.publish("news")
    assert world.hub.rings.depth("news") == 4
    back = connect(world.hub, "42", ("news",), cursor=world.cursor(0))
    world.settle(back)
    assert story(back) == ["welcome", "gap news evicted", *ids(8, 11)]


async def test_the_age_and_the_bytes_of_rings() -> None:
    world = World()
    await world.publish("a", count=3)
    apply(world, replay={"ttl_s": 10})
    world.clock.advance(10)
    world.hub.maintain()
    assert world.hub.rings.depth("a") == 0
    apply(world, replay={"max_bytes": 1})
    await world.publish("b", count=3)
    assert world.hub.rings.depth("b") == 0


async def test_grace_and_attention() -> None:
    world = World(grace_s=100)
    there = connect(world.hub, "42")
    user = there.user
    assert user is not None
    world.hub.lost(there)
    assert world.hub.presence.state(user, world.clock.monotonic()) is State.WAVERING
    apply(world, delivery={"grace_s": 2})
    world.clock.advance(3)
    world.hub.maintain()
    assert world.hub.presence.state(user, world.clock.monotonic()) is State.AWAY
    apply(world, delivery={"attention_ttl_s": 3})
    assert world.hub.presence._attention_s == 3


async def test_durable_grants() -> None:
    world = World()
    there = connect(world.hub, "42")
    await world.hub.make_durable("42", ["news"], there.identity)
    world.clock.advance(100)
    world.hub.maintain()
    assert list(world.hub.durables.of("42")) == ["news"]
    apply(world, auth={"durable_grant_s": 50})
    world.hub.maintain()
    assert list(world.hub.durables.of("42")) == []
