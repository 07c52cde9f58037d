"""What shows that a notification arrived where nobody acks, and what doesn't."""

import pytest

import hubd.arrivals
from hubd.hub import Hub
from hubd.testing import FakeClock, RecordingConnection, RecordingPusher, connect, make_hub
from tests.hub_calls import publish


class World:
    """A hub that can push, and a user with a connection that can't ack."""

    def __init__(self) -> None:
        self.pusher = RecordingPusher()
        self.hub, self.clock, _ = make_hub(pusher=self.pusher)
        self.ada = self.plain("ada")

    def plain(self, user: str) -> RecordingConnection:
        return connect(self.hub, user, control=False)

    def pushed(self) -> list[tuple[str, str]]:
        """Once the time is over."""
        self.clock.advance(20)
        self.hub.delivering.wake()
        return [(id, user) for _, id, user in self.pusher.pushed]

    @property
    def sequence(self) -> int:
        return self.hub.attendance.sequence


@pytest.fixture
def world() -> World:
    return World()


def test_worlds_are_what_they_should_be(world: World) -> None:
    assert isinstance(world.hub, Hub) and isinstance(world.clock, FakeClock)
    assert not world.ada.acks


async def test_without_a_sign_of_life_it_is_pushed(world: World) -> None:
    await publish(world.hub, "user:ada", id="n1")
    assert world.pushed() == [("n1", "ada")]


async def test_the_pong_to_the_ping_behind_it_settles_it(world: World) -> None:
    await publish(world.hub, "user:ada", id="n1")
    world.hub.arrivals.pong(world.ada, world.sequence)
    assert world.pushed() == []


async def test_a_pong_to_another_ping_settles_nothing(world: World) -> None:
    await publish(world.hub, "user:ada", id="n1")
    world.hub.arrivals.pong(world.ada, world.sequence - 1)
    world.hub.arrivals.pong(world.ada, world.sequence + 1)
    assert world.pushed() == [("n1", "ada")]


async def test_another_users_pong_settles_nothing(world: World) -> None:
    await publish(world.hub, "user:ada", id="n1")
    world.hub.arrivals.pong(world.plain("bob"), world.sequence)
    assert world.pushed() == [("n1", "ada")]


async def test_a_connection_that_could_ack_proves_nothing_by_a_pong(world: World) -> None:
    await publish(world.hub, "user:ada", id="n1")
    world.hub.arrivals.pong(connect(world.hub, "ada"), world.sequence)
    assert world.pushed() == [("n1", "ada")]


async def test_what_is_critical_isnt_settled_by_a_sign_of_life(world: World) -> None:
    await publish(world.hub, "user:ada", id="n1", priority="critical")
    world.hub.arrivals.pong(world.ada, world.sequence)
    assert world.pushed() == [("n1", "ada")]


async def test_a_polls_answer_is_numbered_only_where_somebody_waits_to_hear_of_it(world: World) -> None:
    await publish(world.hub, "user:ada", id="n1", priority="informational")
    assert world.hub.arrivals.handed(world.ada, world.sequence) == 0
    await publish(world.hub, "user:ada", id="n2")
    assert world.hub.arrivals.handed(world.ada, world.sequence - 1) == 0
    assert world.hub.arrivals.handed(world.ada, world.sequence) > 0


async def test_the_next_polls_cursor_settles_what_was_in_the_answer(world: World) -> None:
    await publish(world.hub, "user:ada", id="n1")
    await publish(world.hub, "user:ada", id="n2")
    answer = world.hub.arrivals.handed(world.ada, world.sequence - 1)  # n2 isn't in it
    world.hub.arrivals.answer_arrived(world.ada, answer)
    assert world.pushed() == [("n2", "ada")]


async def test_an_answer_proves_something_to_its_own_user_alone_and_once(world: World) -> None:
    bob = world.plain("bob")
    await publish(world.hub, ["user:ada", "user:bob"], id="n1")
    answer = world.hub.arrivals.handed(world.ada, world.sequence)
    world.hub.arrivals.answer_arrived(bob, answer)
    world.hub.arrivals.answer_arrived(bob, answer + 1)
    assert world.hub.delivering.delivery.open.waits_for(world.sequence, world.hub.numbers.number_of("ada"))
    world.hub.arrivals.answer_arrived(world.ada, answer)
    world.hub.arrivals.answer_arrived(world.ada, answer)
    assert world.pushed() == [("n1", "bob")]


async def test_of_so_many_answers_it_is_remembered_what_they_brought(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubd.arrivals, "HANDED_KEPT", 2)
    await publish(world.hub, "user:ada", id="n1")
    answers = [world.hub.arrivals.handed(world.ada, world.sequence) for _ in range(3)]
    world.hub.arrivals.answer_arrived(world.ada, answers[0])
    assert world.hub.delivering.delivery.open.waits_for(world.sequence, world.hub.numbers.number_of("ada"))
    world.hub.arrivals.answer_arrived(world.ada, answers[1])
    assert world.pushed() == []
