"""The cursor: what is written can be read, and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.cursor import Cursor, read_cursor

epochs = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=10, max_size=10)


@given(epochs, st.integers(0, 10**18 - 1))
def test_it_is_read_as_it_was_written(epoch: str, sequence: int) -> None:
    cursor = Cursor(epoch, sequence)
    assert read_cursor(str(cursor)) == cursor
    assert re.fullmatch(r"[A-Za-z0-9._~-]{1,64}", str(cursor)), "what the wire allows"


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "0", "abcdefghij", "abcdefghij-", "abcdefghij--1", "abcdefghij-01", "abcdefghij-+1", "abcdefghij-1 ",
        " abcdefghij-1", "abcdefghij-1\n", "abcdefghij-1.0", "abcdefghij-1e3", "abcdefghij-x", "abcdefghi-1",
        "abcdefghijk-1", "ABCDEFGHIJ-1", "abcdefghij_1", "abcdefghij-1-1", "abcdefghij-१", "abcdefghiй-1",
        "abcdefghij-1" + "0" * 18, "null", "*",
    ],
)  # fmt: skip
def test_everything_else_is_none(text: str) -> None:
    assert read_cursor(text) is None


@given(st.text())
def test_what_can_be_read_has_one_spelling(text: str) -> None:
    cursor = read_cursor(text)
    assert cursor is None or str(cursor) == text
