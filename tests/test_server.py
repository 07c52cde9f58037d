"""The daemon as a real process: how it stops, how fast, and with which exit code."""

import asyncio
import re
import signal
import socket
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.command import HUBD, environment, hubd
from tests.edge.ws_client import JSON, Client

HOST = "127.0.0.1"
SLACK_S = 5.0
"""What a process needs to end by itself, on a machine that has other things to do as well."""


class Daemon:
    """A hub that was started, in dev mode."""

    def __init__(self, process: Process, port: int, key: str) -> None:
        self.process = process
        self.port = port
        self.key = key

    @classmethod
    async def start(cls, process: Process) -> "Daemon":
        assert process.stdout is not None and process.stderr is not None
        ready = (await process.stdout.readline()).decode()
        found = re.fullmatch(rf"hubd listening on http://{HOST}:(\d+)\n", ready)
        assert found, ready + (await process.stderr.read()).decode()
        await process.stderr.readuntil(b"Bearer ")
        return cls(process, int(found[1]), (await process.stderr.readuntil(b"'")).decode().rstrip("'"))

    async def stopped(self, number: int = signal.SIGTERM) -> tuple[int | None, float, list[str]]:
        """Stop it: its exit code, after how many seconds, and what it logged meanwhile."""
        begun = time.monotonic()
        self.process.send_signal(number)
        out, err = await self.process.communicate()
        assert out == b""
        logged = [line for line in err.decode().splitlines() if re.match(r"\d{4}-", line) or "Error" in line]
        return self.process.returncode, time.monotonic() - begun, logged

    async def connect(self, user: str = "42") -> Client:
        return await Client.open(HOST, self.port, query={"user": user}, subprotocol=JSON)

    async def post_without_body(self) -> asyncio.StreamWriter:
        """A call of which only the beginning comes; the hub waits for the rest of it when this returns."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        head = f"POST /api/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
        writer.write(f"{head}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{")
        return writer


Start = Callable[[float], Awaitable[Daemon]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a hub with this `drain_s`."""
    processes: list[Process] = []

    async def start(drain_s: float) -> Daemon:
        environ = environment(HUBD_SERVER__DRAIN_S=str(drain_s))
        process = await create_subprocess_exec(
            *HUBD, "serve", "--dev", "--port", "0", stdout=PIPE, stderr=PIPE, env=environ
        )
        processes.append(process)
        return await Daemon.start(process)

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_those_who_answer_are_all_it_waits_for(start: Start, number: int) -> None:
    daemon = await start(30)
    clients = [await daemon.connect(str(n)) for n in range(20)]

    async def leave(client: Client) -> int:
        code = await client.closed()
        client.hang_up()
        return code

    leaving = [asyncio.ensure_future(leave(client)) for client in clients]
    code, took_s, logged = await daemon.stopped(number)
    assert [await one for one in leaving] == [4000] * 20
    assert code == 0
    assert took_s < SLACK_S
    assert len(logged) == 1 and "telling 20 connections" in logged[0]


async def test_who_never_answers_and_a_body_that_never_comes_end_with_drain_s(start: Start) -> None:
    daemon = await start(1)
    silent, writer = await daemon.connect(), await daemon.post_without_body()
    code, took_s, logged = await daemon.stopped()
    assert code == 0
    assert 1 <= took_s < 1 + SLACK_S
    assert len(logged) == 1
    assert await silent.closed() == 4000
    silent.hang_up()
    writer.close()


async def test_a_body_that_never_comes_ends_with_drain_s_when_nobody_is_connected(start: Start) -> None:
    daemon = await start(0.5)
    writer = await daemon.post_without_body()
    code, took_s, logged = await daemon.stopped()
    assert code == 0
    assert took_s < 0.5 + SLACK_S
    assert len(logged) == 1
    writer.close()


async def test_who_comes_while_it_stops_is_refused(start: Start) -> None:
    daemon = await start(30)
    silent = await daemon.connect()
    assert (await silent.next())["hub"] == "welcome"
    daemon.process.send_signal(signal.SIGTERM)
    assert (await silent.next())["hub"] == "disconnect"  # it is waited for the answer to its close frame
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, daemon.port)
    assert daemon.process.returncode is None
    silent.hang_up()
    assert await daemon.process.wait() == 0


def test_a_port_that_is_taken_is_one_line_and_1() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        done = hubd("serve", "--dev", "--port", str(taken.getsockname()[1]))
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert line.startswith(f"hubd: can't listen on {HOST}:")


def test_dev_mode_never_listens_to_others() -> None:
    done = hubd("serve", "--dev", "--host", "0.0.0.0", "--port", "0")
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert "127.0.0.1 or ::1 only" in line
