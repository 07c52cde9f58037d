"""Finding a notification wherever it is; the calls of the API are in `edge/test_kept_http.py`."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.core.milestones import dropped
from hubd.core.stored import Close, Fact, Lane, Note
from hubd.core.users import UserSet
from hubd.looking_up import LookUp
from hubd.testing import FakeClock, make_hub
from tests.scheduling_world import Life, life

PERSISTENT: dict[str, Any] = {"priority": "informational", "persistence": "persistent", "ttl": 10_000}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def everything(name: str) -> bool:
    return True


async def let_go(one: Life) -> None:
    """No ring has anything any more, and nothing is known of what isn't open."""
    await one.let_pass(301)
    ledger = one.hub.delivering.ledger
    for record in list(ledger._by_age.values()):
        if not record.is_open:
            ledger.drop(record)


async def test_without_a_store_there_are_only_the_rings() -> None:
    hub, _, _ = make_hub()
    await hub.publish(hub.prepare({"to": "user:ada", "notification": {"type": "a"}, "id": "x"}), "key:k")
    find = LookUp(hub)
    found = await find.for_server("x", everything)
    assert found is not None and found.id == "x"
    assert await find.for_user("x", "ada") == (found, "user:ada:notifications")
    assert await find.for_user("x", "nobody") is None
    assert await find.for_server("x", lambda name: False) is None
    await find.retract(found)
    assert await find.for_server("x", everything) is None


async def test_somebody_who_joined_just_before_it_was_published_is_reached(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        one.connect("bob", "team:red")
        await one.publish(["user:ada", "team:red"], id="x", **PERSISTENT)
        await let_go(one)
        (kept,) = await one.rows("x")
        number = one.hub.numbers.hold("eve")
        await one.store.write(Note(Fact(kept.row.key, "joined", UserSet([number]), 1)), Lane.BOOKKEEPING)
        find = LookUp(one.hub)
        for user, channel in (("eve", "team:red"), ("bob", "team:red"), ("ada", "user:ada:notifications")):
            found = await find.for_user("x", user)
            assert found is not None and found[1] == channel


async def test_what_became_of_it_is_not_read_where_its_record_is_known(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        await one.publish(["user:ada", "user:bob"], id="x", **PERSISTENT)
        await one.let_pass(301)  # no ring has it any more
        (record,) = one.hub.delivering.ledger.find_all("x")
        assert not record.is_open
        bob = one.hub.numbers.find("bob")
        assert bob is not None
        record.milestones.move_one(bob, dropped("muted"))  # which the store doesn't know of

        async def find(id: str) -> Any:
            raise AssertionError("there may be very many facts")

        whole, one.store.find = one.store.find, find  # type: ignore[method-assign]
        look = LookUp(one.hub)
        found = await look.for_user("x", "ada")
        assert found is not None and found[1] == "user:ada:notifications" and found[0].record is None
        assert await look.for_user("x", "bob") is None
        assert await look.for_server("x", everything) is not None
        await look.retract(found[0])
        assert await look.for_server("x", everything) is None
        one.hub.delivering.ledger.drop(record)
        one.store.find = whole  # type: ignore[method-assign]
        assert await look.for_server("x", everything) is None


async def test_of_several_the_latest_is_found(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        for publisher in ("key:a", "key:b"):
            body = {"to": "user:ada", "notification": {"type": publisher}, "id": "x", **PERSISTENT}
            await one.hub.publish(one.hub.prepare(body), publisher)
        await let_go(one)
        find = LookUp(one.hub)
        found = await find.for_server("x", everything)
        assert found is not None and found.type == "key:b"
        await find.retract(found)
        found = await find.for_server("x", everything)
        assert found is not None and found.type == "key:a"


async def test_a_retraction_waits_until_all_of_it_is_written(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        await one.publish(id="x", priority="critical", ttl=10_000)
        find = LookUp(one.hub)
        found = await find.for_server("x", everything)
        assert found is not None
        one.store.gate = asyncio.Event()
        retracting = asyncio.ensure_future(find.retract(found))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not retracting.done() and found.is_retracted
        waited_for = [type(write) for write in one.store.told[-2:]]
        assert sorted(waited_for, key=str) == sorted([Note, Close], key=str)
        one.store.gate.set()
        await retracting
        (kept,) = await one.store.find("x")
        assert not kept.is_open and any(fact.kind == "retracted" for fact in kept.facts)


async def test_a_store_that_takes_too_long(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        monkeypatch.setattr("hubd.looking_up.FIND_S", 0.01)

        async def find(id: str) -> Any:
            await asyncio.sleep(60)

        one.store.find_rows = find  # type: ignore[method-assign]
        with pytest.raises(Problem) as caught:
            await LookUp(one.hub).for_server("x", everything)
        assert caught.value.code == "unavailable" and "takes too long" in caught.value.message
