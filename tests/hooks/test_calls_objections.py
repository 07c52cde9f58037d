"""What those object to who authorize: whatever they answer, nothing is let through by mistake."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hubd.core.errors import Problem
from tests.hooks.calls_world import World, always

NAMES = ("a", "b", "c")


async def denied(*answers: Callable[..., Any]) -> tuple[list[str], World]:
    world = World()
    for number, answer in enumerate(answers):
        world.add(f"p{number}", authorize_subscribe=answer)
    return await world.hooks.denied(world.hook("authorize_subscribe"), None, NAMES, "identity", NAMES), world


async def test_objections_of_all_are_put_together() -> None:
    async def later(identity: Any, names: tuple[str, ...]) -> set[str]:
        await asyncio.sleep(0)
        return {"c"}

    def by_and_by(identity: Any, names: tuple[str, ...]) -> Iterator[str]:
        yield from names[:1]

    found, world = await denied(always(None), always(["b"]), always([]), later, by_and_by, always(("b", "b")))
    assert sorted(found) == ["a", "b", "c"] and world.faults == []


@pytest.mark.parametrize(
    "answer", ["a", b"a", 1, True, ["x"], [None], [["a"]], ["a", "x"], object(), {"x": 1}, {1: "a"}]
)
async def test_objections_that_are_none(answer: Any) -> None:
    with pytest.raises(Problem, match="'p1' failed"):
        await denied(always(["a"]), always(answer))


async def test_answers_that_fail_when_they_are_looked_at() -> None:
    def fails() -> Iterator[str]:
        yield "a"
        raise ValueError("its own")

    async def never() -> Any:
        yield "a"

    for answer in (fails(), never()):
        with pytest.raises(Problem, match="'p0' failed"):
            await denied(always(answer))


async def test_no_objection_is_overlooked_however_often_others_are_made() -> None:
    try:
        found, _ = await denied(always(["a"] * 100 + ["b"]))
    except Problem:
        found = ["a", "b"]  # refused altogether
    assert sorted(found) == ["a", "b"]


async def test_many_objections_to_many_channels_take_no_time() -> None:
    names = tuple(f"topic-{number}" for number in range(10_000))
    world = World()
    world.add("p", authorize_publish=lambda publisher, identity, channels, draft: channels[::-1])
    begun = asyncio.get_running_loop().time()
    found = await world.hooks.denied(world.hooks.authorize_publish, None, names, "key:k", None, names, "draft")
    assert len(found) == 10_000
    assert asyncio.get_running_loop().time() - begun < 0.5  # each with each would take many seconds
