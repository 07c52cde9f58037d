"""Acks of what memory doesn't know any more: its row may still be in the store, and then they belong there."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from hubd.clock import Clock
from hubd.core.notification import is_notification_id
from hubd.core.stored import Fact, Lane, Note
from hubd.core.users import UserSet
from hubd.storing import Store, StoreError, Written, look_at

FIND_S = 5.0
"""How long it may take to look up all that one call acks."""
CALLS = 1000
"""So many calls wait to be looked up, one after the other; whoever comes then is told to try again."""
KEPT = 100_000
"""Of so many acks it is remembered that they were written, so that repeating them costs nothing."""


class LateAcks:
    """Looks up rows by the ids that were acked. ``run`` runs what nobody waits for.

    One call at a time: it is a database's work for what only a client that was away for long has to say.
    """

    def __init__(self, store: Store, clock: Clock, run: Callable[[Coroutine[Any, Any, Any], str], Any]) -> None:
        self._store = store
        self._clock = clock
        self._run = run
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._written: OrderedDict[tuple[int, str], None] = OrderedDict()

    def write(self, ids: Sequence[str], number: int, by: str) -> Written:
        """Have it stored that a user (by number) was shown these, as far as there are rows that were meant for him.

        Done when that is on the disk, or there are none.
        """
        written: Written = asyncio.get_running_loop().create_future()
        written.add_done_callback(look_at)
        new = [id for id in ids if (number, id) not in self._written and is_notification_id(id)]
        if not new:
            written.set_result(None)
        elif self._waiting >= CALLS:
            written.set_exception(StoreError("too many acks of old notifications at a time"))
        else:
            self._waiting += 1
            self._run(self._look_up(new, number, by, written), "look up what was acked")
        return written

    async def _look_up(self, ids: Sequence[str], number: int, by: str, written: Written) -> None:
        try:
            async with self._turn, asyncio.timeout(FIND_S):
                keys = await self._store.find_meant(ids, number)
            user, now = UserSet((number,)), int(self._clock.now() * 1000)
            acks = [self._store.write(Note(Fact(key, "acked", user, now, by)), Lane.ACK) for key in keys]
            await asyncio.gather(*acks)
            self._remember(ids, number)
            _end(written, None)
        except StoreError as error:
            _end(written, error)
        except TimeoutError:
            _end(written, StoreError("it takes too long"))
        finally:
            self._waiting -= 1
            _end(written, StoreError("the hub is stopping"))  # if nothing has been said yet

    def _remember(self, ids: Sequence[str], number: int) -> None:
        self._written.update(((number, id), None) for id in ids)
        while len(self._written) > KEPT:
            self._written.popitem(last=False)


def _end(written: Written, error: StoreError | None) -> None:
    if written.done():
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
