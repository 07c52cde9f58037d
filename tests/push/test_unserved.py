"""Devices of platforms that no plugin serves: what can't be right is refused, all of it named; the rest is kept."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.errors import Problem
from hubd.push.unserved import ENDPOINT_CHARS, OTHER_CHARS, OTHERS, TOKEN_CHARS, UNCHECKED, check_unserved


def base64url(data: bytes, *, padded: bool = False) -> str:
    text = base64.urlsafe_b64encode(data).decode()
    return text if padded else text.rstrip("=")


POINT = b"\x04" + bytes(range(64))
AUTH = bytes(range(16))


def subscription(**more: Any) -> dict[str, Any]:
    return {
        "endpoint": "https://push.example.com/wpush/v2/gAAAAA-_",
        "expirationTime": None,
        "keys": {"p256dh": base64url(POINT), "auth": base64url(AUTH)},
    } | more


def wrong(platform: str, fields: dict[str, Any]) -> list[str]:
    with pytest.raises(Problem) as refused:
        check_unserved(platform, fields)
    assert refused.value.code == "invalid"
    return sorted(error.path for error in refused.value.errors)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"expirationTime": 1_800_000_000_000},
        {"expirationTime": 1.5e12},
        {"keys": {"p256dh": base64url(POINT, padded=True), "auth": base64url(AUTH, padded=True)}},
        {"applicationServerKey": base64url(POINT)},
        {"applicationServerKey": None},
        {"endpoint": "https://localhost:8443/?a=b#c"},
        {"endpoint": "https://p"},
        {"endpoint": "https://p/" + "x" * (ENDPOINT_CHARS - 10)},
    ],
)
def test_a_browsers_subscription_as_it_is(more: dict[str, Any]) -> None:
    fields = subscription(**more)
    address = check_unserved("webpush", fields)
    assert address.fields is not fields
    assert address == (fields["endpoint"], fields, UNCHECKED)


@pytest.mark.parametrize(
    ("more", "paths"),
    [
        ({"endpoint": None}, ["endpoint"]),
        ({"endpoint": "http://push.example.com/x"}, ["endpoint"]),
        ({"endpoint": "https://"}, ["endpoint"]),
        ({"endpoint": "https://a b/"}, ["endpoint"]),
        ({"endpoint": "https://user:pw@push.example.com/"}, ["endpoint"]),
        ({"endpoint": "https://push.example.com/\n"}, ["endpoint"]),
        ({"endpoint": "https://push.example.com/é"}, ["endpoint"]),
        ({"endpoint": " https://push.example.com/"}, ["endpoint"]),
        ({"endpoint": "https://p/" + "x" * (ENDPOINT_CHARS - 9)}, ["endpoint"]),
        ({"expirationTime": "never"}, ["expirationTime"]),
        ({"expirationTime": True}, ["expirationTime"]),
        ({"keys": None}, ["keys"]),
        ({"keys": {}}, ["keys.auth", "keys.p256dh"]),
        ({"keys": {"p256dh": base64url(POINT), "auth": base64url(AUTH), "x": 1}}, ["keys.x"]),
        ({"keys": {"p256dh": base64url(POINT[:-1]), "auth": base64url(AUTH + b"x")}}, ["keys.auth", "keys.p256dh"]),
        ({"keys": {"p256dh": base64url(b"\x02" + POINT[1:]), "auth": base64url(AUTH)}}, ["keys.p256dh"]),
        ({"keys": {"p256dh": base64.b64encode(b"\x04" + b"\xff" * 64).decode(), "auth": base64url(AUTH)}},
         ["keys.p256dh"]),
        ({"keys": {"p256dh": base64url(POINT) + "==", "auth": base64url(AUTH) + "="}}, ["keys.auth", "keys.p256dh"]),
        ({"keys": {"p256dh": "é" * 87, "auth": 5}}, ["keys.auth", "keys.p256dh"]),
        ({"applicationServerKey": "x"}, ["applicationServerKey"]),
        ({"applicationServerKey": 5}, ["applicationServerKey"]),
        ({"token": "x"}, ["token"]),
        ({"endpoint": 5, "keys": 5, "expirationTime": [], "": 1}, ["", "endpoint", "expirationTime", "keys"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_with_a_subscription_is_named(more: dict[str, Any], paths: list[str]) -> None:
    assert wrong("webpush", subscription(**more)) == paths


def test_nothing_at_all() -> None:
    assert wrong("webpush", {}) == ["endpoint", "keys"]
    assert wrong("apns", {}) == wrong("fcm", {}) == ["token"]


@pytest.mark.parametrize("platform", ["apns", "fcm"])
@pytest.mark.parametrize(
    "fields",
    [
        {"token": "ab" * 32},
        {"token": "a:" + "x" * (TOKEN_CHARS - 2)},
        {"token": "t", "app": "com.example.app", "sandbox": True, "version": 5, "none": None},
        {"token": "t", **{f"f{n}": n for n in range(OTHERS)}},
    ],
)
def test_a_token(platform: str, fields: dict[str, Any]) -> None:
    assert check_unserved(platform, fields) == (fields["token"], fields, UNCHECKED)


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"token": ""}, ["token"]),
        ({"token": None}, ["token"]),
        ({"token": ["x"]}, ["token"]),
        ({"token": "a b"}, ["token"]),
        ({"token": "a\n"}, ["token"]),
        ({"token": "x" * (TOKEN_CHARS + 1)}, ["token"]),
        ({"token": "t", "app": "x" * (OTHER_CHARS + 1)}, ["app"]),
        ({"token": "t", "app": "a\x00", "more": {}, "list": []}, ["app", "list", "more"]),
        ({"token": "t", **{f"f{n}": n for n in range(OTHERS + 1)}}, [""]),
        ({"token": "t", "n" * (OTHER_CHARS + 1): 1}, ["n" * OTHER_CHARS]),
    ],
)
def test_all_that_is_wrong_with_a_token_is_named(fields: dict[str, Any], paths: list[str]) -> None:
    assert wrong("fcm", fields) == paths


@pytest.mark.parametrize("platform", ["sms", "", "APNS"])
def test_a_platform_that_nobody_knows(platform: str) -> None:
    assert wrong(platform, {"token": "t"}) == ["platform"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)


@given(st.sampled_from(["webpush", "apns"]),
       st.dictionaries(st.sampled_from(["endpoint", "keys", "token", "expirationTime", "x"]), _JSON))  # fmt: skip
def test_whatever_is_sent_is_taken_or_refused(platform: str, fields: dict[str, Any]) -> None:
    try:
        address = check_unserved(platform, fields)
    except Problem as problem:
        assert problem.errors
    else:
        assert address.key in (fields.get("token"), fields.get("endpoint")) and address.fields == fields
