"""What is given to a store is there after it was closed and opened again, in either database."""

import asyncio

import pytest

from hubd.core.stored import (
    Close,
    Fact,
    Keep,
    Lane,
    Note,
    Remember,
    Revoke,
    Schedule,
    Scheduled,
    Subscribe,
    Unschedule,
    Unsubscribe,
)
from hubd.core.subscriptions import Grant
from hubd.core.users import UserSet
from hubd.storing import StoreError
from tests.store.store_world import answer, opened


async def test_a_kept_notification_comes_back_as_it_was(url: str) -> None:
    async with opened(url) as world:
        row = world.row(
            "k1",
            "ada",
            "bob",
            "cy",
            body='{"id":"ü","text":"\\u0000 \x7f ☃"'.encode(),
            channels=("team:red", "user:cy", "hub ☃"),
            collapse_key="c",
            group="g",
            topics=(("team:red", world.users("ada", "bob")), ("team:blue", world.users("cy"))),
            may_push=world.users("bob"),
            due_at=1_800_000_007_000,
        )
        facts = (
            Fact("k1", "dropped", world.users("dan"), 3, "muted"),
            Fact("k1", "live_sent", world.users("ada"), 4),
        )
        await world.store.write(Keep(row, facts), Lane.PUBLISH)
        await world.store.write(world.acked("k1", "ada", at=9, detail="phone"), Lane.ACK)
        (at_once,) = await world.found("id-k1")
    async with opened(url) as world:
        (later,) = [kept async for kept in world.store.open_rows()]
    assert at_once == later
    assert later.row == row
    assert later.is_open
    assert later.facts == (*facts, Fact("k1", "acked", UserSet([1]), 9, "phone"))


async def test_open_ones_come_in_the_order_in_which_they_were_kept(url: str) -> None:
    keys = [f"k{place * 7919 % 1000}" for place in range(1000)]
    async with opened(url) as world:
        await asyncio.gather(*(world.store.write(world.keep(key), Lane.PUBLISH) for key in keys))
        assert await world.open_keys() == keys
    async with opened(url) as world:
        assert await world.open_keys() == keys
        await world.store.write(world.keep("last"), Lane.PUBLISH)
        assert await world.open_keys() == [*keys, "last"]


async def test_facts_come_in_their_order_and_of_one_kind_as_one(url: str) -> None:
    async with opened(url) as world:
        for name in ("ada", "bob", "cy"):
            world.numbers.hold(name)
        world.store.note(world.keep("k", "ada", "bob", "cy"))
        world.store.note(Note(Fact("k", "live_sent", world.users("bob"), 1)))
        world.store.note(world.acked("k", "bob", at=2))
        await world.store.write(world.acked("k", "ada", "bob", at=3), Lane.BOOKKEEPING)
        await world.store.write(Note(Fact("k", "pushed", world.users("cy"), 4)), Lane.BOOKKEEPING)
        (kept,) = await world.found("id-k")
        assert [fact[1:] for fact in kept.facts] == [
            ("live_sent", UserSet([2]), 1, ""),
            ("acked", UserSet([1, 2]), 2, ""),
            ("pushed", UserSet([3]), 4, ""),
        ]
        assert world.store.counts.commits == 2


async def test_acks_become_one_whoever_they_are_by_until_something_else_comes_of_it(url: str) -> None:
    async with opened(url) as world:
        world.users("ada", "bob", "cy", "dan", "eve")
        world.store.note(world.keep("k", "ada", "bob", "cy"))
        world.store.note(world.acked("k", "ada", at=2, detail="c1"))
        world.store.note(world.acked("k", "bob", at=3, detail="c2"))
        world.store.note(world.acked("other", "bob", at=3, detail="c2"))
        world.store.note(world.acked("k", "cy", at=4, detail="c1"))
        world.store.note(Note(Fact("k", "joined", world.users("dan", "eve"), 5)))
        world.store.note(world.acked("k", "dan", at=6, detail="c1"))
        await world.store.write(world.acked("k", "eve", at=7, detail="c1"), Lane.BOOKKEEPING)
        (kept,) = await world.found("id-k")
        assert [fact[1:] for fact in kept.facts] == [
            ("acked", UserSet([1, 2, 3]), 2, ""),
            ("joined", UserSet([4, 5]), 5, ""),
            ("acked", UserSet([4, 5]), 6, "c1"),
        ]
        assert [found.facts for found in await world.store.find_rows("id-k")] == [()]


async def test_very_many_facts_are_read_in_turns_and_as_few(url: str) -> None:
    async with opened(url) as world:
        await world.store.write(world.keep("k", *(f"u{place}" for place in range(3000))), Lane.PUBLISH)
        facts = [Note(Fact("k", "acked", UserSet([place]), 1, f"c{place}")) for place in range(1, 3001)]
        link = world.store._writer._link
        assert link is not None
        values = [(100 + n, "acked", one.fact.users.dump(), 1, one.fact.detail, "k") for n, one in enumerate(facts)]
        await link.transact([(world.store._writer._words.fact, values)])
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        (kept,) = await world.found("id-k")
        other.cancel()
        assert turns >= 6
        assert len(kept.facts) == 301 and kept.facts[299].detail == "c300"
        assert kept.facts[300] == Fact("k", "acked", UserSet(range(301, 3001)), 1, "")
        (opened_kept,) = [one async for one in world.store.open_rows()]
        assert opened_kept == kept


async def test_a_closed_one_is_gone_or_stays_to_be_found(url: str) -> None:
    async with opened(url) as world:
        for key in ("gone", "kept", "open"):
            world.store.note(world.keep(key))
            await world.store.write(world.acked(key, "ada"), Lane.ACK)
        world.store.note(Close("gone"))
        await world.store.write(Close("kept", keep_until=5000), Lane.BOOKKEEPING)
        assert await world.open_keys() == ["open"]
        assert await world.found("id-gone") == []
        (kept,) = await world.found("id-kept")
        assert not kept.is_open
        assert [fact.kind for fact in kept.facts] == ["acked"]


async def test_what_is_kept_and_closed_at_once_leaves_nothing(url: str) -> None:
    async with opened(url) as world:
        world.store.note(Keep(world.row("k"), (), answer("mine")))
        world.store.note(world.acked("k", "ada"))
        world.store.note(Close("k"))
        await world.store.write(world.keep("other"), Lane.BOOKKEEPING)
        assert await world.open_keys() == ["other"]
    async with opened(url) as world:
        assert [known.id for known in (await world.store.load()).answers] == ["mine"]


async def test_a_fact_without_its_row_is_no_matter(url: str) -> None:
    async with opened(url) as world:
        await world.store.write(world.acked("nowhere", "ada"), Lane.ACK)
        await world.store.write(Close("nowhere"), Lane.ACK)
        await world.store.write(Close("nowhere", 5), Lane.ACK)
        await world.store.write(world.keep("nowhere"), Lane.PUBLISH)
        (kept,) = await world.found("id-nowhere")
        assert kept.facts == ()


async def test_a_release_takes_users_out_of_another_row(url: str) -> None:
    async with opened(url) as world:
        await world.store.write(world.keep("held", "ada", "bob"), Lane.PUBLISH)
        released = Fact("held", "released", world.users("ada"), 7, "k2")
        await world.store.write(Keep(world.row("k2", "ada", id="id-held"), released=released), Lane.PUBLISH)
        second, first = await world.found("id-held")
        assert (second.row.key, second.facts) == ("k2", ())
        assert first.facts == (released,)


async def test_the_small_things_come_back(url: str) -> None:
    own = Grant(False, ("team:*", "news"), 1_800_000_000.25, False)
    async with opened(url) as world:
        ada = world.numbers.hold("ada")
        write = world.store.write
        await write(Subscribe("ada", ada, "team:red", Grant(True)), Lane.ACK)
        await write(Subscribe("ada", ada, "news", own), Lane.ACK)
        await write(Subscribe("ada", ada, "gone", own), Lane.ACK)
        world.store.note(Unsubscribe("ada", "gone"))
        world.store.note(Revoke("bob", 1_800_000_000.5))
        world.store.note(Remember(answer("b", at=2)))
        world.store.note(Remember(answer("a", at=1)))
        world.store.note(Remember(answer("a", at=3)))
        world.store.note(Schedule(Scheduled("later", "x", 2_000, b"{}")))
        world.store.note(Schedule(Scheduled("sooner", "x", 1_000, b'{"a":1}')))
        world.store.note(Schedule(Scheduled("never", "x", 1_500, b"{}")))
        world.store.note(Unschedule("never"))
        await write(Schedule(Scheduled("due", "x", 1, b"{}")), Lane.PUBLISH)
        await write(Keep(world.row("k"), answer=answer("c", at=4), instead_of="due"), Lane.PUBLISH)
    async with opened(url) as world:
        loaded = await world.store.load()
    assert loaded.users == [(ada, "ada")]
    assert loaded.subscriptions == [("ada", "news", own), ("ada", "team:red", Grant(True))]
    assert loaded.revoked == [("bob", 1_800_000_000.5)]
    assert loaded.answers == [answer("b", at=2), answer("a", at=3), answer("c", at=4)]
    assert loaded.scheduled == [Scheduled("sooner", "x", 1_000, b'{"a":1}'), Scheduled("later", "x", 2_000, b"{}")]


async def test_the_later_of_two_is_what_counts(url: str) -> None:
    async with opened(url) as world:
        ada = world.numbers.hold("ada")
        world.store.note(Subscribe("ada", ada, "team:red", Grant(True)))
        world.store.note(Unsubscribe("ada", "team:red"))
        world.store.note(Unsubscribe("ada", "news"))
        world.store.note(Subscribe("ada", ada, "news", Grant(True)))
        world.store.note(Subscribe("ada", ada, "news", Grant(False, ("news",), 7)))
        world.store.note(Unschedule("s"))
        await world.store.write(Schedule(Scheduled("s", "x", 1, b"{}")), Lane.BOOKKEEPING)
    async with opened(url) as world:
        loaded = await world.store.load()
        assert loaded.subscriptions == [("ada", "news", Grant(False, ("news",), 7))]
        assert [call.key for call in loaded.scheduled] == ["s"]


async def test_users_keep_their_numbers_and_no_number_is_given_twice(url: str) -> None:
    async with opened(url) as world:
        for name in ("ada", "bob", "cy"):
            world.numbers.hold(name)
        await world.store.write(world.keep("k1", "bob"), Lane.PUBLISH)
        await world.store.write(world.keep("k2", "cy"), Lane.PUBLISH)
        await world.store.write(Close("k2"), Lane.BOOKKEEPING)
    async with opened(url) as world:  # cy, to whom nothing refers any more, is forgotten
        assert world.numbers.find("bob") == 2
        assert world.numbers.find("cy") is None
        world.numbers.release(2)  # it is the store that holds him, and this was nobody's: now he can be forgotten
        assert world.numbers.hold("new") == 4
        await world.store.write(world.keep("k3", "cy", "bob"), Lane.PUBLISH)
    async with opened(url) as world:
        loaded = await world.store.load()
        assert loaded.users == [(2, "bob"), (5, "cy")]
        assert loaded.next_number == 6


async def test_a_stored_user_is_held(url: str) -> None:
    async with opened(url) as world:
        world.numbers._limit = 0  # whom nobody holds is forgotten at once
        number = world.numbers.hold("ada")
        await world.store.write(world.keep("k", "ada"), Lane.PUBLISH)
        world.numbers.release(number)
        assert world.numbers.id_of(number) == "ada"


async def test_other_numbers_than_the_stored_ones_are_refused(url: str) -> None:
    async with opened(url) as world:
        world.numbers.hold("ada")
        await world.store.write(world.keep("k", "ada"), Lane.PUBLISH)
        world.numbers._ids[1] = "eve"
        with pytest.raises(StoreError, match="numbers"):
            await world.store.load()


async def test_cleaning_removes_what_is_over(url: str) -> None:
    async with opened(url) as world:
        for place in range(1200):
            world.store.note(world.keep(f"k{place}"))
            world.store.note(world.acked(f"k{place}", "ada"))
            world.store.note(Remember(answer(f"a{place}", at=place)))
        await world.settled()
        for place in range(1200):
            world.store.note(Close(f"k{place}", keep_until=1000 + place))
        await world.settled()
        assert await world.store.clean(now=999, answers_before=0) == 0
        assert await world.store.clean(now=1100, answers_before=700) == 101 + 700
        assert await world.found("id-k100") == []
        (kept,) = await world.found("id-k101")
        assert [fact.kind for fact in kept.facts] == ["acked"]
        assert len((await world.store.load()).answers) == 500
        assert await world.store.clean(now=9999, answers_before=0) == 1099


async def test_what_cannot_be_stored_harms_nobody_beside_it(url: str) -> None:
    async with opened(url) as world:
        store = world.store
        good = [store.write(world.keep(f"k{place}"), Lane.PUBLISH) for place in range(5)]
        bad = store.write(Keep(world.row("bad", id="\ud800")), Lane.PUBLISH)
        large = store.write(Keep(world.row("large", sent_at=1 << 70)), Lane.PUBLISH)
        store.note(Note(Fact("k1", "acked", world.users("ada"), 1 << 70)))
        good += [store.write(world.keep(f"k{place}"), Lane.PUBLISH) for place in range(5, 9)]
        await asyncio.gather(*good)
        for future in (bad, large):
            with pytest.raises(StoreError, match="as it is"):
                await future
        await world.settled()
        assert await world.open_keys() == [f"k{place}" for place in range(9)]
        assert (store.counts.lost, store.trouble, store.counts.failures) == (1, "", 0)


async def test_a_set_of_very_many_users(url: str) -> None:
    async with opened(url) as world:
        names = [f"user{place}" for place in range(20_000)]
        await world.store.write(world.keep("k", *names), Lane.PUBLISH)
    async with opened(url) as world:
        (kept,) = [kept async for kept in world.store.open_rows()]
        assert [world.numbers.id_of(number) for number in kept.row.everybody] == names
        assert kept.row.topics[0][1] is kept.row.everybody  # in memory once, too
