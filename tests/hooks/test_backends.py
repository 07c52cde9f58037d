"""A plugin's push backend that does what it shouldn't: the fault is the plugin's, and the hub goes on."""

import asyncio
from typing import Any

import pytest

from hubd.core.errors import FieldError, Problem
from hubd.hooks.backends import FAILED, OFF, PluginBackend
from hubd.hooks.calls import Hooks
from hubd.hooks.switching import FAULTS, Plugin
from hubd.plugin import Address, Device, Outcome, Priority, Push, PushResult
from hubd.testing import FakeClock, RecordingBackend

DEVICE = Device("d1", "ada", "toy", {"token": "t", "host": ""})
PUSH = Push("n1", "x", Priority.IMPORTANT, "T", "", "", None, "n1", 0, 60, {}, lambda most: b"{}")


class World:
    """A backend in its guard, and the faults that were counted."""

    def __init__(self, **wrong: Any) -> None:
        backend = RecordingBackend()
        for name, value in wrong.items():
            setattr(backend, name, value)
        self.plugin = Plugin("toy", None)
        self.faults: list[tuple[str, str]] = []
        hooks = Hooks(FakeClock())
        hooks.on_fault.append(lambda plugin, where, kind, error: self.faults.append((where, kind)))
        self.guarded = PluginBackend(self.plugin, backend, hooks)


def _raises(error: BaseException) -> Any:
    def raising(*args: Any) -> Any:
        raise error

    return raising


async def test_one_that_does_as_it_should_isnt_noticed() -> None:
    world = World()
    assert world.guarded.check({"token": "t"}).key == "t"
    assert world.guarded.check_overrides({"badge": 1}) == []
    assert world.guarded.check_overrides({"badge": "x"}) == [FieldError("badge", "must be a number")]
    assert world.guarded.destination(DEVICE) == "toy"
    assert (await world.guarded.send(DEVICE, PUSH)).outcome is Outcome.ACCEPTED
    with pytest.raises(Problem, match="422|token|wrong") as refused:
        world.guarded.check({})
    assert [error.path for error in refused.value.errors] == ["token"] and not world.faults


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "accepted",
        (Outcome.ACCEPTED, "200", None, False, None),
        PushResult("accepted", ""),  # type: ignore[arg-type]  # as a plugin without types may have it
        PushResult(Outcome.LATER, "", float("nan")),
        PushResult(Outcome.LATER, "", "9"),  # type: ignore[arg-type]
        PushResult(Outcome.LATER, "two\nlines"),
        PushResult(Outcome.LATER, "x" * 101),
    ],
)
async def test_an_answer_that_is_none(answer: Any) -> None:
    async def send(device: Device, push: Push) -> Any:
        return answer

    world = World(send=send)
    assert await world.guarded.send(DEVICE, PUSH) == FAILED
    assert world.faults == [("push backend toy: send", "bad_answer")]


@pytest.mark.parametrize("error", [RuntimeError("secret"), SystemExit(), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_whatever_is_raised_means_later(error: BaseException) -> None:
    world = World(send=_raises(error))
    assert await world.guarded.send(DEVICE, PUSH) == FAILED
    assert world.faults == [("push backend toy: send", "raised")]


async def test_failing_often_doesnt_switch_it_off() -> None:
    world = World(send=_raises(OSError()))
    for _ in range(FAULTS + 1):
        await world.guarded.send(DEVICE, PUSH)
    assert world.plugin.is_on and len(world.faults) == FAULTS + 1


async def test_cancelling_a_push_is_no_fault() -> None:
    async def send(device: Device, push: Push) -> Any:
        await asyncio.sleep(3600)

    world = World(send=send)
    sending = asyncio.get_running_loop().create_task(world.guarded.send(DEVICE, PUSH))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not world.faults


async def test_one_that_is_switched_off_isnt_called() -> None:
    world = World(send=_raises(AssertionError()))
    world.plugin.is_on = False
    assert await world.guarded.send(DEVICE, PUSH) == OFF and not world.faults


@pytest.mark.parametrize(
    "wrong",
    [lambda fields: None, lambda fields: Address("", {}), lambda fields: Address("k", 5), _raises(ValueError())],  # type: ignore[arg-type]
)
def test_a_check_that_fails_refuses(wrong: Any) -> None:
    world = World(check=wrong)
    with pytest.raises(Problem) as refused:
        world.guarded.check({"token": "t"})
    assert refused.value.code == "internal" and len(world.faults) == 1


@pytest.mark.parametrize("wrong", [lambda overrides: None, lambda overrides: ["x"], _raises(KeyError())])
def test_overrides_that_cant_be_checked_are_refused(wrong: Any) -> None:
    world = World(check_overrides=wrong)
    assert len(world.guarded.check_overrides({"badge": 1})) == 1 == len(world.faults)


@pytest.mark.parametrize(
    "wrong", [lambda device: None, lambda device: "", lambda device: "x" * 201, _raises(KeyError())]
)
def test_without_a_destination_it_is_the_platform(wrong: Any) -> None:
    world = World(destination=wrong)
    assert world.guarded.destination(DEVICE) == "toy" and len(world.faults) == 1
