"""X-Forwarded-For: whatever a client writes into it, he is counted by an address that a trusted proxy vouches for.

An input is the header's lines, the last one being the address of the peer.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from random import Random

from hubd.edge.proxies import Proxies
from tests.fuzz import mutation
from tests.fuzz.target import Target, timed

TRUSTED = ("127.0.0.0/8", "10.1.2.3", "2001:db8:1::/48")
PROXIES = Proxies(TRUSTED)
NOBODY = Proxies(())
TOO_MANY = 50
"""From here on the header has more elements than are looked at, so that it can't be said what should be found."""
LONGEST_ENTRY = 64
WORDS = (
    "127.0.0.1", "127.0.0.2", "10.1.2.3", "10.1.2.4", "203.0.113.7", "::1", "::ffff:127.0.0.1", "2001:db8:1::5",
    "[::1]:80", "2001:db8:2:3:4::5", "[2001:db8:2:3:4::5]:443", "203.0.113.7:1234", "unknown", "_hidden", "1.2.3",
    "01.2.3.4", "", " ", "fe80::1%eth0", "fe80::1", "1.2.3.4:99999", "0x7f.0.0.1", "١.2.3.4", "1.2.3.4, 127.0.0.1",
    "[1.2.3.4]",
)  # fmt: skip


def take(data: bytes) -> None:
    *lines, peer = data.decode("utf-8", "surrogateescape").split("\n")
    reads = 0

    def forwarded() -> list[str]:
        nonlocal reads
        reads += 1
        return lines

    assert NOBODY.client(peer, forwarded) is not None and reads == 0, "it reads the header of who isn't trusted"
    found = timed(PROXIES.client, peer, forwarded)
    came_from = plain(peer)
    if came_from is None:
        assert found == peer and not reads
        return
    elements = ",".join(lines).split(",")
    if len(elements) < TOO_MANY:
        entries = [element for element in elements if element.strip()]
        assert found == counted(client(came_from, entries)), f"{peer} with {lines} counts as {found}"
    assert "/" in found or ip_address(found)


def client(peer: IPv4Address | IPv6Address, entries: list[str]) -> IPv4Address | IPv6Address:
    """Whom the trusted proxies vouch for, from the end of the way."""
    if not trusts(peer) or not entries:
        return peer
    before = entry(entries[-1])
    return peer if before is None else client(before, entries[:-1])


def trusts(address: IPv4Address | IPv6Address) -> bool:
    return any(address in ip_network(network) for network in TRUSTED)


def entry(text: str) -> IPv4Address | IPv6Address | None:
    if len(text) > LONGEST_ENTRY:
        return None
    text = text.strip()
    if "%" in text:
        return None  # a zone means something only on the machine that it is on
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        return plain(inside) if bracket and is_port(port) else None
    before, colon, port = text.rpartition(":")
    if text.count(":") == 1 and "." in before:
        return plain(before) if is_port(colon + port) else None
    return plain(text)


def is_port(text: str) -> bool:
    return not text or (text[0] == ":" and 1 <= len(text) - 1 <= 5 and all(one in "0123456789" for one in text[1:]))


def plain(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def counted(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_link_local:
        return str(address)
    return f"{IPv6Address(address.packed[:8] + bytes(8))}/64"


def mutate(data: bytes, random: Random) -> bytes:
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    at = random.randrange(len(lines))
    match random.randrange(6):
        case 0:
            lines.insert(at, random.choice(WORDS))
        case 1:
            lines[at] += random.choice((", ", ",", ",,")) + random.choice(WORDS)
        case 2:
            lines[at] = random.choice(WORDS)
        case 3:
            lines[-1] = random.choice(("127.0.0.1", "10.1.2.3", "2001:db8:1::9", "::ffff:127.0.0.9"))
        case 4 if len(lines) > 1:
            lines.pop(at)
        case _:
            lines[at] = mutation.change_text(lines[at], random, WORDS)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def seeds() -> list[bytes]:
    return [word.encode() + b"\n127.0.0.1" for word in WORDS] + [
        b"203.0.113.7, 10.1.2.3\n127.0.0.1",
        b"evil, 203.0.113.7\n10.1.2.3\n::ffff:127.0.0.1",
        b"203.0.113.7\n198.51.100.1",
        b"127.0.0.1",
    ]


TARGET = Target("forwarded", take, seeds, mutate, WORDS, max_bytes=2048)
