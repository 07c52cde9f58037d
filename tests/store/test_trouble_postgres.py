"""PostgreSQL goes away, stands still, comes back: the store says so, refuses, and heals by itself."""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hubd.core.stored import Lane
from hubd.storing import StoreError
from tests.store.postgres_server import PostgresServer
from tests.store.store_world import FAST, healed, opened, refused, until

LIMITS = replace(FAST, commit_s=1.0, open_s=1.0)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One of their own: the other tests' goes on."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def database(server: PostgresServer) -> str:
    return server.new_database()


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["immediate", "fast"])
async def test_stopped_and_started_again(server: PostgresServer, database: str, how: signal.Signals) -> None:
    async with opened(server.url(database), limits=LIMITS) as world:
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        await asyncio.to_thread(server.stop, how)
        world.store.note(world.keep("noted"))
        why = await refused(world, "k2")
        assert why in ("the database can't be reached", "the database is shutting down")
        await until(lambda: world.store.trouble == "the database can't be reached")
        with pytest.raises(StoreError, match="can't be reached"):
            await world.store.find("id-k1")
        await asyncio.to_thread(server.start)
        await healed(world, "k1", "noted")


async def test_standing_still_in_the_middle_of_writing(server: PostgresServer, database: str) -> None:
    async with opened(server.url(database), limits=LIMITS) as world:
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        server.freeze()
        try:
            world.store.note(world.keep("noted"))
            assert await refused(world, "k2") == "the database takes too long"
            await until(lambda: world.store.trouble != "")
            assert await refused(world, "k3") == "the database takes too long"
        finally:
            server.thaw()
        # What it had been told to commit may be there at first: it was refused, so it is removed.
        await healed(world, "k1", "noted")


async def test_nothing_accepted_is_lost_over_many_sudden_stops(server: PostgresServer, database: str) -> None:
    accepted: list[str] = []
    refusals: list[str] = []
    is_over = False

    async with opened(server.url(database), limits=LIMITS) as world:

        async def publisher(name: int) -> None:
            turn = 0
            while not is_over:
                turn += 1
                key = f"{name}-{turn}"
                try:
                    await world.store.write(world.keep(key), Lane.PUBLISH)
                    accepted.append(key)
                except StoreError:
                    refusals.append(key)
                    await asyncio.sleep(0.01)

        publishers = [asyncio.create_task(publisher(name)) for name in range(8)]
        for _ in range(4):
            before = len(accepted)
            await until(lambda before=before: len(accepted) > before + 50)  # type: ignore[misc]
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
        await until(lambda: not world.store.trouble)
        is_over = True
        await asyncio.gather(*publishers)
        there = await world.open_keys()
        assert sorted(there) == sorted(accepted)  # all that was accepted, and nothing that was refused
        assert world.store.counts.failures >= 4
        assert refusals


async def test_a_statement_that_waits_for_a_lock(server: PostgresServer, database: str) -> None:
    import asyncpg

    async with opened(server.url(database), limits=replace(LIMITS, commit_s=20.0, open_s=20.0)) as world:
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        other = await asyncpg.connect(server.url(database))
        await other.execute("BEGIN; LOCK TABLE hubd_state IN EXCLUSIVE MODE")
        assert await refused(world, "k2") == "the database is locked by another program"
        await other.close()
        await healed(world, "k1")


async def test_a_database_that_may_only_be_read(server: PostgresServer, database: str) -> None:
    async with opened(server.url(database), limits=LIMITS) as world:
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        server.query(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hubd'"
        server.query(end)
        await refused(world, "k2")
        await until(lambda: world.store.trouble == "the database can't be written to")
        server.query(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await healed(world, "k1")


async def test_closing_takes_no_longer_than_it_may_when_the_database_stands_still(
    server: PostgresServer, database: str
) -> None:
    patient = replace(FAST, commit_s=1000.0, open_s=1000.0, patience_s=1000.0)
    for is_busy in (True, False):
        async with opened(server.url(database), limits=patient) as world:
            await world.store.write(world.keep("k1"), Lane.PUBLISH)
            server.freeze()
            try:
                if is_busy:
                    future = world.store.write(world.keep("k2"), Lane.PUBLISH)
                await asyncio.wait_for(world.store.close(0.2), 30)
            finally:
                server.thaw()
            if is_busy:
                with pytest.raises(StoreError, match="stopping"):
                    await future
