"""Where connections to APNs come from: the pool of aioapns, hardened. Imported when the hub starts, not before."""

import asyncio
import ssl
from contextlib import suppress

from aioapns.common import NotificationRequest
from aioapns.connection import APNsBaseClientProtocol, APNsKeyConnectionPool

from hubd_apns.connection import ApnsResult, HardenedConnection, Lost, Unreachable, Unsent
from hubd_apns.tokens import ProviderTokens

PAUSE_S = 1.0
"""How long nobody connects after it has failed."""
MOVES = 3
"""How many connections one request waits on at most, each of which goes away before its turn comes."""


class HardenedPool(APNsKeyConnectionPool):
    """The connection to one environment of APNs, made when it is needed and made anew when it goes."""

    def __init__(
        self,
        host: str,
        port: int,
        tokens: ProviderTokens,
        ssl_context: ssl.SSLContext,
        *,
        timeout_s: float,
        connect_timeout_s: float,
    ) -> None:
        super().__init__("", "", "", "", max_connections=1, max_connection_attempts=1, ssl_context=ssl_context)
        self.connections: list[HardenedConnection] = []  # type: ignore[assignment]  # of this kind alone
        self.host = host
        self.port = port
        self.tokens = tokens
        self.timeout_s = timeout_s
        self.connect_timeout_s = connect_timeout_s
        self.connected = 0
        """How many connections there have been."""
        self._living: dict[HardenedConnection, None] = {}
        self._failed_at = float("-inf")
        self._failure = ""

    @property
    def open(self) -> int:
        """How many connections are open, those that are going away included."""
        return len(self._living)

    async def send_notification(self, request: NotificationRequest) -> ApnsResult:
        """Send an `ApnsRequest`; `Lost` when there is no answer within the time that it has."""
        try:
            async with asyncio.timeout(self.timeout_s):
                for _ in range(MOVES):
                    connection = await self.acquire()
                    with suppress(Unsent):
                        return await connection.send_notification(request)
        except TimeoutError:
            raise Lost("timeout") from None
        raise Lost("goaway")

    async def acquire(self) -> HardenedConnection:
        """The connection. Of all who want one, one makes it; when it fails nobody tries again for a moment."""
        if self.connections:
            return self.connections[0]
        since = self.loop.time()
        async with self._lock:
            if self.connections:
                return self.connections[0]
            if self._failed_at >= since or self.loop.time() < self._failed_at + PAUSE_S:
                raise Unreachable(self._failure)
            try:
                connection = await self.create_connection()
            except (OSError, Unreachable) as error:
                self._failed_at, self._failure = self.loop.time(), _word_of(error)
                raise Unreachable(self._failure) from error
            self.connected += 1
            return connection

    async def create_connection(self) -> HardenedConnection:
        """Connect, and wait until the server has said what it takes."""
        connection = HardenedConnection(self.host, self.tokens, self.loop, self.discard_connection)
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                await self.loop.create_connection(lambda: connection, self.host, self.port, ssl=self.ssl_context)
                self._living[connection] = None
                connection.lost.add_done_callback(lambda lost: self._living.pop(connection, None))
                await connection.opened
        except BaseException:
            connection.break_off()
            raise
        self.connections.append(connection)
        return connection

    def discard_connection(self, connection: APNsBaseClientProtocol) -> None:
        """This one takes no more requests."""
        self.connections = [other for other in self.connections if other is not connection]

    async def close_within(self, seconds: float) -> None:
        """Close everything: what is under way has so long."""
        still_open = list(self._living)
        for connection in still_open:
            connection.close()
        if still_open:
            await asyncio.wait([connection.lost for connection in still_open], timeout=seconds)
        for connection in list(self._living):
            connection.break_off()


def _word_of(error: Exception) -> str:
    match error:
        case Lost():
            return error.word
        case TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "connection refused"
        case ssl.SSLError():
            return "tls"
        case _:
            return "unreachable"
