"""Somebody who calls the hub by HTTP over one connection, as long as that lasts: one call after the other."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.simulation import wire
from tests.simulation.network import End, Link, Network

TIMEOUT_S = 20.0
ADDRESS = ("127.0.0.1", 8080)


class _Call(NamedTuple):
    data: bytes
    answered: Callable[["wire.Answer | None", float], None]
    arrived: Callable[[], None] | None


class Caller(asyncio.Protocol):
    """Calls are answered by ``answered(answer, when the hub wrote it)``; None: nobody knows what became of it."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._loop = network.loop
        self._host = host
        self._waiting: deque[_Call] = deque()
        self._current: _Call | None = None
        self._link: Link | None = None
        self._end: End | None = None
        self._answers = wire.Answers()
        self._timer: asyncio.TimerHandle | None = None

    def call(
        self,
        method: str,
        target: str,
        bearer: str,
        body: Any,
        answered: Callable[["wire.Answer | None", float], None],
        arrived: Callable[[], None] | None = None,
    ) -> None:
        self._waiting.append(_Call(wire.request(method, target, bearer, body), answered, arrived))
        if self._current is None:
            self._next()

    @property
    def link(self) -> Link | None:
        """The connection, while there is one."""
        return self._link

    def _next(self) -> None:
        if not self._waiting or self._current is not None:
            return
        self._current = call = self._waiting.popleft()
        if self._end is None:
            self._answers = wire.Answers()
            self._link = self._network.connect(ADDRESS, self, self._host)
        if self._end is None:
            self._loop.call_soon(self._done, None, 0.0)
            return
        self._timer = self._loop.call_later(TIMEOUT_S, self._give_up)
        if call.arrived is None:
            self._end.write(call.data)
        else:
            self._end.write_and_then(call.data, call.arrived)

    def _give_up(self) -> None:
        if self._end is not None:
            self._end.abort()

    def _done(self, answer: "wire.Answer | None", at: float) -> None:
        call, self._current = self._current, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if call is not None:
            call.answered(answer, at)
        self._next()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self._end = transport

    def data_received(self, data: bytes) -> None:
        assert self._end is not None
        answer = self._answers.feed(data)
        if answer is not None:
            at = self._end.sent_at
            if answer.headers.get("connection") == "close":
                self._end.set_protocol(asyncio.Protocol())  # its end is no matter of the next one's
                self._end.close()
                self._end = self._link = None
            self._done(answer, at)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._end = self._link = None
        if self._current is not None:
            self._done(None, 0.0)
