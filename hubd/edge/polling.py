"""Long-poll: answered at once with what there is, or as soon as something comes, or when its time is over.

A poll that waits is a connection like any other, on a protocol as slim as the others'; after its answer the transport
goes back to aiohttp for the client's next request.
"""

import asyncio
import logging
import math
import re
from collections.abc import Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

import orjson
from aiohttp import web

from hubd.core.codec import Form
from hubd.core.connection import Connection
from hubd.core.cursor import read_cursor
from hubd.core.errors import EXPIRED, REVOKED, SHUTDOWN, Disconnect, FieldError, Problem, invalid
from hubd.core.identity import Identity
from hubd.edge.endpoint import Endpoint
from hubd.edge.handover import HttpServer, give_back, may_wait, server_of, take_over
from hubd.edge.http import PROBLEM_TYPE, problem_fields, problem_headers
from hubd.edge.sse import header_lines
from hubd.edge.transports import untie
from hubd.log_events import log_event

WAIT_S, LONGEST_S = 25.0, 60.0
MOST, MOST_BYTES = 1000, 1048576
"""How much one answer brings: so many notifications, and so many bytes unless a single one has more."""
TICK_S = 0.1
"""How exactly the end of the waiting is kept."""
SLICE = 32
"""How many are answered before the loop gets its turn."""
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
log = logging.getLogger("hubd.polling")
_CODE_OF = {SHUTDOWN: "unavailable", EXPIRED: "unauthorized", REVOKED: "unauthorized"}
"""What a poll is answered with that the hub ends; it was one too many, in all other cases."""
_NO_STORE = {"Cache-Control": "no-store"}

# Each in a line of its own, so that joined ones can be told apart: there is no line end within JSON.
FORM = Form("poll", "json", lambda data, cursor: data + b"\n")


class PollConnection(Connection, asyncio.Protocol):
    """A poll that waits for something to bring. Its answer is all that is ever written to it."""

    __slots__ = ("_behind", "_gap", "_got", "_headers", "_keep_alive", "_polls", "_server", "transport", "until")

    transport_name = "poll"
    answers_pings = False
    ping_s = math.inf

    def __init__(self, polls: "Polls", request: web.Request, address: str, identity: Identity) -> None:
        endpoint = polls.endpoint
        acks = request.query.get("acks") == "1"
        id, now = endpoint.hub.ids.connection(), endpoint.clock.monotonic()
        super().__init__(id, identity, FORM, control=False, acks=acks, now=now)
        self.address = address
        self.until = math.inf
        self._polls = polls
        self._server: HttpServer = server_of(request)
        self._keep_alive = request.keep_alive
        self._headers = header_lines(endpoint, request)
        self._gap: dict[str, Any] | None = None
        self._got: list[bytes] = []
        self._behind = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ours while it waits."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """The client's next request, already: it waits for the answer to this one."""
        self._behind += data
        self.transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self._polls.endpoint.hub.lost(self)
        self._polls.forget(self)
        self._polls.endpoint.closed(self)
        untie(self.transport)

    def put_gap(self, fields: dict[str, Any]) -> None:
        """Keep it for the answer: a connection without control frames hears of one gap, of all channels if need be."""
        self._gap = {"channel": fields["channel"], "reason": fields["reason"]}

    def write(self, data: bytes) -> None:
        """Something came: the answer goes out when all that comes with it is there too."""
        self._got.append(data)
        self._polls.answer_soon(self)

    def unsent(self) -> int:
        """Nothing is sent before the answer."""
        return 0

    def read(self) -> bytes | None:
        """The body of an answer with what the rings have for it; None when there is nothing, and it is live now."""
        attendance = self._polls.endpoint.hub.attendance
        frames = self.outbox
        while self.replays and len(frames) <= MOST and sum(map(len, frames)) <= MOST_BYTES:
            attendance.read_on(self)
        return self.body() if frames or self._gap else None

    def body(self) -> bytes:
        """The body of the answer: what has come, as much as an answer brings, and the cursor to go on from."""
        frames = b"".join([*self._got, *self.outbox]).split(b"\n")[:-1]
        some = _fitting(frames)
        is_all = len(some) == len(frames) and not self.replays
        hub = self._polls.endpoint.hub
        cursor = hub.attendance.cursor_of(self) if is_all or not some else _cursor_of(some[-1])
        position = read_cursor(cursor)
        if some and position is not None and (answer := hub.arrivals.handed(self, position.sequence)):
            cursor = str(position._replace(answer=answer))
        return poll_body(cursor, some, self._gap)

    def answer(self) -> None:
        """Answer, and give the transport back; it is off the registries from here on."""
        hub, body = self._polls.endpoint.hub, self.body()
        hub.lost(self, "answered")
        self._finish(200, "application/json", body, {}, keep_alive=self._keep_alive and not hub.stopping)

    def end(self, why: Disconnect, retry_after: float = 0.0) -> None:
        """The hub ends it: answered with what has come, or else with the problem that its next one would meet."""
        self._polls.forget(self)
        if self._got or self.outbox:
            self._finish(200, "application/json", self.body(), {}, keep_alive=False)
            return
        code = _CODE_OF.get(why, "rate_limited")
        again = None if code == "unauthorized" else retry_after
        problem = Problem(code, f"the hub ended this: {why.reason}", retry_after=again)
        body = orjson.dumps(problem_fields(problem))
        self._finish(problem.status, PROBLEM_TYPE, body, problem_headers(problem), keep_alive=False)

    def pause_writing(self) -> None:
        """The client doesn't take its answer."""
        self.paused = True

    def abort(self) -> None:
        """Drop the transport."""
        self._polls.forget(self)
        self.closing = True
        self.transport.abort()

    def _finish(self, status: int, kind: str, body: bytes, headers: dict[str, str], *, keep_alive: bool) -> None:
        endpoint = self._polls.endpoint
        self.closing = True
        if self.transport.is_closing():
            return
        self.transport.write(
            _head(status, kind, len(body), headers, keep_alive=keep_alive) + self._headers + b"\r\n" + body
        )
        if keep_alive:
            if self.transport.is_closing():
                return  # writing found out that the client is gone: `connection_lost` is on its way
            endpoint.closed(self)
            give_back(self.transport, self._server, self._behind, paused=self.paused)
        else:
            self.transport.close()
            endpoint.await_close(self)


class Polls:
    """Opens polls, and sees to it that those that wait are answered in time."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._ends: dict[int, dict[PollConnection, None]] = {}  # those that wait, by the tick in which their time ends
        self._due: dict[PollConnection, None] = {}  # those that are answered next, in their order
        self._ticking: asyncio.TimerHandle | None = None

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Handle a GET that is neither for a WebSocket nor for an event stream."""
        endpoint = self.endpoint
        wait = _wait_of(request)
        address = endpoint.proxies.address(request)
        identity = await endpoint.identify(request, address)
        cursor = request.query.get("cursor")
        if not cursor:
            endpoint.bind_ticket(request, identity)
            return _response(poll_body(endpoint.hub.attendance.cursor(), [], None))
        poll = PollConnection(self, request, address, identity)
        endpoint.attach(request, poll, cursor)
        try:
            body = poll.read()
            if body is None and wait and may_wait(request):
                return self._keep(request, poll, wait)
            body = poll.body() if body is None else body
            endpoint.hub.counts.written_bytes += len(body)  # it doesn't go through the pump
            return _response(body)
        finally:
            if poll.until == math.inf:
                endpoint.hub.lost(poll, "answered")

    def _keep(self, request: web.Request, poll: PollConnection, wait: float) -> web.StreamResponse:
        self.endpoint.addresses.add(poll.address)
        try:
            response = take_over(request, b"", poll)
        except BaseException:
            self.endpoint.closed(poll)
            raise
        poll.until = self.endpoint.clock.monotonic() + wait
        self._ends.setdefault(_tick_of(poll.until), {})[poll] = None
        self._tick_on()
        return response

    def answer_soon(self, poll: PollConnection) -> None:
        """Something has come for it, or its time is over; what comes in the same step goes with it."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._answer_due)
        self._due[poll] = None

    def _answer_due(self) -> None:
        """Answer some, and the rest in the loop's next turns: what aiohttp makes for each takes its time."""
        for poll in list(islice(self._due, SLICE)):
            self.forget(poll)
            if poll.closing:
                continue
            try:
                poll.answer()
            except Exception as error:  # one's alone: the others want theirs
                log_event(log, "write_failed", error, connection=poll.id)
                poll.abort()
        if self._due:
            asyncio.get_running_loop().call_soon(self._answer_due)

    def forget(self, poll: PollConnection) -> None:
        """It doesn't wait any more."""
        tick = _tick_of(poll.until)
        if (polls := self._ends.get(tick)) is not None and poll in polls:
            del polls[poll]
            if not polls:
                del self._ends[tick]
        self._due.pop(poll, None)

    def _tick_on(self) -> None:
        if self._ticking is None and self._ends:
            self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        now = _tick_of(self.endpoint.clock.monotonic())
        for tick in filter(now.__ge__, self._ends):
            for poll in self._ends[tick]:
                self.answer_soon(poll)
        self._tick_on()


def poll_body(cursor: str, notifications: Sequence[bytes], gap: dict[str, Any] | None) -> bytes:
    """The body of an answer; ``notifications`` are JSON already."""
    fields = (cursor.encode(), b",".join(notifications), orjson.dumps(gap))
    return b'{"cursor":"%b","notifications":[%b],"gap":%b}' % fields


def _fitting(frames: list[bytes]) -> list[bytes]:
    """So many of them, from the front, as go into one answer; one always does."""
    size = 0
    for count, frame in enumerate(frames[:MOST]):
        size += len(frame) + 1
        if count and size > MOST_BYTES:
            return frames[:count]
    return frames[:MOST]


def _cursor_of(frame: bytes) -> str:
    """The cursor of a notification: what stands at its very end (``codec.notification_json``)."""
    key = b'"cursor":"'
    return frame[frame.rindex(key) + len(key) : -len(b'"}')].decode()


def _wait_of(request: web.Request) -> float:
    text = request.query.get("wait")
    if text is None:
        return WAIT_S
    wait = float(text) if _SECONDS.fullmatch(text) else math.inf
    if wait > LONGEST_S:
        raise invalid([FieldError("wait", f"is a number of seconds from 0 to {LONGEST_S:g}")])
    return wait


def _tick_of(time: float) -> int:
    return -1 if time == math.inf else int(time / TICK_S)


def _response(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", headers=_NO_STORE)


def _head(status: int, kind: str, length: int, headers: dict[str, str], *, keep_alive: bool) -> bytes:
    lines = {
        "Content-Type": kind,
        "Content-Length": str(length),
        **_NO_STORE,
        **headers,
        "Connection": "keep-alive" if keep_alive else "close",
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{text}".encode()
