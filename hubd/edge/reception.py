"""The reception: every HTTP connection, from its accept until it ends or becomes a connection of the hub's own.

aiohttp closes what is silent for a while. What it leaves open is closed here: heads that come in drops, answers that
nobody takes, more connections than there is room for. There is no timer for each: whatever has a deadline is kept in
the order of its time, and looked at once a second.
"""

import asyncio
import errno
import logging
import resource
import socket
import struct
from collections.abc import Callable
from itertools import islice, takewhile
from typing import Any, Protocol

from aiohttp import web

from hubd.edge.endpoint import Endpoint
from hubd.edge.limits import PerAddress
from hubd.log_events import log_event

HEAD_S = 10.0
"""How long a request's head may take, from the accept or from its first byte."""
TAKE_S, TAKE_BYTES = 30.0, 65536
"""In such a time, so much of an answer must be taken, or all of it."""
PRESSED_S = 2.0
"""The same time while all that may be kept of answers is kept."""
LARGE_BYTES = 65536
"""From which size on an answer is refused then."""
ANSWERS_BYTES, BODIES_BYTES = 64 << 20, 256 << 20
"""How much is kept of all answers that aren't taken yet, and of all bodies that aren't complete yet."""
HTTP_CONNECTIONS = 10_000
"""How many are open at most, whatever the limit of open files: each costs some 15 KiB."""
FILES_KEPT, HTTP_LEAST = 100, 16
"""Open files that are for nothing of this; and how many connections may be open even if there were none left."""
PER_IP_LEAST = 100
"""HTTP connections that an address may have even where `per_ip` is smaller: a refusal needs one too."""
ACCEPTS = 64
"""How many are accepted before the loop gets its turn."""
BACKLOG = 4096
"""How many the system keeps waiting for that."""
SEND_BYTES = 262144
"""How much the system keeps of what one connection doesn't read; by itself it would be megabytes."""
CROWD, WARN_S = 100, 60.0
"""From how many connections on it is odd that half have one address, and how often that is said."""

log = logging.getLogger("hubd.reception")


class Guest(Protocol):
    """An HTTP connection's protocol, as the reception knows it."""

    address: str

    def is_working(self) -> bool:
        """Whether there are requests that came and aren't answered yet."""
        ...


class Reception:
    """Keeps the HTTP connections of one hub, and cuts those that only cost."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.clock = endpoint.clock
        self.endpoint = endpoint
        self._cuts = endpoint.hub.counts.cut
        self._open: dict[Guest, asyncio.Transport] = {}
        self._addresses = PerAddress()
        # What has no request at work, longest first: between requests, and in an unfinished head since when.
        self._idle: dict[Guest, None] = {}
        self._headless: dict[Guest, float] = {}
        # Whose answer isn't taken: since when, and how much there was of it.
        self._unread: dict[Guest, tuple[float, int]] = {}
        self._answers, self._bodies = _Kept(ANSWERS_BYTES), _Kept(BODIES_BYTES)
        self._warned_at = self._no_files_at = -WARN_S
        self._other_fault: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    async def listen(self, runner: web.AppRunner, host: str, port: int) -> web.TCPSite:
        """Accept connections, so many at a time; the others wait in the system's queue, which is longer than that."""
        loop = asyncio.get_running_loop()
        if (before := loop.get_exception_handler()) != self.on_loop_fault:
            self._other_fault = before or type(loop).default_exception_handler
            loop.set_exception_handler(self.on_loop_fault)
        site = web.TCPSite(runner, host, port, backlog=ACCEPTS)
        await site.start()
        server: Any = site._server
        for sock in server.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)  # those it accepts have it too
            with sock.dup() as same:
                same.listen(BACKLOG)
        return site

    # What becomes of a connection: called by its protocol

    def came(self, guest: Guest, transport: asyncio.Transport) -> bool:
        """A connection was accepted, or given back; False if it can't stay."""
        peer = transport.get_extra_info("peername")
        host = peer[0] if isinstance(peer, tuple) else ""
        proxies = self.endpoint.proxies
        address = proxies.client(host, tuple)
        if self._has_all(address) and not proxies.is_proxy(host):
            self._cuts["per_ip"] += 1
            return False
        if not self._make_room():
            self._cuts["no_room"] += 1
            return False
        guest.address = address
        self._open[guest] = transport
        self._addresses.add(address)
        self._headless[guest] = self.clock.monotonic()
        return True

    def went(self, guest: Guest) -> None:
        """It ended, or isn't aiohttp's any more."""
        if self._open.pop(guest, None) is not None:
            self._addresses.discard(guest.address)
            self._idle.pop(guest, None)
            self._headless.pop(guest, None)
            self.taken(guest)
            self._bodies.drop(guest)

    def head_began(self, guest: Guest) -> None:
        """Some of a request is there."""
        if guest in self._open:
            self._idle.pop(guest, None)
            self._headless.setdefault(guest, self.clock.monotonic())

    def request_came(self, guest: Guest) -> None:
        """All of a request's head is there."""
        self._idle.pop(guest, None)
        self._headless.pop(guest, None)

    def rests(self, guest: Guest) -> None:
        """The next request may take its time."""
        if guest in self._open:
            self._headless.pop(guest, None)
            self._bodies.drop(guest)
            self._idle[guest] = None

    def has_room_for(self, size: int) -> bool:
        """Whether an answer of so many bytes may be kept until it is read."""
        return size < LARGE_BYTES or not self._answers.is_full

    def not_taken(self, guest: Guest, kept: int) -> None:
        """Some of an answer waits for the other side to read; besides that, ``kept`` bytes are kept for it."""
        if (transport := self._open.get(guest)) is not None:
            size = transport.get_write_buffer_size()
            self._unread[guest] = (self.clock.monotonic(), size)
            self._answers.keep(guest, size + kept)

    def taken(self, guest: Guest) -> None:
        """It has been read."""
        self._unread.pop(guest, None)
        self._answers.drop(guest)

    def body_grew(self, guest: Guest, size: int) -> None:
        """So many more bytes of a body came, and there are more to come."""
        if guest in self._open:
            self._bodies.keep(guest, size)
            if self._bodies.is_full and (slowest := self._bodies.oldest()) is not guest:
                self._cut(slowest, "memory")

    def body_came(self, guest: Guest) -> None:
        """The rest of it is there."""
        self._bodies.drop(guest)

    def close_silent(self) -> None:
        """Close those of which no byte has come: the hub stops."""
        for guest, transport in list(self._open.items()):
            if not isinstance(guest, web.RequestHandler):
                transport.close()

    # Once a second

    def look(self) -> None:
        """Cut those whose time is over, and say what an operator should know."""
        now = self.clock.monotonic()
        late = takewhile(lambda entry: now - entry[1] >= HEAD_S, self._headless.items())
        for guest, _ in list(late):
            if guest.is_working():  # with the request before: its client may not even have been read from
                del self._headless[guest]
                self._headless[guest] = now
            else:
                self._cut(guest, "slow_head")
        patience = PRESSED_S if self._answers.is_full else TAKE_S
        unread = takewhile(lambda entry: now - entry[1][0] >= patience, self._unread.items())
        for guest, (_, size) in list(unread):
            left = self._open[guest].get_write_buffer_size()
            del self._unread[guest]
            if left and size - left < TAKE_BYTES:
                self._cut(guest, "slow_reader", reset=True)
            elif left:
                self._unread[guest] = (now, left)
        if now - self._warned_at >= WARN_S:
            self._warn_of_a_crowd(now)

    def _warn_of_a_crowd(self, now: float) -> None:
        """Behind a proxy that isn't named all clients have its address: the first limits they meet lock them out."""
        others = self.endpoint.addresses
        total = others.total + self._addresses.total
        if self.endpoint.proxies or total < CROWD:
            return
        address, count = self._addresses.most(others)
        if count * 2 > total:
            self._warned_at = now
            log_event(log, "one_address", address=address, connections=count, of=total)

    # Room

    def _has_all(self, address: str) -> bool:
        """Whether an address has all the HTTP connections that it may have."""
        per_ip = self.endpoint.hub.config.limits.per_ip
        return bool(per_ip) and self._addresses.of(address) >= max(per_ip, PER_IP_LEAST)

    def _make_room(self) -> bool:
        """See to it that one more may come; of those that nobody works for, the oldest has to go for it."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        others = self.endpoint.addresses.total + FILES_KEPT
        if len(self._open) < max(HTTP_LEAST, min(HTTP_CONNECTIONS, files - others)):
            return True
        return self._cut_oldest(1) > 0

    def _cut_oldest(self, count: int) -> int:
        """Cut so many that nobody works for: gives how many there were."""
        oldest = [*islice(self._headless, count)]
        oldest += islice(self._idle, count - len(oldest))
        for guest in oldest:
            self._cut(guest, "made_room")
        return len(oldest)

    def _cut(self, guest: Guest, why: str, *, reset: bool = False) -> None:
        """End a connection; with ``reset`` the system forgets at once what it still has to send, too."""
        self._cuts[why] += 1
        transport = self._open[guest]
        self.went(guest)
        if reset:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def on_loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A loop's exception handler: where accepting found no open file left, make some, and say so seldom."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_FILES and "socket" in context):
            self._other_fault(loop, context)
            return
        now = self.clock.monotonic()
        if now - self._no_files_at >= WARN_S:
            self._no_files_at = now
            log_event(log, "no_more_files", reason=error.strerror)
        self._cut_oldest(1)  # it comes once for each accept that was tried


class _Kept:
    """How many bytes are kept for each of some connections; ``most`` for all of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._sizes: dict[Guest, int] = {}

    @property
    def is_full(self) -> bool:
        """Whether that is reached."""
        return self._total >= self._most

    def keep(self, guest: Guest, size: int) -> None:
        """So many more."""
        self._sizes[guest] = self._sizes.get(guest, 0) + size
        self._total += size

    def oldest(self) -> Guest:
        """The one that has been here for longest; there must be one."""
        return next(iter(self._sizes))

    def drop(self, guest: Guest) -> None:
        """None any more."""
        self._total -= self._sizes.pop(guest, 0)


_RESET = struct.pack("ii", 1, 0)
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
