"""Answers that nobody takes, and bodies that never end, are not kept for ever, nor too many of them."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hubd.edge.reception import PRESSED_S, TAKE_BYTES, TAKE_S
from tests.edge.conftest import StartHub
from tests.edge.http_clients import PollClient
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.raw_http import GET, Raw, arrived, end_of, publishing

MOMENT = 0.01


def little_buffer(transport: asyncio.Transport) -> None:
    """Have the system keep little of what is sent, so that the rest waits in the hub."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)


async def history(hub: LiveHub, raw: Raw, count: int = 256) -> None:
    """Ask for a long answer without reading it, and wait until it waits."""
    await eventually(lambda: end_of(hub, raw))
    little_buffer(end_of(hub, raw))
    for n in range(count):
        await hub.publish("a", notification={"type": "x", "text": "y" * 32_000, "n": n})
    key = hub.bearer("backend").encode()
    raw.send(b"GET /api/channels/a/history?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n" % key)
    await eventually(lambda: hub.reception._unread)


@pytest.fixture
async def long_answer(start_hub: StartHub) -> Callable[..., Awaitable[tuple[LiveHub, Raw]]]:
    async def begin(count: int = 256) -> tuple[LiveHub, Raw]:
        hub = await start_hub(replay={"per_channel": 1000})
        raw = await Raw.open(hub, buffer=16384)
        await history(hub, raw, count)
        return hub, raw

    return begin


@pytest.mark.parametrize("count", [256, 3], ids=["8 MB", "100 KB"])
async def test_an_answer_that_isnt_taken_is_not_kept(long_answer: Any, count: int) -> None:
    hub, raw = await long_answer(count)
    assert 0 < end_of(hub, raw).get_write_buffer_size() < count * 33_000
    hub.let_pass(TAKE_S - MOMENT)
    assert hub.reception._unread
    hub.let_pass(2 * MOMENT)
    assert not hub.reception._unread
    assert await raw.is_cut()


async def test_nor_is_one_that_is_taken_in_drops(long_answer: Any) -> None:
    hub, raw = await long_answer()
    transport = end_of(hub, raw)
    begun = transport.get_write_buffer_size()
    hub.let_pass(TAKE_S / 2)
    while transport.get_write_buffer_size() == begun:
        await raw.reader.read(1000)
    assert begun - transport.get_write_buffer_size() < TAKE_BYTES
    hub.let_pass(TAKE_S / 2)
    assert not hub.reception._unread
    assert await raw.is_cut()


async def test_one_that_is_taken_slowly_goes_on(long_answer: Any) -> None:
    hub, raw = await long_answer()
    transport = end_of(hub, raw)
    got = b""
    for _ in range(3):
        left = transport.get_write_buffer_size()
        while left - transport.get_write_buffer_size() < 200_000:
            got += await raw.reader.read(65536)
        hub.let_pass(TAKE_S + MOMENT)
        assert hub.reception._unread, "it was cut"
    head, _, body = got.partition(b"\r\n\r\n")
    left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]) - len(body)
    body += await raw.reader.readexactly(left)
    assert len(json.loads(body)["notifications"]) == 256
    await eventually(lambda: not hub.reception._unread)
    hub.let_pass(TAKE_S * 2)
    assert (await raw.ask()).status == 200
    raw.close()


async def test_all_together_keep_no_more_than_so_much(hub: LiveHub, monkeypatch: Any) -> None:
    monkeypatch.setattr(hub.reception._answers, "_most", 20_000_000)
    raws = [await Raw.open(hub, buffer=16384) for _ in range(8)]
    await arrived(hub.reception, 8)
    await history(hub, raws[0], 100)
    key = hub.bearer("backend").encode()
    request = b"GET /api/channels/a/history HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n" % key
    for raw in raws[1:]:
        raw.send(request)
        await eventually(lambda found=raw: not working(hub, found))
    assert 3 <= len(hub.reception._unread) <= 5
    late = raws[-1]
    answer = await late.answer()
    assert (answer.status, answer.code) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await late.ask()).status == 200, "small ones are answered all the same"
    before = len(hub.reception._unread)
    hub.let_pass(PRESSED_S)
    assert len(hub.reception._unread) < before, "and those are given less time"
    raw = await Raw.open(hub, request)
    assert len((await raw.answer()).body["notifications"]) == 100
    hub.let_pass(TAKE_S)
    hub.let_pass(TAKE_S)
    assert hub.reception._answers._total == 0


def working(hub: LiveHub, raw: Raw) -> bool:
    """Whether its request isn't answered yet, be the answer read or not."""
    (guest,) = (guest for guest, end in hub.reception._open.items() if end is end_of(hub, raw))
    return guest not in hub.reception._unread and (guest.is_working() or not getattr(guest, "_request_count", 0))


async def test_of_too_much_in_bodies_the_one_that_began_first_goes(hub: LiveHub, monkeypatch: Any) -> None:
    monkeypatch.setattr(hub.reception._bodies, "_most", 1_000_000)
    raws = [await Raw.open(hub, publishing(hub, 4_000_000)) for _ in range(3)]
    for raw in raws:
        await eventually(lambda found=raw: end_of(hub, found))
    raws[1].send(b" " * 100_000)
    await eventually(lambda: hub.reception._bodies._total >= 100_000)
    raws[0].send(b" " * 500_000)
    await eventually(lambda: hub.reception._bodies._total >= 600_000)
    raws[2].send(b" " * 1_000_000)
    assert await raws[1].is_cut()
    await eventually(lambda: end_of(hub, raws[0]) is None)
    raws[2].send(b" " * 1_000_000)
    await eventually(lambda: hub.reception._bodies._total >= 2_000_000)
    assert end_of(hub, raws[2]) is not None, "who is alone may send all that a body may have"


async def test_what_is_only_read_over_doesnt_count(hub: LiveHub) -> None:
    raw = await Raw.open(hub, b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
    assert (await raw.answer()).status == 401
    raw.send(b" " * 5_000_000)
    await raw.writer.drain()
    assert hub.reception._bodies._total < 200_000
    raw.send(b" " * 4_000_000)
    assert (await raw.ask()).status == 200
    assert hub.reception._bodies._total == 0


async def test_a_connection_that_closes_with_an_answer_nobody_takes_ends_too(start_hub: StartHub) -> None:
    """asyncio would wait for it for ever."""
    hub = await start_hub(replay={"per_channel": 1000})
    raw = await Raw.open(hub, buffer=16384)
    await history(hub, raw)
    (handler,) = hub.reception._unread
    handler.force_close()
    await asyncio.sleep(MOMENT)
    assert len(hub.reception) > 0
    hub.let_pass(TAKE_S + MOMENT)
    assert await raw.is_cut()


async def test_who_asks_and_asks_without_reading_stops_being_read(hub: LiveHub) -> None:
    raw = await Raw.open(hub, buffer=16384)
    await arrived(hub.reception, 1)
    little_buffer(end_of(hub, raw))
    while not hub.reception._unread:
        raw.send(GET * 100)
        await asyncio.sleep(0)
    (handler,) = hub.reception._unread
    raw.send(GET * 1000)
    await asyncio.sleep(10 * MOMENT)
    assert len(handler._messages) <= 2 * 32
    await eventually(lambda: hub.let_pass(TAKE_S) or end_of(hub, raw) is None)
    assert await raw.is_cut()


async def test_a_polls_answer_that_isnt_taken_is_not_kept(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 1000})
    poll = await PollClient.open(hub, receive_buffer=16384)
    poll.hub, poll.user = hub, "42"
    await eventually(lambda: end_of(hub, poll))
    little_buffer(end_of(hub, poll))
    await poll.ask_and_wait(hub.hub.attendance.cursor(), wait=60)
    await asyncio.gather(*(hub.publish("user:42", notification={"type": "x", "text": "y" * 32_000}) for _ in range(30)))
    await eventually(lambda: hub.reception._unread)
    hub.let_pass(TAKE_S - MOMENT)
    assert end_of(hub, poll) is not None
    hub.let_pass(2 * MOMENT)
    assert end_of(hub, poll) is None
