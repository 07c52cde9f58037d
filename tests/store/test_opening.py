"""Opening a store: what is made, who may, and what is said when it can't be."""

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hubd.clock import SystemClock
from hubd.core.stored import Lane
from hubd.core.users import UserNumbers
from hubd.store.off import NoStore
from hubd.store.opening import open_store
from hubd.store.writer import Writer
from hubd.storing import Store, StoreError
from hubd.tasks import Tasks
from hubd.testing import FakeClock
from tests.store.postgres_server import HOST, PostgresServer
from tests.store.store_world import opened, until


async def why_not(url: str, start_s: float = 0.0) -> str:
    """Why a store can't be opened."""
    tasks = Tasks()
    with pytest.raises(StoreError) as error:
        await asyncio.wait_for(open_store(url, SystemClock(), UserNumbers(), tasks, start_s=start_s), 30)
    assert not tasks.running
    assert "pass-word-9" not in str(error.value)
    return str(error.value)


async def test_off_stores_nothing() -> None:
    store: Store = await open_store("off", SystemClock(), UserNumbers(), Tasks())
    assert isinstance(store, NoStore)
    assert store.trouble == ""
    assert (await store.load()).users == ()
    assert [kept async for kept in store.open_rows()] == []
    assert list(await store.find("x")) == []
    await store.close(1)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite:///nowhere/hubd.db", "No such file or directory"),
        ("sqlite://", "off"),
        ("sqlite:///:memory:", "off"),
        ("mysql://root@host/db", "neither"),
        ("postgresql://[", "no address"),
    ],
)
async def test_a_wrong_address(url: str, why: str) -> None:
    assert why in await why_not(url)


async def test_a_folder_and_a_file_of_another_kind(tmp_path: Path) -> None:
    assert "Is a directory" in await why_not(f"sqlite:///{tmp_path}")
    (tmp_path / "text").write_text("no database " * 1000)
    assert await why_not(f"sqlite:///{tmp_path}/text") == "the file is no SQLite database"


async def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/hubd.db"):
        pass
    # Root may write anywhere: so somebody else tries it.
    code = """if True:
        import asyncio, os, sys
        from tests.store.test_opening import why_not
        import hubd.store.sql_store, aiosqlite, alembic.command, alembic.config, logging.config
        if os.getuid() == 0:
            os.setuid(65534)
        print(asyncio.run(why_not(sys.argv[1])))
    """
    os.chmod(tmp_path, 0o555)
    for file in tmp_path.iterdir():
        os.chmod(file, 0o444)
    for parent in (tmp_path, *tmp_path.parents[:-1]):
        os.chmod(parent, parent.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path}/hubd.db"], capture_output=True, text=True, timeout=60
    )
    os.chmod(tmp_path, 0o755)
    assert done.returncode == 0, done.stderr
    assert "Permission denied" in done.stdout


async def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/hubd.db") as world:
        await world.store.write(world.keep("k"), Lane.PUBLISH)
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("hubd.db", "hubd.db-wal", "hubd.db-shm", "hubd.db.lock"), 0o600)


async def test_a_second_hub_is_kept_out_and_comes_in_when_the_first_ends(url: str) -> None:
    async with opened(url):
        assert "another hub uses this database" in await why_not(url)
    async with opened(url):
        waiting = asyncio.create_task(open_store(url, SystemClock(), UserNumbers(), tasks := Tasks()))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    store = await asyncio.wait_for(waiting, 30)
    await store.close(5)
    await tasks.close()


async def test_postgres_is_waited_for_while_it_starts(postgres: PostgresServer) -> None:
    server = PostgresServer()
    try:
        url = server.url(server.new_database())
        server.stop()
        assert await why_not(url, start_s=0.6) == "the database can't be reached"
        waiting = asyncio.create_task(open_store(url, SystemClock(), UserNumbers(), tasks := Tasks()))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        server.start(wait=False)
        store = await asyncio.wait_for(waiting, 30)
        await store.close(5)
        await tasks.close()
    finally:
        server.remove()


async def test_what_waiting_does_not_mend_is_said_at_once(postgres: PostgresServer) -> None:
    why = await why_not(postgres.url("nosuchdatabase"), start_s=30)
    assert why == "there is no such database"
    postgres.query("CREATE ROLE weak LOGIN")
    postgres.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name := postgres.new_database())
    url = f"postgresql://weak@{HOST}:{postgres.port}/{name}"
    assert await why_not(url, start_s=30) == "the database user lacks a permission"


async def test_the_tables_are_those_of_the_program(url: str) -> None:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

    from hubd.store.database import database_of
    from hubd.store.migrating import HEAD, VERSIONS, alembic_config, migrate
    from hubd.store.tables import metadata

    def differences(connection: Connection) -> list[object]:
        from alembic.autogenerate import compare_metadata

        context = MigrationContext.configure(connection, opts={"version_table": VERSIONS})
        return list(compare_metadata(context, metadata))

    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == HEAD
    database = database_of(url)
    assert await migrate(database.engine)
    assert not await migrate(database.engine)
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_a_first_start_says_one_thing(url: str, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("alembic", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    with caplog.at_level(logging.INFO):
        async with opened(url):
            pass
        async with opened(url):
            pass
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["store_migrated"]


async def test_a_start_that_fails_halfway_does_not_keep_the_next_one_out(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [RuntimeError(), RuntimeError()]
    settle = Writer._settle

    def failing(self: Writer, number: int) -> None:
        if faults:
            raise faults.pop()
        settle(self, number)

    monkeypatch.setattr(Writer, "_settle", failing)
    async with opened(url) as world:
        await world.store.write(world.keep("k"), Lane.PUBLISH)
    assert not faults


async def test_it_is_tried_again_soon_and_then_less_often(sqlite_url: str) -> None:
    clock, pauses = FakeClock(), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    async with opened(sqlite_url):
        with pytest.raises(StoreError, match="another hub"):
            await open_store(sqlite_url, clock, UserNumbers(), Tasks(), sleep=sleep, start_s=2.0)
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5]


async def test_a_damaged_file_is_not_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hubd.db"
    (tmp_path / "hubd.db").write_text("no database " * 1000)
    assert await why_not(url, start_s=1000) == "the file is no SQLite database"
    (tmp_path / "hubd.db").unlink()
    async with opened(url):
        pass
    data = bytearray((tmp_path / "hubd.db").read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    (tmp_path / "hubd.db").write_bytes(data)
    assert await why_not(url, start_s=1000) == "the database is damaged"


async def test_a_newer_hubs_database_is_left_alone(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/hubd.db"):
        pass
    with sqlite3.connect(tmp_path / "hubd.db") as connection:
        connection.execute("UPDATE hubd_alembic_version SET version_num = '9999'")
    connection.close()
    assert "newer hubd" in await why_not(f"sqlite:///{tmp_path}/hubd.db", start_s=30)


async def test_a_migration_that_fails_leaves_nothing_behind(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.operations import Operations

    from hubd.store.database import database_of
    from hubd.store.migrating import migrate

    database = database_of(url)
    with monkeypatch.context() as patch:
        patch.setattr(Operations, "bulk_insert", None)
        with pytest.raises(TypeError):
            await migrate(database.engine)
    async with database.engine.connect() as connection:
        from sqlalchemy import inspect

        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == []
    assert await migrate(database.engine)
    await database.close()


def loaded_by(url: str) -> set[str]:
    """The libraries that a process has loaded when it has opened and closed a store."""
    code = """if True:
        import asyncio, sys
        from hubd.clock import SystemClock
        from hubd.core.users import UserNumbers
        from hubd.store.opening import open_store
        from hubd.tasks import Tasks

        async def main():
            tasks = Tasks()
            store = await open_store(sys.argv[1], SystemClock(), UserNumbers(), tasks)
            await store.load()
            await store.close(5)
            await tasks.close()

        asyncio.run(main())
        print(*{"sqlalchemy", "alembic", "aiosqlite", "asyncpg"} & sys.modules.keys())
    """
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_libraries_are_loaded_when_they_are_needed(tmp_path: Path, postgres_url: str) -> None:
    url = f"sqlite:///{tmp_path}/hubd.db"
    assert loaded_by("off") == set()
    assert loaded_by(url) == {"sqlalchemy", "alembic", "aiosqlite"}
    assert loaded_by(url) == {"sqlalchemy", "aiosqlite"}
    assert loaded_by(postgres_url) == {"sqlalchemy", "alembic", "asyncpg", "aiosqlite"}


async def test_threads_and_connections_are_gone_after_closing(url: str, postgres: PostgresServer) -> None:
    import threading

    before = threading.active_count()
    async with opened(url) as world:
        await world.store.write(world.keep("k"), Lane.PUBLISH)
        await world.store.find("id-k")
    await until(lambda: threading.active_count() <= before)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hubd'"
    await until(lambda: postgres.query(count) == "0")


async def test_commits_are_flushed_whatever_the_server_is_set_to(postgres: PostgresServer) -> None:
    name = postgres.new_database()
    for setting, holds in (("off", "on"), ("remote_apply", "remote_apply")):
        postgres.query(f"ALTER DATABASE {name} SET synchronous_commit = {setting}")
        async with opened(postgres.url(name)) as world:
            link = world.store._writer._link
            assert link is not None
            assert await link.fetch("SELECT current_setting('synchronous_commit')") == [(holds,)]
