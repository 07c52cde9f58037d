"""The client against each thing that breaks aioapns as it is: the one breaks, the other doesn't."""

import asyncio
from typing import Any

import pytest
from aioapns.exceptions import MaxAttemptsExceeded
from hubd_apns import connection as connection_module
from hubd_apns.connection import Lost

from hubd.testing.apns_checks import Request
from hubd.testing.apns_service import Answer, ApnsPush, ApnsService, Mishap
from tests.plugins.apns_client_world import NEVER_S, as_it_is, hangs, ours, plain_request, request, until
from tests.plugins.apns_world import TOKEN, WAIT_S, plain, token_of

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
        service.script = lambda push: Mishap.SILENCE
        late = plain_request()
        sends = [client.send_notification(one) for one in (late, plain_request(token_of(2)))]
        cancelled = [asyncio.ensure_future(one) for one in sends]
        await until(lambda: service.open_streams == 2)
        for one in cancelled:
            one.cancel()
        other = asyncio.ensure_future(client.send_notification(plain_request(token_of(1))))
        await until(lambda: service.open_streams == 3)
        (connection,) = service.connections
        connection._say(1, Request([("apns-id", late.notification_id)], b""), Answer())
        connection._flush()
        await until(lambda: errors)
        assert isinstance(errors[0]["exception"], asyncio.InvalidStateError)
        assert await hangs(asyncio.shield(other))
        other.cancel()
        await asyncio.gather(other, *cancelled, return_exceptions=True)


async def test_ours_takes_no_notice_of_an_answer_that_comes_late() -> None:
    async with ours() as world:
        await world.send()
        answered = asyncio.Event()

        def script(push: ApnsPush) -> Answer:
            asyncio.get_running_loop().call_later(0.6, answered.set)
            return Answer(delay_s=0.6) if push.token == TOKEN else Answer(delay_s=0.8)

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
            await until(lambda: not client.pool.connections)
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
        await until(lambda: not client.pool.connections)


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
        service.script = lambda push: Answer(delay_s=WAIT_S)
        sends = [asyncio.ensure_future(client.send_notification(plain_request(token_of(n)))) for n in range(5)]
        await until(lambda: len(service.pushes) == 5)
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
