"""Hostile clients in numbers, and beside them ordinary ones who hardly notice."""

import asyncio
import re
import resource
import shutil
import time
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bench.crowd import TOPIC, Hostile, kinds
from hubd.edge.reception import ANSWERS_BYTES, HEAD_S, TAKE_S
from tests.daemon import HOST, Daemon, Daemons
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.ws_client import JSON

MANY = 60


async def test_each_kind_is_cut_while_ordinary_clients_are_served(hub: LiveHub) -> None:
    """The same connections as in bench/hostile.py, fewer, and with the clock turned by hand."""
    ordinary = [await hub.opened(JSON, f"u{n}") for n in range(20)]
    for n in range(64):
        await hub.publish(TOPIC, notification={"type": "x", "text": "y" * 32_000, "n": n})
    key = hub.bearer("backend").removeprefix("Bearer ")
    crowd = [Hostile(hub.port, kind) for kind in kinds(key) for _ in range(MANY)]
    reception = hub.reception
    await eventually(lambda: len(reception) >= 3 * MANY and len(reception._headless) == MANY)
    await eventually(lambda: len(reception._unread) > 10)
    assert reception._answers._total < ANSWERS_BYTES + 4_000_000
    for n in range(12):
        for one in crowd:
            one.step()
        await hub.publish(n=n)
        assert [[got["n"] for got in await client.notifications()] for client in ordinary] == [[n]] * 20
        hub.let_pass(1)
    cut = hub.hub.counts.cut
    assert cut["slow_head"] >= MANY
    hub.let_pass(TAKE_S)
    assert cut["slow_reader"] > 10
    assert len(reception) <= 3 * MANY + 1, "none but those"
    assert (await hub.call("GET", "/health/live")).status == 200
    for one in crowd:
        one.close()


# Against a real process, with a tool made for it


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    made = Daemons(tmp_path)
    yield await made.start(HUBD_LIMITS__PER_IP="0")
    await made.kill_all()


async def longest_wait(daemon: Daemon, until: asyncio.Future[None]) -> float:
    """How long an ordinary request took at most, in seconds."""
    longest = 0.0
    async with aiohttp.ClientSession() as session:
        while not until.done():
            begun = time.monotonic()
            async with session.get(f"http://{HOST}:{daemon.port}/health/live") as answer:
                assert answer.status == 200
            longest = max(longest, time.monotonic() - begun)
            await asyncio.sleep(0.05)
    return longest


MODES = {
    "slow heads": ["-H", "-i", "2"],
    "slow bodies": ["-B", "-i", "2", "-s", "100000"],
    "slow reading": ["-X", "-w", "256", "-y", "512", "-n", "5", "-z", "32", "-k", "3"],
    "ranges": ["-R", "-a", "10", "-b", "3000"],
}


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
async def test_slowhttptest(daemon: Daemon, mode: str) -> None:
    """A thousand connections for 40 s: the hub answers all the while, and cuts those that have to be cut."""
    tool = shutil.which("slowhttptest")
    assert tool, "install it with: apt-get install slowhttptest"
    url = f"http://{HOST}:{daemon.port}/{'hubd.js' if mode == 'slow reading' else 'api/notifications'}"
    arguments = [*MODES[mode], "-c", "1000", "-r", "200", "-l", "40", "-x", "24", "-p", "5", "-u", url]
    process = await create_subprocess_exec(tool, *arguments, stdout=PIPE, stderr=PIPE, stdin=DEVNULL)
    running = asyncio.ensure_future(process.communicate())
    longest = await longest_wait(daemon, running)  # type: ignore[arg-type]  # only whether it is done matters
    out, _ = await running
    said = re.sub(r"\x1b\[[0-9;]*m", "", out.decode(errors="replace"))
    assert process.returncode in (0, 1), said
    print(mode, f"{longest:.2f}", said[-1500:])
    assert longest < 5, "an ordinary request had to wait"
    assert not any(" ERROR " in line or "Traceback" in line for line in daemon.lines), daemon.lines[-20:]
    deadline = time.monotonic() + HEAD_S + TAKE_S + 40
    while len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())) > 60:
        assert time.monotonic() < deadline, "they are still open"
        await asyncio.sleep(0.5)


@pytest.mark.long
async def test_more_connections_than_open_files(tmp_path: Path) -> None:
    """Silent ones go for those that say something; the hub stays up."""
    made = Daemons(tmp_path)
    daemon = await made.start()
    try:
        limit_files(daemon.process.pid, 300)
        silent = []
        for _ in range(600):
            silent.append((await asyncio.open_connection(HOST, daemon.port))[1])
            if len(silent) % 50 == 0:
                status, _ = await asyncio.wait_for(daemon.get("/health/live"), 10)
                assert status == 200
        client = await daemon.connect()
        assert (await client.next())["hub"] == "welcome"
        client.hang_up()
        for writer in silent:
            writer.transport.abort()
        assert not any("Traceback" in line for line in daemon.lines), daemon.lines
    finally:
        await made.kill_all()


def limit_files(pid: int, most: int) -> None:
    """Set the limit of open files of a running process."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
