"""Publishing with an id of one's own any number of times publishes once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from hubd.clock import Clock
from hubd.core.errors import Problem

Answer = TypeVar("Answer")


class _Remembered(Generic[Answer]):
    __slots__ = ("answer", "fingerprint", "since")

    def __init__(self, fingerprint: bytes, answer: "asyncio.Future[Answer]", since: float) -> None:
        self.fingerprint = fingerprint
        self.answer = answer
        self.since = since


class Idempotency(Generic[Answer]):
    """Remembers answers by (publisher, id) for ``window_s`` seconds, ``entries`` of them at most, oldest out."""

    def __init__(self, clock: Clock, window_s: float, entries: int) -> None:
        self._clock = clock
        self._window_s = window_s
        self._entries = entries
        self._remembered: OrderedDict[tuple[str, str], _Remembered[Answer]] = OrderedDict()

    async def once(
        self, publisher: str, id: str, fingerprint: bytes, work: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, bool]:
        """The answer of ``work``, and whether it is that of an earlier call.

        Whoever calls while the first still works waits for it. A ``Problem`` ('id_conflict') when the earlier call was
        another one; when ``work`` fails nothing is remembered and all who wait get the failure.
        """
        key = (publisher, id)
        self._forget(self._entries)
        known = self._remembered.get(key)
        if known is not None:
            if known.fingerprint != fingerprint:
                raise Problem("id_conflict", f"the id {id!r} was used for another notification; choose a new one")
            return await asyncio.shield(known.answer), True
        self._forget(self._entries - 1)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._remembered[key] = _Remembered(fingerprint, answer, self._clock.monotonic())
        try:
            result = await work()
        except BaseException as error:
            self._remembered.pop(key, None)
            failure = error if isinstance(error, Exception) else Problem("unavailable", "the hub is stopping", (), 1.0)
            answer.set_exception(failure)
            answer.exception()  # whoever waits is told; that nobody may wait is no fault
            raise
        answer.set_result(result)
        return result, False

    def _forget(self, most: int) -> None:
        """Let go of what is too old or more than ``most``, but of nothing that somebody may be waiting for."""
        oldest = self._clock.monotonic() - self._window_s
        while self._remembered:
            key, first = next(iter(self._remembered.items()))
            if len(self._remembered) <= most and first.since > oldest:
                break
            if not first.answer.done():
                break
            del self._remembered[key]
