"""Publish bodies: what is wrong is told all at once, with its path; what isn't said follows from the type."""

import dataclasses
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.channel import parse_channel
from hubd.core.errors import Problem
from hubd.core.notification import HUB_FIELDS, Persistence, Priority
from hubd.core.publish import CHANNELS, TTL_S, Bounds, Draft, TypeDefaults, read_draft

BOUNDS = Bounds(message_bytes=1000, json_depth=4, json_keys=10)
DEFAULT = TypeDefaults(Priority.IMPORTANT, Persistence.BUFFERABLE, 86400.0)
TYPES = {
    "typing": TypeDefaults(Priority.INFORMATIONAL, Persistence.EPHEMERAL, 0.0),
    "security": TypeDefaults(Priority.CRITICAL, Persistence.PERSISTENT, 3600.0),
}


def draft(body: Any, bounds: Bounds = BOUNDS) -> Draft:
    return read_draft(body, lambda type_: TYPES.get(type_, DEFAULT), bounds)


def made(to: Any = "t", type: str = "alert", **more: Any) -> Draft:
    return draft({"to": to, "notification": {"type": type}} | more)


def refused(body: Any, bounds: Bounds = BOUNDS) -> dict[str, str]:
    """The wrong fields, by path."""
    with pytest.raises(Problem) as caught:
        draft(body, bounds)
    assert caught.value.code == "invalid"
    errors = dict(caught.value.errors)
    assert len(errors) == len(caught.value.errors), "one for each path"
    return errors


def refused_field(field: str, value: Any) -> list[str]:
    """Where the faults are when everything else is in order."""
    return list(refused({"to": "t", "notification": {"type": "alert"}, field: value}))


# --- What is taken


def test_the_least_that_can_be_said() -> None:
    assert draft({"to": "t", "notification": {"type": "alert"}}) == Draft(
        channels=(parse_channel("t"),),
        payload={"type": "alert"},
        id=None,
        priority=Priority.IMPORTANT,
        persistence=Persistence.BUFFERABLE,
        ttl_s=86400.0,
        collapse_key=None,
        group=None,
        type="alert",
        data=b'{"type":"alert"}',
    )


def test_everything_that_can_be_said() -> None:
    body = {
        "to": ["user:42", "t"],
        "notification": {"type": "alert", "title": "T", "data": {"a": [1]}},
        "id": "order-1234-shipped",
        "priority": "critical",
        "persistence": "persistent",
        "ttl": 3600,
        "collapse_key": "order-1234",
        "group": "orders",
        "deliver_at": None,
    }
    assert draft(body) == Draft(
        channels=(parse_channel("user:42"), parse_channel("t")),
        payload=body["notification"],
        id="order-1234-shipped",
        priority=Priority.CRITICAL,
        persistence=Persistence.PERSISTENT,
        ttl_s=3600,
        collapse_key="order-1234",
        group="orders",
        type="alert",
        data=b'{"type":"alert","title":"T","data":{"a":[1]}}',
    )


def test_null_is_as_if_it_werent_said() -> None:
    names = ("id", "priority", "persistence", "ttl", "collapse_key", "group", "deliver_at")
    assert made(**dict.fromkeys(names)) == made()


@pytest.mark.parametrize(
    ("type_", "said", "priority", "persistence", "ttl_s"),
    [
        ("alert", {}, Priority.IMPORTANT, Persistence.BUFFERABLE, 86400),
        ("typing", {}, Priority.INFORMATIONAL, Persistence.EPHEMERAL, 0),
        ("security", {}, Priority.CRITICAL, Persistence.PERSISTENT, 3600),
        ("security", {"priority": "informational"}, Priority.INFORMATIONAL, Persistence.PERSISTENT, 3600),
        ("security", {"ttl": 0}, Priority.CRITICAL, Persistence.PERSISTENT, 0),
        ("typing", {"persistence": "bufferable"}, Priority.INFORMATIONAL, Persistence.BUFFERABLE, 0),
        ("typing", {"ttl": 1.5}, Priority.INFORMATIONAL, Persistence.EPHEMERAL, 1.5),
        ("default", {}, Priority.IMPORTANT, Persistence.BUFFERABLE, 86400),
    ],
)
def test_what_isnt_said_follows_from_the_type(
    type_: str, said: dict[str, Any], priority: Priority, persistence: Persistence, ttl_s: float
) -> None:
    found = made(type=type_, **said)
    assert (found.priority, found.persistence, found.ttl_s) == (priority, persistence, ttl_s)


def test_channels_are_canonical_each_once_in_the_order_of_to() -> None:
    found = made(["b", "user:42", "a", "user:42:notifications", "b"])
    assert [channel.name for channel in found.channels] == ["b", "user:42:notifications", "a"]


def test_ten_thousand_channels_and_no_more() -> None:
    assert len(made([f"t{place}" for place in range(CHANNELS)]).channels) == CHANNELS == 10_000
    assert refused_field("to", [f"t{place}" for place in range(CHANNELS + 1)]) == ["to"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "a"), ("id", "A-Z.a_z:0" + "9" * 119), ("ttl", 0), ("ttl", 0.001), ("ttl", TTL_S), ("group", "a"),
        ("group", "ä" * 128), ("collapse_key", "with spaces & signs"), ("collapse_key", "x" * 128),
    ],
)  # fmt: skip
def test_at_the_edge(field: str, value: Any) -> None:
    made(**{field: value})


# --- What is refused, and where


@pytest.mark.parametrize("body", [None, [], "x", 1, True, [{"to": "t", "notification": {"type": "x"}}]])
def test_a_body_that_is_no_object(body: Any) -> None:
    assert list(refused(body)) == [""]


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("to", None, "to"), ("to", [], "to"), ("to", 1, "to"), ("to", {}, "to"), ("to", "", "to"), ("to", "a b", "to"),
        ("to", "hub:x", "to"), ("to", {"segment": "vip"}, "to"), ("to", ["a", 1], "to.1"), ("to", [["a"]], "to.0"),
        ("to", ["a", "b c", "d"], "to.1"), ("to", [None], "to.0"), ("to", ["*"], "to.0"), ("to", {"a": 1}, "to"),
        ("notification", None, "notification"), ("notification", [], "notification"),
        ("notification", "x", "notification"), ("notification", {}, "notification.type"),
        ("notification", {"type": None}, "notification.type"), ("notification", {"type": 1}, "notification.type"),
        ("notification", {"type": ""}, "notification.type"), ("notification", {"type": "x" * 129}, "notification.type"),
        ("notification", {"type": ["alert"]}, "notification.type"),
        ("id", "", "id"), ("id", "a b", "id"), ("id", "x" * 129, "id"), ("id", 1, "id"), ("id", "a\n", "id"),
        ("priority", "urgent", "priority"), ("priority", "Critical", "priority"), ("priority", 2, "priority"),
        ("priority", "", "priority"),
        ("persistence", "durable", "persistence"), ("persistence", "EPHEMERAL", "persistence"),
        ("persistence", True, "persistence"),
        ("ttl", -1, "ttl"), ("ttl", -0.001, "ttl"), ("ttl", "60", "ttl"), ("ttl", True, "ttl"),
        ("ttl", math.inf, "ttl"), ("ttl", math.nan, "ttl"), ("ttl", TTL_S + 1, "ttl"), ("ttl", [60], "ttl"),
        ("collapse_key", "", "collapse_key"), ("collapse_key", "x" * 129, "collapse_key"),
        ("collapse_key", "a\nb", "collapse_key"), ("collapse_key", 1, "collapse_key"),
        ("group", "", "group"), ("group", "a\x00", "group"), ("group", "a\n", "group"), ("group", "\x7f", "group"),
        ("group", {}, "group"),
        ("deliver_at", 1_800_000_000_000, "deliver_at"), ("deliver_at", "tomorrow", "deliver_at"),
        ("deliver_at", False, "deliver_at"),
        ("channel", "t", "channel"), ("", 1, ""), ("ключ", 1, "ключ"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field: str, value: Any, path: str) -> None:
    assert refused_field(field, value) == [path]


@pytest.mark.parametrize("key", [*HUB_FIELDS, "hub", "hubcap", "hub_x", "_", "_x", "__proto__"])
def test_a_payload_may_not_set_what_is_the_hubs(key: str) -> None:
    assert list(refused({"to": "t", "notification": {"type": "alert", key: 1}})) == [f"notification.{key}"]


@pytest.mark.parametrize(
    "key", ["Hub", "HUB", "a_hub", "x_", "ids", "Id", "to", "ttl", "deliver_at", "sent", "", "data"]
)
def test_any_other_key_is_the_publishers(key: str) -> None:
    draft({"to": "t", "notification": {"type": "alert", key: 1, "data": {"id": 1, "hub": 2, "_": 3}}})


def test_everything_that_is_wrong_is_told_at_once() -> None:
    body = {
        "to": ["ok", "not ok", 7],
        "notification": {"id": 1, "hub": 2, "a": {"b": {"c": {"d": {"e": {}}}}}},
        "id": "",
        "priority": "critical",
        "persistence": "ephemeral",
        "ttl": -1,
        "collapse_key": "",
        "group": "",
        "deliver_at": 1,
        "extra": None,
    }
    assert set(refused(body)) == {
        "to.1", "to.2", "notification.type", "notification.id", "notification.hub", "notification", "id", "persistence",
        "ttl", "collapse_key", "group", "deliver_at", "extra",
    }  # fmt: skip


def test_what_is_missing_is_told_too() -> None:
    assert refused({}) == {"to": "is required", "notification": "is required"}
    assert refused({"To": "t"}) == {
        "to": "is required",
        "notification": "is required",
        "To": "there is no such field",
    }


def test_messages_say_what_to_write_instead() -> None:
    errors = refused(
        {"to": {"segment": 1}, "notification": {"type": 1}, "id": "#", "priority": "x", "persistence": "x", "group": ""}
    )
    assert "segments are not supported" in errors["to"]
    assert errors["notification.type"] == "must be a string"
    assert "1 to 128" in errors["id"] and "1 to 128" in errors["group"]
    assert "critical, important, informational" in errors["priority"]
    assert "ephemeral, bufferable, persistent" in errors["persistence"]


def test_no_message_repeats_what_was_sent() -> None:
    secret = "hunter2" * 3
    errors = refused(
        {"to": secret + "!", "notification": secret, "id": secret + "#", "ttl": secret, "priority": secret}
    )
    assert set(errors) == {"to", "notification", "id", "ttl", "priority"}
    assert secret not in str(errors)


# --- Critical and ephemeral


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        ("alert", {"priority": "critical", "persistence": "ephemeral"}),
        ("typing", {"priority": "critical"}),
        ("security", {"persistence": "ephemeral"}),
    ],
)
def test_what_is_critical_must_not_get_lost(type_: str, said: dict[str, str]) -> None:
    assert list(refused({"to": "t", "notification": {"type": type_}, **said})) == ["persistence"]


def test_what_the_type_decides_can_be_decided_otherwise() -> None:
    made(type="typing", priority="critical", persistence="bufferable")
    made(type="security", priority="important", persistence="ephemeral")


# --- Size


def test_message_bytes_are_those_of_the_notification_as_json() -> None:
    def of_size(size: int) -> dict[str, Any]:
        payload = {"type": "alert", "title": "ä"}
        payload["title"] += "x" * (size - len(orjson.dumps(payload)))
        assert len(orjson.dumps(payload)) == size
        return {"to": "t", "notification": payload}

    assert draft(of_size(1000)).payload["title"].startswith("ä")
    with pytest.raises(Problem) as caught:
        draft(of_size(1001))
    assert (caught.value.code, caught.value.status) == ("too_large", 413)
    assert "1000 bytes" in caught.value.message


def test_depth_and_keys_of_the_notification_are_limited() -> None:
    def nested(levels: int) -> dict[str, Any]:
        value: Any = 1.5
        for _ in range(levels):
            value = [value]
        return {"to": "t", "notification": {"type": "alert", "a": value}}

    draft(nested(4))
    assert refused(nested(5)) == {"notification": "nested deeper than 4 levels"}
    assert list(refused(nested(10_000))) == ["notification"]
    draft({"to": "t", "notification": {"type": "alert", "a": {f"k{place}": 1 for place in range(8)}}})
    many = {"to": "t", "notification": {"type": "alert", "a": {f"k{place}": 1 for place in range(9)}}}
    assert refused(many) == {"notification": "more than 10 keys"}


# --- Whether two calls are the same


def test_the_same_call_has_the_same_fingerprint() -> None:
    one = draft({"to": ["user:1", "t"], "notification": {"type": "alert", "a": {"x": 1, "y": [1, 2]}}, "ttl": 5})
    other = draft(
        {"ttl": 5.0, "notification": {"a": {"y": [1, 2], "x": 1}, "type": "alert"}, "to": ["user:1:notifications", "t"]}
    )
    assert one.fingerprint() == other.fingerprint()
    assert made("t").fingerprint() == made(["t"]).fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        made("u"), made(["t", "u"]), made(type="badge"), made(priority="critical"), made(persistence="persistent"),
        made(ttl=1), made(collapse_key="a"), made(group="a"),
        draft({"to": "t", "notification": {"type": "alert", "a": None}}),
        draft({"to": "t", "notification": {"type": "alert", "a": "1"}}),
        draft({"to": "t", "notification": {"type": "alert", "a": 1}}),
        draft({"to": "t", "notification": {"type": "alert", "a": True}}),
    ],
)  # fmt: skip
def test_another_call_has_another_fingerprint(other: Draft) -> None:
    assert other.fingerprint() != made().fingerprint()


def test_the_order_of_channels_and_lists_counts() -> None:
    assert made(["a", "b"]).fingerprint() != made(["b", "a"]).fingerprint()
    one, other = (draft({"to": "t", "notification": {"type": "x", "a": items}}) for items in ([1, 2], [2, 1]))
    assert one.fingerprint() != other.fingerprint()


def test_group_and_collapse_key_are_not_mixed_up() -> None:
    assert made(group="a").fingerprint() != made(collapse_key="a").fingerprint()


def test_the_id_is_no_part_of_it() -> None:
    assert made(id="a").fingerprint() == made(id="b").fingerprint()


def test_a_draft_is_not_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        made().id = "x"  # type: ignore[misc]


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["to", "notification", "id", "priority", "persistence", "ttl", "collapse_key", "group", "deliver_at", "x"]


@given(st.dictionaries(st.sampled_from(FIELDS), junk))
def test_any_body_is_taken_or_refused_with_its_faults(body: dict[str, Any]) -> None:
    try:
        draft(body)
    except Problem as problem:
        assert problem.code == "invalid"
        assert problem.errors
        assert {error.path.partition(".")[0] for error in problem.errors} <= {*FIELDS}
