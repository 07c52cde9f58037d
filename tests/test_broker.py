"""The broker of a hub that is alone: one sequence, in the order of the calls, handed on in the same step."""

import asyncio

import pytest

from hubd.broker import LocalBroker, Published
from hubd.core.notification import Notification
from tests.core.made import published


async def test_numbers_follow_each_other_from_one() -> None:
    seen: list[tuple[int, str]] = []

    def on_publication(sequence: int, notification: Notification) -> int:
        seen.append((sequence, notification.id))
        return 10 * sequence

    broker = LocalBroker()
    broker.start(on_publication)
    answers = [await broker.publish(published("a", id=id)) for id in "xyz"]
    assert seen == [(1, "x"), (2, "y"), (3, "z")]
    assert answers == [Published(1, 10), Published(2, 20), Published(3, 30)]


async def test_it_hands_on_before_anything_else_can_happen() -> None:
    happened: list[str] = []
    broker = LocalBroker()
    broker.start(lambda sequence, notification: happened.append(notification.id) or 0)
    asyncio.get_running_loop().call_soon(happened.append, "the loop's next turn")
    await broker.publish(published("a", id="x"))
    await broker.publish(published("a", id="y"))
    assert happened == ["x", "y"]
    await asyncio.sleep(0)
    assert happened[2:] == ["the loop's next turn"]


async def test_many_at_once_keep_the_order_of_their_calls() -> None:
    seen: list[str] = []
    broker = LocalBroker()
    broker.start(lambda sequence, notification: seen.append(notification.id) or 0)
    answers = await asyncio.gather(*(broker.publish(published("a", id=f"n{place}")) for place in range(50)))
    assert seen == [f"n{place}" for place in range(50)]
    assert [answer.sequence for answer in answers] == list(range(1, 51))


async def test_a_failure_is_the_publishers_and_its_number_is_used_up() -> None:
    def on_publication(sequence: int, notification: Notification) -> int:
        if notification.id == "bad":
            raise RuntimeError("no")
        return sequence

    broker = LocalBroker()
    broker.start(on_publication)
    with pytest.raises(RuntimeError):
        await broker.publish(published("a", id="bad"))
    assert await broker.publish(published("a", id="good")) == Published(2, 2)


async def test_the_local_one_goes_on_from_a_number() -> None:
    broker, handed_on = LocalBroker(), []
    broker.start(lambda sequence, notification: handed_on.append(sequence) or 0, 41)
    assert [(await broker.publish(published("t"))).sequence for _ in range(2)] == handed_on == [42, 43]
