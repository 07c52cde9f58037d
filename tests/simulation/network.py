"""Connections in memory: bytes arrive after a while, in order, in parts; or they don't, and nobody is told.

Both ends are asyncio transports. A link can be cut (both sides are told), go dead (neither is), and a side that doesn't
read is felt by the other one as soon as what is on its way is too much.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf, nextafter
from typing import Any

from tests.simulation.loop import VirtualLoop

WINDOW = 65536
"""How many bytes are on their way, or unread, before the sender has to keep the rest."""
SPLIT = 0.03
"""How often bytes that were written together come in two parts."""


class End(asyncio.Transport):
    """One end of a link. ``sent_at`` is when what is just being received was written."""

    def __init__(self, link: "Link", peername: tuple[str, int]) -> None:
        super().__init__({"peername": peername, "sockname": ("127.0.0.1", 8080)})
        self.link = link
        self.other: End
        self.sent_at = 0.0
        self.is_lost = False
        self._protocol: Any = None
        self._closing = self._is_paused = self._is_writing_paused = False
        self._high = WINDOW
        self._kept: deque[bytes] = deque()  # written, but there is no room on the way
        self._kept_bytes = 0
        self._on_way = 0
        self._last_arrival = 0.0
        self._arrived: deque[tuple[float, bytes | None, Callable[[], None] | None]] = deque()
        self._arrival_calls: Callable[[], None] | None = None

    # What protocols ask of a transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._is_paused

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self.link.loop.call_soon(self._receive)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = WINDOW if high is None else high

    def get_write_buffer_size(self) -> int:
        return self._kept_bytes

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._send(None, None)

    def write(self, data: Any) -> None:
        data = bytes(data)
        if self._closing or self.is_lost or not data:
            return
        if self.link.on_write is not None:
            self.link.on_write(self, data)
        if self.link.network.tap is not None and self is self.link.server:
            self.link.network.tap(data)
        self._kept.append(data)
        self._kept_bytes += len(data)
        self._push()
        if self._kept_bytes > self._high and not self._is_writing_paused:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def write_and_then(self, data: bytes, arrived: Callable[[], None]) -> None:
        """Write, and have something done at the moment in which the other side has received all of it."""
        self._arrival_calls = arrived
        self.write(data)
        self._arrival_calls = None

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._kept:
                self._finish()

    def abort(self) -> None:
        self._closing = True
        self._kept.clear()
        self._kept_bytes = 0
        self._finish()

    # The way of the bytes

    def _push(self) -> None:
        while self._kept and self._on_way < WINDOW:
            data = self._kept.popleft()
            room = WINDOW - self._on_way
            if len(data) > room:
                self._kept.appendleft(data[room:])
                data = data[:room]
            self._kept_bytes -= len(data)
            self._on_way += len(data)
            random = self.link.loop.random
            calls = self._arrival_calls
            if len(data) > 1 and random.random() < SPLIT:
                place = random.randrange(1, len(data))
                self._send(data[:place], None)
                data = data[place:]
            self._send(data, calls)

    def _send(self, data: bytes | None, calls: Callable[[], None] | None) -> None:
        loop = self.link.loop
        # Never at the same time: what a loop has planned for one moment is done in any order.
        self._last_arrival = at = max(nextafter(self._last_arrival, inf), loop.now + self.link.latency())
        loop.call_at(at, self.other._arrive, loop.now, data, calls)

    def _arrive(self, sent_at: float, data: bytes | None, calls: Callable[[], None] | None) -> None:
        if self.link.is_dead or self.is_lost:
            return
        self._arrived.append((sent_at, data, calls))
        self._receive()

    def _receive(self) -> None:
        while self._arrived and not self._is_paused and not self.is_lost:
            self.sent_at, data, calls = self._arrived.popleft()
            if data is None:
                if not self._protocol.eof_received():
                    self.close()
                continue
            self.other._taken(len(data))
            if calls is not None:
                calls()
            if not self._closing:
                self._protocol.data_received(data)

    def _taken(self, size: int) -> None:
        self._on_way -= size
        if self.is_lost:
            return
        self._push()
        if self._is_writing_paused and not self._kept:
            self._is_writing_paused = False
            self._protocol.resume_writing()
        if self._closing and not self._kept:
            self._finish()

    def _finish(self) -> None:
        """Nothing more is sent: the other side learns of it behind all that is on its way."""
        if self.is_lost:
            return
        self._lose(None)
        at = max(nextafter(self._last_arrival, inf), self.link.loop.now + self.link.latency())
        self.link.loop.call_at(at, self.other._other_gone)

    def _other_gone(self) -> None:
        if not self.link.is_dead and not self.is_lost:
            self._closing = True
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        self.is_lost = True
        self._closing = True
        self.link.loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        self.link.ended(self)
        if not (self.link.is_server_gone and self is self.link.server):
            self._protocol.connection_lost(error)

    def reset(self) -> None:
        """The other side, or the network, has cut it."""
        if not self.is_lost:
            self._kept.clear()
            self._kept_bytes = 0
            self._lose(ConnectionResetError("cut"))


class Link:
    """Two ends. ``on_write(end, data)`` and ``on_server_end()`` tell of what the server does with its one."""

    def __init__(self, network: "Network", host: str) -> None:
        self.loop = network.loop
        self.network = network
        self.is_dead = self.is_server_gone = False
        self.on_write: Callable[[End, bytes], None] | None = None
        self.on_server_end: Callable[[], None] | None = None
        self.client, self.server = End(self, ("127.0.0.1", 8080)), End(self, (host, 40000))
        self.client.other, self.server.other = self.server, self.client

    def latency(self) -> float:
        return self.network.latency()

    def cut(self) -> None:
        """Both ends are told that it is over, each a little later."""
        self.loop.call_later(self.latency(), self.client.reset)
        self.loop.call_later(self.latency(), self.server.reset)

    def die(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        self.is_dead = True

    def ended(self, end: End) -> None:
        if end is self.server:
            self.network.links.pop(self, None)
            if self.on_server_end is not None:
                self.on_server_end()


class Network:
    """All links to servers of one loop; each takes ``longest_s`` at most for one way."""

    def __init__(self, loop: VirtualLoop, longest_s: float = 0.05) -> None:
        self.loop = loop
        self.longest_s = longest_s
        self.links: dict[Link, None] = {}
        self.tap: Callable[[bytes], None] | None = None
        """Is given all that servers write."""

    def latency(self) -> float:
        return self.loop.random.uniform(0.0005, self.longest_s)

    def connect(self, address: tuple[str, int], protocol: asyncio.Protocol, host: str = "10.0.0.1") -> Link | None:
        """Connect at once: the protocol has its transport when this returns. None: nobody listens there."""
        serving = self.loop.serving.get(address)
        if serving is None:
            return None
        link = Link(self, host)
        self.links[link] = None
        link.client.set_protocol(protocol)
        protocol.connection_made(link.client)
        accepted = serving()
        link.server.set_protocol(accepted)
        accepted.connection_made(link.server)
        return link

    def kill_servers(self) -> None:
        """The servers' process is gone, from one moment to the next: their protocols are told nothing."""
        for link in list(self.links):
            link.is_server_gone = True
            link.server.is_lost = True
            self.loop.call_later(self.latency(), link.client.reset)
            link.ended(link.server)
        self.loop.serving.clear()
