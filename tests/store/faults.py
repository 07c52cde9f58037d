"""Real faults of SQLite files and disks, and a connection whose answers get lost."""

import asyncio
import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubd.store.batch import Work
from hubd.store.links import Link
from hubd.store.sql_store import SqlStore

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the lock for writing."""
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.kill()
            process.wait(20)


@contextlib.contextmanager
def no_file_grows(path: Path) -> Iterator[None]:
    """Every write behind the end that this file has now fails, as it does on a broken disk (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of this many bytes."""
    if os.getuid():
        pytest.skip("only root can mount a small disk")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, timeout=20)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)


def checkpoint(path: Path) -> None:
    """Bring all that is in the WAL into the file."""
    connection = sqlite3.connect(path, timeout=20)
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    connection.close()


class Faults:
    """Stands before every connection of a store that writes, and breaks what it is told to break."""

    def __init__(self, store: SqlStore) -> None:
        self.before: list[Exception] = []
        """The next transactions fail with these, and nothing of them is done."""
        self.after: list[Exception] = []
        """The next transactions are committed, and fail all the same."""
        self.hanging: list[asyncio.Event] = []
        """The next transactions are committed, and answered only when these are set."""
        self.refused: Callable[[], Exception | None] = lambda: None
        """Whether a new connection fails."""
        self.is_small = False
        """There is room for probes, and for nothing else."""
        self.poison = ""
        """A transaction with this value in it fails."""
        writer = store._writer
        database = writer._database
        link = database.link

        async def faulty_link() -> Link:
            if (error := self.refused()) is not None:
                raise error
            return self._wrap(await link())

        database.link = faulty_link  # type: ignore[method-assign]
        assert writer._link is not None
        self._wrap(writer._link)

    def _wrap(self, link: Link) -> Link:
        transact: Callable[[Work], Any] = link.transact

        async def faulty_transact(work: Work) -> None:
            if self.before:
                raise self.before.pop(0)
            if self.is_small and not any("hubd_state SET probe" in statement for statement, _ in work):
                raise broken()
            if self.poison and any(self.poison in values for _, rows in work for values in rows):
                raise sqlite3.OperationalError("nobody knows why")
            await transact(work)
            if self.hanging:
                await self.hanging.pop(0).wait()
            if self.after:
                raise self.after.pop(0)

        link.transact = faulty_transact  # type: ignore[method-assign]
        return link


def broken() -> Exception:
    """What SQLite says when a disk fails."""
    error = sqlite3.OperationalError("disk I/O error: secret")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error
