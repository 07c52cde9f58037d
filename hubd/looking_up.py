"""What is known of a notification, wherever it is: in a ring, as an open matter, or in the store alone."""

import asyncio
from collections.abc import Callable, Sequence

from hubd.core.channel import BROADCAST, Kind, parse_channel, user_channel
from hubd.core.errors import Problem
from hubd.core.milestones import AWAY, NO_ROUTE, REPLACED, RETRACTED, Tally
from hubd.core.notification import Notification
from hubd.core.record import Budget, Record
from hubd.core.stored import Close, Fact, Kept, Lane, Note
from hubd.core.users import NOBODY, UserSet
from hubd.hub import Hub
from hubd.storing import RETRY_S, StoreError, Written, all_stored
from hubd.taking_up import made_again

FIND_S = 2.0
"""How long the store may take to find something."""
_WAS_SENT = (AWAY, NO_ROUTE, REPLACED)
"""Why somebody didn't get it though nothing kept it from him."""
_MORE_IS_KNOWN = ("acked", "pushed", "dropped", "replaced", "expired")


class LookUp:
    """Finds notifications by their ids, and takes them back wherever they are."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def for_server(self, id: str, matches: Callable[[str], bool]) -> Notification | None:
        """The one with this id of which a channel ``matches``; a ``Problem`` when the store can't say."""
        hub = self._hub
        for found in (*hub.rings.find_all(id, hub.clock.monotonic()), *map(_notification, self._open(id))):
            if any(map(matches, found.channels)):
                return found
        for record in await self._stored(id):
            if any(map(matches, record.channels)):
                return record.notification
        return None

    async def for_user(self, id: str, user: str) -> tuple[Notification, str] | None:
        """The one with this id that was sent to a user, and the channel that reaches him; a ``Problem`` as above."""
        hub = self._hub
        if (found := hub.sent_to(id, user)) is not None:
            return found
        number = hub.numbers.find(user)
        if number is None:
            return None
        for record in self._open(id):
            if _was_sent(record, number):
                return _notification(record), _channel_to(record, user, number)
        for record in await self._stored(id):
            if _was_sent(record, number):
                return _notification(record), _channel_to(record, user, number)
        return None

    async def retract(self, notification: Notification) -> None:
        """Take it back: out of the rings, off the screens of those who have it, and what was still to be done.

        Where it is stored, that it was taken back is on the disk when this returns; a ``Problem`` when it isn't.
        """
        hub, delivering = self._hub, self._hub.delivering
        hub.retract(notification)
        if hub.store is None:
            return
        try:
            rows = list(await self._rows(notification.id)) if notification.is_durable else []
        except StoreError as error:
            raise _not_stored(error) from None
        known = self._known(notification.id)
        written: list[Written] = []
        for kept in rows:
            if kept.row.body != notification.body:
                continue
            record = known.pop(kept.row.key, None)
            if record is None:
                written.append(self._note(kept.row.key, _unseen(kept)))
                continue
            if not _is_retracted(record):  # nothing had been open about it
                delivering.delivery.retracted(record, delivering.moment())
            written += self._end(record)
        for record in known.values():
            if _is_retracted(record):
                written += self._end(record)
        try:
            await all_stored(written)
        except StoreError as error:
            raise _not_stored(error) from None

    def _note(self, key: str, users: UserSet) -> Written:
        """Behind all that is to be written about it already."""
        assert self._hub.store is not None
        return self._hub.store.write(Note(Fact(key, "retracted", users, self._hub.delivering.moment().ms)), Lane.ACK)

    def _end(self, record: Record) -> list[Written]:
        """The same, and that nothing is open about it any more: the hub has both noted, but nobody waits for that."""
        assert self._hub.store is not None
        moment = self._hub.delivering.moment()
        keep_until = int((moment.wall + record.expires_at - moment.mono) * 1000) if record.is_durable else 0
        closed = self._hub.store.write(Close(record.key, keep_until), Lane.ACK)
        return [self._note(record.key, record.milestones.at(RETRACTED)), closed]

    def _open(self, id: str) -> list[Record]:
        """What is open about notifications with this id."""
        now = self._hub.clock.monotonic()
        records = self._hub.delivering.ledger.find_all(id)
        return [one for one in records if one.is_open and one.notification is not None and one.expires_at > now]

    def _known(self, id: str) -> dict[str, Record]:
        """Records of stored publications with this id, by their keys, whether anything is open about them or not."""
        return {record.key: record for record in self._hub.delivering.ledger.find_all(id) if record.is_stored}

    async def _rows(self, id: str) -> Sequence[Kept]:
        assert self._hub.store is not None
        try:
            async with asyncio.timeout(FIND_S):
                rows = await self._hub.store.find_rows(id)
                known = self._known(id)
                # There may be very many facts: what they say of a row is here already, where there is its record.
                return rows if all(kept.row.key in known for kept in rows) else await self._hub.store.find(id)
        except TimeoutError:
            raise StoreError("it takes too long") from None

    async def _stored(self, id: str) -> list[Record]:
        """What the store has of it, as records that count nowhere."""
        hub = self._hub
        if hub.store is None:
            return []
        try:
            rows = await self._rows(id)
        except StoreError as error:
            why = f"the store can't be asked at the moment ({error}): try again"
            raise Problem("unavailable", why, (), RETRY_S) from None
        moment, known = hub.delivering.moment(), self._known(id)
        gone = {record.key for record in hub.delivering.ledger.find_all(id) if _is_retracted(record)}
        found = []
        for row, facts, _ in rows:
            if row.key in gone or row.expires_at <= moment.ms or any(fact.kind == "retracted" for fact in facts):
                continue
            notification = made_again(row, moment.mono, moment.wall)
            record = Record(row.key, notification, row.everybody, row.may_push, Tally(), Budget())
            if (same := known.get(row.key)) is not None:
                record.milestones = same.milestones
            else:
                record.fold(facts)
            found.append(record)
        return found


def _notification(record: Record) -> Notification:
    assert record.notification is not None
    return record.notification


def _is_retracted(record: Record) -> bool:
    return any(step.what == "retracted" for step in record.steps)


def _was_sent(record: Record, number: int) -> bool:
    """Whether it was meant for a user (by number), and nothing has kept it from him or keeps it still."""
    milestone = record.milestones.of(number)
    return milestone is not None and (milestone in _WAS_SENT or not milestone.startswith(("held(", "dropped(")))


def _channel_to(record: Record, user: str, number: int) -> str:
    """The first of its channels that reaches a user for whom it was meant."""
    channels = record.channels
    ways = {BROADCAST, user_channel(user)}.intersection(channels)
    ways.update(topic for topic, users in _notification(record).audience if number in users)
    if not ways:  # he joined one of its topics just before it was published
        ways.update(name for name in channels if parse_channel(name).kind is Kind.TOPIC)
    return min(ways or channels, key=channels.__getitem__)


def _unseen(kept: Kept) -> UserSet:
    """Those of a row for whom nothing else came of it."""
    users = kept.row.everybody
    for fact in kept.facts:
        if fact.kind in _MORE_IS_KNOWN:
            users = users - fact.users
    return users or NOBODY


def _not_stored(error: StoreError) -> Problem:
    why = f"it is taken back here, but that can't be stored at the moment ({error}): send it again"
    return Problem("unavailable", why, (), RETRY_S)
