"""What may be called: which addresses are public, and what an operator may list besides."""

import ipaddress

import pytest

from hubd.egress_guard import URL_LENGTH, AllowedHosts, EgressRefused, allowed_host, check_url, is_public, may_dial

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.167.255.255",
    "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2001:200::1", "2001:4860:4860::8888", "2003::1",
    "2003:ffff::", "2620:fe::fe",
    "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip

SPECIAL = [
    "0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.1",
    "192.0.0.9", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "233.252.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.254", "255.255.255.255",
    "::", "::1", "::2", "::7f00:1", "::8.8.8.8", "::127.0.0.1", "100::1", "1fff::1", "4000::1", "5f00::1", "8000::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "febf::1", "fec0::1", "ff02::1", "ff0e::1",
    "2001::1", "2001:0:808:808::1", "2001:1::1", "2001:2::1", "2001:20::1", "2001:30::1", "2001:db8::1",
    "2001:1ff:ffff::1", "2002::1", "2002:7f00:1::1", "2002:808:808::1", "3fff::1",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
    "::ffff:224.0.0.1", "::ffff:100.64.0.1", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8",
    "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::e000:1", "64:ff9b::",
    "64:ff9b:1::1", "64:ff9b:1::8.8.8.8", "64:ff9b:0:0:0:1::1", "2606:4700:4700::1111%1", "::ffff:8.8.8.8%1",
]  # fmt: skip

NO_ADDRESSES = ["", "localhost", "127.1", "0x8.8.8.8", "010.8.8.8", "134744072", "8.8.8.8.", "8.8.8.8/32", "[::1]"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [*SPECIAL, *NO_ADDRESSES])
def test_whatever_leads_elsewhere_is_not(address: str) -> None:
    assert not is_public(address)
    assert not may_dial(address, AllowedHosts.of(()))


def test_every_private_range_of_ipv4_is_private_in_each_spelling_inside_ipv6() -> None:
    for address in [text for text in SPECIAL if ":" not in text]:
        for spelling in ("::ffff:{}", "64:ff9b::{}", "::{}", "::ffff:0:{}"):
            assert not is_public(spelling.format(address)), (spelling, address)


@pytest.mark.parametrize(
    ("entry", "dialled", "may"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", True),  # public anyway
        ("10.0.0.0/8", "192.168.1.1", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),  # the same thing, dialled the same way
        ("10.0.0.0/8", "64:ff9b::10.1.2.3", False),  # through a gateway: that is the gateway's 10.1.2.3
        ("10.0.0.0/8", "2002:a01:203::1", False),
        ("10.0.0.0/8", "::10.1.2.3", False),
        ("127.0.0.2", "127.0.0.2", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("::1", "::1", True),
        ("::1", "127.0.0.1", False),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "fe80::1", False),
        ("localhost", "127.0.0.1", False),  # a listed name says nothing of the address when others lead to it
        ("0.0.0.0/0", "127.0.0.1", True),
        ("0.0.0.0/0", "::1", False),
    ],
)
def test_a_listed_network_may_be_dialled(entry: str, dialled: str, may: bool) -> None:
    assert may_dial(dialled, AllowedHosts.of([entry])) is may


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ("Hooks.Internal", "hooks.internal"),
        ("my_service", "my_service"),
        ("10.0.0.1", "10.0.0.1"),
        ("FD00::/8", "fd00::/8"),
    ],
)
def test_what_can_be_listed(entry: str, kept: str) -> None:
    assert allowed_host(entry) == kept
    assert AllowedHosts.of([entry])


@pytest.mark.parametrize(
    "entry",
    [
        "", " ", "*", "*.internal", "internal.", "http://internal", "internal:8080", "[::1]", "127.1", "0x7f000001",
        "2130706433", "10.0.0.1/8", "10.0.0.0/33", "a b", "a/b", "user@internal", "ıntranet", "１０.0.0.1",
        "127.0.0.1.",
    ],
)  # fmt: skip
def test_what_can_not_be_listed(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        allowed_host(entry)
    with pytest.raises(ValueError, match="is no host"):
        check_url("https://example.com/", [entry])


def test_a_good_address_is_given_back_as_it_is_called() -> None:
    url = check_url("https://hooks.example.com:8443/a/%2F?token=1&b=%20")
    assert (url.host, url.port, url.raw_path) == ("hooks.example.com", 8443, "/a/%2F")
    assert url.raw_query_string == "token=1&b=%20"


def test_the_length_is_limited() -> None:
    start = "https://example.com/"
    assert check_url(start + "a" * (URL_LENGTH - len(start)))
    with pytest.raises(EgressRefused, match="longer than 2048"):
        check_url(start + "a" * (URL_LENGTH - len(start) + 1))


def test_a_refusal_is_a_value_error_for_checks_of_a_config() -> None:
    with pytest.raises(ValueError, match=r"^http:// is only for hosts .*, and example.com is not: use https://$"):
        check_url("http://example.com/")
    assert check_url("http://example.com/", ["EXAMPLE.com"])
