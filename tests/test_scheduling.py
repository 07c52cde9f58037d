"""Scheduled notifications: each goes out once, at its time, whatever happens meanwhile."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from hubd.config import Config
from hubd.config_options import Limits
from hubd.core.errors import Problem
from hubd.core.stored import Keep, Schedule
from hubd.scheduling import AT_ONCE, IN_A_STEP, LATE_S
from hubd.testing import FakeClock, ToyBroker, make_hub
from tests.scheduling_world import ids, life
from tests.steered_store import SteeredStore

HOUR = 3600.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# --- At its time


async def test_it_is_on_the_disk_before_its_answer_and_goes_out_at_its_time(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        at = one.now_ms + 3_600_000
        receipt, duplicate = await one.publish(in_s=HOUR, id="later", ttl=60)
        assert (receipt.id, receipt.cursor, receipt.live, duplicate) == ("later", one.hub.attendance.cursor(), 0, False)
        (stored,) = (await one.store.load()).scheduled
        assert (stored.id, stored.deliver_at, orjson.loads(stored.call)["to"]) == (
            "later",
            at,
            ["user:ada:notifications"],
        )
        await one.let_pass(HOUR - 0.001)
        assert ids(ada) == [] and len(one.hub.scheduling) == 1
        await one.let_pass(0.001)
        (frame,) = ada.notifications()
        assert frame["id"] == "later" and frame["type"] == "alert" and frame["sent_at"] == at
        assert len(one.hub.scheduling) == one.hub.scheduling.bytes == 0
        assert await one.scheduled() == []
        notification = one.hub.rings.find("later", clock.monotonic())
        assert notification is not None and notification.expires_at == clock.monotonic() + 60
        assert one.hub.scheduling.ended == {"out": 1}


@pytest.mark.parametrize("in_s", [-HOUR, 0.0, -(10.0**9)])
async def test_what_lies_in_the_past_goes_out_at_once(tmp_path: Path, clock: FakeClock, in_s: float) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        receipt, _ = await one.publish(in_s=in_s)
        one._soon.settle()
        assert receipt.live == 1 and ids(ada) == [receipt.id]
        assert not any(isinstance(write, Schedule) for write in one.store.told)


async def test_those_of_one_moment_go_out_in_the_order_of_their_times(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        for place in range(3 * AT_ONCE):
            await one.publish(in_s=HOUR - place, id=f"n{place}")
        await one.let_pass(2 * HOUR)
        assert ids(ada) == [f"n{place}" for place in reversed(range(3 * AT_ONCE))]


async def test_who_gets_it_is_decided_when_it_goes_out(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        bob = one.connect("bob", "team:red")
        await one.publish("team:red", in_s=HOUR, id="n")
        ada = one.connect("ada", "team:red")
        one.hub.lost(bob)
        await one.let_pass(HOUR)
        assert (ids(ada), ids(bob)) == (["n"], [])


async def test_a_timer_wakes_it(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        timers: list[tuple[float, object]] = []

        class Handle:
            def cancel(self) -> None:
                timers.remove(self.entry)

        def call_later(seconds: float, function: object) -> Handle:
            handle = Handle()
            handle.entry = (seconds, function)  # type: ignore[attr-defined]
            timers.append(handle.entry)  # type: ignore[attr-defined]
            return handle

        one.hub.scheduling._call_later = call_later  # type: ignore[assignment]
        await one.publish(in_s=30)
        await one.publish(in_s=10)
        await one.publish(in_s=20)
        assert [seconds for seconds, _ in timers] == [pytest.approx(10)]
        clock.advance(10)
        timers.pop()[1]()  # type: ignore[operator]
        await one.settle()
        assert one.hub.scheduling.ended["out"] == 1 and [seconds for seconds, _ in timers] == [pytest.approx(10)]
        one.hub.scheduling.stop()
        assert timers == []


async def test_the_wall_clock_can_be_set(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        await one.publish(in_s=HOUR)
        clock._now -= 2 * HOUR
        await one.let_pass(HOUR)
        assert len(one.hub.scheduling) == 1
        clock._now += 2 * HOUR
        await one.let_pass(1)
        assert one.hub.scheduling.ended == {"out": 1}


# --- The id


async def test_the_same_call_again_is_a_duplicate_and_another_one_a_conflict(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        at = {"deliver_at": one.now_ms + 7_200_000}
        first = await one.publish(id="x", **at)
        assert await one.publish(id="x", **at) == (first[0], True)
        for other in ({"deliver_at": at["deliver_at"] + 1}, {}, {**at, "ttl": 1}):
            with pytest.raises(Problem, match="was used for another") as caught:
                await one.publish(id="x", **other)
            assert caught.value.code == "id_conflict"
    async with life(tmp_path, clock, seed=2) as two:  # the answer is as it was
        assert await two.publish(id="x", **at) == (first[0], True)
        clock._now += 1.5 * two.hub.config.limits.id_window_s
        clock._monotonic += 1.5 * two.hub.config.limits.id_window_s
        two.hub._answers.expire()
        assert await two.publish(id="x", **at) == (first[0], True)  # as long as it hasn't gone out
        assert len(two.hub.scheduling) == 1


async def test_the_id_counts_on_when_it_has_gone_out(tmp_path: Path, clock: FakeClock) -> None:
    window_s = Config().limits.id_window_s
    async with life(tmp_path, clock, seed=1) as one:
        at = {"deliver_at": one.now_ms + int(2000 * window_s), "ttl": 10 * window_s}
        first = await one.publish(id="x", **at)
        await one.let_pass(2 * window_s)
        assert one.hub.scheduling.ended == {"out": 1}
        await one.let_pass(0.9 * window_s)
        assert await one.publish(id="x", **at) == (first[0], True)
        assert await one.scheduled() == []
    async with life(tmp_path, clock, seed=2) as two:
        assert await two.publish(id="x", **at) == (first[0], True)


async def test_calls_at_the_same_time_schedule_once(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        answers = await asyncio.gather(*(one.publish(in_s=5, id="x") for _ in range(20)))
        assert sorted(duplicate for _, duplicate in answers) == [False] + 19 * [True]
        assert len(one.hub.scheduling) == 1 == len(await one.scheduled())


# --- Limits


async def test_a_bounded_number_is_scheduled(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1, config=Config(limits=Limits(scheduled=3))) as one:
        results = await asyncio.gather(*(one.publish(in_s=5) for _ in range(5)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, Problem)]
        assert [(problem.code, problem.retry_after) for problem in refused] == 2 * [("rate_limited", 10.0)]
        assert "[limits] scheduled" in refused[0].message
        assert len(await one.scheduled()) == 3
        await one.let_pass(5)
        await one.publish(in_s=5)


async def test_their_bytes_are_bounded_too(tmp_path: Path, clock: FakeClock) -> None:
    config = Config(limits=Limits(scheduled_bytes=30_000))
    async with life(tmp_path, clock, seed=1, config=config) as one:
        large = {"type": "alert", "text": 10_000 * "x"}
        for _ in range(2):
            await one.publish(in_s=5, notification=large)
        with pytest.raises(Problem) as caught:
            await one.publish(in_s=5, notification=large)
        assert caught.value.code == "rate_limited"
        assert 20_000 < one.hub.scheduling.bytes < 30_000
        await one.let_pass(5)
        assert one.hub.scheduling.bytes == 0


# --- Trouble


async def test_what_cannot_be_stored_is_refused_and_forgotten(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        one.store.fails = lambda write: isinstance(write, Schedule)
        with pytest.raises(Problem) as caught:
            await one.publish(in_s=5, id="x")
        assert (caught.value.code, caught.value.retry_after) == ("unavailable", 2.0)
        assert len(one.hub.scheduling) == one.hub.scheduling.bytes == 0 == len(await one.scheduled())
        one.store.fails = lambda write: False
        assert (await one.publish(in_s=5, id="x"))[1] is False


async def test_one_that_cannot_go_out_is_tried_again(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        await one.publish(in_s=5, id="x", ttl=100)
        one.store.fails = lambda write: isinstance(write, Keep)
        tries = []
        for _ in range(40):
            await one.let_pass(1)
            tries.append(sum(isinstance(write, Keep) for write in one.store.told))
        assert tries[3:13] == [0, 1, 2, 2, 3, 3, 3, 3, 4, 4] and tries[-1] == 6  # after 1, 2, 4, 8 ... s
        assert ids(ada) == [] and len(one.hub.delivering.ledger) == 0 and +one.hub.delivering.delivery.tally == {}
        one.store.fails = lambda write: False
        await one.let_pass(40)
        assert ids(ada) == ["x"] and await one.scheduled() == []
        (kept,) = await one.rows("x") or [None]
        assert kept is None or kept.row.id == "x"
        notification = one.hub.rings.find("x", clock.monotonic())
        assert notification is not None and notification.expires_at == pytest.approx(clock.monotonic() + 100 - 75)


async def test_while_the_store_is_in_trouble_nothing_is_tried(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        for place in range(2 * AT_ONCE):
            await one.publish(in_s=5, id=f"n{place}")
        one.store.trouble = "the disk is full"
        await one.let_pass(10)
        assert not any(isinstance(write, Keep) for write in one.store.told)
        one.store.trouble = ""
        await one.let_pass(1)
        assert one.hub.scheduling.ended == {"out": 2 * AT_ONCE}


async def test_when_its_ttl_is_over_it_is_given_up(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        await one.publish(in_s=5, ttl=10, id="x")
        one.store.fails = lambda write: isinstance(write, Keep)
        for _ in range(30):
            await one.let_pass(1)
        one.store.fails = lambda write: False
        await one.let_pass(60)
        assert one.hub.scheduling.ended == {"expired": 1} and ids(ada) == []
        assert await one.scheduled() == []


@pytest.mark.parametrize(("late_s", "end"), [(LATE_S, "out"), (LATE_S + 1, "expired")])
async def test_one_for_now_or_never_may_be_a_little_late(
    tmp_path: Path, clock: FakeClock, late_s: float, end: str
) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        await one.publish(in_s=5, ttl=0, id="x")
        await one.let_pass(5 + late_s)
        assert one.hub.scheduling.ended == {end: 1}
        assert ids(ada) == (["x"] if end == "out" else [])
        assert one.hub.rings.find("x", clock.monotonic()) is None


async def test_one_in_doubt_is_stored_once(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        ada = one.connect("ada")
        await one.publish(in_s=5, id="x", persistence="persistent")
        one.store.doubts = lambda write: isinstance(write, Keep)
        for _ in range(10):
            await one.let_pass(1)
        assert sum(isinstance(write, Keep) for write in one.store.told) == 3 and ids(ada) == []
        one.store.doubts = lambda write: False
        await one.let_pass(60)
        assert ids(ada) == ["x"] and len(await one.rows("x")) == 1


async def test_nothing_starts_while_the_hub_stops(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        await one.publish(in_s=5, id="x")
        one.hub.stopping = True
        await one.let_pass(10)
        assert len(one.hub.scheduling) == 1 == len(await one.scheduled())
    async with life(tmp_path, clock, seed=2) as two:
        ada = two.connect("ada")
        await two.let_pass(1)
        assert ids(ada) == ["x"]


# --- Over a restart


async def test_all_of_a_call_survives(tmp_path: Path, clock: FakeClock) -> None:
    text = 'é"\\\u2028\n' + "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")
    said = {
        "notification": {"type": "alert", "text": text, "n": [1.5, 2**62, None, {"a": True}]},
        "priority": "critical",
        "persistence": "persistent",
        "ttl": 12.5,
        "collapse_key": "c",
        "group": "g",
    }
    async with life(tmp_path, clock, seed=1) as one:
        await one.publish(["team:red", "user:ada"], in_s=HOUR, id="x", **said)
        (before,) = one.hub.scheduling
        body = {"to": ["team:red", "user:ada"], "deliver_at": before.deliver_at, "id": "x", **said}
        assert before.draft == one.hub.prepare(body)
    async with life(tmp_path, clock, seed=2) as two:
        (after,) = two.hub.scheduling
        assert after.draft == before.draft and after.draft.fingerprint() == before.draft.fingerprint()
        assert (after.key, after.asked, after.receipt) == (before.key, before.asked, before.receipt)
        ada = two.connect("ada")
        await two.let_pass(HOUR)
        (frame,) = ada.notifications()
        assert {name: frame[name] for name in said["notification"]} == said["notification"]
        assert (frame["priority"], frame["channel"]) == ("critical", "user:ada:notifications")


async def test_what_came_due_meanwhile_goes_out_in_order(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        for in_s in (30, 10, 20, 40, HOUR):
            await one.publish(in_s=in_s, id=f"n{in_s:g}", ttl=100)
        await one.publish(in_s=5, id="over", ttl=1)
    clock.advance(50)
    async with life(tmp_path, clock, seed=2) as two:
        ada = two.connect("ada")
        await two.let_pass(0)
        assert ids(ada) == ["n10", "n20", "n30", "n40"]
        assert [call.asked.id for call in two.hub.scheduling] == ["n3600"]
        assert [stored.id for stored in await two.scheduled()] == ["n3600"]
        left_s = {frame["id"]: two.hub.rings.find(frame["id"], clock.monotonic()) for frame in ada.notifications()}
        assert {id: round(found.expires_at - clock.monotonic()) for id, found in left_s.items() if found} == {
            "n10": 60, "n20": 70, "n30": 80, "n40": 90,
        }  # fmt: skip


async def test_one_that_was_just_going_out_goes_out_once(tmp_path: Path, clock: FakeClock) -> None:
    """It is on the disk as a notification, and the hub ends before anybody got it."""
    go = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await go.wait()

    async with life(tmp_path, clock, seed=1, broker=ToyBroker(sleep=sleep)) as one:
        await one.publish(in_s=5, id="x", persistence="persistent", priority="critical")
        clock.advance(5)
        one.hub.maintain()
        while not await one.rows("x"):
            await asyncio.sleep(0.002)
        assert await one.scheduled() == []
        assert len(one.hub.scheduling) == 1  # as far as this hub knows
    async with life(tmp_path, clock, seed=2) as two:
        assert len(two.hub.scheduling) == 0 and len(await two.rows("x")) == 1
        assert two.hub.rings.find("x", clock.monotonic()) is not None
        await two.let_pass(5)
        assert [id for _, id, user in two.pusher.pushed] == ["x"]


async def test_very_many_that_end_without_waiting_end_a_few_at_a_time() -> None:
    hub, clock, _ = make_hub(store=SteeredStore())
    scheduling, later = hub.scheduling, []

    class Timer:
        def cancel(self) -> None:
            later.clear()

    def call_later(seconds: float, function: Callable[[], None]) -> Timer:
        if not seconds:
            later.append(function)
        return Timer()

    scheduling._call_later = call_later
    at = int((clock.now() + 100) * 1000)
    for _ in range(2 * IN_A_STEP + 5):
        body = {"to": "user:ada", "notification": {"type": "a"}, "ttl": 60, "deliver_at": at}
        await hub.publish(hub.prepare(body), "key:k")
    clock.advance(1000)
    scheduling.wake()
    for left in (IN_A_STEP + 5, 5):
        scheduling.wake()  # by whomever else: that is no step of its own
        assert len(scheduling) == left
        (go_on,) = later
        later.clear()
        go_on()
    assert not later
    assert scheduling.ended == {"expired": 2 * IN_A_STEP + 5}
