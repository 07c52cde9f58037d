"""Webhooks in a hub as it really runs: configured by a file, told about real connections, reloaded, stopped."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hubd.clock import SystemClock
from tests.daemon import HOST, Daemon, Daemons, until
from tests.edge.ws_client import Client
from tests.plugins.webhooks_world import KEY, OTHER_KEY, OTHER_SECRET, SECRET, is_genuine


class Receiver:
    """The application: believes what is signed, and answers what it is told to."""

    def __init__(self) -> None:
        self.key = KEY
        self.status = 204
        self.events: list[dict[str, Any]] = []
        self.refused = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not is_genuine(request.headers, body, self.key, SystemClock().now()):
            self.refused += 1
            return web.Response(status=401)
        if self.status == 204:
            self.events += json.loads(body)["events"]
        return web.Response(status=self.status)

    def data_of(self, type_: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events if event["type"] == type_]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with TestServer(app, host=HOST) as server:
        receiver.url = f"http://{HOST}:{server.port}/hook"
        yield receiver


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    made = Daemons(tmp_path)
    yield made
    await made.kill_all()


def written(folder: Path, url: str, secret: str = SECRET) -> Path:
    path = folder / "config.toml"
    path.write_text(
        '[plugins.webhooks]\nallow_hosts = ["127.0.0.1"]\n'
        f'[[plugins.webhooks.endpoints]]\nname = "app"\nurl = "{url}"\nsecret = "{secret}"\n'
    )
    return path


async def publish(daemon: Daemon, to: str) -> str:
    headers = {"Authorization": f"Bearer {daemon.key}"}
    body = {"to": to, "notification": {"type": "test", "title": "t"}}
    url = f"http://{HOST}:{daemon.port}/api/notifications"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json=body) as answer:
        found: str = (await answer.json())["id"]
        return found


async def leave(client: Client) -> None:
    """Go when told to, as browsers do."""
    assert await client.closed() == 4000
    client.hang_up()


async def test_from_the_first_connection_to_the_last(daemons: Daemons, tmp_path: Path) -> None:
    async with receiving() as app:
        daemon = await daemons.start("--config", str(written(tmp_path, app.url)))
        client = await daemon.connect("ada")
        await client.next()
        id = await publish(daemon, "user:ada")
        await until(lambda: bool(app.data_of("published") and app.data_of("connected")))
        (published,) = app.data_of("published")
        assert (published["id"], published["channels"], published["live"]) == (id, ["user:ada:notifications"], 1)
        assert [data["user"] for data in app.data_of("connected")] == ["ada"]
        status, text = await daemon.get("/metrics", key=daemon.key)
        assert status == 200 and 'webhooks_sent_total{endpoint="app"}' in text

        # A reload brings another secret.
        written(tmp_path, app.url, OTHER_SECRET)
        daemon.send(signal.SIGHUP)
        await daemon.said("config_reloaded")
        app.key = OTHER_KEY
        again = await publish(daemon, "news")
        await until(lambda: again in [data["id"] for data in app.data_of("published")])
        assert app.refused == 0

        # The stop tells of the last ones.
        (code, _), _ = await asyncio.gather(daemon.stopped(), leave(client))
        assert code == 0
        assert [(data["user"], data["reason"]) for data in app.data_of("disconnected")] == [("ada", "shutdown")]
        assert SECRET[6:] not in "\n".join(daemon.lines)
        # A machine that has no time for it may make it look as if it had kept the loop.
        assert not [line for line in daemon.lines if "plugin_fault" in line and "kind=blocked" not in line]


async def test_410_until_a_reload(daemons: Daemons, tmp_path: Path) -> None:
    async with receiving() as app:
        app.status = 410
        daemon = await daemons.start("--config", str(written(tmp_path, app.url)))
        await publish(daemon, "news")
        await daemon.said("off until the next reload")
        app.status = 204
        lost = await publish(daemon, "news")
        daemon.send(signal.SIGHUP)  # with nothing changed
        await daemon.said("config_reloaded")
        id = await publish(daemon, "news")
        await until(lambda: bool(app.data_of("published")))
        assert [data["id"] for data in app.data_of("published")] == [id] != [lost]


async def test_a_stop_says_what_is_lost(daemons: Daemons, tmp_path: Path) -> None:
    async with receiving() as app:
        app.status = 503
        daemon = await daemons.start("--config", str(written(tmp_path, app.url)))
        for _ in range(3):
            await publish(daemon, "news")
        await daemon.said("calls are tried again")
        code, took_s = await daemon.stopped()
        assert code == 0 and took_s < 10
        assert "lost=3" in line_of(daemon, "events are lost because the hub stops")


def line_of(daemon: Daemon, text: str) -> str:
    (line,) = [line for line in daemon.lines if text in line]
    return line
