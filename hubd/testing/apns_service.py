"""A stand-in for Apple's push service, on loopback: TLS, HTTP/2, provider tokens; it refuses what APNs would refuse.

``async with ApnsService(clock=clock) as service:`` and then ``hub_for(Apns, {"apps": [service.app()]}, clock=clock)``,
for a provider token has a date in it. What it took is in ``service.pushes``; ``service.script`` makes it answer
whatever a test wants.
"""

import asyncio
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from hyperframe.frame import GoAwayFrame

from hubd.clock import Clock, SystemClock
from hubd.testing.apns_checks import (
    STATUS_OF,
    ProviderTokens,
    Request,
    payload_of,
    wrong_device,
    wrong_request,
)
from hubd.testing.authority import Authority, private_pem

KEPT = 100_000
"""So many pushes are remembered."""
BODY_BYTES = 64 * 1024
LINGER_S = 5.0
"""How long a connection that goes away waits for what is still to be answered."""


class Answer(NamedTuple):
    """What to answer: a reason with its status, or a status (200: the push is taken).

    ``body``: instead of the JSON that Apple sends; ``b""`` for none at all.
    """

    reason: str = ""
    status: int = 0
    timestamp_ms: int | None = None
    retry_after: str = ""
    delay_s: float = 0.0
    body: bytes | None = None

    @property
    def code(self) -> int:
        """The status."""
        return self.status or STATUS_OF.get(self.reason, 200)


class Mishap(Enum):
    """What can happen to a request instead of an answer."""

    SILENCE = "silence"
    """There is none, ever."""
    RESET = "reset"
    """The stream ends with INTERNAL_ERROR."""
    REFUSED = "refused"
    """The stream ends with REFUSED_STREAM: nothing was done."""
    GOAWAY = "goaway"
    """The connection goes away without this request and those after it; the ones before are still answered."""
    HANG_UP = "hang_up"
    """The connection breaks off."""


class ApnsPush(NamedTuple):
    """One push, as it came."""

    token: str
    topic: str
    id: str
    """``apns-id``: the same each time that the push is tried again."""
    priority: int
    push_type: str
    expiration: int | None
    """Unix seconds; 0: now or never."""
    collapse_id: str
    payload: Mapping[str, Any]
    at: float
    """By the service's clock."""


Script = Callable[[ApnsPush], Answer | Mishap | None]


class ApnsService:
    """APNs on 127.0.0.1 with its own authority, key, team and tokens' rules.

    ``environment_of`` says where a token is good (others are good here), ``unregistered`` since when (Unix seconds) a
    token isn't any more, ``topic_of`` which app it belongs to. A connection may have ``first_streams`` requests under
    way before a provider token was seen, ``max_streams`` afterwards; ``window`` is how many bytes of a request it
    takes before it asks for more.
    """

    def __init__(
        self,
        *,
        environment: str = "production",
        topics: Sequence[str] = ("com.example.app",),
        clock: Clock | None = None,
        max_streams: int = 1000,
        first_streams: int = 1,
        window: int = 65_535,
        port: int = 0,
    ) -> None:
        self.environment = environment
        self.topics = tuple(topics)
        self.clock: Clock = clock or SystemClock()
        self.max_streams, self.first_streams, self.window, self.port = max_streams, first_streams, window, port
        self.key_id, self.team_id = "KEY1234567", "TEAM123456"
        self.pushes: deque[ApnsPush] = deque(maxlen=KEPT)
        self.refused: deque[tuple[ApnsPush, str]] = deque(maxlen=KEPT)
        """What wasn't taken, and the reason; what never got an answer isn't among it."""
        self.script: Script = lambda push: None
        self.environment_of: dict[str, str] = {}
        self.topic_of: dict[str, str] = {}
        self.unregistered: dict[str, float] = {}
        self.connections: dict[_ApnsConnection, None] = {}
        self.connected = 0
        """How many connections there have been."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_key = self._key.public_key()
        self.provider_tokens = ProviderTokens(self)

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="hubd-apns-")
        folder = Path(self._folder.name)
        self.authority = Authority(folder)
        self.ca_file = self.authority.ca_file
        self.key_file = folder / f"AuthKey_{self.key_id}.p8"
        self.key_file.touch(mode=0o600)
        self.key_file.write_bytes(private_pem(self._key))
        self._tls = self.authority.server_context("h2")
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._folder.cleanup()

    async def start(self) -> None:
        """Listen, again on the same port after a ``stop``."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _ApnsConnection(self), "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Break off all connections, and listen no more."""
        self._server.close()
        for connection in list(self.connections):
            connection.hang_up()
        async with asyncio.timeout(20):
            await self._server.wait_closed()

    def app(self, **more: Any) -> dict[str, Any]:
        """One entry of ``[[plugins.apns.apps]]`` that leads here."""
        return {
            "team_id": self.team_id,
            "key_id": self.key_id,
            "key_file": str(self.key_file),
            "topic": self.topics[0],
            "environment": self.environment,
            "host": "127.0.0.1",
            "port": self.port,
            "ca_file": str(self.ca_file),
            **more,
        }

    @property
    def open_streams(self) -> int:
        """Requests that are under way now."""
        return sum(connection.http.open_inbound_streams for connection in self.connections)

    def goaway(self) -> None:
        """All connections go away; what came so far is still answered."""
        for connection in list(self.connections):
            connection.go_away(connection.http.highest_inbound_stream_id)

    def answer(self, request: Request) -> Answer | Mishap:
        """What becomes of a request."""
        push = self._push(request)
        answer = self.script(push) or Answer(self._reason(request, push))
        if isinstance(answer, Answer):
            if answer.code == 200:
                self.pushes.append(push)
            else:
                self.refused.append((push, answer.reason))
            if answer.reason == "Unregistered" and answer.timestamp_ms is None:
                since = self.unregistered.get(push.token, self.clock.now())
                answer = answer._replace(timestamp_ms=int(since * 1000))
        return answer

    def _reason(self, request: Request, push: ApnsPush) -> str:
        if reason := self.provider_tokens.wrong(request.header("authorization")):
            return reason
        if reason := wrong_request(request, self.topics):
            return reason
        if wrong_device(push.token) or self.environment_of.get(push.token, self.environment) != self.environment:
            return "BadDeviceToken"
        if self.topic_of.get(push.token, push.topic) != push.topic:
            return "DeviceTokenNotForTopic"
        return "Unregistered" if push.token in self.unregistered else ""

    def _push(self, request: Request) -> ApnsPush:
        expiration = request.header("apns-expiration") or ""
        priority = request.header("apns-priority") or ""
        return ApnsPush(
            token=request.token,
            topic=request.header("apns-topic") or "",
            id=request.header("apns-id") or "",
            priority=int(priority) if priority.isdecimal() else 10,
            push_type=request.header("apns-push-type") or "alert",
            expiration=int(expiration) if expiration.isdecimal() else None,
            collapse_id=request.header("apns-collapse-id") or "",
            payload=payload_of(request.body),
            at=self.clock.now(),
        )


class _ApnsConnection(asyncio.Protocol):
    """One connection of a provider."""

    def __init__(self, service: ApnsService) -> None:
        self._service = service
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_inbound_headers=False)
        )
        codes = h2.settings.SettingCodes
        self.http.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: service.first_streams,
                codes.INITIAL_WINDOW_SIZE: service.window,
                codes.MAX_HEADER_LIST_SIZE: 8000,
            },
        )
        self._headers: dict[int, Sequence[tuple[str, str]]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._waiting: dict[int, asyncio.TimerHandle] = {}
        self._last: int | None = None
        self._opened_up = service.first_streams >= service.max_streams
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._service.connections[self] = None
        self._service.connected += 1
        self.http.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.connections.pop(self, None)
        for timer in self._waiting.values():
            timer.cancel()
        self._transport = None

    def hang_up(self) -> None:
        """Break off."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self.http.data_to_send())

    def data_received(self, data: bytes) -> None:
        try:
            for event in self.http.receive_data(data):
                self._handle(event)
        except h2.exceptions.ProtocolError:
            self._flush()
            self.hang_up()
            return
        self._flush()
        self._close_if_done()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=stream, headers=headers):
                assert stream is not None and headers is not None
                self._headers[stream] = [(str(name), str(value)) for name, value in headers]
                self._bodies[stream] = bytearray()
            case h2.events.DataReceived(stream_id=stream, data=data, flow_controlled_length=length):
                assert stream is not None and data is not None and length is not None
                if len(self._bodies.get(stream, b"")) <= BODY_BYTES:
                    self._bodies.setdefault(stream, bytearray()).extend(data)
                self.http.acknowledge_received_data(length, stream)
            case h2.events.StreamEnded(stream_id=stream):
                assert stream is not None
                self._answer(stream)
            case h2.events.StreamReset(stream_id=stream):
                assert stream is not None
                self._forget(stream)

    def _forget(self, stream: int) -> None:
        self._headers.pop(stream, None)
        self._bodies.pop(stream, None)
        if (timer := self._waiting.pop(stream, None)) is not None:
            timer.cancel()

    def _answer(self, stream: int) -> None:
        request = Request(self._headers.pop(stream), bytes(self._bodies.pop(stream)))
        if self._last is not None and stream > self._last:
            return  # after a GOAWAY, nobody looks at it
        answer = self._service.answer(request)
        if not self._opened_up and self._service.provider_tokens.taken:
            self._opened_up = True
            self.http.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self._service.max_streams})
        match answer:
            case Mishap.SILENCE:
                pass
            case Mishap.RESET:
                self.http.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            case Mishap.REFUSED:
                self.http.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            case Mishap.GOAWAY:
                self.go_away(stream - 2)
            case Mishap.HANG_UP:
                self.hang_up()
            case Answer(delay_s=delay_s) if delay_s > 0:
                loop = asyncio.get_running_loop()
                self._waiting[stream] = loop.call_later(delay_s, self._answer_late, stream, request, answer)
            case Answer():
                self._say(stream, request, answer)

    def _answer_late(self, stream: int, request: Request, answer: Answer) -> None:
        self._waiting.pop(stream, None)
        self._say(stream, request, answer)
        self._flush()
        self._close_if_done()

    def _say(self, stream: int, request: Request, answer: Answer) -> None:
        fields: dict[str, Any] = {"reason": answer.reason}
        if answer.timestamp_ms is not None:
            fields["timestamp"] = answer.timestamp_ms
        body = b"" if answer.code == 200 else orjson.dumps(fields)
        body = body if answer.body is None else answer.body
        headers = [(":status", str(answer.code)), ("apns-id", request.header("apns-id") or "")]
        if answer.retry_after:
            headers.append(("retry-after", answer.retry_after))
        try:
            self.http.send_headers(stream, headers, end_stream=not body)
            if body:
                self.http.send_data(stream, body, end_stream=True)
        except h2.exceptions.ProtocolError:
            pass  # the other side has ended this stream meanwhile

    def go_away(self, last: int) -> None:
        """Say that nothing after stream ``last`` is taken; then end when the rest is answered."""
        if self._last is not None or self._transport is None:
            return
        self._last = max(0, last)
        self._flush()
        # Written by hand: h2 would answer nothing any more, and a server that goes away answers what it took.
        frame = GoAwayFrame(0, last_stream_id=self._last, error_code=0, additional_data=b'{"reason":"Shutdown"}')
        self._transport.write(frame.serialize())
        asyncio.get_running_loop().call_later(LINGER_S, self.hang_up)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._last is not None and not self._waiting and self._transport is not None:
            self._transport.close()
