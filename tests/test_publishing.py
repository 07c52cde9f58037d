"""The way of a notification through plugins: prepared, authorized, stored, published."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.core.publish import Draft
from hubd.hooks.switching import FAULTS
from hubd.testing import Other, hub_for, identity
from tests.publishing_world import SEGMENT, Made, got, plugin, preparing, preparing_later, raises

# --- Prepared


@pytest.mark.parametrize("prepare", [preparing, preparing_later])
async def test_what_a_plugin_changes_is_what_comes(prepare: Callable[..., type[Made]]) -> None:
    change = {
        "notification": {"type": "y", "text": "changed"},
        "priority": "critical",
        "persistence": "persistent",
        "ttl": 7.0,
        "collapse_key": "c",
        "group": "g",
    }
    async with hub_for(prepare(lambda draft: change)) as hub:
        ada = hub.connect("ada", ["t"])
        await hub.publish("t", {"type": "x", "text": "as sent"}, id="n1", collapse_key="d")
        assert got(ada) == [{"id": "n1", "type": "y", "text": "changed", "priority": "critical"}]
        kept = hub.hub.rings.find("n1", hub.clock.monotonic())
        assert kept is not None
        assert (kept.persistence, kept.collapse_key, kept.group) == ("persistent", "c", "g")
        assert kept.expires_at == hub.clock.monotonic() + 7


@pytest.mark.parametrize("change", [None, {}])
async def test_what_a_plugin_leaves_alone_stays_as_it_was(change: Any) -> None:
    async with hub_for(preparing(lambda draft: change)) as hub:
        ada = hub.connect("ada", ["t"])
        await hub.publish(["t", "u"], {"type": "x", "deep": {"a": [1, {"b": None}]}}, id="n1", ttl=9, group="g")
        (notification,) = ada.notifications()
        assert notification["deep"] == {"a": [1, {"b": None}]}
        kept = hub.hub.rings.find("n1", hub.clock.monotonic())
        assert kept is not None and kept.group == "g" and [*kept.channels] == ["t", "u"]
        assert kept.expires_at == hub.clock.monotonic() + 9


async def test_none_takes_a_field_away() -> None:
    async with hub_for(preparing(lambda draft: {"collapse_key": None, "group": None})) as hub:
        await hub.publish("t", id="n1", collapse_key="c", group="g")
        kept = hub.hub.rings.find("n1", hub.clock.monotonic())
        assert kept is not None and kept.collapse_key is None and kept.group is None


async def test_each_sees_what_those_before_it_changed() -> None:
    def longer(draft: Draft) -> Any:
        return {"notification": {**draft.payload, "text": draft.payload["text"] + "!"}}

    others = [Other("second", preparing_later(longer)), Other("third", preparing(longer))]
    async with hub_for(preparing(longer), name="first", others=others) as hub:
        ada = hub.connect("ada", ["t"])
        await hub.publish("t", {"type": "x", "text": "hi"})
        assert ada.notifications()[0]["text"] == "hi!!!"
        third: Any = hub.hub.hooks.plugins["third"].instance
        assert [draft.payload["text"] for draft in third.seen] == ["hi!!"]
        assert [draft.payload["text"] for draft in hub.plugin.seen] == ["hi"]  # the draft it got wasn't changed


NONSENSE: dict[str, Callable[[Draft], Any]] = {
    "another audience": lambda draft: {"to": "notifications"},
    "another id": lambda draft: {"id": "x"},
    "unknown": lambda draft: {"notificaton": {}},
    "a number": lambda draft: 1,
    "a text": lambda draft: "ttl",
    "a draft": lambda draft: draft,
    "pairs": lambda draft: [("ttl", 1)],
    "no type": lambda draft: {"notification": {"text": "x"}},
    "the hub's fields": lambda draft: {"notification": {"type": "x", "id": "y"}},
    "a bad priority": lambda draft: {"priority": "loud"},
    "a priority object": lambda draft: {"priority": draft.priority},
    "a bad ttl": lambda draft: {"ttl": -1},
    "no number": lambda draft: {"ttl": float("nan")},
    "critical and ephemeral": lambda draft: {"priority": "critical", "persistence": "ephemeral"},
    "too large": lambda draft: {"notification": {"type": "x", "text": "y" * 10**6}},
    "too deep": lambda draft: {"notification": {"type": "x", "deep": eval("[" * 60 + "]" * 60)}},
    "no JSON": lambda draft: {"notification": {"type": "x", "what": object()}},
    "a large number": lambda draft: {"notification": {"type": "x", "what": 2**80}},
    "half a character": lambda draft: {"notification": {"type": "x", "what": "\ud800"}},
    "numbers for names": lambda draft: {1: 2},
    "raises": raises(ValueError()),
    "exits": raises(SystemExit()),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_is_a_fault_and_it_goes_on_unchanged(answer: Callable[[Draft], Any]) -> None:
    others = [Other("good", preparing(lambda draft: {"priority": "informational"}))]
    async with hub_for(preparing(answer), name="bad", others=others, allow_faults=True) as hub:
        ada = hub.connect("ada", ["t"])
        for number in range(FAULTS + 2):
            await hub.publish("t", {"type": "x", "text": "as sent"}, id=f"n{number}")
        unchanged = {"type": "x", "text": "as sent", "priority": "informational"}
        assert got(ada) == [{"id": f"n{number}", **unchanged} for number in range(FAULTS + 2)]
        assert [fault.plugin for fault in hub.faults] == ["bad"] * FAULTS
        assert {fault.where for fault in hub.faults} == {"prepare_notification"}


async def test_why_an_answer_is_no_good_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    answer = {"ttl": -1, "notification": {"type": "x", "secret": "hunter2", "id": "y"}}
    async with hub_for(preparing(lambda draft: answer), allow_faults=True) as hub:
        with caplog.at_level(logging.ERROR, "hubd"):
            await hub.publish("t")
        (line,) = (record.getMessage() for record in caplog.records)
        assert "ttl" in line and "notification.id" in line and "hunter2" not in line


async def test_a_plugin_may_refuse_a_call() -> None:
    refuse = preparing(raises(Problem("forbidden", "no swearing")))
    after = preparing(lambda draft: None)
    async with hub_for(refuse, others=[Other("after", after)]) as hub:
        ada = hub.connect("ada", ["t"])
        for _ in range(FAULTS + 1):
            with pytest.raises(Problem, match="no swearing"):
                await hub.publish("t", id="n1")
        assert got(ada) == [] and hub.hub.counts.published["refused", "important"] == FAULTS + 1
        asked: Any = hub.hub.hooks.plugins["after"].instance
        assert asked.seen == []
        body = {"to": "t", "notification": {"type": "x"}}
        answer = await hub.request("POST", "/api/notifications", json=body, key=True)
        assert answer.status == 403 and answer.json()["detail"] == "no swearing"


async def test_switched_off_while_another_is_asked_refuses_nobody() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def prepare_notification(self: Made, draft: Draft) -> None:
        begun.set()
        await go.wait()

    others = [Other("other", preparing(lambda draft: {"priority": "informational"}))]
    async with hub_for(plugin(prepare_notification=prepare_notification), others=others, allow_faults=True) as hub:
        ada = hub.connect("ada", ["t"])
        task = asyncio.create_task(hub.publish("t", id="n1"))
        await begun.wait()
        for _ in range(FAULTS):
            hub.hub.hooks.fault(hub.hub.hooks.plugins["other"], "elsewhere", "raised")
        go.set()
        await task
        assert got(ada) == [{"id": "n1", "type": "test", "priority": "important"}]


async def test_a_plugin_that_publishes_whenever_something_is_published_comes_to_an_end() -> None:
    async def prepare_notification(self: Made, draft: Draft) -> None:
        await self.hub.publish("t", {"type": "again"})

    async with hub_for(plugin(prepare_notification=prepare_notification), allow_faults=True) as hub:
        ada = hub.connect("ada", ["t"])
        await hub.publish("t", id="n1")
        assert ada.notifications()[-1]["id"] == "n1" and hub.faults


# --- Authorized


def authorizing(answer: Callable[..., Any]) -> type[Made]:
    async def authorize_publish(self: Made, publisher: str, identity: Any, channels: Any, draft: Draft) -> Any:
        self.seen.append((publisher, identity and identity.user, channels, draft.payload["type"]))
        await asyncio.sleep(0)
        return answer(channels)

    return plugin(authorize_publish=authorize_publish)


async def test_one_objection_is_enough() -> None:
    async with hub_for(authorizing(lambda channels: [name for name in channels if name == "secret"])) as hub:
        ada = hub.connect("ada", ["t", "secret"])
        await hub.publish("t")
        for number in range(FAULTS + 1):
            with pytest.raises(Problem, match="'secret'") as refused:
                await hub.publish(["t", "secret"], id=f"n{number}")
            assert refused.value.code == "forbidden"
        assert len(ada.notifications()) == 1
        draft = hub.hub.prepare({"to": "t", "notification": {"type": "mine"}})
        await hub.hub.publish(draft, "user:ada", identity("ada"))
        assert hub.plugin.seen[0] == ("key:test", None, ("t",), "test")
        assert hub.plugin.seen[-1] == ("user:ada", "ada", ("t",), "mine")


async def test_what_a_plugin_publishes_is_authorized_too() -> None:
    async with hub_for(authorizing(lambda channels: None), name="p") as hub:
        await hub.plugin.hub.publish("t", {"type": "x"})
        assert hub.plugin.seen == [("plugin:p", None, ("t",), "x")]


async def test_no_plugin_may_be_passed_over() -> None:
    async with hub_for(authorizing(raises(ValueError())), allow_faults=True) as hub:
        ada = hub.connect("ada", ["t"])
        for _ in range(2 * FAULTS):
            with pytest.raises(Problem) as refused:
                await hub.publish("t", id="n1")
            assert refused.value.code == "unavailable"
        assert len(hub.plugin.seen) == 2 * FAULTS and got(ada) == []


# --- Stored


@pytest.mark.parametrize(
    ("said", "must"),
    [
        ({}, False),
        ({"priority": "important"}, False),
        ({"persistence": "ephemeral"}, False),
        ({"priority": "critical"}, True),
        ({"persistence": "persistent"}, True),
    ],
)
@pytest.mark.parametrize("error", [ValueError(), Problem("unavailable", "the disk is full")])
async def test_what_must_not_get_lost_is_refused_when_it_cant_be_stored(
    error: Exception, said: dict[str, Any], must: bool
) -> None:
    after: list[str] = []

    async def fails(self: Made, notification: Any) -> None:
        await asyncio.sleep(0)
        raise error

    def stores(self: Made, notification: Any) -> None:
        after.append(notification.id)

    others = [Other("after", plugin(store_notification=stores))]
    async with hub_for(plugin(store_notification=fails), others=others, allow_faults=True) as hub:
        ada = hub.connect("ada", ["t"])
        refuses = must or isinstance(error, Problem)  # that is what it has decided, and no fault
        for number in range(FAULTS + 2):  # switched off it refuses, too
            try:
                await hub.publish("t", id=f"n{number}", **said)
            except Problem:
                assert refuses
            else:
                assert not refuses
        ids = [] if refuses else [f"n{number}" for number in range(FAULTS + 2)]
        assert [one["id"] for one in ada.notifications()] == ids == after


@pytest.mark.parametrize("waits", [False, True])
async def test_where_nothing_must_not_get_lost_each_store_is_asked_once_whoever_fails(waits: bool) -> None:
    asked: list[str] = []

    def storing(name: str) -> type[Made]:
        def stores(self: Made, notification: Any) -> None:
            asked.append(name)
            if name.startswith("bad"):
                raise ValueError

        async def stores_later(self: Made, notification: Any) -> None:
            await asyncio.sleep(0)
            stores(self, notification)

        return plugin(store_notification=stores_later if waits else stores)

    names = ["one", "bad1", "two", "bad2", "bad3", "three"]
    others = [Other(name, storing(name)) for name in names[1:]]
    async with hub_for(storing(names[0]), name=names[0], others=others, allow_faults=True) as hub:
        for _ in range(FAULTS):
            await hub.publish("t")
        assert asked == names * FAULTS


async def test_nobody_gets_it_before_it_is_stored_and_the_publisher_waits() -> None:
    go = asyncio.Event()

    async def stores(self: Made, notification: Any) -> None:
        self.seen.append((notification.id, notification.sequence))
        await go.wait()

    async with hub_for(plugin(store_notification=stores)) as hub:
        ada = hub.connect("ada", ["t"])
        task = asyncio.create_task(hub.publish("t", id="n1"))
        await asyncio.sleep(0.02)
        assert hub.plugin.seen == [("n1", 0)] and not task.done() and got(ada) == []
        go.set()
        await task
        assert len(got(ada)) == 1


# --- Ids, together with all that


async def test_a_repeated_call_asks_no_plugin_again_even_if_they_would_say_something_else() -> None:
    texts = iter("abcdef")
    stored: list[str] = []

    def stores(self: Made, notification: Any) -> None:
        stored.append(notification.id)

    change = preparing_later(lambda draft: {"notification": {"type": "x", "text": next(texts)}})
    async with hub_for(change, others=[Other("store", plugin(store_notification=stores))]) as hub:
        ada = hub.connect("ada", ["t"])
        call = {"type": "x", "text": "as sent"}
        first, second = await asyncio.gather(hub.publish("t", call, id="n1"), hub.publish("t", call, id="n1"))
        third = await hub.publish("t", call, id="n1")
        assert first == second == third
        assert got(ada) == [{"id": "n1", "type": "x", "text": "a", "priority": "important"}] and stored == ["n1"]
        with pytest.raises(Problem) as refused:  # what counts is what was called, not what plugins made of it
            await hub.publish("t", {"type": "x", "text": "a"}, id="n1")
        assert refused.value.code == "id_conflict"


async def test_a_call_that_was_refused_may_be_tried_again() -> None:
    answers: list[Callable[[Draft], Any]] = [raises(Problem("unavailable", "not now")), lambda draft: None]

    def next_answer(draft: Draft) -> Any:
        return answers.pop(0)(draft)

    async with hub_for(preparing(next_answer)) as hub:
        ada = hub.connect("ada", ["t"])
        with pytest.raises(Problem, match="not now"):
            await hub.publish("t", id="n1")
        await hub.publish("t", id="n1")
        assert len(got(ada)) == 1


# --- Afterwards, and how often


async def test_every_hook_is_called_once_whatever_the_audience() -> None:
    calls: list[str] = []

    def noting(name: str, answer: Any = None) -> Callable[..., Any]:
        def note(self: Made) -> Any:
            calls.append(name)
            return answer

        return note

    way = ["authorize_publish", "prepare_notification", "resolve_audience", "filter_recipients", "store_notification"]
    hooks = {name: noting(name, ["t"] if name == "resolve_audience" else None) for name in way}
    async with hub_for(plugin(**hooks, published=noting("published"))) as hub:
        for number in range(5000):
            hub.connect(f"u{number}", ["t"])
        calls.clear()
        receipt = await hub.publish(SEGMENT)
        assert receipt.live == 5000
        assert calls == [*way, "published"]


async def test_those_who_observe_are_told_of_what_was_published_and_not_of_what_was_refused() -> None:
    def published(self: Made, notification: Any, live: int) -> None:
        self.seen.append((notification.id, notification.cursor, live))

    made = type("Plugin", (authorizing(lambda channels: channels if "secret" in channels else ()),), {})
    async with hub_for(plugin(published=published), others=[Other("guard", made)]) as hub:
        hub.connect("ada", ["t", "secret"])
        receipts = [await hub.publish("t", id="n1"), await hub.publish("u", id="n2"), await hub.publish("t", id="n1")]
        with pytest.raises(Problem):
            await hub.publish("secret", id="n3")
        assert hub.plugin.seen == [("n1", receipts[0].cursor, 1), ("n2", receipts[1].cursor, 0)]
