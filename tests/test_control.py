"""The way to a hub that runs here: over real sockets in the abstract namespace, both ends, and hostile ones."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hubd import control
from hubd.commands.common import Failure
from hubd.commands.serving import _chosen
from hubd.control import ControlError, ControlSocket, RunningHub, Stuck, ask, running_hubs
from hubd.reload import Outcome
from hubd.tasks import Tasks

PORT = 60001
"""Stands for a hub's; nobody listens on it."""
NAME = f"\0hubd-{os.getpid()}-{PORT}"
URL = f"http://127.0.0.1:{PORT}"


class Hub:
    """The hub's end, with a reload that is only counted."""

    def __init__(self) -> None:
        self.reloads = 0
        self.outcome = Outcome(["limits.ping_s"], ["server.port"], [])
        self.tasks = Tasks()
        self.socket = ControlSocket(self.tasks, self.reload, {"url": URL, "config": "/etc/hubd.toml"})

    async def reload(self) -> Outcome:
        self.reloads += 1
        return self.outcome


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = Hub()
    await made.socket.open(PORT)
    yield made
    made.socket.close()
    await made.tasks.close()


def mine() -> list[RunningHub]:
    """Other hubs may run on this machine: of all that are found, the one of this test."""
    return [found for found in running_hubs() if found.pid == os.getpid()]


async def sent(data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(NAME)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_a_hub_is_found_and_reloads(hub: Hub) -> None:
    (found,) = await asyncio.to_thread(mine)
    assert found == RunningHub(NAME, os.getpid(), URL, "/etc/hubd.toml")
    assert str(found) == f"process {os.getpid()}, {URL}, /etc/hubd.toml"
    answer = await asyncio.to_thread(ask, found.name, "reload")
    assert answer == {"changed": ["limits.ping_s"], "restart": ["server.port"], "errors": []}
    assert hub.reloads == 1


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"[]\n", b"reload\n", b'{"do": "stop"}\n', b'{"do": []}\n', b"\xff\xfe\n", b"[" * 60_000 + b"\n"],
)
async def test_what_is_no_request_does_nothing(hub: Hub, line: bytes) -> None:
    assert "error" in json.loads(await sent(line))
    assert hub.reloads == 0


async def test_a_line_without_end_is_hung_up_on(hub: Hub) -> None:
    assert await sent(b"x" * 200_000) == b""
    assert hub.reloads == 0


async def test_who_says_nothing_is_hung_up_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_REQUEST_S", 0.05)
    assert await sent(b"") == b""


async def test_another_user_is_refused_at_both_ends(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_peer_uid", lambda connection: 4711)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "its own user" in json.loads(await sent(b'{"do": "reload"}\n'))["error"]
    assert hub.reloads == 0
    with pytest.raises(ControlError, match="another user's"):
        await asyncio.to_thread(ask, NAME, "reload")
    assert await asyncio.to_thread(mine) == []
    monkeypatch.setattr(control, "_peer_uid", lambda connection: 0)
    assert "pid" in json.loads(await sent(b'{"do": "about"}\n'))  # root may


async def test_the_real_peer_is_this_user(hub: Hub) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(NAME)
        assert control._peer_uid(connection) == os.geteuid()


async def test_a_name_that_is_taken_is_a_warning(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    second = Hub()
    await second.socket.open(PORT)
    second.socket.close()
    assert [message.split(":")[0] for message in caplog.messages] == ["control_missing"]


async def test_nobody_is_found_when_it_is_closed(hub: Hub) -> None:
    hub.socket.close()
    assert await asyncio.to_thread(mine) == []


@pytest.fixture
def squatter() -> Iterator[socket.socket]:
    """Something else of this user that has taken a hub's name."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(NAME)
        listener.listen()
        yield listener


async def test_a_hub_that_is_stuck_is_said_to_be(squatter: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ABOUT_S", 0.05)
    (found,) = mine()
    assert "doesn't answer" in str(found)
    with pytest.raises(Stuck, match="is it stuck"):
        ask(NAME, "reload", 0.05)


@pytest.mark.parametrize("answer", [b"", b"\n", b"hello\n", b"[]\n", b"{}\n", b"x" * 2_000_000])
async def test_what_answers_nonsense_is_no_hub(squatter: socket.socket, answer: bytes) -> None:
    def serve() -> None:
        connection, _ = squatter.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)

    serving = asyncio.ensure_future(asyncio.to_thread(serve))
    if answer == b"{}\n":
        assert await asyncio.to_thread(mine) == []
    else:
        with pytest.raises(ControlError):
            await asyncio.to_thread(ask, NAME, "about")
    await asyncio.gather(serving, return_exceptions=True)


# Which hub the command means

ONE, TWO = RunningHub("a", 1, "http://127.0.0.1:1", None), RunningHub("b", 2, "http://127.0.0.1:2", "/etc/hubd.toml")


@pytest.mark.parametrize(
    ("config", "pid", "chosen"), [(None, 1, ONE), (None, 2, TWO), (Path("/etc/hubd.toml"), None, TWO)]
)
def test_the_hub_that_is_named(config: Path | None, pid: int | None, chosen: RunningHub) -> None:
    assert _chosen([ONE, TWO], config, pid) is chosen


def test_the_only_one_needs_no_name() -> None:
    assert _chosen([ONE], None, None) is ONE


@pytest.mark.parametrize(
    ("hubs", "pid", "told"),
    [
        ([], None, "no hub runs on this machine under your user (another user's: sudo -u USER hubd reload)"),
        ([ONE, TWO], None, f"several hubs run, choose one with --pid: {ONE}; {TWO}"),
        ([ONE], 7, f"the hub that you named doesn't run; these do: {ONE}"),
    ],
)
def test_when_it_isnt_clear(hubs: list[RunningHub], pid: int | None, told: str) -> None:
    with pytest.raises(Failure) as caught:
        _chosen(hubs, None, pid)
    assert caught.value.message == told
