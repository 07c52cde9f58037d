"""Which database, and how it is connected to: everything in which SQLite and PostgreSQL differ, but for the links."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import event, pool
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hubd.claim import Claim
from hubd.store.links import Link, PostgresLink, SqliteLink, WholeTransactions
from hubd.store.words import Unusable
from hubd.storing import StoreError

BUSY_MS = 2000
"""How long SQLite waits for somebody else's lock."""
_WAL_BYTES = 64 << 20
_CONNECT_S = 5
_STATEMENT_MS = 8000
"""How long PostgreSQL may take for one statement; less than a commit may take in all."""
_SETTINGS = {
    "application_name": "hubd",
    "statement_timeout": str(_STATEMENT_MS),
    "lock_timeout": str(BUSY_MS),
    "idle_in_transaction_session_timeout": str(2 * _STATEMENT_MS),
}
_LOCK = 0x68756264_73746F72
"""The advisory lock that says that a hub uses this database ("hubdstor")."""

Connector = Callable[[], Awaitable[Any]]
"""Makes a driver's connection (``aiosqlite.Connection``, ``asyncpg.Connection``), in another way than the usual."""


class Database(Protocol):
    """How one kind of database is reached."""

    engine: AsyncEngine
    """For reading and for migrations: connections of their own."""

    async def link(self) -> Link:
        """A connection for transactions; there is one hub that has one."""
        ...

    def claim(self) -> bool:
        """See to it that nobody else uses the database, where that isn't seen when linking; False: somebody does."""
        ...

    async def close(self) -> None:
        """Close whatever is still connected."""
        ...


def database_of(text: str, connector: Connector | None = None) -> Database:
    """The database of an address from the config; ``StoreError`` when it is none that can be used."""
    try:
        url = make_url(text)
    except Exception:  # its message quotes the password
        raise StoreError("[store] url is no address of a database") from None
    kind = url.drivername.partition("+")[0]
    if kind == "sqlite":
        return SqliteDatabase(url, connector)
    if kind in ("postgresql", "postgres"):
        return PostgresDatabase(text, connector)
    raise StoreError("[store] url is neither sqlite:///... nor postgresql://...")


class SqliteDatabase:
    """A SQLite file in WAL mode, whose commits are flushed."""

    def __init__(self, url: URL, connector: Connector | None) -> None:
        path = url.database or ""
        if path in ("", ":memory:") or path.startswith("file:"):
            raise StoreError('[store] url names no file; to store nothing, say "off"')
        self._path = Path(path)
        self._claim: Claim | None = None
        self._is_own = connector is None
        if connector is not None:
            more: dict[str, Any] = {"async_creator": connector}
        else:
            # A change begins its transaction with the lock: what can't be had is known before anything is done.
            how = {"isolation_level": "IMMEDIATE", "timeout": BUSY_MS / 1000, "factory": WholeTransactions}
            more = {"connect_args": how}
        address = URL.create("sqlite+aiosqlite", database=str(self._path))
        self.engine = create_async_engine(address, poolclass=pool.NullPool, hide_parameters=True, **more)
        event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)

    def claim(self) -> bool:
        """Take the lock beside the file, and make the file, which nobody else may read."""
        if not self._is_own:
            return True
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            if self._claim is None:
                self._claim = Claim(self._path)
            return self._claim.take()
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror or 'it cannot be opened'}") from None

    async def link(self) -> Link:
        """A connection that begins each transaction with the lock."""
        connection = await self.engine.raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()
        return SqliteLink(driver, is_whole=self._is_own)

    async def close(self) -> None:
        """Close what is connected, and give the file back."""
        await self.engine.dispose()
        if self._claim is not None:
            self._claim.close()
            self._claim = None


def _prepare_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    cursor.close()


class PostgresDatabase:
    """A PostgreSQL database. One hub has the advisory lock: whoever has it knows that all before him have ended."""

    def __init__(self, text: str, connector: Connector | None) -> None:
        try:
            import asyncpg
        except ImportError:
            raise StoreError("PostgreSQL needs the library asyncpg: pip install 'asyncpg>=0.31,<1'") from None

        async def connect(*_: Any, **__: Any) -> Any:
            try:
                return await asyncpg.connect(text, timeout=_CONNECT_S, server_settings=_SETTINGS)
            except ValueError:  # its message quotes what is wrong
                raise StoreError("[store] url is no address of a PostgreSQL database") from None

        self._connect = connector or connect
        self.engine = create_async_engine(
            "postgresql+asyncpg://", poolclass=pool.NullPool, hide_parameters=True, async_creator=self._connect
        )

    def claim(self) -> bool:
        """Nothing to do: it is seen when linking."""
        return True

    async def link(self) -> Link:
        """A connection with the lock. Whose lock it was has ended wholly then, with whatever it was committing."""
        driver = await self._connect()
        try:
            async with asyncio.timeout(_CONNECT_S):
                # Whatever else it may be set to flushes more or elsewhere, as somebody wants it.
                if await driver.fetchval("SELECT current_setting('synchronous_commit')") == "off":
                    await driver.execute("SET synchronous_commit = on")
                if not await driver.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                    raise Unusable("another hub uses this database, or one that ends only now")
        except BaseException:
            driver.terminate()
            raise
        return PostgresLink(driver)

    async def close(self) -> None:
        """Close what is connected."""
        await self.engine.dispose()
