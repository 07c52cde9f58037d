"""How a hub takes up what the one before has left: in its store, and in the file of a clean stop.

``remembered`` comes first, the hub is built with what it gives, and then ``take_up`` has everything open go on. Nobody
may be connected before that is done.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.cursor import Cursor
from hubd.core.milestones import AWAY, EXPIRED, LIVE_SENT, NO_ROUTE, PENDING, PUSHED
from hubd.core.notification import Notification, Persistence
from hubd.core.record import Record
from hubd.core.stored import Kept, Lane, Remember, Revoke, Row, StoredAnswer, Subscribe, Write
from hubd.core.users import Snapshot, UserNumbers, UserSet, snapshot_of
from hubd.hub import Hub
from hubd.idempotency import Answered
from hubd.ids import Ids
from hubd.memory import Memory, Receipt
from hubd.saved import load, read_body
from hubd.storing import Loaded, Store

SLICE = 20
"""So many open notifications are taken up before the loop gets its turn."""
WRITES = 1000
"""So many writes are given to the store at a time."""
_MAY_SEE = (PENDING, LIVE_SENT, PUSHED, EXPIRED, AWAY, NO_ROUTE)
"""The milestones of those who may read it again."""


async def remembered(
    store: Store | None, saved: Path | None, config: Config, clock: Clock, ids: Ids, numbers: UserNumbers
) -> Memory:
    """What there is from before; ``numbers`` are those that the store was opened with.

    ``saved`` is the file that a clean stop left, if there is any: it is gone then. ``StoreError`` when the store can't
    be read; then the file is still there.
    """
    if store is None:
        return load(saved, config, clock, ids)
    loaded = await store.load()
    memory = load(saved, config, clock, ids, partial(_memory_of, store, loaded, config, clock, numbers))
    memory.unstored = tuple(_not_stored(memory, loaded, clock))
    return memory


def _memory_of(store: Store, loaded: Loaded, config: Config, clock: Clock, numbers: UserNumbers, epoch: str) -> Memory:
    """A memory with all that the store has, but for what is open."""
    memory = Memory(config, clock, epoch, numbers=numbers, store=store)
    memory.revoked.update(loaded.revoked)
    memory.scheduled = tuple(loaded.scheduled)
    for _, _, grant in loaded.subscriptions:
        grant.stored_at = grant.checked_at
    memory.durables.put_back(loaded.subscriptions)
    memory.durables.lapse(clock.now())
    memory.devices.put_back(loaded.devices)
    memory.secrets.update(loaded.secrets)
    now = clock.monotonic() - clock.now()  # what is to be added to a time of the wall clock
    for one in loaded.answers:
        # One without a cursor was stored, and the hub ended before it was published: that comes after this.
        receipt = Receipt(one.id, one.cursor or str(Cursor(epoch, 0)), one.live)
        since = min(clock.monotonic(), now + one.at / 1000)
        memory.answers.put_back(one.table, (one.publisher, one.id), Answered(one.fingerprint, receipt, since))
    memory.answers.expire()
    return memory


def _not_stored(memory: Memory, loaded: Loaded, clock: Clock) -> Iterable[Write]:
    """What the memory has, and the store hasn't."""
    known = dict.fromkeys((user, topic) for user, topic, _ in loaded.subscriptions)
    for user, topic, grant in memory.durables.all():
        if (user, topic) not in known:
            grant.stored_at = grant.checked_at
            yield Subscribe(user, memory.numbers.number_of(user), topic, grant)
    stored = dict(loaded.revoked)
    for user, since in memory.revoked.items():
        if stored.get(user) != since:
            yield Revoke(user, since)
    answers = dict.fromkeys((one.table, one.publisher, one.id) for one in loaded.answers)
    since_start = clock.now() - clock.monotonic()
    for table, key, answered in memory.answers.answered():
        if (table, *key) not in answers:
            at = int((since_start + answered.since) * 1000)
            cursor, live = answered.answer.cursor, answered.answer.live
            yield Remember(StoredAnswer(table, *key, answered.fingerprint, cursor, live, at))


async def take_up(hub: Hub) -> int:
    """Have everything go on that was open when the hub before ended; gives how many notifications that were.

    ``StoreError`` when the store can't be read, or doesn't take what a file brought from before there was a store.
    """
    if hub.store is None:
        return 0
    memory = hub.memory
    for place in range(0, len(memory.unstored), WRITES):
        await asyncio.gather(*(hub.store.write(write, Lane.ACK) for write in memory.unstored[place : place + WRITES]))
    memory.unstored = ()
    count = 0
    async for kept in hub.store.open_rows():
        await _take_up_one(hub, kept)
        count += 1
        if count % SLICE == 0:
            await asyncio.sleep(0)
    hub.delivering.wake()
    hub.scheduling.restore(memory.scheduled)
    memory.scheduled = ()
    return count


async def _take_up_one(hub: Hub, kept: Kept) -> None:
    delivering = hub.delivering
    if (notification := _in_rings(hub, kept.row)) is not None:
        notification.push = kept.row.push  # the rings have nothing of it
        delivering.restore(kept, notification)
        record = _record_of(notification)
        record.sequence = notification.sequence
        delivering.go_on(record)
        return
    notification = made_again(kept.row, delivering.moment().mono, delivering.moment().wall)
    delivering.restore(kept, notification)
    record = _record_of(notification)
    meant = snapshot_of(kept.row.everybody | record.everybody)
    notification.judged = meant  # whoever else comes to read it, gates are asked about
    notification.excluded = _excluded(meant, record)
    if notification.live_only or notification.expires_at <= delivering.moment().mono:
        delivering.go_on(record)  # and ends in the next moment, but for those for whom it is held
    else:
        await hub.publishing.restore(notification)


def _record_of(notification: Notification) -> Record:
    assert notification.record is not None
    return notification.record


def _in_rings(hub: Hub, row: Row) -> Notification | None:
    """The very publication of a row, where a ring has it: there may be others with the same id."""
    for notification in hub.rings.find_all(row.id, hub.clock.monotonic()):
        is_same = notification.body == row.body and tuple(notification.channels) == row.channels
        if is_same and notification.record is None:
            return notification
    return None


def made_again(row: Row, mono: float, wall: float) -> Notification:
    """The notification that was stored in a row."""
    made = Notification(
        **read_body(row.body),
        channels={name: place for place, name in enumerate(row.channels)},
        persistence=Persistence(row.persistence),
        expires_at=mono + row.expires_at / 1000 - wall,
        live_only=row.expires_at <= row.sent_at,
        collapse_key=row.collapse_key,
        group=row.group,
        push=row.push,
    )
    made.audience = tuple((topic, snapshot_of(users)) for topic, users in row.topics)
    return made


def _excluded(meant: UserSet, record: Record) -> Snapshot | None:
    """Everybody it was meant for who isn't to read it again: it was acked, dropped, released, or is held for them."""
    for milestone in _MAY_SEE:
        meant = meant - record.milestones.at(milestone)
    meant = meant | record.live_off
    return snapshot_of(meant) if meant else None
