"""A hub with a pusher and a store in memory's place, and explanations of what happens in it, in short words."""

from collections.abc import Sequence
from typing import Any

from hubd.config import Config
from hubd.core.stored import Kept
from hubd.explaining import Explaining
from hubd.hub import Hub
from hubd.storing import StoreError
from hubd.testing import RecordingPusher, make_hub

Fields = dict[str, Any]


class Rows:
    """Stands for a store of which only reading is asked: the rows of each id, the latest first."""

    trouble = ""

    def __init__(self) -> None:
        self.rows: dict[str, list[Kept]] = {}
        self.fails = ""

    async def find(self, id: str) -> Sequence[Kept]:
        if self.fails:
            raise StoreError(self.fails)
        return self.rows.get(id, [])

    async def find_rows(self, id: str) -> Sequence[Kept]:
        return await self.find(id)


class World:
    """A hub whose time is turned by hand."""

    def __init__(self, config: Config | None = None, *, push: bool = True) -> None:
        self.pusher = RecordingPusher()
        self.hub: Hub
        self.hub, self.clock, self.soon = make_hub(config, pusher=self.pusher if push else None)
        self.explaining = Explaining(self.hub)

    async def publish(self, id: str, *to: str, **more: Any) -> None:
        body = {"id": id, "to": list(to), "notification": {"type": "order"}, "priority": "informational", **more}
        await self.hub.publish(self.hub.prepare(body), "backend")
        self.soon.settle()

    def let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.hub.maintain()
        self.hub.delivering.wake()
        self.soon.settle()

    async def explain(self, id: str, user: str, **more: Any) -> Fields:
        return await self.explaining.of_user(id, user, lambda channel: True, **more)

    async def steps(self, id: str, user: str) -> list[Fields]:
        found = await self.explain(id, user)
        return list(found["steps"])

    async def story(self, id: str, user: str) -> list[str]:
        """The steps' names, with reasons in brackets, and how it ends."""
        found = await self.explain(id, user)
        return [*map(word, found["steps"]), str(found["milestone"])]


def word(step: Fields) -> str:
    """A step in short."""
    for name in ("reason", "way", "by"):
        if step.get(name):
            return f"{step['step']}({step[name]})"
    return str(step["step"])
