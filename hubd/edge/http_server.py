"""aiohttp's HTTP server, with a reception that learns what becomes of each of its connections.

This leans on details of aiohttp 3.14 that no documentation promises, so all of it stands in this file, with a test that
fails when a release changes them.
"""

import asyncio
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo
from aiohttp.web_response import REASON_PHRASES

from hubd.core.errors import Problem
from hubd.edge.express import EXPRESS, Answer, Express
from hubd.edge.front import Front
from hubd.edge.heads import PATH
from hubd.edge.http import problem_response
from hubd.edge.reception import PRESSED_S, Reception
from hubd.edge.transports import untie

KEEPALIVE_S = 75.0
"""How long a connection may be silent between requests: longer than proxies in front, so that it is they who close."""
LINGER_S = 10.0
"""For how long a body that nobody wants is read over, so that its sender sees the answer."""
LINE_BYTES, FIELD_BYTES, FIELDS = 32768, 8190, 128
"""The longest request line (room for a hundred topics) and header line, and how many of these."""
HEAD_BYTES = 65536
"""How much of an unfinished head is kept."""


class _Handler(RequestHandler):
    """aiohttp's protocol of one HTTP connection, which tells the reception what becomes of it."""

    __slots__ = (
        "_answer_bytes",
        "_answered",
        "_detained",
        "_express",
        "_head_bytes",
        "_is_kept",
        "_payload",
        "_reception",
        "address",
        "is_ended",
    )

    def __init__(self, reception: Reception, manager: web.Server, express: Express | None, **options: Any) -> None:
        super().__init__(manager, **options)
        self.address = ""
        self._reception = reception
        self._express = express
        self._answer_bytes = self._answered = self._head_bytes = 0
        self.is_ended = self._is_kept = False
        self._detained: asyncio.Future[None] | None = None
        """What aiohttp's loop waits by for the next request, while one is being stored."""
        self._payload: StreamReader = EMPTY_PAYLOAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in, unless there is no room."""
        assert isinstance(transport, asyncio.Transport)
        if not self._reception.came(self, transport):
            self._manager = None  # nothing of aiohttp's has begun
            transport.abort()
            untie(transport)
            return
        # So that we are told whenever something waits to be read; and an answer is through before the next one.
        transport.set_write_buffer_limits(high=0)
        super().connection_made(transport)
        if transport.get_write_buffer_size():
            self._reception.not_taken(self, 0)

    def kept_alive(self) -> None:
        """It was given back after an answer: the next request may take its time."""
        self._reception.rests(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection ended; or it is taken over, by whom this is called too."""
        transport = self.transport
        self._reception.went(self)
        if self._detained is not None:
            self._waiter, self._detained = self._detained, None  # so that aiohttp's loop ends
        super().connection_lost(exc)
        self._payload = EMPTY_PAYLOAD  # which refers to us: what has come of a body goes with us at once
        untie(transport)

    def data_received(self, data: bytes) -> None:
        """Read on; and see whether these bytes were a head's, and whether it is whole now."""
        if self._head_bytes > HEAD_BYTES:
            return
        in_body = not self._payload.is_eof()
        count = self._request_count
        if self._express is None or self._detained is not None:
            super().data_received(data)  # behind one that is still stored it is queued
        elif self._is_answered_at_once(self._express, data):
            return
        if self._request_count != count:
            message, payload = self._messages[-1]
            if isinstance(message, _ErrInfo):
                message.exc.__traceback__ = None  # it would keep the parser, and that keeps us: a circle
            if isinstance(message, _ErrInfo) and not self._payload.is_eof():
                self._break_off()
                return
            self._payload = payload
            self._head_bytes = 0
            self._reception.request_came(self)
        if not self._payload.is_eof():
            if self.is_working():  # else it is only read over
                self._reception.body_grew(self, len(data))
        elif in_body:
            self._reception.body_came(self)
        elif self._request_count == count and data and not self._upgraded:
            self._head_bytes += len(data)
            self._reception.head_began(self)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(LineTooLong(b"", HEAD_BYTES))

    def _is_answered_at_once(self, express: Express, data: bytes) -> bool:
        """Read on; whether the bytes were one request that the express takes, which is answered then."""
        waiter, self._waiter = self._waiter, None  # aiohttp would wake it, and can't take that back
        super().data_received(data)
        self._waiter = waiter
        if waiter is None or waiter.done() or not self._messages:
            return False
        message, payload = self._messages[0]
        if (
            len(self._messages) > 1
            or isinstance(message, _ErrInfo)
            or not payload.is_eof()
            or message.should_close
            or message.upgrade  # aiohttp would hold back all that follows until it has answered this one itself
            or message.version != HttpVersion11
            or self._paused
            or not express.takes(message.method, message.path, message.headers)
        ):
            waiter.set_result(None)
            return False
        assert self._parser is not None and self._manager is not None
        self._messages.popleft()
        self._head_bytes = 0
        self._reception.request_came(self)
        self._parser.message_consumed()
        self._manager.requests_count += 1
        self._is_kept = True
        body = b"".join(payload._buffer)  # reading it would have the parser go on
        answer = express.answer(message.headers, body, self._send_stored)
        if answer is not None:
            self._send_at_once(answer)
            self._reception.rests(self)
        else:
            # aiohttp's loop is kept from whatever comes meanwhile, and a stop is told that a request is at work.
            self._detained, self._waiter = waiter, None
            self._request_in_progress = True
        return True

    def _send_stored(self, answer: Answer) -> None:
        """The answer to one that had to be stored; aiohttp goes on with what came behind it."""
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        waiter, self._detained = self._detained, None
        if waiter is None or self.transport is None:
            return  # whoever asked is gone
        self._waiter = None if waiter.done() else waiter
        self._send_at_once(answer)
        if self._close or self._force_close or (self.is_ended and not self._messages):
            self.force_close()
        elif self._messages:
            waiter.set_result(None)
        elif not self._head_bytes:
            self._reception.rests(self)

    def _send_at_once(self, answer: Answer) -> None:
        """What aiohttp does behind an answer, as far as it concerns one that it knows nothing of."""
        assert self.transport is not None
        self._answered += 1
        self._is_kept = True
        self._answer_bytes = len(answer.body)
        head = f"HTTP/1.1 {answer.status} {REASON_PHRASES[answer.status]}\r\n"
        for name, value in answer.headers.items():
            head += f"{name}: {value}\r\n"
        head += f"Vary: Origin\r\nServer: hubd\r\nContent-Length: {len(answer.body)}\r\n"
        self.transport.write(f"{head}Date: {rfc822_formatted_time()}\r\n\r\n".encode() + answer.body)

    def _process_keepalive(self) -> None:
        """It has rested for long enough; if something was answered at once meanwhile, it may for as long again."""
        if self._is_kept or self._detained is not None:
            self._is_kept = False
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)
        else:
            super()._process_keepalive()

    def _refuse(self, error: HttpProcessingError) -> None:
        """Answer as if the parser had found the error."""
        self._messages.append((_ErrInfo(error.code, error, error.message), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break_off(self) -> None:
        """What came is no continuation of the body: tell whoever reads it, instead of letting him wait for the rest."""
        self._messages.pop()
        if self._request_in_progress:
            self._payload.set_exception(RequestPayloadError())
        self._payload.feed_eof()
        self.close()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # aiohttp leaves it to close at once
        """The client has said its last word; what it has asked for until then is still answered."""
        self.is_ended = self.is_working() and self._payload.is_eof()
        return self.is_ended

    def is_working(self) -> bool:
        """Whether there are requests that came and aren't answered yet."""
        return self._request_count > self._answered or bool(self._messages)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; behind the last one the connection is at rest."""
        if isinstance(resp, web.HTTPExpectationFailed):  # aiohttp's own, which passes no middleware
            resp = problem_response(Problem("invalid_body", "of Expect only 100-continue is known"))
        self._answer_bytes = resp.content_length or 0
        if not self._reception.has_room_for(self._answer_bytes):
            resp = problem_response(Problem("unavailable", "too many answers are not taken yet", retry_after=PRESSED_S))
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._answered += 1
            if self.is_ended and not self.is_working():
                self.close()
            if self._payload.is_eof():
                self._payload = EMPTY_PAYLOAD
            if not self._messages and not self._head_bytes:
                self._reception.rests(self)

    def pause_writing(self) -> None:
        """The socket doesn't take all of it."""
        super().pause_writing()
        self._reception.not_taken(self, self._answer_bytes)

    def resume_writing(self) -> None:
        """All of it is out; it may have been written by whoever gave the connection back."""
        if self._paused:
            super().resume_writing()
        self._reception.taken(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what isn't HTTP without a word to the log: any scanner would fill it."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        why = "a line of the request's head is too long" if isinstance(exc, LineTooLong) else "this is no HTTP request"
        response = problem_response(Problem("invalid_body", why))
        response.force_close()
        return response


class _Server(web.Server):
    """Makes the protocols of connections; ``with_fronts``: those that come may open WebSockets."""

    def __init__(self, reception: Reception, plain: web.Server, *, with_fronts: bool, express: Express | None) -> None:
        super().__init__(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=plain.handler_cancellation,
            loop=plain._loop,
            **plain._kwargs,
        )
        self._reception = reception
        self._with_fronts = with_fronts
        self._express = express

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]
        return Front(self._reception, self.handler) if self._with_fronts else self.handler()

    def handler(self) -> RequestHandler:
        """aiohttp's protocol of one more connection."""
        return _Handler(self._reception, self, self._express, loop=self._loop, **self._kwargs)

    def pre_shutdown(self) -> None:
        """No more requests: neither where there were some, nor where none came yet."""
        super().pre_shutdown()
        if self._with_fronts:
            self._reception.close_silent()


class Runner(web.AppRunner):
    """Serves an application at a reception."""

    def __init__(self, reception: Reception, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            handler_cancellation=False,  # a publisher that hangs up can't stop half-way what he began
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
            max_headers=FIELDS,
            shutdown_timeout=shutdown_timeout,
        )
        self._reception = reception

    async def _make_server(self) -> web.Server:
        with_fronts = any(resource.canonical == PATH for resource in self.app.router.resources())
        express = self.app.get(EXPRESS)
        return _Server(self._reception, await super()._make_server(), with_fronts=with_fronts, express=express)
