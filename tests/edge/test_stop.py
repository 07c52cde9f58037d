"""A hub that stops: everybody is told in time, whoever doesn't answer is cut, and nothing goes on."""

import logging
import time

import pytest

from hubd.core.connection import Connection
from hubd.core.errors import Disconnect
from tests.edge.live_hub import Faults, LiveHub, eventually
from tests.edge.ws_client import JSON, Client, Refused


async def stop(hub: LiveHub, within_s: float) -> float:
    """Stop it; gives how long that took."""
    begun = time.monotonic()
    await hub.edge.stop(hub.clock.monotonic() + within_s)
    return time.monotonic() - begun


async def farewell(client: Client) -> str:
    assert await client.closed() == 4000
    return client.close_reason


async def test_everybody_is_told_and_one_line_is_logged(hub: LiveHub, caplog: pytest.LogCaptureFixture) -> None:
    clients = [await hub.connect(str(n), form) for n, form in enumerate((JSON, None))]
    clients.append(await hub.open(subprotocol=JSON))
    with caplog.at_level(logging.INFO, "hubd"):
        await stop(hub, 0.05)
    assert [await farewell(client) for client in clients] == ["shutdown"] * 3
    (record,) = caplog.records
    assert record.getMessage() == "stopping: The hub stops and tells its connections connections=3"
    with pytest.raises(Refused) as late:
        await hub.connect()
    assert (late.value.status, late.value.code) == (503, "unavailable")
    await eventually(hub.is_empty)


async def test_who_doesnt_answer_is_waited_for_until_the_end_and_cut(hub: LiveHub) -> None:
    client = await hub.connect()
    assert 0.2 <= await stop(hub, 0.2) < 2
    assert await client.closed() == 4000
    assert await client.frame() is None
    await eventually(hub.is_empty)


async def test_without_any_time_everybody_is_told_all_the_same(hub: LiveHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.edge.app.SLICE", 2)
    clients = [await hub.connect(str(n)) for n in range(5)]
    await stop(hub, -1.0)
    assert [await farewell(client) for client in clients] == ["shutdown"] * 5


async def test_one_that_cant_be_told_keeps_nobody_else_from_it(
    hub: LiveHub, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await hub.connect("bad"), await hub.connect("good")
    end = hub.hub.end

    def failing(connection: Connection, why: Disconnect, retry_after: float = 0.0) -> None:
        if connection.identity.user == "bad":
            raise ValueError("odd")
        end(connection, why, retry_after)

    monkeypatch.setattr(hub.hub, "end", failing)
    await stop(hub, 0.05)
    assert await farewell(good) == "shutdown"
    assert ["ValueError: odd" in fault for fault in faults.found] == [True]
    faults.found.clear()
    bad.hang_up()


async def test_published_keys_are_fetched_no_more(hub: LiveHub, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    monkeypatch.setattr(hub.edge.tokens, "close", close)
    await stop(hub, 0.05)
    assert closed == [True]
