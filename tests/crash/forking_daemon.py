"""A hub that can be started many times in little time: python -m tests.crash.forking_daemon CONFIG PUSHES [PLANT]

Everything is imported once; for each line on standard input a process is forked off that is a daemon from there on,
and PUSHES gets who was to be pushed to, as ``tests.pushing_daemon`` has it. Standard output tells ``pid N``, then what
the daemon says, then ``ended CODE``. With the end of standard input it ends, and with it the daemon. PLANT is one of
``tests.crash.plants``.
"""

import gc
import importlib
import os
import select
import signal
import sys
from pathlib import Path

from hubd.commands.common import source_of
from hubd.config import load_config
from hubd.hooks.catalog import Catalog
from hubd.server import serve
from tests.crash import plants
from tests.pushing_daemon import watch_pushes

NEEDED = (
    *("aiosqlite", "asyncpg", "alembic.command", "alembic.config", "hubd.store.database", "hubd.store.sql_store"),
    *("hubd_webpush", "hubd_webpush.plugin", "http_ece", "py_vapid", "pywebpush"),
)
"""What a start imports besides."""


def run(config: Path, pushes: Path) -> int:
    """Be a daemon."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    watch_pushes(pushes)
    return serve(source_of(config), load_config(config, {}, {}, Catalog), False)


def wait(pid: int) -> int:
    """Wait until the daemon has ended, or is not wanted any more; gives its code."""
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if select.select([0], [], [], 0.005)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            sys.exit()


def main(config: Path, pushes: Path, plant: str = "") -> None:
    for name in NEEDED:
        importlib.import_module(name)
    if plant:
        plants.PLANTS[plant]()
    gc.collect()
    gc.freeze()  # what is here stays: the daemon needn't look through it
    while os.read(0, 1):
        pid = os.fork()
        if pid == 0:
            sys.exit(run(config, pushes))
        os.write(1, f"pid {pid}\n".encode())
        os.write(1, f"ended {wait(pid)}\n".encode())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), *sys.argv[3:])
