"""Durable subscriptions that outlive the process: read from memory, changed when the store has the change."""

import asyncio
from collections import Counter
from collections.abc import Callable

from hubd.core.stored import Lane, Subscribe, Unsubscribe
from hubd.core.subscriptions import Grant, MemorySubscriptions
from hubd.core.users import UserNumbers
from hubd.storing import Store, StoreError, unavailable
from hubd.turns import Turns

DAY_S = 86400.0
"""A check of permissions is stored once a day at most: what it moves is a time limit of weeks, and each of them would
be a write for each subscription at each connect."""
NOTES = 1000
"""So many writes that nobody waits for may be under way; what is more is stored when the next occasion comes."""
_Key = tuple[str, str]


class StoredSubscriptions(MemorySubscriptions):
    """Durable subscriptions with a store behind them.

    Of one subscription there is one write under way at a time: so the store has them in the order in which they count
    here, whatever goes first there.
    """

    def __init__(self, numbers: UserNumbers, grant_s: float, store: Store) -> None:
        super().__init__(numbers, grant_s)
        self._store = store
        self._turns = Turns()
        self._making: Counter[str] = Counter()
        self._notes = 0

    async def put(self, user: str, topic: str, grant: Grant) -> bool:
        """Make or renew one; True when it is new. A ``Problem`` ('unavailable') when it can't be stored."""
        is_new = topic not in self.of(user)
        self._making[user] += is_new
        try:
            async with self._turns.of((user, topic)):
                before = self.of(user).get(topic)
                if before is not None and before.by_server and not grant.by_server:
                    return False
                if before is not None and self._is_known(before, grant):
                    grant.stored_at = before.stored_at
                    return self._put(user, topic, grant)
                number = self._numbers.hold(user)
                try:
                    await self._write(Subscribe(user, number, topic, grant))
                    grant.stored_at = grant.checked_at
                    return self._put(user, topic, grant)
                finally:
                    self._numbers.release(number)
        finally:
            self._making[user] -= is_new
            if not self._making[user]:
                del self._making[user]

    async def end(self, user: str, topic: str) -> bool:
        """End one; False when there was none. A ``Problem`` ('unavailable') when that can't be stored."""
        async with self._turns.of((user, topic)):
            if topic not in self.of(user):
                return False
            await self._write(Unsubscribe(user, topic))
            return self._end(user, topic)

    def count(self, user: str) -> int:
        """How many a user has, with those that are just being made."""
        return super().count(user) + self._making[user]

    async def _write(self, write: Subscribe | Unsubscribe) -> None:
        try:
            await self._store.write(write, Lane.ACK)
        except StoreError as error:
            raise unavailable(str(error)) from None

    def _is_known(self, before: Grant, grant: Grant) -> bool:
        """Whether the store knows a grant already, as the one ``before``, but for a check that isn't long ago."""
        if grant.by_server:
            return before.by_server
        if (
            before.by_server
            or not before.stored_at
            or (before.patterns, before.allowed) != (grant.patterns, grant.allowed)
        ):
            return False
        return grant.checked_at - before.stored_at < min(DAY_S, self.grant_s / 4)

    # What nobody waits for

    def _checked(self, user: str, topic: str, grant: Grant) -> None:
        if self._is_known(grant, grant):
            return
        number = self._numbers.find(user)
        if number is None or not self._may_note((user, topic)):
            return
        stored_at, grant.stored_at = grant.stored_at, grant.checked_at

        def failed() -> None:
            grant.stored_at = stored_at

        # What is written is what it is now: by the time it is carried out, the grant may be another one.
        same = Grant(grant.by_server, grant.patterns, grant.checked_at, grant.allowed)
        self._note((user, topic), Subscribe(user, number, topic, same), failed)

    def _lapsed(self, user: str, topic: str) -> None:
        # If this isn't stored, it lapses once more after the next start.
        if self._may_note((user, topic)):
            self._note((user, topic), Unsubscribe(user, topic), lambda: None)

    def _may_note(self, key: _Key) -> bool:
        return self._notes < NOTES and key not in self._turns

    def _note(self, key: _Key, write: Subscribe | Unsubscribe, failed: Callable[[], None]) -> None:
        turn = self._turns.begin(key)
        self._notes += 1

        def done(written: asyncio.Future[None]) -> None:
            self._notes -= 1
            self._turns.over(key, turn)
            if written.cancelled() or written.exception() is not None:
                failed()

        self._store.write(write, Lane.BOOKKEEPING).add_done_callback(done)
