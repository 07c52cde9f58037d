"""Acks of what memory doesn't know any more: its row may still be in the store, and then they belong there."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hubd.clock import Clock
from hubd.core.stored import Fact, Kept, Lane, Note
from hubd.core.users import UserSet
from hubd.storing import Store, StoreError, Written

FIND_S = 2.0
"""How long the store may take to find something."""
UNDER_WAY = 256
"""So many are looked up at a time; whoever comes then is told to try again."""


class LateAcks:
    """Looks up rows by the ids that were acked. ``run`` runs what nobody waits for."""

    def __init__(self, store: Store, clock: Clock, run: Callable[[Coroutine[Any, Any, Any], str], Any]) -> None:
        self._store = store
        self._clock = clock
        self._run = run
        self._under_way = 0

    def write(self, id: str, number: int, by: str) -> Written:
        """Have it stored that a user (by number) was shown this, if there is a row with that id that was meant for him.

        Done when that is on the disk, or there is none.
        """
        written: Written = asyncio.get_running_loop().create_future()
        if self._under_way >= UNDER_WAY:
            written.set_exception(StoreError("too many acks of old notifications at a time"))
            return written
        self._under_way += 1
        self._run(self._look_up(id, number, by, written), "look up what was acked")
        return written

    async def _look_up(self, id: str, number: int, by: str, written: Written) -> None:
        try:
            async with asyncio.timeout(FIND_S):
                rows = await self._store.find(id)
            user, now = UserSet((number,)), int(self._clock.now() * 1000)
            for kept in rows:
                if _is_news(kept, number):
                    await self._store.write(Note(Fact(kept.row.key, "acked", user, now, by)), Lane.ACK)
        except (StoreError, TimeoutError) as error:
            if not written.done():
                written.set_exception(StoreError(str(error) or "it takes too long"))
        finally:
            self._under_way -= 1
            if not written.done():
                written.set_result(None)


def _is_news(kept: Kept, number: int) -> bool:
    """Whether it was meant for a user, and it isn't known that he acked it."""
    of_his = [fact for fact in kept.facts if number in fact.users]
    was_meant = number in kept.row.everybody or any(fact.kind == "joined" for fact in of_his)
    return was_meant and not any(fact.kind in ("acked", "held", "dropped", "retracted") for fact in of_his)
