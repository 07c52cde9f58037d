"""Users as numbers, and sets of them."""

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubd.core.users import Audience, Snapshot, UserNumbers, UserSet, snapshot_of

few = st.sets(st.integers(0, 300) | st.integers(0, 2**32 - 1))

# --- Sets


@given(few, few)
def test_a_user_set_is_a_set(one: set[int], other: set[int]) -> None:
    ops: list[Callable[[set[int], set[int]], set[int]]] = [operator.or_, operator.and_, operator.sub]
    for op in ops:
        assert list(op(UserSet(one), UserSet(other))) == sorted(op(one, other))  # type: ignore[arg-type]
    assert list(UserSet(one)) == sorted(one)
    assert len(UserSet(one)) == len(one)
    assert bool(UserSet(one)) is bool(one)
    assert (UserSet(one) == UserSet(other)) is (one == other)


@given(few, st.integers(0, 300))
def test_coming_and_going(users: set[int], number: int) -> None:
    found = UserSet(users)
    found.add(number)
    assert number in found
    assert list(found) == sorted(users | {number})
    found.discard(number)
    found.discard(number)
    assert number not in found
    assert list(found) == sorted(users - {number})


def test_algebra_makes_new_sets() -> None:
    one, other = UserSet([1, 2]), UserSet([2, 3])
    results = [one | other, one & other, one - other, one.copy()]
    for result in results:
        result.add(99)
    assert list(one) == [1, 2]
    assert list(other) == [2, 3]


def test_a_user_set_is_no_key_and_equals_no_other_thing() -> None:
    with pytest.raises(TypeError):
        hash(UserSet())
    assert UserSet([1]) != {1}
    assert repr(UserSet([2, 1])) == "UserSet([1, 2])"


# --- Audiences


def test_a_snapshot_is_what_was_there_then() -> None:
    audience = Audience()
    audience.add(1)
    before = audience.snapshot()
    audience.add(2)
    between = audience.snapshot()
    audience.discard(1)
    assert [list(found) for found in (before, between, audience.snapshot())] == [[1], [1, 2], [2]]


def test_a_snapshot_is_shared_until_somebody_comes_or_goes() -> None:
    audience = Audience()
    audience.add(1)
    first = audience.snapshot()
    assert audience.snapshot() is first
    audience.add(2)
    assert audience.snapshot() is not first


# --- Numbers


def test_numbers_are_dense() -> None:
    numbers = UserNumbers()
    assert [numbers.hold(user) for user in "abca"] == [1, 2, 3, 1]
    assert len(numbers) == 3


def test_somebody_unknown_has_no_number() -> None:
    numbers = UserNumbers()
    assert numbers.find("a") is None
    assert numbers.id_of(1) is None


def test_who_is_held_twice_is_released_twice() -> None:
    numbers = UserNumbers(idle=0)
    number = numbers.hold("a")
    numbers.hold("a")
    numbers.release(number)
    assert numbers.find("a") == number
    numbers.release(number)
    assert numbers.find("a") is None
    assert numbers.hold("a") == number + 1, "a number is never given twice"


def test_the_longest_idle_is_forgotten_first() -> None:
    numbers = UserNumbers(idle=2)
    given_ = {user: numbers.hold(user) for user in "abc"}
    for user in "bca":
        numbers.release(given_[user])
    assert [numbers.find(user) for user in "abc"] == [given_["a"], None, given_["c"]]


def test_coming_back_from_idleness_makes_one_the_youngest() -> None:
    numbers = UserNumbers(idle=2)
    given_ = {user: numbers.hold(user) for user in "abc"}
    numbers.release(given_["a"])
    numbers.release(given_["b"])
    assert numbers.hold("a") == given_["a"]
    numbers.release(given_["a"])
    numbers.release(given_["c"])
    assert [numbers.find(user) for user in "abc"] == [given_["a"], None, given_["c"]]


class NumbersByAnyHistory(RuleBasedStateMachine):
    IDLE = 2

    def __init__(self) -> None:
        super().__init__()
        self.numbers = UserNumbers(idle=self.IDLE)
        self.held: dict[str, int] = {}  # how often
        self.known: dict[str, int] = {}  # the number while held
        self.ever: dict[int, str] = {}

    @rule(user=st.sampled_from("abcde"))
    def hold(self, user: str) -> None:
        number = self.numbers.hold(user)
        assert self.ever.setdefault(number, user) == user, "a number was given to two users"
        if user in self.held:
            assert number == self.known[user]
        self.known[user] = number
        self.held[user] = self.held.get(user, 0) + 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(sorted(self.held)))
        self.numbers.release(self.known[user])
        self.held[user] -= 1
        if not self.held[user]:
            del self.held[user]

    @invariant()
    def who_is_held_is_known_both_ways(self) -> None:
        for user in self.held:
            assert self.numbers.find(user) == self.known[user]
            assert self.numbers.id_of(self.known[user]) == user

    @invariant()
    def no_more_idle_ones_than_the_limit(self) -> None:
        assert len(self.numbers) <= len(self.held) + self.IDLE


TestNumbersByAnyHistory = NumbersByAnyHistory.TestCase


# --- As bytes, and put back


@given(few)
def test_a_set_as_bytes(users: set[int]) -> None:
    made = UserSet(users)
    assert UserSet.read(made.dump()) == made
    assert Snapshot(UserSet.read(made.dump())).size == Snapshot(made).size


def test_bytes_that_are_no_set_are_refused() -> None:
    good = UserSet([5, 9, 200, 1000]).dump()
    for bad in (b"", b"x", good[:-1], good[:-4] + good[-2:] + good[-4:-2], b"\xff" * 100):
        with pytest.raises(ValueError):
            UserSet.read(bad)


def test_numbers_put_back_are_idle_and_nobody_else_gets_one() -> None:
    numbers = UserNumbers(idle=2)
    numbers.go_on_from(10)
    numbers.put_back(3, "ada")
    numbers.put_back(7, "bob")
    assert (numbers.hold("ada"), numbers.hold("eve"), numbers.hold("bob"), numbers.next) == (3, 10, 7, 11)
    assert [*numbers.known()] == [(3, "ada"), (7, "bob"), (10, "eve")]
    for number in (3, 7, 10):
        numbers.release(number)
    assert [numbers.find(user) for user in ("ada", "bob", "eve")] == [None, 7, 10]


def test_no_more_are_put_back_than_are_remembered() -> None:
    numbers = UserNumbers(idle=2)
    numbers.go_on_from(10)
    for number in (3, 5, 7):
        numbers.put_back(number, f"user{number}")
    assert [*numbers.known()] == [(5, "user5"), (7, "user7")]


@pytest.mark.parametrize(("number", "user"), [(0, "x"), (-1, "x"), (10, "x"), (3, "x"), (4, "ada")])
def test_a_number_that_cant_be_somebodys(number: int, user: str) -> None:
    numbers = UserNumbers()
    numbers.go_on_from(10)
    numbers.put_back(3, "ada")
    with pytest.raises(ValueError):
        numbers.put_back(number, user)
    assert [*numbers.known()] == [(3, "ada")]


def test_a_number_for_a_moment_is_nobodys_to_hold() -> None:
    numbers = UserNumbers(idle=2)
    ada = numbers.number_of("ada")
    assert numbers.number_of("ada") == ada == numbers.find("ada")
    numbers.hold("bob")
    assert numbers.number_of("bob") == numbers.find("bob")
    numbers.number_of("cyd"), numbers.number_of("dee")
    assert numbers.find("ada") is None and numbers.find("bob") is not None
    assert numbers.number_of("ada") != ada  # a number is never given twice
    assert len(numbers) == 3


def test_a_snapshot_is_shared_and_anything_else_copied() -> None:
    users = UserSet([1, 2])
    one = snapshot_of(users)
    assert one == users and snapshot_of(one) is one and snapshot_of(users) is not one
    users.discard(1)
    assert list(one) == [1, 2]


@pytest.mark.parametrize("name", ["add", "discard"])
def test_nobody_changes_a_snapshot(name: str) -> None:
    audience = Audience()
    audience.add(1)
    shared = audience.snapshot()
    for number in (1, 2):
        with pytest.raises(TypeError, match=r"copy\(\)"):
            getattr(shared, name)(number)
    own = shared.copy()
    getattr(own, name)(1)
    assert list(shared) == [1] and list(shared | UserSet([3])) == [1, 3] and audience.snapshot() is shared


def test_packing_changes_the_bytes_and_not_the_set() -> None:
    users = UserSet(range(1000, 101_000)) - UserSet(range(1000, 101_000, 4000))
    same, before = users.copy(), len(users.dump())
    assert before > 10_000
    assert users.pack() < 1000 > len(users.dump())
    assert users == same and len(users) == 99_975
    users.discard(1001)
    assert len(users) == 99_974
    assert UserSet().pack() > 0
