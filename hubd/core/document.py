"""Reads what strangers send, JSON or msgpack, and refuses what has no one meaning."""

import json
import math
from typing import Any, NoReturn

import msgpack

from hubd.core.codec import Encoding
from hubd.core.errors import FieldError, Problem, invalid

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_NESTING = 64  # what a decoder may nest before the caller's own, smaller limit is applied
_JSON_INT_DIGITS = 20


def _wrong(message: str) -> NoReturn:
    raise invalid([FieldError("", message)])


def _object(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[Any] = set()
        for key, _ in pairs:
            if key in seen:
                _wrong(f"the key {str(key)[:64]!r} stands twice in one object")
            seen.add(key)
    return found


def _integer(digits: str) -> int:
    if len(digits) <= _JSON_INT_DIGITS + 1 and _INT_MIN <= (value := int(digits)) <= _INT_MAX:
        return value
    _wrong("an integer has more than 64 bits")


def _float(digits: str) -> float:
    if math.isfinite(value := float(digits)):
        return value
    _wrong("a number is too large")


def _constant(word: str) -> NoReturn:
    _wrong(f"{word} is no JSON number")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def read_document(data: bytes, encoding: Encoding) -> Any:
    """The value of a document.

    Raises ``Problem``: 'invalid_body' when it doesn't parse; 'invalid' for duplicate or non-string keys, NaN and
    infinities, integers beyond 64 bits, lone surrogates, and msgpack's bin and ext. Depth and number of keys are the
    caller's to check, by ``check_size``.
    """
    return _read_json(data) if encoding == "json" else _read_msgpack(data)


def _read_json(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem("invalid_body", f"the body is not UTF-8 (byte {error.start})") from None
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise Problem("invalid_body", f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        _wrong("nested too deep")
    if "\\u" in text and ("\\ud" in text or "\\uD" in text):
        _refuse_surrogates(value)
    return value


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        _wrong("a string has half a surrogate pair")
    except RecursionError:
        _wrong("nested too deep")


def _extension(code: int, data: bytes) -> NoReturn:
    _wrong(f"msgpack extension type {code} has no JSON meaning")


def _read_msgpack(data: bytes) -> Any:
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=False, object_pairs_hook=_object, ext_hook=_extension)
    except Problem:
        raise
    except TypeError:
        _wrong("a key is no string")
    except msgpack.exceptions.StackError:
        _wrong("nested too deep")
    except Exception:  # msgpack raises ValueError and several classes of its own for a body that doesn't parse
        raise Problem("invalid_body", "the body is not one msgpack value") from None
    _check_msgpack(value, _NESTING)
    return value


def _check_msgpack(value: Any, depth: int) -> None:
    """What msgpack can say and JSON can't."""
    if isinstance(value, dict):
        if depth == 0:
            _wrong("nested too deep")
        for key, inner in value.items():
            if not isinstance(key, str):
                _wrong(f"the key {str(key)[:64]!r} is no string")
            _check_msgpack(inner, depth - 1)
    elif isinstance(value, list):
        if depth == 0:
            _wrong("nested too deep")
        for inner in value:
            _check_msgpack(inner, depth - 1)
    elif isinstance(value, (bytes, msgpack.Timestamp)):
        _wrong("msgpack bin and timestamps have no JSON meaning; send a string")
    elif isinstance(value, float) and not math.isfinite(value):
        _wrong(f"{value} is no JSON number")


def check_size(value: Any, depth: int, keys: int) -> str | None:
    """What is wrong with a document's size: over ``keys`` keys, or more than ``depth`` levels inside the outermost."""
    left = keys
    level: list[Any] = [value]
    for _ in range(depth + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                left -= len(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if left < 0:
            return f"more than {keys} keys"
        level = [item for item in inner if isinstance(item, (dict, list))]
        if not level:
            return None
    return f"nested deeper than {depth} levels"
