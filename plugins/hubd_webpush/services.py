"""Which push services are called, and by which names they go: each origin is looked at once."""

from collections.abc import Iterable
from typing import NamedTuple

from yarl import URL

from hubd.plugin import EgressRefused, check_url

SERVICES = ("googleapis.com", "push.services.mozilla.com", "push.apple.com", "notify.windows.com")
"""The hosts of the push services of browsers, and all under them."""
HOSTS = frozenset({"fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com"})
"""Those that browsers really name. Each is paced by itself; others of a service share its name, so that whoever makes
up hosts under it makes no more destinations, and disturbs none of these."""
ORIGINS = 1000
_HTTPS = 443
_HTTPS_CHARS = len("https://")


class Origin(NamedTuple):
    """A push service, as far as its address says.

    ``name`` is what its pace is counted by, ``is_shared`` whether other hosts go by it, too; ``audience`` whom
    signatures are for (RFC 8292 section 2); ``why_not`` why it isn't called (None: it may be).
    """

    name: str
    audience: str = ""
    is_shared: bool = False
    is_fcm: bool = False
    why_not: str | None = None


class Services:
    """Judges endpoints. ``services`` are hosts that may be called, with all under them; what stands in
    ``allow_hosts`` may be called by any port and by http, wherever it leads."""

    def __init__(self, services: Iterable[str], allow_hosts: Iterable[str]) -> None:
        self._services = tuple(services)
        self._allow_hosts = tuple(allow_hosts)
        self._known: dict[str, Origin] = {}

    def why_not(self, endpoint: object) -> str | None:
        """Why this endpoint isn't called; None: it may be. Where its name leads is judged when it is."""
        if not isinstance(endpoint, str):
            return "is required" if endpoint is None else "must be a string"
        try:
            url = check_url(endpoint, self._allow_hosts)
        except EgressRefused as refused:
            return str(refused)
        return self._judged(url).why_not

    def origin_of(self, endpoint: str) -> Origin:
        """The service of an endpoint that was taken once; whether it may be called is judged by the options of now."""
        # What stands before the path decides alone who is called. The rest is judged once more when it is.
        beginning = endpoint[: endpoint.find("/", _HTTPS_CHARS)]
        origin = self._known.get(beginning)
        if origin is None:
            try:
                origin = self._judged(check_url(endpoint, self._allow_hosts))
            except EgressRefused as refused:
                return Origin("refused", why_not=str(refused))
            if len(self._known) >= ORIGINS:
                self._known.clear()
            self._known[beginning] = origin
        return origin

    def _judged(self, url: URL) -> Origin:
        host = (url.raw_host or "").lower()
        service = next((name for name in self._services if host == name or host.endswith(f".{name}")), None)
        listed = next((entry for entry in self._allow_hosts if _is_allowed(url, entry)), None)
        why_not = None
        if listed is None and service is None:
            why_not = f"{host} is no push service that this hub calls ([plugins.webpush] services)"
        elif listed is None and url.port != _HTTPS:
            why_not = "a push service is called by https on port 443"
        name = host if host in HOSTS else service or listed or "refused"
        return Origin(name, str(url.origin()), name != host, service == "googleapis.com", why_not)


def _is_allowed(url: URL, entry: str) -> bool:
    """Whether this entry of ``allow_hosts`` has the host: then the same address would do by http, too."""
    try:
        check_url(str(url.with_scheme("http")), (entry,))
    except EgressRefused:
        return False
    return True
