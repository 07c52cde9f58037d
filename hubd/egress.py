"""Calls to addresses that come from a config or a stranger: bounded, and never to the network behind the hub.

What may be called is said in `hubd.egress_guard`. The text of an address is judged before each call, and what its
name leads to when it is dialled: each socket is made only for an address that was looked at, so a resolver that
changes its answer gains nothing. Redirects are not followed, cookies not kept, proxies of the environment not used.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from hubd.egress_guard import AllowedHosts, EgressRefused, check_url, is_public, judged, may_dial

__all__ = ["Answer", "Egress", "EgressFailed", "EgressRefused", "check_url", "is_public"]

CONNECTIONS = 64
PER_HOST = 16
UNDER_WAY = 1000
"""How many calls may be under way or wait for a connection; more fail at once as "busy"."""
BODY_BYTES = 1024 * 1024
"""The longest body that is sent."""
CONNECT_S = 5.0
LOOKUP_S = 5.0
LOOKUP_THREADS = 4
ADDRESSES = 8
"""How many of a name's addresses are tried: whoever owns a name must not make one call into many."""
KEPT_S = 15.0

METHODS = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})
OWN_HEADERS = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that belong to the connection and the framing: nobody sets them for a call."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class EgressFailed(Exception):
    """The call failed on its way. ``reason`` is all that the message has, and one of few fixed words:

    timeout, connection refused, reset, unreachable, tls, name not found, bad answer, answer too large; busy when too
    many calls are under way, closed after the end.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side answered: whatever the status is, a redirect too. The body is as it came, not unpacked."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Found by name in any spelling of case."""
    body: bytes = field(repr=False)


class Egress:
    """A guarded HTTP client: at most ``connections`` at a time, ``per_host`` of them to one host and port.

    ``allow_hosts`` are names, addresses and networks that the operator allows beyond the public internet. ``tls``
    replaces the system's trusted authorities, ``resolver`` its way to look up names.
    """

    def __init__(
        self,
        allow_hosts: Iterable[str] = (),
        *,
        connections: int = CONNECTIONS,
        per_host: int = PER_HOST,
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allowed = AllowedHosts.of(allow_hosts)
        self._limits: dict[str, Any] = {"limit": connections, "limit_per_host": per_host}
        self._tls = tls
        self._lookup = resolver or _Lookup()
        # Two pools, so that a connection to a listed name, which may lead anywhere, never serves another host.
        self._guarded: aiohttp.ClientSession | None = None
        self._open: aiohttp.ClientSession | None = None
        self._under_way = 0
        self._closed = False

    async def send(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
        timeout_s: float,
        answer_bytes: int,
    ) -> Answer:
        """Call and return the answer; `EgressRefused` before anything is dialled that must not be, or `EgressFailed`.

        ``timeout_s`` is for everything: waiting for a free connection, looking up, connecting, sending, reading. An
        answer longer than ``answer_bytes`` is a failure, unless that is 0: then only status and headers are wanted.
        """
        target, listed = judged(str(url), self._allowed)
        _check_request(method, headers, body)
        session = self._free_session(listed)
        self._under_way += 1
        try:
            async with asyncio.timeout(timeout_s):
                return await _exchange(session, method, target, headers, body, answer_bytes)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = EgressFailed("closed") if self._closed else _failure(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            failure = EgressFailed("closed")  # who waits for a connection when the pool is closed is woken like this
        finally:
            self._under_way -= 1
        # Raised here and not in the handlers: the fault behind it would hang on, and its message quotes addresses.
        raise failure

    async def close(self) -> None:
        """Close all connections; calls that are under way fail, and so do later ones."""
        self._closed = True
        for session in (self._guarded, self._open):
            if session is not None:
                await session.close()
        await self._lookup.close()

    def _free_session(self, listed: bool) -> aiohttp.ClientSession:
        if self._closed:
            raise EgressFailed("closed")
        if self._under_way >= UNDER_WAY:
            raise EgressFailed("busy")
        return self._open_session() if listed else self._guarded_session()

    def _guarded_session(self) -> aiohttp.ClientSession:
        if self._guarded is None:
            resolver = _Judging(self._lookup, self._allowed)
            self._guarded = self._session(resolver=resolver, socket_factory=self._judged_socket)
        return self._guarded

    def _open_session(self) -> aiohttp.ClientSession:
        if self._open is None:
            self._open = self._session(resolver=_Judging(self._lookup, None))
        return self._open

    def _session(self, **options: Any) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._tls or True, keepalive_timeout=KEPT_S, **self._limits, **options)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": "hubd", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        )

    def _judged_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for what is about to be dialled. This has the last word, however the address came about."""
        family, kind, protocol, _, where = info
        if not may_dial(where[0], self._allowed):
            raise _AddressRefused
        return socket.socket(family, kind, protocol)


class _AddressRefused(OSError):
    """An address must not be dialled. An OSError, so that the way through the client is that of any failed dial."""


class _Judging(AbstractResolver):
    """Of a name's addresses the first few that may be dialled; of a listed name's (``allowed`` is None) all count."""

    def __init__(self, lookup: AbstractResolver, allowed: AllowedHosts | None) -> None:
        self._lookup = lookup
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._lookup.resolve(host, port, family)
        allowed = self._allowed
        good = [one for one in found if allowed is None or may_dial(one["host"], allowed)]
        if found and not good:
            raise _AddressRefused
        if not good:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return good[:ADDRESSES]

    async def close(self) -> None:
        """Nothing of its own to close."""


class _Lookup(AbstractResolver):
    """The system's resolver in threads of its own: strangers' slow names must not occupy those that the hub needs."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, "hubd-egress-lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        # With a limit here too: aiohttp lets a lookup go on when the call that needed it has given up.
        async with asyncio.timeout(LOOKUP_S):
            found = await asyncio.get_running_loop().run_in_executor(
                self._threads,
                # As bytes, which are looked up as they stand.
                lambda: socket.getaddrinfo(
                    host.encode("ascii"), port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                ),
            )
        return [
            ResolveResult(hostname=host, host=str(where[0]), port=port, family=kind, proto=protocol, flags=0)
            for kind, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _exchange(
    session: aiohttp.ClientSession, method: str, url: URL, headers: Mapping[str, str], body: bytes, answer_bytes: int
) -> Answer:
    # However this is left: a connection on which something is still to be read or sent is closed, not kept.
    async with session.request(
        method, url, headers=headers, data=body or None, allow_redirects=False, max_redirects=0
    ) as response:
        if response.status < 200:
            raise EgressFailed("bad answer")  # a switch of protocols that nobody asked for
        read = bytearray()
        if answer_bytes > 0:
            async for chunk in response.content.iter_any():
                read += chunk
                if len(read) > answer_bytes:
                    raise EgressFailed("answer too large")
        return Answer(response.status, response.headers, bytes(read))


def _check_request(method: str, headers: Mapping[str, str], body: bytes) -> None:
    """What is said of the call is the caller's own, or came from a config: wrong is refused, never mended."""
    if method not in METHODS:
        raise EgressRefused(f"the method must be one of {', '.join(sorted(METHODS))}")
    if len(body) > BODY_BYTES:
        raise EgressRefused(f"the body is longer than {BODY_BYTES} bytes")
    for name, value in headers.items():
        if _HEADER_NAME.fullmatch(name) is None or name.lower() in OWN_HEADERS:
            raise EgressRefused("a header's name is wrong, or one that can't be set for a call")
        if not value.isascii() or not value.isprintable():
            raise EgressRefused(f"the value of header {name} is not printable ASCII")


_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ssl.SSLError,), "tls"),
    ((TimeoutError,), "timeout"),
    ((socket.gaierror,), "name not found"),
    ((ConnectionRefusedError,), "connection refused"),
    ((ConnectionError, aiohttp.ServerDisconnectedError), "reset"),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError), "bad answer"),
)


def _failure(error: BaseException) -> EgressFailed | EgressRefused:
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    elif isinstance(error, aiohttp.ClientOSError) and error.errno:
        cause = OSError(error.errno, "")  # as Python would have it: of the kind that its number means
    if isinstance(cause, _AddressRefused):
        return EgressRefused("the host leads to an address that is not public, and it is not listed as allowed")
    return EgressFailed(next((reason for kinds, reason in _REASONS if isinstance(cause, kinds)), "unreachable"))
