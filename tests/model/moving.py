"""Clients on three transports, each connection with its ledger, and a hub that they move about on."""

import asyncio
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable
from random import Random
from typing import Any

from tests.edge.ws_client import CLOSE, masked
from tests.model.chain import Chain, Position
from tests.model.ledger import Ledger
from tests.model.live import HOST, LiveClient, LiveHub, narrow_socket, until
from tests.model.wires import (
    DECODERS,
    PROTOCOLS,
    Answer,
    At,
    Control,
    Frame,
    Opened,
    Told,
    action,
    get_request,
    stream_request,
    websocket_request,
)
from tests.model.world import Broken

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a RST
WAITS = ("0", "0.02", "0.3") + ("20",) * 9
LONG_AGO_S = 100.0


class MovingHub(LiveHub):
    """A hub whose clients move; it knows what was acked, and can ping everybody at any time."""

    def __init__(self, queue_bytes: int, random: Random) -> None:
        super().__init__(queue_bytes)
        self.random = random
        self.acked: defaultdict[str, set[str]] = defaultdict(set)
        self.happened: Counter[str] = Counter()

    def ping_all(self) -> None:
        """Let the sweep find that every stream is due for a ping."""
        connections = list(self.hub.registry.connections)
        for connection in connections:
            connection.pinged_at -= LONG_AGO_S
        self._edge.sweep.look(connections)

    def note_leaving(self, user: str, wire: str) -> None:
        """A client goes; that it is in the middle of a replay is what this is about."""
        if any(connection.replays for connection in self.hub.registry.connections_of(user)):
            self.happened[f"{_transport(wire)} left midway"] += 1

    def known(self, text: str | None) -> Position:
        """A cursor of this hub, or none."""
        return (None, None, "") if text is None else (text, self.place(text), "")

    def where(self, chain: Chain) -> Position:
        """Where a client stands: at what it came with, as long as it was told nothing better."""
        return chain.begun if chain.cursor == chain.begun[0] else self.known(chain.cursor)

    async def leave(self, client: Any, politely: bool | str) -> None:
        """A client goes, if it ever came in."""
        if client in self.clients:
            await super().leave(client, politely)  # type: ignore[arg-type]  # a way to go
        else:
            await client.leave(politely)

    async def ack(self, user: str, id: str, line: "Line | None") -> None:
        """A user was shown a notification: by a frame of this connection, or (None) by HTTP."""
        self.acked[user].add(id)
        if line is not None:
            await line._say({"action": "ack", "ids": [id]})
            return
        url = f"http://{HOST}:{self.ports[False]}/api/acks?user={user}"
        async with self._sessions[False].post(url, json={"ids": [id]}) as response:
            if response.status != 200:
                raise Broken(f"an ack was answered by {response.status}")

    async def open(
        self,
        chain: Chain,
        user: str,
        wire: str,
        topics: tuple[str, ...],
        at: Position,
        slow: bool = False,
        cut: int | None = None,
    ) -> "Line":
        """A client's next connection; ``cut``: after so many bytes from the hub it is no more."""
        if chain.wires:
            self.happened[f"{_transport(chain.wires[-1])} to {_transport(wire)}"] += 1
        chain.wires.append(wire)
        kind: type[Line] = Poller if wire == "poll" else Stream
        line = kind(self, chain, user, wire, topics, at, slow)
        if cut is not None:
            line.cut_after(cut)
        await line.open()
        return line


def _transport(wire: str) -> str:
    return wire if wire in ("sse", "poll") else "websocket"


class Line(LiveClient, asyncio.Protocol):
    """One TCP connection of a client."""

    def __init__(
        self, live: MovingHub, chain: Chain, user: str, wire: str, topics: tuple[str, ...], at: Position, slow: bool
    ) -> None:
        self.chain = chain
        self.wire = wire
        self.slow = self._is_narrow = slow
        self.closed = False
        self._why = "open"
        self.opened = False
        self.ledger: Ledger = Ledger(live.world, user, control=False, place=live.place)  # of nothing, until it is open
        self._live: MovingHub = live
        self._user = user
        self._topics = topics
        self._at = at
        self._refs = 0
        self._left: int | None = None
        self._leaving = False
        self._sips = -1
        self._decoder = DECODERS[wire]()
        self._earliest = live.world.latest

    async def open(self) -> None:
        """Connect, and wait for the first answer (or for the end)."""
        loop = asyncio.get_running_loop()
        port = self._live.ports[self._is_narrow]
        if self._is_narrow:
            sock = narrow_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", None))
            sock.setblocking(False)
            await loop.sock_connect(sock, (HOST, port))
            await loop.create_connection(lambda: self, sock=sock)
        else:
            await loop.create_connection(lambda: self, HOST, port)
        await until(lambda: self.opened or self.closed, lambda: f"a {self.wire} never opened")

    def __repr__(self) -> str:
        return f"<{self._user} by {self.chain.wires}, from {self._at}, {self._why}>"

    def _query(self) -> dict[str, str]:
        return {"user": self._user} | ({"topics": ",".join(self._topics)} if self._topics else {})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask_first()

    def _ask_first(self) -> None:
        raise NotImplementedError

    def cut_after(self, size: int) -> None:
        """The line is cut when so many more bytes have come, wherever that is."""
        self._left = size
        self.slow = True  # so nobody wonders that it ended

    def data_received(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                data = data[: self._left]
                self._reset()
        try:
            for item in self._decoder.feed(data):
                self._take(item)
        except AssertionError as broken:  # `Broken` is one
            self._live.broken.append(Broken(f"{broken}\nby {self.chain.wires}"))
            self._transport.abort()
        if self._sips > 0:
            self._sips -= 1
            self.stall(self._sips == 0)

    def _take(self, item: Any) -> None:
        raise NotImplementedError

    def _take_notification(self, frame: Frame, cursor: str) -> None:
        self.ledger.take(frame)
        sent = self._live.world.by_mark[frame["title"]]
        self.chain.got(sent.sequence, sent.mark)
        self.chain.at(cursor)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._why = f"ended: {error!r}"

    def stall(self, stalls: bool) -> None:
        self._sips = -1 if not stalls else self._sips
        self.slow = self.slow or (stalls and self.wire != "poll")  # a stream may be cut that isn't read
        super().stall(stalls)

    def sip(self, times: int) -> None:
        """Read so many times, as much as there is, and then no more."""
        self.stall(False)
        self._sips = times

    def has(self, sequence: int) -> bool:
        return sequence in self.chain.given

    async def leave(self, how: bool | str) -> None:
        """Go: 'close' reads to the end, 'reset' by a RST, 'unread' leaves bytes in the socket. A bool: politely?"""
        self._leaving = True
        self._live.note_leaving(self._user, self.wire)
        how = {True: "close", False: "reset"}.get(how, how)  # type: ignore[call-overload]
        if not self._transport.is_closing():
            if how == "close":
                self.stall(False)
                self._say_goodbye()
            elif how == "reset":
                self._reset()
            else:
                self.stall(True)
                await asyncio.sleep(0.003)
                self._transport.abort()
        await until(lambda: self.closed, lambda: f"a {self.wire} never ended")

    def _reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()

    def _say_goodbye(self) -> None:
        self._transport.write_eof()


class Stream(Line):
    """A WebSocket or an event stream."""

    _head: str | None = None

    def _ask_first(self) -> None:
        port, query = self._live.ports[self._is_narrow], self._query()
        text = self._at[0]
        if self.wire == "sse":
            as_header = text is not None and self._live.random.random() < 0.5
            if text is not None:  # the header beats the query
                query["cursor"] = "nonsense" if as_header else text
            self._transport.write(stream_request(port, query, text if as_header else None))
        else:
            query |= {} if text is None else {"cursor": text}
            self._transport.write(websocket_request(port, query, *PROTOCOLS.get(self.wire, ())))

    def _take(self, item: Any) -> None:
        if isinstance(item, Opened):
            self._open()
        elif isinstance(item, Told):
            self._told(item.frame, item.cursor)
        elif isinstance(item, At):
            self._stands_at(item.cursor)
        elif isinstance(item, Control):
            self._send(item.reply)
            if item.is_close:
                self._transport.close()
        else:
            raise Broken(f"the {self.wire} was refused: {item}")

    def _open(self) -> None:
        _, position, reason = self._at
        live = self._live
        self.ledger = Ledger(live.world, self._user, control=self.wire != "plain", place=live.place, exact=False)
        self.ledger.attach(self._topics, position, reason, earliest=self._earliest)
        live.clients.append(self)
        self.opened = True
        self.stall(self.slow)  # it reads when it is told to

    def _told(self, frame: Frame, cursor: str | None) -> None:
        if "~" in (cursor or frame.get("cursor", "")):
            raise Broken(f"only what a poll is answered has a number, and not {frame}, {cursor}")
        kind = frame.get("hub")
        if kind is None:
            self._take_notification(frame, cursor or frame["cursor"])
            if cursor is not None:
                self.ledger.told(cursor)
            return
        if self.wire == "sse" and cursor is not None:
            raise Broken(f"a control frame has an id: {frame}, {cursor}")
        self.ledger.take(frame)
        if kind == "gap":
            self._live.happened[f"gap by {_transport(self.wire)}"] += 1
        if kind == "welcome":
            if self._head not in (None, self._at[0], frame["cursor"]):
                raise Broken(f"the stream began at {self._head}, and its welcome says {frame['cursor']}")
            self.chain.cursor = self.chain.cursor or frame["cursor"]
        elif kind == "ping":
            self.chain.at(frame["cursor"])
            self._send(action(self.wire == "msgpack", {"action": "pong"}))
        elif kind == "reply" and "cursor" in frame:
            self.chain.held = False
            self.chain.at(frame["cursor"])
        elif kind == "read" and not set(frame["ids"]) <= self._live.acked[self._user]:
            raise Broken(f"{frame}, and that is more than {self._user} acked")

    def _stands_at(self, cursor: str) -> None:
        self.chain.at(cursor)  # as an EventSource does
        if self._head is None:
            self._head = cursor
        else:
            self.ledger.told(cursor)

    async def _say(self, message: Frame) -> None:
        self._send(action(self.wire == "msgpack", message))

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self._at[2] and self.ledger._due and self.chain.cursor != self._at[0]:
            problem = f"the client went on from {self._at[0]} to {self.chain.cursor}, and was never told of the gap"
            self._live.broken.append(Broken(f"{problem}\nby {self.chain.wires}"))

    def _say_goodbye(self) -> None:
        if self.wire == "sse":
            super()._say_goodbye()
        else:
            self._transport.write(masked(CLOSE, struct.pack("!H", 1000)))


class PollLedger(Ledger):
    """The account of one poll: it is told of a gap as under hubd.v1, and has no welcome."""

    def attach(self, topics: Iterable[str], position: int | None, reason: str = "", **more: Any) -> None:
        super().attach(topics, position, reason, **more)
        self._welcome = None


class Poller(Line):
    """Polls, one after the other, on one TCP connection."""

    def __init__(self, live: MovingHub, *more: Any) -> None:
        super().__init__(live, *more)
        self.slow = False  # the hub never cuts it: between answers nothing is queued
        self._all_cursors: list[str] = []
        self._asked: Position = (None, None, "")
        live.clients.append(self)

    def _ask_first(self) -> None:
        self._ask(self._at)

    def _ask(self, at: Position) -> None:
        if self._transport.is_closing() or self._leaving:
            return
        live, (text, position, reason) = self._live, at
        self._asked = at
        self._earliest = live.world.latest
        if text is not None:
            self._all_cursors += self.ledger.cursors
            self.ledger = PollLedger(live.world, self._user, control=True, place=live.place, exact=False)
            self.ledger.attach(self._topics, position, reason)
            self.opened = True  # the answer may take its time
        query = self._query() | {"wait": live.random.choice(WAITS)} | ({} if text is None else {"cursor": text})
        self._transport.write(get_request(live.ports[False], query))

    @property
    def cursors(self) -> list[str]:
        return self._all_cursors + self.ledger.cursors

    def rest(self) -> None:
        """What it must have, it has: each answer is looked at by itself."""

    def _take(self, item: Answer) -> None:
        if item.status != 200 or item.body.keys() != {"cursor", "notifications", "gap"}:
            raise Broken(f"a poll was answered {item}")
        cursor, notifications, gap = item.body["cursor"], item.body["notifications"], item.body["gap"]
        if self._asked[0] is None:
            place = self._live.place(cursor)
            if notifications or gap or not self._earliest <= place <= self._live.world.latest:
                raise Broken(f"a poll without a cursor was answered {item.body}")
            self.chain.cursor = cursor
        else:
            if gap is not None:
                self._live.happened["gap by poll"] += 1
                self.ledger.take({"hub": "gap", **gap})
            for notification in notifications:
                self._take_notification(notification, cursor)
            if self.ledger._due:
                raise Broken(f"a poll was never told of the gap: {item.body}")
            self.ledger.told(cursor)
            self.chain.cursor = cursor
        self.opened = True
        next_one = (cursor, self._live.place(cursor), "")
        asyncio.get_running_loop().call_later(0.003 * self._live.random.randrange(2), self._ask, next_one)
