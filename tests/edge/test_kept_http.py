"""Reading and taking back what no ring has any more."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hubd.core.stored import Fact, Lane, Note
from hubd.core.users import UserSet
from hubd.testing import FakeClock
from tests.edge.live_hub import Faults
from tests.edge.stored_hub import StoredHub, stored_hub

PATH = "/api/notifications"
PERSISTENT: dict[str, Any] = {"persistence": "persistent", "ttl": 10_000}


@pytest.fixture
async def stored(tmp_path: Path, faults: Faults) -> AsyncIterator[StoredHub]:
    async with stored_hub(tmp_path, FakeClock()) as live:
        live.pusher.answers = False
        yield live


async def status(live: StoredHub, method: str, id: str, **who: Any) -> int:
    answer = await live.call(method, f"{PATH}/{id}", **who)
    assert answer.status == 200 or answer.code
    return answer.status


async def acked(live: StoredHub, user: str, id: str) -> None:
    answer = await live.call("POST", "/api/acks", {"ids": [id]}, token=live.token(user))
    assert answer.status in (200, 204), answer


# --- What is open, in memory


async def test_one_that_is_open_is_read_when_no_ring_has_it(stored: StoredHub) -> None:
    await stored.call("PUT", "/api/users/ada/subscriptions/team:red")
    await stored.publish(["team:red", "user:bob"], id="x", priority="critical", ttl=10_000)
    before = await stored.call("GET", f"{PATH}/x", token=stored.token("ada"))
    stored.let_pass(301)
    assert stored.hub.rings.find("x", stored.clock.monotonic()) is None
    after = await stored.call("GET", f"{PATH}/x", token=stored.token("ada"))
    assert after.status == 200 and after.body == before.body and after.body["channel"] == "team:red"
    to_bob = await stored.call("GET", f"{PATH}/x", token=stored.token("bob"))
    assert to_bob.status == 200 and to_bob.body == before.body | {"channel": "user:bob:notifications"}
    assert await status(stored, "GET", "x", token=stored.token("eve")) == 404
    assert await status(stored, "GET", "x", key="news") == 404
    assert await status(stored, "GET", "x") == 200
    stored.let_pass(10_000)
    assert await status(stored, "GET", "x") == 404


async def test_taking_back_one_that_is_open(stored: StoredHub) -> None:
    client, _ = await stored.welcomed("bob")
    await stored.publish(["user:ada", "user:bob"], id="x", priority="critical", ttl=10_000)
    assert (await client.next())["id"] == "x"
    assert {user for _, _, user in stored.pusher.pushed} == {"ada", "bob"}
    stored.let_pass(301)
    assert await status(stored, "DELETE", "x", key="news") == 404
    answer = await stored.call("DELETE", f"{PATH}/x")
    assert (answer.status, answer.body) == (200, {"id": "x", "retracted": True})
    assert {user for _, user in stored.pusher.cancelled} == {"ada", "bob"}
    (kept,) = await stored.store.find("x")
    assert not kept.is_open and [fact.kind for fact in kept.facts].count("retracted") >= 1
    assert len(stored.hub.delivering.delivery.open) == 0
    frame = await client.next()
    while frame.get("hub") == "ping":
        frame = await client.next()
    assert frame == {"hub": "retract", "ids": ["x"]}
    for method in ("GET", "DELETE"):
        assert await status(stored, method, "x") == 404
    assert await status(stored, "GET", "x", token=stored.token("ada")) == 404


async def test_an_important_one_that_waits_for_its_ack_goes_from_the_disk(stored: StoredHub) -> None:
    await stored.welcomed("ada")
    await stored.publish("user:ada", id="x")
    assert len(await stored.rows("x")) == 1
    assert await status(stored, "DELETE", "x") == 200
    assert await stored.store._store.find("x") == []
    stored.let_pass(60)
    assert stored.pusher.pushed == []


# --- What only the store has


async def test_one_that_only_the_store_has(stored: StoredHub) -> None:
    await stored.call("PUT", "/api/users/ada/subscriptions/team:red")
    ada, _ = await stored.welcomed("ada")
    await stored.publish(["team:red", "user:bob"], id="x", priority="informational", **PERSISTENT)
    first = await ada.next()
    stored.forget()
    assert (await stored.rows("x"))[0].is_open is False
    found = await stored.call("GET", f"{PATH}/x", token=stored.token("ada"))
    assert found.status == 200
    assert found.body == {name: value for name, value in first.items() if name != "cursor"}
    found = await stored.call("GET", f"{PATH}/x", token=stored.token("bob"))
    assert found.status == 200 and found.body["channel"] == "user:bob:notifications"
    assert await status(stored, "GET", "x", token=stored.token("eve")) == 404
    found = await stored.call("GET", f"{PATH}/x")
    assert found.status == 200 and found.body["channel"] == "team:red"
    assert await status(stored, "GET", "x", key="news") == 404
    stored.let_pass(10_000)
    assert await status(stored, "GET", "x") == 404


async def test_taking_back_one_that_only_the_store_has(stored: StoredHub, tmp_path: Path) -> None:
    ada, _ = await stored.welcomed("ada")
    await stored.publish("user:ada", id="x", priority="informational", **PERSISTENT)
    await ada.next()
    stored.forget()
    assert await status(stored, "DELETE", "x", key="news") == 404
    assert await status(stored, "DELETE", "x") == 200
    (kept,) = await stored.store._store.find("x")
    assert [fact.kind for fact in kept.facts] == ["retracted"] and not kept.is_open
    frame = await ada.next()
    while frame.get("hub") == "ping":
        frame = await ada.next()
    assert frame == {"hub": "retract", "ids": ["x"]}
    for method in ("GET", "DELETE"):
        assert await status(stored, method, "x") == 404
    assert await status(stored, "GET", "x", token=stored.token("ada")) == 404


async def test_taken_back_is_taken_back_behind_a_restart(tmp_path: Path, faults: Faults) -> None:
    """Also where everybody had acked it, and it is in a ring of its own time."""
    clock = FakeClock()
    async with stored_hub(tmp_path, clock, seed=1) as one:
        ada, _ = await one.welcomed("ada")
        for id in ("x", "y"):
            await one.publish("user:ada", id=id, **PERSISTENT)
            assert (await ada.next())["id"] == id
        for id in ("x", "y"):
            await acked(one, "ada", id)
        assert await status(one, "DELETE", "x") == 200
        ada.hang_up()
    async with stored_hub(tmp_path, clock, seed=2) as two:
        assert await status(two, "GET", "x", token=two.token("ada")) == 404
        assert await status(two, "GET", "x") == 404
        assert await status(two, "GET", "y") == 200
        found = await two.call("GET", f"{PATH}/y", token=two.token("ada"))
        assert found.status == 200 and found.body["channel"] == "user:ada:notifications"


async def test_an_ack_behind_a_restart_is_stored(tmp_path: Path, faults: Faults) -> None:
    """Of one that nobody waited for, which the new hub has no ring with, nor anything else in memory."""
    clock = FakeClock()
    async with stored_hub(tmp_path, clock, seed=1) as one:
        ada, _ = await one.welcomed("ada")
        await one.publish("user:ada", id="x", priority="informational", **PERSISTENT)
        assert (await ada.next())["id"] == "x"
        ada.hang_up()
    async with stored_hub(tmp_path, clock, seed=2) as two:
        (kept,) = await two.rows("x")
        assert not kept.is_open and not any(fact.kind == "acked" for fact in kept.facts)
        assert two.hub.rings.find("x", clock.monotonic()) is None and not two.hub.delivering.ledger.find_all("x")
        two.store.trouble = "the disk is gone"
        answer = await two.call("POST", "/api/acks", {"ids": ["x"]}, token=two.token("ada"))
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "2")
        two.store.trouble = ""
        for user in ("eve", "ada", "ada"):
            await acked(two, user, "x")
        (kept,) = await two.store._store.find("x")
        acks = [fact for fact in kept.facts if fact.kind == "acked"]
        assert [list(fact.users) for fact in acks] == [[two.hub.numbers.find("ada")]]


async def test_it_is_on_the_disk_before_the_answer(stored: StoredHub) -> None:
    ada, _ = await stored.welcomed("ada")
    await stored.publish("user:ada", id="x", **PERSISTENT)
    await ada.next()
    stored.store.fails = lambda write: isinstance(write, Note) and write.fact.kind == "retracted"
    answer = await stored.call("DELETE", f"{PATH}/x")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "2")
    assert "taken back" in answer.body["detail"]
    frame = await ada.next()
    assert frame == {"hub": "retract", "ids": ["x"]}
    assert await status(stored, "GET", "x") == 404


async def test_a_store_that_cannot_be_asked(stored: StoredHub) -> None:
    await stored.publish("user:ada", id="x", priority="informational", **PERSISTENT)
    stored.store.trouble = "the disk is gone"
    assert await status(stored, "GET", "x") == 200  # a ring has it
    stored.forget()
    for who in ({}, {"token": stored.token("ada")}):
        stored.hub.numbers.hold("ada")
        answer = await stored.call("GET", f"{PATH}/x", **who)
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "2")
    answer = await stored.call("DELETE", f"{PATH}/x")
    assert (answer.status, answer.code) == (503, "unavailable")
    stored.store.trouble = ""
    assert await status(stored, "DELETE", "x") == 200


@pytest.mark.parametrize(("kind", "is_his"), [("held", False), ("dropped", False), ("acked", True), ("pushed", True)])
async def test_what_was_kept_from_a_user_is_not_his(stored: StoredHub, kind: str, is_his: bool) -> None:
    await stored.publish(["user:ada", "user:bob"], id="x", priority="informational", **PERSISTENT)
    stored.forget()
    (kept,) = await stored.rows("x")
    ada = UserSet([stored.hub.numbers.find("ada") or 0])
    await stored.store.write(Note(Fact(kept.row.key, kind, ada, 1, "quiet")), Lane.BOOKKEEPING)
    assert await status(stored, "GET", "x", token=stored.token("ada")) == (200 if is_his else 404)
    assert await status(stored, "GET", "x", token=stored.token("bob")) == 200
