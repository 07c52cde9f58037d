"""A hub with a recording pusher and a store that keeps what it is given in a list, and answers when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from hubd.config import Config
from hubd.config_options import Delivery
from hubd.core.notification import Notification
from hubd.core.record import Record
from hubd.core.stored import Keep, Kept, Lane, Note, Write
from hubd.storing import Loaded, StoreError, Written, all_written
from hubd.testing import RecordingConnection, RecordingPusher, connect, make_hub

KEY = "key:backend"


class ToyStore:
    """``writes`` has all that it was given, with its lane (None: a note). ``is_slow``: it answers by ``answer``."""

    def __init__(self) -> None:
        self.writes: list[tuple[Lane | None, Write]] = []
        self.trouble = ""
        self.is_slow = False
        self._waiting: list[Written] = []

    def write(self, write: Write, lane: Lane) -> Written:
        self.writes.append((lane, write))
        future: Written = asyncio.get_running_loop().create_future()
        if self.is_slow:
            self._waiting.append(future)
        else:
            self._end(future)
        return future

    def _end(self, future: Written) -> None:
        if future.cancelled():
            return
        if self.trouble:
            future.set_exception(StoreError(self.trouble))
            future.exception()
        else:
            future.set_result(None)

    def answer(self) -> None:
        """All that waits is on the disk, or isn't and won't be."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            self._end(future)

    def note(self, write: Write) -> None:
        self.writes.append((None, write))

    def said(self, *kinds: type) -> list[Any]:
        """The writes of these kinds, in order."""
        return [write for _, write in self.writes if isinstance(write, kinds)]

    def facts(self, kind: str) -> list[list[int]]:
        """The users of all facts of a kind."""
        return [list(write.fact.users) for write in self.said(Note) if write.fact.kind == kind]

    def keeps(self) -> list[Keep]:
        return self.said(Keep)

    async def load(self) -> Loaded:
        raise NotImplementedError

    def open_rows(self) -> AsyncIterator[Kept]:
        raise NotImplementedError

    async def find(self, id: str) -> Sequence[Kept]:
        return []

    async def find_rows(self, id: str) -> Sequence[Kept]:
        return []

    async def find_meant(self, ids: Sequence[str], number: int) -> Sequence[str]:
        return []

    async def close(self, within_s: float) -> None:
        """Nothing is open."""


class World:
    """The hub, its clock, what was pushed and what was stored; ``with_store`` False: there is no store."""

    def __init__(self, *, with_store: bool = True, with_pusher: bool = True, **delivery: Any) -> None:
        self.store = ToyStore()
        self.pusher = RecordingPusher()
        config = Config(delivery=Delivery(**delivery))
        self.hub, self.clock, self.soon = make_hub(
            config,
            store=self.store if with_store else None,  # type: ignore[arg-type]  # what isn't used of it is missing
            pusher=self.pusher if with_pusher else None,
        )

    def connect(self, user: str, *topics: str, cursor: str | None = None, acks: bool = True) -> RecordingConnection:
        return connect(self.hub, user, topics, cursor, control=acks)

    async def publish(self, *to: str, id: str = "x", **more: Any) -> Record:
        """Publish, and give its record."""
        body = {"to": list(to), "id": id, "notification": {"type": "t"}, "priority": "important", **more}
        await self.hub.publish(self.hub.prepare(body), KEY)
        self.soon.settle()
        return self.record(id)

    def record(self, id: str = "x") -> Record:
        return self.hub.delivering.ledger.find_all(id)[0]

    def notification(self, id: str = "x") -> Notification:
        found = self.record(id).notification
        assert found is not None
        return found

    def wait(self, seconds: float) -> None:
        """Time passes, and what is due is done."""
        self.clock.advance(seconds)
        self.hub.maintain()

    async def ack(self, user: str, *ids: str) -> None:
        await all_written(self.hub.ack(user, list(ids), []))

    def pushed(self) -> list[tuple[str, str]]:
        """Each push so far: the id, and whom to."""
        return [(id, user) for _, id, user in self.pusher.pushed]

    def where(self, *users: str, id: str = "x") -> list[str | None]:
        """The milestones of these users."""
        record = self.record(id)
        return [record.milestones.of(self.hub.numbers.number_of(user)) for user in users]

    @property
    def tally(self) -> dict[str, int]:
        return {name: count for name, count in self.hub.delivering.delivery.tally.items() if count}


def ids(connection: RecordingConnection) -> list[str]:
    """The ids of the notifications that came, in order."""
    return [one["id"] for one in connection.notifications()]


async def turns(count: int = 5) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)
