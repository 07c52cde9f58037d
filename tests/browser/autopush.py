"""Mozilla's push service as Firefox knows it, on loopback: the browser's WebSocket, and the endpoint for applications.

What is posted is handed on as it is: whether it can be decrypted, the browser shows.
"""

import base64
import uuid
from typing import Any

from aiohttp import WSMsgType, web


class Autopush:
    """The service for one browser."""

    def __init__(self) -> None:
        self._socket: web.WebSocketResponse | None = None
        self._keys: dict[str, str] = {}
        """By its channel, the application's key that a subscription was made with."""
        self.posts: list[dict[str, str]] = []
        self.acks: list[dict[str, Any]] = []

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._browser)
        app.router.add_post("/wpush/v2/{channel}", self._application)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    @property
    def keys(self) -> list[str]:
        return list(self._keys.values())

    async def _browser(self, request: web.Request) -> web.WebSocketResponse:
        self._socket = socket = web.WebSocketResponse(protocols=("push-notification",))
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if message.data == "{}":
                await socket.send_str("{}")
            elif (reply := self._reply(message.json(), request)) is not None:
                await socket.send_json(reply)
        return socket

    def _reply(self, said: dict[str, Any], request: web.Request) -> dict[str, Any] | None:
        kind, channel = said.get("messageType"), said.get("channelID")
        if kind == "hello":
            uaid = said.get("uaid") or uuid.uuid4().hex
            return {"messageType": "hello", "uaid": uaid, "status": 200, "use_webpush": True, "broadcasts": {}}
        if kind == "register":
            self._keys[str(channel)] = str(said.get("key", "")).rstrip("=")
            endpoint = f"http://{request.host}/wpush/v2/{channel}"
            return {"messageType": "register", "channelID": channel, "status": 200, "pushEndpoint": endpoint}
        if kind == "unregister":
            self._keys.pop(str(channel), None)
            return {"messageType": "unregister", "channelID": channel, "status": 200}
        if kind == "ack":
            self.acks.append(said)
        return None

    async def _application(self, request: web.Request) -> web.Response:
        channel = request.match_info["channel"]
        if channel not in self._keys:
            return web.Response(status=410)
        if f"k={self._keys[channel]}" not in request.headers.get("Authorization", ""):
            return web.Response(status=403)
        assert self._socket is not None
        self.posts.append(dict(request.headers))
        data = base64.urlsafe_b64encode(await request.read()).rstrip(b"=").decode()
        await self._socket.send_json(
            {
                "messageType": "notification",
                "channelID": channel,
                "version": uuid.uuid4().hex,
                "ttl": int(request.headers["TTL"]),
                "data": data,
                "headers": {"encoding": request.headers["Content-Encoding"]},
            }
        )
        return web.Response(status=201, headers={"Location": f"http://{request.host}/m/1"})
