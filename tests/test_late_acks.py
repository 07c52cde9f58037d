"""Acks of what memory doesn't know any more end up with the row that the store still has."""

import asyncio
import gc
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

import hubd.late_acks
from hubd.core.errors import Problem
from hubd.core.stored import Fact, Lane, Note, Write
from hubd.core.users import UserSet
from hubd.late_acks import LateAcks
from hubd.storing import StoreError, Written, all_written
from hubd.testing import FakeClock

ADA, BOB = 1, 2


class Shelf:
    """The store, as far as late acks need it: ``keys`` of what is found, and ``notes`` that were written."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.asked: list[tuple[list[str], int]] = []
        self.notes: list[tuple[Write, Lane]] = []
        self.read: asyncio.Event | None = None
        self.refuses = False

    async def find_meant(self, ids: Sequence[str], number: int) -> Sequence[str]:
        self.asked.append((list(ids), number))
        if self.read is not None:
            await self.read.wait()
        return self.keys

    def write(self, write: Write, lane: Lane) -> Written:
        self.notes.append((write, lane))
        written: Written = asyncio.get_running_loop().create_future()
        if self.refuses:
            written.set_exception(StoreError("the disk is full"))
        else:
            written.set_result(None)
        return written


def run(work: Coroutine[Any, Any, Any], name: str) -> None:
    asyncio.get_running_loop().create_task(work, name=name)


def late(shelf: Shelf) -> LateAcks:
    return LateAcks(shelf, FakeClock(), run)  # type: ignore[arg-type]


async def test_it_is_written_to_each_row_and_then_confirmed() -> None:
    shelf = Shelf("k1", "k2")
    await all_written([late(shelf).write(["x", "y"], ADA, "c1")])
    now = int(FakeClock().now() * 1000)
    assert shelf.asked == [(["x", "y"], ADA)]
    assert shelf.notes == [(Note(Fact(key, "acked", UserSet((ADA,)), now, "c1")), Lane.ACK) for key in ("k1", "k2")]


async def test_what_there_is_nothing_of_is_confirmed_and_writes_nothing() -> None:
    shelf = Shelf()
    await all_written([late(shelf).write([f"n{number}" for number in range(1000)], ADA, "")])
    assert shelf.notes == [] and len(shelf.asked) == 1


async def test_what_can_be_no_id_isnt_looked_up() -> None:
    shelf = Shelf("k")
    await all_written([late(shelf).write(["", "a b", "x" * 129], ADA, "")])
    assert shelf.asked == []


async def test_repeating_it_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubd.late_acks, "KEPT", 2)
    shelf = Shelf("k")
    acks = late(shelf)
    for ids in (["x"], ["x"], ["x", "y"], ["z"], ["x"]):
        await all_written([acks.write(ids, ADA, "")])
    assert [ids for ids, _ in shelf.asked] == [["x"], ["y"], ["z"], ["x"]]
    await all_written([acks.write(["x"], BOB, "")])
    assert shelf.asked[-1] == (["x"], BOB)


async def test_it_isnt_confirmed_before_it_is_looked_up() -> None:
    shelf = Shelf("k")
    shelf.read = asyncio.Event()
    written = late(shelf).write(["x"], ADA, "")
    await asyncio.sleep(0.01)
    assert not written.done()
    shelf.read.set()
    await written


async def test_one_call_is_looked_up_at_a_time() -> None:
    shelf = Shelf("k")
    shelf.read = asyncio.Event()
    acks = late(shelf)
    two = [acks.write([id], ADA, "") for id in ("x", "y")]
    await asyncio.sleep(0.01)
    assert len(shelf.asked) == 1
    shelf.read.set()
    await all_written(two)
    assert len(shelf.asked) == 2


async def test_a_store_that_fails_is_told_and_asked_again() -> None:
    shelf = Shelf("k")
    shelf.refuses = True
    acks = late(shelf)
    with pytest.raises(Problem, match="the disk is full"):
        await all_written([acks.write(["x"], ADA, "")])
    shelf.refuses = False
    await all_written([acks.write(["x"], ADA, "")])
    assert len(shelf.asked) == 2


async def test_a_store_that_doesnt_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubd.late_acks, "FIND_S", 0.01)
    shelf = Shelf("k")
    shelf.read = asyncio.Event()
    with pytest.raises(Problem, match="takes too long"):
        await all_written([late(shelf).write(["x"], ADA, "")])


async def test_a_stop_confirms_nothing() -> None:
    shelf = Shelf("k")
    shelf.read = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []
    acks = LateAcks(shelf, FakeClock(), lambda work, name: tasks.append(asyncio.ensure_future(work)))  # type: ignore[arg-type]
    written = acks.write(["x"], ADA, "")
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    with pytest.raises(Problem, match="stopping"):
        await all_written([written])
    assert shelf.notes == []


async def test_so_many_calls_wait(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(hubd.late_acks, "CALLS", 2)
    shelf = Shelf("k")
    shelf.read = asyncio.Event()
    acks = late(shelf)
    two = [acks.write([id], ADA, "") for id in ("x", "y")]
    with pytest.raises(Problem, match="at a time"):
        await all_written([acks.write(["z"], ADA, "")])
    acks.write(["z"], ADA, "")  # nobody waits for that one
    shelf.read.set()
    await all_written(two)
    await all_written([acks.write(["z"], ADA, "")])
    gc.collect()
    assert "never retrieved" not in caplog.text
