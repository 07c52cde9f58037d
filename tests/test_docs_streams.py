"""The examples of event streams, polls and tickets in docs/protocol.md, against a real hub."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubd.edge.polling import LONGEST_S, MOST, MOST_BYTES, WAIT_S
from hubd.edge.sse import PING_S, RETRY_LEAST_MS, RETRY_MOST_MS
from hubd.edge.tickets import PER_USER, UNUSED_S, WAITING
from tests.docs import blocks, section
from tests.edge.http_clients import EventStream, HttpClient, open_stream, poller
from tests.edge.live_hub import LiveHub, config_of, no_faults
from tests.test_docs_examples import TOPIC, difference

SSE, POLL, TICKETS = section("Server-sent events"), section("Long-poll"), section("Tickets")


@pytest.fixture
async def hub() -> AsyncIterator[LiveHub]:
    for _ in no_faults():
        live = await LiveHub(config_of()).start()
        yield live
        await live.stop()


async def asked(client: HttpClient, hub: LiveHub, example: str, cursor: str) -> None:
    """Send a request as the page shows it, with a real cursor and a real token."""
    first, *lines = re.sub(r"[a-z0-9]{10}-1041", cursor, example).splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    headers["Authorization"] = f"Bearer {hub.token('42', topics=['**'])}"
    method, target = first.split()
    client.request(target, headers, method)


def shape(lines: list[bytes]) -> list[bytes]:
    """The names of a block's lines, and the values that are the same each time."""
    return [line if line == b"event: hub" else line.partition(b":")[0] for line in lines]


async def test_a_stream(hub: LiveHub) -> None:
    request, example = blocks("", SSE)
    cursor = (await hub.publish("nobody:here"))["cursor"]
    client = await EventStream.open(hub)
    await asked(client, hub, request, cursor)
    await client.begin()
    shown = [block.encode().splitlines() for block in example.strip().split("\n\n")]
    reader = EventStream(client.reader, client.writer)
    real = [await client.block(), await client.block()]
    await hub.publish(TOPIC, notification={"type": "badge", "count": 3})
    real.append(await client.block())
    hub.let_pass(PING_S)
    real.append(await client.block())
    for expected, found in zip(shown, real, strict=True):
        assert found is not None and shape(expected) == shape(found)
        one, other = reader.dispatch(expected), client.dispatch(found)
        if one is not None and other is not None:
            assert difference(one.data, other.data) == ""
            assert one.kind == other.kind


async def test_a_poll(hub: LiveHub) -> None:
    (request,) = blocks("", POLL)
    cursor = (await hub.publish("nobody:here"))["cursor"]
    await hub.publish(TOPIC, notification={"type": "badge", "count": 3})
    client = await poller(hub)
    await asked(client, hub, request, cursor)
    (example,) = blocks("json", POLL)
    assert difference(json.loads(example), await client.got()) == ""


def numbers_in(text: str) -> set[float]:
    return {float(found.replace(",", "")) for found in re.findall(r"\d+(?:,\d{3})*", text)}


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        (SSE, [PING_S, RETRY_LEAST_MS / 1000, RETRY_MOST_MS / 1000, PING_S + 10]),
        (POLL, [WAIT_S, LONGEST_S, MOST, MOST_BYTES]),
        (TICKETS, [UNUSED_S, PER_USER, WAITING]),
    ],
    ids=["sse", "poll", "tickets"],
)
def test_the_figures(text: str, figures: list[Any]) -> None:
    assert {float(figure) for figure in figures} <= numbers_in(text)


async def test_control_frames_over_sse_are_those_that_the_page_names(hub: LiveHub) -> None:
    named = set(re.findall(r"`(\w+)`", SSE.partition("A **control frame** (")[2].partition(")")[0]))
    cursor = (await hub.publish("user:42", id="n1"))["cursor"]
    client = await open_stream(hub, cursor="zzzzzzzzzz" + cursor[10:], claims={"exp": hub.clock.now() + 1000})
    other = await hub.opened("hubd.v1.json")
    await other.ask("ack", id="n1")
    await hub.call("DELETE", "/api/notifications/n1")
    hub.let_pass(950)
    await hub.call("POST", "/api/users/42/revoke")
    heard = {event.data["hub"] for event in await client.ended() if event.kind == "hub"}
    assert heard == named
