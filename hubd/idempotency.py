"""Publishing with an id of one's own any number of times publishes once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from hubd.clock import Clock
from hubd.core.errors import Problem

Answer = TypeVar("Answer")
Key = tuple[str, str]
"""Whose id, and the id."""


class _Known(Generic[Answer]):
    """A call that was begun; ``since`` is when its answer came."""

    __slots__ = ("answer", "fingerprint", "since")

    def __init__(self, fingerprint: bytes, answer: "asyncio.Future[Answer]") -> None:
        self.fingerprint = fingerprint
        self.answer = answer
        self.since = 0.0


class Idempotency(Generic[Answer]):
    """Remembers answers by (publisher, id) for ``window_s`` seconds, in tables of ``entries`` at most, oldest out.

    What is put into one table pushes nothing out of another: so clients can't make the hub forget a server's ids.
    """

    def __init__(self, clock: Clock, window_s: float, entries: int) -> None:
        self._clock = clock
        self._window_s = window_s
        self._entries = entries
        self._under_way: dict[Key, _Known[Answer]] = {}
        self._tables: dict[str, OrderedDict[Key, _Known[Answer]]] = {}  # each by the time of the answers, none empty

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    async def once(
        self, publisher: str, id: str, fingerprint: bytes, work: Callable[[], Awaitable[Answer]], *, table: str = ""
    ) -> tuple[Answer, bool]:
        """The answer of ``work``, and whether it is that of an earlier call. A publisher keeps to one ``table``.

        Whoever calls while the first still works waits for it. A ``Problem`` ('id_conflict') when the earlier call was
        another one; when ``work`` fails nothing is remembered and all who wait get the failure.
        """
        key = (publisher, id)
        self._forget(table)
        known = self._under_way.get(key)
        if known is None and table in self._tables:
            known = self._tables[table].get(key)
        if known is not None:
            if known.fingerprint != fingerprint:
                raise Problem("id_conflict", f"the id {id!r} was used for another notification; choose a new one")
            return await asyncio.shield(known.answer), True
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        begun = self._under_way[key] = _Known(fingerprint, answer)
        try:
            result = await work()
        except BaseException as error:
            failure = error if isinstance(error, Exception) else Problem("unavailable", "the hub is stopping", (), 1.0)
            answer.set_exception(failure)
            answer.exception()  # whoever waits is told; that nobody may wait is no fault
            raise
        else:
            begun.since = self._clock.monotonic()
            self._tables.setdefault(table, OrderedDict())[key] = begun
            self._forget(table)
        finally:
            del self._under_way[key]
        answer.set_result(result)
        return result, False

    def expire(self) -> None:
        """Let go of all that is too old."""
        for table in list(self._tables):
            self._forget(table)

    def _forget(self, table: str) -> None:
        """Let go of what is too old in a table, or too much."""
        known = self._tables.get(table)
        oldest = self._clock.monotonic() - self._window_s
        while known:
            first = next(iter(known.values()))
            if len(known) <= self._entries and first.since > oldest:
                return
            known.popitem(last=False)
        self._tables.pop(table, None)
