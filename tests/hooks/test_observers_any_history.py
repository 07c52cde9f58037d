"""Any plugins, any history, against a model: nothing is lost, doubled or out of order."""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from hubd.hooks.switching import FAULTS
from tests.hooks.observers_world import World, world

__all__ = ["world"]


@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_lost_doubled_or_out_of_order_whatever_plugins_do(world: World, seed: int) -> None:
    random = Random(seed)
    told: dict[str, list[int]] = {}
    failed: Counter[str] = Counter()

    def plugin(name: str, style: str) -> Callable[..., Any]:
        told[name] = []

        def quick(number: int) -> None:
            told[name].append(number)

        async def now_and_then(number: int) -> None:
            told[name].append(number)
            if random.random() < {"slow": 0.5, "mixed": 0.05, "never": 0}[style]:
                await asyncio.sleep(random.choice((0, 0, 0.001)))

        async def failing(number: int) -> None:
            told[name].append(number)
            if random.random() < 0.02 and failed[name] < FAULTS - 1:
                failed[name] += 1
                await asyncio.sleep(0)
                raise ValueError

        return {"quick": quick, "failing": failing}.get(style, now_and_then)

    hooks = ("published", "acked", "retracted")
    wants: dict[str, tuple[str, ...]] = {}
    for place in range(6):
        name, style = f"p{place}", random.choice(["quick", "slow", "mixed", "never", "failing"])
        call = plugin(name, style)
        wants[name] = tuple(hook for hook in hooks if random.random() < 0.7)
        world.add(name, **dict.fromkeys(wants[name], call))
    observers = world.start()
    expected: dict[str, list[int]] = {name: [] for name in wants}
    for number in range(400):
        hook = random.choice(hooks)
        observers.each[hook].tell(number)
        for name, wanted in wants.items():
            if hook in wanted:
                expected[name].append(number)
        if random.random() < 0.2:
            await asyncio.sleep(random.choice((0, 0, 0.001)))
    await world.all_told(10)
    assert told == expected
    assert {name: plugin.faults["raised"] for name, plugin in world.hooks.plugins.items() if plugin.faults} == failed
    assert observers.lost().total() == 0
