"""The plugin's client without the plugin, and aioapns as it is, each with a service to talk to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import uuid4

from aioapns import NotificationRequest, PushType
from hubd_apns.connection import ApnsRequest, ApnsResult
from hubd_apns.pool import HardenedPool
from hubd_apns.tokens import ProviderTokens

from hubd.plugin import SystemClock
from hubd.testing.apns_service import ApnsService
from tests.plugins.apns_world import TOKEN, WAIT_S, plain, token_of

NEVER_S = 0.5
"""How long plain aioapns is watched while it hangs."""


def request(token: str = TOKEN, size: int = 100) -> ApnsRequest:
    headers = {"apns-id": str(uuid4()), "apns-topic": "com.example.app", "apns-push-type": "alert"}
    body = b'{"aps":{"alert":"x"},"pad":"%s"}' % (b"x" * size)
    return ApnsRequest(token, headers, body)


def plain_request(token: str = TOKEN, size: int = 100) -> NotificationRequest:
    return NotificationRequest(token, {"aps": {"alert": "x"}, "pad": "x" * size}, push_type=PushType.ALERT)


class Ours(NamedTuple):
    service: ApnsService
    pool: HardenedPool
    tokens: ProviderTokens

    async def send(self, token: str = TOKEN, size: int = 100) -> ApnsResult:
        async with asyncio.timeout(WAIT_S):
            return await self.pool.send_notification(request(token, size))

    async def send_many(self, count: int, size: int = 100) -> list[Any]:
        sends = (self.send(token_of(number), size) for number in range(count))
        return await asyncio.gather(*sends, return_exceptions=True)

    @property
    def one(self) -> Any:
        return self.pool.connections[0]

    async def until(self, condition: Callable[[], Any]) -> None:
        await until(condition)

    def assert_nothing_is_open(self) -> None:
        for connection in self.pool.connections:
            assert connection.streams == {} and connection.conn.open_outbound_streams == 0
            assert (connection._taken, len(connection._waiting), connection._unsent) == (0, 0, {})


@asynccontextmanager
async def ours(timeout_s: float = WAIT_S, **options: Any) -> AsyncIterator[Ours]:
    async with ApnsService(**options) as service:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key: Any = load_pem_private_key(service.key_file.read_bytes(), None)
        tokens = ProviderTokens(key, service.key_id, service.team_id, SystemClock())
        context = service.authority.client_context()
        context.set_alpn_protocols(["h2"])
        pool = HardenedPool("127.0.0.1", service.port, tokens, context, timeout_s=timeout_s, connect_timeout_s=WAIT_S)
        yield Ours(service, pool, tokens)
        await pool.close_within(WAIT_S)
        assert pool.open == 0


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def hangs(sending: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(NEVER_S):
            await sending
    except TimeoutError:
        return True
    return False


@asynccontextmanager
async def as_it_is(**options: Any) -> AsyncIterator[tuple[ApnsService, Any]]:
    async with ApnsService(first_streams=1000, **options) as service:
        client = plain(service)
        yield service, client
        for connection in list(client.pool.connections):
            connection.transport.abort()
        await asyncio.sleep(0.05)
