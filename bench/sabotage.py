"""A hub with one fault in it, planted on purpose to see whether the soak finds it: python -m bench.sabotage serve ...

The environment's BENCH_FAULT says which: a notification that isn't written to one connection (``lost``), that is
written twice (``doubled``), or behind the next one (``reordered``). The hub itself has no switch for that: a function
of its pump is wrapped before it starts. A client that is cut off just then gets everything right by its replay, so the
fault counts only once the same connection got something more, and is planted anew where that doesn't come about.
"""

import os
import sys
from collections.abc import Callable, Collection

from hubd.__main__ import main
from hubd.core.connection import Connection
from hubd.core.notification import Notification
from hubd.pump import Pump

AFTER = 100
"""So many deliveries go well first."""

FanOut = Callable[[Pump, Notification, str, Collection[Connection]], int]


class Fault:
    """Stands in for ``Pump.fan_out_now``; ``kind`` is lost, doubled or reordered."""

    def __init__(self, kind: str, original: FanOut) -> None:
        if kind not in ("lost", "doubled", "reordered"):
            sys.exit(f"BENCH_FAULT is to be lost, doubled or reordered, not {kind!r}")
        self._kind = kind
        self._original = original
        self._deliveries = 0
        self._victim: Connection | None = None
        self._held: tuple[Notification, str] | None = None
        self._is_done = False

    def fan_out(self, pump: Pump, notification: Notification, channel: str, recipients: Collection[Connection]) -> int:
        """As the original, but for one connection once."""
        if self._is_done or len(recipients) != 1:
            return self._original(pump, notification, channel, recipients)
        (connection,) = recipients
        self._deliveries += 1
        if self._victim is connection:
            self._is_done = True
            return self._complete(pump, notification, channel, recipients)
        if self._victim is not None and not self._victim.live:
            self._victim = self._held = None
        if self._victim is None and self._deliveries > AFTER and connection.live:
            self._victim = connection
            return self._begin(pump, notification, channel, recipients)
        return self._original(pump, notification, channel, recipients)

    def _begin(self, pump: Pump, notification: Notification, channel: str, recipients: Collection[Connection]) -> int:
        if self._kind == "doubled":
            self._original(pump, notification, channel, recipients)
            return self._original(pump, notification, channel, recipients)
        self._held = (notification, channel)
        return 1

    def _complete(
        self, pump: Pump, notification: Notification, channel: str, recipients: Collection[Connection]
    ) -> int:
        live = self._original(pump, notification, channel, recipients)
        if self._kind == "reordered" and self._held is not None:
            self._original(pump, *self._held, recipients)
        return live


def plant(kind: str) -> None:
    """Have the hub of this process do it."""
    fault = Fault(kind, Pump.fan_out_now)

    def fan_out_now(pump: Pump, notification: Notification, channel: str, recipients: Collection[Connection]) -> int:
        return fault.fan_out(pump, notification, channel, recipients)

    Pump.fan_out_now = fan_out_now  # type: ignore[method-assign]  # that is what this is for


if __name__ == "__main__":
    plant(os.environ["BENCH_FAULT"])
    main(prog_name="hubd")
