"""POST /api/notifications/batch: each has its own answer, in order, and none holds up or spoils another."""

import asyncio
import json
from typing import Any

import msgpack
import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import Answer, LiveHub, eventually
from tests.edge.ws_client import reset


def one(n: int, to: Any = "notifications", **more: Any) -> dict[str, Any]:
    return {"to": to, "notification": {"type": "alert", "n": n}, **more}


async def batch(hub: LiveHub, bodies: Any, **more: Any) -> Answer:
    return await hub.call("POST", "/api/notifications/batch", bodies, **more)


async def test_each_is_answered_and_delivered_in_list_order(hub: LiveHub) -> None:
    client, _ = await hub.welcomed("42", topics="team:a")
    targets = ["notifications", "user:42", "team:a", ["team:a", "user:42"]]
    answer = await batch(hub, [one(n, targets[n % 4]) for n in range(100)])
    assert answer.status == 200
    assert all(set(item) == {"status", "id", "cursor", "duplicate", "live"} for item in answer.body)
    assert all((item["status"], item["duplicate"], item["live"]) == (202, False, 1) for item in answer.body)
    got = await client.notifications()
    assert [notification["n"] for notification in got] == list(range(100))
    assert [notification["id"] for notification in got] == [item["id"] for item in answer.body]
    assert [notification["cursor"] for notification in got] == [item["cursor"] for item in answer.body]


async def test_a_thousand_are_the_most(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 2000})
    client, _ = await hub.welcomed()
    answer = await batch(hub, [one(n) for n in range(1000)])
    assert [item["status"] for item in answer.body] == [202] * 1000
    assert [notification["n"] for notification in await client.notifications()] == list(range(1000))
    assert (await batch(hub, [one(n) for n in range(1001)])).paths == [""]
    assert await client.notifications() == []


async def test_an_empty_one_has_nothing_to_answer(hub: LiveHub) -> None:
    answer = await batch(hub, [])
    assert (answer.status, answer.body) == (200, [])


async def test_a_bad_one_among_good_ones_gets_its_own_problem(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    bodies = [
        one(0),
        {"to": "not a name", "notification": {"type": 1}, "ttl": -1},
        one(2),
        "nonsense",
        one(4, id="x"),
        one(5, id="x"),
        one(4, id="x"),
        {"to": "notifications", "notification": {"type": "alert", "body": "x" * 40_000}},
        one(8),
    ]
    items = (await batch(hub, bodies)).body
    assert [item["status"] for item in items] == [202, 422, 202, 422, 202, 409, 200, 413, 202]
    codes = [item.get("code") for item in items]
    assert codes == [None, "invalid", None, "invalid", None, "id_conflict", None, "too_large", None]
    assert sorted(error["path"] for error in items[1]["errors"]) == ["notification.type", "to", "ttl"]
    assert [error["path"] for error in items[3]["errors"]] == [""]
    assert all({"type", "title", "detail"} <= set(item) for item in items if "code" in item)
    assert items[6] == items[4] | {"status": 200, "duplicate": True}
    assert [notification["n"] for notification in await client.notifications()] == [0, 2, 4, 8]


async def test_each_is_checked_against_the_keys_channels(hub: LiveHub) -> None:
    items = (await batch(hub, [one(0, "news:a"), one(1, "team:a"), one(2, ["news:a", "team:a"])], key="news")).body
    assert [(item["status"], item.get("code")) for item in items] == [
        (202, None),
        (403, "forbidden"),
        (403, "forbidden"),
    ]


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"data": b"["}, 400, "invalid_body"),
        ({"data": b""}, 400, "invalid_body"),
        ({"data": b"{}"}, 422, "invalid"),
        ({"data": b"null"}, 422, "invalid"),
        ({"data": b'[{"to":"a","to":"b"}]'}, 422, "invalid"),
        ({"data": b"[NaN]"}, 422, "invalid"),
        ({"data": b"[]", "key": None}, 401, "unauthorized"),
        ({"data": b"[]", "key": "admin"}, 403, "forbidden"),
    ],
)
async def test_refused_as_a_whole(hub: LiveHub, more: dict[str, Any], status: int, code: str) -> None:
    answer = await batch(hub, None, **more)
    assert (answer.status, answer.code) == (status, code)


async def test_msgpack(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    data = msgpack.packb([one(0), one(1)])
    answer = await batch(hub, None, data=data, headers={"Content-Type": "application/msgpack"})
    assert [item["status"] for item in answer.body] == [202, 202]
    assert [notification["n"] for notification in await client.notifications()] == [0, 1]


async def test_too_fast_a_publisher_is_told_from_which_one_on(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"publish_per_s": 5})
    items = (await batch(hub, [one(n) for n in range(8)])).body
    assert [item["status"] for item in items] == [202] * 5 + [429] * 3
    assert {item["code"] for item in items[5:]} == {"rate_limited"}
    assert all(item["retry_after_s"] > 0 for item in items[5:])


async def test_a_publisher_who_hangs_up_stops_nothing(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    body = json.dumps([one(n) for n in range(1000)]).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    key = hub.bearer("backend").encode()
    head = b"POST /api/notifications/batch HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % (key, len(body)) + body)
    while hub.hub.attendance.sequence == 0:
        await asyncio.sleep(0)
    (handler,) = hub.server().connections
    reset(writer)  # by a FIN he would only have said his last word
    while handler.transport is not None:
        await asyncio.sleep(0)
    assert hub.hub.attendance.sequence < 1000, "the hub heard of it in the middle"
    await eventually(lambda: hub.hub.attendance.sequence == 1000)
    assert [notification["n"] for notification in await client.notifications()] == list(range(1000))


async def test_others_are_served_while_a_batch_is_published(hub: LiveHub) -> None:
    """It yields now and then: a single publication gets in between, and order stays the one of the cursors."""
    client, _ = await hub.welcomed()
    many = asyncio.get_running_loop().create_task(batch(hub, [one(n) for n in range(400)]))
    await eventually(lambda: hub.hub.attendance.sequence > 0)
    single = await hub.publish(n=-1)
    place = int(single["cursor"].rpartition("-")[2])
    assert 0 < place < 401
    assert [item["status"] for item in (await many).body] == [202] * 400
    got = await client.notifications()
    assert got[place - 1]["n"] == -1
    assert [notification["n"] for notification in got if notification["n"] >= 0] == list(range(400))


async def test_it_is_channels_that_cost_so_the_loop_gets_its_turn_by_them(hub: LiveHub) -> None:
    names = [f"t:{n}" for n in range(1000)]
    bodies = [one(n, names) for n in range(10)]
    bodies.insert(5, one(0, ["not a name"] * 1000))
    many = asyncio.get_running_loop().create_task(batch(hub, bodies))
    seen: dict[int, None] = {}
    while not many.done():
        seen[hub.hub.attendance.sequence] = None
        await asyncio.sleep(0)
    assert [item["status"] for item in (await many).body] == [202] * 5 + [422] + [202] * 5
    assert list(seen) == list(range(11))
