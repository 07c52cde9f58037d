"""What systemd is told, read from a real datagram socket of each kind."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubd.systemd import ServiceManager
from hubd.testing import FakeClock


class Manager:
    """The other end: a socket as systemd has one, and what it gets."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.bind(address)

    def next(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")


@pytest.fixture(params=["path", "abstract"])
def named(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Manager, str]]:
    if request.param == "path":
        name = address = str(tmp_path / "notify")
    else:
        name = f"@hubd-test-{os.getpid()}"
        address = "\0" + name[1:]
    manager = Manager(address)
    yield manager, name
    manager.socket.close()


def made(name: str, **environ: str) -> ServiceManager:
    clock = FakeClock()
    clock.advance(1.5)
    return ServiceManager({"NOTIFY_SOCKET": name, **environ}, clock)


def test_what_is_told(named: tuple[Manager, str]) -> None:
    manager, name = named
    clock = FakeClock()
    service = ServiceManager({"NOTIFY_SOCKET": name}, clock)
    service.ready("listening on http://127.0.0.1:8080")
    assert manager.next() == ["READY=1", "STATUS=listening on http://127.0.0.1:8080"]
    clock.advance(1.5)
    service.reloading()
    assert manager.next() == ["RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic() * 1_000_000)}"]
    service.stopping("telling 3\nREADY=1")  # a status is one line, whatever is in it
    assert manager.next() == ["STOPPING=1", "STATUS=telling 3 READY=1"]
    service.alive()
    assert manager.next() == ["WATCHDOG=1"]


async def test_the_watchdog_hears_twice_in_its_time(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    service = made(str(tmp_path / "notify"), WATCHDOG_USEC="100000", WATCHDOG_PID=str(os.getpid()))
    assert service.watchdog_s == 0.1
    task = asyncio.ensure_future(service.keep_alive())
    loop = asyncio.get_running_loop()
    begun = loop.time()
    manager.socket.setblocking(False)
    for _ in range(4):
        assert await loop.sock_recv(manager.socket, 100) == b"WATCHDOG=1"
    assert 0.14 < loop.time() - begun < 2  # one at once, then one each 50 ms
    task.cancel()
    manager.socket.close()


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "-5"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9" * 30},
     {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}],
)  # fmt: skip
async def test_no_watchdog_where_none_asks_this_process(environ: dict[str, str]) -> None:
    service = made("@hubd-nobody", **environ)
    assert service.watchdog_s is None
    await service.keep_alive()  # it returns


@pytest.mark.parametrize("address", ["", "@", "relative", "vsock:2:1234"])
def test_nothing_happens_without_systemd(address: str, caplog: pytest.LogCaptureFixture) -> None:
    made(address, WATCHDOG_USEC="1000").ready("x")
    assert made(address, WATCHDOG_USEC="1000").watchdog_s is None
    assert caplog.records == []


def test_a_manager_that_is_gone_or_doesnt_read_is_a_warning_and_no_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = made(str(tmp_path / "notify"))
    service.ready("x")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "READY=1" in caplog.messages[0]
    manager = Manager(str(tmp_path / "notify"))
    for _ in range(5000):
        service.alive()
        if len(caplog.records) > 1:
            break
    assert len(caplog.records) > 1, "its buffer was never full"
    manager.socket.close()
