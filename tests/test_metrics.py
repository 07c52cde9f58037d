"""Metrics: every one in the table, read from a hub to which things happen."""

import asyncio
import logging
import re
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from hubd import __version__
from hubd.clock import SystemClock
from hubd.config import Config
from hubd.config_options import Limits, Replay
from hubd.core.connection import Visibility
from hubd.core.errors import REVOKED, Problem
from hubd.counts import LAG_BUCKETS, Counts
from hubd.hub import Hub
from hubd.log_events import log_event
from hubd.logs import TALLY, StderrHandler
from hubd.metric_kinds import EdgeSizes, Kind
from hubd.metric_table import METRICS, PROCESS, meanings
from hubd.metrics import LAG_S, SURVEY_S, Metrics, watch_lag
from hubd.survey import SLICE, survey
from hubd.tasks import Tasks
from hubd.testing import ToyBroker, connect, make_hub
from tests.hub_calls import body, publish

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def samples(hub: Hub, strangers: int = 0) -> Samples:
    """All samples of a hub, by name and labels."""
    return parsed((await Metrics(hub, lambda: EdgeSizes(3, strangers)).exposition())[0])


def parsed(text: bytes) -> Samples:
    found: Samples = {}
    for family in read_text(text.decode()):
        for sample in family.samples:
            place = (sample.name, tuple(sample.labels.items()))
            assert place not in found, f"{place} is there twice"
            found[place] = sample.value
    return found


def of(found: Samples, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    assert any(place[0] == name for place in found), f"there is no {name}"
    return sum(value for (other, has), value in found.items() if other == name and labels.items() <= dict(has).items())


# The table


def test_names_follow_the_conventions_and_every_one_has_a_meaning() -> None:
    assert len(meanings()) == len(METRICS) + len(PROCESS)
    for metric in METRICS:
        assert re.fullmatch(r"hubd(_[a-z]+)+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        if metric.kind is Kind.HISTOGRAM:
            assert metric.name.endswith("_seconds")
        assert "byte" not in metric.name.removesuffix("_total").removesuffix("_max").removesuffix("_bytes")
    for name, meaning in meanings().items():
        assert re.fullmatch(r"\S.*\.", meaning) and len(meaning) < 300, name


async def test_what_is_shown_is_what_the_table_says_in_both_formats() -> None:
    hub, _, _ = make_hub()
    hub.counts.note_request("GET", "/x", 200, 0.1)
    metrics = Metrics(hub)
    text, kind = await metrics.exposition()
    assert kind.startswith("text/plain; version=0.0.4")
    helps = {family.name: family.documentation for family in read_text(text.decode())}
    expected = {name.removesuffix("_total"): meaning for name, meaning in meanings().items()}
    assert set(helps) == set(expected)
    own = {metric.name.removesuffix("_total") for metric in METRICS}
    assert {name: helps[name] for name in own} == {name: expected[name] for name in own}

    text, kind = await metrics.exposition("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    assert {family.name for family in read_openmetrics(text.decode())} == set(expected)


@pytest.mark.parametrize("accept", ["", "*/*", "nonsense;;;=,", "application/openmetrics-text;version=x" + "," * 5000])
async def test_whatever_is_asked_for_something_is_given(accept: str) -> None:
    hub, _, _ = make_hub()
    text, _ = await Metrics(hub).exposition(accept)
    assert b"hubd_build_info" in text


async def test_each_hub_has_its_own() -> None:
    (one, _, _), (other, _, _) = make_hub(), make_hub()
    await publish(one, "notifications")
    assert of(await samples(one), "hubd_publishes_total") == 1
    assert of(await samples(other), "hubd_publishes_total") == 0


async def test_the_version_and_the_process() -> None:
    hub, _, _ = make_hub()
    found = await samples(hub)
    assert of(found, "hubd_build_info", version=__version__) == 1
    assert of(found, "process_resident_memory_bytes") > 1e6
    assert of(found, "process_open_fds") > 0


# Connections


async def test_connections_by_transport_and_state_and_users_by_state() -> None:
    hub, _, _ = make_hub()
    connect(hub, "ada", ("t", "u"))
    hidden, gone = connect(hub, "bob", ("t",)), connect(hub, "eve")
    hub.attendance.set_visibility(hidden, Visibility.HIDDEN)
    connect(hub, "joe", cursor=hub.attendance.cursor())
    slow = connect(hub, "tim", room=0)
    slow.paused = True
    gone.drop()
    found = await samples(hub, strangers=7)
    assert of(found, "hubd_connections", transport="recording", state="attentive") == 3
    assert of(found, "hubd_connections", transport="recording", state="connected") == 1
    assert of(found, "hubd_users", state="attentive") == 3
    assert of(found, "hubd_users", state="connected") == 1
    assert of(found, "hubd_users", state="wavering") == 1
    assert of(found, "hubd_unauthenticated_connections") == 7
    assert of(found, "hubd_http_connections") == 3
    assert of(found, "hubd_topics") == 2
    assert of(found, "hubd_connections_opened_total", transport="recording") == 5
    assert of(found, "hubd_connections_ended_total", reason="gone") == 1
    assert of(found, "hubd_paused_connections") == 1


async def test_one_that_reads_what_it_missed_is_resuming() -> None:
    hub, _, soon = make_hub()
    cursor = hub.attendance.cursor()
    for _ in range(50):
        await publish(hub, "notifications", notification={"type": "t", "text": "x" * 3000})
    late = connect(hub, "ada", cursor=cursor, room=10)
    assert not late.live
    assert of(await samples(hub), "hubd_connections", state="resuming") == 1
    while late.paused or not late.live:
        late.drain()
        soon.settle()
    found = await samples(hub)
    assert of(found, "hubd_connections", state="attentive") == 1
    assert of(found, "hubd_replayed_total") == 50
    assert of(found, "hubd_resumes_total", result="recovered") == 1
    assert of(found, "hubd_deliveries_total") == 0


async def test_why_connections_are_over() -> None:
    hub, _, soon = make_hub(Config(limits=Limits(queue_bytes=2000)))
    slow, revoked = connect(hub, "ada", room=300), connect(hub, "bob")
    for _ in range(20):
        await publish(hub, "user:ada")
    soon.settle()
    assert slow.aborted
    hub.end(revoked, REVOKED)
    hub.end(revoked, REVOKED)  # it is over already
    revoked.drop()
    found = await samples(hub)
    assert of(found, "hubd_slow_consumers_total") == 1
    assert of(found, "hubd_connections_ended_total", reason="slow_consumer") == 1
    assert of(found, "hubd_connections_ended_total", reason="revoked") == 1
    assert of(found, "hubd_connections_ended_total") == 2
    assert of(found, "hubd_connections") == 0


# Traffic


async def test_publishes_by_result_and_priority() -> None:
    hub, _, _ = make_hub()
    await publish(hub, "notifications", priority="critical")
    for _ in range(3):
        await hub.publish(hub.prepare(body("notifications", id="n1")), "backend")
    with pytest.raises(Problem):
        await hub.publish(hub.prepare(body("user:ada", id="n1", priority="informational")), "backend")
    found = await samples(hub)
    assert of(found, "hubd_publishes_total", result="accepted", priority="critical") == 1
    assert of(found, "hubd_publishes_total", result="accepted", priority="important") == 1
    assert of(found, "hubd_publishes_total", result="duplicate", priority="important") == 2
    assert of(found, "hubd_publishes_total", result="refused", priority="informational") == 1
    assert of(found, "hubd_publishes_total") == 5
    assert of(found, "hubd_remembered_ids") == 1


async def test_a_publish_that_fails() -> None:
    async def sleep(seconds: float) -> None:
        raise ConnectionError

    hub, _, _ = make_hub(broker=ToyBroker(sleep=sleep))
    with pytest.raises(ConnectionError):
        await publish(hub, "notifications")
    assert of(await samples(hub), "hubd_publishes_total", result="failed") == 1


async def test_deliveries_and_bytes_are_those_of_live_connections() -> None:
    hub, _, soon = make_hub()
    here = [connect(hub, f"u{n}", ("t",)) for n in range(40)]
    await publish(hub, "notifications")  # to many: in the loop's next turn
    await publish(hub, ["t", "user:u1"])  # by two ways, but once
    await publish(hub, "user:u1")  # to few: at once
    await publish(hub, "user:nobody")
    soon.settle()
    found = await samples(hub)
    assert of(found, "hubd_deliveries_total") == 40 + 40 + 1
    assert of(found, "hubd_written_bytes_total") == sum(len(connection._raw) for connection in here)


async def test_what_waits() -> None:
    hub, _, soon = make_hub()
    slow, slower = connect(hub, "ada", room=200), connect(hub, "bob", room=200)
    connect(hub, "eve")
    await publish(hub, "notifications")
    for _ in range(3):
        await publish(hub, "user:bob")
    soon.settle()
    sizes = [max(0, one.taken - 200) + sum(map(len, one.outbox)) for one in (slow, slower)]
    assert sizes[1] > sizes[0] > 0
    found = await samples(hub)
    assert of(found, "hubd_queued_bytes") == sum(sizes)
    assert of(found, "hubd_queued_bytes_max") == sizes[1]
    assert of(found, "hubd_paused_connections") == 2


async def test_acks_count_once() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada")
    first, second = [(await publish(hub, "user:ada")).id for _ in range(2)]
    hub.ack("ada", [first, "unknown"], [connection])
    hub.ack("ada", [first, second], [connection])
    assert of(await samples(hub), "hubd_acks_total") == 2


async def test_gaps_by_reason() -> None:
    hub, _, soon = make_hub(Config(replay=Replay(per_channel=2)))
    cursor = hub.attendance.cursor()
    for _ in range(5):
        await publish(hub, "notifications")
        await publish(hub, "t")
    connect(hub, "ada", cursor=cursor)
    connect(hub, "ada", cursor="oldepoch00-5")
    connect(hub, "ada", cursor="nonsense")
    soon.settle()
    found = await samples(hub)
    assert of(found, "hubd_gaps_total", reason="evicted") == 1
    assert of(found, "hubd_gaps_total", reason="epoch") == 1
    assert of(found, "hubd_gaps_total", reason="bad_cursor") == 1
    assert of(found, "hubd_resumes_total", result="gap") == 3
    assert of(found, "hubd_resumes_total", result="recovered") == 0


async def test_gaps_of_a_subscription() -> None:
    hub, _, soon = make_hub(Config(replay=Replay(per_channel=2)))
    cursor = hub.attendance.cursor()
    for _ in range(5):
        await publish(hub, "t")
        await publish(hub, "u")
    connection = connect(hub, "ada")
    done: list[dict[str, Any]] = []
    for given in (cursor, "oldepoch00-5", hub.attendance.cursor()):
        topic = "tuv"[len(done)]
        channels = hub.attendance.channels(connection, topic)
        hub.attendance.subscribe(connection, channels, given, done.append)
        hub.pump.schedule(connection)
        soon.settle()
    assert [fields["recovered"] for fields in done] == [False, False, True]
    told = [frame for frame in connection.frames if frame.get("hub") == "gap"]
    found = await samples(hub)
    assert of(found, "hubd_gaps_total") == len(told)
    assert of(found, "hubd_resumes_total", result="gap") == 2
    assert of(found, "hubd_resumes_total", result="recovered") == 1
    assert of(found, "hubd_replayed_total") == sum(fields["replayed"] for fields in done) == 4


# Memory


async def test_rings_and_what_was_pushed_out_of_them() -> None:
    hub, clock, _ = make_hub(Config(replay=Replay(per_channel=3, ttl_s=100, max_bytes=100_000)))
    for _ in range(5):
        await publish(hub, ["a", "b"])
    found = await samples(hub)
    assert of(found, "hubd_ring_entries") == 6
    assert of(found, "hubd_ring_channels") == 2
    assert of(found, "hubd_ring_bytes") == hub.rings.bytes > 0
    assert of(found, "hubd_ring_evictions_total", limit="per_channel") == 4
    clock.advance(101)
    hub.maintain()
    for n in range(4):
        await publish(hub, f"c{n}", notification={"type": "t", "text": "x" * 30_000})
    found = await samples(hub)
    assert of(found, "hubd_ring_evictions_total", limit="ttl_s") == 6
    pushed_out = of(found, "hubd_ring_evictions_total", limit="max_bytes")
    assert pushed_out > 0
    assert of(found, "hubd_ring_entries") == 4 - pushed_out


# Requests, lag, log


async def test_requests_in_buckets() -> None:
    hub, _, _ = make_hub()
    for seconds in (0.0005, 0.001, 0.02, 100.0):
        hub.counts.note_request("POST", "/api/notifications", 202, seconds)
    hub.counts.note_request("GET", "/notifications", 101, None)
    found = await samples(hub)
    assert of(found, "hubd_http_requests_total", route="/api/notifications", method="POST", status="202") == 4
    assert of(found, "hubd_http_requests_total", route="/notifications", status="101") == 1
    buckets = {
        dict(has)["le"]: value for (name, has), value in found.items() if name == "hubd_http_request_seconds_bucket"
    }
    assert (buckets["0.001"], buckets["0.01"], buckets["0.025"], buckets["10.0"], buckets["+Inf"]) == (2, 2, 3, 3, 4)
    assert of(found, "hubd_http_request_seconds_count") == 4
    assert of(found, "hubd_http_request_seconds_sum") == pytest.approx(100.0215)


async def test_a_step_that_takes_long_shows_as_lag() -> None:
    counts, tasks, clock = Counts(), Tasks(), SystemClock()
    tasks.start(watch_lag(counts, clock), "lag")
    await asyncio.sleep(0)
    begun = clock.monotonic()
    while clock.monotonic() - begun < 2 * LAG_S:
        pass  # nobody else gets his turn
    await asyncio.sleep(0.05)
    await tasks.close()
    lag = counts.loop_lag
    assert sum(lag.counts[LAG_BUCKETS.index(0.1) + 1 :]) == 1
    assert lag.sum > 0.8 * LAG_S


async def test_lines_of_the_log_by_level() -> None:
    hub, _, _ = make_hub()
    before = await samples(hub)
    with open("/dev/null", "w") as nowhere:
        handler = StderrHandler(nowhere.fileno())
        log = logging.Logger("x")
        log.addHandler(handler)
        log_event(log, "task_failed", task="x")
        handler.flush()
        handler.close()
        handler._thread.join(5)
    TALLY.suppressed += 2
    TALLY.lost += 3
    after = await samples(hub)
    grown = {place: after[place] - value for place, value in before.items() if place[0].startswith("hubd_log_")}
    assert {place: n for place, n in grown.items() if n} == {
        ("hubd_log_lines_total", (("level", "error"),)): 1,
        ("hubd_log_suppressed_total", ()): 2,
        ("hubd_log_lost_total", ()): 3,
    }


# What asking costs


async def test_however_many_ask_there_is_one_walk_a_second_and_others_get_their_turn() -> None:
    hub, clock, _ = make_hub(Config(limits=Limits(per_user=0)))
    for _ in range(3 * SLICE):
        connect(hub, "ada")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    tasks = Tasks()
    tasks.start(others(), "others")
    metrics = Metrics(hub)
    assert of(parsed((await metrics.exposition())[0]), "hubd_connections") == 3 * SLICE
    assert turns >= 3
    connect(hub, "bob")
    assert of(parsed((await metrics.exposition())[0]), "hubd_connections") == 3 * SLICE
    clock.advance(SURVEY_S)
    assert of(parsed((await metrics.exposition())[0]), "hubd_connections") == 3 * SLICE + 1
    await tasks.close()


async def test_a_walk_changes_nothing() -> None:
    hub, _, _ = make_hub()
    connection = connect(hub, "ada")
    connection.fd = 3  # as if it had a socket
    connection.nothing_waits()
    connection.lone = b"frame"
    found = await survey(hub)
    assert found.queued_bytes == 5
    assert connection.lone == b"frame" and connection.listed == []
