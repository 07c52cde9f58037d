"""Durable subscriptions: under what permission they were made, and for how long that counts."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hubd.core.subscriptions import Grant, MemorySubscriptions
from hubd.core.users import UserNumbers
from hubd.testing import identity

GRANT_S = 100.0


class Kept:
    """Durable subscriptions, and the numbers of their users."""

    def __init__(self) -> None:
        self.numbers = UserNumbers(idle=0)
        self.durables = MemorySubscriptions(self.numbers, GRANT_S)

    async def own(self, user: str, topic: str, at: float = 0.0, patterns: tuple[str, ...] = ("**",)) -> bool:
        return await self.durables.put(user, topic, Grant(False, patterns, at))

    async def servers(self, user: str, topic: str) -> bool:
        return await self.durables.put(user, topic, Grant(True))

    def subscribers(self, topic: str) -> list[str | None]:
        return [self.numbers.id_of(number) for number in self.durables.subscribers(topic)]


@pytest.fixture
def kept() -> Kept:
    return Kept()


# --- Made and ended


async def test_one_is_new_once(kept: Kept) -> None:
    assert await kept.own("ada", "t") is True
    assert await kept.own("ada", "t") is False
    assert await kept.own("ada", "u") is True
    assert await kept.own("bob", "t") is True
    assert kept.durables.counting("ada", 0.0) == ["t", "u"]
    assert kept.subscribers("t") == ["ada", "bob"]


async def test_one_is_ended_once_and_leaves_nothing_behind(kept: Kept) -> None:
    await kept.own("ada", "t")
    await kept.own("ada", "u")
    assert await kept.durables.end("ada", "t") is True
    assert await kept.durables.end("ada", "t") is False
    assert await kept.durables.end("bob", "t") is False
    assert kept.subscribers("t") == []
    assert kept.durables.counting("ada", 0.0) == ["u"]
    await kept.durables.end("ada", "u")
    assert kept.durables.of("ada") == {}
    assert kept.numbers.find("ada") is None, "nobody holds his number any more"
    assert not kept.durables._of and not kept.durables._subscribers and not kept.durables._own


async def test_a_subscriber_keeps_his_number_while_he_is_away(kept: Kept) -> None:
    await kept.own("ada", "t")
    number = kept.numbers.hold("ada")
    kept.numbers.release(number)
    assert kept.numbers.find("ada") == number
    assert list(kept.durables.subscribers("t")) == [number]


async def test_of_whom_there_is_nothing_has_nothing(kept: Kept) -> None:
    assert kept.durables.of("ada") == {}
    assert kept.durables.counting("ada", 0.0) == kept.durables.recheck(identity("ada"), 0.0) == []
    assert not kept.durables.subscribers("t")


# --- Lapse


async def test_ones_own_lapses_when_it_wasnt_checked_for_too_long(kept: Kept) -> None:
    await kept.own("ada", "t", at=0.0)
    await kept.own("bob", "t", at=10.0)
    assert kept.durables.counting("ada", GRANT_S - 0.001) == ["t"]
    assert kept.durables.counting("ada", GRANT_S) == []
    assert kept.subscribers("t") == ["bob"]
    kept.durables.lapse(GRANT_S + 10)
    assert kept.subscribers("t") == []
    assert kept.numbers.find("bob") is None


async def test_the_servers_never_lapses(kept: Kept) -> None:
    await kept.servers("ada", "t")
    kept.durables.lapse(10**9)
    assert kept.durables.counting("ada", 10**9) == ["t"]
    assert kept.subscribers("t") == ["ada"]


async def test_making_it_again_begins_the_time_anew(kept: Kept) -> None:
    await kept.own("ada", "t", at=0.0)
    await kept.own("bob", "t", at=50.0)
    await kept.own("ada", "t", at=90.0)
    kept.durables.lapse(GRANT_S + 60)
    assert kept.subscribers("t") == ["ada"]


async def test_a_connect_begins_the_time_anew(kept: Kept) -> None:
    await kept.own("ada", "t", at=0.0)
    await kept.own("bob", "t", at=50.0)
    assert kept.durables.recheck(identity("ada"), 90.0) == ["t"]
    kept.durables.lapse(GRANT_S + 60)
    assert kept.subscribers("t") == ["ada"]
    kept.durables.lapse(GRANT_S + 90)
    assert kept.subscribers("t") == []


async def test_who_connects_too_late_isnt_joined(kept: Kept) -> None:
    await kept.own("ada", "t", at=0.0)
    assert kept.durables.recheck(identity("ada"), GRANT_S) == []
    assert kept.durables.of("ada") == {}


# --- The check at each connect


async def test_what_the_token_doesnt_allow_is_suspended_and_revives(kept: Kept) -> None:
    await kept.own("ada", "team:a", at=0.0)
    await kept.own("ada", "news", at=0.0)
    assert kept.durables.recheck(identity("ada", topics=("news",)), 10.0) == ["news"]
    assert kept.durables.counting("ada", 10.0) == ["news"]
    assert kept.subscribers("team:a") == []
    assert set(kept.durables.of("ada")) == {"team:a", "news"}, "suspended, not gone"
    assert kept.durables.recheck(identity("ada", topics=("**",)), 20.0) == ["team:a", "news"]
    assert kept.subscribers("team:a") == ["ada"]


async def test_what_was_suspended_lapses_from_its_last_good_check(kept: Kept) -> None:
    await kept.own("ada", "t", at=0.0)
    kept.durables.recheck(identity("ada", topics=()), 90.0)
    assert kept.durables.recheck(identity("ada"), GRANT_S) == []
    assert kept.durables.of("ada") == {}


async def test_the_servers_stands_whatever_the_token_says(kept: Kept) -> None:
    await kept.servers("ada", "t")
    assert kept.durables.recheck(identity("ada", topics=()), 0.0) == ["t"]
    assert kept.subscribers("t") == ["ada"]


async def test_a_check_notes_the_permission_that_it_found(kept: Kept) -> None:
    await kept.own("ada", "team:a", at=0.0, patterns=("team:a",))
    kept.durables.recheck(identity("ada", topics=("team:*",)), 5.0)
    assert kept.durables.of("ada")["team:a"] == Grant(False, ("team:*",), 5.0, True)


async def test_a_check_is_of_one_user_alone(kept: Kept) -> None:
    await kept.own("ada", "t")
    await kept.own("bob", "t")
    kept.durables.recheck(identity("ada", topics=()), 0.0)
    assert kept.subscribers("t") == ["bob"]


# --- One's own and the server's


async def test_ones_own_never_takes_the_place_of_the_servers(kept: Kept) -> None:
    await kept.servers("ada", "t")
    assert await kept.own("ada", "t", at=0.0) is False
    kept.durables.lapse(10**9)
    assert kept.durables.of("ada")["t"].by_server


async def test_the_servers_takes_the_place_of_ones_own(kept: Kept) -> None:
    await kept.own("ada", "t", at=0.0)
    kept.durables.recheck(identity("ada", topics=()), 1.0)
    assert await kept.servers("ada", "t") is False
    assert kept.subscribers("t") == ["ada"]
    kept.durables.lapse(10**9)
    assert kept.durables.counting("ada", 10**9) == ["t"]


async def test_who_was_subscribed_stays_what_it_was(kept: Kept) -> None:
    await kept.own("ada", "t")
    before = kept.durables.subscribers("t")
    assert kept.durables.subscribers("t") is before, "shared until it changes"
    await kept.own("bob", "t")
    assert len(before) == 1
    assert len(kept.durables.subscribers("t")) == 2


class DurablesByAnyHistory(RuleBasedStateMachine):
    """Against a plain dict of grants."""

    users = st.sampled_from(["ada", "bob"])
    topics = st.sampled_from(["team:a", "news"])
    tokens = st.sampled_from([(), ("news",), ("team:*",), ("**",)])

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.now = 0.0
        self.model: dict[tuple[str, str], Grant] = {}

    @rule(user=users, topic=topics, by_server=st.booleans())
    def put(self, user: str, topic: str, by_server: bool) -> None:
        before = self.model.get((user, topic))
        grant = Grant(by_server, ("**",), self.now)
        new = run(self.kept.durables.put(user, topic, grant))
        assert new is (before is None)
        if before is None or by_server or not before.by_server:
            self.model[user, topic] = replace(grant)

    @rule(user=users, topic=topics)
    def end(self, user: str, topic: str) -> None:
        was = self.model.pop((user, topic), None) is not None
        assert run(self.kept.durables.end(user, topic)) is was

    @rule(user=users, patterns=tokens)
    def recheck(self, user: str, patterns: tuple[str, ...]) -> None:
        who = identity(user, topics=patterns)
        found = self.kept.durables.recheck(who, self.now)
        for (whose, topic), grant in self.model.items():
            if whose == user and not grant.by_server:
                grant.allowed = who.topics.match(topic)
                if grant.allowed:
                    grant.checked_at, grant.patterns = self.now, patterns
        assert sorted(found) == sorted(self.counting(user))

    @rule(seconds=st.sampled_from([1.0, 40.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.kept.durables.lapse(self.now)
        self.model = {
            key: grant for key, grant in self.model.items() if grant.by_server or self.now - grant.checked_at < GRANT_S
        }

    def counting(self, user: str) -> list[str]:
        return [topic for (whose, topic), grant in self.model.items() if whose == user and grant.allowed]

    @invariant()
    def both_say_the_same(self) -> None:
        for user in ("ada", "bob"):
            mine = {topic: grant for (whose, topic), grant in self.model.items() if whose == user}
            assert self.kept.durables.of(user) == mine
            assert sorted(self.kept.durables.counting(user, self.now)) == sorted(self.counting(user))
            assert (self.kept.numbers.find(user) is None) is not mine
        for topic in ("team:a", "news"):
            expected = {user for user in ("ada", "bob") if topic in self.counting(user)}
            assert set(self.kept.subscribers(topic)) == expected


def run(work: object) -> bool:
    """Drive a coroutine that never waits."""
    try:
        work.send(None)  # type: ignore[attr-defined]
    except StopIteration as end:
        return bool(end.value)
    raise AssertionError("it waited")


DurablesByAnyHistory.TestCase.settings = settings(max_examples=100, stateful_step_count=25)
TestDurablesByAnyHistory = DurablesByAnyHistory.TestCase


# --- Put back, as after a restart


async def test_put_back_they_are_as_they_were(kept: Kept) -> None:
    await kept.own("ada", "t", at=20)
    await kept.servers("ada", "s")
    await kept.own("bob", "t", at=10)
    await kept.own("bob", "u", at=30)
    kept.durables.of("bob")["u"].allowed = False
    others = Kept()
    others.durables.put_back(kept.durables.all())
    assert [*others.durables.all()] == [*kept.durables.all()]
    assert (others.subscribers("t"), others.subscribers("s"), others.subscribers("u")) == (["ada", "bob"], ["ada"], [])
    others.durables.lapse(10 + GRANT_S)
    assert (others.durables.counting("ada", 0.0), list(others.durables.of("bob"))) == (["t", "s"], ["u"])
    others.durables.lapse(20 + GRANT_S)
    assert others.durables.counting("ada", 0.0) == ["s"]
