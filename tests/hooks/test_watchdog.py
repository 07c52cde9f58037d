"""The watchdog: real loops in threads, blocked until the test lets go; and a process that is suspended."""

import asyncio
import logging
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from hubd.clock import SystemClock
from hubd.faults import traced
from hubd.hooks import watchdog
from hubd.hooks.watchdog import Block, LoopBlocked, Watchdog
from hubd.testing import FakeClock
from tests.command import environment
from tests.hooks.watchdog_world import LIMIT_S, PING_S, Lines, World, until, zoo

LOG = logging.getLogger("hubd.hooks.watchdog")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()
        if made.watchdog is None:
            made.loop.close()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    monkeypatch.setattr(watchdog, "LOG_PAUSE_S", 0.0)
    monkeypatch.setattr(LOG, "level", logging.DEBUG)
    seen = Lines()
    LOG.addFilter(seen)
    try:
        yield seen
    finally:
        LOG.removeFilter(seen)


def watching() -> bool:
    return any(thread.name == "watchdog" for thread in threading.enumerate())


# --- Who it was


@pytest.mark.parametrize("how", ["bad_wait", "bad_sleep", "bad_computing", "bad_coroutine"])
def test_what_blocks_is_named_while_it_blocks(world: World, lines: Lines, how: str) -> None:
    world.start()
    call = getattr(world, how)
    tasks = []
    world.block(lambda: tasks.append(world.loop.create_task(call())) if how == "bad_coroutine" else call())
    until(lambda: lines.of("loop_blocked"))
    assert world.blocks == [] and lines.of("loop_free") == []
    world.gate.set()
    until(lambda: world.of_zoo)
    block = world.of_zoo[0]
    assert block.lasted_s >= LIMIT_S
    assert any(place.endswith(f"World.{how}") for place in block.stack)
    assert world.told_in == {world.ident}
    assert lines.of("loop_free") == [""]
    (trace,) = lines.of("loop_blocked")
    assert f"in {how}\n" in trace and trace.endswith("\nLoopBlocked")
    assert "s3cr3t" not in trace and "s3cr3t" not in str(block)


def test_what_is_shown_begins_at_the_callback_and_ends_where_the_loop_is(world: World, lines: Lines) -> None:
    world.start()
    world.block(world.bad_wait)
    until(lambda: lines.of("loop_blocked"))
    world.gate.set()
    until(lambda: world.of_zoo)
    functions = [place.rpartition(" ")[2] for place in world.of_zoo[0].stack]
    assert functions[0] == "World.bad_wait" and functions[-1] == "Condition.wait"
    assert re.fullmatch(
        rf"{re.escape(World.bad_wait.__code__.co_filename)}:\d+ World\.bad_wait", world.of_zoo[0].stack[0]
    )
    assert re.findall(r"in (\w+)\n", lines.of("loop_blocked")[0]) == ["bad_wait", "wait", "wait"]


def test_the_innermost_frame_that_has_an_owner_decides(world: World, lines: Lines) -> None:
    def inner() -> None:
        world.gate.wait(30)

    def outer() -> None:
        inner()

    world.start(owner=lambda frame: {"inner": "first", "outer": "second"}.get(frame.f_code.co_name, ""))
    world.block(outer)
    until(lambda: lines.of("loop_blocked", "first"))


def test_c_code_without_a_frame_is_nobodys(world: World, lines: Lines) -> None:
    lock = threading.Lock()
    lock.acquire()
    world.start()
    world.block(lock.acquire)
    until(lambda: lines.of("loop_blocked", ""))
    lock.release()
    assert "in _run_once\n" in lines.of("loop_blocked", "")[0]


def test_what_lets_no_thread_run_is_named_right_after(
    world: World, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_cpu_s", time.monotonic)  # a busy machine gives nobody a whole processor
    begun = time.perf_counter()
    sum(range(1_000_000))
    count = int(1_000_000 * 0.3 / (time.perf_counter() - begun))

    def bad_c_code() -> None:
        sum(range(count))

    world.start()
    deadline = time.monotonic() + 15
    while not any(not block.certain for block in world.of_zoo):  # a busy machine may hide it
        assert time.monotonic() < deadline
        world.block(bad_c_code)
        world.turns(3)
    assert any("bad_c_code" in place for place in world.of_zoo[0].stack)


def test_computing_is_told_from_sleeping() -> None:
    begun, computed = time.process_time(), watchdog._cpu_s()
    time.sleep(0.05)
    while time.process_time() - begun < 0.1:
        pass
    assert watchdog._cpu_s() - computed == pytest.approx(0.1, abs=0.045)


# --- What isn't a block


def test_a_short_hiccup_is_nothing(world: World, lines: Lines) -> None:
    world.start(limit_s=2.0)
    world.loop.call_soon_threadsafe(time.sleep, 0.2)
    world.turns(5)
    assert world.blocks == [] and lines.seen == []


class Stuck:
    """The loop's poll, which doesn't return when it should."""

    def __init__(self, poll: Any, gate: threading.Event) -> None:
        self._poll = poll
        self._gate = gate
        self.entered = threading.Event()

    def poll(self, *arguments: Any) -> Any:
        ready = self._poll.poll(*arguments)
        self.entered.set()
        self._gate.wait(30)
        return ready

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poll, name)


def test_a_loop_that_waits_for_its_thread_to_run_isnt_blocked_by_anybody(world: World, lines: Lines) -> None:
    loop_poll: Any = getattr(world.loop, "_selector", None)
    if not hasattr(loop_poll, "_selector"):
        pytest.skip("this loop polls in another way")
    world.start()
    stuck = Stuck(loop_poll._selector, world.gate)
    world.loop.call_soon_threadsafe(setattr, loop_poll, "_selector", stuck)
    assert stuck.entered.wait(15)
    time.sleep(LIMIT_S * 4)
    assert lines.of("loop_blocked", "zoo") == lines.of("loop_blocked", "") == []


def test_time_in_which_nothing_ran_doesnt_count(world: World, lines: Lines) -> None:
    clock = FakeClock()
    world.start(clock=clock)
    entered = threading.Event()
    world.loop.call_soon_threadsafe(entered.set)
    world.block(world.bad_wait)
    assert entered.wait(15)
    time.sleep(PING_S * 4)  # a sign of life is asked for
    clock.advance(1000)
    until(lambda: lines.of("process_stalled"))
    time.sleep(PING_S * 4)
    assert lines.of("loop_blocked") == []
    world.gate.set()
    world.turns(4)
    assert world.blocks == []


def test_a_loop_that_was_stopped_isnt_blocked(lines: Lines) -> None:
    loop = asyncio.new_event_loop()
    blocks: list[Block] = []
    watch = Watchdog(loop, blocks.append, clock=SystemClock(), limit_s=LIMIT_S, ping_s=PING_S)
    loop.call_soon(watch.start)
    loop.run_until_complete(asyncio.sleep(0.01))
    time.sleep(LIMIT_S * 3)
    assert lines.seen == []
    loop.close()
    until(lambda: not watching())  # it takes no more calls, so there is nothing left to do
    watch.stop()


SUSPENDED = """
import asyncio, logging, os
from hubd.clock import SystemClock
from hubd.hooks.watchdog import Watchdog

def work():
    print("working", flush=True)
    os.read(0, 1)

async def main():
    logging.basicConfig(format="%(message)s")
    blocks = []
    watchdog = Watchdog(asyncio.get_running_loop(), blocks.append, clock=SystemClock(), limit_s=0.8)
    watchdog.start()
    asyncio.get_running_loop().call_later(0.15, work)
    await asyncio.sleep(0.4)
    watchdog.stop()
    print(len(blocks), flush=True)

asyncio.run(main())
"""


def test_a_suspended_process_isnt_blocked_by_anybody() -> None:
    command = [sys.executable, "-c", SUSPENDED]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment()) as child:
        try:
            assert child.stdin and child.stdout and child.stderr
            assert child.stdout.readline() == "working\n"
            time.sleep(0.15)  # a sign of life is asked for, and can't come
            child.send_signal(signal.SIGSTOP)
            time.sleep(1.2)
            child.send_signal(signal.SIGCONT)
            line = child.stderr.readline()
            child.stdin.write("x")
            child.stdin.close()
            assert line.startswith("process_stalled: ")
            assert child.stdout.read() == "0\n"
            assert "loop_blocked" not in child.stderr.read()
        finally:
            child.kill()


# --- One after another, and the end


def blocked_twice(world: World, lines: Lines) -> None:
    world.block(world.bad_wait)
    until(lambda: lines.of("loop_blocked"))
    time.sleep(PING_S * 4)
    world.gate.set()
    until(lambda: world.of_zoo)
    world.block(world.bad_wait)
    until(lambda: len(lines.of("loop_blocked")) == 2)
    time.sleep(PING_S * 4)
    world.gate.set()
    until(lambda: len(world.of_zoo) == 2)


def test_each_block_is_told_once(world: World, lines: Lines) -> None:
    world.start()
    blocked_twice(world, lines)
    assert len(lines.of("loop_blocked")) == len(lines.of("loop_free")) == 2


def test_what_follows_soon_is_told_but_not_logged(world: World, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOG_PAUSE_S", 1000.0)
    world.start()
    world.block(world.bad_wait)
    until(lambda: lines.of("loop_blocked"))
    world.gate.set()
    until(lambda: world.of_zoo)
    while len(world.of_zoo) < 2:  # nothing tells from outside when it is seen
        world.block(world.bad_wait)
        time.sleep(LIMIT_S * 3)
        world.gate.set()
        world.turns(3)
    assert len(lines.of("loop_blocked")) == len(lines.of("loop_free")) == 1


def test_it_ends_while_the_loop_is_blocked_for_ever(world: World, lines: Lines) -> None:
    world.start()
    world.block(world.bad_wait)
    until(lambda: lines.of("loop_blocked"))
    assert watching() and world.watchdog is not None
    world.watchdog.stop()
    assert not watching()
    world.watchdog.stop()


def test_one_that_wasnt_started_can_be_stopped() -> None:
    loop = asyncio.new_event_loop()
    Watchdog(loop, lambda block: None, clock=SystemClock()).stop()
    loop.close()


# --- Nothing gets to the loop that doesn't belong there


def test_a_listener_that_fails_is_logged_and_told_again(world: World, lines: Lines) -> None:
    def fails(block: Block) -> None:
        world.told(block)
        raise ValueError

    world.start(on_block=fails)
    blocked_twice(world, lines)
    until(lambda: len(lines.of("task_failed")) == len(world.blocks))
    assert "in fails\n" in lines.of("task_failed")[0] and world.faults == []


def test_an_owner_that_fails_leaves_it_with_nobody(world: World, lines: Lines) -> None:
    def fails(frame: FrameType) -> str:
        raise ValueError

    world.start(owner=fails)
    world.block(world.bad_wait)
    until(lambda: lines.of("loop_blocked", ""))
    assert "in bad_wait\n" in lines.of("loop_blocked", "")[0]
    assert "in fails\n" in lines.of("task_failed")[0]
    assert watching()


def test_variables_of_who_blocked_end_in_the_loops_thread(world: World, lines: Lines) -> None:
    class Thing:
        pass

    ended_in: list[int] = []
    left = threading.Event()

    def bad_with_thing() -> None:
        thing = Thing()
        weakref.finalize(thing, lambda: ended_in.append(threading.get_ident()))
        world.loop.call_soon(left.set)
        world.gate.wait(30)

    def lets_go(frame: FrameType) -> str:
        world.gate.set()
        assert left.wait(15)  # now nobody but the watchdog holds the frames
        return zoo(frame)

    world.start(owner=lets_go)
    world.block(bad_with_thing)
    until(lambda: ended_in)
    assert ended_in == [world.ident]
    until(lambda: world.of_zoo)


def test_the_exception_is_for_the_log_only() -> None:
    assert issubclass(LoopBlocked, Exception) and traced(LoopBlocked()) == "LoopBlocked"
