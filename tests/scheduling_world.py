"""Hubs with a real store on one SQLite file, one after the other, and a clock that is turned by hand."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from hubd.broker import Broker
from hubd.clock import SystemClock
from hubd.config import Config
from hubd.core.stored import Kept, Lane, Scheduled, Unschedule, Write
from hubd.core.users import UserNumbers
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.memory import Receipt
from hubd.store.opening import open_store
from hubd.storing import Loaded, Store, StoreError, Written
from hubd.taking_up import remembered, take_up
from hubd.tasks import Tasks
from hubd.testing import FakeClock, RecordingConnection, RecordingPusher, connect, make_hub

WAIT_S = 20.0
CONFIG = Config()
_NOTHING = Unschedule("there is no such thing")
"""A write that changes nothing: whatever was told before it is on the disk when it is done."""


async def until(is_so: Callable[[], Any]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def ids(connection: RecordingConnection) -> list[str]:
    """The notifications that it got."""
    return [frame["id"] for frame in connection.notifications()]


class Troubled:
    """A store that can be made to fail, before (``fails``) or behind (``doubts``) the commit; notes what it is told."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fails: Callable[[Write], bool] = lambda write: False
        self.doubts: Callable[[Write], bool] = lambda write: False
        self.gate: asyncio.Event | None = None
        self.trouble = ""
        self.told: list[Write] = []

    def write(self, write: Write, lane: Lane) -> Written:
        self.told.append(write)
        return asyncio.ensure_future(self._write(write, lane))

    async def _write(self, write: Write, lane: Lane) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.fails(write):
            raise StoreError("the disk is full")
        await self._store.write(write, lane)
        if self.doubts(write):
            raise StoreError("nobody knows")

    def note(self, write: Write) -> None:
        self.told.append(write)
        self._store.note(write)

    async def find(self, id: str) -> Any:
        if self.trouble:
            raise StoreError(self.trouble)
        return await self._store.find(id)

    async def find_rows(self, id: str) -> Any:
        if self.trouble:
            raise StoreError(self.trouble)
        return await self._store.find_rows(id)

    async def find_meant(self, ids: Sequence[str], number: int) -> Sequence[str]:
        if self.trouble:
            raise StoreError(self.trouble)
        return await self._store.find_meant(ids, number)

    async def load(self) -> Loaded:
        return await self._store.load()

    def open_rows(self) -> AsyncIterator[Kept]:
        return self._store.open_rows()

    async def clean(self, now_ms: int, answers_before_ms: int) -> int:
        return await self._store.clean(now_ms, answers_before_ms)

    async def close(self, within_s: float) -> None:
        await self._store.close(within_s)


class Life:
    """One life of a hub."""

    def __init__(self, hub: Hub, clock: FakeClock, store: Troubled, pusher: RecordingPusher, soon: Any) -> None:
        self.hub, self.clock, self.store, self.pusher = hub, clock, store, pusher
        self._soon = soon

    @property
    def now_ms(self) -> int:
        return int(self.clock.now() * 1000)

    async def publish(self, to: Any = "user:ada", *, in_s: float | None = None, **more: Any) -> tuple[Receipt, bool]:
        """Publish as a server does, ``in_s`` seconds from now."""
        deliver_at = {} if in_s is None else {"deliver_at": self.now_ms + round(in_s * 1000)}
        body = {"to": to, "notification": {"type": "alert"}, **deliver_at, **more}
        return await self.hub.publish(self.hub.prepare(body), "key:backend")

    async def settle(self) -> None:
        """Let everything that is going out go out, and be written."""
        await until(lambda: not self.hub.scheduling.under_way)
        self._soon.settle()

    async def let_pass(self, seconds: float) -> None:
        """Let time pass, do what a second brings, and what comes of it."""
        self.clock.advance(seconds)
        self.hub.maintain()
        await self.settle()

    def connect(self, user: str, *topics: str) -> RecordingConnection:
        return connect(self.hub, user, topics)

    async def scheduled(self) -> list[Scheduled]:
        """What the disk has, once all is written that was told so far."""
        await self.store.write(_NOTHING, Lane.BOOKKEEPING)
        return list((await self.store.load()).scheduled)

    async def rows(self, id: str) -> list[Kept]:
        await self.store.write(_NOTHING, Lane.BOOKKEEPING)
        return list(await self.store.find(id))


@asynccontextmanager
async def life(
    folder: Path, clock: FakeClock, *, seed: int, config: Config = CONFIG, broker: Broker | None = None
) -> AsyncIterator[Life]:
    """A hub on the store in this folder, as long as it lasts. Each has to have another ``seed``."""
    tasks, store_tasks, numbers = Tasks(), Tasks(), UserNumbers()
    opened = await open_store(f"sqlite:///{folder}/hubd.db", SystemClock(), numbers, store_tasks)
    store = Troubled(opened)
    memory = await remembered(store, None, config, clock, Ids(clock, Random(seed)), numbers)
    pusher = RecordingPusher()
    hub, _, soon = make_hub(config, clock, broker, seed, store=store, pusher=pusher, memory=memory)
    hub.in_background = tasks.start
    await take_up(hub)
    try:
        yield Life(hub, clock, store, pusher, soon)
    finally:
        hub.scheduling.stop()
        await tasks.close()
        await opened.close(WAIT_S)
        await store_tasks.close()
