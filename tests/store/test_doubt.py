"""When a commit's answer is lost nobody knows whether it is on the disk: that is found out, never assumed."""

import asyncio
from dataclasses import replace

import pytest

from hubd.core.stored import Fact, Keep, Lane, Schedule, Scheduled
from hubd.storing import StoreError
from hubd.testing import FakeClock
from tests.store.faults import Faults, broken
from tests.store.store_world import FAST, answer, opened, until


async def test_what_turns_out_to_be_stored_is_done(url: str) -> None:
    async with opened(url) as world:
        faults = Faults(world.store)
        faults.after = [broken()]
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        assert world.store.counts.failures == 1
        await until(lambda: not world.store.trouble)
        await world.store.write(world.keep("k2"), Lane.PUBLISH)
        assert await world.open_keys() == ["k1", "k2"]


async def test_what_turns_out_not_to_be_stored_fails_and_notes_are_tried_again(url: str) -> None:
    async with opened(url) as world:
        faults = Faults(world.store)
        faults.before = [broken(), broken(), broken()]
        world.store.note(world.keep("noted"))
        world.store.note(world.acked("noted", "ada"))
        published = world.store.write(world.keep("k1"), Lane.PUBLISH)
        acked = world.store.write(world.acked("k1", "ada"), Lane.ACK)
        with pytest.raises(StoreError, match="I/O error$"):
            await published
        with pytest.raises(StoreError):
            await acked
        await world.settled()
        await world.store.write(world.keep("k2"), Lane.PUBLISH)
        assert await world.open_keys() == ["noted", "k2"]
        (noted,) = await world.found("id-noted")
        assert [fact.kind for fact in noted.facts] == ["acked"]
        assert world.store.counts.lost == 0


async def test_one_that_was_refused_and_is_there_is_removed(url: str) -> None:
    async with opened(url) as world:
        faults = Faults(world.store)
        faults.after, faults.refused = [broken()], broken
        store = world.store
        ours = store.write(Keep(world.row("k1"), answer=answer("mine")), Lane.PUBLISH)
        call = store.write(Schedule(Scheduled("s1", "x", 1, b"{}")), Lane.PUBLISH)
        store.note(world.keep("noted"))
        with pytest.raises(StoreError):
            await asyncio.wait_for(ours, 20)
        assert isinstance(call.exception(), StoreError)
        assert store.trouble == "the disk reports an I/O error"
        faults.refused = lambda: None
        await until(lambda: not store.trouble)
        await store.write(world.keep("k2"), Lane.PUBLISH)
        assert await world.open_keys() == ["noted", "k2"]
        assert store.counts.withdrawn == 2
    async with opened(url) as world:
        loaded = await world.store.load()
        assert (loaded.answers, loaded.scheduled) == ([], [])
        assert await world.open_keys() == ["noted", "k2"]


async def test_what_the_hub_itself_called_for_stays_and_can_be_tried_again(url: str) -> None:
    async with opened(url) as world:
        store = world.store
        await store.write(Schedule(Scheduled("s1", "x", 1, b"{}")), Lane.PUBLISH)
        await store.write(world.keep("held"), Lane.PUBLISH)
        faults = Faults(store)
        faults.after, faults.refused = [broken()], broken
        due = Keep(world.row("due"), instead_of="s1", released=Fact("held", "released", world.users("ada"), 1))
        with pytest.raises(StoreError):
            await asyncio.wait_for(store.write(due, Lane.PUBLISH), 20)
        faults.refused = lambda: None
        await until(lambda: not store.trouble)
        await store.write(due, Lane.PUBLISH)
        assert await world.open_keys() == ["held", "due"]
        assert (await store.load()).scheduled == []


async def test_a_commit_that_takes_too_long_is_in_doubt(url: str) -> None:
    async with opened(url, limits=replace(FAST, commit_s=0.5)) as world:
        faults = Faults(world.store)
        faults.hanging = [asyncio.Event()]  # it is committed, and nobody ever says so
        await asyncio.wait_for(world.store.write(world.keep("k1"), Lane.PUBLISH), 20)
        assert world.store.counts.failures == 1
        assert await world.open_keys() == ["k1"]


async def test_in_trouble_all_fail_at_once_and_those_who_wait_soon(url: str) -> None:
    clock = FakeClock()
    async with opened(url, clock) as world:
        store = world.store
        faults = Faults(store)
        hanging = asyncio.Event()
        faults.hanging, faults.after, faults.refused = [hanging], [broken()], broken
        first = store.write(world.keep("k1"), Lane.PUBLISH)
        await until(lambda: not faults.hanging)
        waiting = store.write(world.keep("k2"), Lane.PUBLISH)
        store.note(world.acked("k1", "ada"))
        hanging.set()
        await until(lambda: store.trouble != "")
        with pytest.raises(StoreError, match="I/O error"):
            await store.write(world.keep("k3"), Lane.PUBLISH)
        await asyncio.sleep(0.3)
        assert not first.done()  # it may heal within a moment
        assert not waiting.done()
        clock.advance(0.5)
        for future in (first, waiting):
            with pytest.raises(StoreError, match="I/O error"):
                await asyncio.wait_for(future, 20)
        assert store.waiting == {"publish": 0, "ack": 0, "bookkeeping": 1}
        faults.refused = lambda: None
        await until(lambda: not store.trouble)
        await world.settled()
        assert await world.open_keys() == []


async def test_notes_wait_for_the_end_of_the_trouble_within_their_limit(url: str) -> None:
    async with opened(url, limits=replace(FAST, notes=10)) as world:
        store = world.store
        faults = Faults(store)
        faults.before, faults.refused = [broken()], broken
        store.note(world.keep("k0"))
        await until(lambda: store.trouble != "")
        for place in range(1, 20):
            store.note(world.keep(f"k{place}"))
        assert store.counts.lost == 9
        faults.refused = lambda: None
        await world.settled()
        assert await world.open_keys() == [f"k{place}" for place in range(11)]


async def test_a_note_that_always_breaks_the_database_is_given_up_alone(url: str) -> None:
    async with opened(url) as world:
        store = world.store
        Faults(store).poison = "poison"
        for key in ("k1", "poison", "k2"):
            store.note(world.keep(key))
        await until(lambda: store.counts.lost == 1)
        await world.settled()
        assert await world.open_keys() == ["k1", "k2"]


async def test_a_database_that_heals_and_fails_again_is_given_time(sqlite_url: str) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    async with opened(sqlite_url, sleep=sleep) as world:
        store = world.store
        faults = Faults(store)
        faults.is_small = True
        store.note(world.keep("noted"))
        await until(lambda: store.counts.failures >= 20)
        faults.is_small = False
        await world.settled()
        assert await world.open_keys() == ["noted"]  # however often it was tried
        assert pauses[:4] == [0.02, 0.04, 0.08, 0.1]
        assert store.counts.lost == 0
