"""What would be wrong: each of these does something to a daemon that must be found out."""

import asyncio
from collections.abc import Callable
from typing import Any

import hubd.server
from hubd.core.stored import Lane
from hubd.hub import Hub
from hubd.push.bringing import Bringing
from hubd.push.device_writes import DeviceWrites
from hubd.store.links import SqliteLink
from hubd.store.sql_store import SqlStore

SLOW_S = 0.03


def _slow_disk() -> None:
    """A commit takes a while, so that a kill often comes in between."""
    transact = SqliteLink.transact

    async def transact_slowly(link: SqliteLink, work: Any) -> None:
        await asyncio.sleep(SLOW_S)
        await transact(link, work)

    SqliteLink.transact = transact_slowly  # type: ignore[method-assign]


def _answer_early(early: Lane) -> None:
    write = SqlStore.write

    def write_later(store: SqlStore, what: Any, lane: Lane) -> "asyncio.Future[None]":
        future = write(store, what, lane)
        if lane is not early:
            return future
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    _slow_disk()
    SqlStore.write = write_later  # type: ignore[method-assign]


def publishes_early() -> None:
    """A publish is answered before its commit."""
    _answer_early(Lane.PUBLISH)


def acks_early() -> None:
    """An ack is answered before its commit."""
    _answer_early(Lane.ACK)


def forgets_what_is_open() -> None:
    """What was open isn't taken up at the start."""

    async def take_up_nothing(hub: Hub) -> int:
        return 0

    hubd.server.take_up = take_up_nothing  # type: ignore[attr-defined]


def registers_early() -> None:
    """A device is confirmed before its commit."""

    async def write_later(writes: DeviceWrites, id: str, write: Any) -> None:
        assert writes._store is not None
        writes._store.note(write)

    _slow_disk()
    DeviceWrites.write = write_later  # type: ignore[method-assign]


def counts_as_pushed_early() -> None:
    """A push counts as one that a service took as soon as it is begun."""
    send = Bringing._send

    async def send_hopefully(bringing: Bringing, backend: Any, device: Any, push: Any, sent: Any) -> None:
        bringing._told.accepted(sent.job.record, sent.user, "hope")
        await send(bringing, backend, device, push, sent)

    Bringing._send = send_hopefully  # type: ignore[method-assign]


PLANTS: dict[str, Callable[[], None]] = {
    "publishes_early": publishes_early,
    "acks_early": acks_early,
    "forgets_what_is_open": forgets_what_is_open,
    "registers_early": registers_early,
    "counts_as_pushed_early": counts_as_pushed_early,
    "slow_disk": _slow_disk,
}
