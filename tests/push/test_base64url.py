"""base64url from outside."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.push.base64url import decoded


@given(st.binary(min_size=1, max_size=100))
def test_what_is_written_as_it_should_be_is_read(data: bytes) -> None:
    assert decoded(base64.urlsafe_b64encode(data).decode().rstrip("=")) == data


@pytest.mark.parametrize("text", ["", "A", "AA==", "A A", "AB", "A+/A", "AAA\n", "ключ", "AA!A", "AAAAA"])
def test_what_is_written_otherwise_is_nothing(text: str) -> None:
    assert decoded(text) == b""
