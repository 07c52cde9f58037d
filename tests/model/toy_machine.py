"""The same machine on a broker that takes its time: publishes overtake each other and anything may happen meanwhile."""

import asyncio
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from hubd.broker import Broker
from hubd.hub import Receipt
from hubd.testing import ToyBroker
from tests.model.machine import HubMachine
from tests.model.surroundings import Sleepers
from tests.model.world import Broken


class ToyMachine(HubMachine):
    """A publish is begun by its rule, and gets its number and its answer when the broker's time has come."""

    def __init__(self) -> None:
        super().__init__()
        self.sleepers = Sleepers()
        self.under_way: list[tuple[dict[str, Any], bool, asyncio.Task[tuple[Receipt, bool]]]] = []

    def make_broker(self) -> Broker:
        """The toy broker; with other delays for other limits."""
        return ToyBroker(seed=hash(self.limits), longest_s=1.0, sleep=self.sleepers.sleep)

    def _publish(self, body: dict[str, Any], again: bool = False) -> None:
        body.setdefault("at", self.clock.monotonic())
        self.under_way.append((body, again, self.loop.start(self.call(body))))
        self._collect()

    @rule(times=st.sampled_from([1, 2, 3, 8]))
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

    def finish(self) -> None:
        """First of all everything must get its number and its answer."""
        while self.under_way:
            if not self.sleepers.wake():
                raise Broken("a publish was never answered")
            self.loop.turn()
            self._collect()
        super().finish()
