"""What surrounds a hub in the model's tests: its limits, users' tokens, a loop, and time."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any, NamedTuple, TypeVar

import hubd.attendance
import hubd.core.ring
import hubd.publishing
import hubd.pump
from hubd.config import Config
from hubd.core.identity import Identity
from hubd.testing import identity

T = TypeVar("T")
USERS = ("ann", "bob", "cem")
TOPICS = ("a", "b", "c:x", "c:y")
PERMITTED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("**",): TOPICS,
    ("a", "c:*"): ("a", "c:x", "c:y"),
    ("b",): ("b",),
    (): (),
}
"""Patterns that tokens have in these tests, and which topics those allow."""
PATTERNS = tuple(PERMITTED)
GRANT_S = 250.0
TTL_S = 60.0
REMEMBERED_S = 100.0


class Limits(NamedTuple):
    """How narrow everything is: small enough that a short history meets each limit."""

    per_channel: int = 4
    max_bytes: int = 1 << 28
    queue_bytes: int = 262144
    slice: int = 2
    few: int = 1
    write_bytes: int = 300
    remembered: int = 100_000

    @property
    def bytes_count(self) -> bool:
        """Whether the byte budget evicts anything."""
        return self.max_bytes < 1 << 20

    @property
    def config(self) -> Config:
        """The hub's config with these."""
        return _config(self.per_channel, self.max_bytes, self.queue_bytes)


@lru_cache
def _config(per_channel: int, max_bytes: int, queue_bytes: int) -> Config:
    return Config.model_validate(
        {
            "replay": {"per_channel": per_channel, "max_bytes": max_bytes, "ttl_s": TTL_S},
            "limits": {"queue_bytes": queue_bytes, "id_entries": 1000, "id_window_s": 10_000.0},
            "auth": {"durable_grant_s": GRANT_S},
        }
    )


@contextmanager
def narrow(limits: Limits) -> Iterator[None]:
    """Make what isn't configurable as narrow as the rest."""
    changes: list[tuple[Any, str, Any]] = [
        (hubd.pump, "SLICE", limits.slice),
        (hubd.pump, "WRITE_BYTES", limits.write_bytes),
        (hubd.attendance, "WRITE_BYTES", limits.write_bytes),
        (hubd.publishing, "FEW", limits.few),
        (hubd.core.ring, "WATERMARKS", limits.remembered),
        (hubd.core.ring, "WATERMARK_S", REMEMBERED_S),
    ]
    before = [getattr(module, name) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(changes, before, strict=True):
            setattr(module, name, value)


class Faults(logging.Handler):
    """What the hub logs as an error; ``context`` collects it, and keeps quiet about warnings, which are many here."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.found.append(self.format(record))

    @contextmanager
    def context(self) -> Iterator[None]:
        """Listen for as long as this lasts."""
        log = logging.getLogger("hubd")
        level = log.level
        log.setLevel(logging.ERROR)
        log.addHandler(self)
        try:
            yield
        finally:
            log.removeHandler(self)
            log.setLevel(level)


class Tokens:
    """Stands for the authenticator: each token is a made-up word that is known."""

    def __init__(self) -> None:
        self._identities: dict[str, Identity] = {}

    def issue(self, user: str, patterns: tuple[str, ...]) -> str:
        """A token of a user that allows these topics."""
        token = f"{user}/{' '.join(patterns)}"
        self._identities[token] = identity(user, patterns)
        return token

    async def by_token(self, token: str, address: str) -> Identity:
        """Whose it is."""
        return self._identities[token]


class Started:
    """Starts tasks, and knows them."""

    def __init__(self) -> None:
        self.running: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run it beside the rest."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.running.append(task)
        return task


class Sleepers:
    """A ``sleep`` that ends when it is told to: whoever has the earliest end wakes first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._now = 0.0
        self._count = 0

    async def sleep(self, seconds: float) -> None:
        """Wait to be woken."""
        self._count += 1
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (self._now + seconds, self._count, woken))
        await woken

    def wake(self) -> bool:
        """Wake the next one; False when all are awake."""
        if not self._waiting:
            return False
        self._now, _, woken = heappop(self._waiting)
        woken.set_result(None)
        return True


class Loop:
    """One event loop for many histories: making one costs more than most histories."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end."""
        return self._loop.run_until_complete(work)

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin it, as far as it goes without waiting."""
        task = self._loop.create_task(work)
        self.turn()
        return task

    def turn(self, turns: int = 3) -> None:
        """Let those run who can."""

        async def some() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self._loop.run_until_complete(some())

    def call(self, function: Callable[[], None], started: Started) -> None:
        """Call it inside the loop, and let what it started come to its end."""

        async def called() -> None:
            function()
            if started.running:
                await asyncio.gather(*started.running)
                started.running.clear()

        self._loop.run_until_complete(called())

    def close(self) -> None:
        """No more; what still waits is cancelled."""

        async def rest() -> None:
            waiting = asyncio.all_tasks() - {asyncio.current_task()}
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

        self._loop.run_until_complete(rest())
        self._loop.close()
