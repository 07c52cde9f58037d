"""What the hub may call on somebody's word: how an address has to be written, and what is public.

A URL from a config or a stranger must not make the hub call its own machine or the network behind it. The text is
judged here before anything is looked up; what a name leads to is judged by `hubd.egress` when it is about to be
dialled, because only then it is known.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from yarl import URL

from hubd import config_checks

URL_LENGTH = 2048
"""The longest address that is called, in characters."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
"""The last label of a host that resolvers read as an IPv4 address, in whatever spelling; no top-level domain is one."""

# The two prefixes whose addresses are another spelling of an IPv4 address that is really reached.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
"""All that is given out as global unicast; the rest is special or reserved."""

# The special ranges, though `is_global` is asked too: it takes multicast and 6to4 relays for global, and which of the
# others it knows depends on the release of Python.
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # "this network"; 0.0.0.0 reaches this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and some clouds' inner networks
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, among it the clouds' metadata service
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocols, among them Teredo, which carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which carries an IPv4 address; nobody serves there any more
        "3fff::/20",
    )
)


class EgressRefused(ValueError):
    """The hub doesn't call that address. The message says why; it shows the host at most, never path, query or user."""


def is_public(address: Address | str) -> bool:
    """Whether an address belongs to the public internet, judged by what would really be reached."""
    found = _parsed(address)
    if found is None:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return False
        if found in _MAPPED or found in _NAT64:
            found = _embedded(found)
        elif found not in _GLOBAL_IPV6:
            return False
    return found.is_global and not any(found in network for network in _SPECIAL)


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """What an operator allows beyond the public internet: names, and addresses or networks."""

    names: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> "AllowedHosts":
        """The entries of an option such as ``allow_hosts``; ValueError for one that is no host and no network."""
        checked = [allowed_host(entry) for entry in entries]
        networks = [network for entry in checked if (network := _network(entry)) is not None]
        return cls(frozenset(entry for entry in checked if _network(entry) is None), tuple(networks))

    def has_name(self, host: str) -> bool:
        """Whether the host itself is listed: then it is called wherever it leads."""
        return host.lower() in self.names

    def has_address(self, address: Address) -> bool:
        """Whether the address is listed. A spelling of an IPv4 address inside IPv6 counts as that one."""
        plain = _embedded(address) if address in _MAPPED and isinstance(address, ipaddress.IPv6Address) else address
        return any(plain in network for network in self.networks)


def allowed_host(text: str) -> str:
    """One entry of a list of allowed hosts, in lower case: a host name, an address or a network."""
    if _network(text) is not None:
        return text.lower()
    if not text.isascii() or text.endswith(".") or _is_written_as_address(text) or not config_checks.host_or_none(text):
        raise ValueError(
            f"{text!r} is no host: write a name such as hooks.internal (no wildcard, scheme or port), an address such"
            " as 10.0.0.1, or a network such as 10.0.0.0/8"
        )
    return text.lower()


def may_dial(address: str, allowed: AllowedHosts) -> bool:
    """Whether a connection to this very address may be opened, whoever led to it."""
    found = _parsed(address)
    return found is not None and (is_public(found) or allowed.has_address(found))


def check_url(text: str, allow_hosts: Iterable[str] = ()) -> URL:
    """The address, if it is one that the hub would call; `EgressRefused` otherwise.

    It is https to a name or a public address. For what stands in ``allow_hosts`` (names, addresses, networks) http
    and private addresses are fine too. Nothing is looked up: where a name leads is judged when it is called.
    """
    return judged(text, AllowedHosts.of(allow_hosts))[0]


def judged(text: str, allowed: AllowedHosts) -> tuple[URL, bool]:
    """The address, and whether its host is a listed name, which may be called wherever it leads."""
    url, host = _taken_apart(text)
    address = _parsed(host) if _is_written_as_address(host) else None
    if address is not None:
        listed = allowed.has_address(address)
        if not listed and not is_public(address):
            raise EgressRefused(f"{host} is no public address, and it is not listed as allowed")
    elif _is_written_as_address(host) or not _is_host_name(host):
        raise EgressRefused("the host is no host name, and no address in its usual spelling")
    else:
        listed = allowed.has_name(host)
    if url.scheme == "http" and not listed:
        raise EgressRefused(f"http:// is only for hosts that are listed as allowed, and {host} is not: use https://")
    return url, address is None and listed


def _taken_apart(text: str) -> tuple[URL, str]:
    """The URL and its host, if it is written in a way that can't be read differently by anyone."""
    if len(text) > URL_LENGTH:
        raise EgressRefused(f"the address is longer than {URL_LENGTH} characters")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise EgressRefused(
            "an address is plain ASCII without white space and backslashes: write other letters percent-encoded, and"
            " names in their xn-- form"
        )
    if text.partition("://")[0].lower() not in ("http", "https"):
        raise EgressRefused("an address begins with https://")
    if "#" in text:
        raise EgressRefused("an address that is called has no fragment: leave out # and what follows")
    try:
        authority = urlsplit(text).netloc
        url = URL(text)
        host = url.raw_host or ""
    except ValueError:
        raise EgressRefused("this is no address: host or port can't be read") from None
    if "@" in authority:
        raise EgressRefused("no user and no password may stand in an address: put them into a header")
    if authority.endswith(":") or url.port == 0:
        raise EgressRefused("the port is a number from 1 to 65535")
    if not host or host.endswith(".") or "%" in host or ("[" in authority) != (":" in host):
        raise EgressRefused("the host is no host name, and no address in its usual spelling")
    return url, host


@lru_cache(maxsize=1000)  # what is called much has few hosts
def _is_host_name(host: str) -> bool:
    return config_checks.host_or_none(host) is not None


def _is_written_as_address(host: str) -> bool:
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _parsed(address: Address | str) -> Address | None:
    """The address; only in its one spelling with four decimal numbers, if it is IPv4."""
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
