"""The daemon and its store, as real processes: what is there again after a kill, no store at the start, and trouble."""

import asyncio
import os
import re
import signal
import sqlite3
import sys
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from hubd.edge.keys import new_key
from tests.command import environment
from tests.edge.ws_client import JSON, Client

HOST, SECRET, WAIT_S = "127.0.0.1", "s" * 64, 20.0
CONFIG = """
[server]
port = 0
drain_s = 2
[[auth.jwt]]
algorithm = "HS256"
key = "{secret}"
[[auth.api_keys]]
id = "backend"
sha256 = "{digest}"
rights = ["publish", "admin"]
[delivery]
push_delay_s = {push_delay_s}
"""


class Hub:
    """A hub in a folder, with a pusher that writes into a file; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key, self.digest = new_key("backend")
        self.process: Process | None = None
        self.said = ""
        self.configure(push_delay_s=60)

    def configure(self, push_delay_s: float) -> None:
        text = CONFIG.format(secret=SECRET, digest=self.digest, push_delay_s=push_delay_s)
        (self.folder / "config.toml").write_text(text)
        (self.folder / "config.toml").chmod(0o600)

    async def begin(self, url: str = "sqlite:///hub.db") -> Process:
        command = (sys.executable, "-W", "error", "-m", "tests.pushing_daemon", "config.toml", "pushes")
        environ = environment(HUBD_STORE__URL=url, HUBD_REPLAY__SAVED_FILE="hub.rings")
        self.process = await create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=self.folder, env=environ)
        return self.process

    async def start(self, url: str = "sqlite:///hub.db") -> None:
        process = await self.begin(url)
        assert process.stdout is not None and process.stderr is not None
        ready = (await asyncio.wait_for(process.stdout.readline(), WAIT_S)).decode()
        found = re.fullmatch(rf"hubd listening on http://{HOST}:(\d+)\n", ready)
        assert found, ready + (await process.stderr.read()).decode()
        self.port = int(found[1])

    async def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process is not None
        _, err = await asyncio.wait_for(self.process.communicate(), 3 * WAIT_S)
        self.said = err.decode()
        assert "Traceback" not in self.said, self.said
        assert self.process.returncode is not None
        return self.process.returncode

    def pushes(self) -> list[list[str]]:
        """The id and the user of each push so far."""
        path = self.folder / "pushes"
        return [line.split()[1:] for line in path.read_text().splitlines()] if path.exists() else []

    async def call(self, method: str, path: str, body: Any = None, *, headers: Any = None) -> tuple[int, Any]:
        url, mine = f"http://{HOST}:{self.port}{path}", {"Authorization": f"Bearer {self.key}"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=body, headers=headers or mine) as answer,
        ):
            is_json = "json" in answer.content_type
            return answer.status, await (answer.json(content_type=None) if is_json else answer.text())

    async def publish(self, id: str, priority: str = "important", persistence: str = "persistent") -> tuple[int, Any]:
        notification = {"type": "alert"}
        body = {"to": "user:ada", "id": id, "priority": priority, "persistence": persistence}
        return await self.call("POST", "/api/notifications", body | {"notification": notification})

    def token(self) -> str:
        return jwt.encode({"sub": "ada", "exp": 4_000_000_000, "iat": 1_700_000_000, "topics": ["**"]}, SECRET, "HS256")

    async def connect(self) -> Client:
        headers = {"Authorization": f"Bearer {self.token()}"}
        return await Client.open(HOST, self.port, headers=headers, subprotocol=JSON, query={"acks": "1"})


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    hub = Hub(tmp_path)
    yield hub
    if hub.process is not None and hub.process.returncode is None:
        hub.process.kill()
        await hub.process.communicate()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_what_waited_for_an_ack_is_pushed_after_a_kill(hub: Hub) -> None:
    await hub.start()
    client = await hub.connect()
    answer = await hub.publish("open")
    assert answer[0] == 202
    await hub.publish("acked")
    status, _ = await hub.call(
        "POST", "/api/acks", {"ids": ["acked"]}, headers={"Authorization": f"Bearer {hub.token()}"}
    )
    assert status in (200, 204)
    assert await hub.end(signal.SIGKILL) == -signal.SIGKILL
    client.hang_up()
    assert hub.pushes() == []

    hub.configure(push_delay_s=1)
    await hub.start()
    await until(lambda: len(hub.pushes()) > 0)
    assert hub.pushes() == [["open", "ada"]]
    status, again = await hub.publish("open")
    assert (status, again["duplicate"]) == (200, True)
    assert await hub.end(signal.SIGTERM) == 0
    await hub.start()
    await asyncio.sleep(1.5)
    assert hub.pushes() == [["open", "ada"]], "once it was pushed nothing is open any more"


async def test_subscriptions_and_revocations_are_there_after_a_kill(hub: Hub) -> None:
    await hub.start()
    assert (await hub.call("PUT", "/api/users/ada/subscriptions/news:red"))[0] == 201
    assert (await hub.call("PUT", "/api/users/ada/subscriptions/news:blue"))[0] == 201
    assert (await hub.call("DELETE", "/api/users/ada/subscriptions/news:blue"))[0] == 204
    assert (await hub.call("POST", "/api/users/bob/revoke"))[0] == 200
    await hub.end(signal.SIGKILL)
    await hub.start()
    _, found = await hub.call("GET", "/api/users/ada/subscriptions")
    assert found == {"subscriptions": [{"topic": "news:red", "made_by": "server"}]}
    token = jwt.encode({"sub": "bob", "exp": 4_000_000_000, "iat": 1_700_000_000}, SECRET, "HS256")
    status, _ = await hub.call("GET", "/api/subscriptions", headers={"Authorization": f"Bearer {token}"})
    assert status == 401


async def test_a_clean_stop_leaves_nothing_twice(hub: Hub) -> None:
    """Rings are in the file, the rest in the store: and both fit together again."""
    await hub.start()
    client = await hub.connect()
    await client.next()
    _, answer = await hub.publish("open")
    assert (await client.next())["id"] == "open"
    assert await hub.end(signal.SIGTERM) == 0
    client.hang_up()
    hub.configure(push_delay_s=1)
    await hub.start()
    assert (await hub.publish("open"))[1] == answer | {"duplicate": True}
    history = (await hub.call("GET", "/api/channels/user:ada/history"))[1]
    assert "open" in str(history) and str(history).count("'id'") == 1, "the ring has it once"
    await until(lambda: len(hub.pushes()) > 0)
    assert hub.pushes() == [["open", "ada"]]


@pytest.mark.parametrize(
    "url, why",
    [
        ("sqlite:///missing/hub.db", "missing/hub.db: No such file or directory"),
        ("sqlite:///config.toml", "the file is no SQLite database"),
    ],
)
async def test_without_its_store_it_doesnt_start(hub: Hub, url: str, why: str) -> None:
    await hub.begin(url)
    assert await hub.ended() == 1
    assert hub.said.splitlines()[-1] == f"hubd: the store can't be used: {why}"


async def test_a_database_that_isnt_there_yet_is_waited_for_and_a_stop_isnt_kept_waiting(hub: Hub) -> None:
    asked = 0

    async def not_yet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    async with await asyncio.start_server(not_yet, HOST, 0) as database:
        port = database.sockets[0].getsockname()[1]
        process = await hub.begin(f"postgresql://hubd:secret-word@{HOST}:{port}/hubd")
        await until(lambda: asked >= 3)
        assert process.returncode is None
        begun = time.monotonic()
        assert await hub.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 15 and "secret-word" not in hub.said


async def test_trouble_refuses_what_must_be_stored_and_nothing_else(hub: Hub) -> None:
    await hub.start()
    client = await hub.connect()
    await client.next()
    assert (await hub.publish("a"))[0] == 202
    assert (await client.next())["id"] == "a"
    other = sqlite3.connect(hub.folder / "hub.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")  # somebody's backup that takes its time
    status, problem = await hub.publish("b", "critical")
    assert (status, problem["code"]) == (503, "unavailable"), problem
    assert "locked" in problem["detail"]
    assert (await hub.publish("c", "informational", "bufferable"))[0] == 202
    assert (await client.next())["id"] == "c", "what is live goes on"
    status, ready = await hub.call("GET", "/health/ready")
    assert (status, ready["reasons"]) == (503, ["the store: the database is locked by another program"])
    assert (await hub.call("GET", "/health/live"))[0] == 200
    assert (await hub.call("PUT", "/api/users/ada/subscriptions/t"))[0] == 503
    assert (await hub.call("GET", "/api/users/ada/subscriptions"))[1] == {"subscriptions": []}
    status, revoked = await hub.call("POST", "/api/users/bob/revoke")
    assert status == 503 and "a restart would forget it" in revoked["detail"]
    assert "hubd_store_trouble 1.0" in (await hub.call("GET", "/metrics"))[1]
    other.execute("ROLLBACK")
    other.close()
    deadline = time.monotonic() + WAIT_S
    while (await hub.call("GET", "/health/ready"))[0] != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    status, answer = await hub.publish("b", "critical")
    assert (status, answer["duplicate"]) == (202, False), "nothing was done before"
    assert "hubd_store_trouble 0.0" in (await hub.call("GET", "/metrics"))[1]
    assert await hub.end(signal.SIGTERM) == 0
    client.hang_up()
    assert hub.said.count("store_trouble: ") == 1 and hub.said.count("store_healed: ") == 1


async def test_without_a_store_nothing_is_written(hub: Hub) -> None:
    await hub.start("off")
    assert (await hub.publish("a", "critical"))[0] == 202
    assert await hub.end(signal.SIGTERM) == 0
    assert not any(name.startswith("hub.db") for name in os.listdir(hub.folder))
