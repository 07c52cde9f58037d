"""The load client of HTTP calls finds what a hub does wrong; and a real hub does nothing of it."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.processes import Processes
from bench.publishes import Requests

USERS = 3
WRONG = 5
"""The notification that something is done wrong with; it is for u2."""
PUBLISH, BATCH, BROADCAST = "publish 12 0 3 20 0\n", "publish 3 4 3 20 0\n", "broadcast 8 20 1\n"
Frame = dict[str, Any]


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    with Processes() as started:
        yield started


class TinyHub:
    """Publishes to users; what it does wrong is set from outside."""

    def __init__(self) -> None:
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.published = 0
        self.frames: Callable[[Frame], list[Frame]] = lambda frame: [frame]
        self.told: Callable[[Frame], Frame] = lambda told: told
        self.status = 202

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/notifications", self.connect),
                web.post("/api/notifications", self.publish),
                web.post("/api/notifications/batch", self.publish_batch),
                web.post("/api/acks", self.ack),
            ]
        )
        return app

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[request.headers["Authorization"].removeprefix("Bearer ")] = socket
        async for _ in socket:
            pass
        return socket

    async def publish(self, request: web.Request) -> web.Response:
        return _answer(await self._publish(await request.json()), self.status)

    async def publish_batch(self, request: web.Request) -> web.Response:
        return _answer([{"status": self.status, **await self._publish(item)} for item in await request.json()], 200)

    async def ack(self, request: web.Request) -> web.Response:
        assert (await request.json())["ids"]
        return _answer({"ok": True}, self.status if self.status != 202 else 200)

    async def _publish(self, body: Frame) -> Frame:
        number = self.published
        self.published += 1
        frame = {"id": f"id{number}", **body["notification"], "cursor": f"x-{number + 1}"}
        users = [*self.sockets] if body["to"] == "notifications" else [body["to"].removeprefix("user:")]
        for user in users:
            for sent in self.frames(frame) if number == WRONG else [frame]:
                await self.sockets[sent.get("to", user)].send_str(_json({**sent}))
        told = {"id": frame["id"], "cursor": frame["cursor"], "live": len(users), "duplicate": False}
        return self.told(told) if number == WRONG else told


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _answer(value: Any, status: int) -> web.Response:
    return web.json_response(value, status=status, dumps=_json)


async def run_client(processes: Processes, hub: TinyHub, tmp_path: Path, commands: str) -> tuple[int, str, str]:
    """The client's status, what it said, and what it said was wrong."""
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"u{number}\n" for number in range(USERS)))
    async with TestServer(hub.app(), host="127.0.0.1") as server:
        client = await asyncio.create_subprocess_exec(
            *(processes.native("requests"), str(server.port), "key", "2", str(tokens)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        said, wrong = await client.communicate(commands.encode())
        for socket in hub.sockets.values():
            await socket.close()
    assert client.returncode is not None
    return client.returncode, said.decode(), wrong.decode()


async def test_nothing_is_wrong_with_a_good_hub(processes: Processes, tmp_path: Path) -> None:
    commands = PUBLISH + BATCH + "ack 3 2\n" + BROADCAST + PUBLISH
    status, said, wrong = await run_client(processes, TinyHub(), tmp_path, commands)
    assert (status, wrong) == (0, "")
    connected, single, batch, ack, broadcast, _ = map(json.loads, said.splitlines())
    assert connected == {"connected": USERS}
    assert (single["calls"], single["notifications"], single["deliveries"]) == (12, 12, 12)
    assert (batch["calls"], batch["notifications"], batch["deliveries"]) == (3, 12, 12)
    assert (ack["calls"], ack["notifications"]) == (3, 0)
    assert (broadcast["notifications"], broadcast["deliveries"]) == (8, 8 * USERS)


WRONG_FRAMES: dict[str, tuple[Callable[[Frame], list[Frame]], str]] = {
    "lost": (lambda frame: [], "lost"),
    "doubled": (lambda frame: [frame, frame], "twice"),
    "changed": (lambda frame: [frame | {"body": "x" * 20}], "not what was published"),
    "somebody else's": (lambda frame: [frame | {"to": "u0"}], "connection 0 got what was for user u2"),
    "out of order": (lambda frame: [frame | {"cursor": "x-1"}], "out of order"),
    "of another time": (lambda frame: [frame | {"title": "broadcast 00000099"}], "not "),
}


@pytest.mark.parametrize("name", WRONG_FRAMES)
async def test_a_wrong_frame_is_found(processes: Processes, tmp_path: Path, name: str) -> None:
    hub = TinyHub()
    hub.frames, words = WRONG_FRAMES[name]
    status, _, wrong = await run_client(processes, hub, tmp_path, PUBLISH)
    assert status == 1
    assert wrong.startswith("FAILED: ") and words in wrong


@pytest.mark.parametrize("command", [PUBLISH, BATCH, BROADCAST])
@pytest.mark.parametrize("change", [{"live": 0}, {"live": 7}, {"duplicate": True}])
async def test_a_wrong_answer_is_found(processes: Processes, tmp_path: Path, command: str, change: Frame) -> None:
    hub = TinyHub()
    hub.told = lambda told: told | change
    status, _, wrong = await run_client(processes, hub, tmp_path, command)
    assert status == 1
    assert wrong.startswith("FAILED: publish 5 ")


@pytest.mark.parametrize("command", [PUBLISH, BATCH, BROADCAST])
async def test_a_refusal_is_found(processes: Processes, tmp_path: Path, command: str) -> None:
    hub = TinyHub()
    hub.status = 429
    status, _, wrong = await run_client(processes, hub, tmp_path, command)
    assert status == 1
    assert "was answered with" in wrong


def test_a_real_hub_answers_all_of_it(processes: Processes) -> None:
    client = Requests(processes, processes.hub(auth=True), connections=20, publishers=16)
    for batch, calls in ((0, 400), (10, 40)):
        run = client.publish(calls, 100, batch=batch)
        assert (run.notifications, run.deliveries) == (400, 80)
    assert client.publish(200, 20, ids=True).deliveries == 200
    assert client.measure("ack 20 5").calls == 20
    assert client.measure("broadcast 5 20 1").deliveries == 100
