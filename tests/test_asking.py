"""Plugins on the hooks of a publish: they are asked in turn, and an answer that is no good doesn't count."""

from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.core.publish import CHANNELS, Draft
from hubd.core.users import UserSet
from hubd.testing import Other, hub_for
from tests.publishing_world import SEGMENT, Made, plugin, preparing, preparing_later, raises, resolving


def add(text: str) -> Any:
    return lambda draft: {"notification": {**draft.payload, "text": draft.payload.get("text", "") + text}}


@pytest.mark.parametrize("first", [preparing, preparing_later])
async def test_each_changes_what_the_one_before_made(first: Any) -> None:
    others = (Other("second", preparing(add("b"))), Other("third", preparing_later(add("c"))))
    async with hub_for(first(add("a")), others=others) as hub:
        ada = hub.connect("ada", ["t"])
        await hub.publish("t", {"type": "x"})
        assert [one["text"] for one in ada.notifications()] == ["abc"]


@pytest.mark.parametrize("bad", [5, {"priority": "loud"}, {"to": "t"}, {"notification": {"type": 5}}])
async def test_a_change_that_is_no_good_is_a_fault_and_the_others_go_on(bad: Any) -> None:
    def prepare(draft: Draft) -> Any:
        return bad

    async with hub_for(preparing(prepare), others=(Other("second", preparing(add("b"))),), allow_faults=True) as hub:
        ada = hub.connect("ada", ["t"])
        await hub.publish("t", {"type": "x"})
        assert [one["text"] for one in ada.notifications()] == ["b"]
        assert [fault.plugin for fault in hub.faults] == ["plugin"]


async def test_a_segment_is_all_that_any_of_them_says() -> None:
    others = (Other("second", resolving(lambda made, segment: ["b", "user:bob"])), Other("third", resolving(nothing)))
    async with hub_for(resolving(lambda made, segment: made.hub.users(["ada"])), others=others) as hub:
        them = [hub.connect("ada"), hub.connect("bob", ["b"]), hub.connect("eve", ["c"])]
        await hub.publish(SEGMENT)
        assert [len(one.notifications()) for one in them] == [1, 1, 0]


def nothing(made: Made, segment: Any) -> Any:
    return None


@pytest.mark.parametrize("answer", ["t", 5, ["no channel!"], [5]])
async def test_an_answer_that_is_no_good_refuses_the_call(answer: Any) -> None:
    others = (Other("second", resolving(lambda made, segment: ["t"])),)
    async with hub_for(resolving(lambda made, segment: answer), others=others, allow_faults=True) as hub:
        ada = hub.connect("ada", ["t"])
        with pytest.raises(Problem, match="plugin"):
            await hub.publish(SEGMENT)
        assert (ada.notifications(), [fault.kind for fault in hub.faults]) == ([], ["bad_answer"])


@pytest.mark.parametrize("answer", [
    UserSet(range(1, CHANNELS + 2)), [f"t{number}" for number in range(CHANNELS + 1)],
])  # fmt: skip
async def test_too_many_are_refused(answer: Any) -> None:
    async with hub_for(resolving(lambda made, segment: answer)) as hub:
        with pytest.raises(Problem) as refused:
            await hub.publish(SEGMENT)
        assert refused.value.code == "invalid"


async def test_a_segment_that_nobody_knows_is_refused() -> None:
    async with hub_for(resolving(nothing)) as hub:
        with pytest.raises(Problem) as refused:
            await hub.publish(SEGMENT)
        assert [error.path for error in refused.value.errors] == ["to.segment"]


@pytest.mark.parametrize(("said", "is_refused"), [
    ({"persistence": "persistent"}, True), ({"priority": "critical"}, True), ({}, False),
])  # fmt: skip
async def test_what_must_not_get_lost_is_refused_when_it_is_not_kept(said: dict[str, Any], is_refused: bool) -> None:
    kept: list[str] = []

    def keep(self: Made, notification: Any, recipients: Any) -> None:
        kept.append(notification.id)

    others = (Other("second", plugin(store_notification=keep)),)
    async with hub_for(plugin(store_notification=raises(OSError("full"))), others=others, allow_faults=True) as hub:
        if is_refused:
            with pytest.raises(Problem):
                await hub.publish("t", id="x", **said)
        else:
            await hub.publish("t", id="x", **said)
        assert kept == ([] if is_refused else ["x"]), "the others keep it as far as it goes out"
