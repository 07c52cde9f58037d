"""The load client for targeted notifications finds what a hub does wrong; the hubs that it is used with are real."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.durable import TOPIC, filled_hub
from bench.processes import Processes
from bench.targeted import TargetedClient, switchable_hub
from bench.unsliced import SLICED, UNSLICED

USERS = 3
WRONG = "u1"
"""The user to whom things are done wrong."""
BROADCAST, TARGETED = "broadcast 00000003", "targeted 00000002"
"""What is done wrong; the second one is for him."""
RUN = "run -1 100 300 20\n"


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    with Processes() as started:
        yield started


class TinyHub:
    """Publishes to users, by order of arrival; ``faulty`` says what becomes of a frame for one of them."""

    def __init__(self, faulty: Callable[["TinyHub", dict[str, Any]], list[dict[str, Any]]]) -> None:
        self.faulty = faulty
        self.held: list[dict[str, Any]] = []
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.lock = asyncio.Lock()
        self.numbers = count(1)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/notifications", self.connect)
        app.router.add_post("/api/notifications", self.publish)
        return app

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        socket = self.sockets[request.headers["Authorization"].removeprefix("Bearer ")] = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async def publish(self, request: web.Request) -> web.Response:
        asked = await request.json()
        async with self.lock:
            number = next(self.numbers)
            user = asked["to"].removeprefix("user:")
            channel = "notifications" if user == asked["to"] else f"{asked['to']}:notifications"
            frame = {"id": f"id{number}"} | asked["notification"] | {"channel": channel, "cursor": f"x-{number}"}
            live = 0
            for name in self.sockets if channel == "notifications" else [user]:
                live += 1
                for sent in self.faulty(self, frame) if name == WRONG else [frame]:
                    await self.sockets[sent.pop("for", name)].send_str(json.dumps(sent, separators=(",", ":")))
        told = {"id": frame["id"], "cursor": frame["cursor"], "live": live}
        return web.json_response(told, status=202, dumps=lambda what: json.dumps(what, separators=(",", ":")))


def lose(hub: TinyHub, frame: dict[str, Any]) -> list[dict[str, Any]]:
    return []


def double(hub: TinyHub, frame: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame, frame]


def change(hub: TinyHub, frame: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame | {"body": "x" + frame["body"][1:]}]


def hold_back(hub: TinyHub, frame: dict[str, Any]) -> list[dict[str, Any]]:
    hub.held.append(frame)
    return []


def rename(hub: TinyHub, frame: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame | {"id": "another"}]


def misroute(hub: TinyHub, frame: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame | {"for": "u0", "channel": "user:u0:notifications"}]


def faulty_with(title: str, what: Callable[[TinyHub, dict[str, Any]], list[dict[str, Any]]]) -> Any:
    def faulty(hub: TinyHub, frame: dict[str, Any]) -> list[dict[str, Any]]:
        late, hub.held = hub.held, []
        return [*(what(hub, frame) if frame["title"] == title else [frame]), *late]

    return faulty


async def run_client(processes: Processes, hub: TinyHub, tmp_path: Path) -> tuple[int, str, str]:
    """The client's status, what it said, and what it said was wrong."""
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"u{number}\n" for number in range(USERS)))
    async with TestServer(hub.app(), host="127.0.0.1") as server:
        arguments = [str(server.port), "key", str(tokens), str(USERS), "notifications", ""]
        client = await asyncio.create_subprocess_exec(
            processes.native("targeted"),
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        said, wrong = await client.communicate(RUN.encode())
        for socket in hub.sockets.values():
            await socket.close()
    assert client.returncode is not None
    return client.returncode, said.decode(), wrong.decode()


@pytest.mark.parametrize("title", [BROADCAST, TARGETED])
@pytest.mark.parametrize(
    ("what", "words"),
    [(lose, "lost"), (double, "doubled|twice"), (change, "changed|not what"), (hold_back, "reordered|late|lost")],
    ids=["lost", "doubled", "changed", "reordered"],
)
async def test_what_is_wrong_with_a_frame_is_found(
    processes: Processes, tmp_path: Path, title: str, what: Any, words: str
) -> None:
    status, _, wrong = await run_client(processes, TinyHub(faulty_with(title, what)), tmp_path)
    assert status == 1
    assert wrong.startswith("FAILED: ")
    assert any(word in wrong for word in words.split("|")), wrong


@pytest.mark.parametrize(("what", "words"), [(rename, "told of another"), (misroute, "not for it")])
async def test_a_targeted_one_is_what_the_publisher_was_told_and_for_its_user(
    processes: Processes, tmp_path: Path, what: Any, words: str
) -> None:
    status, _, wrong = await run_client(processes, TinyHub(faulty_with(TARGETED, what)), tmp_path)
    assert (status, words in wrong) == (1, True), wrong


async def test_what_is_right_passes_and_is_counted_from_when_it_was_due(processes: Processes, tmp_path: Path) -> None:
    status, said, wrong = await run_client(processes, TinyHub(lambda hub, frame: [frame]), tmp_path)
    assert (status, wrong) == (0, "")
    connected, report = map(json.loads, said.splitlines())
    assert connected == {"connected": USERS}
    assert report["targeted"] == 100
    assert report["broadcasts"] > 3
    assert report["targeted_us"]["max"] >= report["late_us"]["max"]


def test_a_real_hub_with_slices_or_without_does_nothing_wrong(processes: Processes) -> None:
    hub = switchable_hub(processes)
    client = TargetedClient(processes, hub, 600)
    for how in (SLICED, UNSLICED):
        os.kill(hub.pid, how)
        run = client.run(targeted=40, rate=400)
        assert run.broadcasts >= 1
        assert 0 < run.targeted_ms["p50"] <= run.targeted_ms["p99"]


def test_a_filled_hub_has_its_subscribers_and_connects_some_of_them(processes: Processes) -> None:
    hub = filled_hub(processes, 500)
    assert TargetedClient(processes, hub, 20, TOPIC).run(broadcasts=5).broadcasts == 5
