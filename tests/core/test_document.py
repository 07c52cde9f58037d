"""Documents: JSON and msgpack of strangers, each refusal with its code, and both saying the same."""

import json
import math
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.codec import Encoding
from hubd.core.document import check_size, read_document
from hubd.core.errors import Problem


def refusal(data: bytes, encoding: Encoding) -> tuple[str, str]:
    """The code and the message with which it is refused."""
    with pytest.raises(Problem) as caught:
        read_document(data, encoding)
    return caught.value.code, caught.value.message


# --- What is taken

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


@given(values)
def test_json_and_msgpack_say_the_same(value: Any) -> None:
    assert read_document(json.dumps(value).encode(), "json") == value
    assert read_document(json.dumps(value, ensure_ascii=False).encode(), "json") == value
    assert read_document(msgpack.packb(value), "msgpack") == value


@given(values)
def test_what_is_taken_can_be_written_again(value: Any) -> None:
    taken = read_document(msgpack.packb(value), "msgpack")
    assert read_document(orjson.dumps(taken), "json") == taken


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1), ("-9223372036854775808", -(2**63)), ("-0", 0), ("1e3", 1000.0),
        ("1.7976931348623157e308", 1.7976931348623157e308), ("5e-324", 5e-324), (" \t\r\n{} \n", {}), ('""', ""),
        (r'"\ud83d\ude00"', "😀"), (r'"\u0000"', "\x00"), (r'"\\ud800"', r"\ud800"), ('"\u2028"', "\u2028"),
        (r'{"\u0061": 1}', {"a": 1}), ('{"": {"": []}}', {"": {"": []}}),
    ],
)  # fmt: skip
def test_json_at_its_edges(text: str, value: Any) -> None:
    found = read_document(text.encode(), "json")
    assert found == value and type(found) is type(value)


# --- What doesn't parse


@pytest.mark.parametrize(
    "data",
    [
        b"", b" ", b"{", b"[1,]", b"{'a': 1}", b'{"a" 1}', b"nul", b"True", b"01", b"+1", b".5", b"1.", b"0x10", b"1 2",
        b'{"a": 1} x', b'"a\x01b"', b'"\t"', b'"\\x41"', b'"abc', b"// a\n1", b"\xef\xbb\xbf{}", b"\xff", b"\xc0\x80",
        b'"\xed\xa0\x80"', b"\xfe\xff\x00{\x00}", b"-NaN", b"\x00",
    ],
)  # fmt: skip
def test_what_is_no_json(data: bytes) -> None:
    assert refusal(data, "json")[0] == "invalid_body"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x01\x02", b"\x92\x01", b"\x81\xa1a", b"\xa3ab", b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\x81\xa1\xff\x01",
    ],
)  # fmt: skip
def test_what_is_no_msgpack(data: bytes) -> None:
    assert refusal(data, "msgpack")[0] == "invalid_body"


def test_the_place_of_a_fault_is_told() -> None:
    assert refusal(b'{"a": 1,\n "b": x}', "json")[1].endswith("(line 2, column 7)")
    assert refusal(b'"ab\xff"', "json")[1].endswith("(byte 3)")


# --- What has no one meaning


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "b": 2, "b": 1}', "'b' stands twice"),
        ('[{"x": {"": 1, "": 2}}]', "'' stands twice"),
        (r'{"a": 1, "\u0061": 2}', "'a' stands twice"),
        ("NaN", "NaN"), ("[Infinity]", "Infinity"), ('{"a": -Infinity}', "-Infinity"),
        ("1e309", "too large"), ("[-1e999]", "too large"),
        ("18446744073709551616", "64 bits"), ("-9223372036854775809", "64 bits"), ("1" * 5000, "64 bits"),
        ("-" + "1" * 5000, "64 bits"),
        (r'"\ud800"', "surrogate"), (r'"\udfffx"', "surrogate"), (r'{"\uD800": 1}', "surrogate"),
        (r'[["\ud83d\u0041"]]', "surrogate"), (r'"\ude00\ud83d"', "surrogate"),
    ],
)  # fmt: skip
def test_json_that_is_refused(text: str, why: str) -> None:
    code, message = refusal(text.encode(), "json")
    assert code == "invalid"
    assert why in message


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\x83\xa1b\x01\xa1a\x01\xa1a\x02", "'a' stands twice"),
        (b"\x81\x01\x02", "no string"), (b"\x81\xc0\x02", "no string"), (b"\x81\xc3\x02", "no string"),
        (b"\x81\xcb\x7f\xf8" + bytes(6) + b"\x01", "no string"), (b"\x81\xc4\x01a\x01", "no string"),
        (b"\x81\x91\x01\x01", "no string"), (b"\x81\x80\x01", "no string"), (b"\x91\x81\x01\x01", "no string"),
        (msgpack.packb(b"bytes"), "bin"), (msgpack.packb({"a": [b""]}), "bin"),
        (msgpack.packb(msgpack.Timestamp(1, 2)), "timestamps"),
        (msgpack.packb([msgpack.ExtType(5, b"x")]), "extension"),
        (b"\x81\xd6\xff" + bytes(4) + b"\x01", "no string"),
        (msgpack.packb([math.nan]), "nan"), (msgpack.packb({"a": math.inf}), "inf"), (msgpack.packb(-math.inf), "inf"),
        (msgpack.packb(math.inf, use_single_float=True), "inf"),
    ],
)  # fmt: skip
def test_msgpack_that_is_refused(value: bytes, why: str) -> None:
    code, message = refusal(value, "msgpack")
    assert code == "invalid"
    assert why in message


def test_a_message_repeats_no_endless_key() -> None:
    assert len(refusal(b'{"%s": 1, "%s": 2}' % (b"x" * 10_000, b"x" * 10_000), "json")[1]) < 200


@pytest.mark.parametrize("depth", [1_500, 10_000, 200_000])
def test_what_is_nested_too_deep_to_be_read(depth: int) -> None:
    assert refusal(b"[" * depth + b"]" * depth, "json") == ("invalid", "nested too deep")
    assert refusal(b'{"a":' * depth + b"1" + b"}" * depth, "json") == ("invalid", "nested too deep")
    assert refusal(b"\x91" * depth + b"\x01", "msgpack") == ("invalid", "nested too deep")
    assert refusal(b"\x81\xa1a" * depth + b"\x01", "msgpack") == ("invalid", "nested too deep")


def test_deep_msgpack_that_could_be_read_is_refused_too() -> None:
    for depth in (129, 511, 512, 513):
        assert refusal(b"\x91" * depth + b"\x01", "msgpack") == ("invalid", "nested too deep")
        assert refusal(b"\x81\xa1a" * depth + b"\x01", "msgpack") == ("invalid", "nested too deep")
    read_document(b"\x91" * 50 + b"\x01", "msgpack")
    read_document(b"\x81\xa1a" * 50 + b"\x01", "msgpack")


def test_half_a_surrogate_pair_is_found_however_deep_it_is() -> None:
    for depth in range(100, 1_000, 7):
        assert refusal(b"[" * depth + rb'"\ud800"' + b"]" * depth, "json")[0] == "invalid"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for encoding in ("json", "msgpack"):
        try:
            value = read_document(data, encoding)  # type: ignore[arg-type]
        except Problem as problem:
            assert problem.code in ("invalid", "invalid_body")
        else:
            assert read_document(orjson.dumps(value), "json") == value


# --- How large a document is


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": [value]}
    return value


def naive_depth(value: Any) -> int:
    """How many objects and lists stand around the innermost value, the outermost one not counted."""
    if not isinstance(value, dict | list):
        return -1
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max((naive_depth(one) for one in inner), default=-1)


def naive_keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(naive_keys, value.values()))
    return sum(map(naive_keys, value)) if isinstance(value, list) else 0


def test_nesting_is_limited() -> None:
    assert check_size({"a": 1.5}, 0, 10) is None
    assert check_size({"a": [1.5, "x"]}, 1, 10) is None
    assert check_size({"a": {"b": {}}}, 2, 10) is None
    assert check_size({"a": {"b": {}}}, 1, 10) == "nested deeper than 1 levels"
    assert check_size(nested(500), 16, 1000) == "nested deeper than 16 levels"


def test_keys_are_counted_over_all_levels() -> None:
    value = {"a": 1, "b": [{"c": 1}, {"d": {"e": 1}}]}
    assert check_size(value, 9, 5) is None
    assert check_size(value, 9, 4) == "more than 4 keys"
    assert check_size([{}] * 1000, 9, 0) is None


@given(values, st.integers(0, 6), st.integers(0, 8))
def test_sizes_against_the_naive_ones(value: Any, depth: int, keys: int) -> None:
    fits = naive_depth(value) <= depth and naive_keys(value) <= keys
    assert (check_size(value, depth, keys) is None) is fits
