"""Publishing with an id of one's own any number of times publishes once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from hubd.clock import Clock
from hubd.core.errors import Problem

Answer = TypeVar("Answer")
Key = tuple[str, str]
"""Whose id, and the id."""


class _Begun(Generic[Answer]):
    """A call that is under way."""

    __slots__ = ("answer", "fingerprint")

    def __init__(self, fingerprint: bytes, answer: "asyncio.Future[Answer]") -> None:
        self.fingerprint = fingerprint
        self.answer = answer


class Answered(NamedTuple, Generic[Answer]):
    """A call that got its answer ``since`` then (monotonic seconds)."""

    fingerprint: bytes
    answer: Answer
    since: float


class Idempotency(Generic[Answer]):
    """Remembers answers by (publisher, id) for ``window_s`` seconds, in tables of ``entries`` at most, oldest out.

    What is put into one table pushes nothing out of another: so clients can't make the hub forget a server's ids.
    Both figures may be set anew at any time.
    """

    def __init__(self, clock: Clock, window_s: float, entries: int) -> None:
        self._clock = clock
        self.window_s = window_s
        self.entries = entries
        self.under_way: dict[Key, _Begun[Answer]] = {}
        self._tables: dict[str, OrderedDict[Key, Answered[Answer]]] = {}  # each by the time of the answers, none empty

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
        known: _Begun[Answer] | Answered[Answer] | None = self.under_way.get(key)
        if known is None and table in self._tables:
            known = self._tables[table].get(key)
        if known is not None:
            if known.fingerprint != fingerprint:
                raise Problem("id_conflict", f"the id {id!r} was used for another notification; choose a new one")
            return await asyncio.shield(known.answer) if isinstance(known, _Begun) else known.answer, True
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.under_way[key] = _Begun(fingerprint, answer)
        try:
            result = await work()
        except BaseException as error:
            failure = error if isinstance(error, Exception) else Problem("unavailable", "the hub is stopping", (), 1.0)
            answer.set_exception(failure)
            answer.exception()  # whoever waits is told; that nobody may wait is no fault
            raise
        else:
            self.put_back(table, key, Answered(fingerprint, result, self._clock.monotonic()))
            self._forget(table)
        finally:
            del self.under_way[key]
        answer.set_result(result)
        return result, False

    def answered(self) -> Iterator[tuple[str, Key, Answered[Answer]]]:
        """All that is remembered: its table, whose id, and the answer; of each table the oldest first."""
        for name, table in self._tables.items():
            for key, known in table.items():
                yield name, key, known

    def knows(self, table: str, key: Key) -> bool:
        """Whether an answer is remembered."""
        return key in self._tables.get(table, ())

    def put_back(self, table: str, key: Key, known: Answered[Answer]) -> None:
        """Remember an answer; it has to be the youngest of its table."""
        answers = self._tables.setdefault(table, OrderedDict())
        answers[key] = known
        answers.move_to_end(key)  # where it takes the place of another

    def expire(self) -> None:
        """Let go of all that is too old."""
        for table in list(self._tables):
            self._forget(table)

    def _forget(self, table: str) -> None:
        """Let go of what is too old in a table, or too much."""
        known = self._tables.get(table)
        oldest = self._clock.monotonic() - self.window_s
        while known:
            first = next(iter(known.values()))
            if len(known) <= self.entries and first.since > oldest:
                return
            known.popitem(last=False)
        self._tables.pop(table, None)
