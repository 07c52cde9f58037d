"""One call of a backend: it ends in time, and there is an answer, whatever it does."""

import asyncio
from typing import Any

import pytest

from hubd.hooks.push import Device, Outcome, PushResult
from hubd.push.sending import REASON_CHARS, Answer, UnderWay, call
from hubd.tasks import Tasks
from tests.push.pushing_world import ACCEPTED, DOWN, LATER, Service
from tests.push.test_pace import push
from tests.simulation.loop import VirtualLoop

DEVICE = Device("dev_1", "ada", "fake", {"token": "t", "host": "h"})


def answer_to(script: Any, timeout_s: float = 5.0) -> Answer:
    loop = VirtualLoop(1)
    service = Service(loop)
    service.script = script
    try:
        return loop.run_until_complete(call(service, DEVICE, push(), timeout_s))
    finally:
        loop.close()


async def after(seconds: float) -> PushResult:
    await asyncio.sleep(seconds)
    return ACCEPTED


@pytest.mark.parametrize(
    ("result", "is_hosts"),
    [(ACCEPTED, False), (LATER, False), (DOWN, True), (ACCEPTED._replace(for_all=True), False)],
    ids=str,
)
def test_an_answer_is_as_it_is(result: PushResult, is_hosts: bool) -> None:
    assert answer_to(lambda sent: result) == Answer(result, is_hosts)


def test_what_takes_too_long() -> None:
    assert answer_to(lambda sent: after(4.9)).result == ACCEPTED
    assert answer_to(lambda sent: after(5.1)) == Answer(PushResult(Outcome.LATER, "timeout"), is_hosts=True)


def test_a_backends_own_timeout_is_its_fault() -> None:
    answer = answer_to(lambda sent: TimeoutError())
    assert (answer.result.reason, answer.is_hosts, type(answer.fault)) == ("failed", True, TimeoutError)


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), asyncio.CancelledError(), KeyboardInterrupt()], ids=repr)
def test_whatever_it_raises_is_later(error: BaseException) -> None:
    answer = answer_to(lambda sent: error)
    assert (answer.result, answer.is_hosts, answer.fault) == (PushResult(Outcome.LATER, "failed"), True, error)


@pytest.mark.parametrize("result", [None, "accepted", ("accepted",), PushResult("accepted")], ids=repr)  # type: ignore[arg-type]
def test_what_is_no_answer(result: object) -> None:
    answer = answer_to(lambda sent: result)
    assert (answer.result.outcome, type(answer.fault)) == (Outcome.LATER, TypeError)


def test_reasons_are_short_and_one_line() -> None:
    assert answer_to(lambda sent: LATER._replace(reason="a\n b\t" + "c" * 900)).result.reason == "a b " + "c" * 76
    assert REASON_CHARS == 80


def test_at_the_end_it_is_waited_for_what_is_under_way_but_not_for_ever() -> None:
    loop = VirtualLoop(1)
    ended = []

    async def work(seconds: float, *, stubborn: bool = False) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if stubborn:
                await asyncio.sleep(3600)
            raise
        ended.append(seconds)

    async def all() -> None:
        tasks = Tasks()
        under_way = UnderWay(tasks)
        for seconds in (1, 4, 20):
            under_way.start(work(seconds))
        under_way.start(work(30, stubborn=True))
        assert len(under_way) == 4
        await under_way.finish(5)
        assert ended == [1, 4]
        assert loop.now == 1006.0
        assert len(under_way) == 1
        await tasks.close()
        assert len(under_way) == 0

    loop.run_until_complete(all())
    loop.close()
