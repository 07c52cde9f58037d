"""Publish bodies: any document either is refused, with every wrong field named, or goes through the whole codec."""

from typing import Any

import msgpack
import orjson

from hubd.core.codec import Form, frame_of, notification_json
from hubd.core.document import read_document
from hubd.core.errors import ERRORS, Problem
from hubd.core.notification import PRIORITY_OF, Notification, Persistence
from hubd.core.publish import Bounds, Draft, TypeDefaults, read_draft
from tests.docs import PROTOCOL, blocks
from tests.fuzz.rules import bodies as rules
from tests.fuzz.rules.channels import read_name
from tests.fuzz.target import Target, timed
from tests.fuzz.targets.documents import check_problem, mutator, read, seeds_of

MESSAGE_BYTES = 1024
BOUNDS = Bounds(MESSAGE_BYTES, rules.DEPTH, rules.KEYS)
KEYS = (*rules.FIELDS, "type", "title", "url", "a", "from", "hub_x", "_x", "channel", "sent_at", "cursor", "segment")
WORDS = (
    *rules.PRIORITIES, *rules.PERSISTENCES, *rules.TYPES, "alert", "notifications", "user:42", "user:42:notifications",
    "team:engineering", "hub:x", "order-1234", "a" * 64, "a" * 65, ":".join(["a"] * 6), ":".join(["a"] * 7),
)  # fmt: skip
JSON_FORM = Form("fuzzed json", "json", lambda data, cursor: data)
MSGPACK_FORM = Form("fuzzed msgpack", "msgpack", lambda data, cursor: data)


def defaults(name: str) -> TypeDefaults:
    priority, persistence = rules.TYPES.get(name, rules.OTHER_TYPES)
    return TypeDefaults(PRIORITY_OF[priority], Persistence(persistence), 60.0)


def take(data: bytes) -> None:
    try:
        body = read(data)
    except Problem:
        return
    wrong = rules.wrong_fields(body)
    try:
        draft = timed(read_draft, body, defaults, BOUNDS)
    except Problem as problem:
        check_problem(problem)
        if problem.code == "too_large":
            assert not wrong and len(orjson.dumps(body["notification"])) > MESSAGE_BYTES
            return
        assert problem.code == "invalid"
        named = {error.path.partition(".")[0] for error in problem.errors}
        expected = {name.partition(".")[0] for name in wrong}
        assert named == expected or (len(problem.errors) == ERRORS and named <= expected), f"{named}, not {expected}"
        return
    assert not wrong, f"taken, and wrong in {wrong}"
    check_draft(draft, body)
    check_codec(draft)
    check_fingerprint(draft, body)


def check_draft(draft: Draft, body: dict[str, Any]) -> None:
    """The draft says what the body and the type's defaults say."""
    assert len(orjson.dumps(body["notification"])) <= MESSAGE_BYTES
    names = [body["to"]] if isinstance(body["to"], str) else body["to"]
    found = [read_name(name) for name in names]
    assert [channel.name for channel in draft.channels] == list(dict.fromkeys(name.name for name in found if name))
    assert (draft.priority.word, draft.persistence.value) == rules.decided(body)
    assert draft.ttl_s == (60.0 if body.get("ttl") is None else body["ttl"])
    assert (draft.id, draft.collapse_key, draft.group) == tuple(map(body.get, ("id", "collapse_key", "group")))
    assert draft.payload == body["notification"]


def check_codec(draft: Draft) -> None:
    """What is sent is the payload and the hub's own fields, and the same in both encodings."""
    name = draft.channels[0].name
    notification = Notification(
        id=draft.id or "n1",
        payload=draft.payload,
        channels={channel.name: place for place, channel in enumerate(draft.channels)},
        priority=draft.priority,
        persistence=draft.persistence,
        sent_at=1_800_000_000_000,
        expires_at=draft.ttl_s,
        sender="42",
    )
    notification.cursor = "abcdefghij-5"
    sent = orjson.loads(notification_json(notification, name))
    own = {
        "id": draft.id or "n1", "channel": name, "priority": draft.priority.word, "sent_at": 1_800_000_000_000,
        "cursor": "abcdefghij-5", "from": "42",
    }  # fmt: skip
    assert sent == draft.payload | own
    for form, encoding in ((JSON_FORM, "json"), (MSGPACK_FORM, "msgpack")):
        frame = frame_of(notification, name, form)
        assert b"\n" not in frame or encoding == "msgpack"  # a line of an event stream can't be broken
        assert read_document(frame, encoding) == sent  # type: ignore[arg-type] # one of the two words


def check_fingerprint(draft: Draft, body: dict[str, Any]) -> None:
    """It is the same for the same call however it is written, and another one for another call."""
    mark = draft.fingerprint()
    turned = dict(reversed(body.items())) | {"notification": dict(reversed(body["notification"].items()))}
    turned["to"] = [channel.name for channel in draft.channels]
    again = read_document(msgpack.packb(turned), "msgpack")
    assert timed(read_draft, again, defaults, BOUNDS).fingerprint() == mark
    for other in ({"ttl": draft.ttl_s / 2 + 1.5}, {"group": f"{draft.group}x"[-128:]}, {"to": [*turned["to"], "else"]}):
        if other.get("ttl") != draft.ttl_s and "else" not in turned["to"] and other.get("group") != draft.group:
            assert read_draft(body | other, defaults, BOUNDS).fingerprint() != mark, other


def seeds() -> list[bytes]:
    """The bodies that the protocol's page shows, and some that use every field."""
    found: list[Any] = []
    for block in blocks("json", PROTOCOL) + blocks("http", PROTOCOL):
        start = block.find('{"to"')
        try:
            found.append(orjson.loads(block[max(start, 0) :]))
        except orjson.JSONDecodeError:
            continue
    found += [
        {
            "to": "user:42:notifications",
            "notification": {"type": "alert", "title": "Shipped", "item": {"a": [1, 2.5, None, True]}},
            "id": "order-1234-shipped", "priority": "important", "persistence": "persistent",
            "ttl": 3600, "collapse_key": "order-1234", "group": "orders", "deliver_at": None,
        },
        {"to": ["user:42", "team:engineering", "notifications"], "notification": {"type": "typing"}, "ttl": 0},
        {"to": "a", "notification": {"type": "security_alert"}, "persistence": "ephemeral"},
        {"to": {"segment": "x"}, "notification": {"type": "t", "id": "x", "hub": 1}, "extra": 1, "deliver_at": 5},
        *({"to": "a", "notification": {"type": "t", name: 1}} for name in ("id", "from", "sent_at", "hub", "_x")),
        {"to": "a", "notification": {"type": "t", "a": [[[[[[]]]]]]}},
        {"to": "a", "notification": {"type": "t", **{f"k{number}": number for number in range(rules.KEYS - 1)}}},
        {"to": ["a"] * 101, "notification": {"type": "t", "text": "x" * 900}},
    ]  # fmt: skip
    return seeds_of(found)


TARGET = Target("bodies", take, seeds, mutator(KEYS, WORDS), (*KEYS, *WORDS))
