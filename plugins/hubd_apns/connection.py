"""A connection to APNs: that of aioapns, hardened by a subclass. It is imported when the hub starts, not before.

What aioapns 4.0 does under load, each with a test of its own: a stream that is reset, an error without a body and no
answer at all hang for ever; a cancelled request kills the connection when its answer comes late; a burst of requests
fails with FlowControlError and leaves its streams open; a lowered limit of streams isn't kept; each connection signs
a token of its own; a quiet connection ends after 10 s; ``Retry-After`` and what a GOAWAY says are dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from aioapns.common import NotificationRequest, NotificationResult, PushType
from aioapns.connection import APNsTLSClientProtocol
from aioapns.exceptions import ConnectionClosed
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import NoAvailableStreamIDError, ProtocolError
from hyperframe.frame import Frame, GoAwayFrame

from hubd_apns.tokens import ProviderTokens

IDLE_S = 1800.0
"""A connection on which nothing was sent for so long is closed."""
QUIET_S = 60.0
"""One from which nothing was heard for so long is probed as it is used again."""
PROBE_S = 5.0
"""How long it may take to show that it lives."""
ANSWER_BYTES = 8192
"""What is kept of an answer: Apple's have less than 200."""


class Lost(ConnectionClosed):
    """There is no answer: ``word`` says why, in one of a few words."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Unsent(Lost):
    """The connection went away before the request's turn came: another may have it."""


class Unreachable(Lost):
    """There is no connection to be had."""


class ApnsRequest(NotificationRequest):
    """One request: its headers that begin with ``apns-``, and its body as it is sent."""

    __slots__ = ("body", "headers")

    def __init__(self, device_token: str, headers: dict[str, str], body: bytes) -> None:
        super().__init__(device_token, {}, headers["apns-id"], push_type=PushType(headers["apns-push-type"]))
        self.headers = headers
        self.body = body


class ApnsResult(NotificationResult):
    """The answer as it came, and the provider token that was sent."""

    __slots__ = ("authorization", "body", "retry_after")

    def __init__(self, status: str, body: bytes, retry_after: str, authorization: str) -> None:
        super().__init__("", status)
        self.body = body
        self.retry_after = retry_after
        self.authorization = authorization


class _Http2(H2Connection):
    """HTTP/2 that reads on after a GOAWAY (RFC 9113, 6.8): h2 by itself takes what follows for an error."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data
        return [], [event]


class _Stream:
    """One request that is under way."""

    __slots__ = ("answer", "authorization", "content", "retry_after", "status", "unsent")

    def __init__(self, answer: "asyncio.Future[ApnsResult]", authorization: str, unsent: bytes) -> None:
        self.answer = answer
        self.authorization = authorization
        self.unsent = unsent
        self.status = self.retry_after = ""
        self.content = bytearray()


class HardenedConnection(APNsTLSClientProtocol):
    """One connection. Every request on it ends: with an answer, as `Lost`, or cancelled by who waits."""

    def __init__(
        self,
        host: str,
        tokens: ProviderTokens,
        loop: asyncio.AbstractEventLoop,
        on_retired: Callable[["HardenedConnection"], None],
    ) -> None:
        super().__init__("", loop)
        self.conn = _Http2()
        self.host = host
        self.tokens = tokens
        self._on_retired = on_retired
        self.streams: dict[int, _Stream] = {}
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self.goes_away = False
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._unsent: dict[int, _Stream] = {}
        self._heard_at = self._sent_at = self.loop.time()
        self._probe: asyncio.TimerHandle | None = None

    # Its life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is there; the server's settings are still to come."""
        tls = transport.get_extra_info("ssl_object")
        super().connection_made(transport)
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.break_off("no_http2")

    def refresh_inactivity_timer(self) -> None:
        """One timer that looks when something was sent last, instead of a new one for each packet."""
        self._sent_at = self.loop.time()
        if self.inactivity_timer is None:
            self.inactivity_timer = self.loop.call_later(IDLE_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        left = self._sent_at + IDLE_S - self.loop.time()
        if left <= 0 and not self.streams:
            self.close()
        else:
            self.inactivity_timer = self.loop.call_later(max(left, 1.0), self._close_if_idle)

    @property
    def is_busy(self) -> bool:
        """Whether another connection is to be taken: one that is full has a queue of its own."""
        return self.goes_away

    def close(self) -> None:
        """No more requests on this one; it ends when those under way have."""
        self._retire()
        if not self.streams and self.transport is not None and not self.transport.is_closing():
            with suppress(ProtocolError):
                self.conn.close_connection()
                self.transport.write(self.conn.data_to_send())
            self.transport.close()

    def _retire(self) -> None:
        """Leave the place to another connection; whoever waits here goes there."""
        if self.goes_away:
            return
        self.goes_away = True
        self._on_retired(self)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(Unsent("goaway"))

    def break_off(self, word: str = "lost") -> None:
        """End it now."""
        self._fail_all(word)
        if self.transport is not None:
            self.transport.abort()

    def _fail_all(self, word: str) -> None:
        self._retire()
        self._unsent.clear()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            if not stream.answer.done():
                stream.answer.set_exception(Lost(word))
        if not self.opened.done():
            self.opened.set_exception(Unreachable(word))
            self.opened.exception()  # it may be that nobody waits for it any more

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over; nobody is left waiting."""
        self._fail_all("lost")
        for timer in (self.inactivity_timer, self._probe):
            if timer is not None:
                timer.cancel()
        if not self.lost.done():
            self.lost.set_result(None)

    # Requests

    async def send_notification(self, request: NotificationRequest) -> ApnsResult:
        """Send an `ApnsRequest` as soon as the server takes it, and wait for the answer."""
        assert isinstance(request, ApnsRequest)
        await self._take_slot()
        try:
            number, stream = self._open(request)
        except BaseException:
            self._give_slot()
            raise
        try:
            return await stream.answer
        finally:
            if self.streams.pop(number, None) is not None:  # nobody waits for it any more
                self._reset(number)
                self.probe()
            self._give_slot()
            self._close_if_done()

    async def _take_slot(self) -> None:
        if self.goes_away:
            raise Unsent("goaway")
        if self._taken < self._most and not self._waiting:
            self._taken += 1
            return
        waiter: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.done() and waiter.exception() is None:
                self._give_slot()
            with suppress(ValueError):
                self._waiting.remove(waiter)
            raise

    def _give_slot(self) -> None:
        self._taken -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._taken < self._most:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._taken += 1
                waiter.set_result(None)

    @property
    def _most(self) -> int:
        return self.conn.remote_settings.max_concurrent_streams

    def _open(self, request: ApnsRequest) -> tuple[int, _Stream]:
        if self.goes_away:
            raise Unsent("goaway")
        try:
            number = self.conn.get_next_available_stream_id()
        except NoAvailableStreamIDError:
            self.close()
            raise Unsent("goaway") from None
        if self.loop.time() - self._heard_at > QUIET_S:
            self.probe()
        authorization = self.tokens.get_header()
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", self.host),
            (":path", f"/3/device/{request.device_token}"),
            ("authorization", authorization),
            *request.headers.items(),
        ]
        stream = _Stream(self.loop.create_future(), authorization, request.body)
        try:
            self.conn.send_headers(number, headers)
            self.streams[number] = self._unsent[number] = stream
            self._send_bodies()
        except ProtocolError:
            self.break_off("protocol")
            raise Lost("protocol") from None
        self.flush()
        return number, stream

    def _send_bodies(self) -> None:
        """Send of each body what the server has room for; what is left follows when it says so."""
        for number, stream in list(self._unsent.items()):
            if self.conn.outbound_flow_control_window <= 0:
                break
            room = min(self.conn.local_flow_control_window(number), self.conn.max_outbound_frame_size)
            if room <= 0:
                continue
            piece, stream.unsent = stream.unsent[:room], stream.unsent[room:]
            self.conn.send_data(number, piece, end_stream=not stream.unsent)
            if not stream.unsent:
                del self._unsent[number]

    def _reset(self, number: int) -> None:
        self._unsent.pop(number, None)
        if self.transport is None or self.transport.is_closing():
            return
        with suppress(ProtocolError):
            self.conn.reset_stream(number, ErrorCodes.CANCEL)
            self.flush()

    def probe(self) -> None:
        """See whether anybody is there: a connection that says nothing within `PROBE_S` is broken off."""
        if self._probe is None and not self.goes_away and self.transport is not None:
            self.conn.ping(b"hubdping")
            self.flush()
            self._probe = self.loop.call_later(PROBE_S, self._end_if_dead, self.loop.time())

    def _end_if_dead(self, since: float) -> None:
        self._probe = None
        if self._heard_at < since:
            self.break_off("dead")

    # What comes back

    def data_received(self, data: bytes) -> None:
        """Frames from the server."""
        try:
            events = self.conn.receive_data(data)
            if events:  # h2 waits for the rest of whatever looks like the head of a frame: that is no sign of life
                self._heard_at = self.loop.time()
            for event in events:
                self._handle(event)
            self._send_bodies()
        except ProtocolError:
            self.flush()
            self.break_off("protocol")
            return
        if self.transport is not None and (frames := self.conn.data_to_send()):
            self.transport.write(frames)
        self._close_if_done()

    def _handle(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                self._begin(event)
            case DataReceived(stream_id=number):
                self.conn.acknowledge_received_data(event.flow_controlled_length, number)
                stream = self.streams.get(number)
                if stream is not None and len(stream.content) < ANSWER_BYTES:
                    stream.content += event.data
            case StreamEnded(stream_id=number):
                self._answered(number)
            case StreamReset(stream_id=number):
                stream = self._forget(number)
                if stream is not None and not stream.answer.done():
                    stream.answer.set_exception(Lost("reset"))
            case RemoteSettingsChanged():
                if not self.opened.done():
                    self.opened.set_result(None)
                self._let_in()
            case ConnectionTerminated():
                self._go_away(event.last_stream_id or 0)

    def _begin(self, event: ResponseReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        headers = dict(event.headers)
        stream.status = headers.get(b":status", b"").decode("ascii", "replace")
        stream.retry_after = headers.get(b"retry-after", b"").decode("ascii", "replace")

    def _forget(self, number: int) -> _Stream | None:
        self._unsent.pop(number, None)
        return self.streams.pop(number, None)

    def _answered(self, number: int) -> None:
        is_whole = number not in self._unsent
        stream = self._forget(number)
        if stream is None:
            return
        if not is_whole:  # it didn't wait for the rest
            self._reset(number)
        if not stream.answer.done():
            answer = ApnsResult(stream.status, bytes(stream.content), stream.retry_after, stream.authorization)
            stream.answer.set_result(answer)

    def _go_away(self, last: int) -> None:
        """The server takes nothing more; what it hasn't looked at is lost, the rest is still answered."""
        self._retire()
        for number in [number for number in self.streams if number > last]:
            stream = self._forget(number)
            if stream is not None and not stream.answer.done():
                stream.answer.set_exception(Lost("goaway"))

    def _close_if_done(self) -> None:
        if self.goes_away and not self.streams:
            self.close()
