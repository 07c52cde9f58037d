"""aiohttp's HTTP server, with a reception that learns what becomes of each of its connections.

This leans on details of aiohttp 3.14 that no documentation promises, so all of it stands in this file, with a test that
fails when a release changes them.
"""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from hubd.core.errors import Problem
from hubd.edge.http import problem_response
from hubd.edge.reception import PRESSED_S, Reception

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

    __slots__ = ("_answer_bytes", "_answered", "_head_bytes", "_payload", "_reception", "address", "is_ended")

    def __init__(self, reception: Reception, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.address = ""
        self._reception = reception
        self._answer_bytes = self._answered = self._head_bytes = 0
        self.is_ended = False
        self._payload: StreamReader = EMPTY_PAYLOAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in, unless there is no room."""
        assert isinstance(transport, asyncio.Transport)
        if not self._reception.came(self, transport):
            self._manager = None  # nothing of aiohttp's has begun
            transport.abort()
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
        self._reception.went(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; and see whether these bytes were a head's, and whether it is whole now."""
        if self._head_bytes > HEAD_BYTES:
            return
        in_body = not self._payload.is_eof()
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            message, payload = self._messages[-1]
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
    """Makes the handlers."""

    def __init__(self, reception: Reception, plain: web.Server) -> None:
        super().__init__(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=plain.handler_cancellation,
            loop=plain._loop,
            **plain._kwargs,
        )
        self._reception = reception

    def __call__(self) -> RequestHandler:
        return _Handler(self._reception, self, loop=self._loop, **self._kwargs)


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
        return _Server(self._reception, await super()._make_server())
