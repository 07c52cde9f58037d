"""The README of proxy_auth, followed: its application and its config, each in a process of its own."""

import asyncio
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import hubd_proxy_auth
from hubd_proxy_auth.metrics import Figures
from prometheus_client import CollectorRegistry

from tests.daemon import Daemon
from tests.edge.ws_client import JSON, Client

HOST = "127.0.0.1"
README = (Path(hubd_proxy_auth.__file__).parent / "README.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def rows(heading: str) -> list[str]:
    """What the first columns of the tables below a heading name, in their backticks."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`{]+)[^|]*\|", section, re.MULTILINE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def answers(session: aiohttp.ClientSession, url: str, user: str) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        try:
            async with session.post(f"{url}/login", data={"user": user}) as response:
                assert response.status == 200
                return
        except aiohttp.ClientConnectorError:
            assert asyncio.get_running_loop().time() < deadline, "the application doesn't start"
            await asyncio.sleep(0.02)


async def welcome(daemon: Daemon, cookie: str) -> Any:
    query = {"topics": "news,team:42:a,team:43:a"}
    client = await Client.open(HOST, daemon.port, headers={"Cookie": cookie}, query=query, subprotocol=JSON)
    try:
        message = await client.next()
        return message if message["hub"] == "welcome" else await client.closed()
    finally:
        client.writer.close()


async def test_its_application_and_its_config_work(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(block("python"))
    port, config = free_port(), tmp_path / "config.toml"
    config.write_text(block("toml").replace("8000", str(port)))
    environ = {**os.environ, "HUB_SECRET": "a-long-random-text", "PORT": str(port)}
    application = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "app.py"), env=environ, stdout=asyncio.subprocess.DEVNULL
    )
    daemon = await Daemon.start("--config", str(config), dev=False)
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            await answers(session, f"http://{HOST}:{port}", "42")
            cookie = next(iter(session.cookie_jar))
        found = await welcome(daemon, f"{cookie.key}={cookie.value}")
        assert (found["user"], found["topics"]) == ("42", ["news", "team:42:a"])
        assert await welcome(daemon, "session=wrong") == 4500
        async with aiohttp.request("POST", f"http://{HOST}:{port}/hubd/who", json={}) as response:
            assert response.status == 400, "nobody but the hub may ask"
    finally:
        application.terminate()
        await application.wait()
        await daemon.stopped()
    assert cookie.value not in "\n".join(daemon.lines) and "a-long-random-text" not in "\n".join(daemon.lines)


def test_it_names_every_option_and_every_metric() -> None:
    assert rows("Options") == list(hubd_proxy_auth.ProxyAuth.Config.model_fields)
    registry = CollectorRegistry()
    Figures(registry, lambda: 0, lambda: 0)
    families = [one.name + ("_total" if one.type == "counter" else "") for one in registry.collect()]
    assert rows("Metrics") == families


def test_its_defaults_are_the_real_ones() -> None:
    table = README.partition("\n## Options\n")[2].partition("\n## ")[0]
    given = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))
    for name, field in hubd_proxy_auth.ProxyAuth.Config.model_fields.items():
        if field.is_required():
            assert given[name] == "must be there"
            continue
        match field.default:
            case None:
                shown = "none"
            case bool():
                shown = str(field.default).lower()
            case tuple():
                shown = "`[" + ", ".join(f'"{one}"' for one in field.default) + "]`"
            case _:
                shown = f"{field.default:g}"
        assert given[name] == shown, name
