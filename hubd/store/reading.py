"""What is read: everything at the start, in slices, and one notification when somebody asks."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hubd.core.stored import Fact, Kept, Scheduled, StoredAnswer, StoredDevice
from hubd.core.subscriptions import Grant
from hubd.core.users import UserSet, union_of
from hubd.store import tables
from hubd.store.packing import unpack_row, unpack_users
from hubd.store.uniting import United

SLICE = 200
"""How many notifications are read at a time, with their sets."""
SMALL_SLICE = 5000
_ROWS_AT_ONCE = 20
_FACTS_AT_ONCE = 500
"""After so many everybody else has his turn."""
_FOUND = 100
"""How many notifications with one id are given at most, the latest ones."""
_KEPT_FROM = ("held", "dropped", "released", "retracted")
"""What facts say of those who aren't to see a notification."""
_LARGE = 10_000  # bytes
_PURGE_ROWS = 200_000
"""With more rows than these nobody looks through them all at the start for users who could be forgotten."""


async def read_state(connection: AsyncConnection) -> tuple[int, int, int, int]:
    """The numbers of the last transaction, of the next user and of the last probe, and the highest ``seq``."""
    state, rows, facts = tables.state, tables.notifications, tables.facts
    batch, next_number, probe = (
        await connection.execute(select(state.c.batch, state.c.next_number, state.c.probe))
    ).one()
    seqs = [(await connection.execute(select(func.max(table.c.seq)))).scalar() or 0 for table in (rows, facts)]
    highest = (await connection.execute(select(func.max(tables.users.c.number)))).scalar() or 0
    return batch, max(next_number, highest + 1), probe, max(seqs)


async def read_users(connection: AsyncConnection) -> list[tuple[int, str]]:
    """All users, by number."""
    found = await connection.execute(select(tables.users.c.number, tables.users.c.id).order_by(tables.users.c.number))
    return [(number, id) for number, id in found]


async def read_subscriptions(connection: AsyncConnection) -> list[tuple[str, str, Grant]]:
    """All durable subscriptions."""
    table = tables.subscriptions
    found = await connection.execute(
        select(
            table.c.user_id, table.c.topic, table.c.by_server, table.c.patterns, table.c.checked_at, table.c.allowed
        ).order_by(table.c.user_id, table.c.topic)
    )
    return [
        (user, topic, Grant(by_server, tuple(orjson.loads(patterns)), checked_at, allowed))
        for user, topic, by_server, patterns, checked_at, allowed in found
    ]


async def read_revoked(connection: AsyncConnection) -> list[tuple[str, float]]:
    """All revocations."""
    found = await connection.execute(select(tables.revoked).order_by(tables.revoked.c.since))
    return [(user, since) for user, since in found]


async def read_devices(connection: AsyncConnection) -> list[StoredDevice]:
    """All devices, by id. There may be very many: they come in slices."""
    table, devices, after = tables.devices, list[StoredDevice](), ""
    while True:
        statement = select(table).where(table.c.id > after).order_by(table.c.id).limit(SMALL_SLICE)
        found = (await connection.execute(statement)).all()
        devices += [
            StoredDevice(id, user, number, platform, app, bytes(address), registered_at, gone_at)
            for id, user, number, platform, app, address, registered_at, gone_at in found
        ]
        if len(found) < SMALL_SLICE:
            return devices
        after = devices[-1].id


async def read_secrets(connection: AsyncConnection) -> dict[str, bytes]:
    """What the hub signs with, by name."""
    return {name: bytes(value) for name, value in await connection.execute(select(tables.secrets))}


async def read_answers(connection: AsyncConnection, since: int = 0) -> list[StoredAnswer]:
    """The answers to publishers from this time on (Unix ms), the oldest first."""
    table = tables.answers
    found = await connection.execute(
        select(table).where(table.c.at >= since).order_by(table.c.at, table.c.publisher, table.c.id)
    )
    return [StoredAnswer(*row) for row in found]


async def read_scheduled(connection: AsyncConnection) -> list[Scheduled]:
    """All publish calls for later, the next first."""
    found = await connection.execute(
        select(tables.scheduled).order_by(tables.scheduled.c.deliver_at, tables.scheduled.c.key)
    )
    return [Scheduled(*row) for row in found]


async def read_open(connection: AsyncConnection, after: int) -> list[tuple[int, Kept]]:
    """The next slice of open notifications behind this ``seq``, each with its own."""
    rows = tables.notifications
    found = await connection.execute(
        select(rows).where(tables.is_open, rows.c.seq > after).order_by(rows.c.seq).limit(SLICE)
    )
    return await _with_facts(connection, found.all(), asyncio.Lock())


async def read_by_id(connection: AsyncConnection, id: str, turn: asyncio.Lock | None = None) -> list[Kept]:
    """The notifications with this id, the latest first; what became of them only with a ``turn`` to read facts.

    One reads them at a time: of very many who all wait for the same time, nobody would get his in time.
    """
    rows = tables.notifications
    found = await connection.execute(select(rows).where(rows.c.id == id).order_by(rows.c.seq.desc()).limit(_FOUND))
    return [kept for _, kept in await _with_facts(connection, found.all(), turn)]


async def read_meant(connection: AsyncConnection, ids: Sequence[str], number: int) -> list[str]:
    """The keys of the notifications with these ids that a user was meant to get, and that aren't kept from him."""
    rows, facts = tables.notifications, tables.facts
    keys: list[str] = []
    for place in range(0, len(ids), _FOUND):
        some = ids[place : place + _FOUND]
        found = await connection.execute(select(rows).where(rows.c.id.in_(some)).limit(SLICE))
        by_key = {kept.row.key: kept for kept in (unpack_row(row, ()) for row in found)}
        told: dict[str, list[str]] = {key: [] for key in by_key}
        if by_key:
            query = select(facts.c.key, facts.c.kind, facts.c.users).where(
                facts.c.key.in_(by_key), facts.c.kind.in_(("joined", *_KEPT_FROM))
            )
            for key, kind, users in await connection.execute(query):
                if number in UserSet.read(users):
                    told[key].append(kind)
        for key, kept in by_key.items():
            kinds = told[key] + [fact.kind for fact in kept.facts if number in fact.users]
            if (number in kept.row.everybody or "joined" in kinds) and not {*kinds} & {*_KEPT_FROM}:
                keys.append(key)
        await asyncio.sleep(0)
    return keys


async def _with_facts(
    connection: AsyncConnection, rows: Iterable[Sequence[Any]], turn: asyncio.Lock | None
) -> list[tuple[int, Kept]]:
    """Rows as they are used. There may be very many facts: others have their turn between."""
    found = list(rows)
    facts = {row[1]: United() for row in found}
    if facts and turn is not None:
        async with turn:
            await _read_facts(connection, facts)
    kept: list[tuple[int, Kept]] = []
    for row in found:
        kept.append((row[0], unpack_row(row, facts[row[1]].all())))
        if not len(kept) % _ROWS_AT_ONCE:
            await asyncio.sleep(0)
    return kept


async def _read_facts(connection: AsyncConnection, facts: dict[str, United]) -> None:
    table = tables.facts
    columns = table.c.key, table.c.kind, table.c.users, table.c.at, table.c.detail
    statement = select(*columns).where(table.c.key.in_(list(facts))).order_by(table.c.seq)
    async with connection.stream(statement) as later:
        async for part in later.partitions(_FACTS_AT_ONCE):
            for key, kind, users, at, detail in part:
                facts[key].add(Fact(key, kind, UserSet.read(users), at, detail))
            await asyncio.sleep(0)


async def closed_before(connection: AsyncConnection, now: int, limit: int) -> list[str]:
    """Keys of closed notifications that needn't be kept any longer."""
    rows = tables.notifications
    found = await connection.execute(
        select(rows.c.key).where(tables.is_closed, rows.c.keep_until <= now).order_by(rows.c.keep_until).limit(limit)
    )
    return [key for (key,) in found]


async def answers_before(connection: AsyncConnection, before: int, limit: int) -> list[tuple[str, str, str]]:
    """Answers from before this time (Unix ms): table, publisher and id."""
    table = tables.answers
    found = await connection.execute(
        select(table.c.table_name, table.c.publisher, table.c.id)
        .where(table.c.at < before)
        .order_by(table.c.at)
        .limit(limit)
    )
    return [(name, publisher, id) for name, publisher, id in found]


async def is_much(connection: AsyncConnection) -> bool:
    """Whether there is too much to look through all of it at the start."""
    rows, facts = tables.notifications, tables.facts
    there = [
        (await connection.execute(select(func.count()).select_from(table))).scalar() or 0 for table in (rows, facts)
    ]
    return sum(there) > _PURGE_ROWS


async def referred_users(connection: AsyncConnection) -> UserSet:
    """Everybody whom anything refers to that was stored when this began. Others have their turn between."""
    rows, facts = tables.notifications, tables.facts
    referred = UserSet()
    for table in (tables.subscriptions, tables.devices):
        found = await connection.execute(select(table.c.number))
        referred = referred | UserSet(number for (number,) in found)
    for seq, column, read in ((rows.c.seq, rows.c.sets, unpack_users), (facts.c.seq, facts.c.users, UserSet.read)):
        async for values in _sliced(connection, seq, column):
            sets = [referred]
            for value in values:
                sets.append(read(value))
                if len(value) > _LARGE:
                    await asyncio.sleep(0)
            referred = union_of(sets)
            await asyncio.sleep(0)
    return referred


async def _sliced(connection: AsyncConnection, seq: Any, column: Any) -> AsyncIterator[list[bytes]]:
    after = -1
    while True:
        found = (await connection.execute(select(seq, column).where(seq > after).order_by(seq).limit(SLICE))).all()
        yield [value for _, value in found]
        if len(found) < SLICE:
            return
        after = found[-1][0]
