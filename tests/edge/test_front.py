"""The first protocol of each connection: usual WebSockets are its own matter, all else becomes aiohttp's."""

import asyncio
from typing import Any

import pytest
from aiohttp.web_protocol import RequestHandler

from hubd.edge import front
from hubd.edge.front import Front
from hubd.edge.reception import HEAD_S
from tests.edge.conftest import StartHub
from tests.edge.live_hub import Faults, LiveHub, config_of, eventually
from tests.edge.raw_http import GET, Raw, arrived

HANDSHAKE = (
    "GET /notifications{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)


@pytest.fixture
def by_aiohttp(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """For each handshake that wasn't opened at once, an entry."""
    found: list[object] = []
    plain = front.open_at_once

    def watched(*args: Any) -> bool:
        opened = plain(*args)
        if not opened and b" /notifications" in args[-1]:
            found.append(args)
        return opened

    monkeypatch.setattr(front, "open_at_once", watched)
    return found


def handshake(hub: LiveHub, query: str = "", more: str = "", **claims: Any) -> bytes:
    """A handshake with a token in its header."""
    proof = f"Authorization: Bearer {hub.token(**claims)}\r\n"
    return HANDSHAKE.format(query=query, more=proof + more).encode()


async def head_of(raw: Raw) -> list[str]:
    """The lines of the answer's head."""
    async with asyncio.timeout(10):
        return (await raw.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")


async def test_a_usual_websocket_is_opened_at_once(hub: LiveHub, by_aiohttp: list[object]) -> None:
    raw = await Raw.open(hub, handshake(hub, "?topics=news", topics=["news"]))
    assert await head_of(raw) == [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "",
        "",
    ]
    (connection,) = hub.hub.registry.connections
    assert (connection.identity.user, list(connection.topics)) == ("42", ["news"])
    assert not by_aiohttp
    assert len(hub.reception) == 0
    assert hub.edge.endpoint.addresses.total == 1
    assert hub.hub.counts.requests["GET", "/notifications", "200"] == 1
    await hub.publish("news", n=1)
    assert b'"n":1' in await raw.reader.read(1000)


async def test_the_answer_the_welcome_and_what_was_missed_come_together(hub: LiveHub, by_aiohttp: list[object]) -> None:
    cursor = hub.hub.attendance.cursor()
    for n in (1, 2):
        await hub.publish("user:42", n=n)
    more = "Sec-WebSocket-Protocol: hubd.v1.json\r\n"
    raw = await Raw.open(hub, handshake(hub, f"?cursor={cursor}", more))
    assert "Sec-WebSocket-Protocol: hubd.v1.json" in await head_of(raw)
    data = await raw.reader.read(10000)
    places = [data.index(part) for part in (b'"welcome"', b'"recovered":true', b'"n":1', b'"n":2')]
    assert places == sorted(places)
    assert not by_aiohttp
    (connection,) = hub.hub.registry.connections
    assert connection.live
    assert not connection.outbox


async def test_by_a_cookie_and_by_the_address(by_aiohttp: list[object]) -> None:
    hub = await LiveHub(config_of(auth={"query_token": True})).start()
    for query, more in ((f"?token={hub.token()}", ""), ("", f"Cookie: hubd_token={hub.token()}\r\n")):
        raw = await Raw.open(hub, HANDSHAKE.format(query=query, more=more).encode())
        assert (await head_of(raw))[0] == "HTTP/1.1 101 Switching Protocols"
    assert not by_aiohttp
    await hub.stop()


async def test_whoever_is_refused_or_unknown_is_aiohttps(hub: LiveHub, by_aiohttp: list[object]) -> None:
    for data, status in (
        (handshake(hub, more="Origin: https://evil.example\r\n"), 403),
        (handshake(hub).replace(b": 13", b": 12"), 426),
        (handshake(hub).replace(b"bXBsZ", b"b"), 400),
        (handshake(hub).replace(b"Bearer ", b"Bearer x"), 101),
        (HANDSHAKE.format(query="", more="").encode(), 101),
        (handshake(hub, "?ticket=unknown").replace(b"Authorization", b"X"), 101),
    ):
        raw = await Raw.open(hub, data)
        assert (await head_of(raw))[0].split()[1] == str(status)
        raw.close()
    assert len(by_aiohttp) == 6
    assert hub.hub.counts.refused["bad_token"] == 2
    assert not hub.hub.registry.connections


async def test_a_head_in_parts_and_one_with_more_behind_it(hub: LiveHub, by_aiohttp: list[object]) -> None:
    data = handshake(hub)
    parts = await Raw.open(hub, data[:50])
    await eventually(lambda: hub.server().connections)
    parts.send(data[50:])
    assert (await head_of(parts))[0].endswith("101 Switching Protocols")
    ping = b"\x89\x80\0\0\0\0"
    behind = await Raw.open(hub, data + ping)
    assert (await head_of(behind))[0].endswith("101 Switching Protocols")
    assert await behind.reader.readexactly(2) == b"\x8a\x00"
    assert len(by_aiohttp) == 2


async def test_other_requests_are_aiohttps_as_before(hub: LiveHub, by_aiohttp: list[object]) -> None:
    raw = await Raw.open(hub)
    await arrived(hub.reception, 1)
    (guest,) = hub.reception._open
    assert isinstance(guest, Front)
    assert not guest.is_working()
    assert (await raw.ask()).status == 200
    (guest,) = hub.reception._open
    assert isinstance(guest, RequestHandler)
    assert (await raw.ask()).status == 200
    raw.send(handshake(hub))
    assert (await head_of(raw))[0].endswith("101 Switching Protocols")
    assert not by_aiohttp, "only a connection's first bytes are looked at"


async def test_who_says_nothing_is_cut(hub: LiveHub) -> None:
    raw = await Raw.open(hub)
    await arrived(hub.reception, 1)
    hub.let_pass(HEAD_S)
    assert await raw.is_cut()
    assert hub.hub.counts.cut["slow_head"] == 1


async def test_who_says_nothing_is_closed_by_a_stop(hub: LiveHub) -> None:
    raw = await Raw.open(hub)
    await arrived(hub.reception, 1)
    await hub.stop_listening()
    assert await raw.is_cut()


async def test_a_fault_ends_the_connection_and_leaves_nothing(
    hub: LiveHub, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.hub.pump, "flush", lambda connection: 1 / 0)
    raw = await Raw.open(hub, handshake(hub))
    assert await raw.is_cut()
    await eventually(hub.is_empty)
    assert len(faults.found) == 1 and "ZeroDivisionError" in faults.found.pop()
    assert (await (await Raw.open(hub)).ask(GET)).status == 200


async def test_a_revoked_user_of_dev_mode_stays_out(start_hub: StartHub, by_aiohttp: list[object]) -> None:
    hub = await start_hub(dev=True)
    data = HANDSHAKE.format(query="?user=ada", more="").encode()
    assert (await head_of(await Raw.open(hub, data)))[0].endswith("101 Switching Protocols")
    assert not by_aiohttp
    hub.edge.endpoint.tokens.revoke("ada")
    hub.hub.revoke("ada")
    raw = await Raw.open(hub, data)
    await head_of(raw)
    assert b"revoked" in await raw.reader.read(1000)
    assert by_aiohttp
    assert not hub.hub.registry.connections
