"""The toy broker keeps what a broker promises, and does what makes it a nuisance."""

import asyncio

from hubd.core.notification import Notification, Persistence, Priority
from hubd.testing import ToyBroker
from tests.model.surroundings import Loop, Sleepers

MANY = 40


def made(id: str) -> Notification:
    return Notification(
        id=id,
        payload={"type": "x"},
        channels={"notifications": 0},
        priority=Priority.IMPORTANT,
        persistence=Persistence.BUFFERABLE,
        sent_at=0,
        expires_at=1e9,
    )


async def published(broker: ToyBroker, count: int) -> tuple[list[tuple[int, str]], list[tuple[int, int]]]:
    """What arrived, in its order; and the answers, in the order of the calls."""
    arrived: list[tuple[int, str]] = []

    def on_publication(sequence: int, notification: Notification) -> int:
        arrived.append((sequence, notification.id))
        return len(arrived)

    broker.start(on_publication)
    answers = await asyncio.gather(*(broker.publish(made(f"n{place}")) for place in range(count)))
    return arrived, [tuple(answer) for answer in answers]


async def test_everything_arrives_once_in_strictly_increasing_sequence() -> None:
    arrived, answers = await published(ToyBroker(seed=1, longest_s=0.01), MANY)
    sequences = [sequence for sequence, _ in arrived]
    assert sequences == sorted(set(sequences)) and len(sequences) == MANY
    assert {id for _, id in arrived} == {f"n{place}" for place in range(MANY)}
    for place, (sequence, live) in enumerate(answers):
        assert arrived[live - 1] == (sequence, f"n{place}"), "an answer is that of another call"


async def test_calls_overtake_each_other_and_numbers_are_skipped() -> None:
    arrived, _ = await published(ToyBroker(seed=1, longest_s=0.01), MANY)
    assert [id for _, id in arrived] != [f"n{place}" for place in range(MANY)]
    assert arrived[-1][0] > MANY


def test_the_same_seed_makes_the_same_delays() -> None:
    def run(seed: int) -> list[tuple[int, str]]:
        loop, sleepers = Loop(), Sleepers()
        try:
            task = loop.start(published(ToyBroker(seed, sleep=sleepers.sleep), MANY))
            while sleepers.wake():
                loop.turn()
            return task.result()[0]
        finally:
            loop.close()

    assert run(1) == run(1) != run(2)


async def test_a_failure_is_that_publisher_s_alone() -> None:
    broker = ToyBroker(seed=1, longest_s=0.01)

    def on_publication(sequence: int, notification: Notification) -> int:
        if notification.id == "n3":
            raise ValueError(notification.id)
        return sequence

    broker.start(on_publication)
    calls = (broker.publish(made(f"n{place}")) for place in range(MANY))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [place for place, answer in enumerate(answers) if isinstance(answer, BaseException)] == [3]
    assert repr(answers[3]) == "ValueError('n3')"
