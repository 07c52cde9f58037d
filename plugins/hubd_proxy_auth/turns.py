"""Who is asked about next: by turns among the addresses, so that one with a thousand can't keep the others out."""

import asyncio
from collections import OrderedDict, deque


class Turns:
    """At most so many at a time; those who wait take turns by their address, and within one they come as they came."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, address: str) -> None:
        """Wait for one's turn; ``give_back`` when it is over."""
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had just come
                self.give_back()
            else:
                self._leave(address, turn)
            raise

    def _leave(self, address: str, turn: "asyncio.Future[None]") -> None:
        them = self._waiting.get(address)
        if them is not None and turn in them:
            them.remove(turn)
            if not them:
                del self._waiting[address]

    def give_back(self) -> None:
        """One's turn is over: the next one's is the longest waiting of the address that waits for its turn longest."""
        while self._waiting:
            address, them = self._waiting.popitem(last=False)
            turn = them.popleft()
            if them:
                self._waiting[address] = them  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
