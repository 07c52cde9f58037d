"""A daemon that is killed at a random moment and started again on the same files, many times."""

import asyncio
import os
import random
import signal
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from pathlib import Path
from sys import executable
from typing import NamedTuple

import jwt

from hubd.commands.keys import new_vapid_pair
from hubd.edge.keys import new_key
from tests.command import environment
from tests.restart.daemon import HOST, free_port

SECRET = "s" * 64
PUSH_DELAY_S = 0.4
WAIT_S = 30.0
CONFIG = """
[server]
port = {port}
drain_s = 2
[[auth.jwt]]
algorithm = "HS256"
key = "{secret}"
[[auth.api_keys]]
id = "backend"
sha256 = "{digest}"
rights = ["publish", "admin"]
[delivery]
push_delay_s = {delay}
grace_s = 0.2
[log]
level = "warning"
[replay]
saved_file = "{saved}"
[store]
url = "{url}"
[push]
retry_first_s = 0.2
retry_longest_s = 1
[plugins.webpush]
vapid_private_key_file = "vapid.pem"
subject = "mailto:ops@example.com"
allow_hosts = ["127.0.0.1"]
"""


class Push(NamedTuple):
    """A user was to be pushed to."""

    at: float
    id: str
    user: str


class Lives:
    """One daemon, life after life, always at the same address."""

    def __init__(self, folder: Path, url: str, dice: random.Random, plant: str = "") -> None:
        self.port = free_port()
        self.key, digest = new_key("backend")
        self.url = url
        self.kills = 0
        self.stops = 0
        self.ready_after: list[float] = []
        """For each life that came so far: seconds from the start until it was ready."""
        self.begun: list[float] = []
        """When each life began (monotonic seconds)."""
        self._dice = dice
        self._plant = plant
        self._config = folder / "config.toml"
        self._pushes = folder / "pushes"
        self._said = folder / "said"
        self._saved = folder / "saved.rings"
        text = CONFIG.format(
            port=self.port, secret=SECRET, digest=digest, delay=PUSH_DELAY_S, saved=self._saved, url=url
        )
        self._config.write_text(text)
        self._config.chmod(0o600)
        (folder / "vapid.pem").write_text(new_vapid_pair()[1])
        (folder / "vapid.pem").chmod(0o600)
        self._process: Process | None = None
        self._pid = 0

    @property
    def address(self) -> str:
        """Where its API is."""
        return f"http://{HOST}:{self.port}"

    def token(self, user: str) -> str:
        """A user's token."""
        return jwt.encode({"sub": user, "exp": time.time() + 3600, "topics": ["**"]}, SECRET, "HS256")

    def pushes(self) -> list[Push]:
        """Who was to be pushed to until now, over all lives."""
        lines = self._pushes.read_text().splitlines() if self._pushes.exists() else []
        return [Push(float(at), id, user) for at, id, user in map(str.split, lines)]

    def said(self) -> str:
        """What it wrote on standard error."""
        return self._said.read_text()

    async def begin(self) -> None:
        """Import everything; nothing runs yet."""
        plant = [self._plant] if self._plant else []
        with self._said.open("ab") as said:
            self._process = await create_subprocess_exec(
                executable, "-W", "error", "-m", "tests.crash.forking_daemon",
                str(self._config), str(self._pushes), *plant,
                stdin=PIPE, stdout=PIPE, stderr=said, env=environment(),
            )  # fmt: skip

    async def _line(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            return (await self._process.stdout.readline()).decode()

    async def start(self) -> None:
        """Begin a life, and don't wait until it is ready."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(b"\n")
        word, number = (await self._line()).split()
        assert word == "pid"
        self._pid = int(number)
        self.begun.append(time.monotonic())

    async def ready(self) -> None:
        """Wait until it takes calls."""
        line = await self._line()
        assert line == f"hubd listening on {self.address}\n", f"{line}\n{self.said()}"
        self.ready_after.append(time.monotonic() - self.begun[-1])

    async def end(self, number: signal.Signals) -> None:
        """End a life by a signal."""
        os.kill(self._pid, number)
        while (line := await self._line()).startswith("hubd listening"):
            pass  # it had come so far
        expected = 0 if number == signal.SIGTERM else -number
        assert line == f"ended {expected}\n", f"{line}\n{self.said()}"

    async def live_and_die(self, at_most_s: float) -> None:
        """A life that is ended at a random moment: mostly when it is ready, often before; now and then in peace."""
        await self.start()
        chance = self._dice.random()
        if chance < 0.2 and self.ready_after:
            await asyncio.sleep(self._dice.uniform(0, sorted(self.ready_after)[len(self.ready_after) // 2]))
        else:
            await self.ready()
            await asyncio.sleep(self._dice.uniform(0, at_most_s))
        if chance > 0.9:
            self.stops += 1
            await self.end(signal.SIGTERM)
        else:
            self.kills += 1
            await self.end(signal.SIGKILL)

    async def close(self) -> None:
        """Whatever state it is in: it is no more."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            async with asyncio.timeout(WAIT_S):
                await self._process.wait()
