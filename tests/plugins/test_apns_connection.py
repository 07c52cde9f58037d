"""The client against each thing that breaks aioapns as it is: the one breaks, the other doesn't."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from aioapns import NotificationRequest, PushType
from aioapns.exceptions import MaxAttemptsExceeded
from hubd_apns import connection as connection_module
from hubd_apns import pool as pool_module
from hubd_apns.connection import ApnsRequest, ApnsResult, Lost, Unreachable
from hubd_apns.pool import HardenedPool
from hubd_apns.tokens import ProviderTokens

from hubd.plugin import SystemClock
from hubd.testing.apns_service import Answer, ApnsPush, ApnsService, Mishap
from tests.plugins.apns_world import TOKEN, WAIT_S, plain, token_of

NEVER_S = 0.5
"""How long plain aioapns is watched while it hangs."""


def request(token: str = TOKEN, size: int = 100) -> ApnsRequest:
    headers = {"apns-id": str(uuid4()), "apns-topic": "com.example.app", "apns-push-type": "alert"}
    body = b'{"aps":{"alert":"x"},"pad":"%s"}' % (b"x" * size)
    return ApnsRequest(token, headers, body)


def plain_request(token: str = TOKEN, size: int = 100) -> NotificationRequest:
    return NotificationRequest(token, {"aps": {"alert": "x"}, "pad": "x" * size}, push_type=PushType.ALERT)


class Ours(NamedTuple):
    service: ApnsService
    pool: HardenedPool
    tokens: ProviderTokens

    async def send(self, token: str = TOKEN, size: int = 100) -> ApnsResult:
        async with asyncio.timeout(WAIT_S):
            return await self.pool.send_notification(request(token, size))

    async def send_many(self, count: int, size: int = 100) -> list[Any]:
        sends = (self.send(token_of(number), size) for number in range(count))
        return await asyncio.gather(*sends, return_exceptions=True)

    @property
    def one(self) -> Any:
        return self.pool.connections[0]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.01)

    def assert_nothing_is_open(self) -> None:
        for connection in self.pool.connections:
            assert connection.streams == {} and connection.conn.open_outbound_streams == 0
            assert (connection._taken, len(connection._waiting), connection._unsent) == (0, 0, {})


@asynccontextmanager
async def ours(timeout_s: float = WAIT_S, **options: Any) -> AsyncIterator[Ours]:
    async with ApnsService(**options) as service:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key: Any = load_pem_private_key(service.key_file.read_bytes(), None)
        tokens = ProviderTokens(key, service.key_id, service.team_id, SystemClock())
        context = service.authority.client_context()
        context.set_alpn_protocols(["h2"])
        pool = HardenedPool("127.0.0.1", service.port, tokens, context, timeout_s=timeout_s, connect_timeout_s=WAIT_S)
        yield Ours(service, pool, tokens)
        await pool.close_within(WAIT_S)
        assert pool.open == 0


async def hangs(sending: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(NEVER_S):
            await sending
    except TimeoutError:
        return True
    return False


@asynccontextmanager
async def as_it_is(**options: Any) -> AsyncIterator[tuple[ApnsService, Any]]:
    async with ApnsService(first_streams=1000, **options) as service:
        client = plain(service)
        yield service, client
        for connection in list(client.pool.connections):
            connection.transport.abort()
        await asyncio.sleep(0.05)


# --- What aioapns does, and what the hardened one does instead

HANG: dict[str, tuple[Answer | Mishap, str]] = {
    "reset": (Mishap.RESET, "reset"),
    "refused": (Mishap.REFUSED, "reset"),
    "no body": (Answer("ServiceUnavailable", body=b""), "503"),
    "no json": (Answer("ServiceUnavailable", body=b"<html>"), "503"),
    "json without a reason": (Answer("ServiceUnavailable", body=b'{"a":1}'), "503"),
    "silence": (Mishap.SILENCE, "timeout"),
}


@pytest.mark.parametrize("what", [what for what in HANG if what != "no json"])
async def test_plain_aioapns_hangs(what: str) -> None:
    async with as_it_is() as (service, client):
        service.script = lambda push: HANG[what][0]
        assert await hangs(client.send_notification(plain_request()))


async def test_plain_aioapns_loses_its_connection_when_an_answer_is_no_json() -> None:
    async with as_it_is() as (service, client):
        service.script = lambda push: HANG["no json"][0]
        with pytest.raises(MaxAttemptsExceeded):
            await client.send_notification(plain_request())
        assert client.pool.connections == []


@pytest.mark.parametrize("what", HANG)
async def test_ours_comes_back_and_the_connection_goes_on(what: str) -> None:
    answer, expected = HANG[what]
    async with ours(timeout_s=0.3 if what == "silence" else WAIT_S) as world:
        await world.send()
        world.service.script = lambda push: answer
        try:
            got = (await world.send()).status
        except Lost as lost:
            got = lost.word
        assert got == expected
        world.service.script = lambda push: None
        assert (await world.send()).status == "200"
        assert world.service.connected == 1
        world.assert_nothing_is_open()
        await world.until(lambda: world.service.open_streams == 0)


async def test_plain_aioapns_loses_all_when_a_cancelled_one_is_answered_late() -> None:
    async with as_it_is() as (service, client):
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        service.script = lambda push: Answer(delay_s=0.15) if push.token == TOKEN else Answer(delay_s=0.3)
        for token in (TOKEN, token_of(2)):
            with suppress(TimeoutError):
                await asyncio.wait_for(client.send_notification(plain_request(token)), 0.02)
        other = asyncio.ensure_future(client.send_notification(plain_request(token_of(1))))
        assert await hangs(asyncio.shield(other))
        assert isinstance(errors[0]["exception"], asyncio.InvalidStateError)
        other.cancel()


async def test_ours_takes_no_notice_of_an_answer_that_comes_late() -> None:
    async with ours() as world:
        await world.send()
        answered = asyncio.Event()

        def script(push: ApnsPush) -> Answer:
            asyncio.get_running_loop().call_later(0.15, answered.set)
            return Answer(delay_s=0.15) if push.token == TOKEN else Answer(delay_s=0.3)

        world.service.script = script
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.pool.send_notification(request()), 0.05)
        other = asyncio.ensure_future(world.send(token_of(1)))
        await answered.wait()
        assert (await other).status == "200"
        assert world.service.connected == 1
        world.assert_nothing_is_open()


async def test_plain_aioapns_fails_in_a_burst_and_leaves_streams_open() -> None:
    async with as_it_is() as (_, client):
        await client.send_notification(plain_request())
        sends = [client.send_notification(plain_request(token_of(number), 4000)) for number in range(100)]
        async with asyncio.timeout(WAIT_S):
            got = await asyncio.gather(*sends, return_exceptions=True)
        assert any(isinstance(one, MaxAttemptsExceeded) for one in got)
        assert client.pool.connections[0].conn.open_outbound_streams > 0


@pytest.mark.parametrize("window", [100, 1000, 65_535])
async def test_ours_sends_a_burst_as_the_service_has_room(window: int) -> None:
    async with ours(window=window) as world:
        await world.send()
        got = await world.send_many(100, 3900)
        assert [one.status for one in got] == ["200"] * 100
        assert {len(push.payload["pad"]) for push in list(world.service.pushes)[1:]} == {3900}
        world.assert_nothing_is_open()


async def test_plain_aioapns_doesn_t_keep_a_limit_of_streams_that_comes_late() -> None:
    async with ApnsService(first_streams=1, max_streams=5) as service:
        client = plain(service)
        service.script = lambda push: Answer(delay_s=0.05)
        sends = [client.send_notification(plain_request(token_of(number))) for number in range(20)]
        got = [asyncio.ensure_future(one) for one in sends]
        await asyncio.wait(got, timeout=NEVER_S)
        assert not all(one.done() and one.exception() is None for one in got)
        for one in got:
            one.cancel()
        await asyncio.gather(*got, return_exceptions=True)
        for connection in list(client.pool.connections):
            connection.transport.abort()


@pytest.mark.parametrize(("first", "most"), [(1, 1), (1, 5), (5, 1000)])
async def test_ours_keeps_the_limit_of_streams(first: int, most: int) -> None:
    async with ours(first_streams=first, max_streams=most) as world:
        seen: list[int] = []

        def script(push: ApnsPush) -> Answer:
            seen.append(world.service.open_streams)
            return Answer(delay_s=0.01)

        world.service.script = script
        got = await world.send_many(50)
        assert [one.status for one in got] == ["200"] * 50 or [str(one) for one in got] == []
        assert max(seen) <= max(first, most)
        assert world.service.connected == 1
        world.assert_nothing_is_open()


async def test_plain_aioapns_signs_a_token_for_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with as_it_is() as (service, client):
        for _ in range(2):
            await client.send_notification(plain_request())
            client.pool.connections[0].transport.abort()
            await asyncio.sleep(0.05)
        reasons = [reason for _, reason in service.refused]
        assert reasons == ["TooManyProviderTokenUpdates"]


async def test_ours_has_one_token_for_all_connections() -> None:
    async with ours() as world:
        for _ in range(3):
            assert (await world.send()).status == "200"
            world.one.break_off()
        assert (world.service.connected, world.tokens.signed) == (3, 1)


async def test_plain_aioapns_closes_a_connection_that_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    async with as_it_is() as (_, client):
        client.pool.protocol_class.INACTIVITY_TIME /= 100  # instead of waiting for 10 s
        await client.send_notification(plain_request())
        await asyncio.sleep(0.3)
        assert client.pool.connections == []


async def test_ours_keeps_it_for_half_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection_module.IDLE_S == 1800
    async with ours() as world:
        await world.send()
        assert world.one.inactivity_timer.when() - asyncio.get_running_loop().time() > 1700
        with monkeypatch.context() as patched:
            patched.setattr(connection_module, "IDLE_S", 0.0)
            world.one._close_if_idle()
        assert world.pool.connections == []
        assert (await world.send()).status == "200"
        assert world.service.connected == 2


async def test_plain_aioapns_drops_retry_after() -> None:
    async with as_it_is() as (service, client):
        service.script = lambda push: Answer("TooManyRequests", retry_after="9")
        got = await client.send_notification(plain_request())
        assert not hasattr(got, "retry_after")


async def test_ours_gives_the_whole_answer() -> None:
    async with ours() as world:
        world.service.script = lambda push: Answer("TooManyRequests", retry_after="9", timestamp_ms=5)
        got = await world.send()
        assert (got.status, got.body, got.retry_after) == ("429", b'{"reason":"TooManyRequests","timestamp":5}', "9")
        assert got.authorization == world.tokens.get_header()


async def test_plain_aioapns_loses_what_is_under_way_at_a_goaway() -> None:
    async with as_it_is() as (service, client):
        service.script = lambda push: Answer(delay_s=0.2)
        sends = [asyncio.ensure_future(client.send_notification(plain_request(token_of(n)))) for n in range(5)]
        await asyncio.sleep(0.1)
        service.goaway()
        got = await asyncio.gather(*sends, return_exceptions=True)
        assert all(isinstance(one, MaxAttemptsExceeded) for one in got)
        assert len(service.pushes) == 5  # and yet they were taken: each would come twice


async def test_ours_gets_what_was_taken_before_a_goaway_and_connects_anew() -> None:
    async with ours() as world:
        await world.send()
        world.service.script = lambda push: (
            Mishap.GOAWAY if push.token == token_of(7) else Answer(delay_s=0.2) if int(push.token, 16) < 7 else None
        )
        got = await world.send_many(20)
        assert [one.status for one in got[:7]] == ["200"] * 7
        assert [str(one) for one in got[7:]] == ["goaway"] * 13
        world.service.script = lambda push: None
        assert [one.status for one in await world.send_many(20)] == ["200"] * 20
        assert world.service.connected == 2
        await world.until(lambda: world.pool.open == 1)


async def test_who_waits_for_his_turn_moves_to_the_next_connection() -> None:
    async with ours(max_streams=1) as world:
        world.service.script = lambda push: Answer(delay_s=0.1)
        first = asyncio.ensure_future(world.send())
        await world.until(lambda: world.service.pushes)
        others = [asyncio.ensure_future(world.send(token_of(number))) for number in range(3)]
        await asyncio.sleep(0)
        world.service.goaway()
        assert [(await one).status for one in (first, *others)] == ["200"] * 4
        assert world.service.connected == 2


# --- Connections that can't be had, break off or say nothing


async def test_a_connection_that_breaks_off_ends_all_that_was_under_way() -> None:
    async with ours() as world:
        await world.send()
        world.service.script = lambda push: Mishap.HANG_UP if push.token == token_of(9) else Mishap.SILENCE
        got = await world.send_many(10)
        assert [str(one) for one in got] == ["lost"] * 10
        world.service.script = lambda push: None
        assert (await world.send()).status == "200"


async def test_a_service_that_isn_t_there_fails_all_at_once_and_is_asked_once() -> None:
    async with ours() as world:
        await world.service.stop()
        got = await world.send_many(50)
        assert {str(one) for one in got} == {"connection refused"}
        assert all(isinstance(one, Unreachable) for one in got)
        await world.service.start()
        assert {str(one) for one in await world.send_many(2)} == {"connection refused"}  # nobody asks for a moment
        await asyncio.sleep(pool_module.PAUSE_S)
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
    monkeypatch.setattr(connection_module, "PROBE_S", 0.1)
    async with ours(timeout_s=0.1) as world:
        await world.send()
        world.service.script = lambda push: Mishap.SILENCE
        await world.send_many(1)
        await asyncio.sleep(0.3)
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
        world.service.script = lambda push: Answer(delay_s=0.05)
        sends = [asyncio.ensure_future(world.send(token_of(number), 3000)) for number in range(20)]
        await asyncio.sleep(0.02)
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
