"""Scheduled notifications that are cancelled: they never go out, or have gone out."""

import asyncio
from pathlib import Path

import pytest

from hubd.core.errors import Problem
from hubd.core.stored import Close, Keep, Unschedule
from hubd.testing import FakeClock
from tests.scheduling_world import Life, ids, life, until

HOUR = 3600.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def cancel(one: Life, id: str) -> bool:
    (call,) = one.hub.scheduling.find(id)
    return await one.hub.scheduling.cancel(call)


async def test_one_that_is_cancelled_never_goes_out(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        first = await one.publish(in_s=5, id="x", ttl=1000)
        at = {"deliver_at": one.now_ms + 5000, "ttl": 1000}
        assert await cancel(one, "x") is True
        assert (await one.store.load()).scheduled == []
        assert one.hub.scheduling.find("x") == () and one.hub.scheduling.bytes == 0
        await one.let_pass(10)
        assert ids(ada) == [] and one.hub.scheduling.ended == {"cancelled": 1}
        assert await one.publish(id="x", **at) == (first[0], True)  # its id is used
        assert await one.scheduled() == []
    async with life(tmp_path, clock, seed=2) as two:
        ada = two.connect("ada")
        assert await two.publish(id="x", **at) == (first[0], True)
        await two.let_pass(10)
        assert ids(ada) == []


async def test_one_that_cannot_be_cancelled_goes_out(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        await one.publish(in_s=5, id="x")
        one.store.fails = lambda write: isinstance(write, Unschedule)
        with pytest.raises(Problem) as caught:
            await cancel(one, "x")
        assert caught.value.code == "unavailable"
        await one.let_pass(5)
        assert ids(ada) == ["x"]


async def test_due_while_it_is_being_cancelled(tmp_path: Path, clock: FakeClock) -> None:
    for fails in (False, True):
        async with life(tmp_path, clock, seed=1 + fails) as one:
            ada = one.connect("ada")
            await one.publish(in_s=5, id=f"x{fails}")
            one.store.gate = asyncio.Event()
            one.store.fails = lambda write, fails=fails: isinstance(write, Unschedule) and fails  # type: ignore[misc]
            cancelling = asyncio.ensure_future(cancel(one, f"x{fails}"))
            await asyncio.sleep(0)
            await one.let_pass(10)
            assert ids(ada) == []
            one.store.gate.set()
            if fails:
                with pytest.raises(Problem):
                    await cancelling
            else:
                assert await cancelling is True
            await one.let_pass(1)
            assert ids(ada) == ([f"x{fails}"] if fails else [])


async def test_cancelled_while_it_is_going_out(tmp_path: Path, clock: FakeClock) -> None:
    """Then it is gone out, if that works, and is cancelled else."""
    for fails in (False, True):
        async with life(tmp_path, clock, seed=1 + fails) as one:
            ada = one.connect("ada")
            await one.publish(in_s=5, id=f"x{fails}")
            one.store.gate = asyncio.Event()
            one.store.fails = lambda write, fails=fails: isinstance(write, Keep) and fails  # type: ignore[misc]
            clock.advance(5)
            one.hub.maintain()
            await until(lambda one=one: any(isinstance(write, Keep) for write in one.store.told))  # type: ignore[misc]
            cancelling = [asyncio.ensure_future(cancel(one, f"x{fails}")) for _ in range(3)]
            await asyncio.sleep(0)
            one.store.gate.set()
            assert await asyncio.gather(*cancelling) == 3 * [fails]
            await one.let_pass(10)
            assert ids(ada) == ([] if fails else [f"x{False}"])
            assert one.hub.scheduling.ended == ({"cancelled": 1} if fails else {"out": 1})
            assert await one.scheduled() == []


async def test_cancelled_when_it_was_in_doubt_whether_it_is_out(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        await one.publish(in_s=5, id="x", persistence="persistent")
        one.store.doubts = lambda write: isinstance(write, Keep)
        await one.let_pass(5)
        assert len(await one.rows("x")) == 1
        assert await cancel(one, "x") is True
        assert await one.rows("x") == []
        assert any(isinstance(write, Close) for write in one.store.told)
    async with life(tmp_path, clock, seed=2) as two:
        ada = two.connect("ada")
        await two.let_pass(60)
        assert ids(ada) == [] and two.hub.rings.find("x", clock.monotonic()) is None


async def test_any_race_of_due_and_cancel_has_one_end(tmp_path: Path, clock: FakeClock) -> None:
    """Both begin within a few turns of the loop, in any order."""
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        cancelled = []
        for place in range(60):
            await one.publish(in_s=5, id=f"n{place}")
            (call,) = one.hub.scheduling.find(f"n{place}")
            clock.advance(5)

            async def later(turns: int) -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                one.hub.maintain()

            due = asyncio.ensure_future(later(place % 12))
            for _ in range(place // 12):
                await asyncio.sleep(0)
            if await one.hub.scheduling.cancel(call):
                cancelled.append(f"n{place}")
            await due
            await one.settle()
        assert 0 < len(cancelled) < 60
        assert sorted(ids(ada) + cancelled) == sorted(f"n{place}" for place in range(60))
        assert await one.scheduled() == []


async def test_tried_again_while_it_is_being_cancelled(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        await one.publish(in_s=5, id="x")
        one.store.fails = lambda write: isinstance(write, Keep)
        await one.let_pass(5)
        one.store.fails = lambda write: False
        one.store.gate = asyncio.Event()
        cancelling = asyncio.ensure_future(cancel(one, "x"))
        await asyncio.sleep(0)
        clock.advance(10)
        one.hub.maintain()
        assert one.hub.scheduling.under_way == 0
        one.store.gate.set()
        assert await cancelling is True
        await one.let_pass(10)
        assert ids(ada) == [] and one.hub.scheduling.ended == {"cancelled": 1}


async def test_many_that_are_cancelled_leave_nothing(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        for _ in range(30):
            await asyncio.gather(*(one.publish(in_s=HOUR, id=f"n{place}") for place in range(100)))
            calls = list(one.hub.scheduling)
            assert all(await asyncio.gather(*(one.hub.scheduling.cancel(call) for call in calls)))
            one.hub._answers._tables.clear()
        assert len(one.hub.scheduling) == 0 and len(one.hub.scheduling._due) <= 2100
