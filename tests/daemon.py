"""A hub as a real process, and what can be done to it from outside."""

import asyncio
import re
import signal
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.command import HUBD, environment
from tests.edge.ws_client import JSON, Client

HOST = "127.0.0.1"
SLACK_S = 5.0
"""What a process needs to end by itself, on a machine that has other things to do as well."""


class Daemon:
    """A hub that was started. ``key`` is dev mode's; what it writes to standard error is in ``lines``."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.key = ""
        self.lines: list[str] = []
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, *arguments: str, port: int = 0, dev: bool = True, **environ: str) -> "Daemon":
        flags = [*(["--dev"] if dev else []), "--port", str(port), *arguments]
        process = await create_subprocess_exec(
            *HUBD, "serve", *flags, stdout=PIPE, stderr=PIPE, env=environment(**environ)
        )
        assert process.stdout is not None and process.stderr is not None
        ready = (await process.stdout.readline()).decode()
        found = re.fullmatch(rf"hubd listening on http://{HOST}:(\d+)\n", ready)
        assert found, ready + (await process.stderr.read()).decode()
        daemon = cls(process, int(found[1]))
        if dev:
            line = await daemon.said("Bearer ")
            daemon.key = line.split("Bearer ")[1].split("'")[0]
        return daemon

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip("\n"))

    @property
    def events(self) -> list[str]:
        """The names of the events that it logged; that dev mode has its plugin on isn't one of them."""
        lines = (line for line in self.lines if not is_of_dev_mode(line))
        found = (re.match(r"\d{4}-\S+ [A-Z]+ \S+ (\w+):", line) for line in lines)
        return [match[1] for match in found if match]

    async def said(self, what: str, count: int = 1) -> str:
        """Wait until so many of its lines have this in them; gives the last of those."""
        deadline = time.monotonic() + 10
        while len(found := [line for line in self.lines if what in line]) < count:
            assert time.monotonic() < deadline and not self._reading.done(), f"no {what!r} in: {self.lines}"
            await asyncio.sleep(0.005)
        return found[count - 1]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, when it has ended and everything it wrote is here."""
        assert self.process.stdout is not None
        assert await asyncio.wait_for(self.process.stdout.read(), 60) == b""
        code = await asyncio.wait_for(self.process.wait(), 60)
        await self._reading
        return code

    async def stopped(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Stop it: its exit code, and after how many seconds."""
        begun = time.monotonic()
        self.send(number)
        return await self.ended(), time.monotonic() - begun

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await self._reading

    async def connect(self, user: str = "42", **options: Any) -> Client:
        return await Client.open(HOST, self.port, **{"query": {"user": user}, "subprotocol": JSON} | options)

    async def get(self, path: str, port: int | None = None, key: str = "") -> tuple[int, Any]:
        """A call of the API: its status and body."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with aiohttp.ClientSession() as session:
            url = f"http://{HOST}:{port or self.port}{path}"
            async with session.get(url, headers=headers) as answer:
                body = await (answer.json if "json" in answer.content_type else answer.text)()
                return answer.status, body

    async def post_without_body(self) -> asyncio.StreamWriter:
        """A call of which only the beginning comes; the hub waits for the rest of it when this returns."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        head = f"POST /api/notifications HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {self.key}\r\n"
        writer.write(f"{head}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{")
        return writer


class Daemons:
    """Those that a test starts; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Daemon] = []

    async def start(self, *arguments: str, port: int = 0, dev: bool = True, **environ: str) -> Daemon:
        """Start one; what it saves goes into the test's folder."""
        environ = {"HUBD_REPLAY__SAVED_FILE": "off"} | environ
        daemon = await Daemon.start(*arguments, port=port, dev=dev, **environ)
        self._made.append(daemon)
        return daemon

    async def kill_all(self) -> None:
        for daemon in self._made:
            await daemon.kill()


def is_of_dev_mode(line: str) -> bool:
    """Whether a line says that the plugin is on which dev mode turns on by itself."""
    return " plugin_started: " in line and line.endswith(" plugin=webpush")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; a failure after a while."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
