"""The store of a hub that stores nothing: ``[store] url = "off"``."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from hubd.core.stored import Kept, Lane, Write
from hubd.storing import Loaded


class NoStore:
    """``hubd.storing.Store`` that forgets everything at once, as its operator chose."""

    trouble = ""

    def write(self, write: Write, lane: Lane) -> "asyncio.Future[None]":
        """Done at once."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def note(self, write: Write) -> None:
        """Nothing."""

    async def load(self) -> Loaded:
        """Nothing is there."""
        return Loaded((), 1, (), (), (), ())

    async def open_rows(self) -> AsyncIterator[Kept]:
        """Nothing is there."""
        nothing: tuple[Kept, ...] = ()
        for kept in nothing:
            yield kept

    async def find(self, id: str) -> Sequence[Kept]:
        """Nothing is there."""
        return ()

    async def find_rows(self, id: str) -> Sequence[Kept]:
        """Nothing is there."""
        return ()

    async def find_meant(self, ids: Sequence[str], number: int) -> Sequence[str]:
        """Nothing is there."""
        return ()

    async def clean(self, now: int, answers_before: int) -> int:
        """Nothing is there."""
        return 0

    async def close(self, within_s: float) -> None:
        """Nothing is to be done."""
