"""Users to whom nothing stored refers any more: found and forgotten while the hub runs, when they have become many."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice

from hubd.core.stored import Lane
from hubd.core.users import UserSet, union_of
from hubd.store.database import Database
from hubd.store.known import KnownUsers
from hubd.store.own import AnyWrite, ForgetUser
from hubd.store.reading import referred_users
from hubd.store.words import describe
from hubd.storing import StoreError, Written

FORGET_FROM = 100_000
"""As long as there are fewer users than these nobody looks who could be forgotten."""
SLICE = 500
_LOOK_S = 300.0


class Forgetting:
    """Forgets users. ``waiting`` gives whom all refers to that waits to be stored, None where that is too much."""

    def __init__(
        self,
        database: Database,
        known: KnownUsers,
        waiting: Callable[[], Sequence[UserSet] | None],
        write: Callable[[AnyWrite, Lane], Written],
    ) -> None:
        self._database = database
        self._known = known
        self._waiting = waiting
        self._write = write
        self._kept = 0

    async def forget(self) -> int:
        """Look through all that is stored, if twice as many are known as were needed the last time.

        Gives how many were forgotten; ``StoreError`` when it can't be done now.
        """
        if len(self._known) < max(FORGET_FROM, 2 * self._kept):
            return 0
        if (waiting := self._waiting()) is None:
            return 0
        self._known.begin_noting()
        referred = union_of([*waiting])
        try:
            referred = union_of([referred, await self._referred()])
        finally:
            unused = self._known.end_noting(referred)
        self._kept = len(self._known) - len(unused)
        count, left = 0, iter(unused)
        while numbers := list(islice(left, SLICE)):
            count += await self._remove(numbers)
        return count

    async def _referred(self) -> UserSet:
        try:
            async with asyncio.timeout(_LOOK_S), self._database.engine.connect() as connection:
                return await referred_users(connection)
        except Exception as error:
            raise StoreError(describe(error)) from None

    async def _remove(self, numbers: Sequence[int]) -> int:
        """Remove the rows of those who weren't met again meanwhile; gives how many."""
        gone = self._known.forget(numbers)
        writes = [self._write(ForgetUser(number), Lane.BOOKKEEPING) for number, _ in gone]
        try:
            if writes:
                await asyncio.wait(writes)
        finally:
            for (number, id), write in zip(gone, writes, strict=True):
                if write.done() and not write.cancelled() and write.exception() is None:
                    self._known.is_forgotten(number)
                else:
                    self._known.is_kept(number, id)
        for write in writes:
            write.result()
        return len(gone)
