"""`deliver_at` over HTTP: what is answered, field by field."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hubd.core.stored import Schedule, Unschedule
from hubd.testing import FakeClock
from tests.edge.live_hub import Faults, LiveHub
from tests.edge.stored_hub import StoredHub, stored_hub

PATH = "/api/notifications"
YEAR_MS = 366 * 86_400_000


@pytest.fixture
async def stored(tmp_path: Path, faults: Faults) -> AsyncIterator[StoredHub]:
    async with stored_hub(tmp_path, FakeClock()) as live:
        yield live


def at(live: LiveHub, seconds: float) -> int:
    return int((live.clock.now() + seconds) * 1000)


async def test_it_is_answered_at_once_and_goes_out_later(stored: StoredHub) -> None:
    client, welcome = await stored.welcomed()
    answer = await stored.try_publish("user:42", id="later", deliver_at=at(stored, 20))
    assert answer.status == 202
    assert answer.body == {"id": "later", "cursor": welcome["cursor"], "live": 0, "duplicate": False}
    again = await stored.try_publish("user:42", id="later", deliver_at=at(stored, 20))
    assert again.status == 200 and again.body == answer.body | {"duplicate": True}
    other = await stored.try_publish("user:42", id="later", deliver_at=at(stored, 21))
    assert (other.status, other.code) == (409, "id_conflict")
    now = await stored.try_publish("user:42", id="later")
    assert (now.status, now.code) == (409, "id_conflict")
    await stored.later(20)
    frame = await client.next()
    assert frame["id"] == "later" and frame["sent_at"] == at(stored, 0)
    late = await stored.try_publish("user:42", id="later", deliver_at=at(stored, 0))
    assert late.status == 200 and late.body == again.body


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("fields", [{}, {"priority": "critical"}, {"persistence": "persistent"}])
async def test_what_has_to_be_stored_waits_for_that(stored: StoredHub, fields: dict[str, Any], packed: bool) -> None:
    told = len(stored.store.told)
    answer = await stored.try_publish("user:42", packed=packed, deliver_at=at(stored, 60), **fields)
    assert answer.status == 202 and isinstance(stored.store.told[told], Schedule)
    stored.store.fails = lambda write: True
    refused = await stored.try_publish("user:42", packed=packed, deliver_at=at(stored, 60), **fields)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "unavailable", "2")
    if fields:
        refused = await stored.try_publish("user:42", packed=packed, **fields)
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "unavailable", "2")


async def test_it_is_explained_before_it_goes_out(stored: StoredHub) -> None:
    await stored.try_publish("user:42", id="later", deliver_at=at(stored, 20))
    told = await stored.call("GET", f"{PATH}/later/explain?user=42")
    assert told.status == 200
    assert (told.body["milestone"], told.body["deliver_at"]) == ("held(scheduled)", at(stored, 20))
    assert [step["step"] for step in told.body["steps"]] == ["scheduled"]
    assert (await stored.call("GET", f"{PATH}/later/explain")).body["accepted"] == 0
    await stored.later(20)
    told = await stored.call("GET", f"{PATH}/later/explain?user=42")
    assert told.body["steps"][0]["step"] == "published"


async def test_in_a_batch(stored: StoredHub) -> None:
    body = {"to": "user:42", "notification": {"type": "alert"}}
    answer = await stored.call("POST", f"{PATH}/batch", [body | {"deliver_at": at(stored, 60)}, body])
    assert answer.status == 200
    assert [(one["status"], one["live"]) for one in answer.body] == [(202, 0), (202, 0)]
    assert len(stored.hub.scheduling) == 1


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"deliver_at": "soon"}, ["deliver_at"]),
        ({"deliver_at": 1.5}, ["deliver_at"]),
        ({"deliver_at": True}, ["deliver_at"]),
        ({"deliver_at": 1_800_000_000_001 + YEAR_MS}, ["deliver_at"]),
        ({"deliver_at": 1_800_000_060_000, "persistence": "ephemeral"}, ["deliver_at"]),
        ({"deliver_at": "soon", "ttl": -1}, ["ttl", "deliver_at"]),
    ],
)
async def test_what_is_wrong_is_named(stored: StoredHub, fields: dict[str, Any], paths: list[str]) -> None:
    answer = await stored.try_publish("user:42", **fields)
    assert answer.paths == paths
    assert len(stored.hub.scheduling) == 0


async def test_a_hub_without_a_store_takes_none(hub: LiveHub) -> None:
    answer = await hub.try_publish("user:42", deliver_at=at(hub, 60))
    assert answer.paths == ["deliver_at"]
    assert answer.body["errors"][0]["message"] == "scheduling needs a store, which this hub does not have"


async def test_rights_are_checked_when_it_is_asked_for(stored: StoredHub) -> None:
    answer = await stored.try_publish("user:42", key="news", deliver_at=at(stored, 60))
    assert (answer.status, answer.code) == (403, "forbidden")
    answer = await stored.try_publish("user:42", key="admin", deliver_at=at(stored, 60))
    assert (answer.status, answer.code) == (403, "forbidden")
    assert len(stored.hub.scheduling) == 0


async def test_too_many(stored: StoredHub) -> None:
    stored.hub.scheduling.most = 1
    await stored.publish("user:42", deliver_at=at(stored, 60))
    answer = await stored.try_publish("user:42", deliver_at=at(stored, 60))
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (429, "rate_limited", "10")


async def test_reading_one_that_waits(stored: StoredHub) -> None:
    due = at(stored, 60)
    payload = {"type": "alert", "title": "é", "n": [1, 2.5, None]}
    await stored.publish(["user:42", "news:local"], id="x", notification=payload, priority="critical", deliver_at=due)
    fields = {"id": "x", **payload, "priority": "critical", "deliver_at": due}
    answer = await stored.call("GET", f"{PATH}/x")
    assert answer.status == 200 and answer.body == fields | {"channel": "user:42:notifications"}
    answer = await stored.call("GET", f"{PATH}/x", key="news")
    assert answer.status == 200 and answer.body == fields | {"channel": "news:local"}
    answer = await stored.call("GET", f"{PATH}/x", token=stored.token("42"))
    assert (answer.status, answer.code) == (404, "not_found")
    await stored.later(60)
    answer = await stored.call("GET", f"{PATH}/x", token=stored.token("42"))
    assert answer.status == 200 and "deliver_at" not in answer.body and answer.body["sent_at"] == due


async def test_cancelling(stored: StoredHub, tmp_path: Path) -> None:
    client, _ = await stored.welcomed()
    await stored.publish(["user:42", "news:local"], id="x", deliver_at=at(stored, 20))
    refused = await stored.call("DELETE", f"{PATH}/x", key="news")
    assert (refused.status, refused.code) == (403, "forbidden")
    refused = await stored.call("DELETE", f"{PATH}/x", key="admin")
    assert (refused.status, refused.code) == (403, "forbidden")
    stored.store.fails = lambda write: isinstance(write, Unschedule)
    refused = await stored.call("DELETE", f"{PATH}/x")
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "unavailable", "2")
    assert (await stored.call("GET", f"{PATH}/x")).status == 200
    stored.store.fails = lambda write: False
    answer = await stored.call("DELETE", f"{PATH}/x", key="other")
    assert (answer.status, answer.body) == (200, {"id": "x", "retracted": True})
    assert (await stored.store.load()).scheduled == []
    for method in ("GET", "DELETE"):
        assert (await stored.call(method, f"{PATH}/x")).code == "not_found"
    await stored.later(21)
    await stored.publish("user:42", id="end")
    assert (await client.next())["id"] == "end"


async def test_it_goes_out_behind_a_restart(tmp_path: Path, faults: Faults) -> None:
    clock = FakeClock()
    async with stored_hub(tmp_path, clock, seed=1) as one:
        answer = await one.publish("user:42", id="x", deliver_at=at(one, 60), ttl=1000)
    clock.advance(120)
    async with stored_hub(tmp_path, clock, seed=2) as two:
        client, _ = await two.welcomed()
        again = await two.try_publish("user:42", id="x", deliver_at=at(two, -60), ttl=1000)
        assert again.status == 200 and again.body == answer | {"duplicate": True}
        await two.later(1)
        assert (await client.next())["id"] == "x"
        again = await two.try_publish("user:42", id="x", deliver_at=at(two, -61), ttl=1000)
        assert again.status == 200 and again.body == answer | {"duplicate": True}
