"""What a connection that nothing comes over costs: on all three transports about the same, and little."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from tests.edge.http_clients import open_stream, poller
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.test_handover import bytes_of_the_hub
from tests.edge.ws_client import JSON

Open = Callable[[LiveHub, str], Awaitable[object]]


async def websocket(hub: LiveHub, user: str) -> object:
    return await hub.connect(user, JSON)


async def sse(hub: LiveHub, user: str) -> object:
    return await open_stream(hub, user)


async def poll(hub: LiveHub, user: str) -> object:
    client = await poller(hub, user)
    await client.ask_and_wait(hub.hub.attendance.cursor())
    return client


@pytest.mark.parametrize("open_one", [websocket, sse, poll])
async def test_it_costs_little_memory(hub: LiveHub, open_one: Open) -> None:
    """Ours and asyncio's objects together are some 3 KiB; what aiohttp would keep is another 10."""
    kept = [await open_one(hub, f"a{n}") for n in range(20)]
    gc.collect()
    tracemalloc.start(8)
    try:
        kept += [await open_one(hub, f"b{n}") for n in range(60)]
        await eventually(lambda: all(not connection.outbox for connection in hub.hub.registry.connections))
        gc.collect()
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    each = bytes_of_the_hub(snapshot) / 60
    assert 1000 < each < 5000, f"{each:.0f} bytes"
