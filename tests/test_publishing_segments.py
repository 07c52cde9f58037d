"""Segments: a plugin says who is meant."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hubd.core.channel import patterns
from hubd.core.errors import Problem
from hubd.core.publish import CHANNELS
from hubd.core.users import UserSet
from hubd.testing import Other, hub_for
from tests.publishing_world import SEGMENT, Made, plugin, resolving


async def test_without_a_plugin_that_knows_segments_they_are_refused() -> None:
    async with hub_for(plugin()) as hub:
        with pytest.raises(Problem) as refused:
            await hub.publish({"segment": "everybody"})  # type: ignore[arg-type]  # a segment is no name
        assert [error.path for error in refused.value.errors] == ["to"]


async def test_a_segment_is_users_or_channels_or_both() -> None:
    answers: list[Any] = []
    async with hub_for(resolving(lambda plugin, segment: answers[-1])) as hub:
        users = [hub.connect(user, ["t"]) for user in ("ada", "bob", "cyd")]

        async def reached(answer: Any) -> list[int]:
            answers.append(answer)
            before = [len(user.notifications()) for user in users]
            receipt = await hub.publish(SEGMENT)
            after = [len(user.notifications()) - count for user, count in zip(users, before, strict=True)]
            assert receipt.live == sum(after)
            return after

        assert await reached(hub.plugin.hub.users(["ada", "cyd"])) == [1, 0, 1]
        assert await reached(["user:bob:notifications"]) == [0, 1, 0]
        assert await reached(("t", "user:bob:notifications")) == [1, 1, 1]
        assert await reached(name for name in ["notifications"]) == [1, 1, 1]
        assert await reached({"t": 1}) == [1, 1, 1]
        assert hub.plugin.seen == [{"plan": "free"}] * 5


async def test_what_several_plugins_know_is_put_together() -> None:
    async def resolve_audience(self: Made, segment: Any) -> list[str]:
        await asyncio.sleep(0)
        return ["user:bob:notifications", "user:ada:notifications"]

    others = [Other("second", plugin(resolve_audience=resolve_audience)), Other("third", resolving(lambda *args: None))]
    async with hub_for(resolving(lambda plugin, segment: plugin.hub.users(["ada"])), others=others) as hub:
        ada, bob = hub.connect("ada"), hub.connect("bob")
        assert (await hub.publish(SEGMENT)).live == 2
        assert [len(user.notifications()) for user in (ada, bob)] == [1, 1]


@pytest.mark.parametrize("answer", [UserSet(), [], UserSet([10**6])])
async def test_a_segment_that_nobody_is_in_is_taken_and_reaches_nobody(answer: Any) -> None:
    async with hub_for(resolving(lambda plugin, segment: answer)) as hub:
        before = hub.hub.attendance.sequence
        receipt = await hub.publish(SEGMENT, id="n1")
        assert receipt.live == 0 and receipt.id == "n1" and hub.hub.attendance.sequence == before
        assert (await hub.publish(SEGMENT, id="n1")) == receipt
        assert len(hub.plugin.seen) == 1  # the second time it was known


async def refusal(made: type[Made], **more: Any) -> Problem:
    async with hub_for(made, allow_faults=True, **more) as hub:
        with pytest.raises(Problem) as refused:
            await hub.publish(SEGMENT)
        return refused.value


async def test_a_segment_that_nobody_knows_is_refused() -> None:
    problem = await refusal(resolving(lambda *args: None))
    assert problem.code == "invalid" and [error.path for error in problem.errors] == ["to.segment"]


TOO_MANY: dict[str, Callable[[Made], Any]] = {
    "users": lambda plugin: plugin.hub.users(f"u{number}" for number in range(CHANNELS + 1)),
    "names": lambda plugin: [f"t{number}" for number in range(CHANNELS + 1)],
    "users of whom one isn't known": lambda plugin: UserSet(
        [10**6, *plugin.hub.users(f"u{number}" for number in range(CHANNELS + 500))]
    ),
    "users of whom the first aren't known": lambda plugin: UserSet(
        [plugin.hub.number_of(f"u{number}") + 100 for number in range(CHANNELS + 200)]
    ),
}


@pytest.mark.parametrize("many", TOO_MANY.values(), ids=TOO_MANY)
async def test_a_segment_of_too_many_is_refused_as_a_whole(many: Callable[[Made], Any]) -> None:
    problem = await refusal(resolving(lambda plugin, segment: many(plugin)))
    assert problem.code == "invalid" and [error.path for error in problem.errors] == ["to.segment"]


async def test_far_too_many_are_refused_at_once() -> None:
    everybody = UserSet(range(1, 2_000_000))

    async def resolve_audience(self: Made, segment: Any) -> UserSet:
        return everybody

    async with hub_for(plugin(resolve_audience=resolve_audience)) as hub:
        hub.plugin.hub.users(f"u{number}" for number in range(50_000))
        begun = asyncio.get_running_loop().time()
        with pytest.raises(Problem, match="is not valid|more than|segment"):
            await hub.publish(SEGMENT)
        assert asyncio.get_running_loop().time() - begun < 0.5


@pytest.mark.parametrize("answer", [1, True, "t", ["no topic!"], [None], b"t", object(), [["t"]]])
async def test_nonsense_for_a_segment_refuses_it(answer: Any) -> None:
    problem = await refusal(resolving(lambda *args: answer))
    assert problem.code == "unavailable" and "'plugin' failed" in problem.message


@pytest.mark.parametrize(
    "segment", [None, "x" * 5000, {"deep": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}]
)
async def test_segments_that_are_none(segment: Any) -> None:
    async with hub_for(resolving(lambda *args: ["t"])) as hub:
        with pytest.raises(Problem) as refused:
            await hub.publish({"segment": segment})  # type: ignore[arg-type]  # a segment is no name
        assert [error.path for error in refused.value.errors] == ["to.segment"] and hub.plugin.seen == []


async def test_a_key_may_publish_to_a_segment_only_where_it_may_publish_to_all_in_it() -> None:
    async with hub_for(resolving(lambda plugin, segment: segment)) as hub:

        async def publish(*names: str) -> int:
            draft = hub.hub.prepare({"to": {"segment": [*names]}, "notification": {"type": "x"}})
            receipt, _ = await hub.hub.publish(draft, "key:k", allowed=patterns(("news:*",)))
            return receipt.live

        hub.connect("ada", ["news:1"])
        assert await publish("news:1", "news:2") == 1
        with pytest.raises(Problem) as refused:
            await publish("news:1", "secret")
        assert refused.value.code == "forbidden" and "secret" not in refused.value.message
