"""One endpoint: what waits for it, how it is called, what becomes of calls that fail. The clock is turned by hand."""

import asyncio
import logging
from itertools import pairwise
from typing import Any

import pytest

from hubd.plugin import EgressFailed, EgressRefused
from tests.plugins.webhooks_world import (
    KEY,
    QUIET,
    Network,
    config,
    endpoint,
    is_genuine,
    saying,
    webhooks,
)


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "hubd.plugins"]


def numbers(network: Network) -> list[int]:
    """The order in which payloads came, over all calls."""
    return [event["data"]["payload"]["n"] for event in network.events]


WITH_PAYLOAD = endpoint(**QUIET, payload=True)


# --- Calls


async def test_a_call_is_signed_and_carries_events() -> None:
    async with webhooks() as world:
        await world.hub.publish("news")
        (call,) = world.network.calls
        assert is_genuine(call.headers, call.body, KEY, world.hub.clock.now())
        assert call.id.startswith("msg_") and call.url == "https://app.example.com/hooks" and call.timeout_s == 10
        (event,) = call.events
        assert event["id"].startswith("evt_") and event["type"] == "published"
        assert event["at"] == int(world.hub.clock.now() * 1000)
        assert await world.metric("sent_total") == 1
        assert await world.metric("waiting") == 0
        assert await world.metric("call_seconds_count") == 1


async def test_what_waits_goes_together() -> None:
    async with webhooks(config(WITH_PAYLOAD, batch=10, concurrency=1)) as world:
        await world.publish(35)
        await world.hub.settle()
        assert [len(call.events) for call in world.network.calls] == [10, 10, 10, 5]
        assert numbers(world.network) == list(range(35))
        assert len({call.id for call in world.network.calls}) == 4
        assert len({event["id"] for event in world.network.events}) == 35


async def test_no_call_is_longer_than_can_be_sent() -> None:
    async with webhooks(config(WITH_PAYLOAD, batch=1000, concurrency=1)) as world:
        await world.publish(40, body="x" * 30_000)
        await world.hub.settle()
        assert len(world.network.events) == 40
        assert all(len(call.body) <= 600_000 for call in world.network.calls)
        assert 3 <= len(world.network.calls) <= 5


async def test_only_so_many_calls_are_under_way() -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with webhooks(config(endpoint(**QUIET), batch=1, concurrency=3), gate) as world:
        await world.publish(20)
        await world.hub.settle()
        assert (world.network.open, len(world.network.calls)) == (3, 3)
        assert await world.metric("waiting") == 20
        gate.set_result(200)
        await world.hub.settle()
        assert (world.network.most_open, len(world.network.calls)) == (3, 20)


async def test_an_event_that_comes_when_the_last_call_is_just_over_is_called_with() -> None:
    async with webhooks(config(endpoint(**QUIET), concurrency=1)) as world:
        one = world.plugin.endpoints["app.example.com"]
        for turns in range(30):  # one of these is the turn in which the worker has ended
            one.offer(b'{"a":1}')
            for _ in range(turns):
                await asyncio.sleep(0)
            one.offer(b'{"a":2}')
            await world.hub.settle()
            assert one.waiting == 0, turns


# --- Trying again


async def test_a_failure_is_tried_again_under_the_same_id_signed_anew() -> None:
    async with webhooks(None, 500, 503, 204) as world:
        await world.hub.publish("news")
        await world.hub.until(lambda: len(world.network.calls) == 3, step_s=0.1)
        first, second, third = world.network.calls
        assert first.id == second.id == third.id and first.body == third.body
        assert all(is_genuine(call.headers, call.body, KEY, world.hub.clock.now()) for call in world.network.calls)
        assert second.at - first.at <= 1 and third.at - second.at <= 2
        await world.hub.advance(10)
        assert third.headers["webhook-timestamp"] > first.headers["webhook-timestamp"] or third.at - first.at < 1
        assert await world.metric("retried_total") == 2
        assert await world.metric("sent_total") == 1
        await world.hub.advance(3600)
        assert len(world.network.calls) == 3


async def test_each_try_is_signed_for_its_own_time() -> None:
    async with webhooks(None, saying(503, Retry_After="200"), 204) as world:
        await world.hub.publish("news")
        await world.hub.until(lambda: len(world.network.calls) == 2)
        first, second = (int(call.headers["webhook-timestamp"]) for call in world.network.calls)
        assert 200 <= second - first <= 202


async def test_delays_have_jitter_and_grow() -> None:
    gaps: list[list[float]] = []
    for seed in range(12):
        async with webhooks(config(attempts=8, retry_for_s=3600), 500, seed=seed) as world:
            await world.hub.publish("news")
            await world.hub.until(lambda: len(world.network.calls) == 8, step_s=10)
            at = [call.at for call in world.network.calls]
            gaps.append([after - before for before, after in pairwise(at)])
    for place, column in enumerate(zip(*gaps, strict=True)):
        bound = min(60.0, 2.0**place)
        assert all(0 <= gap <= bound + 1e-6 for gap in column)
        assert max(column) > bound / 2 > min(column)
        assert len(set(column)) == len(column)


@pytest.mark.parametrize("fault", ["timeout", "connection refused", "reset", "unreachable", "tls", "name not found"])
async def test_faults_of_the_network_are_tried_again(fault: str) -> None:
    async with webhooks(None, EgressFailed(fault), 204) as world:
        await world.hub.publish("news")
        await world.hub.until(lambda: len(world.network.calls) == 2)
        assert await world.metric("sent_total") == 1


async def test_after_so_many_tries_it_is_given_up() -> None:
    async with webhooks(config(attempts=3), EgressFailed("name not found")) as world:
        await world.publish(2)
        await world.hub.advance(600)
        assert len(world.network.calls) == 3
        assert await world.metric("failed_total", reason="name_not_found") == 2
        assert await world.metric("waiting") == 0
        await world.hub.advance(3600)
        assert len(world.network.calls) == 3


async def test_what_is_too_old_is_given_up() -> None:
    async with webhooks(config(attempts=100, retry_for_s=120), 500) as world:
        await world.hub.publish("news")
        begun = world.hub.clock.monotonic()
        await world.hub.advance(1000)
        assert 120 <= world.network.calls[-1].at - begun <= 120 + 60
        assert await world.metric("failed_total", reason="status_5xx") == 1


async def test_with_no_time_for_it_there_is_one_try() -> None:
    async with webhooks(config(retry_for_s=0), 500) as world:
        await world.hub.publish("news")
        await world.hub.advance(100)
        assert len(world.network.calls) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(400, "status_4xx"), (404, "status_4xx"), (301, "redirect"), (308, "redirect"), (EgressRefused("x"), "refused")],
)
async def test_what_would_fail_again_is_not_tried_again(
    answer: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with webhooks(None, answer, 204) as world:
        await world.hub.publish("news")
        await world.hub.advance(100)
        assert len(world.network.calls) == 1
        assert await world.metric("failed_total", reason=reason) == 1
        (line,) = texts(caplog)
        assert f"reason={reason} lost=1" in line and "endpoint=app.example.com" in line
        await world.hub.publish("news")  # the next one is called with all the same
        assert await world.metric("sent_total") == 1


# --- Retry-After


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("30", 30, 31), ("Fri, 15 Jan 2027 08:02:00 GMT", 120, 121), ("100000", 300, 301), ("soon", 0, 1)],
)
async def test_retry_after_is_obeyed_within_bounds(header: str, least: float, most: float) -> None:
    async with webhooks(None, saying(503, Retry_After=header), 204) as world:
        await world.hub.publish("news")
        await world.hub.until(lambda: len(world.network.calls) == 2)
        first, second = world.network.calls
        assert least <= second.at - first.at <= most


async def test_retry_after_counts_for_all_calls_to_the_endpoint() -> None:
    async with webhooks(config(endpoint(**QUIET), batch=1, concurrency=4), saying(429, Retry_After="60"), 204) as world:
        await world.hub.publish("news")
        await world.publish(10)
        await world.hub.advance(59)
        assert len(world.network.calls) == 1
        await world.hub.advance(3)
        assert await world.metric("sent_total") == 11


# --- 410


async def test_after_410_nothing_is_called_until_the_config_is_reloaded(caplog: pytest.LogCaptureFixture) -> None:
    async with webhooks(config(endpoint(**QUIET), batch=1, concurrency=1), 410, 204) as world:
        await world.publish(5)
        await world.hub.advance(100)
        await world.publish(2)
        await world.hub.advance(100)
        assert len(world.network.calls) == 1
        assert await world.metric("switched_off") == 1
        assert await world.metric("failed_total", reason="status_410") == 1
        assert await world.metric("dropped_total", reason="off") == 6
        assert await world.metric("waiting") == 0
        (line,) = texts(caplog)
        assert "answered 410 and is off until the next reload" in line and "lost=4" in line
        world.hub.reconfigure(config(endpoint(**QUIET), batch=1, concurrency=1))
        await world.hub.publish("news")
        assert await world.metric("sent_total") == 1
        assert await world.metric("switched_off") == 0


async def test_after_410_calls_that_wait_for_their_next_try_are_dropped() -> None:
    async with webhooks(config(endpoint(**QUIET), batch=1, concurrency=2), 500, 410) as world:
        await world.publish(2)
        await world.hub.advance(100)
        assert len(world.network.calls) == 2
        assert await world.metric("dropped_total", reason="off") == 1
        assert await world.metric("waiting") == 0


async def test_410_counts_before_the_time_that_another_answer_asked_for() -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    options = config(endpoint(**QUIET), batch=1, concurrency=2)
    async with webhooks(options, gate, saying(503, Retry_After="300"), 204) as world:
        await world.publish(2)
        await world.hub.advance(10)
        assert await world.metric("waiting") == 2
        gate.set_result(410)
        await world.hub.settle()
        assert await world.metric("waiting") == 0
        assert len(world.network.calls) == 2


# --- Bounds


async def test_what_comes_when_too_much_waits_is_dropped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with webhooks(config(WITH_PAYLOAD, queue=10, batch=2, concurrency=1), gate) as world:
        await world.publish(25)
        await world.hub.settle()
        assert await world.metric("waiting") == 10  # those in the call under way included
        assert await world.metric("dropped_total", reason="queue_full") == 15
        await world.hub.advance(30)
        await world.publish(5)
        await world.hub.settle()
        await world.hub.advance(30)
        await world.publish(1)
        await world.hub.settle()
        lines = [line for line in texts(caplog) if "too many wait" in line]
        assert ["lost=1 " in lines[0], "lost=20 " in lines[1], len(lines)] == [True, True, 2]
        gate.set_result(204)
        await world.hub.settle()
        assert numbers(world.network) == list(range(10))
        await world.hub.publish("news")
        assert await world.metric("sent_total") == 11


async def test_bytes_are_bounded_too() -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with webhooks(config(WITH_PAYLOAD, queue_bytes=50_000, concurrency=1), gate) as world:
        await world.publish(10, body="x" * 20_000)
        await world.hub.settle()
        assert await world.metric("waiting") == 2
        gate.set_result(204)
        await world.hub.settle()
        one = world.plugin.endpoints["app.example.com"]
        assert (one.waiting, one.waiting_bytes) == (0, 0)


async def test_an_endpoint_that_stalls_delays_nobody_and_stays_within_bounds() -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    two = (endpoint(**QUIET, name="stuck", url="https://stuck.example.com"), endpoint(**QUIET, name="well"))
    options = config(*two, queue=500, batch=100)
    async with webhooks(options, lambda url: gate if "stuck" in url else 204) as world:
        reader = world.hub.connect("ada", ["news"])
        stuck, well = world.plugin.endpoints["stuck"], world.plugin.endpoints["well"]
        well_was_behind = 0
        for _ in range(100):
            await world.publish(100)
            await world.hub.settle()
            assert stuck.waiting <= 500
            well_was_behind = max(well_was_behind, well.waiting)
        # Ten thousand were published and written while the endpoint held its first calls: none of that waited for it.
        assert world.network.open == 4 and not gate.done()
        assert len(reader.notifications()) == 10_000
        assert well_was_behind == 0
        assert await world.hub.metric("webhooks_sent_total", endpoint="well") == 10_000
        assert await world.hub.metric("webhooks_dropped_total", endpoint="stuck", reason="queue_full") == 9_500
        gate.set_result(204)
        await world.hub.settle()
        assert await world.hub.metric("webhooks_sent_total", endpoint="stuck") == 500


# --- What the log hears


async def test_the_log_hears_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubd.plugins")
    async with webhooks(None, 500, 500, EgressFailed("reset"), 204) as world:
        await world.hub.publish("news")
        await world.hub.until(lambda: len(world.network.calls) == 4)
        await world.hub.publish("news")
        lines = [line for line in texts(caplog) if "text=" in line]
        assert len(lines) == 2
        assert "an endpoint fails; calls are tried again" in lines[0] and "reason=status_5xx" in lines[0]
        assert "an endpoint takes events again" in lines[1]


async def test_many_failures_are_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async with webhooks(config(endpoint(**QUIET), batch=1), 404) as world:
        for _ in range(3):
            await world.publish(10)
            await world.hub.advance(31)
        lines = [line for line in texts(caplog) if "given up" in line]
        assert len(lines) == 2 and "lost=1 " in lines[0] and "lost=20 " in lines[1]


async def test_no_secret_gets_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secretive = endpoint(**QUIET, payload=True, url="https://app.example.com/h/t0k3n?key=p4ss")
    async with webhooks(config(secretive, attempts=2), 500, 404, EgressFailed("tls"), 410) as world:
        for _ in range(4):
            await world.hub.publish("news", {"type": "t", "title": "s3cr3t"})
            await world.hub.advance(70)
        repr(world.plugin._config)
    text = caplog.text + repr(world.plugin._config.endpoints[0].secret)
    assert "given up" in text
    for secret in ("t0k3n", "p4ss", "s3cr3t", "AAECAwQF"):
        assert secret not in text
