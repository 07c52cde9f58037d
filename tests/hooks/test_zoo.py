"""The zoo: every bad plugin is kept beside a hub that goes on, and a critical notification is brought past each."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from hubd.hooks.table import HOOKS, Fails
from hubd.testing import Other, hub_for
from tests.hooks.zoo import misbehaving
from tests.hooks.zoo.day import LIMIT_S, Day, a_day
from tests.hooks.zoo.making import IN_A_DAY, Neighbour, animal, late_raiser, raiser
from tests.hooks.zoo.nonsense import ANSWERING, ANSWERS

SLACK_S = 2.0
MEASURED: list[tuple[float, str, str]] = []
LONG = partial(pytest.param, marks=pytest.mark.long)
USUAL = ("number", "numbers", "unknown", "field", "untouchable", "masked", "quits", "endless", "nobody")
"""Nonsense that is tried each time; the rest takes long."""
NAME: ContextVar[str] = ContextVar("name", default="")
REFUSES = ("authorize_publish", "store_notification")
"""Where a failure keeps a critical notification from being published, because these fail closed."""

MAKES_SENSE = {
    "filter_recipients": ["a_verdict"],
    "resolve_audience": ["set_of_odd_numbers", "unknown", "field", "deep", "nan", "priority"],
}
"""Answers that are odd, but can be taken by their word: a mapping is a list of its keys."""


@pytest.fixture(autouse=True)
def short_cleanup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.hooks.driving.CLEANUP_S", LIMIT_S)
    monkeypatch.setattr("hubd.hooks.manager.END_S", LIMIT_S)


@pytest.fixture(scope="module", autouse=True)
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """How long a critical notification took beside each: shown with -s, and kept in a file."""
    MEASURED.clear()
    yield
    lines = [f"{seconds * 1000:8.1f} ms  {outcome:9}  {name}" for seconds, outcome, name in sorted(MEASURED)]
    text = "\n".join(["A critical notification beside each animal:", *reversed(lines), ""])
    (tmp_path_factory.getbasetemp() / "zoo.txt").write_text(text)
    print(f"\n{text}")


@pytest.fixture(autouse=True)
def measured_as(request: pytest.FixtureRequest) -> None:
    NAME.set(request.node.name)


async def hangs() -> None:
    await asyncio.sleep(3600)


async def swallows() -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


async def day_with(plugin: type[Any]) -> tuple[Day, set[tuple[str, str]]]:
    """A day beside it, and where and how it failed."""
    others = [Other("neighbour", Neighbour)]
    async with hub_for(plugin, name="animal", others=others, allow_faults=True, timeout_s=LIMIT_S) as world:
        neighbour = world.plugins.hooks.plugins["neighbour"]
        day = await a_day(world)
    MEASURED.append((day.latency_s, "delivered" if day.delivered else "refused", NAME.get()))
    assert isinstance(neighbour.instance, Neighbour) and not neighbour.faults
    if day.delivered:
        assert {"prepare", "published alarm", "filtered", "shutdown"} <= {*neighbour.instance.told}
    return day, {(fault.where, fault.kind) for fault in world.faults}


def check(day: Day, hook: str) -> None:
    """Nothing else came of it than what the table of hooks says."""
    closed = HOOKS[hook].fails is Fails.CLOSED
    assert day.delivered is (hook not in REFUSES), day
    assert day.refused == ("unavailable" if hook in REFUSES else ""), day
    assert day.polled == (503 if closed and hook.startswith("auth") and hook != "authorize_publish" else 200), day
    assert (day.ready, day.metrics) == (200, 200), day


@pytest.mark.parametrize("hook", IN_A_DAY)
async def test_it_raises(hook: str) -> None:
    day, faults = await day_with(animal(hook, raiser(RuntimeError("no"))))
    check(day, hook)
    assert (hook, "raised") in faults and {where for where, _ in faults} == {hook}


ERRORS = [SystemExit, KeyboardInterrupt, asyncio.CancelledError, RecursionError, MemoryError, TimeoutError]
ERRORS += [StopIteration, StopAsyncIteration, BaseException]


@pytest.mark.parametrize(
    "hook", ["prepare_notification", "published", *map(LONG, ("filter_recipients", "check_health", "shutdown"))]
)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
async def test_whatever_it_raises(hook: str, error: type[BaseException]) -> None:
    day, faults = await day_with(animal(hook, raiser(error)))
    check(day, hook)
    assert faults == {(hook, "raised")}
    if not HOOKS[hook].sync:
        day, faults = await day_with(animal(hook, late_raiser(error, lambda: asyncio.sleep(0.001))))
        check(day, hook)
        assert faults == {(hook, "raised")}


@pytest.mark.parametrize("hook", [hook for hook in IN_A_DAY if not HOOKS[hook].sync])
async def test_it_hangs(hook: str) -> None:
    day, faults = await day_with(animal(hook, hangs))
    check(day, hook)
    assert faults == {(hook, "too_long")}
    assert day.latency_s < LIMIT_S + SLACK_S


@pytest.mark.parametrize("hook", ["prepare_notification", "published", "shutdown"])
async def test_it_takes_no_notice_of_being_cancelled(hook: str) -> None:
    day, faults = await day_with(animal(hook, swallows))
    check(day, hook)
    assert faults == {(hook, "too_long")}
    assert day.latency_s < 2 * LIMIT_S + SLACK_S


@pytest.mark.parametrize("answer", [answer if answer in USUAL else LONG(answer) for answer in ANSWERS])
@pytest.mark.parametrize("hook", ANSWERING)
async def test_it_answers_nonsense(hook: str, answer: str) -> None:
    day, faults = await day_with(animal(hook, ANSWERS[answer]))
    check(day, hook)
    if answer in MAKES_SENSE.get(hook, ()):
        assert not faults
    else:
        assert {where for where, _ in faults} == {hook} and {kind for _, kind in faults} <= {"bad_answer", "raised"}


HARMLESS: dict[type[Any], set[tuple[str, str]]] = {
    misbehaving.ChangesDraft: set(),
    misbehaving.ChangesRecipients: {("filter_recipients", "raised")},
    misbehaving.AddsRecipients: {("filter_recipients", "raised")},
    misbehaving.ChangesPayload: set(),
    misbehaving.ManyVerdicts: {("filter_recipients", "bad_answer")},
    misbehaving.OddProblem: {("check_health", "raised")},
    misbehaving.MuteError: {("prepare_notification", "raised"), ("published", "raised")},
    misbehaving.CancelsItself: {("published", "raised")},
    misbehaving.Leaks: set(),
    misbehaving.LeaksStubborn: set(),
    misbehaving.OwnStubborn: {("task animal: stubborn", "task")},
    misbehaving.FailingTask: {("task animal: work", "task")},
    misbehaving.QuittingTask: {("task animal: work", "task")},
    misbehaving.InterruptingTask: {("task animal: work", "task")},
    misbehaving.ManyUsers: set(),
}


@pytest.mark.parametrize("plugin", HARMLESS, ids=lambda plugin: plugin.__name__)
async def test_it_misbehaves(plugin: type[Any]) -> None:
    day, faults = await day_with(plugin)
    check(day, "published")
    assert faults == HARMLESS[plugin]
    assert day.latency_s < SLACK_S


async def test_too_many_objections_are_none() -> None:
    day, faults = await day_with(misbehaving.ManyDenied)
    check(day, "authorize_subscribe")
    assert faults == {("authorize_subscribe", "bad_answer")}


@pytest.mark.parametrize("plugin", [misbehaving.Leaks, misbehaving.LeaksStubborn, misbehaving.OwnStubborn])
async def test_what_it_left_running_is_ended_and_named(plugin: type[Any], caplog: pytest.LogCaptureFixture) -> None:
    async with hub_for(plugin, name="animal", allow_faults=True) as world:
        task = world.plugin.task
    assert task.done()
    named = [record.getMessage() for record in caplog.records if record.name == "hubd.plugins"]
    assert any("task=leak" in line or 'task="animal: stubborn"' in line for line in named), named
    stuck = plugin is not misbehaving.Leaks
    assert any(line.startswith("plugin_task_stuck") for line in named) is stuck
