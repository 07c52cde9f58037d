"""Acks of what memory doesn't know any more end up with the row that the store still has."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

import hubd.late_acks
from hubd.core.errors import Problem
from hubd.core.stored import Fact, Kept, Lane, Note, Row, Write
from hubd.core.users import UserSet
from hubd.late_acks import LateAcks
from hubd.storing import StoreError, Written, all_written
from hubd.testing import FakeClock

ADA, BOB = 1, 2


class Shelf:
    """The store, as far as late acks need it: ``rows`` that are found, and ``notes`` that were written."""

    def __init__(self, *rows: Kept) -> None:
        self.rows = rows
        self.notes: list[tuple[Write, Lane]] = []
        self.read: asyncio.Event | None = None
        self.refuses = False

    async def find(self, id: str) -> Sequence[Kept]:
        if self.read is not None:
            await self.read.wait()
        return [kept for kept in self.rows if kept.row.id == id]

    def write(self, write: Write, lane: Lane) -> Written:
        self.notes.append((write, lane))
        written: Written = asyncio.get_running_loop().create_future()
        if self.refuses:
            written.set_exception(StoreError("the disk is full"))
        else:
            written.set_result(None)
        return written


def a_row(*numbers: int, facts: Sequence[Fact] = (), key: str = "k") -> Kept:
    users = UserSet(numbers)
    row = Row(key, "x", b"{", ("user:ada:notifications",), "persistent", 0, 1, None, None, (), users, users, 0)
    return Kept(row, tuple(facts), False)


def run(work: Coroutine[Any, Any, Any], name: str) -> None:
    asyncio.get_running_loop().create_task(work, name=name)


def late(shelf: Shelf) -> LateAcks:
    return LateAcks(shelf, FakeClock(), run)  # type: ignore[arg-type]


async def test_it_is_written_to_the_row_and_then_confirmed() -> None:
    shelf = Shelf(a_row(ADA))
    await all_written([late(shelf).write("x", ADA, "c1")])
    fact = Fact("k", "acked", UserSet((ADA,)), int(FakeClock().now() * 1000), "c1")
    assert shelf.notes == [(Note(fact), Lane.ACK)]


@pytest.mark.parametrize(
    "kept",
    [
        a_row(BOB),
        a_row(ADA, facts=[Fact("k", "acked", UserSet((ADA,)), 1)]),
        a_row(ADA, facts=[Fact("k", "held", UserSet((ADA,)), 1, "dnd")]),
        a_row(ADA, facts=[Fact("k", "dropped", UserSet((ADA,)), 1, "muted")]),
    ],
)
async def test_nothing_is_written_where_it_isnt_his_or_known_already(kept: Kept) -> None:
    shelf = Shelf(kept)
    await all_written([late(shelf).write("x", ADA, "")])
    assert shelf.notes == []


async def test_who_joined_before_it_was_published_may_ack_it_too() -> None:
    shelf = Shelf(a_row(BOB, facts=[Fact("k", "joined", UserSet((ADA,)), 1)]))
    await all_written([late(shelf).write("x", ADA, "")])
    assert len(shelf.notes) == 1


async def test_every_row_with_that_id_gets_it() -> None:
    shelf = Shelf(a_row(ADA, key="k1"), a_row(ADA, BOB, key="k2"))
    await all_written([late(shelf).write("x", ADA, "")])
    assert [write.fact.key for write, _ in shelf.notes if isinstance(write, Note)] == ["k1", "k2"]


async def test_it_isnt_confirmed_before_it_is_looked_up() -> None:
    shelf = Shelf(a_row(ADA))
    shelf.read = asyncio.Event()
    written = late(shelf).write("x", ADA, "")
    await asyncio.sleep(0.01)
    assert not written.done()
    shelf.read.set()
    await written


async def test_a_store_that_fails_is_told() -> None:
    shelf = Shelf(a_row(ADA))
    shelf.refuses = True
    with pytest.raises(Problem, match="the disk is full"):
        await all_written([late(shelf).write("x", ADA, "")])


async def test_a_store_that_doesnt_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubd.late_acks, "FIND_S", 0.01)
    shelf = Shelf(a_row(ADA))
    shelf.read = asyncio.Event()
    with pytest.raises(Problem, match="takes too long"):
        await all_written([late(shelf).write("x", ADA, "")])


async def test_so_many_are_looked_up_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubd.late_acks, "UNDER_WAY", 2)
    shelf = Shelf(a_row(ADA))
    shelf.read = asyncio.Event()
    acks = late(shelf)
    two = [acks.write("x", ADA, "") for _ in range(2)]
    with pytest.raises(Problem, match="at a time"):
        await all_written([acks.write("x", ADA, "")])
    shelf.read.set()
    await all_written(two)
    await all_written([acks.write("x", ADA, "")])
