"""A real hub in which faults are planted: wherever the word EXPLODE comes, something fails with what it was given.

Run as a program, with the arguments of `hubd`. The exceptions carry the values on purpose: that is what must not show.
"""

import asyncio
import gc
import logging
import sys
import warnings
from typing import Any

from hubd.cli import main
from hubd.core.presence import State
from hubd.core.publish import Draft
from hubd.edge.actions import Actions
from hubd.edge.tokens import Tokens
from hubd.edge.websocket import WebSocketConnection
from hubd.hub import Hub
from tests.canaries import WORD


def plant(owner: type, name: str) -> None:
    """Let a method fail where the word stands in what it is given."""
    whole = getattr(owner, name)

    def planted(self: Any, *given: Any, **named: Any) -> Any:
        if WORD in repr(given):
            raise RuntimeError(f"{name} {given!r}") from KeyError(given)
        return whole(self, *given, **named)

    setattr(owner, name, planted)


async def fail_with(value: object) -> None:
    raise ValueError(value)


class Bad:
    """Fails when nobody can catch it."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __del__(self) -> None:
        raise ValueError(self.value)


def fail_later(draft: Draft) -> None:
    """In a callback, in a task that nobody awaits, in a future that nobody reads, in a finalizer; and in a library."""
    loop = asyncio.get_running_loop()
    loop.call_soon(int, repr(draft.payload))
    loop.create_task(fail_with(draft.payload), name="a task")  # noqa: RUF006 - that is the point
    loop.create_future().set_exception(ValueError(draft.payload))
    Bad(draft.payload)
    loop.call_later(0.2, gc.collect)
    logging.getLogger("aiohttp.client").warning("strange data %s", draft.payload)
    logging.getLogger("aiohttp.client").warning(f"strange data: {draft.payload}")


def begin(self: Hub, *given: Any, whole: Any = Hub.__init__, **named: Any) -> None:
    whole(self, *given, **named)
    prepare = self.prepare
    self.prepare = lambda body: preparing(self, prepare(body))  # type: ignore[method-assign]  # planted


def preparing(self: Hub, draft: Draft) -> Draft:
    if draft.payload["type"] == "later":
        fail_later(draft)
    if draft.payload["type"] == "task":
        raise LookupError(draft)
    if draft.payload["type"] == "listener":

        def listen(user: str, before: State, after: State) -> None:
            raise ValueError(draft.payload)

        self.on_presence.append(listen)
    return draft


def write(self: WebSocketConnection, data: bytes, whole: Any = WebSocketConnection.write) -> None:
    if WORD.encode() in data:
        raise OSError(repr(data))
    whole(self, data)


if __name__ == "__main__":
    Hub.__init__ = begin  # type: ignore[method-assign]  # planted
    WebSocketConnection.write = write  # type: ignore[method-assign]  # planted
    plant(Tokens, "verify")
    plant(Actions, "take")
    plant(Hub, "present")
    warnings.simplefilter("default")  # also what Python itself would say goes to standard error
    sys.argv[0] = "hubd"
    main()
