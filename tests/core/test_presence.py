"""Presence: how attentive a user is, and that each change is told once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.connection import Visibility
from hubd.core.presence import Presence, State
from hubd.core.registry import Registry
from hubd.core.users import UserNumbers
from tests.core.made import Idle

GRACE_S = 5.0
ATTENTION_S = 1800.0
ATTENTIVE, CONNECTED, WAVERING, AWAY = State.ATTENTIVE, State.CONNECTED, State.WAVERING, State.AWAY
Edge = tuple[str, State, State]


class Watched:
    """Users who come and go, at a time that is turned by hand; `edges` is what was told."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.now = 1000.0
        self.edges: list[Edge] = []
        self.registry = Registry(UserNumbers())
        self.presence = Presence(grace_s, ATTENTION_S, lambda *edge: self.edges.append(edge))

    def connect(self, user: str = "ada") -> Idle:
        connection = Idle(user, now=self.now)
        self.presence.changed(self.registry.add(connection), self.now)
        return connection

    def say(self, connection: Idle, visibility: Visibility) -> None:
        connection.visibility = visibility
        if visibility is Visibility.VISIBLE:
            connection.input_at = self.now
        assert connection.user is not None
        self.presence.changed(connection.user, self.now)

    def disconnect(self, connection: Idle) -> None:
        self.registry.remove(connection, self.now)
        assert connection.user is not None
        self.presence.changed(connection.user, self.now)

    def gone(self) -> list[str]:
        users = self.presence.gone(self.now)
        for user in users:
            self.registry.forget(user)
        return [user.id for user in users]

    def state(self, user: str = "ada") -> State:
        return self.presence.state(self.registry.users.get(user), self.now)

    def take(self) -> list[Edge]:
        edges, self.edges = self.edges, []
        return edges


def test_of_whom_there_is_no_record_is_away() -> None:
    assert Watched().state() is AWAY


def test_who_never_spoke_of_visibility_is_attentive_for_ever() -> None:
    world = Watched()
    world.connect()
    world.now += 100 * ATTENTION_S
    assert world.state() is ATTENTIVE
    assert world.take() == [("ada", AWAY, ATTENTIVE)]


def test_a_hidden_tab_is_connected_and_a_visible_one_attentive() -> None:
    world = Watched()
    connection = world.connect()
    world.say(connection, Visibility.HIDDEN)
    assert world.state() is CONNECTED
    world.say(connection, Visibility.VISIBLE)
    assert world.state() is ATTENTIVE
    assert world.take() == [("ada", AWAY, ATTENTIVE), ("ada", ATTENTIVE, CONNECTED), ("ada", CONNECTED, ATTENTIVE)]


@pytest.mark.parametrize(
    ("after", "state"), [(0, ATTENTIVE), (ATTENTION_S - 0.001, ATTENTIVE), (ATTENTION_S, CONNECTED)]
)
def test_a_visible_tab_without_input_is_looked_at_for_so_long(after: float, state: State) -> None:
    world = Watched()
    world.say(world.connect(), Visibility.VISIBLE)
    world.now += after
    assert world.state() is state


def test_input_begins_the_time_anew() -> None:
    world = Watched()
    connection = world.connect()
    world.say(connection, Visibility.VISIBLE)
    world.now += ATTENTION_S - 1
    world.say(connection, Visibility.VISIBLE)
    world.now += ATTENTION_S - 1
    assert world.state() is ATTENTIVE
    assert world.take() == [("ada", AWAY, ATTENTIVE)], "nothing changed in between"


def test_one_attentive_connection_is_enough() -> None:
    world = Watched()
    hidden, visible = world.connect(), world.connect()
    world.say(hidden, Visibility.HIDDEN)
    world.say(visible, Visibility.VISIBLE)
    assert world.state() is ATTENTIVE
    world.disconnect(visible)
    assert world.state() is CONNECTED
    world.disconnect(hidden)
    assert world.state() is WAVERING


@pytest.mark.parametrize(("after", "state"), [(0, WAVERING), (GRACE_S - 0.001, WAVERING), (GRACE_S, AWAY)])
def test_who_went_is_wavering_for_so_long(after: float, state: State) -> None:
    world = Watched()
    world.disconnect(world.connect())
    world.now += after
    assert world.state() is state


def test_the_end_of_the_grace_is_told_once() -> None:
    world = Watched()
    world.disconnect(world.connect())
    world.take()
    world.now += GRACE_S - 0.5
    assert world.gone() == [] and world.take() == []
    world.now += 0.5
    assert world.gone() == ["ada"]
    assert world.take() == [("ada", WAVERING, AWAY)]
    assert world.gone() == [] and world.take() == []


def test_who_comes_back_in_time_was_never_away() -> None:
    world = Watched()
    world.disconnect(world.connect())
    world.now += GRACE_S - 1
    world.connect()
    world.now += GRACE_S
    assert world.gone() == []
    assert world.take() == [("ada", AWAY, ATTENTIVE), ("ada", ATTENTIVE, WAVERING), ("ada", WAVERING, ATTENTIVE)]


def test_each_going_has_a_grace_of_its_own() -> None:
    world = Watched()
    ada, bob = world.connect("ada"), world.connect("bob")
    world.disconnect(ada)
    world.now += 1
    world.disconnect(bob)
    world.now += 1
    world.disconnect(world.connect("ada"))  # back, and away again: behind bob now
    world.now += GRACE_S - 1
    assert world.gone() == ["bob"]
    world.now += 1
    assert world.gone() == ["ada"]


def test_who_was_away_comes_back_from_there() -> None:
    world = Watched()
    world.disconnect(world.connect())
    world.now += GRACE_S
    world.gone()
    world.take()
    world.connect()
    assert world.take() == [("ada", AWAY, ATTENTIVE)]


def test_without_a_grace_nobody_wavers() -> None:
    world = Watched(grace_s=0)
    world.disconnect(world.connect())
    assert world.state() is AWAY
    assert world.take() == [("ada", AWAY, ATTENTIVE), ("ada", ATTENTIVE, AWAY)]
    assert world.gone() == []


def test_a_change_that_changes_nothing_is_not_told() -> None:
    world = Watched()
    first = world.connect()
    world.connect()
    world.disconnect(first)
    assert world.take() == [("ada", AWAY, ATTENTIVE)]


WHAT = ["connect", "hidden", "visible", "disconnect", "gone"]
steps = st.lists(st.tuples(st.sampled_from(WHAT), st.sampled_from("ab"), st.floats(0, 4)))


@given(steps)
def test_edges_follow_each_other_and_end_at_the_state(history: list[tuple[str, str, float]]) -> None:
    world = Watched()
    told = {"a": AWAY, "b": AWAY}
    for what, user, pause in history:
        world.now += pause
        mine = world.registry.connections_of(user)
        if what == "connect":
            world.connect(user)
        elif what == "gone":
            world.gone()
        elif mine and what == "disconnect":
            world.disconnect(mine[0])  # type: ignore[arg-type]
        elif mine:
            world.say(mine[-1], Visibility(what))  # type: ignore[arg-type]
        for whose, before, after in world.take():
            assert before is told[whose] and after is not before
            told[whose] = after
    world.gone()
    for whose, before, after in world.take():
        assert before is told[whose]
        told[whose] = after
    assert told == {user: world.state(user) for user in "ab"}
