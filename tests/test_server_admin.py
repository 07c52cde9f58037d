"""The admin listener of a real process, and what the main one still answers beside it."""

import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hubd.config import Config
from tests.command import hubd
from tests.daemon import HOST, Daemon, Daemons


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    made = Daemons(tmp_path)
    yield made
    await made.kill_all()


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


async def with_admin(daemons: Daemons, **environ: str) -> tuple[Daemon, int]:
    port = free_port()
    return await daemons.start(HUBD_SERVER__ADMIN_PORT=str(port), **environ), port


async def test_health_and_metrics_are_open_to_anyone_there(daemons: Daemons) -> None:
    daemon, admin = await with_admin(daemons)
    for path in ("/health/live", "/health/ready"):
        assert await daemon.get(path, admin) == (200, {"status": "ok"})
        assert await daemon.get(path) == (200, {"status": "ok"})  # a load balancer asks where its clients go
    status, text = await daemon.get("/metrics", admin)
    assert status == 200 and "# TYPE" in text
    assert (await daemon.get("/metrics"))[0] == 404
    assert (await daemon.get("/metrics", key=daemon.key))[0] == 404


async def test_the_calls_of_admins_need_their_key_on_both(daemons: Daemons) -> None:
    daemon, admin = await with_admin(daemons)
    for path in ("/api/channels", "/api/channels/news", "/api/users/42"):
        for port in (admin, daemon.port):
            assert (await daemon.get(path, port))[0] == 401
            assert (await daemon.get(path, port, key=daemon.key))[0] in (200, 404)
    status, found = await daemon.get("/api/channels", admin, key=daemon.key)
    assert status == 200 and "channels" in found


async def test_nothing_else_is_there(daemons: Daemons) -> None:
    daemon, admin = await with_admin(daemons)
    for path in ("/notifications?user=42", "/", "/demo/", "/hubd.js", "/api/subscriptions", "/api/notifications/x"):
        assert (await daemon.get(path, admin, key=daemon.key))[0] == 404, path


async def test_without_it_metrics_need_a_key_with_the_right_admin(daemons: Daemons) -> None:
    daemon = await daemons.start()
    assert (await daemon.get("/metrics"))[0] == 401
    assert (await daemon.get("/metrics", key=daemon.key))[0] == 200
    assert await daemon.get("/health/live") == (200, {"status": "ok"})


async def test_while_it_stops_it_says_there_that_it_isnt_ready_and_why(daemons: Daemons) -> None:
    daemon, admin = await with_admin(daemons)
    silent = await daemon.connect()
    assert (await silent.next())["hub"] == "welcome"
    daemon.send(signal.SIGTERM)
    assert (await silent.next())["hub"] == "disconnect"
    status, problem = await daemon.get("/health/ready", admin)
    assert (status, problem["status"], problem["code"]) == (503, 503, "unavailable")
    assert problem["reasons"] == ["stopping"]
    assert await daemon.get("/health/live", admin) == (200, {"status": "ok"})
    assert (await daemon.get("/metrics", admin))[0] == 200
    silent.hang_up()
    assert await daemon.ended() == 0
    with pytest.raises(OSError):
        await daemon.get("/health/live", admin)


def test_it_is_on_loopback_unless_told_otherwise() -> None:
    assert Config().server.admin_host == "127.0.0.1"


def test_a_port_that_is_taken_is_one_line_and_1() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = hubd("serve", "--dev", "--port", "0", HUBD_SERVER__ADMIN_PORT=str(port), HUBD_REPLAY__SAVED_FILE="off")
    assert (done.code, done.out) == (1, "")
    *_, line = done.err.splitlines()
    assert line.startswith(f"hubd: can't listen on {HOST}:{port}: ")
