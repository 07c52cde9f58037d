"""Run by itself: keeps a store busy, and says in the recording of its disk what it was told is stored.

python -m tests.crash.storing FOLDER RECORDING LIFE SEED [SYNCHRONOUS]
"""

import asyncio
import hashlib
import os
import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from hubd.core.stored import (
    Close,
    Fact,
    Keep,
    Lane,
    Note,
    Revoke,
    Schedule,
    Scheduled,
    StoredAnswer,
    Subscribe,
    Unschedule,
    Unsubscribe,
    Write,
)
from hubd.core.subscriptions import Grant
from hubd.core.users import UserSet
from hubd.store import database, links
from tests.crash.recorded_disk import say
from tests.store.store_world import World, opened

SESSIONS = 2
"""The store is closed and opened again in between; at the end it is left as it is."""
PUBLISHERS = 8
PUBLICATIONS = 16
"""So many of each."""
LONGEST = 60_000
"""Bytes of a body. All of them together fill the write-ahead log a few times over."""
AT = 1_800_000_000_000


class Storing:
    """Several who store something, each one thing after the other."""

    def __init__(self, world: World, recording: int, name: str, dice: random.Random) -> None:
        self._world = world
        self._recording = recording
        self._name = name
        self._dice = dice

    def _say(self, *what: object) -> None:
        say(self._recording, orjson.dumps(what))

    async def _write(self, write: Write, lane: Lane, *what: object) -> None:
        await self._world.store.write(write, lane)
        self._say(*what)

    async def run(self) -> None:
        """All of them."""
        await asyncio.gather(*(self._publisher(number) for number in range(PUBLISHERS)))

    async def _publisher(self, number: int) -> None:
        for count in range(PUBLICATIONS):
            key = f"{self._name}-{number}-{count}"
            await self._publish(key)
            if self._dice.random() < 0.3:
                await asyncio.sleep(self._dice.random() * 0.01)
            await self._more(key)

    async def _publish(self, key: str) -> None:
        dice = self._dice
        body = dice.randbytes(int(LONGEST * dice.random() ** 4))
        names = [f"u{dice.randrange(40)}" for _ in range(dice.randint(1, 5))] + [f"new-{key}"]
        answer = StoredAnswer("keys", "backend", key, b"finger", "c-1", 0, AT)
        row = self._world.row(key, *names, body=body, due_at=AT)
        await self._write(Keep(row, (), answer), Lane.PUBLISH, "kept", key, hashlib.sha256(body).hexdigest(), names)

    async def _more(self, key: str) -> None:
        """What becomes of it, and of other things."""
        chance, user = self._dice.random(), f"new-{key}"
        if chance < 0.4:
            fact = Fact(key, "acked", self._world.users(user), AT)
            await self._write(Note(fact), Lane.ACK, "acked", key, user)
        elif chance < 0.6:
            self._say("closing", key)
            await self._write(Close(key), Lane.BOOKKEEPING, "closed", key)
        elif chance < 0.7:
            await self._write(Schedule(Scheduled(key, key, AT, b"{}")), Lane.PUBLISH, "scheduled", key)
            if chance < 0.65:
                self._say("unscheduling", key)
                await self._write(Unschedule(key), Lane.ACK, "unscheduled", key)
        elif chance < 0.8:
            (number,) = self._world.users(user)
            subscribe = Subscribe(user, number, "news", Grant(by_server=True))
            await self._write(subscribe, Lane.ACK, "subscribed", user)
            if chance < 0.75:
                self._say("unsubscribing", user)
                await self._write(Unsubscribe(user, "news"), Lane.ACK, "unsubscribed", user)
        elif chance < 0.9:
            await self._write(Revoke(user, 5.0), Lane.ACK, "revoked", user)
        else:
            self._world.store.note(Note(Fact(key, "pushed", UserSet(self._world.users(user)), AT)))


def flush_less(synchronous: str) -> None:
    """Have the store do what it must never do, and believe that it is right."""
    prepare = database._prepare_sqlite

    def prepare_badly(connection: Any, record: Any) -> None:
        prepare(connection, record)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.close()

    database._prepare_sqlite = prepare_badly
    links.SYNCHRONOUS_FULL = 0


async def main(folder: Path, recording: Path, life: str, seed: str, synchronous: str = "") -> None:
    if synchronous:
        flush_less(synchronous)
    handle = os.open(recording, os.O_WRONLY | os.O_APPEND)
    for session in range(SESSIONS):
        name = f"{life}-{session}"
        async with opened(f"sqlite:///{folder}/hubd.db") as world:
            await Storing(world, handle, name, random.Random(f"{seed}-{name}")).run()
            if session == SESSIONS - 1:
                os._exit(0)


if __name__ == "__main__":
    where, recording, *rest = sys.argv[1:]
    asyncio.run(partial(main, Path(where), Path(recording), *rest)())
