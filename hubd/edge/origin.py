"""Which web pages may talk to the hub: Origin, Host and CORS."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

# Not urlsplit: it finds the host ::1 in "http://[::1]evil.example", too.
_HOST_AND_PORT = r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
_HOST_HEADER = re.compile(_HOST_AND_PORT)
_ORIGIN = re.compile(rf"(?P<scheme>https?)://{_HOST_AND_PORT}")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SAFE_METHODS = ("GET", "HEAD")
_DEV_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Content-Type, Last-Event-ID",
    "Access-Control-Max-Age": "7200",
}


class _Origin(NamedTuple):
    """Where a page comes from; ``host`` in lower case, an IPv6 address in its brackets."""

    scheme: str
    host: str
    port: int


class Headers(Protocol):
    """The headers of a request, of which one name may come several times."""

    def getall(self, key: str, default: list[str]) -> list[str]:
        """All values of one header."""
        ...


class Origins:
    """The origins whose pages may use the hub: its own (``public_url``, may be empty) and the listed ones.

    With ``dev``, pages of this machine may too, whatever their port.
    """

    def __init__(self, public_url: str, listed: Iterable[str], dev: bool = False) -> None:
        self._dev = dev
        self.apply(public_url, listed)

    def apply(self, public_url: str, listed: Iterable[str]) -> None:
        """Let these pages in from now on, and no others."""
        self._known = {_configured(text) for text in (public_url, *listed) if text}

    def own_or_listed(self, origin: str) -> bool:
        """Whether pages of this origin, as a browser names it, may use the hub; 'null' never may."""
        parsed = _parse(origin)
        if parsed is None:
            return False
        return parsed in self._known or (self._dev and parsed.host in _DEV_HOSTS)

    def allowed(self, headers: Headers) -> bool:
        """Whether a request may go on: none is from a foreign page. Without Origin it is from no page, or our own."""
        origins = headers.getall("Origin", [])
        return not origins or (len(origins) == 1 and self.own_or_listed(origins[0]))

    def cookie_allowed(self, method: str, headers: Headers, *, websocket: bool = False) -> bool:
        """Whether a cookie may be all the proof that there is.

        Browsers add it to requests of any page, so it must be sure that the page is a good one: by its Origin or,
        for a GET that carries none, by ``Sec-Fetch-Site: same-origin``. With a WebSocket's handshake every browser
        sends Origin: one that has nothing of a page is from none.
        """
        if headers.getall("Origin", []):
            return self.allowed(headers)
        sites = headers.getall("Sec-Fetch-Site", [])
        return method in _SAFE_METHODS and (sites == ["same-origin"] or (websocket and not sites))

    def host_allowed(self, host: str | None) -> bool:
        """Whether the Host header may be answered; in dev mode only this machine's names are.

        Else a foreign page whose name was made to lead here would count as ours (DNS rebinding).
        """
        if not self._dev:
            return True
        match = _HOST_HEADER.fullmatch(host.lower()) if host and host.isascii() else None
        return match is not None and is_loopback(match["host"].strip("[]"))

    def response_headers(self, headers: Headers) -> dict[str, str]:
        """What to add to the answer to this request, so that an allowed page may read it (CORS)."""
        origins = headers.getall("Origin", [])
        # Vary also where nothing is allowed: else a cache could hand that answer to a page that is.
        answer = {"Vary": "Origin"}
        if len(origins) == 1 and self.own_or_listed(origins[0]):
            answer["Access-Control-Allow-Origin"] = origins[0]
            answer["Access-Control-Allow-Credentials"] = "true"
            answer["Access-Control-Expose-Headers"] = "Retry-After"
        return answer

    def preflight_headers(self, headers: Headers) -> dict[str, str] | None:
        """The headers of the 204 for a browser's preflight; None when its page may not use the hub (403)."""
        answer = self.response_headers(headers)
        return answer | _PREFLIGHT if "Access-Control-Allow-Origin" in answer else None


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser only asks what a page may send."""
    return method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers


def is_loopback(host: str) -> bool:
    """Whether the host (a name, or an address without brackets) is this machine; by its text, nothing is resolved."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _configured(text: str) -> _Origin:
    parsed = _parse(text)
    if parsed is None:
        raise ValueError(f"{text!r} is no origin; write it as https://app.example.com (international names as xn--...)")
    return parsed


def _parse(text: str) -> _Origin | None:
    # ASCII first: there are letters elsewhere that become an ASCII one in lower case.
    match = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if match is None:
        return None
    scheme = match["scheme"]
    return _Origin(scheme, match["host"], int(match["port"] or _DEFAULT_PORTS[scheme]))
