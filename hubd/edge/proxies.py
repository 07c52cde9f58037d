"""Whose connection it is: the address of the client, also behind proxies that the config trusts."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice

from aiohttp import web

HEADER = "X-Forwarded-For"
HOPS = 50
"""How many entries of the header are looked at; nobody has as many proxies."""
ENTRY_CHARS = 64
"""The longest entry that is looked at: an IPv6 address in brackets with its port has 47."""
NETWORK_BITS = 64
"""What one customer of an internet provider gets of IPv6 at least, and counts as one address."""

_ENTRY = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}|([0-9A-Fa-f:.]+)", re.ASCII)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Forwarded = Callable[[], Sequence[str]]


class Proxies:
    """The proxies in front, whose X-Forwarded-For is believed; of everybody else it is not even read."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = tuple(_unmapped_network(ip_network(text)) for text in trusted)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._trusted)

    def address(self, request: web.BaseRequest) -> str:
        """The client's address as it is counted: IPv4 as it is, of IPv6 the /64 ("2001:db8::/64").

        Each proxy adds to X-Forwarded-For whom it got the request from, at the end. So it is read from there, past the
        trusted ones: the first who isn't trusted is the client, and what stands before is only what he says himself. An
        entry that is no address is nobody's word: then it is the one behind it. "" for a peer without an address.
        """
        return self.client(request.remote, lambda: request.headers.getall(HEADER, ()))

    def client(self, peer: str | None, forwarded: Forwarded) -> str:
        """The same, by the address of the peer and what gives the header's lines when they are needed."""
        if not peer:
            return ""
        if not self._trusted and ":" not in peer:
            return peer  # the usual case
        found = _address(peer)
        if found is None:
            return peer
        if self._trusts(found):
            for entry in islice(_from_the_end(forwarded()), HOPS):
                if not entry or entry.isspace():
                    continue  # an empty element of a list is none (RFC 9110 section 5.6.1)
                before = _entry(entry)
                if before is None:
                    break
                found = before
                if not self._trusts(found):
                    break
        return counted(found)

    def is_proxy(self, peer: str | None) -> bool:
        """Whether a peer is one of them."""
        found = _address(peer) if peer and self._trusted else None
        return found is not None and self._trusts(found)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def counted(address: Address) -> str:
    """What connections are counted by: whoever has one address of a /64 has all 2**64 of them.

    Of a machine's or a cable's own (::1, fe80::...) each is another's.
    """
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_link_local:
        return str(address)
    return str(IPv6Network((int(address) >> NETWORK_BITS << NETWORK_BITS, NETWORK_BITS)))


def _from_the_end(lines: Iterable[str]) -> Iterator[str]:
    for line in reversed([*lines]):
        end = len(line)
        while end >= 0:
            start = line.rfind(",", 0, end)
            yield line[start + 1 : end]
            end = start


def _entry(text: str) -> Address | None:
    """The address in an entry, which may have a port; None where there is none."""
    found = _ENTRY.fullmatch(text.strip()) if len(text) <= ENTRY_CHARS else None
    return _address(found[found.lastindex or 0]) if found else None


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _unmapped_network(network: Network) -> Network:
    """A network of IPv4 addresses in the clothes of IPv6 as what it is."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return IPv4Network((int(mapped), network.prefixlen - 96)) if mapped and network.prefixlen >= 96 else network
