"""What the README tells a newcomer to do, done: its pages in a real browser, its commands in a shell."""

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.docs import ROOT, blocks, section

README = (ROOT / "README.md").read_text()
ADDRESS = "127.0.0.1:8080"
WAIT_S = 20.0
Serve = Callable[[str], Awaitable[str]]


def told(title: str, kind: str = "sh") -> list[str]:
    """The blocks of one kind under one of its headings."""
    return blocks(kind, section(title, README))


def here(hub: Any, text: str) -> str:
    """The text with the address of this hub, and the command of this environment."""
    address = hub.url.partition("//")[2]
    return text.replace(ADDRESS, address).replace(".venv/bin/hubd", f"{shlex.quote(sys.executable)} -m hubd")


async def shell(script: str, environment: dict[str, str], folder: Path | None = None) -> str:
    """What a script prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
        cwd=folder or ROOT,
    )
    out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def curl(line: str, key: str) -> Any:
    """The answer to a curl line; where there is no curl, what it would send is sent all the same."""
    if shutil.which("curl"):
        return json.loads(await shell(f"{line} --silent", {"HUBD_KEY": key}))
    return await as_curl_would(line, key)


async def as_curl_would(line: str, key: str) -> Any:
    """Send what a curl line with -H and -d says."""
    program, url, header, authorization, data, body = shlex.split(line.replace("$HUBD_KEY", key))
    assert (program, header, data) == ("curl", "-H", "-d")
    name, _, value = authorization.partition(": ")
    form = "application/x-www-form-urlencoded"  # what curl says of -d
    async with aiohttp.ClientSession() as http:
        answer = await http.post(url, headers={name: value, "Content-Type": form}, data=body.encode())
        return await answer.json()


def curl_lines(hub: Any) -> list[str]:
    """The curl lines under "Publish"."""
    lines = [line for block in told("Publish") for line in here(hub, block).splitlines()]
    return [line for line in lines if line.startswith("curl ")]


async def test_the_page_without_a_library_and_publishing(chromium: Any, hub: Any, serve_page: Serve) -> None:
    (html,) = told("A page without any library", "html")
    page = await chromium.open(await serve_page(here(hub, html)))
    await page.js("window.alerts = []; window.alert = (text) => alerts.push(text); 0")
    await page.until("ws.readyState === WebSocket.OPEN")

    answers = [await curl(line, hub.key) for line in curl_lines(hub)]
    assert [answer["live"] for answer in answers] == [1, 1, 1]
    await page.until("document.querySelectorAll('#feed li').length === 2")
    assert await page.js("document.querySelector('#badge').textContent") == "3"
    await hub.publish("user:ada", type="alert", title="Shipped", body="Order 1234")
    await page.until("alerts.length === 1")
    assert await page.js("alerts") == ["Shipped\nOrder 1234"]

    (python,) = told("Publish", "python")
    await shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(here(hub, python))}", {"HUBD_KEY": hub.key})
    feed = [line for line in told("Any program as a feed")[0].splitlines() if "--to user:ada" in line]
    assert len(feed) == 1
    await shell(here(hub, feed[0]), {"HUBD_KEY": hub.key, "HUBD_URL": hub.url})
    await page.until("document.querySelectorAll('#feed li').length === 5")
    shown = await page.js("[...document.querySelectorAll('#feed li')].map((item) => item.textContent)")
    assert shown == ["Lunch?", "To everybody", "Hello from Python", "one", "two"]


async def test_curl_lines_mean_what_curl_makes_of_them(hub: Any) -> None:
    for line in curl_lines(hub):
        assert (await as_curl_would(line, hub.key))["duplicate"] is False
    again = await curl(curl_lines(hub)[-1], hub.key)
    assert again["id"] == "hello-1"
    assert again["duplicate"] is True


async def test_the_page_with_hubd_js(chromium: Any, hub: Any, serve_page: Serve) -> None:
    (html,) = told("In the browser, with `hubd.js`", "html")
    page = await chromium.open(await serve_page(here(hub, html)))
    await page.until("document.querySelector('#state').textContent === 'connected'")
    await hub.publish("user:ada", type="feed", item="to ada")
    await hub.publish("user:bob", type="feed", item="to bob")
    await hub.publish("team:engineering", type="alert", title="to the team")
    await page.until("document.querySelectorAll('#feed li').length === 2")
    shown = await page.js("[...document.querySelectorAll('#feed li')].map((item) => item.textContent)")
    assert shown == ["to ada", "to the team"]


async def test_any_program_as_a_feed(hub: Any) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{hub.url}/notifications?user=ada&topics=logs") as socket,
    ):
        (block,) = told("Any program as a feed")
        await shell(here(hub, block), {"HUBD_KEY": hub.key, "HUBD_URL": hub.url})
        got = [await socket.receive_json(timeout=WAIT_S) for _ in range(3)]
    assert [(n["type"], n.get("item"), n["channel"]) for n in got[:2]] == [
        ("feed", "one", "user:ada:notifications"),
        ("feed", "two", "user:ada:notifications"),
    ]
    assert (got[2]["type"], got[2]["channel"]) == ("log", "logs")
    assert got[2]["title"] == (await shell("uname -a", {})).strip()


@pytest.fixture
def command_in_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``hubd`` is the command of this one."""
    script = tmp_path / "bin" / "hubd"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m hubd "$@"\n')
    script.chmod(0o755)
    return {"PATH": f"{script.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


async def test_running_it_for_real(tmp_path: Path, command_in_path: dict[str, str]) -> None:
    setup, serve, gen_token = told("Running it for real")
    await shell(setup, command_in_path, tmp_path)
    token = (await shell(gen_token, command_in_path, tmp_path)).strip()
    key = (tmp_path / "backend.key").read_text().splitlines()[0]
    hub = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *shlex.split(serve), "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | command_in_path,
        cwd=tmp_path,
    )
    assert hub.stdout is not None
    try:
        ready = (await asyncio.wait_for(hub.stdout.readline(), WAIT_S)).decode()
        url = ready.removeprefix("hubd listening on ").strip()
        got = await published_and_received(url, key, token)
    finally:
        hub.terminate()
        _, err = await asyncio.wait_for(hub.communicate(), WAIT_S)
    assert hub.returncode == 0, err.decode()
    assert got["title"] == "for real"


async def published_and_received(url: str, key: str, token: str) -> Any:
    """What a user with this token gets when a server with this key publishes to a topic."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/notifications?topics=team:a", headers={"Authorization": f"Bearer {token}"}) as socket,
    ):
        body = {"to": "team:a", "notification": {"type": "alert", "title": "for real"}}
        answer = await http.post(f"{url}/api/notifications", json=body, headers={"Authorization": f"Bearer {key}"})
        assert answer.status == 202, await answer.text()
        return await socket.receive_json(timeout=WAIT_S)


async def test_what_make_run_prints_works_as_pasted() -> None:
    hub = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hubd", "serve", "--dev", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"HUBD_REPLAY__SAVED_FILE": "off", "HUBD_STORE__URL": "off"},
    )
    assert hub.stderr is not None
    lines: list[str] = []
    try:
        while not any(line.startswith("curl ") for line in lines):
            line = (await asyncio.wait_for(hub.stderr.readline(), WAIT_S)).decode()
            assert line, lines
            lines.append(line.strip())
        demo = next(line for line in lines if line.startswith("http"))
        user = demo.partition("?user=")[2]
        async with aiohttp.ClientSession() as http:
            page = await http.get(demo)
            assert (page.status, page.content_type) == (200, "text/html")
            address = demo.replace("/demo/", "/notifications")
            async with http.ws_connect(address) as socket:
                answer = await curl(lines[-1], key="")
                got = await socket.receive_json(timeout=WAIT_S)
    finally:
        hub.terminate()
        await asyncio.wait_for(hub.communicate(), WAIT_S)
    assert answer["live"] == 1
    assert (got["id"], got["channel"]) == (answer["id"], f"user:{user}:notifications")


def test_the_make_targets_it_names_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):.*## ", (ROOT / "Makefile").read_text()))
    assert {"run", "test", "check", "help"} <= set(re.findall(r"(?m)(?:^|`)make ([a-z-]+)", README)) <= targets
