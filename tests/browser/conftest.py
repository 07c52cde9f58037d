"""A real Chromium, a real hub process, and a network between them that can be cut."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--ignore-certificate-errors",  # the tests' own
    "--remote-debugging-port=0",
]
WAIT_S = 20.0
PAGE_LEFT = ("Inspected target navigated or closed", "Execution context was destroyed", "Cannot find context")
"""What the protocol answers to an expression whose page is on its way to another one."""


class PageLeftError(Exception):
    """The page went away before it had answered; the next one may."""


class Tab:
    """One page, in its own debugging session."""

    def __init__(self, chromium: "Chromium", session: str, target: str) -> None:
        self._chromium = chromium
        self._session = session
        self.target = target

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, about this page."""
        return await self._chromium.call(method, self._session, **params)

    async def js(self, expression: str) -> Any:
        """What an expression evaluates to in the page; promises are awaited."""
        result = await self._chromium.call(
            "Runtime.evaluate", self._session, expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def until(self, expression: str, wait_s: float = WAIT_S) -> Any:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + wait_s
        while not (value := await self._js_unless_leaving(expression)):
            if time.monotonic() > deadline:
                text = await self.js("document.body ? document.body.innerText.slice(0, 2000) : ''")
                raise AssertionError(f"never true: {expression}\n{text}")
            await asyncio.sleep(0.03)
        return value

    async def reload(self) -> None:
        """Load the page again; it is there at the end."""
        await self.js("window.isLeft = true")
        await self._chromium.call("Page.reload", self._session)
        await self.until("!window.isLeft && document.readyState === 'complete'")

    async def _js_unless_leaving(self, expression: str) -> Any:
        try:
            return await self.js(expression)
        except PageLeftError:
            return None


class Chromium:
    """A headless Chromium with a profile of its own, over the DevTools protocol."""

    async def start(self, profile: str) -> None:
        program = shutil.which("chromium")
        if program is None:
            pytest.fail("these tests need Chromium: apt-get install -y --no-install-recommends chromium")
        self._process = await asyncio.create_subprocess_exec(
            program, *FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=-1, stdout=asyncio.subprocess.DEVNULL
        )
        assert self._process.stderr is not None
        line = b""
        while b"DevTools listening" not in line:
            line = await asyncio.wait_for(self._process.stderr.readline(), 30)
            assert line, "Chromium ended at once"
        self._drain = asyncio.create_task(self._process.stderr.read())
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(line.decode().split()[-1], max_msg_size=0)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())
        self._number = 0

    async def _read(self) -> None:
        async for message in self._socket:
            answer = json.loads(message.data)
            if (waiting := self._answers.pop(answer.get("id", 0), None)) is not None:
                waiting.set_result(answer)
            elif "method" in answer:
                self.events.append(answer)

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """One command and its result."""
        self._number += 1
        number = self._number
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(
            {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        )
        answer = await asyncio.wait_for(self._answers[number] if number in self._answers else asyncio.sleep(0), WAIT_S)
        if any(text in str(answer.get("error")) for text in PAGE_LEFT):
            raise PageLeftError(method, answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str, *, new_window: bool = True) -> Tab:
        """A new tab, visible; in a window of its own, or else in front of the tab that was used last."""
        target = (await self.call("Target.createTarget", url=url, newWindow=new_window))["targetId"]
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(self, attached["sessionId"], target)
        await tab.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return tab

    async def stop(self) -> None:
        with contextlib.suppress(Exception):
            await self.call("Browser.close")
        await self._socket.close()
        await self._http.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 10)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._reading
        await self._drain


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium()
        await browser.start(profile)
        try:
            yield browser
        finally:
            await browser.stop()


NOTHING_KEPT = {"HUBD_REPLAY__SAVED_FILE": "off", "HUBD_STORE__URL": "off"}
"""Each test begins with nothing."""


class HubProcess:
    """`hubd serve --dev` as a process of its own."""

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        self._more = more or {}
        self.port = 0
        self.url = self.key = ""

    async def start(self) -> None:
        """Start it, on the port it had before if it had one."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hubd", "serve", "--dev", "--port", str(self.port), stdout=-1, stderr=-1,
            env=os.environ | NOTHING_KEPT | self._more,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        ready = (await asyncio.wait_for(self._process.stdout.readline(), 20)).decode()
        assert ready.startswith("hubd listening on "), ready
        self.url = ready.split()[-1]
        self.port = int(self.url.rpartition(":")[2])
        line = ""
        while "Bearer " not in line:
            line = (await asyncio.wait_for(self._process.stderr.readline(), 20)).decode()
            assert line, "no key was printed"
        self.key = line.partition("Bearer ")[2].split("'")[0]
        self._drain = asyncio.create_task(self._process.stderr.read())

    async def publish(self, to: str, /, id_: str | None = None, **notification: Any) -> None:
        """Publish over HTTP, as an application would."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"{self.url}/api/notifications",
                headers={"Authorization": f"Bearer {self.key}"},
                json={"to": to, "notification": notification, "id": id_},
            ) as answer,
        ):
            assert answer.status == 202, await answer.text()

    async def kill(self) -> None:
        """Kill it, without any chance to say goodbye."""
        self._process.kill()
        await self._process.wait()
        await self._drain


@pytest.fixture
async def hub() -> AsyncIterator[HubProcess]:
    process = HubProcess()
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


class Wire:
    """The network between a browser and the hub: a TCP relay that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: dict[asyncio.StreamWriter, None] = {}
        self._cut = False

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._open |= {writer: None, far_writer: None}
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        for side in (writer, far_writer):
            self._open.pop(side, None)
            side.transport.abort()

    def cut(self) -> None:
        """Everything that is open breaks, and nothing new gets through."""
        self._cut = True
        for writer in list(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        """From now on it works again."""
        self._cut = False

    async def stop(self) -> None:
        self.cut()
        self._server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


@pytest.fixture
async def wire(hub: HubProcess) -> AsyncIterator[Wire]:
    relay = Wire(hub.port)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


@pytest.fixture
async def serve_page() -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Serves an HTML page from an origin of its own; gives its address."""
    runners: list[web.AppRunner] = []

    async def serve(html: str) -> str:
        async def page(request: web.Request) -> web.Response:
            return web.Response(text=html, content_type="text/html")

        app = web.Application()
        app.router.add_get("/", page)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/"

    yield serve
    for runner in runners:
        await runner.cleanup()
