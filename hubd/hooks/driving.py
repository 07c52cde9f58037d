"""Going on with a coroutine that a plugin wrote: it costs nothing while it doesn't wait, and it can't hang for ever.

``await`` would do but for two things. A coroutine that ends without waiting for anything, as most do, needs no timeout,
and setting one up costs more than all the rest. And one that swallows its cancellation must be left behind.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any

CLEANUP_S = 1.0
"""How long a coroutine that was told to stop may still take to clean up."""


class TooLong(Exception):
    """A plugin took longer than it may."""


async def drive(coroutine: Coroutine[Any, Any, Any], waits_for: Any, timeout_s: float) -> Any:
    """Go on with a coroutine within the current task, and give what it returns; ``TooLong`` after ``timeout_s``.

    It has been started in this task (``send(None)``), and ``waits_for`` is what that gave.
    """
    task = asyncio.current_task()
    cancelled = task.cancelling() if task is not None else 0
    try:
        async with asyncio.timeout(timeout_s + CLEANUP_S) as last, asyncio.timeout(timeout_s) as timeout:
            result = await _Rest(coroutine, waits_for, last)
    except TimeoutError:
        if timeout.expired():
            raise TooLong from None
        raise  # it is the plugin's own
    finally:
        if task is not None and task.cancelling() > cancelled:  # whoever drives it was told to stop: that goes first
            raise asyncio.CancelledError
    if timeout.expired():  # it took no notice of being told to stop, and ended all the same
        raise TooLong
    return result


class _Rest:
    """What is left of a coroutine that waits for ``waits_for``; when the ``last`` of its time is over it's left behind.

    Being cancelled before that tells it to stop: by the hub, or by a timeout of its own.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any, last: asyncio.Timeout) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._last = last

    def __await__(self) -> Generator[Any, Any, Any]:
        """Hand what it waits for to the loop, and back what comes of it, as ``await`` does."""
        coroutine, waits_for = self._coroutine, self._waits_for
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except asyncio.CancelledError as error:
                if self._last.expired():
                    with suppress(BaseException):  # it may ignore even this
                        coroutine.close()
                    raise
                step = partial(coroutine.throw, error)
            except BaseException as error:
                step = partial(coroutine.throw, error)
            else:
                step = partial(coroutine.send, sent)
            try:
                waits_for = step()
            except StopIteration as done:
                return done.value
