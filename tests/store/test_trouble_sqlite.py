"""SQLite's own troubles: whatever happens to the file, the store says so, refuses, and heals by itself."""

import asyncio
import time
from pathlib import Path

import pytest

from hubd.core.stored import Keep, Lane
from hubd.store.waiting import Limits
from tests.store.faults import Faults, checkpoint, locked, no_file_grows, small_disk
from tests.store.store_world import FAST, healed, opened, refused, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hubd.db"


async def test_locked_by_another_program(path: Path) -> None:
    async with opened(f"sqlite:///{path}") as world:
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        with locked(path):
            world.store.note(world.keep("noted"))
            assert await refused(world, "k2") == "the database is locked by another program"
            await until(lambda: world.store.trouble != "")
            assert await refused(world, "k3") == "the database is locked by another program"
            assert len(await world.found("id-k1")) == 1  # reading goes on
        await healed(world, "k1", "noted")


async def test_a_disk_that_fails(path: Path) -> None:
    async with opened(f"sqlite:///{path}") as world:
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        with no_file_grows(path.with_name("hubd.db-wal")):
            world.store.note(world.keep("noted"))
            assert "I/O error" in await refused(world, "k2")
            await until(lambda: world.store.trouble != "")
            assert "I/O error" in await refused(world, "k3")
        await healed(world, "k1", "noted")


async def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        async with opened(f"sqlite:///{disk}/hubd.db") as world:
            await world.store.write(world.keep("k1"), Lane.PUBLISH)
            ballast, over = disk / "ballast", time.monotonic() + 1
            with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            world.store.note(Keep(world.row("noted", body=b"{" + b"x" * 100_000)))
            assert await refused(world, "k2") == "the disk is full"
            await until(lambda: world.store.trouble != "")
            await until(lambda: world.store.counts.failures >= 15 or time.monotonic() > over)
            assert world.store.counts.failures < 15  # it doesn't go back and forth all the time
            ballast.unlink()
            await healed(world, "k1", "noted")


async def test_a_file_that_becomes_garbage(path: Path) -> None:
    async with opened(f"sqlite:///{path}") as world:
        for place in range(300):
            world.store.note(world.keep(f"k{place}"))
        await world.settled()
        checkpoint(path)
        sound = path.read_bytes()
        with path.open("r+b") as file:
            file.write(b"garbage!" * (len(sound) // 8))
        world.store.note(world.keep("noted"))
        why = await refused(world, "x")
        assert why in ("the database is damaged", "the file is no SQLite database")
        await until(lambda: world.store.trouble != "")
        await asyncio.sleep(0.3)
        assert world.store.trouble != ""
        # Whoever puts a backup in place takes the WAL away with it: what is in there belongs to the other file.
        for name in ("hubd.db-wal", "hubd.db-shm"):
            path.with_name(name).unlink(missing_ok=True)
        path.write_bytes(sound)
        await until(lambda: not world.store.trouble)
        await world.settled()
        assert await world.open_keys() == [*(f"k{place}" for place in range(300)), "noted"]


async def test_damage_inside_is_found_after_an_error(path: Path) -> None:
    """A file that opens well, and of which a part is garbage, isn't trusted after the disk has failed."""
    async with opened(f"sqlite:///{path}") as world:
        for place in range(300):
            world.store.note(world.keep(f"k{place}"))
        await world.settled()
        checkpoint(path)
        sound = path.read_bytes()
        with path.open("r+b") as file:
            file.seek(len(sound) // 2 // 4096 * 4096)
            file.write(b"\xff" * 4096)
        wal = path.with_name("hubd.db-wal")
        with no_file_grows(wal):
            assert await refused(world, "x") in ("the disk reports an I/O error", "the database is damaged")
        await until(lambda: world.store.trouble == "the database is damaged")
        path.write_bytes(sound)
        await healed(world, *(f"k{place}" for place in range(300)))


async def test_a_commit_behind_a_lock_that_takes_too_long_is_not_done_later(path: Path) -> None:
    limits = Limits(patience_s=0.2, commit_s=1.0, retry_s=(0.02, 0.1))
    async with opened(f"sqlite:///{path}", limits=limits) as world:
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        with locked(path):
            assert await refused(world, "k2") in (
                "the database takes too long",
                "the database is locked by another program",
            )
        await healed(world, "k1")  # and not k2, whoever had the lock first then


async def test_nothing_is_asked_while_an_abandoned_transaction_may_still_be_carried_out(path: Path) -> None:
    limits = Limits(patience_s=0.1, commit_s=0.3, retry_s=(0.02, 0.1))
    async with opened(f"sqlite:///{path}", limits=limits) as world:
        await world.store.write(world.keep("k1"), Lane.PUBLISH)
        faults = Faults(world.store)
        over: list[bool] = []

        def refusing() -> None:
            over.extend(future.done() for future in world.store._writer._leaving)

        faults.refused = refusing
        with locked(path):
            await refused(world, "k2")
            await until(lambda: bool(over))
        await healed(world, "k1")
        assert all(over)


async def test_it_is_slow_first_and_then_refuses(path: Path) -> None:
    """With FAST limits but a second's patience with the lock: what waits is carried out when it goes within that."""
    async with opened(f"sqlite:///{path}", limits=FAST) as world:
        with locked(path):
            future = world.store.write(world.keep("k1"), Lane.PUBLISH)
            await asyncio.sleep(0.3)
            assert not future.done()
        await asyncio.wait_for(future, 20)
        assert world.store.counts.failures == 0
