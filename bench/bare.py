"""A plain aiohttp server that does with a publish what any handler has to: parse it with orjson, and answer in JSON.

    python -m bench.bare

It answers as a hub does, with as many bytes, and knows nothing: no key, no limit, nobody connected. All of
aiohttp's options are as they come, but for the log of accesses, which is off: what is measured is not a log.
"""

import asyncio
from itertools import count

import orjson
from aiohttp import web

_numbers = count(1)


async def publish(request: web.Request) -> web.Response:
    """Parse it, and answer."""
    orjson.loads(await request.read())
    return web.Response(body=orjson.dumps(_answer()), status=202, content_type="application/json")


def _answer() -> dict[str, object]:
    number = next(_numbers)
    return {
        "id": f"01a20281-0767-77bc-be43-{number:012x}",
        "cursor": f"aqoz64w5jp-{number}",
        "live": 0,
        "duplicate": False,
    }


async def _serve() -> None:
    app = web.Application()
    app.add_routes([web.post("/api/notifications", publish)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"bare aiohttp is listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
