"""The daemon stopped and started again, as real processes: what it saved, how the file is treated, and a crash."""

import asyncio
import json
import os
import signal
import socket
import stat
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from hubd.claim import Claim
from tests.command import HUBD, environment
from tests.edge.ws_client import JSON, Client

HOST = "127.0.0.1"
STORED = {"HUBD_REPLAY__SAVED_FILE": "", "HUBD_STORE__URL": "sqlite:///hubd.db"}


class Daemon:
    """A hub in dev mode in a folder, started and stopped as often as it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "hubd.db.rings"
        self.process: Process | None = None
        self.said = ""

    async def begin(self, *, port: int = 0, **environ: str) -> Process:
        self.process = await create_subprocess_exec(
            *HUBD, "serve", "--dev", "--port", str(port), stdout=PIPE, stderr=PIPE, cwd=self.folder,
            env=environment(**STORED | environ),
        )  # fmt: skip
        return self.process

    async def start(self, **environ: str) -> None:
        process = await self.begin(**environ)
        assert process.stdout is not None and process.stderr is not None
        ready = (await process.stdout.readline()).decode()
        assert ready.startswith(f"hubd listening on http://{HOST}:"), (await process.stderr.read()).decode()
        self.port = int(ready.rpartition(":")[2])
        self.said = (await process.stderr.readuntil(b"Bearer ")).decode()
        self.key = (await process.stderr.readuntil(b"'")).decode().rstrip("'")

    async def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        _, err = await asyncio.wait_for(self.process.communicate(), 30)
        self.said = err.decode()
        assert "Traceback" not in self.said, self.said
        assert self.process.returncode is not None
        return self.process.returncode

    async def post(self, path: str, call: dict[str, Any] | None = None) -> Any:
        url, headers = f"http://{HOST}:{self.port}{path}", {"Authorization": f"Bearer {self.key}"}
        async with aiohttp.ClientSession() as session, session.post(url, json=call or {}, headers=headers) as answer:
            return await answer.json()

    async def publish(self, id: str) -> Any:
        return await self.post("/api/notifications", {"to": "t", "id": id, "notification": {"type": "alert"}})

    async def resume(self, cursor: str, count: int) -> list[Any]:
        """The first frames of a connection that comes back."""
        query = {"user": "42", "topics": "t", "cursor": cursor}
        client = await Client.open(HOST, self.port, query=query, subprotocol=JSON)
        frames = [await client.next() for _ in range(count)]
        client.hang_up()
        await client.writer.wait_closed()
        return frames


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    if daemon.process is not None and daemon.process.returncode is None:
        daemon.process.kill()
        await daemon.process.communicate()


async def test_stopped_and_started_again(daemon: Daemon) -> None:
    await daemon.start()
    answers = [await daemon.publish(f"n{place}") for place in range(1, 4)]
    assert await daemon.stop() == 0
    assert "saved: " in daemon.said
    stored = ["hubd.db", "hubd.db.lock"]
    assert sorted(os.listdir(daemon.folder)) == [*stored, "hubd.db.rings", "hubd.db.rings.lock"]
    assert stat.S_IMODE(daemon.file.stat().st_mode) == 0o600

    await daemon.start()
    assert "loaded: " in daemon.said
    assert not daemon.file.exists(), "it is loaded once"
    welcome, *frames = await daemon.resume(answers[0]["cursor"], 3)
    assert (welcome["recovered"], [frame["id"] for frame in frames]) == (True, ["n2", "n3"])
    assert await daemon.publish("n3") == answers[2] | {"duplicate": True}
    assert (await daemon.publish("n4"))["cursor"] == answers[0]["cursor"].replace("-1", "-4")
    assert await daemon.stop() == 0


async def test_killed(daemon: Daemon) -> None:
    await daemon.start()
    answer = await daemon.publish("n1")
    assert await daemon.stop() == 0
    await daemon.start()
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    await daemon.start()
    welcome, gap = await daemon.resume(answer["cursor"], 2)
    assert (welcome["recovered"], gap) == (False, {"hub": "gap", "channel": None, "reason": "epoch"})
    assert not welcome["cursor"].startswith(answer["cursor"].partition("-")[0])


async def test_started_while_the_one_before_still_stops(daemon: Daemon, tmp_path: Path) -> None:
    """What that one leaves is for the next one, not for whoever comes after a crash of that."""
    await daemon.start()
    answer = await daemon.publish("n1")
    busy = await asyncio.open_connection(HOST, daemon.port)
    busy[1].write(b"POST /api/acks?user=42 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
    await asyncio.sleep(0.2)  # a request that isn't through yet keeps it for a while
    old = daemon.process
    assert old is not None and old.stderr is not None
    old.terminate()
    await old.stderr.readuntil(b"stopping: ")
    starting = asyncio.ensure_future(daemon.start())
    await asyncio.sleep(1.0)
    assert not starting.done() and old.returncode is None
    busy[1].write(b'"ids":[]}')
    await asyncio.wait_for(starting, 30)
    assert await old.wait() == 0
    busy[1].close()
    await busy[1].wait_closed()
    assert "predecessor_stopping: " in daemon.said and "loaded: " in daemon.said
    welcome, *_ = await daemon.resume(answer["cursor"], 1)
    assert welcome["recovered"] is True


async def test_signals_to_one_that_waits(daemon: Daemon, tmp_path: Path) -> None:
    """The lock is held by somebody who says that he is stopping, and doesn't."""
    claim = Claim(daemon.file)
    assert claim.take()
    claim.say_stopping()
    process = await daemon.begin()
    assert process.stderr is not None
    await asyncio.wait_for(process.stderr.readuntil(b"predecessor_stopping: "), 20)
    process.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.2)
    assert await daemon.stop() == 0
    assert "hubd listening" not in daemon.said and "saved_file_in_use" not in daemon.said
    claim.close()


async def test_two_in_one_folder_without_a_store(daemon: Daemon, tmp_path: Path) -> None:
    """The second is a hub by itself: it takes nothing, and leaves nothing."""
    without = {"HUBD_STORE__URL": "off", "HUBD_REPLAY__SAVED_FILE": "hubd.db.rings"}
    await daemon.start(**without)
    answer = await daemon.publish("n1")
    second = Daemon(tmp_path)
    await second.start(**without)
    assert "saved_file_in_use: " in second.said
    await second.publish("m1")
    assert await second.stop() == 0
    assert not daemon.file.exists()
    assert await daemon.stop() == 0
    await daemon.start(**without)
    welcome, *_ = await daemon.resume(answer["cursor"], 1)
    assert welcome["recovered"] is True


async def test_two_with_one_store(daemon: Daemon, tmp_path: Path) -> None:
    """There is no second one, and it says so soon: the first doesn't stop."""
    await daemon.start()
    answer = await daemon.publish("n1")
    process = await Daemon(tmp_path).begin()
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (1, b"")
    assert err.decode().splitlines()[-1] == "hubd: the store can't be used: another hub uses this database"
    assert await daemon.stop() == 0
    await daemon.start()
    welcome, *_ = await daemon.resume(answer["cursor"], 1)
    assert welcome["recovered"] is True


async def test_damaged(daemon: Daemon) -> None:
    await daemon.start()
    answer = await daemon.publish("n1")
    await daemon.stop()
    data = bytearray(daemon.file.read_bytes())
    data[len(data) // 2] ^= 1
    daemon.file.write_bytes(data)
    await daemon.start()
    assert "not_loaded: " in daemon.said and "damaged" in daemon.said
    assert not daemon.file.exists()
    _, gap = await daemon.resume(answer["cursor"], 2)
    assert gap["reason"] == "epoch"


async def test_too_old(daemon: Daemon) -> None:
    await daemon.start()
    answer = await daemon.publish("n1")
    await daemon.stop()
    await asyncio.sleep(0.3)
    await daemon.start(HUBD_REPLAY__TTL_S="0.2")
    assert "rings_too_old: " in daemon.said
    _, gap = await daemon.resume(answer["cursor"], 2)
    assert gap["reason"] == "epoch"


async def test_a_start_that_fails_loses_nothing(daemon: Daemon) -> None:
    await daemon.start()
    answer = await daemon.publish("n1")
    await daemon.stop()
    with socket.create_server((HOST, 0)) as taken:
        process = await daemon.begin(port=taken.getsockname()[1])
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out) == (1, b"") and b"can't listen" in err
    await daemon.start()
    welcome, *_ = await daemon.resume(answer["cursor"], 1)
    assert welcome["recovered"] is True


async def test_nobody_reads_the_ready_line(daemon: Daemon) -> None:
    with open("/dev/full", "w") as full:
        daemon.process = await create_subprocess_exec(
            *HUBD, "serve", "--dev", "--port", "0", stdout=full, stderr=PIPE, cwd=daemon.folder,
            env=environment(**STORED),
        )  # fmt: skip
    assert daemon.process.stderr is not None
    await asyncio.wait_for(daemon.process.stderr.readuntil(b"Bearer "), 20)
    await asyncio.sleep(0.2)
    assert await daemon.stop() == 0
    assert daemon.file.exists()


async def test_a_folder_that_cant_be_written_to_is_said_and_the_stop_is_a_clean_one(daemon: Daemon) -> None:
    await daemon.start(HUBD_REPLAY__SAVED_FILE="missing/hubd.rings")
    assert "saving_uncertain: " in daemon.said, "it is said before it is too late"
    assert await daemon.stop() == 0
    assert "not_saved: " in daemon.said and "No such file or directory" in daemon.said


async def test_who_was_thrown_out_stays_out(daemon: Daemon) -> None:
    secret, old = "s" * 64, token("s" * 64)
    keys = {"HUBD_AUTH__JWT": json.dumps([{"algorithm": "HS256", "key": secret}])}
    await daemon.start(**keys)
    await daemon.post("/api/users/42/revoke")
    await daemon.stop()
    await daemon.start(**keys)
    client = await Client.open(HOST, daemon.port, headers={"Authorization": f"Bearer {old}"}, subprotocol=JSON)
    assert await client.closed() == 4507
    client.hang_up()
    await client.writer.wait_closed()


def token(secret: str) -> str:
    return jwt.encode({"sub": "42", "exp": 4_000_000_000, "iat": 1_700_000_000}, secret, "HS256")
