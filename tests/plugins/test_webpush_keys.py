"""Keys and their names."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, SECP256R1, generate_private_key
from hubd_webpush.keys import base64url, checked_base64url, from_base64url, is_point, key_id, read_key
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.webpush_world import PEM, pem, pem_of, point_of


def test_a_key_has_a_public_half_and_a_short_name() -> None:
    key = generate_private_key(SECP256R1())
    found = read_key(pem_of(key).encode())
    assert found.public == base64url(point_of(key)) and found.id == key_id(point_of(key))
    assert len(found.id) == 16 and f"{found!r}" == f"VapidKey({found.id})"
    assert len({read_key(pem().encode()).id for _ in range(20)}) == 20
    assert read_key(PEM.encode()).id == read_key(PEM.encode()).id


@given(st.binary(max_size=100))
def test_base64url_there_and_back(data: bytes) -> None:
    text = base64url(data)
    assert "=" not in text
    padded = text + "=" * (-len(text) % 4)
    assert from_base64url(text) == from_base64url(padded) == checked_base64url(text) == data


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=AA", "AAAA===", "AA+/", "A A=", "AB", "ÄÖ", "AAAA\n", "!AAAA"])
def test_what_is_no_base64url(text: str) -> None:
    with pytest.raises(ValueError):
        from_base64url(text)


def test_points() -> None:
    good = point_of(generate_private_key(SECP256R1()))
    assert is_point(good)
    other_curve = point_of(generate_private_key(SECP256K1()))
    compressed = bytes([2]) + good[1:33]
    bad = [b"", good[:-1], good + b"x", b"\x04" + bytes(64), b"\x05" + good[1:], compressed, other_curve, b"\x00"]
    assert [is_point(data) for data in bad] == [False] * len(bad)
