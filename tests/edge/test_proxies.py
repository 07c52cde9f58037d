"""Whose connection it is: X-Forwarded-For is believed of trusted proxies alone, and no more than they know."""

import time
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hubd.edge.proxies import HOPS, Proxies, counted

PROXIES = Proxies(["10.0.0.0/8", "192.0.2.7", "2001:db8:ffff::/48"])


def client(peer: str | None, *lines: str, proxies: Proxies = PROXIES) -> str:
    return proxies.client(peer, lambda: lines)


@pytest.mark.parametrize("peer", ["8.8.8.8", "192.0.2.8", "11.0.0.1", "127.0.0.1"])
def test_of_a_peer_who_isnt_trusted_nothing_is_believed(peer: str) -> None:
    assert client(peer, "1.2.3.4") == peer


def test_without_trusted_proxies_the_header_is_not_even_looked_at() -> None:
    def forwarded() -> Any:
        raise AssertionError("it was")

    none = Proxies([])
    assert not none and PROXIES
    assert none.client("10.0.0.1", forwarded) == "10.0.0.1"
    assert none.client("2001:db8::1", forwarded) == "2001:db8::/64"
    assert PROXIES.client("8.8.8.8", forwarded) == "8.8.8.8"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "10.0.0.1"),
        (["1.2.3.4"], "1.2.3.4"),
        (["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (["6.6.6.6,1.2.3.4 , 10.1.1.1,192.0.2.7"], "1.2.3.4"),
        (["6.6.6.6", "1.2.3.4", "10.1.1.1"], "1.2.3.4"),
        (["6.6.6.6, 1.2.3.4", "", " , ,10.1.1.1,,"], "1.2.3.4"),
        (["10.2.2.2, 10.1.1.1"], "10.2.2.2"),  # all are trusted: the first of them asks
        (["1.2.3.4:5678"], "1.2.3.4"),
        (["[2600::1]:5678"], "2600::/64"),
        (["[2600::1]"], "2600::/64"),
        (["2600::1"], "2600::/64"),
        (["2600:0:0:1:2:3:4:5"], "2600:0:0:1::/64"),
        (["::ffff:1.2.3.4"], "1.2.3.4"),
        (["[::ffff:102:304]:1"], "1.2.3.4"),
        (["1.2.3.4, ::ffff:10.3.3.3"], "1.2.3.4"),
        (["1.2.3.4, 2001:db8:ffff:1::9"], "1.2.3.4"),
        (["::1"], "::1"),
    ],
    ids=repr,
)
def test_the_first_from_the_end_who_isnt_trusted_is_the_client(lines: list[str], expected: str) -> None:
    assert client("10.0.0.1", *lines) == expected


@pytest.mark.parametrize(
    "garbage",
    [
        *(
            "unknown",
            "_hidden",
            "a.example.com",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "010.1.1.1",
            "0x7f.1",
            "-",
            '"1.1.1.1"',
        ),
        *(
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:123456",
            "[1.2.3.4",
            "[::1",
            "::1]",
            "[::1]1",
            "[::1]:",
            "[]",
            "fe80::1%eth0",
        ),
        *("1.1.1.1 2.2.2.2", "²²²", "\x00", "1.1.1.1" + " " * 100, "x" * 8000, ":" * 60),
    ],
    ids=ascii,
)
def test_behind_an_entry_that_is_no_address_nobody_is_believed(garbage: str) -> None:
    assert client("10.0.0.1", f"1.2.3.4, {garbage}") == "10.0.0.1"
    assert client("10.0.0.1", f"1.2.3.4, {garbage}, 10.1.1.1") == "10.1.1.1"
    assert client("10.0.0.1", f"{garbage}, 1.2.3.4") == "1.2.3.4"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (None, ""),
        ("", ""),
        ("::ffff:9.9.9.9", "9.9.9.9"),
        ("2600::1", "2600::/64"),
        ("fe80::1%lo", "fe80::1%lo"),
        ("no address", "no address"),
    ],
)
def test_peers_of_other_kinds(peer: str | None, expected: str) -> None:
    for proxies in (PROXIES, Proxies([])):
        assert client(peer, "1.2.3.4", proxies=proxies) == expected


def test_a_peer_in_the_clothes_of_ipv6_is_trusted_as_what_it_is() -> None:
    assert client("::ffff:10.0.0.1", "1.2.3.4") == "1.2.3.4"
    assert client("10.0.0.1", "1.2.3.4", proxies=Proxies(["::ffff:10.0.0.0/104"])) == "1.2.3.4"
    assert client("11.0.0.1", "1.2.3.4", proxies=Proxies(["::ffff:10.0.0.0/104"])) == "11.0.0.1"
    assert client("10.0.0.1", "1.2.3.4", proxies=Proxies(["::/0"])) == "10.0.0.1"


def test_whoever_has_one_ipv6_address_has_the_whole_network_and_counts_once() -> None:
    assert counted(ip_address("2600::1")) == counted(ip_address("2600::ffff:ffff:ffff:ffff"))
    assert counted(ip_address("2600::1")) != counted(ip_address("2600:0:0:1::1"))
    assert counted(ip_address("fe80::1")) != counted(ip_address("fe80::2"))


def test_from_a_request_all_lines_of_the_header_count() -> None:
    headers = CIMultiDict([("x-forwarded-for", "6.6.6.6"), ("X-Forwarded-For", "1.2.3.4")])
    request = make_mocked_request("GET", "/", headers).clone(remote="10.0.0.1")
    assert PROXIES.address(request) == "1.2.3.4"
    assert PROXIES.address(request.clone(remote="9.9.9.9")) == "9.9.9.9"


def test_the_work_is_bounded() -> None:
    for hops, expected in [(HOPS - 1, "1.2.3.4"), (HOPS, "10.1.1.1")]:
        assert client("10.0.0.1", ", ".join(["1.2.3.4"] + ["10.1.1.1"] * hops)) == expected
    lines = ["10.1.1.1," * 900] * 128  # as many and as long as aiohttp takes
    begun = time.process_time()
    for _ in range(100):
        client("10.0.0.1", *lines)
        client("10.0.0.1", *["," * 8000] * 128)
    assert time.process_time() - begun < 1


@given(
    st.lists(st.text(alphabet="0123456789abcf.:[], %", max_size=30) | st.text(max_size=10) | st.ip_addresses().map(str))
)
def test_whatever_comes_the_answer_is_an_address_that_stands_there(entries: list[str]) -> None:
    found = client("10.0.0.1", ",".join(entries))
    network = ip_network(found.partition("%")[0])
    assert network.num_addresses in (1, 2**64)


@given(
    st.lists(st.ip_addresses(), min_size=1, max_size=20),
    st.lists(st.sampled_from(["10.9.9.9", "192.0.2.7"]), max_size=9),
)
def test_what_the_client_says_itself_never_counts(said: list[Any], passed: list[str]) -> None:
    line = ", ".join([*map(str, said), "9.9.9.9", *passed])
    assert client("10.0.0.1", line) == "9.9.9.9"
