"""A hub as a real process with a config of its own, which can be stopped, killed and started again."""

import asyncio
import random
import signal
import socket
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from pathlib import Path

import jwt

from hubd.edge.keys import new_key
from tests.command import HUBD, environment

HOST = "127.0.0.1"
SECRET = "s" * 64
START_S = 20.0
STOP_S = 30.0
CONFIG = """
[server]
port = {port}
drain_s = {drain_s}
[[auth.jwt]]
algorithm = "HS256"
key = "{secret}"
[[auth.api_keys]]
id = "backend"
sha256 = "{digest}"
rights = ["publish", "admin"]
[limits]
per_user = 0
per_ip = 0
[replay]
per_channel = 20000
ttl_s = 600
[store]
url = "sqlite:///hub.db"
"""


def free_port() -> int:
    """A port that no client's own end can get: while nobody listens there, a client could else reach itself."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as sock:
            try:
                sock.bind((HOST, port))
            except OSError:
                continue
        return port


class Daemon:
    """A hub that comes back at the same address. ``said`` is what it wrote on standard error, all lives together."""

    def __init__(self, folder: Path, drain_s: float = STOP_S) -> None:
        self.port = free_port()
        self.said = ""
        self.key, digest = new_key("backend")
        self._folder = folder
        self._process: Process | None = None
        self._reading: asyncio.Future[None] | None = None
        text = CONFIG.format(port=self.port, drain_s=drain_s, secret=SECRET, digest=digest)
        (folder / "config.toml").write_text(text)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    def token(self, user: str) -> str:
        """A user's token for all topics."""
        return jwt.encode({"sub": user, "exp": time.time() + 3600, "topics": ["**"]}, SECRET, "HS256")

    async def start(self) -> float:
        """Start it, and wait until it is ready; gives how many seconds that took."""
        begun = time.monotonic()
        self._process = await create_subprocess_exec(
            *HUBD, "serve", "--config", "config.toml", stdout=PIPE, stderr=PIPE, cwd=self._folder,
            env=environment(HUBD_REPLAY__SAVED_FILE="", HUBD_STORE__URL="sqlite:///hub.db"),
        )  # fmt: skip
        self._reading = asyncio.ensure_future(self._read(self._process))
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        assert line.decode() == f"hubd listening on {self.url}\n", f"{line!r}\n{self.said}"
        return time.monotonic() - begun

    async def _read(self, process: Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.said += line.decode()

    async def stop(self, number: signal.Signals) -> float:
        """Send it a signal and wait for its end; gives how many seconds that took. A SIGTERM must end it well."""
        assert self._process is not None and self._reading is not None
        begun = time.monotonic()
        self._process.send_signal(number)
        code = await asyncio.wait_for(self._process.wait(), STOP_S + 5)
        took = time.monotonic() - begun
        await self._reading
        assert code == (0 if number == signal.SIGTERM else -number), f"it ended with {code}\n{self.said}"
        return took

    async def end(self) -> None:
        """Whatever state it is in: it is no more."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading
