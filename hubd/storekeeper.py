"""A daemon's store: opened before there is a hub, read, kept clean while it runs, and closed behind it."""

import asyncio
from pathlib import Path

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.users import UserNumbers
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.memory import Memory
from hubd.store.opening import OFF, START_S, open_store
from hubd.storing import Store, StoreError
from hubd.taking_up import remembered
from hubd.tasks import Tasks

CLEAN_S = 60.0
"""How often what is over is removed."""
CLOSE_S = 5.0
"""How long what still waits may take to be stored at the end, if there is so much time left."""
CLOSE_LEAST_S = 1.0
"""So long it may take whatever else has used the time up."""


class Storekeeper:
    """Has the store of one hub, if it is to have one. ``store`` is None before it is open, and where there is none."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids
        self._numbers = UserNumbers()
        self._tasks = Tasks()
        self.store: Store | None = None
        """What the hub stores with."""

    async def open(self, config: Config, *, waits: bool = True) -> None:
        """Open it; ``StoreError`` when that can't be done.

        A database that is still starting is waited for, and so is a hub that still stops, unless ``waits`` is False.
        """
        if (url := config.store.url) != OFF:
            start_s = START_S if waits else 0.0
            self.store = await open_store(url, self._clock, self._numbers, self._tasks, start_s=start_s)

    async def memory(self, saved: Path | None, config: Config) -> Memory:
        """What there is from before, in the store and in the file of a clean stop (which is gone then)."""
        return await remembered(self.store, saved, config, self._clock, self._ids, self._numbers)

    async def keep_clean(self, hub: Hub) -> None:
        """Remove what is over, until cancelled."""
        while self.store is not None:
            await asyncio.sleep(CLEAN_S)
            now = self._clock.now()
            try:
                await self.store.clean(int(now * 1000), int((now - hub.config.limits.id_window_s) * 1000))
            except StoreError:
                continue  # the store says itself that it is in trouble

    async def close(self, hub: Hub | None, within_s: float = CLOSE_S) -> None:
        """Store what still waits, and end: about within this time. Whatever writes must have ended."""
        if hub is not None:
            hub.delivering.stop()
            hub.scheduling.stop()
        if self.store is not None:
            await self.store.close(min(CLOSE_S, max(CLOSE_LEAST_S, within_s)))
        await self._tasks.close()
