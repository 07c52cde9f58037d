"""Users to whom nothing refers any more: they are forgotten while the hub runs, and nobody else is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hubd.core.stored import Close, Fact, Lane, Note, Subscribe
from hubd.core.subscriptions import Grant
from hubd.core.users import UserSet
from hubd.store import forgetting, reading
from hubd.store.forgetting import Forgetting
from hubd.storing import StoreError
from tests.store.store_world import World, opened


@pytest.fixture(autouse=True)
def from_a_few_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "FORGET_FROM", 20)
    monkeypatch.setattr(forgetting, "SLICE", 7)


async def forget(world: World) -> int:
    return await world.store.clean(now=0, answers_before=0)


async def many(world: World, prefix: str = "u", count: int = 40) -> None:
    """Users to whom something referred that is over."""
    await world.store.write(world.keep("over", *(f"{prefix}{place}" for place in range(count))), Lane.PUBLISH)
    await world.store.write(Close("over"), Lane.BOOKKEEPING)


async def stored(world: World) -> list[str]:
    async with world.store._database.engine.connect() as connection:
        return sorted(id for _, id in await reading.read_users(connection))


def when_looked(monkeypatch: pytest.MonkeyPatch, do: Callable[[], Any]) -> None:
    """Do this when it was just looked who is referred to."""
    look = Forgetting._referred

    async def looked(self: Forgetting) -> UserSet:
        found = await look(self)
        await do()
        return found

    monkeypatch.setattr(Forgetting, "_referred", looked)


async def test_whom_nothing_refers_to_is_forgotten_and_everybody_else_stays(url: str) -> None:
    async with opened(url) as world:
        await many(world)
        ada = world.numbers.hold("ada")
        await world.store.write(Subscribe("ada", ada, "news", Grant(True)), Lane.ACK)
        await world.store.write(world.keep("open", "bob"), Lane.PUBLISH)
        await world.store.write(Note(Fact("open", "joined", world.users("cy"), 1)), Lane.ACK)
        await world.store.write(world.keep("closed", "dan"), Lane.PUBLISH)
        await world.store.write(Close("closed", 10**15), Lane.ACK)
        world.numbers._limit = 0
        assert await forget(world) == 40
        assert await stored(world) == ["ada", "bob", "cy", "dan"]
        assert all(world.numbers.find(name) for name in ("bob", "cy", "dan")), "they are held"
        assert await forget(world) == 0
        world.numbers.release(world.numbers.hold("zoe"))
        assert world.numbers.find("u7") is None, "nobody holds him any more"
        number = world.numbers.hold("u7")
        await world.store.write(world.keep("again", "u7"), Lane.PUBLISH)
    async with opened(url) as world:
        assert world.numbers.find("u7") == number


async def test_few_are_not_looked_at_nor_until_there_are_twice_as_many(url: str) -> None:
    async with opened(url) as world:
        await many(world, count=19)
        assert await forget(world) == 0
        await world.store.write(world.keep("open", *(f"o{place}" for place in range(30))), Lane.PUBLISH)
        assert await forget(world) == 19
        await many(world, "x", 29)
        assert await forget(world) == 0
        await many(world, "y", 1)
        assert await forget(world) == 30


async def test_whom_a_write_refers_to_meanwhile_stays(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(url) as world:
        await many(world)

        async def meanwhile() -> None:
            await world.store.write(world.keep("new", "u3", "fresh"), Lane.PUBLISH)

        when_looked(monkeypatch, meanwhile)
        assert await forget(world) == 39
        assert await stored(world) == ["fresh", "u3"]


async def test_whom_something_refers_to_that_waits_stays(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(sqlite_url) as world:
        await many(world)
        attempt, gate = world.store._writer._attempt, asyncio.Event()

        async def later(batch: Any) -> Any:
            await gate.wait()
            return await attempt(batch)

        async def go_on() -> None:
            gate.set()

        monkeypatch.setattr(world.store._writer, "_attempt", later)
        first = world.store.write(world.keep("in hand", "u3"), Lane.PUBLISH)
        await asyncio.sleep(0.01)
        second = world.store.write(world.keep("waits", "u4"), Lane.PUBLISH)
        when_looked(monkeypatch, go_on)
        assert await forget(world) == 38
        await asyncio.gather(first, second)
        assert await stored(world) == ["u3", "u4"]


async def test_who_is_met_again_while_his_row_is_removed_has_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(url) as world:
        await many(world)
        world.numbers._limit = 0
        known, futures = world.store._known, []
        is_to_go = known.forget

        def forgotten(numbers: Any) -> Any:
            found = is_to_go(numbers)
            for number, id in found:
                if number % 3 == 0:
                    futures.append(world.store.write(world.keep(f"again {id}", id), Lane.PUBLISH))
            return found

        monkeypatch.setattr(known, "forget", forgotten)
        assert await forget(world) == 40
        await asyncio.gather(*futures)
        await world.settled()
        names = [f"u{number - 1}" for number in range(3, 41, 3)]
        assert await stored(world) == sorted(names)
        assert [world.numbers.find(name) for name in names] == list(range(3, 41, 3))
        assert set(world.numbers._holds) == set(range(3, 41, 3))
        assert set(world.numbers._holds.values()) == {1}


async def test_whose_row_is_perhaps_removed_gets_it_anew(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(url) as world:
        await many(world)
        world.numbers._limit = 0
        write = world.store._forgetting._write

        def failing(one: Any, lane: Lane) -> Any:
            future = write(one, lane)
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda _: told.set_exception(StoreError("in doubt")))
            return told

        monkeypatch.setattr(world.store._forgetting, "_write", failing)
        with pytest.raises(StoreError, match="in doubt"):
            await forget(world)
        await world.store.write(world.keep("k", "u0"), Lane.PUBLISH)
        assert len(await stored(world)) == 40
        assert world.numbers.find("u0") == 1


async def test_what_cannot_be_read_forgets_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(url) as world:
        await many(world)

        async def failing(connection: Any) -> UserSet:
            raise OSError

        with monkeypatch.context() as patch:
            patch.setattr(forgetting, "referred_users", failing)
            with pytest.raises(StoreError, match="can't be reached"):
                await forget(world)
        assert len(await stored(world)) == 40
        assert await forget(world) == 40
