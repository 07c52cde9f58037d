"""Reads what strangers send, JSON or msgpack, and refuses what has no one meaning."""

import json
import math
from collections.abc import Iterable
from itertools import chain
from typing import Any, NoReturn

import msgpack
import orjson

from hubd.core.codec import Encoding
from hubd.core.errors import FieldError, Problem, invalid

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_NESTING = 128  # what a decoder may nest before the caller's own, smaller limit is applied
_QUICK_BYTES, _QUICK_NESTING = 1 << 20, 32
"""What orjson is tried with first."""
_LARGE_FLOAT = 2.0**63
_SIMPLE = frozenset((int, str, bool, type(None)))
_LARGE_INTEGER = "an integer has more than 64 bits"
_CONTAINERS = frozenset((list, tuple))
_CONTAINERS_READ = frozenset((list, dict))
_KNOWN = frozenset((str, bool, type(None), int, float, *_CONTAINERS))


def _wrong(message: str) -> NoReturn:
    raise invalid([FieldError("", message)])


def _constant(word: str) -> NoReturn:
    _wrong(f"{word} is no JSON number")


# With a type as the hook, nothing of ours is called while this parses, however many objects there are.
_decoder = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_constant)


def read_document(data: bytes, encoding: Encoding) -> Any:
    """The value of a document.

    Raises ``Problem``: 'invalid_body' when it doesn't parse; 'invalid' for duplicate or non-string keys, NaN and
    infinities, integers beyond 64 bits, lone surrogates, and msgpack's bin and ext. Depth and number of keys are the
    caller's to check, by ``check_size``.
    """
    return _read_json(data) if encoding == "json" else _read_msgpack(data)


def _read_json(data: bytes) -> Any:
    if len(data) <= _QUICK_BYTES:
        try:
            value = orjson.loads(data)
            if _count_keys(value, _QUICK_NESTING) == _count_colons(data):
                return value
        except ValueError:
            pass
    return _read_any_json(data)


def _count_keys(value: Any, depth: int) -> int:
    """How many keys what orjson has read has in all; ``ValueError`` if it may not be what was written."""
    count = 0
    values: Iterable[Any] = (value,)
    if value.__class__ is dict:
        count, values = len(value), value.values()
    elif value.__class__ is list:
        if _SIMPLE.issuperset(map(type, value)):
            return 0
        values = value
    for inner in values:
        kind = inner.__class__
        if kind is dict or kind is list:
            if not depth:
                raise ValueError("too deep for the quick way")
            count += _count_keys(inner, depth - 1)
        elif kind is float and not -_LARGE_FLOAT < inner < _LARGE_FLOAT:
            raise ValueError("orjson makes floats of integers that are too large")
    return count


def _count_colons(data: bytes) -> int:
    """How many colons may stand behind a key; as many as there are keys: then none of them stood twice in an object.

    Within a string, one more may look like it.
    """
    if b" :" in data or b"\n:" in data or b"\t:" in data or b"\r:" in data:
        raise ValueError("a colon that doesn't follow its key at once")
    return data.count(b'":')


def _read_any_json(data: bytes) -> Any:
    """The long way, which can say what is wrong."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem("invalid_body", f"the body is not UTF-8 (byte {error.start})") from None
    try:
        value = _finished(_decoder.decode(text))
    except json.JSONDecodeError as error:
        raise Problem("invalid_body", f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        _wrong("nested too deep")
    except ValueError:  # Python converts only so many digits
        _wrong(_LARGE_INTEGER)
    if "\\u" in text and ("\\ud" in text or "\\uD" in text):
        _refuse_surrogates(value)
    return value


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        _wrong("a string has half a surrogate pair")


def _extension(code: int, data: bytes) -> NoReturn:
    _wrong(f"msgpack extension type {code} has no JSON meaning")


def _read_msgpack(data: bytes) -> Any:
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=False, object_pairs_hook=tuple, ext_hook=_extension)
    except Problem:
        raise
    except msgpack.exceptions.StackError:
        _wrong("nested too deep")
    except Exception:  # msgpack raises ValueError and several classes of its own for a body that doesn't parse
        raise Problem("invalid_body", "the body is not one msgpack value") from None
    return _finished(value)


def _finished(parsed: Any) -> Any:
    """The value of what a parser gave, in which objects are still tuples of pairs (and lists are lists).

    What has no one meaning is refused. A body may have as many elements as bytes, and half as many containers: so this
    goes level by level, with hardly any Python code for each of them.
    """
    outermost = [parsed]
    lists: list[list[Any]] = [outermost]
    dicts: list[dict[Any, Any]] = []
    for _ in range(_NESTING + 1):
        values = [*chain.from_iterable(lists), *chain.from_iterable([found.values() for found in dicts])]
        kinds = set(map(type, values))
        _check_scalars(values, kinds)
        if kinds.isdisjoint(_CONTAINERS):
            return outermost[0]
        if tuple in kinds:
            dicts = _make_dicts(lists, dicts)
            _check_keys(dicts)
        else:
            dicts = []
        lists = [value for value in filter(None, values) if value.__class__ is list] if list in kinds else []
    _wrong("nested too deep")


def _check_scalars(values: list[Any], kinds: set[type]) -> None:
    if not kinds <= _KNOWN:
        _wrong("msgpack bin and timestamps have no JSON meaning; send a string")
    if int in kinds:
        integers = [value for value in values if value.__class__ is int]
        if min(integers) < _INT_MIN or max(integers) > _INT_MAX:
            _wrong(_LARGE_INTEGER)
    if float in kinds:
        for value in [value for value in values if value.__class__ is float and not math.isfinite(value)]:
            _wrong(f"{value} is no JSON number" if math.isnan(value) else f"a number is too large ({value})")


def _make_dicts(lists: list[list[Any]], dicts: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
    """Put dicts where pairs stand in these lists and dicts; those that aren't empty."""
    made = []
    places: list[tuple[Any, Iterable[tuple[Any, Any]]]] = [(found, enumerate(found)) for found in lists]
    places += [(found, found.items()) for found in dicts]
    for container, items in places:
        for place, pairs in items:
            if pairs.__class__ is not tuple:
                continue
            container[place] = found = _dict(pairs) if pairs else {}
            if found:
                made.append(found)
    return made


def _dict(pairs: tuple[tuple[Any, Any], ...]) -> dict[Any, Any]:
    try:
        found = dict(pairs)
    except TypeError:
        _wrong("a key is no string")
    if len(found) != len(pairs):
        seen: set[Any] = set()
        for key, _ in pairs:
            if key in seen:
                _wrong(f"the key {str(key)[:64]!r} stands twice in one object")
            seen.add(key)
    return found


def _check_keys(dicts: list[dict[Any, Any]]) -> None:
    if set(map(type, chain.from_iterable(dicts))) <= {str}:
        return
    for key in chain.from_iterable(dicts):
        if key.__class__ is not str:
            _wrong(f"the key {str(key)[:64]!r} is no string")


def check_size(value: Any, depth: int, keys: int) -> str | None:
    """What is wrong with a document's size: over ``keys`` keys, or more than ``depth`` levels inside the outermost."""
    if value.__class__ is dict and _CONTAINERS_READ.isdisjoint(map(type, value.values())):  # the usual case
        return None if len(value) <= keys else f"more than {keys} keys"
    left = keys
    level: list[Any] = [value]
    for levels_left in range(depth, -1, -1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                left -= len(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if left < 0:
            return f"more than {keys} keys"
        if not levels_left:
            break
        # An empty one has nothing in it to go down to; there may be as many of them as bytes.
        level = [item for item in filter(None, inner) if item.__class__ in (dict, list)]
        if not level:
            return None
    return None if _CONTAINERS_READ.isdisjoint(map(type, inner)) else f"nested deeper than {depth} levels"
