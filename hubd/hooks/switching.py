"""Which plugins are on: one that fails too often is switched off, and gets another chance later."""

import logging
from collections import Counter, deque
from collections.abc import Callable

from hubd.clock import Clock
from hubd.log_events import log_event

FAULTS = 5
FAULTS_S = 60.0
"""A plugin with so many faults within so many seconds is switched off."""
STALL_S = 10.0
"""Calls that took too long within so many seconds of one another are one fault: they waited for the same thing."""
OFF_S, OFF_MOST_S = 60.0, 3600.0
"""For how long it is off at first; each time twice as long, up to the second. A reload switches it on at once."""

log = logging.getLogger("hubd.plugins")


class Plugin:
    """One plugin as those see it who call it. ``faults`` counts by what went wrong; ``is_on`` until it is too many.

    Times are seconds of the monotonic clock.
    """

    def __init__(self, name: str, instance: object) -> None:
        self.name = name
        self.instance = instance
        self.is_on = True
        self.faults: Counter[str] = Counter()
        self.recent: deque[float] = deque(maxlen=FAULTS)
        self.stalled_at = float("-inf")
        self.on_since = 0.0
        self.on_again_at = 0.0
        self.off_s = OFF_S  # for how long it is off the next time


class Switching:
    """Switches plugins off and on; ``switched`` is told of each."""

    def __init__(self, clock: Clock, switched: Callable[[Plugin], None]) -> None:
        self._clock = clock
        self._switched = switched
        self._ended = False
        self.plugins: dict[str, Plugin] = {}

    def count(self, plugin: Plugin, kind: str) -> None:
        """One more fault of this kind; switches off when it is too much."""
        now = self._clock.monotonic()
        if kind == "too_long":
            if now - plugin.stalled_at < STALL_S:
                return
            plugin.stalled_at = now
        plugin.recent.append(now)
        if plugin.is_on and len(plugin.recent) == FAULTS and now - plugin.recent[0] <= FAULTS_S:
            self._switch_off(plugin, now)

    def _switch_off(self, plugin: Plugin, now: float) -> None:
        if now - plugin.on_since > OFF_MOST_S:  # it was well for long
            plugin.off_s = OFF_S
        plugin.is_on = False
        plugin.on_again_at = now + plugin.off_s
        name, off_s = plugin.name, plugin.off_s
        log_event(log, "plugin_switched_off", plugin=name, faults=FAULTS, within_s=FAULTS_S, on_again_in_s=off_s)
        plugin.off_s = min(OFF_MOST_S, 2 * plugin.off_s)
        self._switched(plugin)

    def switch_on(self) -> None:
        """Switch on again whatever is switched off: somebody has seen to it."""
        for plugin in self.plugins.values():
            plugin.off_s = OFF_S
            if not plugin.is_on:
                self._switch_on(plugin)

    def maintain(self) -> None:
        """Give those that have been off for long enough another chance; to be called once a second."""
        now = self._clock.monotonic()
        for plugin in self.plugins.values():
            if not plugin.is_on and now >= plugin.on_again_at and not self._ended:
                self._switch_on(plugin)

    def _switch_on(self, plugin: Plugin) -> None:
        plugin.is_on = True
        plugin.on_since = self._clock.monotonic()
        plugin.recent.clear()
        plugin.stalled_at = float("-inf")
        log_event(log, "plugin_switched_on", plugin=plugin.name)
        self._switched(plugin)

    def end(self) -> None:
        """They have shut down: all are off, for good."""
        self._ended = True
        for plugin in self.plugins.values():
            plugin.is_on = False
