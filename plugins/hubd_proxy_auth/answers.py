"""What the application can answer, read with distrust: what isn't right in every field lets nobody in."""

import difflib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hubd.plugin import Answer, identity_of

ANSWER_BYTES = 65_536
"""The longest answer that is read."""
TEXT_CHARS = 200
LONGEST_S = 10 * 365 * 86400.0
"""The longest ``expires_in``: what is beyond is a mistake, mostly a time instead of a duration."""
LISTED = 1000


class Unusable(Exception):
    """The application didn't answer, or not as it has to. The message says why, and holds nothing that is secret."""


@dataclass(frozen=True, slots=True)
class Known:
    """The application knows who it is. ``expires_in``: for how long (seconds), None without an end."""

    user: str
    topics: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    max_priority: str = "important"
    tags: tuple[str, ...] = ()
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """The application doesn't let him in; ``reason`` may be empty."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotMine:
    """The application doesn't know what he brought: it may be something of the hub's own."""


Decision = Known | Denied | NotMine


def read_answer(answer: Answer) -> Decision:
    """What the application decided; ``Unusable`` when that can't be told for sure."""
    if answer.status == 200:
        return _known(_document(answer.body))
    if answer.status == 204:
        return NotMine()
    if answer.status in (401, 403):
        return Denied(_reason(answer.body))
    raise Unusable(f"status {answer.status}, where 200, 204, 401 or 403 is expected")


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise Unusable("the body is not UTF-8") from None
    except RecursionError:
        raise Unusable("the body is nested too deep") from None
    except json.JSONDecodeError as error:
        raise Unusable(f"the body is not JSON (line {error.lineno}, column {error.colno})") from None
    except ValueError:
        raise Unusable("the body has a number that is too long") from None
    if not isinstance(found, dict):
        raise Unusable('the body is no object, such as {"user": "42"}')
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unusable("a key stands twice in the body")
    return found


def _no_number(text: str) -> Any:
    raise Unusable(f"{text} is no JSON")


def _known(fields: dict[str, Any]) -> Known:
    if "user" not in fields:
        raise Unusable("user: is missing")
    for name in fields:
        if name not in _READ:
            near = difflib.get_close_matches(name, _READ, 1)
            raise Unusable(f"a field is unknown: did you mean {near[0]}?" if near else "a field is unknown")
    known = Known(**{name: _READ[name](name, value) for name, value in fields.items()})
    try:
        identity_of(known.user, topics=known.topics, publish=known.publish, max_priority=known.max_priority)
    except ValueError as error:
        raise Unusable(str(error)) from None
    return known


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _is_plain(value):
        raise Unusable(f"{name}: has to be a text in quotes, of up to {TEXT_CHARS} printable characters")
    return value


def _is_plain(text: str) -> bool:
    return len(text) <= TEXT_CHARS and text.isprintable()


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or len(value) > LISTED
        or not all(isinstance(one, str) and _is_plain(one) for one in value)
    ):
        raise Unusable(f"{name}: has to be a list of up to {LISTED} texts of up to {TEXT_CHARS} printable characters")
    return tuple(value)


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(f"{name}: has to be a number of seconds")
    if not 0 < value <= LONGEST_S:
        raise Unusable(f"{name}: has to be a number of seconds from now, more than 0 and up to 10 years")
    return float(value)


_READ: dict[str, Callable[[str, Any], Any]] = {
    "user": _text,
    "topics": _texts,
    "publish": _texts,
    "max_priority": _text,
    "tags": _texts,
    "expires_in": _seconds,
}


def _reason(body: bytes) -> str:
    """Why somebody isn't let in, in the application's words, if it gave any that can be shown."""
    try:
        reason = _document(body).get("reason")
    except Unusable:
        return ""
    return reason if isinstance(reason, str) and _is_plain(reason) else ""


def described(decision: Decision) -> Iterable[str]:
    """What it means, in lines for people."""
    match decision:
        case Known():
            yield f"known: user {decision.user}"
            yield f"topics: {', '.join(decision.topics) or 'none'}"
            yield f"publish: {', '.join(decision.publish) or 'none'}, up to priority {decision.max_priority}"
            yield f"tags: {', '.join(decision.tags) or 'none'}"
            yield "expires: never" if decision.expires_in is None else f"expires: in {decision.expires_in:g} s"
        case Denied():
            yield f"denied: {decision.reason or 'without a reason'}"
        case NotMine():
            yield "not known here: the hub's own tokens are tried next"
