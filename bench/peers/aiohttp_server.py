"""A server with aiohttp alone: what is posted to /publish goes to everybody by one ``await send_str()`` each."""

import asyncio

from aiohttp import web

clients: set[web.WebSocketResponse] = set()


async def subscribe(request: web.Request) -> web.WebSocketResponse:
    client = web.WebSocketResponse()
    await client.prepare(request)
    clients.add(client)
    try:
        async for _ in client:
            pass
    finally:
        clients.discard(client)
    return client


async def publish(request: web.Request) -> web.Response:
    text = await request.text()
    for client in list(clients):
        await client.send_str(text)
    return web.Response(status=202)


async def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/", subscribe), web.post("/publish", publish)])
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=3600)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    port = runner.addresses[0][1]
    print(f"aiohttp listening on http://127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
