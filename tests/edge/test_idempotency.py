"""A publisher's own id: however often it is published, it goes out once."""

import asyncio
import json
from typing import Any

import msgpack
import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import Answer, Faults, LiveHub, eventually


def body(**more: Any) -> dict[str, Any]:
    return {
        "to": "notifications",
        "notification": {"type": "alert", "n": 1, "item": {"a": 1, "b": 2}},
        "id": "x",
        **more,
    }


async def post(hub: LiveHub, json: Any, **more: Any) -> Answer:
    return await hub.call("POST", "/api/notifications", json, **more)


async def test_a_hundred_at_once_are_one(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    answers = await asyncio.gather(*(post(hub, body()) for _ in range(100)))
    assert sorted(answer.status for answer in answers) == [200] * 99 + [202]
    assert sorted(answer.body["duplicate"] for answer in answers) == [False] + [True] * 99
    assert len({json.dumps(answer.body | {"duplicate": None}) for answer in answers}) == 1
    assert [one["id"] for one in await client.notifications()] == ["x"]


async def test_concurrent_ones_wait_for_the_first(hub: LiveHub) -> None:
    broker = hub.slow_broker()
    client, _ = await hub.welcomed()
    waiting = [asyncio.get_running_loop().create_task(post(hub, body())) for _ in range(10)]
    conflict = asyncio.get_running_loop().create_task(post(hub, body(priority="critical")))
    assert (await conflict).code == "id_conflict"  # known at once: the first one's body decides
    assert not any(task.done() for task in waiting)
    broker.go.set()
    answers = await asyncio.gather(*waiting)
    assert sorted(answer.status for answer in answers) == [200] * 9 + [202]
    assert broker.asked == 1
    assert len(await client.notifications()) == 1


async def test_one_that_failed_is_not_remembered(hub: LiveHub, faults: Faults) -> None:
    broker = hub.slow_broker(failures=1)
    client, _ = await hub.welcomed()
    broker.go.set()
    failed = await post(hub, body())
    assert (failed.status, failed.code) == (500, "internal")
    assert len(faults.found) == 1 and "the broker is down" in faults.found.pop()
    assert [(await post(hub, body())).status for _ in range(2)] == [202, 200]
    assert [one["id"] for one in await client.notifications()] == ["x"]


async def test_after_a_failure_those_who_wait_may_try_again(hub: LiveHub, faults: Faults) -> None:
    broker = hub.slow_broker(failures=1)
    client, _ = await hub.welcomed()
    waiting = [asyncio.get_running_loop().create_task(post(hub, body())) for _ in range(5)]
    await eventually(lambda: broker.asked)
    broker.go.set()
    statuses = {answer.status for answer in await asyncio.gather(*waiting)}
    assert 500 in statuses and statuses <= {500, 200, 202}
    faults.found.clear()
    assert (await post(hub, body())).status in (200, 202)
    assert [one["id"] for one in await client.notifications()] == ["x"]


async def test_a_refused_one_is_not_remembered(hub: LiveHub) -> None:
    assert (await post(hub, body(ttl=-1))).status == 422
    assert (await post(hub, body(to="team:a"), key="news")).status == 403
    assert (await post(hub, body())).status == 202
    hub.hub.stopping = True
    assert (await post(hub, body(id="y"))).status == 503
    hub.hub.stopping = False
    assert (await post(hub, body(id="y"))).status == 202


SAME = [
    (
        "spaces and order",
        {"data": b'{ "id":"x","notification":{"item":{"b":2, "a":1},"n":1,"type":"alert"},"to":"notifications"}'},
    ),
    ("escapes", {"data": json.dumps(body()).replace("alert", "\\u0061lert").encode()}),
    ("msgpack", {"data": msgpack.packb(body()), "headers": {"Content-Type": "application/msgpack"}}),
]


@pytest.mark.parametrize("again", [pytest.param(more, id=name) for name, more in SAME])
async def test_what_is_equal_after_parsing_is_the_same(hub: LiveHub, again: dict[str, Any]) -> None:
    client, _ = await hub.welcomed()
    first = await post(hub, body())
    hub.clock.advance(100)
    second = await post(hub, None, **again)
    assert (second.status, second.body) == (200, first.body | {"duplicate": True})
    assert len(await client.notifications()) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"to": "team:a"},
        {"to": ["notifications", "team:a"]},
        {"notification": {"type": "alert", "n": 1, "item": {"a": 1, "b": 3}}},
        {"notification": {"type": "alert", "n": "1", "item": {"a": 1, "b": 2}}},
        {"notification": {"type": "alert", "n": True, "item": {"a": 1, "b": 2}}},
        {"notification": {"type": "other", "n": 1, "item": {"a": 1, "b": 2}}},
        {"priority": "critical"},
        {"persistence": "ephemeral"},
        {"ttl": 5},
        {"collapse_key": "c"},
        {"group": "g"},
    ],
)
async def test_another_body_conflicts(hub: LiveHub, changed: dict[str, Any]) -> None:
    first = await post(hub, body())
    client, _ = await hub.welcomed("42", topics="team:a")
    answer = await post(hub, body(**changed))
    assert (answer.status, answer.code) == (409, "id_conflict")
    assert await client.notifications() == []
    assert (await post(hub, body())).body == first.body | {"duplicate": True}


async def test_ids_are_each_keys_and_each_users_own(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    assert (await post(hub, body(), key="backend")).status == 202
    assert (await post(hub, body(priority="critical"), key="other")).status == 202
    assert (await client.ask("publish", **body(ttl=9)))["ok"] is True
    assert (await post(hub, body(), key="backend")).status == 200
    assert (await post(hub, body(priority="critical"), key="other")).status == 200
    assert (await client.refused("publish", **body(ttl=10)))["code"] == "id_conflict"
    other_user, _ = await hub.welcomed("7")
    assert (await other_user.ask("publish", **body(ttl=10)))["ok"] is True
    assert len(await client.notifications()) == 4


async def test_they_are_remembered_for_the_window(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"id_window_s": 60})
    client, _ = await hub.welcomed()
    assert (await post(hub, body())).status == 202
    hub.clock.advance(59)
    assert (await post(hub, body())).status == 200
    hub.clock.advance(2)
    assert (await post(hub, body(ttl=5))).status == 202
    assert len(await client.notifications()) == 2


async def test_they_are_remembered_up_to_a_number(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"id_entries": 3})
    for id in ("a", "b", "c"):
        assert (await post(hub, body(id=id))).status == 202
    assert (await post(hub, body(id="a"))).status == 200
    assert (await post(hub, body(id="d"))).status == 202
    assert [(await post(hub, body(id=id))).status for id in ("d", "c", "b")] == [200, 200, 200]
    assert (await post(hub, body(id="a"))).status == 202
    assert len(hub.hub._answers) == 3


async def test_in_a_batch_and_in_single_calls_it_is_the_same_id(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    items = (await hub.call("POST", "/api/notifications/batch", [body(), body(), body(ttl=1)])).body
    assert [item["status"] for item in items] == [202, 200, 409]
    assert (await post(hub, body())).status == 200
    assert len(await client.notifications()) == 1
