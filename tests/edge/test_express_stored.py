"""A publish that has to be stored is answered when it is, without aiohttp: what else can happen meanwhile."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from hubd.core.stored import Lane
from hubd.edge import http_server
from hubd.edge.express import PATH, Express
from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.raw_http import GET, Raw, arrived
from tests.steered_store import SteeredStore


@pytest.fixture
def store() -> SteeredStore:
    store = SteeredStore()
    store.holds = True
    return store


@pytest.fixture
async def hub(start_hub: StartHub, store: SteeredStore) -> LiveHub:
    return await start_hub(store=store)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the express took."""
    taken: list[Any] = []
    answer = Express.answer
    monkeypatch.setattr(Express, "answer", lambda *what: taken.append(what) or answer(*what))
    return taken


@pytest.fixture
async def raw(hub: LiveHub, taken: list[Any]) -> Raw:
    """A connection that has had a request: only behind that there is an express."""
    return await ready(hub)


async def ready(hub: LiveHub) -> Raw:
    raw = await Raw.open(hub)
    assert (await raw.ask()).status == 200
    return raw


def call(hub: LiveHub, n: int = 1, priority: str = "critical", id: str = "") -> bytes:
    id = f'"id":"{id}",' if id else ""
    body = f'{{"to":"user:42","priority":"{priority}",{id}"notification":{{"type":"x","n":{n}}}}}'
    proof = f"Authorization: {hub.bearer('backend')}"
    return f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{proof}\r\n\r\n{body}".encode()


async def waits(store: SteeredStore, count: int = 1) -> None:
    await eventually(lambda: len(store.held) == count, f"{len(store.held)} wait, not {count}")


async def is_silent(raw: Raw) -> bool:
    """Whether no byte comes: time for a few turns of the loop and a system call each."""
    try:
        async with asyncio.timeout(0.1):
            return not await raw.reader.read(1)
    except TimeoutError:
        return True


def kept(hub: LiveHub) -> list[Any]:
    return [notification.payload["n"] for notification, _ in hub.hub.rings.kept()]


async def test_it_is_answered_when_it_is_stored(hub: LiveHub, raw: Raw, store: SteeredStore, taken: list[Any]) -> None:
    raw.send(call(hub))
    await waits(store)
    assert await is_silent(raw) and kept(hub) == [], "nobody has seen it"
    store.let_go()
    assert (await raw.answer()).status == 202
    assert kept(hub) == [1] and len(taken) == 1
    assert [lane for _, lane in store.written] == [Lane.PUBLISH]
    assert hub.hub.counts.requests["POST", PATH, "202"] == 1


async def test_others_arent_kept_waiting(hub: LiveHub, raw: Raw, store: SteeredStore, taken: list[Any]) -> None:
    raw.send(call(hub, id="a"))
    await waits(store)
    other = await ready(hub)
    assert (await other.ask(call(hub, 2, "informational"))).status == 202
    assert len(taken) == 2, "an id that is under way is no reason for the others to go by aiohttp"
    store.let_go()
    assert (await raw.answer()).status == 202


async def test_what_follows_is_answered_behind_it(
    hub: LiveHub, raw: Raw, store: SteeredStore, taken: list[Any]
) -> None:
    raw.send(call(hub, 1))
    await waits(store)
    raw.send(GET)
    raw.send(call(hub, 2, "informational") + call(hub, 3)[:50])
    await asyncio.sleep(0.05)
    raw.send(call(hub, 3)[50:])
    assert await is_silent(raw)
    store.let_go()
    assert [(await raw.answer()).status for _ in range(3)] == [202, 200, 202]
    await waits(store)
    store.let_go()
    assert (await raw.answer()).status == 202
    assert kept(hub) == [1, 2, 3]
    store.holds = False
    assert (await raw.ask(call(hub, 4))).status == 202
    assert len(taken) == 2, "the connection has its express again"


async def test_many_behind_it(hub: LiveHub, raw: Raw, store: SteeredStore) -> None:
    """More than aiohttp queues: it pauses reading, and goes on."""
    raw.send(call(hub, 0))
    await waits(store)
    raw.send(b"".join(call(hub, n, "informational") for n in range(1, 91)))
    await asyncio.sleep(0.05)
    store.let_go()
    assert [(await raw.answer()).status for _ in range(91)] == [202] * 91
    assert kept(hub) == list(range(91))


async def test_the_same_id_waits_for_the_first_and_has_its_answer(
    hub: LiveHub, raw: Raw, store: SteeredStore, taken: list[Any]
) -> None:
    other = await ready(hub)
    raw.send(call(hub, id="a"))
    await waits(store)
    other.send(call(hub, id="a"))
    assert await is_silent(other)
    store.let_go()
    first, second = await raw.answer(), await other.answer()
    assert (first.status, second.status) == (202, 200)
    assert second.body == first.body | {"duplicate": True}
    assert len(taken) == 2 and kept(hub) == [1]


async def test_what_cant_be_stored_is_refused(hub: LiveHub, raw: Raw, store: SteeredStore) -> None:
    raw.send(call(hub, id="a"))
    await waits(store)
    store.trouble = "the disk is full"
    store.let_go()
    answer = await raw.answer()
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "2")
    assert kept(hub) == []
    assert (await raw.ask(call(hub))).status == 503, "and what is known not to be stored isn't tried"
    assert (await raw.ask(call(hub, 2, "informational"))).status == 202
    store.trouble, store.holds = "", False
    assert (await raw.ask(call(hub, 3, id="a"))).status == 202
    assert kept(hub) == [2, 3]


@pytest.mark.parametrize("resets", [False, True])
async def test_whoever_goes_meanwhile_has_published_nevertheless(
    hub: LiveHub, raw: Raw, store: SteeredStore, resets: bool
) -> None:
    raw.send(call(hub))
    await waits(store)
    if resets:
        raw.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    if resets:
        await arrived(hub.reception, 0)
    store.let_go()
    await arrived(hub.reception, 0)
    await eventually(lambda: kept(hub) == [1])
    assert hub.hub.counts.requests["POST", PATH, "202"] == 1


async def test_who_has_said_his_last_word_is_still_answered(hub: LiveHub, raw: Raw, store: SteeredStore) -> None:
    raw.send(call(hub) + GET)
    await waits(store)
    raw.writer.write_eof()
    await asyncio.sleep(0.05)
    store.let_go()
    assert (await raw.answer()).status == 202
    assert (await raw.answer()).status == 200
    assert await raw.is_cut()


async def test_who_asks_once_and_says_it_was_the_last(hub: LiveHub, raw: Raw, store: SteeredStore) -> None:
    raw.send(call(hub))
    await waits(store)
    raw.writer.write_eof()
    await asyncio.sleep(0.05)
    store.let_go()
    assert (await raw.answer()).status == 202
    assert await raw.is_cut()


async def test_a_hub_that_stops_waits_for_it(hub: LiveHub, raw: Raw, store: SteeredStore) -> None:
    raw.send(call(hub))
    await waits(store)
    hub._runner._shutdown_timeout = 20
    stopping = asyncio.ensure_future(hub.stop_listening())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    store.let_go()
    assert (await raw.answer()).status == 202
    assert await raw.is_cut()
    await asyncio.wait_for(stopping, 10)


async def test_a_hub_that_stops_doesnt_wait_for_ever(hub: LiveHub, raw: Raw, store: SteeredStore) -> None:
    raw.send(call(hub))
    await waits(store)
    hub._runner._shutdown_timeout = 0.1
    await asyncio.wait_for(hub.stop_listening(), 10)
    assert await raw.is_cut()
    store.let_go()


async def test_the_connection_is_kept_while_it_waits(
    start_hub: StartHub, store: SteeredStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "KEEPALIVE_S", 0.2)
    hub = await start_hub(store=store)
    raw = await ready(hub)
    raw.send(call(hub))
    await waits(store)
    await asyncio.sleep(0.7)
    store.let_go()
    assert (await raw.answer()).status == 202
    assert await raw.is_cut()
    await arrived(hub.reception, 0)
    assert not hub.hub.counts.cut


async def test_it_is_nobody_who_only_costs(hub: LiveHub, raw: Raw, store: SteeredStore) -> None:
    """The reception cuts what rests or doesn't finish its head, not what waits to be answered."""
    raw.send(call(hub))
    await waits(store)
    hub.let_pass(100)
    assert hub.reception._cut_oldest(10) == 0
    store.let_go()
    assert (await raw.answer()).status == 202
    assert hub.reception._cut_oldest(10) == 1
