"""HTTP connections that only cost are cut; those that are in order never are."""

import asyncio
from typing import Any

import pytest

from hubd.edge import http_server
from hubd.edge.reception import HEAD_S
from tests.edge.conftest import StartHub
from tests.edge.http_clients import poller, stream
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.raw_http import GET, Raw, arrived, end_of, publishing
from tests.edge.ws_client import JSON

MOMENT = 0.01


async def parked(hub: LiveHub, raw: Raw, request: bytes) -> None:
    """Send a request whose handler waits, and wait until it does."""
    raw.send(request)
    await eventually(lambda: any(handler.is_working() for handler in hub.reception._open))


# Heads that don't come


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n", GET[:-1]], ids=ascii)
async def test_a_head_that_isnt_there_in_time_is_not_waited_for(hub: LiveHub, sent: bytes) -> None:
    raw = await Raw.open(hub, sent)
    await arrived(hub.reception, 1)
    await asyncio.sleep(MOMENT)
    hub.let_pass(HEAD_S - MOMENT)
    assert len(hub.reception) == 1
    hub.let_pass(2 * MOMENT)
    assert len(hub.reception) == 0
    assert await raw.is_cut()


async def test_drops_dont_keep_it(hub: LiveHub) -> None:
    raw = await Raw.open(hub)
    await arrived(hub.reception, 1)
    for second in range(int(HEAD_S)):
        assert len(hub.reception) == 1, f"after {second} s"
        raw.send(b"GET / HTTP/1.1\r\n" if second == 0 else b"X-%d: y\r\n" % second)
        await asyncio.sleep(MOMENT)
        hub.let_pass(1)
    assert await raw.is_cut()


async def test_a_head_that_comes_in_drops_but_in_time_is_answered(hub: LiveHub) -> None:
    raw = await Raw.open(hub)
    await arrived(hub.reception, 1)
    for place in range(len(GET)):
        raw.send(GET[place : place + 1])
        await asyncio.sleep(0.001)
        hub.let_pass((HEAD_S - 1) / len(GET))
    assert (await raw.answer()).status == 200
    raw.close()


async def test_between_requests_there_is_more_time_until_the_next_one_begins(hub: LiveHub) -> None:
    raw = await Raw.open(hub)
    for _ in range(3):
        assert (await raw.ask()).status == 200
        await asyncio.sleep(MOMENT)
        hub.let_pass(HEAD_S * 6)
        assert len(hub.reception) == 1
    raw.send(b"\r\n")
    await eventually(lambda: hub.reception._headless)
    hub.let_pass(HEAD_S - MOMENT)
    assert len(hub.reception) == 1
    hub.let_pass(2 * MOMENT)
    assert await raw.is_cut()


async def test_what_is_silent_for_longer_is_closed_by_aiohttp(start_hub: StartHub, monkeypatch: Any) -> None:
    monkeypatch.setattr(http_server, "KEEPALIVE_S", 0.1)
    hub = await start_hub()
    raw = await Raw.open(hub)
    assert (await raw.ask()).status == 200
    assert await raw.is_cut()
    await arrived(hub.reception, 0)


async def test_half_a_head_behind_a_whole_request(hub: LiveHub) -> None:
    """Where both come at once, only aiohttp's parser knows of it, until the next byte: then it has its time too."""
    raw = await Raw.open(hub, GET + GET[:5])
    assert (await raw.answer()).status == 200
    raw.send(GET[5:6])
    await eventually(lambda: hub.reception._headless)
    hub.let_pass(HEAD_S + MOMENT)
    assert await raw.is_cut()


async def test_half_a_head_behind_a_request_that_takes_long(hub: LiveHub) -> None:
    """It isn't the client's fault that nobody reads on."""
    broker = hub.slow_broker()
    raw = await Raw.open(hub)
    await parked(hub, raw, publishing(hub))
    raw.send(GET[:5])
    await eventually(lambda: hub.reception._headless)
    for _ in range(5):
        hub.let_pass(HEAD_S + MOMENT)
    broker.go.set()
    assert (await raw.answer()).status == 202
    hub.let_pass(MOMENT)
    raw.send(GET[5:])
    assert (await raw.answer()).status == 200
    raw.send(GET[:5])
    await eventually(lambda: hub.reception._headless)
    hub.let_pass(HEAD_S + MOMENT)
    assert await raw.is_cut()


async def test_a_request_that_takes_long_is_never_cut(hub: LiveHub) -> None:
    broker = hub.slow_broker()
    raw = await Raw.open(hub)
    await parked(hub, raw, publishing(hub))
    for _ in range(100):
        hub.let_pass(HEAD_S)
    broker.go.set()
    assert (await raw.answer()).status == 202
    raw.close()


async def test_many_requests_at_once_are_all_answered(hub: LiveHub) -> None:
    raw = await Raw.open(hub, GET * 200)
    for _ in range(200):
        assert (await raw.answer()).status == 200
    hub.let_pass(HEAD_S + MOMENT)
    assert (await raw.ask()).status == 200
    raw.close()


# Bodies


async def test_the_bytes_of_a_body_are_no_heads(hub: LiveHub) -> None:
    raw = await Raw.open(hub)
    body = b'{"to":"notifications","notification":{"type":"x"}}'
    await parked(hub, raw, publishing(hub, len(body)))
    for place in range(len(body)):
        raw.send(body[place : place + 1])
        await asyncio.sleep(0.001)
        hub.let_pass(1)
    assert (await raw.answer()).status == 202
    assert (await raw.ask()).status == 200
    raw.close()


@pytest.mark.parametrize("body", [b"", b"x" * 100, GET], ids=["none", "some", "a request"])
async def test_a_body_that_nobody_reads_is_read_over(hub: LiveHub, body: bytes) -> None:
    """Else it would be taken for the next request."""
    head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    raw = await Raw.open(hub, head)
    await raw.answer()
    raw.send(body)
    await asyncio.sleep(MOMENT)
    assert (await raw.ask(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")).status == 404
    raw.close()


async def test_but_not_for_long(start_hub: StartHub, monkeypatch: Any) -> None:
    monkeypatch.setattr(http_server, "LINGER_S", 0.1)
    hub = await start_hub()
    raw = await Raw.open(hub, b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert (await raw.answer()).status == 401
    assert await raw.is_cut()
    await arrived(hub.reception, 0)


async def test_a_body_that_is_too_long_is_refused_before_it_is_all_there(hub: LiveHub) -> None:
    raw = await Raw.open(hub, publishing(hub, 10**12) + b"x" * 100_000)
    assert (await raw.answer()).status == 413
    raw.close()


# Connections that become something else


async def test_a_websocket_is_no_http_connection_any_more(hub: LiveHub) -> None:
    client = await hub.opened(JSON)
    assert len(hub.reception) == 0
    hub.let_pass(HEAD_S + MOMENT)
    assert (await client.ask("ping"))["ok"] is True


async def test_a_poll_that_waits_is_none_and_then_one_between_its_requests(hub: LiveHub) -> None:
    poll = await poller(hub)
    for n in range(3):
        await poll.ask_and_wait(hub.hub.attendance.cursor(), wait=60)
        assert end_of(hub, poll) is None
        hub.let_pass(HEAD_S + MOMENT)
        await hub.publish("user:42", n=n)
        assert [one["n"] for one in (await poll.got())["notifications"]] == [n]
        hub.let_pass(HEAD_S + MOMENT)
        assert end_of(hub, poll) is not None, "the next one has more time than a head"
    poll.write(GET[:5])
    await eventually(lambda: hub.reception._headless)
    hub.let_pass(HEAD_S + MOMENT)
    assert await poll.at_end()


async def test_an_event_stream_is_none(hub: LiveHub) -> None:
    client = await stream(hub)
    assert len(hub.reception) == 0
    hub.let_pass(HEAD_S + MOMENT)
    await hub.publish("user:42", n=1)
    assert [one["n"] for one in await client.notifications(hub)] == [1]


async def test_one_that_is_verified_slowly_isnt_cut(hub: LiveHub, monkeypatch: Any) -> None:
    go = asyncio.Event()
    authenticator = hub.edge.endpoint.authenticator
    connecting = authenticator.connecting

    async def slowly(*given: Any) -> Any:
        await go.wait()
        return await connecting(*given)

    monkeypatch.setattr(authenticator, "connecting", slowly)
    opening = asyncio.ensure_future(hub.connect("42", JSON, behind=b"\x89\x80abcd"))
    await eventually(lambda: any(handler.is_working() for handler in hub.reception._open))
    hub.let_pass(HEAD_S + MOMENT)
    go.set()
    assert (await (await opening).next())["hub"] == "welcome"


async def test_nothing_is_left_of_connections_that_ended(hub: LiveHub) -> None:
    broker = hub.slow_broker()
    beginnings = [b"", GET, GET[:9], publishing(hub), publishing(hub, 100), b"nonsense\r\n\r\n", GET * 3 + GET[:7]]
    raws = [await Raw.open(hub, beginning) for beginning in beginnings * 3]
    await asyncio.sleep(5 * MOMENT)
    for number, raw in enumerate(raws):
        if number % 2:
            raw.writer.close()
        else:
            raw.close()
    broker.go.set()
    await arrived(hub.reception, 0)
    found = hub.reception
    assert not (found._idle or found._headless or found._unread or found._addresses.total or found._addresses._counts)
