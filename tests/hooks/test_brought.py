"""Brokers of plugins while the hub runs. What is refused at the start is in the zoo."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.hooks.brought import BACKENDS, checked_backends
from hubd.hooks.calls import BadAnswer
from hubd.plugin import Notification, OnPublication, Published, hookimpl
from hubd.testing import PluginWorld, RecordingBackend, hub_for


class Broker:
    """One that does what ``act`` does; else it works."""

    act: Callable[[], Any] | None = None

    def start(self, on_publication: OnPublication, sequence: int = 0) -> None:
        self.sequence = sequence
        self.on_publication = on_publication

    async def publish(self, notification: Notification) -> Published:
        if self.act is not None:
            answer: Published = await self.act()
            return answer
        self.sequence += 1
        return Published(self.sequence, self.on_publication(self.sequence, notification))


class Brings:
    def __init__(self, config: Any) -> None:
        self.made = Broker()

    @hookimpl
    def hubd_broker(self) -> Broker:
        return self.made


async def refused(world: PluginWorld) -> str:
    with pytest.raises(Problem) as caught:
        await world.publish("user:ada")
    assert caught.value.retry_after
    return caught.value.code


async def test_one_that_works() -> None:
    async with hub_for(Brings) as hub:
        ada = hub.connect("ada")
        await hub.publish("user:ada", {"type": "x"})
        assert [one["type"] for one in ada.notifications()] == ["x"]


ERRORS = [RuntimeError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, TimeoutError]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
async def test_one_that_fails_is_told_of_and_works_again(error: type[BaseException]) -> None:
    async def act() -> None:
        raise error("secret")

    async with hub_for(Brings, allow_faults=True) as hub:
        hub.plugin.made.act = act
        assert await refused(hub) == "unavailable"
        assert [(fault.where, fault.kind) for fault in hub.faults] == [("broker", "raised")]
        hub.plugin.made.act = None
        await hub.publish("user:ada")


@pytest.mark.parametrize("answer", [None, 5, (1, 2)], ids=repr)
async def test_one_that_answers_nonsense(answer: Any) -> None:
    async def act() -> Any:
        return answer

    async with hub_for(Brings, allow_faults=True) as hub:
        hub.plugin.made.act = act
        assert await refused(hub) == "unavailable"
        assert [fault.kind for fault in hub.faults] == ["bad_answer"]


async def test_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.hooks.brought.BROKER_S", 0.05)
    async with hub_for(Brings, allow_faults=True) as hub:
        hub.plugin.made.act = lambda: asyncio.sleep(3600)
        assert await refused(hub) == "unavailable"
        assert [fault.kind for fault in hub.faults] == ["too_long"]


async def test_a_problem_is_an_answer() -> None:
    async def act() -> None:
        raise Problem("rate_limited", "slowly", retry_after=1)

    async with hub_for(Brings) as hub:
        hub.plugin.made.act = act
        assert await refused(hub) == "rate_limited"


async def test_a_publisher_who_goes_away_is_no_fault() -> None:
    async with hub_for(Brings) as hub:
        hub.plugin.made.act = lambda: asyncio.sleep(3600)
        publishing = asyncio.get_running_loop().create_task(hub.publish("user:ada"))
        await hub.settle()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing


def test_not_more_push_backends_than_a_plugin_can_mean() -> None:
    assert len(list(checked_backends([RecordingBackend()] * BACKENDS))) == BACKENDS
    with pytest.raises(BadAnswer):
        list(checked_backends([RecordingBackend()] * (BACKENDS + 1)))
    assert list(checked_backends(None)) == []
