"""What a client may say, said once more: the table of actions, field by field."""

from collections.abc import Callable
from typing import Any

from tests.fuzz.rules.documents import count_keys, depth

DEPTH, KEYS = 16, 256
Check = Callable[[Any], bool]


def text(shortest: int, longest: int) -> Check:
    return lambda value: isinstance(value, str) and shortest <= len(value) <= longest


def texts(shortest: int, longest: int) -> Check:
    name = text(1, 256)
    return lambda value: isinstance(value, list) and shortest <= len(value) <= longest and all(map(name, value))


def is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


TOPICAL: dict[str, Check] = {
    "topic": or_none(text(1, 256)),
    "topics": or_none(texts(1, 1000)),
    "durable": is_bool,
}
FIELDS: dict[str, dict[str, Check]] = {
    "auth": {"token": text(1, 8192)},
    "subscribe": {**TOPICAL, "cursor": or_none(lambda value: isinstance(value, str))},
    "unsubscribe": TOPICAL,
    "ack": {"id": or_none(text(1, 256)), "ids": or_none(texts(0, 1000))},
    "visibility": {"state": lambda value: value in ("visible", "hidden")},
    "presence": {"topic": text(1, 256), "watch": or_none(is_bool)},
    "publish": {},
    "ping": {},
    "pong": {},
}
REQUIRED = {"auth": ["token"], "visibility": ["state"], "presence": ["topic"]}
ONE_OF = {"subscribe": ("topic", "topics"), "unsubscribe": ("topic", "topics"), "ack": ("id", "ids")}


def refusal(message: Any) -> str | None:
    """The code with which a decoded message has to be refused; None: it is an action."""
    if not isinstance(message, dict) or not (usable(message.get("ref")) and isinstance(message.get("action"), str)):
        return "invalid"
    word = message["action"]
    if word not in FIELDS:
        return "unknown_action"
    if word == "publish":
        return None
    given = {name: value for name, value in message.items() if name not in ("action", "ref")}
    fine = (
        depth(message) <= DEPTH + 1
        and count_keys(message) <= KEYS
        and all(name in FIELDS[word] and FIELDS[word][name](value) for name, value in given.items())
        and all(name in given for name in REQUIRED.get(word, ()))
    )
    if fine and word in ONE_OF:
        fine = len([name for name in ONE_OF[word] if given.get(name) is not None]) == 1
    return None if fine else "invalid"


def usable(ref: Any) -> bool:
    if isinstance(ref, str):
        return len(ref) <= 256
    return ref is None or (isinstance(ref, int | float) and not isinstance(ref, bool))
