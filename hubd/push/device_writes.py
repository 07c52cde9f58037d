"""What the store is told of devices: of each one thing at a time, so that it has them in the order in which they count.

What somebody waits for is on the disk before it counts. What nobody waits for (a device that went, or came back) counts
at once, and is stored as it is by then: in trouble again and again, because what the store would give back at the next
start must not be another user's device.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hubd.core.stored import DropDevice, Lane, PutDevice
from hubd.storing import Store, StoreError, unavailable
from hubd.turns import Turns

AT_ONCE = 500
"""So many writes that nobody waits for are under way at most."""


class DeviceWrites:
    """``as_it_is`` gives the write that has the store know a device as it is now."""

    def __init__(self, store: Store | None, as_it_is: Callable[[str], PutDevice | DropDevice]) -> None:
        self._store = store
        self._as_it_is = as_it_is
        self._turns = Turns()
        self._awaited: set[str] = set()
        self._late: dict[str, None] = {}
        self._under_way = 0

    @property
    def waiting(self) -> int:
        """Of how many devices the store has yet to be told."""
        return len(self._late) + self._under_way

    def is_awaited(self, id: str) -> bool:
        """Whether somebody waits for something to be stored about it."""
        return id in self._awaited

    def is_late(self, id: str) -> bool:
        """Whether the store isn't sure to have it as it is."""
        return id in self._late

    @asynccontextmanager
    async def turn(self, id: str) -> AsyncIterator[None]:
        """Wait until nobody else does anything about it; nobody does within the block."""
        async with self._turns.of(id):
            self._awaited.add(id)
            try:
                yield
            finally:
                self._awaited.discard(id)

    async def write(self, id: str, write: PutDevice | DropDevice) -> None:
        """Have it stored, within one's turn; a ``Problem`` ('unavailable') when that can't be done."""
        if self._store is None:
            return
        try:
            await self._store.write(write, Lane.ACK)
        except StoreError as error:
            self._late[id] = None  # perhaps it is on the disk all the same
            raise unavailable(str(error)) from None
        except BaseException:
            self._late[id] = None
            raise
        self._late.pop(id, None)

    def later(self, id: str) -> None:
        """Have it stored as it is."""
        if self._store is not None:
            self._late[id] = None
            self.go_on()

    def go_on(self) -> None:
        """Begin with what is late, as far as may be."""
        for _ in range(min(len(self._late), AT_ONCE - self._under_way)):
            id = next(iter(self._late))
            del self._late[id]
            if id in self._turns:
                self._late[id] = None  # in its turn
            else:
                self._begin(id)

    def _begin(self, id: str) -> None:
        assert self._store is not None
        turn = self._turns.begin(id)
        self._under_way += 1

        def done(written: "asyncio.Future[None]") -> None:
            self._under_way -= 1
            self._turns.over(id, turn)
            if written.cancelled() or written.exception() is not None:
                self._late[id] = None  # tried again in a second, by ``maintain``
            elif self._late:
                self.go_on()

        self._store.write(self._as_it_is(id), Lane.BOOKKEEPING).add_done_callback(done)
