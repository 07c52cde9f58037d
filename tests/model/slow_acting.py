"""The same history on a broker that takes its time: publishes overtake each other, and anything happens meanwhile."""

import asyncio
from typing import Any

from hubd.broker import Broker
from hubd.memory import Receipt
from hubd.testing import ToyBroker
from tests.model.acting import Acting
from tests.model.surroundings import Limits, Loop, Sleepers
from tests.model.world import Broken


class SlowActing(Acting):
    """A publish is only begun when it is made, and gets its number and its answer when the broker's time has come."""

    def __init__(self, limits: Limits, loop: Loop) -> None:
        self.sleepers = Sleepers()
        self.under_way: list[tuple[dict[str, Any], bool, asyncio.Task[tuple[Receipt, bool]]]] = []
        super().__init__(limits, loop)

    def make_broker(self) -> Broker:
        """The toy broker; with other delays for other limits."""
        return ToyBroker(seed=hash(self.limits), longest_s=1.0, sleep=self.sleepers.sleep)

    def send(self, body: dict[str, Any], again: bool = False) -> None:
        """Begin to publish."""
        body.setdefault("at", self.clock.monotonic())
        self.under_way.append((body, again, self.loop.start(self.call(body))))
        self._collect()

    def broker_goes_on(self, times: int) -> None:
        """Delays of the broker end, the earliest first."""
        for _ in range(times):
            if not self.sleepers.wake():
                break
            self.loop.turn()
            self._collect()

    def _collect(self) -> None:
        waiting = []
        for body, again, task in self.under_way:
            if task.done():
                self.answered(body, again, *task.result())
            else:
                waiting.append((body, again, task))
        self.under_way = waiting

    def close(self) -> None:
        """Put everything back; of publishes that are under way nothing comes any more."""
        for _, _, task in self.under_way:
            task.cancel()
        self.loop.turn()
        super().close()

    def finish(self) -> None:
        """First of all everything must get its number and its answer."""
        while self.under_way:
            if not self.sleepers.wake():
                raise Broken("a publish was never answered")
            self.loop.turn()
            self._collect()
        super().finish()
