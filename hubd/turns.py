"""Turns: of what has the same key, one thing is done at a time."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """Who does something about a key waits until nobody else does."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Future[None]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._under_way

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for the turn, and have it within the block."""
        while (before := self._under_way.get(key)) is not None:
            await asyncio.shield(before)
        turn = self.begin(key)
        try:
            yield
        finally:
            self.over(key, turn)

    def begin(self, key: Hashable) -> "asyncio.Future[None]":
        """Take the turn, which nobody has; ``over`` follows."""
        turn = self._under_way[key] = asyncio.get_running_loop().create_future()
        return turn

    def over(self, key: Hashable, turn: "asyncio.Future[None]") -> None:
        """Whoever waits goes on."""
        del self._under_way[key]
        turn.set_result(None)
