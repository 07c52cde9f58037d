"""Connections that can't be had, break off or say nothing: nobody waits for them for ever."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hubd_apns import connection as connection_module
from hubd_apns import pool as pool_module
from hubd_apns.connection import Unreachable

from hubd.testing.apns_service import ApnsService, Mishap
from tests.plugins.apns_client_world import ours
from tests.plugins.apns_world import WAIT_S, token_of

# --- Connections that can't be had, break off or say nothing


async def test_a_connection_that_breaks_off_ends_all_that_was_under_way() -> None:
    async with ours() as world:
        await world.send()
        world.service.script = lambda push: Mishap.HANG_UP if push.token == token_of(9) else Mishap.SILENCE
        got = await world.send_many(10)
        assert [str(one) for one in got] == ["lost"] * 10
        world.service.script = lambda push: None
        assert (await world.send()).status == "200"


async def test_a_service_that_isn_t_there_fails_all_at_once_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pool_module.PAUSE_S == 1.0
    monkeypatch.setattr(pool_module, "PAUSE_S", 1000.0)
    async with ours() as world:
        await world.service.stop()
        got = await world.send_many(50)
        assert {str(one) for one in got} == {"connection refused"}
        assert all(isinstance(one, Unreachable) for one in got)
        await world.service.start()
        assert {str(one) for one in await world.send_many(2)} == {"connection refused"}  # nobody asks for a moment
        monkeypatch.setattr(pool_module, "PAUSE_S", 0.0)
        assert (await world.send()).status == "200"


async def test_a_service_that_nobody_vouches_for_is_not_talked_to() -> None:
    async with ours() as world, ApnsService() as stranger:
        world.pool.port = stranger.port
        (got,) = await world.send_many(1)
        assert str(got) == "tls" and not stranger.pushes and not stranger.refused


@asynccontextmanager
async def mute(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that takes connections and says nothing: its port."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0, ssl=tls)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.transport.abort()
    await server.wait_closed()
    await asyncio.sleep(0.05)


async def test_a_service_without_http2_is_not_talked_to() -> None:
    async with ours() as world, mute(world.service.authority.server_context("http/1.1")) as world.pool.port:
        (got,) = await world.send_many(1)
        assert str(got) in ("no_http2", "tls")


async def test_a_service_that_says_nothing_at_all_is_given_up() -> None:
    async with ours() as world, mute() as world.pool.port:
        world.pool.connect_timeout_s = 0.2
        got = await world.send_many(5)
        assert {str(one) for one in got} == {"timeout"} and all(isinstance(one, Unreachable) for one in got)


async def test_one_that_says_nothing_after_tls_is_given_up() -> None:
    async with ours() as world, mute(world.service.authority.server_context("h2")) as world.pool.port:
        world.pool.connect_timeout_s = 0.5
        (got,) = await world.send_many(1)
        assert str(got) == "timeout" and isinstance(got, Unreachable)
        assert world.pool.connections == []
        await world.until(lambda: world.pool.open == 0)


GARBAGE = {
    "a window that opens by nothing": (bytes.fromhex("00000408000000000000000000"), "protocol"),
    "the head of a frame of 16 MiB": (b"\xff" * 100, "timeout"),  # h2 waits for the rest
    "HTTP/1.1": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "timeout"),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_ends_the_connection_and_nothing_hangs(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PROBE_S", 0.1)
    async with ours(timeout_s=0.5) as world:
        await world.send()
        bad = world.one
        world.service.script = lambda push: Mishap.SILENCE
        sends = [asyncio.ensure_future(world.send(token_of(number))) for number in range(3)]
        await world.until(lambda: world.service.open_streams == 3)
        for connection in world.service.connections:
            connection._transport.write(GARBAGE[what][0])
        got = await asyncio.gather(*sends, return_exceptions=True)
        assert [str(one) for one in got] == [GARBAGE[what][1]] * 3
        await world.until(bad.lost.done)
        world.service.script, world.pool.timeout_s = lambda push: None, WAIT_S
        assert (await world.send()).status == "200"


async def test_a_dead_connection_is_found_by_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PROBE_S", 0.1)
    async with ours(timeout_s=0.2) as world:
        await world.send()
        for connection in world.service.connections:
            connection.data_received = lambda data: None  # as when its machine is gone
        dead = world.one
        (got,) = await world.send_many(1)
        assert str(got) == "timeout"
        await world.until(dead.lost.done)
        assert (await world.send()).status == "200"


async def test_one_that_answers_the_probe_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PROBE_S", 0.5)
    async with ours(timeout_s=0.1) as world:
        await world.send()
        world.service.script = lambda push: Mishap.SILENCE
        await world.send_many(1)
        await world.until(lambda: world.one._probe is None)
        world.pool.timeout_s = WAIT_S
        world.service.script = lambda push: None
        assert (await world.send()).status == "200"
        assert world.service.connected == 1


async def test_a_connection_that_was_quiet_is_probed_as_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ours() as world:
        await world.send()
        assert world.one._probe is None
        world.one._heard_at -= connection_module.QUIET_S + 1
        await world.send()
        assert world.one._probe is not None


async def test_stream_numbers_that_are_used_up_give_a_new_connection() -> None:
    async with ours() as world:
        await world.send()
        world.one.conn.highest_outbound_stream_id = 2**31 - 1
        assert (await world.send()).status == "200"
        assert world.service.connected == 2


async def test_who_is_cancelled_while_he_waits_leaves_nothing_behind() -> None:
    async with ours(max_streams=1, window=10) as world:
        await world.send()
        world.service.script = lambda push: Mishap.SILENCE if push.token == token_of(0) else None
        sends = [asyncio.ensure_future(world.send(token_of(number), 3000)) for number in range(20)]
        await world.until(lambda: world.service.open_streams == 1)
        for one in sends[::2]:
            one.cancel()
        got = await asyncio.gather(*sends, return_exceptions=True)
        assert [one.status for one in got[1::2]] == ["200"] * 10
        assert all(isinstance(one, asyncio.CancelledError) for one in got[::2])
        world.assert_nothing_is_open()
        await world.until(lambda: world.service.open_streams == 0)


async def test_who_is_cancelled_in_the_moment_of_his_turn_passes_it_on() -> None:
    async with ours(max_streams=1) as world:
        await world.send()
        await world.until(lambda: world.one._most == 1)
        await world.one._take_slot()
        second, third = (asyncio.ensure_future(world.one._take_slot()) for _ in range(2))
        await asyncio.sleep(0)
        world.one._give_slot()
        second.cancel()
        async with asyncio.timeout(WAIT_S):
            await third
        assert second.cancelled()
        world.one._give_slot()
        world.assert_nothing_is_open()
