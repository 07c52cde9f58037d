"""A hub whose frames arrive when the test wants them to: each at its own time on each tab of one browser."""

import itertools
import json
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

import hubd

WEB = Path(hubd.__file__).parent / "web"
PAGE = """<!doctype html><title>%(name)s</title><script type="module">
import { Hubd } from "/hubd.js";
window.toasts = []; window.listed = [];
// Acks would take away what is to be counted.
const hub = new Hubd({ url: "/notifications?tab=%(name)s", autoAck: false, persist: false });
hub.addEventListener("notification", ({ detail }) => listed.push(detail.id));
hub.addEventListener("toast", ({ detail }) => toasts.push(detail.id));
hub.addEventListener("welcome", () => { window.isUp = true; });
window.hub = hub;
</script>"""


class TimedHub:
    """Pages at ``/tab/NAME``, an empty one at ``/blank``, and the worker; ``acks`` are those by HTTP."""

    def __init__(self, worker: str = "") -> None:
        self._tabs: dict[str, web.WebSocketResponse] = {}
        self._numbers = itertools.count(1)
        self._worker = worker
        self.whole: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, str, Any]] = []
        """Calls of the API: method, path, authorization, body."""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/tab/{name}", self._page)
        app.router.add_get("/blank", self._blank)
        app.router.add_get("/notifications", self._connection)
        app.router.add_get("/sw.js", self._own_worker)
        app.router.add_get("/{name:hubd[a-z-]*[.]js}", self._script)
        app.router.add_route("*", "/api/{path:.*}", self._api)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def send(self, tab: str, notification: dict[str, Any]) -> None:
        """A live frame to one tab."""
        await self._tabs[tab].send_json(notification | {"cursor": f"c{next(self._numbers)}"})

    async def say(self, tab: str, **frame: Any) -> None:
        """A control frame to one tab."""
        await self._tabs[tab].send_json(frame)

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=PAGE % {"name": request.match_info["name"]}, content_type="text/html")

    async def _blank(self, request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>blank</title>", content_type="text/html")

    async def _own_worker(self, request: web.Request) -> web.Response:
        return web.Response(text=self._worker, content_type="text/javascript")

    async def _script(self, request: web.Request) -> web.Response:
        text = (WEB / request.match_info["name"]).read_text()
        return web.Response(text=text, content_type="text/javascript")

    async def _connection(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("hubd.v1.json",))
        await socket.prepare(request)
        self._tabs[request.query["tab"]] = socket
        welcome = {"hub": "welcome", "user": "ada", "connection": "n", "cursor": "c0", "topics": [], "ping_s": 3600}
        await socket.send_json(welcome)
        async for message in socket:
            said = json.loads(message.data) if message.type is WSMsgType.TEXT else {}
            if "ref" in said:
                await socket.send_json({"hub": "reply", "ref": said["ref"], "ok": True})
        return socket

    async def _api(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        path = request.match_info["path"]
        self.asked.append((request.method, path, request.headers.get("Authorization", ""), body))
        kind, _, id = path.partition("/")
        if kind == "notifications" and id in self.whole:
            return web.json_response(self.whole[id])
        if kind == "acks":
            return web.json_response({"ok": True})
        problem = {"code": "not_found", "status": 404, "detail": "there is no such resource"}
        return web.json_response(problem, status=404, content_type="application/problem+json")
