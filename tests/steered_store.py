"""A store that does as a test says."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from hubd.core.stored import Kept, Lane, Write
from hubd.storing import Loaded, StoreError


class SteeredStore:
    """Notes what it is given. While ``holds`` is set it stores nothing before ``let_go``; in ``trouble`` it fails."""

    def __init__(self) -> None:
        self.trouble = ""
        self.holds = False
        self.written: list[tuple[Write, Lane]] = []
        """What was stored, in order."""
        self.noted: list[Write] = []
        self.held: list[tuple[Write, Lane, asyncio.Future[None]]] = []
        self.loaded = Loaded((), 1, (), (), (), ())
        self.rows: list[Kept] = []
        self.closed = False

    def write(self, write: Write, lane: Lane) -> "asyncio.Future[None]":
        """It takes a turn of the loop at least."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self.trouble:
            future.set_exception(StoreError(self.trouble))
            return future
        self.held.append((write, lane, future))
        if not self.holds:
            loop.call_soon(self.let_go)
        return future

    def let_go(self) -> None:
        """Everything that waits is on the disk now, or fails."""
        waiting, self.held = self.held, []
        for write, lane, future in waiting:
            if future.done():
                continue
            if self.trouble:
                future.set_exception(StoreError(self.trouble))
            else:
                self.written.append((write, lane))
                future.set_result(None)

    def note(self, write: Write) -> None:
        """Nobody waits for it."""
        self.noted.append(write)

    async def load(self) -> Loaded:
        """What the test put there."""
        return self.loaded

    async def open_rows(self) -> AsyncIterator[Kept]:
        """What the test put there."""
        for kept in self.rows:
            yield kept

    async def find(self, id: str) -> Sequence[Kept]:
        """What the test put there."""
        return [kept for kept in self.rows if kept.row.id == id]

    async def find_rows(self, id: str) -> Sequence[Kept]:
        """The same."""
        return await self.find(id)

    async def find_meant(self, ids: Sequence[str], number: int) -> Sequence[str]:
        """All of them."""
        return [kept.row.key for kept in self.rows if kept.row.id in ids and number in kept.row.everybody]

    async def clean(self, now_ms: int, answers_before_ms: int) -> int:
        """Nothing is ever too old."""
        return 0

    async def close(self, within_s: float) -> None:
        """It takes no more."""
        self.closed = True
