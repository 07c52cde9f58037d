"""Stores to try things with, and what they are given."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hubd.clock import Clock, SystemClock
from hubd.core.stored import Fact, Keep, Kept, Lane, Note, Row, StoredAnswer
from hubd.core.users import UserNumbers, UserSet
from hubd.store.opening import open_store
from hubd.store.sql_store import SqlStore
from hubd.store.waiting import Limits
from hubd.storing import StoreError
from hubd.tasks import Tasks

WAIT_S = 20.0
FAST = Limits(patience_s=0.3, open_s=2.0, commit_s=10.0, retry_s=(0.02, 0.1))
"""Doesn't wait long when it is in trouble."""


class World:
    """A store with the users that it knows."""

    def __init__(self, store: SqlStore, numbers: UserNumbers) -> None:
        self.store = store
        self.numbers = numbers

    def users(self, *names: str) -> UserSet:
        """These users' numbers."""
        return UserSet(map(self.numbers.number_of, names))

    def row(self, key: str, *names: str, **more: Any) -> Row:
        """A notification to these users."""
        users = self.users(*(names or ("ada",)))
        return Row(
            **{
                "key": key,
                "id": f"id-{key}",
                "body": b'{"id":"x","type":"feed"',
                "channels": ("team:red",),
                "persistence": "persistent",
                "sent_at": 1_800_000_000_000,
                "expires_at": 1_800_000_060_000,
                "collapse_key": None,
                "group": None,
                "topics": (("team:red", users),),
                "everybody": users,
                "may_push": users,
                "due_at": 0,
                **more,
            }
        )

    def keep(self, key: str, *names: str) -> Keep:
        """A write that keeps a notification to these users."""
        return Keep(self.row(key, *names))

    def acked(self, key: str, *names: str, at: int = 5, detail: str = "") -> Note:
        """A write that notes an ack."""
        return Note(Fact(key, "acked", self.users(*names), at, detail))

    async def open_keys(self) -> list[str]:
        """The keys of all that is open, in order."""
        return [kept.row.key async for kept in self.store.open_rows()]

    async def found(self, id: str) -> list[Kept]:
        return list(await self.store.find(id))

    async def settled(self) -> None:
        """Wait until nothing waits to be stored."""
        await until(lambda: sum(self.store.waiting.values()) == 0 and self.store._writer.idle.is_set())


@asynccontextmanager
async def opened(
    url: str, clock: Clock | None = None, limits: Limits = FAST, close_s: float = WAIT_S, **more: Any
) -> AsyncIterator[World]:
    """A store that is open, and loaded, for as long as this lasts."""
    numbers, tasks, faults = UserNumbers(), None, []
    tasks = Tasks(lambda name, fault: faults.append((name, fault)))
    store = await open_store(url, clock or SystemClock(), numbers, tasks, limits=limits, start_s=WAIT_S, **more)
    assert isinstance(store, SqlStore)
    try:
        await store.load()
        yield World(store, numbers)
    finally:
        await store.close(close_s)
        await tasks.close()
    assert faults == []


async def refused(world: World, key: str) -> str:
    """Why a publish was refused."""
    with pytest.raises(StoreError) as error:
        await asyncio.wait_for(world.store.write(world.keep(key), Lane.PUBLISH), 30)
    assert "pass-word-9" not in str(error.value)
    return str(error.value)


async def healed(world: World, *keys: str) -> None:
    """Wait until it works again, and see that these are there, all of them and nothing else."""
    for _ in range(10):
        await until(lambda: not world.store.trouble)
        try:
            await world.store.write(world.keep("after"), Lane.PUBLISH)
            break
        except StoreError:  # a machine with much to do looks like a slow database
            await asyncio.sleep(0.1)
    await world.settled()
    assert await world.open_keys() == [*keys, "after"]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def answer(id: str, at: int = 1000, publisher: str = "backend") -> StoredAnswer:
    """What a publisher was answered."""
    return StoredAnswer("keys", publisher, id, b"\x00finger", "epoch-1", 3, at)
