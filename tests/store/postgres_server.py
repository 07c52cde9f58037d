"""A real PostgreSQL server of the tests' own, which can be frozen, killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

HOST = "127.0.0.1"
WAIT_S = 30.0
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


def binary(name: str) -> str:
    """One of PostgreSQL's programs; Debian keeps them where nobody looks."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))
    if found is None:
        pytest.fail("PostgreSQL is missing: apt-get install postgresql", pytrace=False)
    return found


class PostgresServer:
    """PostgreSQL on a loopback port, in a folder that ``remove`` throws away. As root it runs as user ``postgres``."""

    def __init__(self) -> None:
        self._initdb, self._postgres = binary("initdb"), binary("postgres")
        self._as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix="hubd-postgres-"))
        if self._as:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run(
            self._initdb, "-D", str(self.folder / "data"), "-U", "hubd", "-A", "trust", "-E", "UTF8", "--locale=C"
        )
        with socket.socket() as sock:
            sock.bind((HOST, 0))
            self.port = sock.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.start()

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=self.folder, **self._as)
        assert done.returncode == 0, done.stderr

    def url(self, database: str = "postgres") -> str:
        """The address of a database, with a password that must not be seen anywhere (the server trusts everybody)."""
        return f"postgresql://hubd:pass-word-9@{HOST}:{self.port}/{database}"

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it takes connections."""
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [self._postgres, "-D", str(self.folder / "data"), "-p", str(self.port), *settings]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + WAIT_S
        while subprocess.run(self._psql("SELECT 1"), capture_output=True, timeout=30).returncode:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _psql(self, query: str, database: str = "postgres") -> list[str]:
        return [binary("psql"), "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", query]

    def query(self, query: str, database: str = "postgres") -> str:
        """What psql prints."""
        done = subprocess.run(self._psql(query, database), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def new_database(self) -> str:
        """The name of a new, empty database."""
        self._databases += 1
        name = f"hubd{self._databases}"
        self.query(f"CREATE DATABASE {name}")
        return name

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it: SIGQUIT at once, without tidying up; SIGINT in peace."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(WAIT_S)
        self._process = None

    def _all(self) -> list[int]:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [self._process.pid, *map(int, children)]

    def freeze(self) -> None:
        """It stands still, with all its connections."""
        for pid in self._all():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        for pid in self._all():
            os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """End it, and leave nothing behind."""
        if self._process is not None:
            self.thaw()
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
