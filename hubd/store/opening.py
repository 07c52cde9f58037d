"""Opening a store by its address."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from hubd.clock import Clock
from hubd.core.users import UserNumbers
from hubd.store.off import NoStore
from hubd.storing import StoreError
from hubd.tasks import Tasks

if TYPE_CHECKING:
    from hubd.store.sql_store import SqlStore
    from hubd.store.waiting import Limits

OFF = "off"
START_S = 30.0
"""How long a database that is still starting, or a hub that still stops, is waited for."""
_PAUSES_S = (0.05, 0.5)
"""From which pause to which one it is tried again: a hub that was killed has mostly gone a moment later."""


async def open_store(
    url: str,
    clock: Clock,
    numbers: UserNumbers,
    tasks: Tasks,
    *,
    limits: "Limits | None" = None,
    connector: Callable[[], Awaitable[Any]] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    start_s: float = START_S,
) -> "SqlStore | NoStore":
    """The store at an address, ready to be written to; ``StoreError`` with a reason when there is none to be had.

    ``connector`` makes the driver's connections in another way than the usual; then nobody is kept from opening the
    same SQLite file twice.
    """
    if url == OFF:
        return NoStore()
    from hubd.store.database import database_of
    from hubd.store.sql_store import SqlStore
    from hubd.store.waiting import Limits
    from hubd.store.words import Unusable, describe, will_not_pass

    deadline = clock.monotonic() + start_s
    database = database_of(url, connector)
    pause, longest = _PAUSES_S
    while True:
        store = SqlStore(database, clock, numbers, tasks, limits=limits or Limits(), sleep=sleep)
        try:
            if not database.claim():
                raise Unusable("another hub uses this database")
            await store.open()
        except StoreError:
            await store.close(0)
            raise
        except Exception as error:
            why, is_final = describe(error), will_not_pass(error)
        else:
            return store
        if is_final or clock.monotonic() >= deadline:
            await store.close(0)
            raise StoreError(why)
        await sleep(pause)
        pause = min(2 * pause, longest)
