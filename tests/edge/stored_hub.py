"""A hub that listens and has a real store in a SQLite file; it can end, and another one begin on the same file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from hubd.clock import SystemClock
from hubd.core.stored import Kept, Lane, Unschedule
from hubd.core.users import UserNumbers
from hubd.ids import Ids
from hubd.store.opening import open_store
from hubd.taking_up import remembered, take_up
from hubd.tasks import Tasks
from hubd.testing import FakeClock, RecordingPusher
from tests.edge.live_hub import LiveHub, config_of
from tests.scheduling_world import WAIT_S, Troubled, until

_NOTHING = Unschedule("there is no such thing")


class StoredHub(LiveHub):
    """A hub with a store."""

    store: Troubled
    pusher: RecordingPusher

    async def later(self, seconds: float) -> None:
        """Let time pass, and what is due go out."""
        self.let_pass(seconds)
        await until(lambda: not self.hub.scheduling.under_way)

    async def rows(self, id: str) -> list[Kept]:
        """What the disk has, once all is written that was told so far."""
        await self.store.write(_NOTHING, Lane.BOOKKEEPING)
        return list(await self.store._store.find(id))

    def forget(self) -> None:
        """Have nothing in memory any more of what isn't open."""
        hub = self.hub
        self.let_pass(hub.config.replay.ttl_s + 1)
        for record in list(hub.delivering.ledger._by_age.values()):
            if not record.is_open:
                hub.delivering.ledger.drop(record)


@asynccontextmanager
async def stored_hub(
    folder: Path, clock: FakeClock, *, seed: int = 1, **sections: dict[str, Any]
) -> AsyncIterator[StoredHub]:
    """A hub, as long as it lasts. Each on the same file has to have another ``seed``; its config: ``config_of``."""
    config, numbers, tasks = config_of(**sections), UserNumbers(), Tasks()
    opened = await open_store(f"sqlite:///{folder}/hubd.db", SystemClock(), numbers, tasks)
    store, pusher = Troubled(opened), RecordingPusher()
    memory = await remembered(store, None, config, clock, Ids(clock, Random(seed)), numbers)
    live = StoredHub(config, clock=clock, store=store, pusher=pusher, memory=memory)
    live.hub.ids._random.seed(seed)
    live.store, live.pusher, pusher.hub = store, pusher, live.hub
    await take_up(live.hub)
    await live.start()
    try:
        yield live
    finally:
        live.hub.scheduling.stop()
        await live.stop()
        await opened.close(WAIT_S)
        await tasks.close()
