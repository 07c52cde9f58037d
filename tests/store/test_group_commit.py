"""Many writes share a transaction, and each is told when that is on the disk: not sooner."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hubd.clock import SystemClock
from hubd.core.stored import Keep, Lane, Schedule, Scheduled
from hubd.core.users import UserNumbers
from hubd.store.batch import Work
from hubd.store.opening import open_store
from hubd.store.sql_store import SqlStore
from hubd.store.waiting import Limits
from hubd.storing import StoreError
from hubd.tasks import Tasks
from hubd.testing import FakeClock
from tests.store.store_world import FAST, World, answer, opened, until


class Gate:
    """Stands before a store's connection and lets its commits through one by one."""

    def __init__(self, store: SqlStore) -> None:
        self.asked = 0
        self.opened = asyncio.Semaphore(0)
        self.work: list[Work] = []
        link = store._writer._link
        assert link is not None
        self._transact: Callable[[Work], Awaitable[None]] = link.transact
        link.transact = self.transact  # type: ignore[method-assign]

    async def transact(self, work: Work) -> None:
        self.asked += 1
        await self.opened.acquire()
        self.work.append(work)
        await self._transact(work)


async def test_nobody_is_told_before_the_commit(url: str) -> None:
    async with opened(url) as world:
        gate = Gate(world.store)
        write = world.store.write
        first = [write(world.keep(f"k{place}"), Lane.PUBLISH) for place in range(3)]
        await until(lambda: gate.asked == 1)
        second = [write(world.keep(f"k{place}"), Lane.PUBLISH) for place in range(3, 6)]
        await asyncio.sleep(0.02)
        assert not any(future.done() for future in [*first, *second])
        gate.opened.release()
        await asyncio.gather(*first)
        assert await world.open_keys() == ["k0", "k1", "k2"]  # as another connection sees it
        await until(lambda: gate.asked == 2)
        assert not any(future.done() for future in second)
        gate.opened.release()
        await asyncio.gather(*second)
        assert len(await world.open_keys()) == 6
        assert world.store.counts.commits == 2


async def test_what_was_answered_is_there_for_everybody(sqlite_url: str) -> None:
    """Of 64 writers none is answered before others see it: each looks by a connection of his own."""
    async with opened(sqlite_url) as world:
        path = sqlite_url.removeprefix("sqlite:///")
        with sqlite3.connect(path) as other:

            async def writer(name: int) -> None:
                for turn in range(10):
                    key = f"{name}-{turn}"
                    await world.store.write(world.keep(key), Lane.PUBLISH)
                    found = other.execute("SELECT count(*) FROM hubd_notifications WHERE key = ?", (key,)).fetchone()
                    assert found == (1,)

            await asyncio.gather(*(writer(name) for name in range(64)))
        other.close()
        counts = world.store.counts
        assert counts.writes == 640
        assert counts.commits < 64
        assert counts.batch_sizes.sum == 640


async def test_publishes_go_first_then_acks_and_the_rest_is_not_forgotten(sqlite_url: str) -> None:
    async with opened(sqlite_url, limits=Limits(batch=20, set_aside=4)) as world:
        gate = Gate(world.store)
        under_way = world.store.write(world.keep("first"), Lane.PUBLISH)
        await until(lambda: gate.asked == 1)
        order: list[str] = []
        futures = []

        def put(name: str, lane: Lane) -> None:
            futures.append(world.store.write(world.keep(name), lane))
            futures[-1].add_done_callback(lambda _: order.append(name))

        for place in range(30):
            put(f"note{place}", Lane.BOOKKEEPING)
            put(f"ack{place}", Lane.ACK)
            put(f"publish{place}", Lane.PUBLISH)
        for _ in range(99):
            gate.opened.release()
        await asyncio.gather(under_way, *futures)
        assert order[:20] == [*(f"publish{n}" for n in range(16)), "ack0", "ack1", "note0", "note1"]
        assert order[20:36] == [*(f"publish{n}" for n in range(16, 30)), "ack2", "ack3"]
        assert len(order) == 90


async def test_too_many_are_refused_at_once(sqlite_url: str) -> None:
    async with opened(sqlite_url, limits=Limits(writes=50, notes=70, bytes=10 << 20)) as world:
        gate = Gate(world.store)
        write = world.store.write
        under_way = write(world.keep("first"), Lane.PUBLISH)
        await until(lambda: gate.asked == 1)
        futures = [write(world.keep(f"k{place}"), Lane.PUBLISH) for place in range(80)]
        refused = [future for future in futures if future.done()]
        assert refused == futures[50:]
        for future in refused:
            with pytest.raises(StoreError, match="too much waits"):
                await future
        for place in range(100):
            world.store.note(world.acked("first", "ada", at=place))
        assert world.store.counts.lost == 30
        for _ in range(99):
            gate.opened.release()
        await asyncio.gather(under_way, *futures[:50])
        assert world.store.waiting_bytes == 0 or await world.settled() is None
        assert world.store.waiting_bytes == 0
        assert world.store.waiting == {"publish": 0, "ack": 0, "bookkeeping": 0}


async def test_a_backlog_is_refused_before_memory_grows(sqlite_url: str) -> None:
    async with opened(sqlite_url, limits=Limits(bytes=4 << 20)) as world:
        gate = Gate(world.store)
        under_way = world.store.write(world.keep("first"), Lane.PUBLISH)
        await until(lambda: gate.asked == 1)
        taken = refused = 0
        while not refused:
            row = world.row(f"k{taken}", body=b"{" + b"x" * 100_000)
            future = world.store.write(type(world.keep("k"))(row), Lane.PUBLISH)
            refused += future.done()
            taken += not future.done()
        assert 35 <= taken <= 42
        assert world.store.waiting_bytes <= 4 << 20
        for _ in range(99):
            gate.opened.release()
        await under_way


async def test_who_has_waited_too_long_is_told_and_it_is_not_done(sqlite_url: str) -> None:
    clock = FakeClock()
    async with opened(sqlite_url, clock) as world:
        gate = Gate(world.store)
        under_way = world.store.write(world.keep("first"), Lane.PUBLISH)
        await until(lambda: gate.asked == 1)
        late = world.store.write(world.keep("late"), Lane.PUBLISH)
        world.store.note(world.keep("noted"))
        clock.advance(4.9)
        young = world.store.write(world.keep("young"), Lane.PUBLISH)
        clock.advance(0.2)
        with pytest.raises(StoreError, match="too slow"):
            await asyncio.wait_for(late, 20)
        assert not young.done()
        assert not under_way.done()
        for _ in range(9):
            gate.opened.release()
        await asyncio.gather(under_way, young)
        await world.settled()
        assert await world.open_keys() == ["first", "young", "noted"]


async def test_whoever_goes_away_while_he_waits_leaves_nothing(sqlite_url: str) -> None:
    async with opened(sqlite_url) as world:
        gate = Gate(world.store)
        under_way = world.store.write(world.keep("first"), Lane.PUBLISH)
        await until(lambda: gate.asked == 1)
        world.store.write(world.keep("gone"), Lane.PUBLISH).cancel()
        for _ in range(9):
            gate.opened.release()
        await under_way
        await world.store.write(world.keep("next"), Lane.PUBLISH)
        assert await world.open_keys() == ["first", "next"]
        assert world.store.waiting == {"publish": 0, "ack": 0, "bookkeeping": 0}


async def test_whoever_goes_away_during_the_commit_leaves_nothing_either(url: str) -> None:
    async with opened(url) as world:
        gate = Gate(world.store)
        keep = Keep(world.row("k1"), answer=answer("mine"))
        under_way = world.store.write(keep, Lane.PUBLISH)
        scheduled = world.store.write(Schedule(Scheduled("s1", "x", 1, b"{}")), Lane.PUBLISH)
        await until(lambda: gate.asked == 1)
        under_way.cancel()
        scheduled.cancel()
        for _ in range(9):
            gate.opened.release()
        await world.store.write(world.keep("k2"), Lane.PUBLISH)
        await world.settled()
        assert await world.open_keys() == ["k2"]
        loaded = await world.store.load()
        assert (loaded.answers, loaded.scheduled) == ([], [])


async def test_a_known_audience_costs_no_look_at_each_user(sqlite_url: str, monkeypatch: Any) -> None:
    async with opened(sqlite_url) as world:
        names = [f"u{place}" for place in range(5000)]
        await world.store.write(world.keep("k1", *names), Lane.PUBLISH)
        write = world.keep("k2", *names)
        monkeypatch.setattr(world.numbers, "id_of", None)
        await world.store.write(write, Lane.PUBLISH)


async def test_a_fault_of_the_writer_itself_leaves_nobody_waiting(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, faults = UserNumbers(), []
    tasks = Tasks(lambda name, fault: faults.append((name, type(fault))))
    store = await open_store(sqlite_url, SystemClock(), numbers, tasks)
    assert isinstance(store, SqlStore)
    world = World(store, numbers)
    monkeypatch.setattr(store._queue, "take", None)
    with pytest.raises(StoreError, match="a fault of hubd's"):
        await asyncio.wait_for(store.write(world.keep("k1"), Lane.PUBLISH), 20)
    with pytest.raises(StoreError, match="a fault of hubd's"):
        await store.write(world.keep("k2"), Lane.PUBLISH)
    assert store.trouble
    await store.close(0.1)
    assert faults == [("store", TypeError)]


async def test_closing_stores_what_waits(url: str) -> None:
    async with opened(url) as world:
        for place in range(2000):
            world.store.note(world.keep(f"k{place}"))
        late = world.store.write(world.keep("late"), Lane.PUBLISH)
        await world.store.close(20)
        assert late.exception() is None
        with pytest.raises(StoreError, match="stopping"):
            await world.store.write(world.keep("too late"), Lane.PUBLISH)
        world.store.note(world.keep("too late"))
        assert world.store.counts.lost == 1
    async with opened(url, limits=FAST) as world:
        assert len(await world.open_keys()) == 2001


async def test_closing_gives_up_on_a_database_that_hangs(sqlite_url: str) -> None:
    async with opened(sqlite_url) as world:
        gate = Gate(world.store)
        waiting = [world.store.write(world.keep(f"k{place}"), Lane.PUBLISH) for place in range(3)]
        await until(lambda: gate.asked == 1)
        waiting.append(world.store.write(world.keep("behind"), Lane.PUBLISH))
        world.store.note(world.keep("noted"))
        await world.store.close(0.05)
        for future in waiting:
            assert isinstance(future.exception(), StoreError)
        assert world.store.counts.lost == 1
