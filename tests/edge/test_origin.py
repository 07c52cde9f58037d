"""Which pages may talk to the hub."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hubd.edge.origin import Origins, is_loopback, is_preflight

OWN = "https://hub.example.com"
LISTED = "https://app.example.com:8443"


def headers(**values: str) -> CIMultiDict[str]:
    return CIMultiDict({name.replace("_", "-"): value for name, value in values.items()})


@pytest.fixture
def origins() -> Origins:
    return Origins(OWN, [LISTED, "http://plain.example.com", "https://desk.example.com"])


@pytest.fixture
def dev() -> Origins:
    return Origins("", [LISTED], dev=True)


GOOD = [
    OWN, "https://hub.example.com:443", "HTTPS://HUB.example.COM", LISTED,
    "http://plain.example.com", "http://plain.example.com:80",
]  # fmt: skip
FOREIGN = [
    "", "null", "Null", "https://evil.example", "http://hub.example.com", "https://hub.example.com:8443",
    "https://hub.example.com.evil.example", "https://evil-hub.example.com", "https://x.hub.example.com",
    "https://hub.example.com/", "https://hub.example.com/x", "https://hub.example.com?", "https://hub.example.com#",
    "https://hub.example.com@evil.example", "https://user@hub.example.com", "https://evil.example#hub.example.com",
    "https://hub.example.com\\.evil.example", "https://hub.example.com:", "https://hub.example.com:0443x",
    "https://hub.example.com:-1", "https://hub.example.com.", "https://hub.example.com\n", " https://hub.example.com",
    "https://hub.example.com https://evil.example", "//hub.example.com", "hub.example.com", "wss://hub.example.com",
    "file://", "https://", "https://app.example.com", "http://app.example.com:8443", "https://[hub.example.com]",
    "https://hub.example.com:443443", "https://des\u212a.example.com", "http://localhost", "http://127.0.0.1:8080",
    "https://ｈｕｂ.example.com", "chrome-extension://abc", "https://hub.example.com,https://hub.example.com",
]  # fmt: skip


@pytest.mark.parametrize("origin", GOOD)
def test_own_and_listed_pages_are_let_in(origins: Origins, origin: str) -> None:
    assert origins.own_or_listed(origin) and origins.allowed(headers(Origin=origin))


@pytest.mark.parametrize("origin", FOREIGN, ids=ascii)
def test_foreign_pages_are_not(origins: Origins, origin: str) -> None:
    assert not origins.own_or_listed(origin) and not origins.allowed(headers(Origin=origin))


def test_without_origin_it_is_no_page(origins: Origins) -> None:
    assert origins.allowed(headers())


def test_two_origins_are_not_let_in(origins: Origins) -> None:
    twice = CIMultiDict([("Origin", OWN), ("Origin", OWN)])
    assert not origins.allowed(twice)
    assert not origins.cookie_allowed("GET", twice)
    assert "Access-Control-Allow-Origin" not in origins.response_headers(twice)


def test_without_public_url_only_listed_pages_are_let_in() -> None:
    origins = Origins("", [LISTED])
    assert origins.own_or_listed(LISTED) and not origins.own_or_listed(OWN) and not origins.own_or_listed("")


@pytest.mark.parametrize(
    "text", ["null", "*", "app.example.com", "https://app.example.com/x", "https://münchen.example"]
)
def test_what_is_no_origin_can_t_be_listed(text: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        Origins("", [text])


@pytest.mark.parametrize(
    "origin", ["http://localhost", "http://localhost:3000", "https://127.0.0.1:1", "http://[::1]:8080"]
)
def test_dev_mode_lets_this_machine_s_pages_in(dev: Origins, origins: Origins, origin: str) -> None:
    assert dev.own_or_listed(origin) and not origins.own_or_listed(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1.evil.example",
        "http://evil.localhost", "http://localhost@evil.example", "http://[::1]evil.example", "http://evil.example[::1]",
        "http://[::1].evil.example", "ftp://localhost", "http://localhost/", "http://127.1", "http://2130706433",
        "http://[::ffff:127.0.0.1]", "http://0.0.0.0:8080", "http://localhost:8080.evil.example", OWN,
    ],
)  # fmt: skip
def test_dev_mode_lets_no_other_page_in(dev: Origins, origin: str) -> None:
    assert not dev.own_or_listed(origin)


@given(st.text() | st.text(alphabet="htps:/[]localhost.0127@#?\\").map(lambda rest: f"http://localhost{rest}"))
def test_any_origin_gets_an_answer(text: str) -> None:
    dev = Origins("", [], dev=True)
    dev.host_allowed(text)
    if dev.own_or_listed(text):
        assert re.fullmatch(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", text, re.I)


# --- cookies


@pytest.mark.parametrize(
    ("method", "given", "allowed"),
    [
        ("POST", {}, False),
        ("POST", {"Sec_Fetch_Site": "same-origin"}, False),
        ("DELETE", {"Sec_Fetch_Site": "same-origin"}, False),
        ("POST", {"Origin": OWN}, True),
        ("POST", {"Origin": LISTED}, True),
        ("POST", {"Origin": "https://evil.example"}, False),
        ("POST", {"Origin": "null"}, False),
        ("GET", {}, False),
        ("GET", {"Sec_Fetch_Site": "same-origin"}, True),
        ("HEAD", {"Sec_Fetch_Site": "same-origin"}, True),
        ("GET", {"Sec_Fetch_Site": "same-site"}, False),
        ("GET", {"Sec_Fetch_Site": "cross-site"}, False),
        ("GET", {"Sec_Fetch_Site": "none"}, False),
        ("GET", {"Origin": OWN}, True),
        ("GET", {"Origin": LISTED, "Sec_Fetch_Site": "cross-site"}, True),
        ("GET", {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin"}, False),
        ("GET", {"Origin": "", "Sec_Fetch_Site": "same-origin"}, False),
    ],
)
def test_a_cookie_alone(origins: Origins, method: str, given: dict[str, str], allowed: bool) -> None:
    assert origins.cookie_allowed(method, headers(**given)) is allowed


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({}, True), ({"Sec_Fetch_Site": "same-origin"}, True), ({"Origin": OWN}, True),
        ({"Sec_Fetch_Site": "cross-site"}, False), ({"Sec_Fetch_Site": "none"}, False), ({"Origin": "null"}, False),
        ({"Origin": "https://evil.example"}, False), ({"Origin": ""}, False),
    ],
)  # fmt: skip
def test_a_cookie_alone_at_a_websocket_s_handshake(origins: Origins, given: dict[str, str], allowed: bool) -> None:
    assert origins.cookie_allowed("GET", headers(**given), websocket=True) is allowed
    assert not origins.cookie_allowed("POST", headers(), websocket=True)


def test_two_fetch_sites_are_none(origins: Origins) -> None:
    twice = CIMultiDict([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")])
    assert not origins.cookie_allowed("GET", twice)


# --- Host


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]:8080", "127.0.0.2"])
def test_dev_mode_answers_to_this_machine_s_names(dev: Origins, host: str) -> None:
    assert dev.host_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        None, "", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.",
        "localhost@evil.example", "[::1]evil.example", "localhost:80:80", "192.168.0.1", "localhost/x", "::1", "[::1",
        "localhost\n", "10.0.0.1:8080", "[]", "127.0.0.1,evil.example", "127.0.0.01x",
    ],
)  # fmt: skip
def test_dev_mode_answers_to_no_other(dev: Origins, host: str | None) -> None:
    assert not dev.host_allowed(host)


def test_elsewhere_every_host_will_do(origins: Origins) -> None:
    assert origins.host_allowed("anything.example") and origins.host_allowed(None)


def test_loopback_is_told_by_the_text() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.9.9.9", "::1", "0.0.0.0", "example.com", "")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


# --- CORS


def test_an_allowed_page_may_read_the_answer(origins: Origins) -> None:
    answer = origins.response_headers(headers(Origin=LISTED))
    assert answer["Access-Control-Allow-Origin"] == LISTED
    assert answer["Access-Control-Allow-Credentials"] == "true"
    assert answer["Vary"] == "Origin"


@pytest.mark.parametrize("given", [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_nobody_else_may(origins: Origins, given: dict[str, str]) -> None:
    assert origins.response_headers(headers(**given)) == {"Vary": "Origin"}
    assert origins.preflight_headers(headers(**given)) is None


def test_a_preflight_tells_what_may_be_sent(origins: Origins) -> None:
    answer = origins.preflight_headers(headers(Origin=LISTED, Access_Control_Request_Method="POST"))
    assert answer is not None
    assert answer["Access-Control-Allow-Origin"] == LISTED
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert method in answer["Access-Control-Allow-Methods"].split(", ")
    for name in ("Authorization", "Content-Type", "Last-Event-ID"):
        assert name in answer["Access-Control-Allow-Headers"].split(", ")
    assert int(answer["Access-Control-Max-Age"]) > 0


def test_what_is_a_preflight() -> None:
    full = headers(Origin=OWN, Access_Control_Request_Method="POST")
    assert is_preflight("OPTIONS", full)
    assert not is_preflight("POST", full)
    assert not is_preflight("OPTIONS", headers(Origin=OWN))
    assert not is_preflight("OPTIONS", headers(Access_Control_Request_Method="POST"))
