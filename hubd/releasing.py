"""Bringing to users what had been kept from them, or couldn't be brought: on their own channels, under its id."""

from collections.abc import Awaitable, Callable, Iterable

from hubd.clock import Clock
from hubd.core.channel import parse_channel
from hubd.core.errors import Problem
from hubd.core.milestones import ACKED
from hubd.core.notification import Notification
from hubd.core.record import Record
from hubd.core.stored import Fact
from hubd.core.users import UserSet
from hubd.delivering import Delivering
from hubd.memory import Memory, Receipt


class Releasing:
    """Publishes once more what is released. ``cursor`` gives the present one, ``send`` brings it to everybody."""

    def __init__(
        self,
        clock: Clock,
        memory: Memory,
        delivering: Delivering,
        cursor: Callable[[], str],
        send: Callable[[Notification], Awaitable[Receipt]],
    ) -> None:
        self._clock = clock
        self._numbers = memory.numbers
        self._rings = memory.rings
        self._delivering = delivering
        self._cursor = cursor
        self._send = send

    async def release(self, notification: Notification, users: Iterable[str]) -> Receipt:
        """Bring a notification to users from whom it had been kept.

        No gate is asked any more. Its ttl has stood still meanwhile. What was taken back meanwhile stays so.
        """
        if notification.is_retracted:
            return self._nothing(notification)
        users = list(users)
        before, now = notification.record, self._clock.monotonic()
        if before is None:
            left_s = notification.expires_at - notification.kept_at
            return await self._send(notification.released_to(users, now + left_s))
        made = notification.released_to(users, now + before.ttl_s)
        record = self._delivering.begin(made, [parse_channel(name) for name in made.channels])
        record.may_push = record.pushable = record.pushable & before.pushable  # a broadcast never pushes
        numbers = UserSet(self._numbers.number_of(user) for user in users)
        if before.is_stored and self._delivering.store is not None:
            await self._keep(record, before, numbers)
            if _is_retracted(notification):  # meanwhile
                self._delivering.delivery.retracted(record, self._delivering.moment())
                self._delivering.close(record)
                return self._nothing(notification)
            moment = self._delivering.moment()
            for number in before.milestones.at(ACKED) & numbers:  # meanwhile, too
                self._delivering.delivery.acked(record, number, moment)
        self._delivering.release(notification, numbers)
        return await self._send(made)

    async def _keep(self, record: Record, before: Record, numbers: UserSet) -> None:
        """Store it, and in the same step that it isn't held any more."""
        them = self._delivering.delivery.releasable(before) & numbers
        released = Fact(before.key, "released", them, int(self._clock.now() * 1000))
        await self._delivering.keep_first(record, None, None, released)

    def _nothing(self, notification: Notification) -> Receipt:
        return Receipt(notification.id, self._cursor(), 0)

    async def bring(self, notification: Notification, user: str) -> None:
        """A critical one that nothing could reach this user with: now he is here."""
        number = self._numbers.number_of(user)
        if not self._delivering.bringing(notification, number):
            return
        try:
            await self.release(notification, [user])
        except Problem:
            self._delivering.not_brought(notification, number)
            return
        if notification.record_judged(number, is_kept=True):  # or he would get it by a replay, too
            self._rings.note_user(notification, 2)


def _is_retracted(notification: Notification) -> bool:
    return notification.is_retracted
