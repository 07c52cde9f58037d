"""Going on with a plugin's coroutine: as `await` does, but bounded in time, and able to leave it behind."""

import asyncio
import contextvars
import types
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.test_utils import TestServer

from hubd.hooks.driving import TooLong
from tests.hooks.driving_world import LONG, Work, nothing_left, run, short_cleanup

__all__ = ["nothing_left", "short_cleanup"]

# --- It goes on as `await` does


async def test_what_ends_without_waiting_needs_no_loop() -> None:
    async def quick() -> str:
        return "at once"

    work = run(quick())
    with pytest.raises(StopIteration) as ended:  # nobody but this test drives it: it asks the loop for nothing
        work.send(None)
    assert ended.value.value == "at once"


async def nothing() -> int:
    await asyncio.sleep(0)
    return 1


async def sleep() -> int:
    await asyncio.sleep(0.001)
    return 1


async def future() -> int:
    made: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(made.set_result, 1)
    return await made


async def done_future() -> int:
    made: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    made.set_result(1)
    await asyncio.sleep(0)
    return await made


async def task() -> int:
    return await asyncio.create_task(nothing())


async def gathered() -> int:
    return sum(await asyncio.gather(nothing(), sleep())) - 1


async def grouped() -> int:
    async with asyncio.TaskGroup() as group:
        one, _ = group.create_task(nothing()), group.create_task(sleep())
    return one.result()


async def waited_for() -> int:
    return await asyncio.wait_for(sleep(), LONG)


async def in_a_thread() -> int:
    return await asyncio.to_thread(lambda: 1)


async def numbers() -> AsyncIterator[int]:
    for number in (0, 0, 1):
        await asyncio.sleep(0)
        yield number


async def of_a_generator() -> int:
    return sum([number async for number in numbers()])


async def by_a_lock() -> int:
    lock = asyncio.Lock()
    async with lock, asyncio.timeout(LONG):
        await asyncio.sleep(0)
    queue: asyncio.Queue[int] = asyncio.Queue()
    asyncio.get_running_loop().call_soon(queue.put_nowait, 1)
    return await queue.get()


class Odd:
    """Awaitable by a generator of its own."""

    def __await__(self) -> Generator[Any, Any, int]:
        yield
        yield from asyncio.sleep(0).__await__()
        return 1


async def an_odd_thing() -> int:
    return await Odd()


@types.coroutine
def old_style() -> Generator[Any, Any, int]:
    yield
    return 1


async def an_old_thing() -> int:
    return await old_style()


async def with_its_own_timeout() -> int:
    try:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(LONG)
    except TimeoutError:
        return 1
    return 0


async def with_several_timeouts_of_its_own() -> int:
    for _ in range(3):
        assert await with_its_own_timeout() == 1
    async with asyncio.timeout(0.005) as outer:
        try:
            async with asyncio.timeout(LONG):
                await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
    return int(outer.expired())


async def that_cancels_what_it_started() -> int:
    started = asyncio.create_task(asyncio.sleep(LONG))
    await asyncio.sleep(0)
    started.cancel()
    try:
        await started
    except asyncio.CancelledError:
        return 1
    return 0


WAYS = [
    nothing, sleep, future, done_future, task, gathered, grouped, waited_for, in_a_thread, of_a_generator, by_a_lock,
    an_odd_thing, an_old_thing, with_its_own_timeout, with_several_timeouts_of_its_own,
    that_cancels_what_it_started,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_every_way_of_waiting_works_as_it_does_elsewhere(way: Callable[[], Work]) -> None:
    assert await run(way()) == 1


async def test_it_may_ask_others_over_http() -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["for"]))
        return web.Response(text="an answer")

    app = web.Application()
    app.router.add_get("/", slow)
    server = TestServer(app)
    await server.start_server()

    async def ask(session: ClientSession, seconds: float) -> str:
        timeout = ClientTimeout(total=0.05)
        async with session.get(server.make_url("/"), params={"for": str(seconds)}, timeout=timeout) as answer:
            return await answer.text()

    async with ClientSession() as session:
        assert await run(ask(session, 0)) == "an answer"
        with pytest.raises(TimeoutError):  # its own, so not the hub's
            await run(ask(session, 0.3))
        with pytest.raises(TooLong):
            await run(ask(session, 0.3), 0.01)
        assert await run(ask(session, 0)) == "an answer"
    await server.close()


async def test_it_runs_in_the_task_and_context_of_who_drives_it() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    seen = []

    async def work() -> None:
        seen.append((asyncio.current_task(), variable.get()))
        variable.set("the plugin's")
        await asyncio.sleep(0)
        seen.append((asyncio.current_task(), variable.get()))

    variable.set("the caller's")
    await run(work())
    task = asyncio.current_task()
    assert seen == [(task, "the caller's"), (task, "the plugin's")]
    assert variable.get() == "the plugin's"  # as with `await`


@pytest.mark.parametrize("error", [ValueError, TimeoutError, asyncio.CancelledError, StopAsyncIteration, SystemExit])
@pytest.mark.parametrize("waits", [False, True])
async def test_what_it_raises_comes_out(error: type[BaseException], waits: bool) -> None:
    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        raise error("its own")

    with pytest.raises(error, match="its own"):
        await run(work())
    current = asyncio.current_task()
    assert current is not None and current.cancelling() == 0


async def test_what_fails_that_it_waits_for_is_raised_within_it() -> None:
    caught = []

    async def work() -> str:
        made: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(made.set_exception, OSError("broken"))
        try:
            await made
        except OSError as error:
            caught.append(str(error))
        await asyncio.sleep(0)
        return "went on"

    assert await run(work()) == "went on"
    assert caught == ["broken"]
