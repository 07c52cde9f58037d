"""How many HTTP connections there may be, in all and of one address, and who goes when they are too many."""

import asyncio
import errno
import logging
import resource
import socket
from typing import Any

import pytest

from hubd.edge import reception
from hubd.edge.limits import PerAddress
from hubd.edge.reception import ACCEPTS, BACKLOG, CROWD, WARN_S
from tests.edge.conftest import StartHub
from tests.edge.live_hub import HOST, Faults, LiveHub, eventually
from tests.edge.raw_http import GET, Raw, arrived, publishing
from tests.edge.ws_client import JSON, Refused

OTHER = "127.0.0.2"


async def working(hub: LiveHub, count: int) -> None:
    """Wait until so many requests are being worked at."""
    await eventually(lambda: sum(handler.is_working() for handler in hub.reception._open) == count)


# In all


@pytest.fixture
def room_for_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "HTTP_CONNECTIONS", 3)
    monkeypatch.setattr(reception, "HTTP_LEAST", 1)


@pytest.mark.usefixtures("room_for_3")
async def test_of_too_many_the_oldest_without_a_head_goes(hub: LiveHub) -> None:
    idle = await Raw.open(hub)
    await idle.ask()
    silent = [await Raw.open(hub, sent) for sent in (b"", b"GET")]
    await arrived(hub.reception, 3)
    for oldest in silent:
        came = await Raw.open(hub, GET)
        assert (await came.answer()).status == 200
        assert await oldest.is_cut()
        assert len(hub.reception) == 3
    assert (await idle.ask()).status == 200, "one between its requests goes later"


@pytest.mark.usefixtures("room_for_3")
async def test_then_the_one_that_rests_for_longest(hub: LiveHub) -> None:
    raws = [await Raw.open(hub) for _ in range(3)]
    for raw in (*raws, raws[0]):
        assert (await raw.ask()).status == 200
    assert (await (await Raw.open(hub)).ask()).status == 200
    assert await raws[1].is_cut()
    for raw in (raws[0], raws[2]):
        assert (await raw.ask()).status == 200


@pytest.mark.usefixtures("room_for_3")
async def test_nobody_goes_who_is_worked_for(hub: LiveHub) -> None:
    broker = hub.slow_broker()
    raws = [await Raw.open(hub, publishing(hub)) for _ in range(3)]
    await working(hub, 3)
    for _ in range(5):
        assert await (await Raw.open(hub, GET)).is_cut()
    broker.go.set()
    for raw in raws:
        assert (await raw.answer()).status == 202
    assert (await (await Raw.open(hub)).ask()).status == 200


async def test_of_the_open_files_the_hubs_own_connections_have_theirs(hub: LiveHub, monkeypatch: Any) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (reception.FILES_KEPT + 20, 10**6))
    monkeypatch.setattr("hubd.hub.FILES_RESERVED", 0)
    monkeypatch.setattr(reception, "HTTP_LEAST", 2)
    for n in range(17):
        await hub.opened(JSON, f"u{n}")
    raws = [await Raw.open(hub) for _ in range(4)]
    assert await raws[0].is_cut()
    assert len(hub.reception) == 3
    for n in range(3):
        await hub.opened(JSON, f"v{n}")
    assert len(hub.hub.registry.connections) == 20
    assert (await (await Raw.open(hub)).ask()).status == 200, "there is always room for a few"


async def test_a_hub_that_is_full_still_says_so(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"connections": 2, "per_ip": 1})
    await hub.opened(JSON)
    with pytest.raises(Refused) as refused:
        await hub.connect("7")
    assert refused.value.status == 429
    await hub.opened(JSON, "7", from_address=OTHER)
    with pytest.raises(Refused) as refused:
        await hub.connect("8", from_address="127.0.0.3")
    assert refused.value.status == 503
    assert (await hub.call("GET", "/health/live")).status == 200


# Of one address


async def test_of_one_address_no_more_than_per_ip(start_hub: StartHub, monkeypatch: Any) -> None:
    monkeypatch.setattr(reception, "PER_IP_LEAST", 2)
    hub = await start_hub(limits={"per_ip": 3})
    raws = [await Raw.open(hub) for _ in range(3)]
    await arrived(hub.reception, 3)
    assert await (await Raw.open(hub, GET)).is_cut()
    assert (await (await Raw.open(hub, from_address=OTHER)).ask()).status == 200
    raws[0].close()
    await arrived(hub.reception, 3)
    assert (await (await Raw.open(hub)).ask()).status == 200
    assert (await raws[1].ask()).status == 200


@pytest.mark.parametrize("per_ip", [0, 2])
async def test_a_few_always_because_an_answer_needs_one(start_hub: StartHub, per_ip: int) -> None:
    hub = await start_hub(limits={"per_ip": per_ip})
    raws = [await Raw.open(hub) for _ in range(20)]
    assert [(await raw.ask()).status for raw in raws] == [200] * 20


async def test_a_trusted_proxy_may_have_any_number(start_hub: StartHub, monkeypatch: Any) -> None:
    monkeypatch.setattr(reception, "PER_IP_LEAST", 1)
    hub = await start_hub(limits={"per_ip": 1}, server={"trusted_proxies": [HOST]})
    raws = [await Raw.open(hub) for _ in range(5)]
    assert [(await raw.ask()).status for raw in raws] == [200] * 5
    others = [await Raw.open(hub, GET, from_address=OTHER) for _ in range(2)]
    assert (await others[0].answer()).status == 200
    assert await others[1].is_cut()


async def test_behind_a_trusted_proxy_each_client_has_its_own_limit(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"per_ip": 1}, server={"trusted_proxies": ["127.0.0.1"]})

    async def connect(client: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {hub.token()}", "X-Forwarded-For": client}
        return await hub.open(headers=headers, subprotocol=JSON, **options)

    for client in ("1.2.3.4", "9.9.9.9, 1.2.3.5", "2600::1"):
        await (await connect(client)).next()
    for client in ("1.2.3.4", "8.8.8.8, 1.2.3.5", "[2600::2]:99"):
        with pytest.raises(Refused) as refused:
            await connect(client)
        assert refused.value.status == 429
    await (await connect("1.2.3.4", from_address=OTHER)).next()
    with pytest.raises(Refused):
        await connect("7.7.7.7", from_address=OTHER)  # nobody believes this one


# Accepting


async def test_the_system_keeps_more_waiting_than_are_accepted_at_once(hub: LiveHub) -> None:
    """Else a burst of connections would either be turned away or hold up everybody else."""
    (site,) = hub._runner.sites
    listening = site._server.sockets[0]  # type: ignore[union-attr]  # a server of asyncio has them
    assert site._backlog == ACCEPTS
    waiting = []
    server: Any = site._server
    loop = asyncio.get_running_loop()
    loop.remove_reader(listening.fileno())  # it accepts nobody for a while
    for _ in range(ACCEPTS * 3):
        sock = socket.socket()
        sock.setblocking(False)
        async with asyncio.timeout(5):
            await loop.sock_connect(sock, (HOST, hub.port))
        waiting.append(sock)
    assert len(waiting) <= BACKLOG
    server._loop._start_serving(server._protocol_factory, listening._sock, None, server, ACCEPTS)
    await arrived(hub.reception, len(waiting))
    for sock in waiting:
        sock.close()


async def test_when_the_files_are_out_some_go_and_the_log_says_so_once(hub: LiveHub, faults: Faults) -> None:
    loop = asyncio.get_running_loop()
    raws = [await Raw.open(hub) for _ in range(3)]
    await arrived(hub.reception, 3)
    error = OSError(errno.EMFILE, "Too many open files")
    for left in (2, 1, 0, 0):
        hub.reception.on_loop_fault(loop, {"message": "out of system resource", "exception": error, "socket": None})
        assert len(hub.reception) == left
    assert all([await raw.is_cut() for raw in raws])
    (said,) = faults.found
    assert "no_more_files" in said and "Too many open files" in said and "limit of open files" in said
    hub.clock.advance(WARN_S)
    hub.reception.on_loop_fault(loop, {"message": "out of system resource", "exception": error, "socket": None})
    assert len(faults.found) == 2
    faults.found.clear()
    hub.reception.on_loop_fault(loop, {"message": "something else went wrong", "exception": ValueError("x")})
    assert "something else went wrong" in faults.found.pop()


# The warning


async def crowd(hub: LiveHub, here: int, there: int) -> None:
    """Connections of two addresses, half of each the hub's own."""
    for address, count in [(HOST, here), (OTHER, there)]:
        for _ in range(count // 2):
            hub.edge.endpoint.addresses.add(address)
        for _ in range(count - count // 2):
            await Raw.open(hub, from_address=address)
    await arrived(hub.reception, (here + 1) // 2 + (there + 1) // 2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [found.getMessage() for found in caplog.records if found.levelno == logging.WARNING]


async def empty(hub: LiveHub) -> None:
    addresses = hub.edge.endpoint.addresses
    for address in list(addresses._counts):
        for _ in range(addresses.of(address)):
            addresses.discard(address)


async def test_most_connections_of_one_address_are_a_warning_once_a_minute(
    hub: LiveHub, caplog: pytest.LogCaptureFixture
) -> None:
    await crowd(hub, 52, 48)
    hub.sweep()
    (said,) = warnings(caplog)
    assert said.startswith("one_address: ") and "[server] trusted_proxies" in said
    assert said.endswith(f" address={HOST} connections=52 of=100")
    hub.reception._headless.clear()  # they may stay
    hub.let_pass(WARN_S - 1)
    assert len(warnings(caplog)) == 1
    hub.let_pass(1)
    assert len(warnings(caplog)) == 2
    await empty(hub)


@pytest.mark.parametrize(
    ("here", "there", "trusted"),
    [(CROWD - 10, 8, []), (50, 50, []), (100, 0, ["10.0.0.1"])],
    ids=["few", "half", "a proxy is named"],
)
async def test_no_warning(
    start_hub: StartHub, caplog: pytest.LogCaptureFixture, here: int, there: int, trusted: list[str]
) -> None:
    hub = await start_hub(server={"trusted_proxies": trusted})
    await crowd(hub, here, there)
    hub.sweep()
    assert warnings(caplog) == []
    await empty(hub)


def test_the_address_with_most_over_several_counts() -> None:
    first, second = PerAddress(), PerAddress()
    assert first.most(second) == ("", 0)
    for address in "aabbb":
        first.add(address)
    for address in "aa":
        second.add(address)
    assert first.most() == ("b", 3)
    assert first.most(second) == ("a", 4)
    assert (first.total, second.total) == (5, 2)
