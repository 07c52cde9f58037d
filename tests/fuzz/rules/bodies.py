"""What a publish call may be, said once more: which fields of a body are wrong."""

from collections.abc import Iterator
from typing import Any

from tests.fuzz.rules.channels import LETTERS, read_name
from tests.fuzz.rules.documents import count_keys, depth

DEPTH, KEYS = 6, 40
LONGEST_TTL = 366 * 86400
FIELDS = (
    "to", "notification", "id", "priority", "persistence", "ttl", "collapse_key", "group", "deliver_at",
)  # fmt: skip
PRIORITIES = ("critical", "important", "informational")
PERSISTENCES = ("ephemeral", "bufferable", "persistent")
TYPES = {"security_alert": ("critical", "persistent"), "typing": ("informational", "ephemeral")}
"""Types with a table of their own in this hub's config: their priority and their persistence."""
OTHER_TYPES = ("important", "bufferable")
IN_IDS = (LETTERS | {":"}) - set("@|+=")


def wrong_fields(body: Any) -> set[str]:
    """The names of the body's fields that are wrong; an empty name stands for the body itself."""
    if not isinstance(body, dict):
        return {""}
    checks = {
        "to": _channels, "id": _id, "ttl": _ttl, "collapse_key": _word, "group": _word,
        "priority": lambda value: value is None or value in PRIORITIES,
        "persistence": lambda value: value is None or value in PERSISTENCES,
        "deliver_at": lambda value: value is None,
    }  # fmt: skip
    wrong = {name for name in body if name not in FIELDS}
    wrong |= {name for name, check in checks.items() if name in body and not check(body[name])}
    wrong |= {name for name in ("to", "notification") if name not in body}
    payload = body.get("notification")
    if "notification" in body and any(_wrong_in_payload(payload)):
        wrong.add("notification")
    if decided(body) == ("critical", "ephemeral"):
        wrong.add("persistence")
    return wrong


def decided(body: dict[str, Any]) -> tuple[Any, Any]:
    """Priority and persistence, as the call says or else as its type does."""
    payload = body.get("notification")
    type_ = payload.get("type") if isinstance(payload, dict) else None
    by_type: tuple[Any, Any] = TYPES.get(type_, OTHER_TYPES) if isinstance(type_, str) else (None, None)
    said = (body.get("priority"), body.get("persistence"))
    return said[0] if said[0] is not None else by_type[0], said[1] if said[1] is not None else by_type[1]


def _channels(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not 1 <= len(names) <= 10_000:
        return False
    return all(isinstance(name, str) and read_name(name) for name in names)


def _id(value: Any) -> bool:
    return value is None or (isinstance(value, str) and 1 <= len(value) <= 128 and set(value) <= IN_IDS)


def _ttl(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_TTL


def _word(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, str) and 1 <= len(value) <= 128 and not any(one < " " or one == "\x7f" for one in value)


def _wrong_in_payload(payload: Any) -> Iterator[bool]:
    if not isinstance(payload, dict):
        yield True
        return
    type_ = payload.get("type")
    yield not (isinstance(type_, str) and 1 <= len(type_) <= 128)
    for key in payload:
        yield key in ("id", "channel", "priority", "sent_at", "cursor", "from")
        yield key.startswith(("hub", "_"))
    yield depth(payload) > DEPTH + 1
    yield count_keys(payload) > KEYS
