"""What the stand-in looks at, case by case. The examples of the RFCs are in tests/plugins/test_webpush_sealing.py."""

import os
from typing import Any

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from hubd.testing.webpush_checks import (
    LONGEST_EXP_S,
    Refused,
    base64url,
    checked_claims,
    checked_headers,
    decrypted,
    from_base64url,
)
from tests.plugins.webpush_world import point_of

NOW = 1_800_000_000
ORIGIN = "https://push.example.net"
KEY = generate_private_key(SECP256R1())
PUBLIC = base64url(point_of(KEY))
OTHER = generate_private_key(SECP256R1())
AUTH = os.urandom(16)


def signed(key: Any = KEY, public: str = PUBLIC, algorithm: str = "ES256", **claims: Any) -> str:
    whole = {"aud": ORIGIN, "exp": NOW + 3600, "sub": "mailto:a@b.c", **claims}
    token = jwt.encode({name: value for name, value in whole.items() if value is not None}, key, algorithm=algorithm)
    return f"vapid t={token}, k={public}"


def status_of(header: str | None, key: str | None = PUBLIC) -> int:
    with pytest.raises(Refused) as refused:
        checked_claims(header, ORIGIN, NOW, key)
    return refused.value.status


@pytest.mark.parametrize("claims", [{}, {"exp": NOW + LONGEST_EXP_S}, {"exp": NOW + 1}, {"sub": "https://b.c"}])
def test_good_signatures(claims: dict[str, Any]) -> None:
    assert checked_claims(signed(**claims), ORIGIN, NOW, PUBLIC)["aud"] == ORIGIN
    assert checked_claims(signed(**claims), ORIGIN, NOW, None)["aud"] == ORIGIN


def test_the_parameters_in_any_order_and_with_padding() -> None:
    scheme, _, rest = signed().partition(" ")
    token, key = rest.split(", ")
    for header in (f"{scheme} {key},{token}", f"VAPID {token},{key}", f"{scheme}  {token}, {key}="):
        assert checked_claims(header, ORIGIN, NOW, PUBLIC + "=")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example"}, {"aud": ORIGIN + "/"}, {"aud": None}, {"exp": NOW}, {"exp": NOW - 1},
        {"exp": NOW + LONGEST_EXP_S + 1}, {"exp": None}, {"exp": NOW + 0.5}, {"sub": None}, {"sub": "a@b.c"},
        {"sub": "http://b.c"},
    ],
)  # fmt: skip
def test_bad_claims(claims: dict[str, Any]) -> None:
    assert status_of(signed(**claims)) == 403


def test_bad_signatures() -> None:
    assert status_of(signed(key=OTHER)) == 403  # with another's name on it
    assert status_of(signed(key=OTHER, public=base64url(point_of(OTHER)))) == 403  # another's altogether
    assert checked_claims(signed(key=OTHER, public=base64url(point_of(OTHER))), ORIGIN, NOW, None)
    assert status_of(signed(key="k" * 32, algorithm="HS256")) == 403
    assert status_of(signed(key=None, algorithm="none")) == 403
    assert status_of(signed()[:-2]) == 403
    assert status_of(signed(public="AAAA"), None) == 403


def test_no_signature() -> None:
    assert checked_claims(None, ORIGIN, NOW, None) == {}
    assert status_of(None) == 401
    for header in ("", "vapid", "Bearer x", "WebPush x.y.z", "vapid t=a", signed().replace("vapid", "vapid2")):
        assert status_of(header) == 401


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"TTL": "0"}, (0, "normal", None)),
        ({"TTL": "60", "Urgency": "very-low", "Topic": "a-_9"}, (60, "very-low", "a-_9")),
        ({"TTL": "60", "Urgency": "high", "Topic": "a" * 32}, (60, "high", "a" * 32)),
    ],
)
def test_good_headers(headers: dict[str, str], found: tuple[int, str, str | None]) -> None:
    assert checked_headers(headers) == found


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"TTL": ""}, {"TTL": "-1"}, {"TTL": "1.5"}, {"TTL": "²"}, {"TTL": "1", "Urgency": "HIGH"},
        {"TTL": "1", "Urgency": ""}, {"TTL": "1", "Topic": ""}, {"TTL": "1", "Topic": "a" * 33},
        {"TTL": "1", "Topic": "a+b"}, {"TTL": "1", "Topic": "a="},
    ],
)  # fmt: skip
def test_bad_headers(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        checked_headers(headers)
    assert refused.value.status == 400


def sealed(data: bytes = b"hello", **more: Any) -> bytes:
    options = {"private_key": OTHER, "dh": point_of(KEY), "auth_secret": AUTH, "version": "aes128gcm", **more}
    body: bytes = http_ece.encrypt(data, **options)
    return body


def test_good_bodies() -> None:
    for data in (b"x", b"hello", b"x" * 3993):
        assert decrypted(sealed(data), KEY, AUTH) == data


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"x" * 200, sealed()[:-1], sealed()[:86], sealed() + b"x", sealed(dh=point_of(OTHER)),
        sealed(auth_secret=bytes(16)), sealed(b"x" * 100, rs=50), sealed().replace(b"\x41", b"\x40", 1),
        sealed()[:21] + bytes(65) + sealed()[86:],
    ],
    ids=range(11),  # not by their bytes, which are other ones each time
)  # fmt: skip
def test_bad_bodies(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        decrypted(body, KEY, AUTH)
    assert refused.value.status == 400


def test_base64url() -> None:
    for length in range(6):
        data = bytes(range(250, 250 + length))
        assert from_base64url(base64url(data)) == from_base64url(base64url(data) + "==") == data
