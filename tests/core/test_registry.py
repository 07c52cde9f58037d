"""The registry: who is here, by user and by topic."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from hubd.core.channel import parse_channel
from hubd.core.connection import Connection
from hubd.core.registry import Registry
from hubd.core.users import UserNumbers
from tests.core.made import Idle


class Door:
    """A registry, and its numbers."""

    def __init__(self) -> None:
        self.numbers = UserNumbers(idle=0)
        self.registry = Registry(self.numbers)

    def connect(self, user: str, *topics: str) -> Idle:
        connection = Idle(user)
        user_ = self.registry.add(connection)
        assert user_ is connection.user and user_.channel == f"user:{user}:notifications"
        for topic in topics:
            self.registry.join(connection, topic, 0)
        return connection

    def members(self, name: str) -> list[Connection]:
        return list(self.registry.members(parse_channel(name)))


def users_of(connections: Iterable[Connection]) -> list[str]:
    return [connection.identity.user for connection in connections]


# --- Users


def test_the_connections_of_a_user_are_his_oldest_first() -> None:
    door = Door()
    first, other, second = door.connect("ada"), door.connect("bob"), door.connect("ada")
    assert door.registry.connections_of("ada") == (first, second)
    assert door.registry.connections_of("bob") == (other,)
    assert door.registry.connections_of("cyd") == ()
    assert first.user is second.user is not other.user
    assert list(door.registry.connections) == [first, other, second]


def test_a_user_is_remembered_until_he_is_forgotten() -> None:
    door = Door()
    connection = door.connect("ada")
    user = connection.user
    assert user is not None
    door.registry.remove(connection, 7.0)
    assert user.gone_at == 7.0
    assert door.registry.users == {"ada": user}
    assert door.numbers.find("ada") == user.number
    door.registry.forget(user)
    assert door.registry.users == {}
    assert door.numbers.find("ada") is None


def test_who_comes_back_in_time_is_the_same_user() -> None:
    door = Door()
    connection = door.connect("ada")
    door.registry.remove(connection, 7.0)
    again = door.connect("ada")
    assert again.user is connection.user
    assert again.user is not None and again.user.connections == (again,)


def test_nobody_who_is_connected_is_forgotten() -> None:
    door = Door()
    user = door.connect("ada").user
    assert user is not None
    door.registry.forget(user)
    assert door.registry.users == {"ada": user}
    assert door.numbers.find("ada") == user.number


def test_forgetting_twice_releases_once() -> None:
    door = Door()
    connection = door.connect("ada")
    door.numbers.hold("ada")  # as a durable subscription would
    user = connection.user
    assert user is not None
    door.registry.remove(connection, 0.0)
    door.registry.forget(user)
    door.registry.forget(user)
    assert door.numbers.find("ada") == user.number


def test_an_old_record_doesnt_take_the_new_one_with_it() -> None:
    door = Door()
    connection = door.connect("ada")
    old = connection.user
    assert old is not None
    door.registry.remove(connection, 0.0)
    door.registry.forget(old)
    new = door.connect("ada")
    door.registry.forget(old)
    assert door.registry.users == {"ada": new.user}


def test_a_user_is_gone_when_his_last_connection_is() -> None:
    door = Door()
    first, second = door.connect("ada"), door.connect("ada")
    user = first.user
    assert user is not None
    door.registry.remove(first, 1.0)
    assert user.gone_at == 0.0
    door.registry.remove(second, 2.0)
    assert user.gone_at == 2.0


# --- Topics


def test_a_user_joins_a_topic_with_his_first_connection_and_leaves_it_with_his_last() -> None:
    door = Door()
    first, second, other = door.connect("ada"), door.connect("ada"), door.connect("bob")
    assert door.registry.join(first, "t", 5) is True
    assert door.registry.join(second, "t", 6) is False
    assert door.registry.join(other, "t", 7) is True
    assert (first.topics, second.topics) == ({"t": 5}, {"t": 6})
    assert door.registry.leave(first, "t") is False
    assert door.registry.leave(second, "t") is True
    assert first.topics == second.topics == {}
    assert door.members("t") == [other]


def test_leaving_where_one_isnt_is_nothing() -> None:
    door = Door()
    connection = door.connect("ada")
    door.connect("bob", "t")
    assert door.registry.leave(connection, "t") is False
    assert door.registry.leave(connection, "unheard of") is False


def test_an_empty_topic_is_gone() -> None:
    door = Door()
    connection = door.connect("ada", "t", "u")
    door.registry.leave(connection, "t")
    assert list(door.registry.topics) == ["u"]
    door.registry.remove(connection, 0.0)
    assert door.registry.topics == {}
    assert door.registry.connections == {}


def test_removing_tells_which_topics_the_user_left_by_that() -> None:
    door = Door()
    first, second = door.connect("ada", "a", "b"), door.connect("ada", "b", "c")
    door.connect("bob", "a")
    assert door.registry.remove(first, 0.0) == ["a"]
    assert door.registry.remove(second, 0.0) == ["b", "c"]
    assert users_of(door.members("a")) == ["bob"]


def test_the_audience_of_a_topic_is_its_users() -> None:
    door = Door()
    first, second = door.connect("ada", "t"), door.connect("ada", "t")
    other = door.connect("bob", "t")
    numbers = [connection.user.number for connection in (first, other) if connection.user]
    assert list(door.registry.topics["t"].audience.users) == numbers
    door.registry.remove(second, 0.0)
    assert list(door.registry.topics["t"].audience.users) == numbers
    door.registry.remove(first, 0.0)
    assert list(door.registry.topics["t"].audience.users) == numbers[1:]


# --- Members of channels


def test_members_by_kind_of_channel_in_order_of_joining() -> None:
    door = Door()
    first, other, second = door.connect("ada"), door.connect("bob", "t"), door.connect("ada", "t")
    assert door.members("notifications") == [first, other, second]
    assert door.members("user:ada") == [first, second]
    assert door.members("user:cyd") == []
    assert door.members("t") == [other, second]
    assert door.members("u") == []


@given(st.lists(st.tuples(st.sampled_from("cjlr"), st.sampled_from("ab"), st.integers(0, 5), st.sampled_from("tu"))))
def test_any_history_against_plain_lists(history: list[tuple[str, str, int, str]]) -> None:
    """Connect, join, leave, remove; `joins` is the model: (connection, topic) pairs in order."""
    door = Door()
    here: list[Idle] = []
    joins: list[tuple[Idle, str]] = []

    def in_topic(user: str, topic: str) -> bool:
        return any(one.identity.user == user and name == topic for one, name in joins)

    for what, user, place, topic in history:
        if what == "c" or not here:
            here.append(door.connect(user))
            continue
        connection = here[place % len(here)]
        owner = connection.identity.user
        if what == "j" and topic not in connection.topics:
            assert door.registry.join(connection, topic, 0) is not in_topic(owner, topic)
            joins.append((connection, topic))
        elif what == "l":
            was = (connection, topic) in joins
            joins = [one for one in joins if one != (connection, topic)]
            assert door.registry.leave(connection, topic) is (was and not in_topic(owner, topic))
        elif what == "r":
            here.remove(connection)
            mine = [name for one, name in joins if one is connection]
            joins = [one for one in joins if one[0] is not connection]
            assert door.registry.remove(connection, 0.0) == [name for name in mine if not in_topic(owner, name)]
    assert list(door.registry.connections) == here
    for topic in "tu":
        assert door.members(topic) == [one for one, name in joins if name == topic]
        found = door.registry.topics.get(topic)
        expected = {one.user.number for one, name in joins if name == topic and one.user}
        assert list(found.audience.users if found else ()) == sorted(expected)
    for user in "ab":
        assert door.members(f"user:{user}") == [one for one in here if one.identity.user == user]


# --- Who is present


def present(door: Door) -> list[str]:
    return [door.numbers.id_of(number) or "" for number in door.registry.present.snapshot()]


def test_present_is_who_has_a_connection() -> None:
    door = Door()
    assert present(door) == []
    first, second, other = door.connect("ada", "t"), door.connect("ada"), door.connect("bob")
    assert present(door) == ["ada", "bob"]
    before = door.registry.present.snapshot()
    third = door.connect("ada")
    door.registry.remove(third, 0.0)
    assert door.registry.present.snapshot() is before  # shared until somebody comes or goes
    door.registry.remove(first, 0.0)
    assert present(door) == ["ada", "bob"] and door.registry.present.snapshot() is before
    door.registry.remove(second, 0.0)
    assert present(door) == ["bob"]
    assert first.user is not None
    door.registry.forget(first.user)
    door.registry.remove(other, 0.0)
    assert present(door) == [] and len(before) == 2
    door.connect("ada")
    assert present(door) == ["ada"]


@given(st.lists(st.tuples(st.sampled_from("cr"), st.sampled_from("abc"), st.integers(0, 5))))
def test_present_by_any_history(history: list[tuple[str, str, int]]) -> None:
    door = Door()
    here: list[Idle] = []
    for what, user, place in history:
        if what == "c" or not here:
            here.append(door.connect(user))
        else:
            door.registry.remove(here.pop(place % len(here)), 0.0)
        assert sorted(present(door)) == sorted({one.identity.user for one in here})
