"""Bringing to users what couldn't reach them: stored in one step, once, and what becomes of it meanwhile."""

import asyncio

import pytest

from hubd.core.errors import Problem
from hubd.core.milestones import LIVE_SENT, PENDING, RETRACTED
from hubd.core.stored import Close, Keep
from tests.delivering_world import World, ids, turns


async def stranded(*users: str) -> World:
    """A critical one that nothing could bring to these users."""
    world = World(with_pusher=False)
    await world.publish(*(f"user:{user}" for user in users), priority="critical")
    return world


async def test_that_it_is_out_here_and_in_there_is_stored_in_one_step() -> None:
    world = await stranded("ada", "bob")
    before = world.record()
    await world.hub.publishing.release(world.notification(), ["ada", "eve"])
    first, second = world.store.keeps()
    assert first.released is None and second.released is not None
    ada = world.hub.numbers.number_of("ada")
    assert (second.released.key, list(second.released.users)) == (first.row.key, [ada]), "only for whom it was kept"
    assert (second.row.id, second.row.key) != (first.row.id, first.row.key)
    assert ada not in before.everybody and ada in world.record().everybody


async def test_what_is_released_counts_once() -> None:
    world = await stranded("ada", "bob")
    world.connect("ada")
    world.soon.settle()
    assert world.tally == {PENDING: 1, LIVE_SENT: 1}


async def test_what_cannot_be_stored_stays_where_it_is() -> None:
    world = await stranded("ada")
    before = world.record()
    world.store.trouble = "the disk is full"
    with pytest.raises(Problem):
        await world.hub.publishing.release(world.notification(), ["ada"])
    assert (world.record(), before.is_open, world.tally) == (before, True, {PENDING: 1})


async def test_what_is_taken_back_while_its_release_is_being_stored_stays_so() -> None:
    world = await stranded("ada")
    notification = world.notification()
    world.store.is_slow = True
    world.hub.in_background = lambda work, name: work.close()  # it isn't brought to her by her coming
    ada = world.connect("ada")
    release = asyncio.ensure_future(world.hub.publishing.release(notification, ["ada"]))
    await turns()
    world.hub.retract(notification)
    world.store.answer()
    receipt = await release
    world.soon.settle()
    assert (ids(ada), receipt.live, world.tally) == ([], 0, {RETRACTED: 2})
    closed = {write.key for write in world.store.said(Close)}
    assert closed == {keep.row.key for keep in world.store.said(Keep)}, "no row of it is left open"


async def test_what_was_taken_back_is_not_released_any_more() -> None:
    world = await stranded("ada")
    notification = world.notification()
    world.hub.retract(notification)
    receipt = await world.hub.publishing.release(notification, ["ada"])
    assert (receipt.live, len(world.store.keeps())) == (0, 1)


async def test_it_lives_from_its_release_on_as_long_as_it_would_have() -> None:
    world = World(with_pusher=False)
    await world.publish("user:ada", priority="critical", ttl=100)
    world.clock.advance(60)
    await world.hub.publishing.release(world.notification(), ["ada"])
    assert world.record().expires_at == pytest.approx(world.clock.monotonic() + 100)


async def test_a_broadcast_is_not_pushed_when_it_is_released_either() -> None:
    world = World()
    world.connect("ada")
    await world.publish("notifications", priority="critical")
    await world.hub.publishing.release(world.notification(), ["ada"])
    assert world.pushed() == []
