"""One connection that writes, in the driver's own words: a transaction is few calls of it, whatever is in it."""

import asyncio
import sqlite3
from contextlib import suppress
from typing import Any, Protocol

import aiosqlite

from hubd.store.batch import Values, Work
from hubd.store.words import Unusable

SYNCHRONOUS_FULL = 2
TRANSACTION = "the whole transaction"


class Link(Protocol):
    """A connection for transactions. After a failure of the database it is to be dropped, not used again."""

    async def transact(self, work: Work) -> None:
        """Carry all of it out in one transaction; it is on the disk when this returns."""
        ...

    async def roll_back(self) -> None:
        """Undo what a ``transact`` has begun that failed by one of its writes."""
        ...

    async def fetch(self, query: str, *values: Any) -> list[Values]:
        """The rows that a query gives."""
        ...

    async def verify(self, *, thoroughly: bool) -> None:
        """See whether it keeps what it is given for good; ``Unusable`` when it doesn't."""
        ...

    def drop(self) -> "asyncio.Future[None] | None":
        """Let go of it at once, whatever it is doing; gives when it has ended, where that takes its time."""
        ...

    async def close(self) -> None:
        """End it in peace."""
        ...


class WholeTransactions(sqlite3.Connection):
    """A connection that takes a whole transaction in one call, as each call is a journey to its thread and back."""

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """As every connection's; for ``TRANSACTION`` its parameters are work, which is carried out and committed."""
        if sql is not TRANSACTION:
            return super().executemany(sql, parameters)
        for statement, rows in parameters:
            cursor = super().executemany(statement, rows)
        self.commit()
        return cursor


class SqliteLink:
    """A connection to SQLite. Its first change begins a transaction with ``BEGIN IMMEDIATE``.

    ``is_whole``: it has ``WholeTransactions`` below it.
    """

    def __init__(self, driver: aiosqlite.Connection, *, is_whole: bool = False) -> None:
        self._driver = driver
        self._is_whole = is_whole

    async def transact(self, work: Work) -> None:
        """Carry all of it out in one transaction."""
        if self._is_whole:
            await self._driver.executemany(TRANSACTION, work)
            return
        for statement, rows in work:
            await self._driver.executemany(statement, rows)
        await self._driver.commit()

    async def roll_back(self) -> None:
        """Undo what a ``transact`` has begun."""
        await self._driver.rollback()

    async def fetch(self, query: str, *values: Any) -> list[Values]:
        """The rows that a query gives."""
        return [tuple(row) for row in await self._driver.execute_fetchall(query, values)]

    async def verify(self, *, thoroughly: bool) -> None:
        """See whether commits are flushed, and whether the file is sound."""
        ((level,),) = await self.fetch("PRAGMA synchronous")
        ((journal,),) = await self.fetch("PRAGMA journal_mode")
        if level < SYNCHRONOUS_FULL or journal != "wal":
            raise Unusable("SQLite doesn't flush its commits as it should")
        if not thoroughly:
            return
        if (found := await self.fetch("PRAGMA quick_check(1)")) != [("ok",)]:
            raise Unusable("the database is damaged" if found else "the database can't be checked")
        # What could not be flushed is perhaps only in the system's memory, and looks as if it were on the disk. Copied
        # from the WAL into the file it is written, and flushed, once more.
        ((is_busy, *_),) = await self.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
        if is_busy:
            raise Unusable("the database is locked by another program")

    def drop(self) -> "asyncio.Future[None] | None":
        """Let go of it: its thread ends when the call that it is in does."""
        return self._driver.stop()

    async def close(self) -> None:
        """End it."""
        await self._driver.close()


class PostgresLink:
    """A connection to PostgreSQL."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def transact(self, work: Work) -> None:
        """Carry all of it out in one transaction."""
        driver = self._driver
        await driver.execute("BEGIN")
        for statement, rows in work:
            await driver.executemany(statement, rows)
        # A transaction in which something failed ends in ROLLBACK, without an error.
        if await driver.execute("COMMIT") != "COMMIT":
            raise Unusable("the database did not commit")

    async def roll_back(self) -> None:
        """Undo what a ``transact`` has begun."""
        await self._driver.execute("ROLLBACK")

    async def fetch(self, query: str, *values: Any) -> list[Values]:
        """The rows that a query gives."""
        return [tuple(row) for row in await self._driver.fetch(query, *values)]

    async def verify(self, *, thoroughly: bool) -> None:
        """See whether commits are flushed, and whether it takes writes."""
        ((flushes,),) = await self.fetch("SELECT current_setting('synchronous_commit')")
        if flushes == "off":
            raise Unusable("PostgreSQL doesn't flush its commits (synchronous_commit is off)")

    def drop(self) -> "asyncio.Future[None] | None":
        """Let go of it: the socket is closed."""
        self._driver.terminate()
        return None

    async def close(self) -> None:
        """End it."""
        with suppress(TimeoutError, asyncio.TimeoutError):
            await self._driver.close(timeout=2)
