"""A walk over all connections, for the figures that nothing else can tell."""

import asyncio
from collections import Counter

from hubd.core.connection import Connection
from hubd.core.presence import State
from hubd.hub import Hub

SLICE = 1000
"""How many connections are looked at before the loop gets its turn."""


class Survey:
    """What a walk over the connections finds."""

    def __init__(self) -> None:
        self.connections: Counter[tuple[str, str]] = Counter()
        self.paused = 0
        self.queued_bytes = 0
        self.longest_bytes = 0

    def look_at(self, connection: Connection, state: str) -> None:
        """Count one connection."""
        self.connections[connection.transport_name, state] += 1
        self.paused += connection.paused
        if connection.lone is None and not connection.paused:
            return  # nothing waits, as for nearly all
        size = len(connection.lone or b"") + sum(map(len, connection.listed)) + connection.unsent()
        self.queued_bytes += size
        self.longest_bytes = max(self.longest_bytes, size)


async def survey(hub: Hub) -> Survey:
    """Walk over the connections of a hub, in slices, between which the loop gets its turn."""
    now = hub.clock.monotonic()
    found = Survey()
    connections = list(hub.registry.connections)
    for start in range(0, len(connections), SLICE):
        for connection in connections[start : start + SLICE]:
            found.look_at(connection, _state(hub, connection, now))
        await asyncio.sleep(0)
    return found


def _state(hub: Hub, connection: Connection, now: float) -> str:
    if not connection.live:
        return "resuming"
    return (State.ATTENTIVE if hub.presence.is_attentive(connection, now) else State.CONNECTED).value
