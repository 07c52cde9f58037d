"""The lines to Apple: one for each app and environment, one source of tokens for each key. Imported at the start."""

import asyncio
import ssl
from typing import NamedTuple

from hubd.plugin import Outcome, PluginHub, PushResult
from hubd_apns.config import ApnsConfig, AppConfig
from hubd_apns.connection import ApnsRequest, ApnsResult, Lost, Unreachable
from hubd_apns.pool import HardenedPool
from hubd_apns.tokens import ProviderTokens

HOSTS = {"production": "api.push.apple.com", "sandbox": "api.sandbox.push.apple.com"}
CLOSE_S = 2.0


class _Place(NamedTuple):
    """All that makes one line another one."""

    environment: str
    host: str
    port: int
    ca_path: str
    key: tuple[str, str, bytes]
    topic: str
    label: str


class Line:
    """The connection to one environment, for one app."""

    def __init__(self, pool: HardenedPool, tokens: ProviderTokens) -> None:
        self.pool = pool
        self.tokens = tokens

    async def send(self, token: str, headers: dict[str, str], body: bytes) -> ApnsResult | PushResult:
        """One request: the answer, or what it means that there is none."""
        try:
            return await self.pool.send_notification(ApnsRequest(token, headers, body))
        except Unreachable as error:
            return PushResult(Outcome.LATER, f"unreachable: {error.word}", for_all=True)
        except Lost as error:
            return PushResult(Outcome.LATER, f"no answer: {error.word}")


class Lines:
    """All lines of a hub. They outlive a reload that doesn't change them, and sources of tokens outlive the lines."""

    def __init__(self, config: ApnsConfig, hub: PluginHub) -> None:
        self._hub = hub
        self._config = config
        self._lines: dict[_Place, Line] = {}
        self._tokens: dict[tuple[str, str, bytes], ProviderTokens] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = asyncio.Lock()
        self._connected_before = 0

    @property
    def pools(self) -> list[HardenedPool]:
        """Those that there are."""
        return [line.pool for line in self._lines.values()]

    @property
    def connected(self) -> int:
        """How many connections there have been."""
        return self._connected_before + sum(pool.connected for pool in self.pools)

    @property
    def open(self) -> int:
        """How many are open now."""
        return sum(pool.open for pool in self.pools)

    @property
    def signed(self) -> int:
        """How many provider tokens were made."""
        return sum(tokens.signed for tokens in self._tokens.values())

    async def of(self, app: AppConfig, environment: str) -> Line:
        """The line of an app; nothing is dialled before something is sent on it."""
        place = _place(app, environment)
        if (line := self._lines.get(place)) is not None:
            return line
        context = await self._context(place.ca_path)
        if (line := self._lines.get(place)) is None:
            line = self._lines[place] = self._made(app, place, context)
        return line

    def _made(self, app: AppConfig, place: _Place, context: ssl.SSLContext) -> Line:
        tokens = self._tokens.get(place.key)
        if tokens is None:
            tokens = self._tokens[place.key] = ProviderTokens(app.key, app.key_id, app.team_id, self._hub.clock)
        config = self._config
        pool = HardenedPool(
            place.host,
            place.port,
            tokens,
            context,
            timeout_s=config.timeout_s,
            connect_timeout_s=config.connect_timeout_s,
        )
        return Line(pool, tokens)

    async def _context(self, ca_path: str) -> ssl.SSLContext:
        async with self._lock:
            context = self._contexts.get(ca_path)
            if context is None:  # reads a file of some hundred certificates: not in the loop
                context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_path or None)
                context.set_alpn_protocols(["h2"])
                self._contexts[ca_path] = context
            return context

    def apply(self, config: ApnsConfig) -> None:
        """Close the lines that these options don't have; the others go on."""
        self._config = config
        self._contexts.clear()  # the file may have changed
        wanted = {_place(app, environment) for app in config.apps for environment in HOSTS}
        gone = [self._lines.pop(place) for place in list(self._lines) if place not in wanted]
        for line in self._lines.values():
            line.pool.timeout_s, line.pool.connect_timeout_s = config.timeout_s, config.connect_timeout_s
        self._connected_before += sum(line.pool.connected for line in gone)
        if gone:
            self._hub.start(_close([line.pool for line in gone], config.timeout_s), "closes connections")

    async def close(self) -> None:
        """Close all of them."""
        lines, self._lines = list(self._lines.values()), {}
        await _close([line.pool for line in lines], CLOSE_S)


async def _close(pools: list[HardenedPool], within_s: float) -> None:
    await asyncio.gather(*(pool.close_within(within_s) for pool in pools))


def _place(app: AppConfig, environment: str) -> _Place:
    key = (app.team_id, app.key_id, app.public_bytes)
    host = app.host or HOSTS[environment]
    return _Place(environment, host, app.port, app.ca_path, key, app.topic, app.label)
