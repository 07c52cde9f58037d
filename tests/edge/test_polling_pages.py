"""Polls that find more than goes into one answer, and clients who come back again and again."""

import asyncio
import json
from random import Random
from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.http_clients import PollClient, poller
from tests.edge.live_hub import LiveHub

MOST, MOST_BYTES = 1000, 1 << 20


async def pages(client: PollClient, cursor: str, **query: Any) -> list[list[dict[str, Any]]]:
    """What each answer brings until one brings nothing; all without waiting."""
    found = []
    while True:
        client.ask(cursor, wait=0, **query)
        status, headers = await client.read_head()
        data = await client.reader.readexactly(int(headers["content-length"]))
        body = json.loads(data)
        assert status == 200 and body["gap"] is None
        got = body["notifications"]
        assert len(got) <= MOST
        if len(got) > 1:
            assert len(data) <= MOST_BYTES + 200, "the notifications, and what is around them"
        cursor = body["cursor"]
        if not got:
            assert cursor == client.hub.hub.attendance.cursor()
            return found
        found.append(got)


async def published_by_batches(hub: LiveHub, tos: list[str], **fields: Any) -> None:
    for start in range(0, len(tos), 1000):
        some = enumerate(tos[start : start + 1000], start)
        batch = [{"to": to, "notification": {"type": "x", "n": n, **fields}} for n, to in some]
        answer = await hub.call("POST", "/api/notifications/batch", batch)
        assert all(item["status"] == 202 for item in answer.body)


async def test_five_thousand_in_pages(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 10_000})
    client = await poller(hub)
    cursor = hub.hub.attendance.cursor()
    await published_by_batches(hub, ["user:42", "notifications", "team:a", "team:others", "user:7"] * 1000)
    found = await pages(client, cursor, topics="team:a")
    assert [len(page) for page in found] == [1000, 1000, 1000]
    numbers = [one["n"] for page in found for one in page]
    assert numbers == [n for n in range(5000) if n % 5 < 3]


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000])
async def test_at_the_edge_of_a_page(start_hub: StartHub, count: int) -> None:
    hub = await start_hub(replay={"per_channel": 10_000})
    client = await poller(hub)
    cursor = hub.hub.attendance.cursor()
    await published_by_batches(hub, ["user:42"] * count)
    found = await pages(client, cursor)
    assert [len(page) for page in found] == [MOST] * (count // MOST) + [count % MOST] * (count % MOST > 0)
    assert [one["n"] for page in found for one in page] == list(range(count))


async def test_pages_are_cut_by_their_bytes(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 10_000})
    client = await poller(hub)
    cursor = hub.hub.attendance.cursor()
    for start in range(0, 300, 100):
        batch = [
            {"to": "user:42", "notification": {"type": "x", "n": n, "b": "y" * 20_000}}
            for n in range(start, start + 100)
        ]
        await hub.call("POST", "/api/notifications/batch", batch)
    found = await pages(client, cursor)
    assert [one["n"] for page in found for one in page] == list(range(300))
    assert all(45 <= len(page) <= 52 for page in found[:-1]), "a page is made full"


async def test_one_that_is_larger_than_a_page_comes_alone(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"message_bytes": 3 << 20, "queue_bytes": 16 << 20})
    client = await poller(hub)
    cursor = hub.hub.attendance.cursor()
    for n, size in enumerate((10, 2 << 20, 10, 10, 2 << 20)):
        await hub.publish("user:42", notification={"type": "x", "n": n, "b": "y" * size})
    found = await pages(client, cursor)
    assert [[one["n"] for one in page] for page in found] == [[0], [1], [2, 3], [4]]


async def test_a_poll_that_waits_is_brought_no_more_than_that(start_hub: StartHub) -> None:
    """What else was published in the same step comes with its next one."""
    hub = await start_hub(replay={"per_channel": 10_000})
    client = await poller(hub)
    cursor = hub.hub.attendance.cursor()
    await client.ask_and_wait(cursor)
    for n in range(1500):
        draft = hub.hub.prepare({"to": "user:42", "notification": {"type": "x", "n": n}})
        publishing = hub.hub.publish(draft, "backend")
        with pytest.raises(StopIteration):
            publishing.send(None)  # it waits for nothing: all of this is one step
    body = await client.got()
    assert [one["n"] for one in body["notifications"]] == list(range(1000))
    assert body["cursor"] == body["notifications"][-1]["cursor"]
    assert [one["n"] for one in (await client.poll(body["cursor"]))["notifications"]] == list(range(1000, 1500))


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_twice_and_nothing_missing_however_often_it_breaks(start_hub: StartHub, seed: int) -> None:
    """Publishing goes on while clients poll, hang up in the middle and come back on new connections."""
    random = Random(seed)
    hub = await start_hub(replay={"per_channel": 10_000})
    start = hub.hub.attendance.cursor()
    done = False

    async def publish() -> None:
        nonlocal done
        for n in range(150):
            await hub.publish(random.choice(["user:42", "notifications", "team:a", ["team:b", "user:42"]]), n=n)
            if random.random() < 0.3:
                await asyncio.sleep(random.random() * 0.004)
        done = True

    async def follow() -> list[int]:
        client, cursor, got = await poller(hub), start, list[int]()
        while True:
            was_done = done
            client.ask(cursor, topics="team:a,team:b", wait=0 if was_done else random.choice([0, 25]))
            if not was_done and random.random() < 0.3:
                await asyncio.sleep(random.random() * 0.003)
                random.choice([client.reset, client.hang_up])()
                client = await poller(hub)
                continue
            if was_done:
                body = await client.got()
            else:
                try:
                    async with asyncio.timeout(0.05):
                        body = await client.got()
                except TimeoutError:
                    client.reset()
                    client = await poller(hub)
                    continue
            assert body["gap"] is None
            got += [one["n"] for one in body["notifications"]]
            cursor = body["cursor"]
            if was_done and not body["notifications"]:
                return got

    _, *found = await asyncio.gather(publish(), *(follow() for _ in range(3)))
    assert found == [list(range(150))] * 3
