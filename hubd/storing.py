"""The seam between the hub and what keeps things over a restart."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from hubd.core.errors import Problem
from hubd.core.stored import Kept, Lane, Scheduled, StoredAnswer, StoredDevice, Write
from hubd.core.subscriptions import Grant

Written = asyncio.Future[None]
"""Done when something is on the disk, ``StoreError`` when it isn't and won't be."""
RETRY_S = 2.0
"""When somebody who was refused because nothing can be stored should try again."""


class StoreError(Exception):
    """It wasn't stored, and won't be. ``str()`` says why, in a few words for people; no secrets."""


def unavailable(why: str) -> Problem:
    """What a caller is told whose call couldn't be stored."""
    return Problem("unavailable", f"it can't be stored at the moment ({why}): try again", (), RETRY_S)


class Loaded(NamedTuple):
    """What small things a store has at the start; open notifications come one by one (``Store.open_rows``)."""

    users: Sequence[tuple[int, str]]
    next_number: int
    subscriptions: Sequence[tuple[str, str, Grant]]
    revoked: Sequence[tuple[str, float]]
    answers: Sequence[StoredAnswer]
    scheduled: Sequence[Scheduled]
    devices: Sequence[StoredDevice] = ()
    secrets: Mapping[str, bytes] = MappingProxyType({})


class Store(Protocol):
    """Keeps what must survive a crash. Nothing on the way of a publish reads from it.

    Writes are carried out in the order in which they were given within their lane; a write that another one refers to
    must be given first, and is then carried out first, whatever their lanes.
    """

    @property
    def trouble(self) -> str:
        """Why nothing can be stored at the moment, in a few words; empty: it can."""
        ...

    def write(self, write: Write, lane: Lane) -> Written:
        """Have something stored; done when it is on the disk, ``StoreError`` when it isn't and won't be.

        A bounded number waits; what is more fails at once.
        """
        ...

    def note(self, write: Write) -> None:
        """Have something stored that nobody waits for (bookkeeping); in trouble it is tried again and again.

        A bounded number waits; what is more is lost and counted.
        """
        ...

    async def load(self) -> Loaded:
        """What there is, at the start."""
        ...

    def open_rows(self) -> AsyncIterator[Kept]:
        """The notifications about which something is open, the oldest first."""
        ...

    async def find(self, id: str) -> Sequence[Kept]:
        """The notifications with this id, the latest first; ``StoreError`` when it can't be read."""
        ...

    async def find_rows(self, id: str) -> Sequence[Kept]:
        """The same without what became of them since they were kept: for whoever knows that, and wants the body."""
        ...

    async def find_meant(self, ids: Sequence[str], number: int) -> Sequence[str]:
        """The keys of the notifications with these ids that a user (by number) was meant to get, and that aren't kept
        from him; ``StoreError`` when it can't be read.
        """
        ...

    async def clean(self, now_ms: int, answers_before_ms: int) -> int:
        """Let go of what isn't kept any longer (Unix ms), a bounded part of it; gives how much. ``StoreError``."""
        ...

    async def close(self, within_s: float) -> None:
        """Store what waits, and end."""
        ...


async def all_written(waiting: Sequence[Written]) -> None:
    """Wait until all of it is on the disk; a ``Problem`` when it isn't and won't be."""
    try:
        await all_stored(waiting)
    except StoreError as error:
        raise unavailable(str(error)) from None


async def all_stored(waiting: Sequence[Written]) -> None:
    """The same, with a ``StoreError``."""
    try:
        for future in waiting:
            await future
    finally:
        for future in waiting:
            future.add_done_callback(look_at)


def look_at(written: Written) -> None:
    """That another one failed, too, is no news, and asyncio needn't tell of it."""
    if not written.cancelled():
        written.exception()
