"""The access token: fetched in a thread, ahead of its end, and once for all who wait for it."""

import asyncio
from datetime import UTC
from typing import Any, Protocol

from hubd.plugin import PluginHub, SystemClock

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
AHEAD_S = 300.0
"""So long before its end a token is replaced."""
TIMEOUT_S = 20.0
"""How long fetching one may take."""
CALL_S = 5.0
"""How long one call of the token endpoint waits for its answer; google-auth makes three at most."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Between attempts that failed."""
ANEW_S = 10.0
"""A token that isn't taken is replaced at once, but if that is so young, then not before this."""


class NoToken(Exception):
    """There is none; ``reason`` is one of few fixed words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Tokens(Protocol):
    """Google's credential of an account, as far as it is needed; called in a thread."""

    def fetch(self) -> tuple[str, float]:
        """A new token, and for how many seconds it is good; ``NoToken``."""
        ...


class GoogleTokens:
    """By firebase-admin's credential. What comes from its libraries quotes answers, so only its kind is told on."""

    def __init__(self, credential: Any) -> None:
        from google.auth.transport.requests import Request
        from requests import Session

        self.google: Any = credential
        self._session = Session()
        self._session.trust_env = False  # no proxies and no passwords of the environment
        self._session.max_redirects = 0
        self._request = Request(self._session)

    def fetch(self) -> tuple[str, float]:
        """A new token by RFC 7523; it stays in the credential, too, where the SDK finds it."""
        from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError

        def request(*args: Any, **options: Any) -> Any:
            return self._request(*args, **{**options, "timeout": CALL_S})

        try:
            self.google.refresh(request)
        except TransportError:
            raise NoToken("token endpoint unreachable") from None
        except RefreshError as error:
            raise NoToken("token endpoint failed" if error.retryable else "account refused") from None
        except (GoogleAuthError, ValueError, TypeError):
            raise NoToken("token endpoint unreadable") from None
        ends_at = self.google.expiry.replace(tzinfo=UTC).timestamp()
        # By the clock by which google-auth has reckoned when it ends.
        return str(self.google.token), ends_at - SystemClock().now()


class Credential:
    """The token that is good now. ``get`` waits for one, and whoever waits meanwhile waits for the same."""

    def __init__(self, tokens: Tokens, hub: PluginHub) -> None:
        self._tokens = tokens
        self._hub = hub
        self._token = ""
        self._ends_at = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._thread: asyncio.Future[tuple[str, float]] | None = None
        self._failed = NoToken("no access token")
        self._pause_s = 0.0
        self._not_before = 0.0
        self._is_told = False
        self.fetched = 0
        """How many tokens were got so far."""

    async def get(self) -> str:
        """A token that is good for a while; ``NoToken`` when there is none."""
        now = self._hub.clock.monotonic()
        if now < self._ends_at - AHEAD_S:
            return self._token
        if now >= self._not_before and (self._fetching is None or self._fetching.done()):
            self._fetching = self._hub.start(self._fetch(), "fetches an access token")
        if now < self._ends_at:
            return self._token  # good for a few minutes more: nobody need wait
        if self._fetching is not None and not self._fetching.done():
            await asyncio.shield(self._fetching)
        if self._hub.clock.monotonic() < self._ends_at:
            return self._token
        raise NoToken(self._failed.reason)

    def refuse(self, token: str) -> None:
        """The service doesn't take this one any more, so the next ``get`` fetches another."""
        if token == self._token:
            self._ends_at = 0.0
            self._failed = NoToken("access token refused")

    async def _fetch(self) -> None:
        monotonic = self._hub.clock.monotonic
        try:
            token, good_for_s = await self._from_thread()
        except NoToken as error:
            self._failed = error
            self._pause_s = min(max(FIRST_PAUSE_S, self._pause_s * 2), LONGEST_PAUSE_S)
            self._not_before = monotonic() + self._pause_s
            if not self._is_told:
                self._is_told = True
                self._hub.log.error("there is no access token for FCM", why=error.reason)
            return
        self._token, self._ends_at = token, monotonic() + good_for_s
        self._pause_s, self._not_before = 0.0, monotonic() + ANEW_S
        self.fetched += 1
        if self._is_told:
            self._is_told = False
            self._hub.log.info("there is an access token for FCM again")

    async def _from_thread(self) -> tuple[str, float]:
        if self._thread is not None and not self._thread.done():
            raise NoToken("token endpoint timeout")  # the one before still waits: threads aren't to pile up
        self._thread = asyncio.get_running_loop().run_in_executor(None, self._tokens.fetch)
        self._thread.add_done_callback(_look_at)
        done, _ = await asyncio.wait({self._thread}, timeout=TIMEOUT_S)
        if not done:
            raise NoToken("token endpoint timeout")
        return self._thread.result()


def _look_at(thread: "asyncio.Future[tuple[str, float]]") -> None:
    """Nobody may wait any more for a thread that failed late."""
    if not thread.cancelled():
        thread.exception()
