"""Idempotency: once for each id, whatever comes how often, how late and at once; in bounded memory."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hubd.core.errors import Problem
from hubd.idempotency import Answered, Idempotency
from hubd.testing import FakeClock

WINDOW_S = 100.0


class Work:
    """Work that is counted, waits until it is let through, and fails if told so."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate: asyncio.Event | None = None
        self.failure: BaseException | None = None

    def of(self, name: str) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            self.done.append(name)
            if self.gate is not None:
                await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            return f"answer to {name}"

        return work


class Desk:
    """An Idempotency with a clock, and work for it."""

    def __init__(self, entries: int = 1000) -> None:
        self.clock = FakeClock()
        self.work = Work()
        self.once: Idempotency[str] = Idempotency(self.clock, WINDOW_S, entries)

    async def call(self, id: str, said: str = "", publisher: str = "backend", table: str = "") -> tuple[str, bool]:
        return await self.once.once(publisher, id, said.encode(), self.work.of(id), table=table)

    def remembered(self) -> int:
        return len(self.once)


async def test_the_second_call_gets_the_first_answer() -> None:
    desk = Desk()
    assert await desk.call("a") == ("answer to a", False)
    assert await desk.call("a") == ("answer to a", True)
    assert desk.work.done == ["a"]


async def test_another_call_with_the_id_is_a_conflict() -> None:
    desk = Desk()
    await desk.call("a", "one body")
    with pytest.raises(Problem) as caught:
        await desk.call("a", "another body")
    assert (caught.value.code, caught.value.status) == ("id_conflict", 409)
    assert await desk.call("a", "one body") == ("answer to a", True), "the first one still stands"


async def test_each_publisher_has_ids_of_his_own() -> None:
    desk = Desk()
    assert await desk.call("a", "x", publisher="key:one") == ("answer to a", False)
    assert await desk.call("a", "y", publisher="key:two") == ("answer to a", False)
    assert await desk.call("a", "y", publisher="key:two") == ("answer to a", True)


# --- At once


async def test_a_hundred_at_once_are_one() -> None:
    desk = Desk()
    desk.work.gate = asyncio.Event()
    calls = [asyncio.ensure_future(desk.call("a")) for _ in range(100)]
    await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    desk.work.gate.set()
    answers = await asyncio.gather(*calls)
    assert desk.work.done == ["a"]
    assert sorted(duplicate for _, duplicate in answers) == [False] + [True] * 99
    assert {answer for answer, _ in answers} == {"answer to a"}


async def test_a_conflict_is_told_while_the_first_still_works() -> None:
    desk = Desk()
    desk.work.gate = asyncio.Event()
    first = asyncio.ensure_future(desk.call("a", "x"))
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="was used for another"):
        await desk.call("a", "y")
    desk.work.gate.set()
    assert await first == ("answer to a", False)


async def test_who_waits_and_gives_up_harms_nobody() -> None:
    desk = Desk()
    desk.work.gate = asyncio.Event()
    first, second, third = (asyncio.ensure_future(desk.call("a")) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    desk.work.gate.set()
    assert await first == ("answer to a", False)
    assert await third == ("answer to a", True)


# --- Failures


async def test_a_failure_is_told_to_all_who_wait_and_not_remembered() -> None:
    desk = Desk()
    desk.work.gate, desk.work.failure = asyncio.Event(), Problem("unavailable", "not now")
    calls = [asyncio.ensure_future(desk.call("a")) for _ in range(3)]
    await asyncio.sleep(0)
    desk.work.gate.set()
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(answer, Problem) and answer.code == "unavailable"
    assert desk.remembered() == 0
    desk.work.failure = None
    assert await desk.call("a", "even another body") == ("answer to a", False)


async def test_a_failure_that_nobody_waits_for_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.work.failure = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        await desk.call("a")
    assert caplog.records == []


async def test_when_the_first_is_cancelled_the_others_are_told_to_try_again() -> None:
    desk = Desk()
    desk.work.gate = asyncio.Event()
    first, second = asyncio.ensure_future(desk.call("a")), asyncio.ensure_future(desk.call("a"))
    await asyncio.sleep(0)
    first.cancel()
    answers = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert isinstance(answers[1], Problem)
    assert (answers[1].code, answers[1].retry_after) == ("unavailable", 1.0)
    desk.work.gate.set()
    assert await desk.call("a") == ("answer to a", False)


# --- How long, and how many


async def test_an_id_is_remembered_for_the_window() -> None:
    desk = Desk()
    await desk.call("a")
    desk.clock.advance(WINDOW_S - 0.001)
    assert await desk.call("a") == ("answer to a", True)
    desk.clock.advance(0.001)
    assert await desk.call("a") == ("answer to a", False)


async def test_a_repetition_doesnt_begin_the_window_anew() -> None:
    desk = Desk()
    await desk.call("a")
    desk.clock.advance(WINDOW_S / 2)
    assert await desk.call("a") == ("answer to a", True)
    desk.clock.advance(WINDOW_S / 2)
    assert await desk.call("a") == ("answer to a", False)


async def test_what_is_too_old_is_let_go_whatever_is_called() -> None:
    desk = Desk()
    for place in range(10):
        await desk.call(f"n{place}")
    desk.clock.advance(WINDOW_S)
    await desk.call("x")
    assert desk.remembered() == 1


async def test_the_window_begins_with_the_answer() -> None:
    desk = Desk()
    desk.work.gate = asyncio.Event()
    first = asyncio.ensure_future(desk.call("a"))
    await asyncio.sleep(0)
    desk.clock.advance(WINDOW_S / 2)
    desk.work.gate.set()
    await first
    desk.clock.advance(WINDOW_S / 2)
    assert await desk.call("a") == ("answer to a", True)


async def test_what_is_too_old_is_let_go_when_it_is_time_in_every_table() -> None:
    desk = Desk()
    await desk.call("a", table="one")
    desk.clock.advance(1)
    await desk.call("b", table="two")
    desk.clock.advance(WINDOW_S - 1)
    desk.once.expire()
    assert desk.remembered() == 1
    assert (await desk.call("b", table="two"))[1] is True
    desk.clock.advance(1)
    desk.once.expire()
    assert desk.remembered() == 0
    assert not desk.once._tables
    desk.once.expire()


async def test_one_table_pushes_nothing_out_of_another() -> None:
    desk = Desk(entries=2)
    await desk.call("a", publisher="key:backend", table="servers")
    for place in range(10):
        await desk.call(f"n{place}", publisher="user:ada", table="clients")
    assert desk.remembered() == 3
    assert await desk.call("a", publisher="key:backend", table="servers") == ("answer to a", True)


async def test_so_many_are_remembered_and_the_oldest_goes_first() -> None:
    desk = Desk(entries=3)
    for id in "abc":
        await desk.call(id)
    assert [(await desk.call(id))[1] for id in "abc"] == [True, True, True]
    await desk.call("d")
    assert desk.remembered() == 3
    assert [(await desk.call(id))[1] for id in "bcd"] == [True, True, True]
    assert (await desk.call("a"))[1] is False


async def test_only_the_last_of_all() -> None:
    desk = Desk(entries=1)
    assert [(await desk.call(id))[1] for id in "aabb"] == [False, True, False, True]
    assert desk.remembered() == 1


async def test_what_somebody_may_be_waiting_for_is_not_forgotten() -> None:
    desk = Desk(entries=1)
    desk.work.gate = asyncio.Event()
    first = asyncio.ensure_future(desk.call("a"))
    await asyncio.sleep(0)
    other = asyncio.ensure_future(desk.call("b"))
    await asyncio.sleep(0)
    desk.clock.advance(WINDOW_S)
    second = asyncio.ensure_future(desk.call("a"))
    await asyncio.sleep(0)
    desk.work.gate.set()
    assert [await call for call in (first, other, second)] == [
        ("answer to a", False),
        ("answer to b", False),
        ("answer to a", True),
    ]
    await desk.call("c")
    assert desk.remembered() == 1


async def test_publishers_of_one_table_share_its_room_but_not_their_ids() -> None:
    desk = Desk(entries=2)
    for user in ("ada", "bob", "cyd"):
        assert (await desk.call("x", user, publisher=user, table="users"))[1] is False
    assert desk.remembered() == 2
    assert (await desk.call("x", "cyd", publisher="cyd", table="users"))[1] is True
    assert (await desk.call("x", "ada", publisher="ada", table="users"))[1] is False


async def test_a_failure_leaves_nothing_behind() -> None:
    desk = Desk()
    desk.work.failure = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        await desk.call("a")
    assert not desk.once._tables and not desk.once.under_way


async def test_one_that_takes_long_doesnt_keep_others_from_being_forgotten() -> None:
    desk = Desk(entries=2)
    gate = desk.work.gate = asyncio.Event()
    slow = asyncio.ensure_future(desk.call("slow"))
    await asyncio.sleep(0)
    desk.work.gate = None
    for place in range(10):
        await desk.call(f"n{place}")
    assert desk.remembered() == 2
    gate.set()
    assert await slow == ("answer to slow", False)
    assert desk.remembered() == 2
    assert (await desk.call("slow"))[1] is True


# --- Put back, as after a restart


async def test_what_is_put_back_is_as_it_was() -> None:
    desk = Desk(entries=3)
    for id in ("a", "b"):
        await desk.call(id)
        desk.clock.advance(10)
    await desk.call("a", publisher="user:ada", table="users")
    later = Desk(entries=3)
    later.clock.advance(20)
    for table, key, known in desk.once.answered():
        later.once.put_back(table, key, known)
    assert await later.call("a") == ("answer to a", True)
    assert await later.call("a", publisher="user:ada", table="users") == ("answer to a", True)
    assert later.work.done == []
    with pytest.raises(Problem):
        await later.call("b", "other")
    later.clock.advance(WINDOW_S - 10 - 10)
    assert await later.call("a") == ("answer to a", False)
    assert await later.call("b") == ("answer to b", True)


async def test_what_is_under_way_has_no_answer_to_be_put_back() -> None:
    desk = Desk()
    desk.work.gate = asyncio.Event()
    call = asyncio.ensure_future(desk.call("a"))
    await asyncio.sleep(0)
    assert [*desk.once.answered()] == []
    desk.work.gate.set()
    await call
    assert [(table, key) for table, key, _ in desk.once.answered()] == [("", ("backend", "a"))]


async def test_one_that_is_put_back_in_place_of_an_older_one_goes_last() -> None:
    clock = FakeClock()
    once: Idempotency[str] = Idempotency(clock, WINDOW_S, 2)
    for id in ("a", "b", "a"):
        clock.advance(1)
        once.put_back("t", ("p", id), Answered(b"", f"{id} at {clock.monotonic():g}", clock.monotonic()))
    assert [(key[1], known.answer) for _, key, known in once.answered()] == [("b", "b at 1002"), ("a", "a at 1003")]
    clock.advance(WINDOW_S - 1)
    once.expire()
    assert [key[1] for _, key, _ in once.answered()] == ["a"]
