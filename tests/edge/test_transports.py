"""A connection that has ended is freed at once, without the garbage collector."""

import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from weakref import ref

import pytest
from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from hubd.edge.transports import untie
from tests.edge.http_clients import HttpClient, poller, proof, stream
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.raw_http import GET, Raw, publishing
from tests.edge.ws_client import JSON, reset

Visit = Callable[[LiveHub], Awaitable[None]]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def a_websocket(hub: LiveHub) -> None:
    client = await hub.connect("42", JSON)
    client.close()
    await client.closed()


async def a_websocket_that_is_cut(hub: LiveHub) -> None:
    client = await hub.connect("42", JSON)
    client.reset()


async def a_stranger(hub: LiveHub) -> None:
    client = await hub.open(subprotocol=JSON)
    client.reset()


async def one_that_is_refused(hub: LiveHub) -> None:
    client = await hub.open(headers={"Authorization": "Bearer nonsense"})
    client.hang_up()


async def an_event_stream(hub: LiveHub) -> None:
    client = await stream(hub)
    reset(client.writer)


async def a_poll_that_waits(hub: LiveHub) -> None:
    client = await poller(hub)
    await client.ask_and_wait(hub.hub.attendance.cursor())
    reset(client.writer)


async def a_request(hub: LiveHub) -> None:
    client = await HttpClient.open(hub)
    client.request("/healthz", proof(hub, "42"))
    await client.answer()
    client.writer.close()


async def half_a_request(hub: LiveHub) -> None:
    client = await HttpClient.open(hub)
    client.write(b"GET /notifications HTTP/1.1\r\n")
    await eventually(lambda: len(hub.reception) == 1)
    reset(client.writer)


def asking(*requests: bytes) -> Visit:
    """Somebody who sends these bytes, one after the other, reads what comes, and goes."""

    async def visit(hub: LiveHub) -> None:
        raw = await Raw.open(hub)
        for request in requests:
            raw.send(request)
            await raw.reader.readuntil(b"\r\n\r\n")
        raw.close()

    return visit


NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
BY_ANOTHER_METHOD = b"PUT /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
NO_HTTP = b"\x16\x03\x01\r\n\r\n"
BAD_CHUNKS = b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"
TWO_LENGTHS = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
REFUSED = {
    "nowhere": asking(NOWHERE),
    "by another method": asking(GET, BY_ANOTHER_METHOD),
    "no HTTP": asking(NO_HTTP),
    "no HTTP later": asking(GET, NO_HTTP),
    "bad chunks": asking(BAD_CHUNKS),
    "two lengths": asking(TWO_LENGTHS),
}

VISITS = [
    a_websocket,
    a_websocket_that_is_cut,
    a_stranger,
    one_that_is_refused,
    an_event_stream,
    a_poll_that_waits,
    a_request,
    half_a_request,
]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("visit", [*VISITS, *REFUSED.values()], ids=[*(one.__name__ for one in VISITS), *REFUSED])
async def test_it_is_freed(hub: LiveHub, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    others = len(aiohttps())
    accepted: list[Any] = []
    came = hub.reception.came

    def note(guest: Any, transport: Any) -> bool:
        accepted.append(ref(transport))
        return came(guest, transport)

    monkeypatch.setattr(hub.reception, "came", note)
    await visit(hub)
    await eventually(lambda: accepted and not any(transport() for transport in accepted), "it isn't freed")
    await eventually(lambda: len(aiohttps()) <= others, "what aiohttp made for it isn't freed")


def aiohttps() -> list[object]:
    """All protocols and requests of aiohttp's."""
    return [found for found in gc.get_objects() if isinstance(found, (RequestHandler, web.Request))]


def bodies() -> list[StreamReader]:
    return [found for found in gc.get_objects() if type(found) is StreamReader]


@pytest.mark.usefixtures("no_collector")
async def test_what_has_come_of_a_body_is_freed(hub: LiveHub) -> None:
    before = len(bodies())
    client = await HttpClient.open(hub)
    client.write(publishing(hub, 100) + b"{")
    await eventually(lambda: len(bodies()) > before)
    reset(client.writer)
    await eventually(lambda: len(bodies()) == before, "it isn't freed")


def test_other_loops_transports_are_left_alone() -> None:
    class Sealed:
        __slots__ = ()

    untie(Sealed())  # type: ignore[arg-type]
    untie(None)
