"""The server to compare with: aiohttp's `WebSocketResponse` on its defaults, which holds each connection until it ends.

`python -m bench.plain_websockets` says where it listens. It knows no users, asks for no token and sends nothing.
"""

import asyncio

from aiohttp import web


async def hold(request: web.Request) -> web.WebSocketResponse:
    """Take a connection in, and read from it until it ends."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for _ in socket:
        pass
    return socket


async def serve() -> None:
    """Listen on a free port of this machine until the process is ended."""
    app = web.Application()
    app.add_routes([web.get("/notifications", hold)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    print(f"plain listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
