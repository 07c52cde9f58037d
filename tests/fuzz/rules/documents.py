"""What a document may be, said once more: recursive, slow, and without any of the hub's own code."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import msgpack

DEEPEST = 128  # containers inside one another; each caller has a smaller limit of its own
DIGITS = 25  # more than any integer of 64 bits has


class Refused(Exception):
    """This is no document; the code that the refusal has to have."""

    @property
    def code(self) -> str:
        return str(self.args[0])


class TwoMeanings(Exception):
    """A value that parsed, but that means nothing or two things."""


class _Pairs(list[tuple[Any, Any]]):
    """An object as it was written."""


class _Number(str):
    """An integer as it was written."""


def read(data: bytes, encoding: str) -> Any:
    """The value of a document, or ``Refused``."""
    parsed = _parse_json(data) if encoding == "json" else _parse_msgpack(data)
    if depth(parsed) > DEEPEST:
        raise Refused("invalid")
    try:
        return _value(parsed)
    except TwoMeanings:
        raise Refused("invalid") from None


def _parse_json(data: bytes) -> Any:
    def no_number(word: str) -> NoReturn:
        raise Refused("invalid")

    try:
        return json.loads(data.decode(), object_pairs_hook=_Pairs, parse_int=_Number, parse_constant=no_number)
    except RecursionError:
        raise Refused("invalid") from None
    except ValueError:
        raise Refused("invalid_body") from None


def _parse_msgpack(data: bytes) -> Any:
    def no_extension(code: int, content: bytes) -> NoReturn:
        raise Refused("invalid")

    try:
        return msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=_Pairs, ext_hook=no_extension)
    except Refused:
        raise
    except msgpack.StackError:
        raise Refused("invalid") from None
    except Exception:
        raise Refused("invalid_body") from None


def _value(parsed: Any) -> Any:
    match parsed:
        case _Pairs():
            return _object(parsed)
        case list():
            return [_value(one) for one in parsed]
        case None | bool():
            return parsed
        case _Number():
            return _integer(int(parsed)) if len(parsed) <= DIGITS else _refuse()
        case str():
            return _text(parsed)
        case int():
            return _integer(parsed)
        case float():
            return parsed if math.isfinite(parsed) else _refuse()
    return _refuse()


def _object(pairs: _Pairs) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if type(key) is not str or key in found:
            _refuse()
        found[_text(key)] = _value(value)
    return found


def _text(text: str) -> str:
    return text if not any("\ud800" <= letter <= "\udfff" for letter in text) else _refuse()


def _integer(number: int) -> int:
    return number if -(2**63) <= number < 2**64 else _refuse()


def _refuse() -> NoReturn:
    raise TwoMeanings


def depth(value: Any) -> int:
    """How many containers are inside one another; 0 for what is no container."""
    deepest = 0
    level: list[Any] = [value]
    while level := [one for one in level if isinstance(one, list | dict)]:
        deepest += 1
        level = [one for container in level for one in inside(container)]
    return deepest


def inside(container: Any) -> Iterable[Any]:
    if isinstance(container, _Pairs):
        return [value for _, value in container]
    return container.values() if isinstance(container, dict) else container


def count_keys(value: Any) -> int:
    """How many keys there are over all levels."""
    if isinstance(value, dict):
        return len(value) + sum(map(count_keys, value.values()))
    return sum(map(count_keys, value)) if isinstance(value, list) else 0


def texts(value: Any) -> Iterator[str]:
    """Every text in a value that isn't a key."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in inside(value):
            yield from texts(one)
