"""The sweep: one task that looks at every connection once a second, instead of timers for each."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import TypeVar

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.connection import Connection, Visibility
from hubd.core.errors import AUTH_TIMEOUT, EXPIRED, NO_PONG
from hubd.edge.endpoint import Endpoint
from hubd.edge.reception import Reception
from hubd.edge.tokens import LEEWAY_S
from hubd.log_events import log_event

log = logging.getLogger("hubd.sweep")

ROUND_S = 1.0
SLICE = 500
"""How many connections are looked at before the loop gets its turn."""

Item = TypeVar("Item")


class Sweep:
    """Pings, silent peers, tokens that run out, connections that don't say who they are or don't finish closing."""

    def __init__(self, endpoint: Endpoint, reception: Reception, clock: Clock) -> None:
        self._endpoint = endpoint
        self._reception = reception
        self._hub = endpoint.hub
        self._clock = clock
        self.apply(endpoint.hub.config)

    def apply(self, config: Config) -> None:
        """Go by these times from now on."""
        limits = config.limits
        self._ping_s = limits.ping_s
        self._pong_s = limits.pong_s
        self._auth_s = limits.auth_s
        self._attention_s = config.delivery.attention_ttl_s

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            try:
                await self._look_at_all()
            except Exception as error:
                log_event(log, "sweep_failed", error)
            try:
                self._hub.maintain()
            except Exception as error:
                log_event(log, "maintenance_failed", error)

    async def _look_at_all(self) -> None:
        connections = list(self._hub.registry.connections)
        for start in range(0, len(connections), SLICE):
            self.look(connections[start : start + SLICE])
            await asyncio.sleep(0)
        self.look_at_strangers()
        self._reception.look()

    def look(self, connections: Sequence[Connection]) -> None:
        """Do what is due for these connections."""
        now, wall = self._clock.monotonic(), self._clock.now()
        _each(connections, lambda connection: self._look_at(connection, now, wall))

    def _look_at(self, connection: Connection, now: float, wall: float) -> None:
        if connection.closing:
            return
        unanswered = connection.answers_pings and connection.heard_at < connection.pinged_at
        if unanswered and now - connection.pinged_at > self._pong_s:
            self._hub.end(connection, NO_PONG)
            return
        ping_s = self._ping_s if connection.ping_s is None else connection.ping_s
        if not unanswered and now - connection.pinged_at >= ping_s:
            connection.pinged_at = now
            connection.ping(self._hub.attendance.cursor_of(connection))
            self._hub.pump.schedule(connection)
        if connection.visibility is Visibility.VISIBLE and now - connection.input_at >= self._attention_s:
            self._hub.attendance.attention_ended(connection)
        if wall >= connection.warn_at:
            self._expires(connection, wall)

    def _expires(self, connection: Connection, wall: float) -> None:
        expires_at = connection.identity.expires_at
        if expires_at is None:
            return
        if wall > expires_at + LEEWAY_S:
            self._hub.end(connection, EXPIRED)
            return
        if wall < expires_at and connection.control:
            connection.put_control({"hub": "token_expiring", "in_s": max(0, round(expires_at - wall))})
            self._hub.pump.schedule(connection)
        connection.warn_at = expires_at + LEEWAY_S  # it is told once; the next time it is over

    def look_at_strangers(self) -> None:
        """End those who said nothing of themselves in time, and cut those who don't answer a close frame."""
        now = self._clock.monotonic()
        endpoint = self._endpoint
        # Both are in the order of their times: behind the first whose time hasn't come, nobody's has.
        late = takewhile(lambda stranger: now - stranger.opened_at >= self._auth_s, endpoint.unauthenticated)
        _each(list(late), lambda stranger: stranger.refuse(AUTH_TIMEOUT))
        silent = takewhile(lambda entry: now >= entry[1], endpoint.leaving.items())
        _each(list(silent), lambda entry: entry[0].transport.abort())


def _each(items: Iterable[Item], do: Callable[[Item], None]) -> None:
    """Do something to each; a fault is one's alone, and the log has the first of them."""
    failed = 0
    first: Exception | None = None
    for item in items:
        try:
            do(item)
        except Exception as error:
            failed += 1
            first = first or error
    if first is not None:
        log_event(log, "sweep_faults", first, connections=failed)
