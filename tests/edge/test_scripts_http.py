"""The browser client and the service worker, as the hub serves them."""

import aiohttp
import pytest

from tests.edge.live_hub import LiveHub


@pytest.mark.parametrize("name", ["hubd.js", "hubd-shown.js", "hubd-sw.js"])
async def test_the_worker_may_serve_all_pages_and_none_is_an_old_one(hub: LiveHub, name: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{hub.url}/{name}") as answer:
        assert answer.status == 200 and answer.content_type == "text/javascript"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers.get("Service-Worker-Allowed") == ("/" if name == "hubd-sw.js" else None)
