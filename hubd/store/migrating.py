"""Bringing the tables to what this version of hubd needs, at the start. alembic is loaded only when there is need."""

import logging
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from hubd.storing import StoreError

HEAD = "0002"
"""The last revision in ``migrations/versions``."""
VERSIONS = "hubd_alembic_version"
"""The table in which alembic keeps the database's revision."""
_FOLDER = Path(__file__).parent / "migrations"


async def migrate(engine: AsyncEngine) -> bool:
    """Make or change the tables where they aren't as they must be; tells whether there was anything to do.

    ``StoreError`` when a newer hubd has changed them.
    """
    async with engine.connect() as connection:
        if await connection.run_sync(_revision) == HEAD:
            return False
    async with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # Its driver begins no transaction for changes of tables. Half a change must not be left behind.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            await connection.begin()
            await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        await connection.run_sync(_upgrade)
        await connection.commit()
    return True


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSIONS):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalar()  # noqa: S608
    return found


def _upgrade(connection: Connection) -> None:
    # It tells of every plugin of its own and every step; what is to be known of it the store says.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError:
        raise StoreError("a newer hubd has changed its tables: run that one, or give another database") from None


def alembic_config(connection: Connection | None = None) -> Any:
    """What alembic has to know; with it ``alembic.command`` does whatever it can do."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
