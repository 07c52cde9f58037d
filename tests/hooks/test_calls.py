"""Calling hooks: each plugin in its turn, by itself, counted; and what becomes of one that fails."""

import asyncio
import logging
from collections.abc import Callable, Generator
from itertools import count
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.hooks import calls
from hubd.hooks.calls import SAMPLE, BadAnswer, Hooks, Impl
from hubd.hooks.switching import FAULTS, FAULTS_S, OFF_MOST_S, STALL_S, Plugin
from hubd.hooks.table import HOOKS, Fails
from hubd.testing import FakeClock
from tests.hooks.calls_world import CLOSED, OPEN, SYNC, World, always, is_on, raising

# --- Asking


async def test_those_on_a_hook_stand_in_the_order_in_which_they_were_added() -> None:
    world = World()
    for name in ("one", "two", "three"):
        world.add(name, published=always(None), **{OPEN: always(name)})
    world.add("another", retracted=always(None))
    assert [impl.plugin.name for impl in world.hook(OPEN).impls] == ["one", "two", "three"]
    assert [impl.plugin.name for impl in world.hook("published").impls] == ["one", "two", "three"]
    assert [await world.hook(OPEN).ask(impl, 1) for impl in world.hook(OPEN).impls] == ["one", "two", "three"]


def test_a_hook_that_nobody_is_on_has_nobody_to_ask() -> None:
    world = World()
    assert set(world.hooks.each) == set(HOOKS)
    assert all(not hook.impls for hook in world.hooks.each.values())


async def of_coroutine(value: int) -> int:
    await asyncio.sleep(0)
    return value


class Awaitable:
    def __await__(self) -> Generator[Any, Any, int]:
        yield
        return 7


def future() -> "asyncio.Future[int]":
    made: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(made.set_result, 7)
    return made


@pytest.mark.parametrize(
    "answer",
    [
        lambda: 7,
        lambda: of_coroutine(7),
        lambda: asyncio.create_task(of_coroutine(7)),
        future,
        Awaitable,
        lambda: asyncio.gather(of_coroutine(7)),
    ],
    ids=["plain", "coroutine", "task", "future", "awaitable", "gather"],
)
async def test_an_answer_may_be_waited_for_in_any_way(answer: Callable[[], Any]) -> None:
    world = World()
    world.add("p", **{OPEN: lambda *args: answer()})
    assert await world.ask(OPEN) in (7, [7])
    assert world.faults == []


async def test_calls_and_the_time_that_they_took_are_counted() -> None:
    world = World(timeout_s=5)

    async def slow() -> None:
        await asyncio.sleep(0.02)

    world.add("slow", check_health=slow)
    world.add("raises", check_health=raising(ValueError()))
    slow_impl, raises = world.hook("check_health").impls
    await world.hook("check_health").ask(slow_impl)
    await world.hook("check_health").ask(slow_impl)
    await world.hook("check_health").ask(raises)
    assert (slow_impl.calls, raises.calls) == (2, 1)
    assert 0.04 <= slow_impl.seconds < 5 and raises.seconds < 0.04


# --- Failing

KINDS: list[tuple[str, Callable[..., Any], str]] = [
    ("raises", raising(ValueError("its secret")), "raised"),
    ("exits", raising(SystemExit(0)), "raised"),
    ("cancels", raising(asyncio.CancelledError()), "raised"),
    ("stops", raising(StopIteration()), "raised"),
    ("ends everything", raising(KeyboardInterrupt()), "raised"),
    ("times out by itself", raising(TimeoutError()), "raised"),
    ("hangs", lambda *args: asyncio.sleep(60), "too_long"),
    ("waits for nobody", lambda *args: asyncio.get_running_loop().create_future(), "too_long"),
]
BY_ID = {"argnames": "call, kind", "argvalues": [pytest.param(call, kind, id=id) for id, call, kind in KINDS]}


@pytest.mark.parametrize(**BY_ID)  # type: ignore[arg-type]  # pytest's types know no such table
async def test_a_fault_where_hooks_fail_open_is_as_no_answer(call: Callable[..., Any], kind: str) -> None:
    world = World()
    plugin = world.add("p", **{OPEN: call})
    assert await world.ask(OPEN) is None
    assert world.faults == [("p", OPEN, kind)]
    assert plugin.faults == {kind: 1} and is_on(plugin)


@pytest.mark.parametrize(**BY_ID)  # type: ignore[arg-type]  # as above
async def test_a_fault_where_hooks_fail_closed_refuses(call: Callable[..., Any], kind: str) -> None:
    world = World()
    world.add("p", **{CLOSED: call})
    with pytest.raises(Problem, match="the plugin 'p' failed") as refused:
        await world.ask(CLOSED)
    assert refused.value.code == "unavailable" and refused.value.retry_after
    assert "secret" not in refused.value.message
    assert world.faults == [("p", CLOSED, kind)]


@pytest.mark.parametrize("name", [OPEN, CLOSED])
async def test_a_problem_is_an_answer_and_no_fault(name: str) -> None:
    world = World()
    world.add("p", **{name: raising(Problem("forbidden", "not you"))})
    with pytest.raises(Problem, match="not you"):
        await world.ask(name)

    async def later(*args: Any) -> None:
        await asyncio.sleep(0)
        raise Problem("forbidden", "nor you")

    world.hook(name).impls[0].call = later
    assert world.hook(name).rule.may_refuse
    with pytest.raises(Problem, match="nor you"):
        await world.ask(name)
    assert world.faults == []


@pytest.mark.parametrize("name", [name for name, rule in HOOKS.items() if not rule.may_refuse and not rule.sync])
async def test_a_problem_where_there_is_nothing_to_refuse_is_a_fault(name: str) -> None:
    world = World()
    world.add("p", **{name: raising(Problem("forbidden", "not you"))})
    assert await world.ask(name) is None
    assert world.faults == [("p", name, "raised")]


async def test_who_asks_and_is_cancelled_is_no_fault_of_the_plugins() -> None:
    world = World(timeout_s=30)
    world.add("p", **{OPEN: lambda: asyncio.sleep(60)})
    task = asyncio.create_task(world.ask(OPEN))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.faults == [] and world.hook(OPEN).impls[0].calls == 1


async def test_a_shorter_timeout_for_tests_is_never_a_longer_one() -> None:
    assert Hooks(FakeClock(), 0.5).each["startup"].rule.timeout_s == 0.5
    assert Hooks(FakeClock(), 20.0).each["check_health"].rule.timeout_s == HOOKS["check_health"].timeout_s
    assert Hooks(FakeClock()).each["startup"].rule == HOOKS["startup"]


def test_a_hook_that_cant_wait_takes_no_answer_that_has_to_be_waited_for() -> None:
    world = World()
    world.add("p", **{SYNC: lambda *args: of_coroutine(1)})
    hook = world.hook(SYNC)
    assert hook.ask_now(hook.impls[0], 1, 2) is None
    assert world.faults == [("p", SYNC, "bad_answer")]


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), asyncio.CancelledError(), StopIteration()])
async def test_faults_in_a_hook_that_cant_wait(error: BaseException) -> None:
    world = World()
    world.add("p", **{SYNC: raising(error)})
    hook = world.hook(SYNC)
    assert hook.ask_now(hook.impls[0], 1, 2) is None
    assert world.faults == [("p", SYNC, "raised")] and hook.impls[0].calls == 1


def test_what_a_plugin_raised_is_logged_without_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    plugin = world.add("p", **{OPEN: always(None)})
    with caplog.at_level(logging.DEBUG, "hubd"):
        world.hooks.fault(plugin, OPEN, "raised", ValueError("a token of somebody's"))
        world.hooks.fault(plugin, OPEN, "bad_answer", BadAnswer("what hubd says of it"))
    fault, answer = (record.getMessage() for record in caplog.records)
    assert "plugin_fault" in fault and "p" in fault and "a token" not in fault
    assert "what hubd says of it" in answer


# --- Too many faults


def test_five_faults_in_a_minute_switch_a_plugin_off() -> None:
    world = World()
    plugin, other = world.add("p", **{OPEN: always(1)}), world.add("q", **{OPEN: always(2)})
    switched: list[tuple[str, bool]] = []
    world.hooks.on_switched.append(lambda plugin: switched.append((plugin.name, plugin.is_on)))
    for _ in range(FAULTS - 1):
        world.fail(plugin)
        world.clock.advance(FAULTS_S / (FAULTS - 1))
    assert is_on(plugin) and switched == []
    world.fail(plugin)
    assert not is_on(plugin) and is_on(other) and switched == [("p", False)]
    assert [impl.plugin.name for impl in world.hook(OPEN).impls] == ["q"]
    world.fail(plugin, 10)  # what of it was running still
    assert switched == [("p", False)]


def test_five_faults_in_more_than_a_minute_dont() -> None:
    world = World()
    plugin = world.add("p", **{OPEN: always(1)})
    for _ in range(40):
        world.fail(plugin)
        world.clock.advance(FAULTS_S / (FAULTS - 1) + 0.01)
    assert is_on(plugin) and plugin.faults.total() == 40
    world.fail(plugin, FAULTS - 1)
    assert not is_on(plugin)  # but these do, with the last one


def test_faults_of_others_dont_count_for_it() -> None:
    world = World()
    plugins = [world.add(f"p{number}", **{OPEN: always(1)}) for number in range(10)]
    for plugin in plugins:
        world.fail(plugin, FAULTS - 1)
    assert all(is_on(plugin) for plugin in plugins)


async def test_what_is_switched_off_is_asked_all_the_same_where_hooks_fail_closed() -> None:
    world = World()
    calls: list[int] = []
    plugin = world.add("p", **{CLOSED: lambda *args: calls.append(1), OPEN: lambda *args: calls.append(2)})
    world.fail(plugin, FAULTS)
    assert world.hook(OPEN).impls == ()
    for _ in range(3):
        await world.ask(CLOSED)
    assert calls == [1, 1, 1] and not is_on(plugin)


async def test_failing_where_that_refuses_is_counted_and_switches_nobody_off() -> None:
    world = World()
    plugin = world.add("p", **{CLOSED: lambda *args: 1 / 0})
    for _ in range(3 * FAULTS):
        with pytest.raises(Problem, match="'p' failed"):
            await world.ask(CLOSED)
    assert plugin.faults.total() == 3 * FAULTS and is_on(plugin)


async def test_when_all_has_ended_nobody_is_asked_and_nothing_allowed() -> None:
    world = World()
    calls: list[int] = []
    world.add("p", **{CLOSED: lambda *args: calls.append(1), OPEN: lambda *args: calls.append(2)})
    world.hooks.end()
    assert world.hook(OPEN).impls == ()
    with pytest.raises(Problem, match="'p' has shut down"):
        await world.ask(CLOSED)
    world.clock.advance(2 * OFF_MOST_S)
    world.hooks.switching.maintain()
    assert calls == [] and world.hook(OPEN).impls == ()


@pytest.mark.parametrize("name", [name for name, rule in HOOKS.items() if not rule.sync])
async def test_who_is_switched_off_while_another_is_asked_is_passed_over_where_hooks_fail_open(name: str) -> None:
    world = World()
    first, second = world.add("first", **{name: always(None)}), world.add("second", **{name: always("answer")})
    hook = world.hook(name)
    impls = hook.impls
    assert hook.step(impls, 0)[0] == 1
    world.fail(second, FAULTS)
    closed = hook.rule.fails is Fails.CLOSED
    assert hook.step(impls, 1) == ((1, "answer") if closed else (2, None))
    assert is_on(first) and world.faults[FAULTS:] == []


def test_it_comes_on_again_by_itself_later_and_later() -> None:
    world = World()
    plugin = world.add("p", **{OPEN: always(1)})
    for off_s in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        world.fail(plugin, FAULTS)
        world.clock.advance(off_s - 1)
        world.hooks.switching.maintain()
        assert not is_on(plugin), off_s
        world.clock.advance(1)
        world.hooks.switching.maintain()
        assert is_on(plugin) and len(world.hook(OPEN).impls) == 1
    world.clock.advance(OFF_MOST_S + 1)  # well for long
    world.fail(plugin, FAULTS)
    world.clock.advance(60)
    world.hooks.switching.maintain()
    assert is_on(plugin)


def test_calls_that_waited_for_the_same_thing_are_one_fault() -> None:
    world = World()
    plugin = world.add("p", **{OPEN: always(1)})
    for _ in range(FAULTS - 1):
        for _ in range(100):
            world.hooks.fault(plugin, OPEN, "too_long")
        assert is_on(plugin)
        world.clock.advance(STALL_S)
    assert plugin.faults.total() == 100 * (FAULTS - 1)
    world.hooks.fault(plugin, OPEN, "too_long")
    assert not is_on(plugin)


def test_what_strangers_can_provoke_switches_nobody_off() -> None:
    world = World()
    plugin = world.add("p", **{OPEN: always(1)})
    for _ in range(3 * FAULTS):
        world.hooks.fault(plugin, "GET /api/x", "raised", provoked=True)
    assert plugin.faults.total() == 3 * FAULTS and is_on(plugin)


def test_switching_on_gives_another_chance_from_the_start() -> None:
    world = World()
    names = ("one", "two", "three")
    one, two, three = (world.add(name, **{OPEN: always(name), CLOSED: always(None)}) for name in names)
    world.fail(two, FAULTS)
    world.fail(three, 1)
    switched: list[str] = []
    world.hooks.on_switched.append(lambda plugin: switched.append(plugin.name))
    world.hooks.switching.switch_on()
    assert switched == ["two"]
    assert [impl.plugin.name for impl in world.hook(OPEN).impls] == ["one", "two", "three"]  # in their order again
    world.fail(two, FAULTS - 1)
    assert is_on(two)
    world.fail(two)
    assert not is_on(two) and is_on(one) and is_on(three)
    assert two.faults.total() == 2 * FAULTS  # what is counted is counted


def test_switching_off_and_on_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    plugin = world.add("p", **{OPEN: always(1)})
    with caplog.at_level(logging.INFO, "hubd"):
        world.fail(plugin, FAULTS)
        world.hooks.switching.switch_on()
        world.hooks.switching.switch_on()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    off = [level for level, text in said if "plugin_switched_off" in text]
    on = [level for level, text in said if "plugin_switched_on" in text]
    assert off == ["ERROR"] and on == ["INFO"]


async def test_a_plugin_that_always_fails_is_soon_no_longer_asked() -> None:
    world = World()
    calls = []

    def fails(*args: Any) -> None:
        calls.append(1)
        raise ValueError

    world.add("p", **{OPEN: fails})
    for _ in range(100):
        for impl in world.hook(OPEN).impls:
            await world.hook(OPEN).ask(impl)
    assert len(calls) == FAULTS


def test_an_impl_knows_what_it_is() -> None:
    plugin = Plugin("p", object())
    impl = Impl(plugin, print, may_wait=False)
    assert (impl.plugin, impl.call, impl.may_wait, impl.calls, impl.seconds) == (plugin, print, False, 0, 0.0)


async def test_each_plugins_time_is_measured_by_its_own_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(calls, "timer", lambda: float(next(ticks) + 1))  # every measured call takes a second
    world = World()
    for name in ("one", "two"):
        world.add(name, **{OPEN: always(None)})
    hook = world.hook(OPEN)
    for _ in range(4 * SAMPLE):
        for impl in hook.impls:  # by turns, as observers are told
            await hook.ask(impl)
    assert [(impl.calls, impl.seconds) for impl in hook.impls] == [(4 * SAMPLE, 4 * SAMPLE)] * 2
