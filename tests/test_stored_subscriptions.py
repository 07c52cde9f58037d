"""Durable subscriptions with a store: it has each change before it counts, in the order in which they count."""

import asyncio

import pytest

from hubd.core.errors import Problem
from hubd.core.stored import Lane, Subscribe, Unsubscribe
from hubd.core.subscriptions import Grant
from hubd.core.users import UserNumbers
from hubd.stored_subscriptions import DAY_S, NOTES, StoredSubscriptions
from hubd.testing import identity
from tests.steered_store import SteeredStore

GRANT_S = 30 * DAY_S
NOW = 1_800_000_000.0


class Kept:
    """Durable subscriptions, their store, and the numbers of their users."""

    def __init__(self) -> None:
        self.store = SteeredStore()
        self.numbers = UserNumbers(idle=0)
        self.durables = StoredSubscriptions(self.numbers, GRANT_S, self.store)

    async def own(self, user: str = "ada", topic: str = "t", at: float = NOW, patterns: str = "**") -> bool:
        return await self.durables.put(user, topic, Grant(False, (patterns,), at))

    async def servers(self, user: str = "ada", topic: str = "t") -> bool:
        return await self.durables.put(user, topic, Grant(True, checked_at=NOW))

    def written(self) -> list[str]:
        """What the store has, in order: the kind of each write, its topic, and whose it is."""
        them = [write for write, _ in self.store.written if isinstance(write, Subscribe | Unsubscribe)]
        return [f"{type(write).__name__} {write.topic}{_by(write)}" for write in them]

    async def settled(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def _by(write: Subscribe | Unsubscribe) -> str:
    return " by server" if isinstance(write, Subscribe) and write.grant.by_server else ""


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_it_counts_when_it_is_stored(kept: Kept) -> None:
    kept.store.holds = True
    putting = asyncio.ensure_future(kept.own())
    await kept.settled()
    assert kept.durables.of("ada") == {} and not kept.durables.subscribers("t")
    assert kept.durables.count("ada") == 1, "it counts for the limit"
    kept.store.let_go()
    assert await putting is True
    assert kept.durables.counting("ada", NOW) == ["t"] and kept.durables.count("ada") == 1
    ((write, lane),) = kept.store.written
    assert write == Subscribe("ada", kept.numbers.number_of("ada"), "t", Grant(False, ("**",), NOW))
    assert lane is Lane.ACK


async def test_it_ends_when_that_is_stored(kept: Kept) -> None:
    await kept.own()
    kept.store.holds = True
    ending = asyncio.ensure_future(kept.durables.end("ada", "t"))
    await kept.settled()
    assert kept.durables.counting("ada", NOW) == ["t"]
    kept.store.let_go()
    assert await ending is True
    assert kept.durables.of("ada") == {}
    assert kept.written() == ["Subscribe t", "Unsubscribe t"]


async def test_what_isnt_there_is_ended_without_the_store(kept: Kept) -> None:
    assert await kept.durables.end("ada", "t") is False
    assert kept.store.written == []


async def test_what_cant_be_stored_changes_nothing(kept: Kept) -> None:
    await kept.own(topic="u")
    kept.store.trouble = "the disk is full"
    for change in (kept.own(), kept.servers(), kept.durables.end("ada", "u")):
        with pytest.raises(Problem) as failed:
            await change
        assert (failed.value.code, failed.value.retry_after) == ("unavailable", 2.0)
        assert "the disk is full" in failed.value.message
    assert kept.durables.counting("ada", NOW) == ["u"] and kept.durables.count("ada") == 1
    assert kept.numbers.find("bob") is None
    with pytest.raises(Problem):
        await kept.own("bob")
    assert kept.numbers.find("bob") is None, "nobody holds his number for it"
    kept.store.trouble = ""
    assert await kept.own() is True


async def test_changes_of_one_are_stored_in_the_order_in_which_they_count(kept: Kept) -> None:
    kept.store.holds = True
    changes = [
        asyncio.ensure_future(change)
        for change in (kept.servers(), kept.own(), kept.durables.end("ada", "t"), kept.own(), kept.own(topic="u"))
    ]
    await kept.settled()
    assert len(kept.store.held) == 2, "those of one topic wait for each other, others don't"
    while not all(change.done() for change in changes):
        kept.store.let_go()
        await kept.settled()
    assert [change.result() for change in changes] == [True, False, True, True, True]
    assert kept.written() == ["Subscribe t by server", "Subscribe u", "Unsubscribe t", "Subscribe t"]
    assert kept.durables.of("ada")["t"].by_server is False


async def test_who_doesnt_wait_any_more_keeps_nobody_waiting(kept: Kept) -> None:
    kept.store.holds = True
    first, second = asyncio.ensure_future(kept.own()), asyncio.ensure_future(kept.own())
    await kept.settled()
    first.cancel()
    await kept.settled()
    kept.store.let_go()
    await kept.settled()
    kept.store.let_go()
    assert await second is True
    assert kept.durables.count("ada") == 1


async def test_the_same_again_is_no_write(kept: Kept) -> None:
    await kept.own()
    await kept.servers(topic="u")
    assert await kept.own(at=NOW + DAY_S - 1) is False
    assert await kept.servers(topic="u") is False
    assert len(kept.store.written) == 2
    await kept.own(at=NOW + DAY_S)
    await kept.own(at=NOW + DAY_S, patterns="t")
    await kept.servers()
    assert len(kept.store.written) == 5


# --- What nobody waits for


async def test_a_check_is_stored_once_a_day(kept: Kept) -> None:
    await kept.own()
    for hours in range(49):
        assert kept.durables.recheck(identity("ada", topics=("**",)), NOW + 3600 * hours) == ["t"]
        await kept.settled()
    (_, *later) = kept.store.written
    assert [write.grant.checked_at for write, _ in later] == [NOW + DAY_S, NOW + 2 * DAY_S]  # type: ignore[union-attr]
    assert {lane for _, lane in later} == {Lane.BOOKKEEPING}


async def test_what_a_check_takes_away_or_gives_back_is_stored_at_once(kept: Kept) -> None:
    await kept.own()
    kept.durables.recheck(identity("ada", topics=("u",)), NOW + 1)
    await kept.settled()
    kept.durables.recheck(identity("ada", topics=("u",)), NOW + 2)
    await kept.settled()
    kept.durables.recheck(identity("ada", topics=("t",)), NOW + 3)
    await kept.settled()
    (_, *later) = [write for write, _ in kept.store.written]
    assert [(write.grant.allowed, write.grant.patterns) for write in later] == [(False, ("**",)), (True, ("t",))]  # type: ignore[union-attr]


async def test_a_check_that_couldnt_be_stored_is_stored_with_the_next(kept: Kept) -> None:
    await kept.own()
    kept.store.trouble = "the disk is full"
    kept.durables.recheck(identity("ada", topics=("u",)), NOW + 1)
    await kept.settled()
    kept.store.trouble = ""
    kept.durables.recheck(identity("ada", topics=("u",)), NOW + 2)
    await kept.settled()
    assert len(kept.store.written) == 2


async def test_no_check_is_stored_behind_an_end(kept: Kept) -> None:
    """It would bring back what its user has just ended."""
    await kept.own()
    kept.store.holds = True
    ending = asyncio.ensure_future(kept.durables.end("ada", "t"))
    await kept.settled()
    kept.durables.recheck(identity("ada", topics=("**",)), NOW + 2 * DAY_S)
    assert len(kept.store.held) == 1
    kept.store.let_go()
    assert await ending is True
    assert kept.written() == ["Subscribe t", "Unsubscribe t"]


async def test_what_has_lapsed_is_taken_out_of_the_store(kept: Kept) -> None:
    await kept.own()
    kept.durables.lapse(NOW + GRANT_S)
    await kept.settled()
    assert kept.durables.of("ada") == {} and kept.written() == ["Subscribe t", "Unsubscribe t"]
    assert await kept.own(at=NOW + GRANT_S) is True, "and may be made again"


async def test_a_thousand_at_once_dont_fill_the_store(kept: Kept) -> None:
    """All users come back at once after a day: others than these have to be stored, too."""
    for place in range(NOTES + 10):
        await kept.own(f"user{place}")
    kept.store.holds = True
    for place in range(NOTES + 10):
        kept.durables.recheck(identity(f"user{place}", topics=("**",)), NOW + DAY_S)
    assert len(kept.store.held) == NOTES
    kept.store.let_go()
    await kept.settled()
    for place in range(NOTES + 10):
        kept.durables.recheck(identity(f"user{place}", topics=("**",)), NOW + DAY_S)
    assert len(kept.store.held) == 10, "those that weren't stored are now"
