"""Drafts that plugins change, and segments: who is meant, in words that only a plugin knows."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.channel import parse_channel
from hubd.core.errors import Problem
from hubd.core.notification import Persistence, Priority
from hubd.core.publish import CHANGEABLE, SEGMENT_BYTES, TTL_S, Bounds, Draft, TypeDefaults, changed_draft, read_draft

BOUNDS = Bounds(message_bytes=1000, json_depth=4, json_keys=10)
DEFAULT = TypeDefaults(Priority.IMPORTANT, Persistence.BUFFERABLE, 86400.0)
TYPES = {"typing": TypeDefaults(Priority.INFORMATIONAL, Persistence.EPHEMERAL, 0.0)}


def defaults(type_: str) -> TypeDefaults:
    return TYPES.get(type_, DEFAULT)


def draft(to: Any = ("t", "u"), **more: Any) -> Draft:
    to = to if isinstance(to, dict) else list(to)
    body = {"to": to, "notification": {"type": "alert", "text": "hi"}, "id": "n1", "collapse_key": "c", "group": "g"}
    return read_draft(body | more, defaults, BOUNDS, segments=True)


def changed(change: Any, of: Draft | None = None) -> Draft:
    return changed_draft(of or draft(), change, defaults, BOUNDS)


def wrong(change: Any) -> list[str]:
    with pytest.raises(Problem) as refused:
        changed(change)
    assert refused.value.code in ("invalid", "too_large")
    return sorted(error.path for error in refused.value.errors)


# --- Changes


def test_no_change_is_the_same() -> None:
    assert changed({}) == draft()
    segment = draft({"segment": {"a": 1}})
    assert changed({}, segment) == segment


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"priority": "critical"}, "priority", Priority.CRITICAL),
        ({"persistence": "persistent"}, "persistence", Persistence.PERSISTENT),
        ({"ttl": 5}, "ttl_s", 5),
        ({"ttl": 0.0}, "ttl_s", 0),
        ({"ttl": TTL_S}, "ttl_s", TTL_S),
        ({"collapse_key": "other"}, "collapse_key", "other"),
        ({"collapse_key": None}, "collapse_key", None),
        ({"group": None}, "group", None),
        ({"notification": {"type": "x"}}, "payload", {"type": "x"}),
    ],
)
def test_a_changed_field_and_nothing_else(change: dict[str, Any], field: str, value: Any) -> None:
    made = changed(change)
    assert getattr(made, field) == value
    derived = {"payload": {"type", "data"}}.get(field, set()) | {field}
    for one in dataclasses.fields(Draft):
        assert one.name in derived or getattr(made, one.name) == getattr(draft(), one.name), one.name


def test_what_is_sent_is_what_it_was_changed_to() -> None:
    made = changed({"notification": {"type": "x", "n": [1]}})
    assert made.type == "x" and orjson.loads(made.data) == made.payload == {"type": "x", "n": [1]}


def test_another_type_changes_nothing_else() -> None:
    made = changed({"notification": {"type": "typing"}})
    assert (made.priority, made.persistence, made.ttl_s) == (DEFAULT.priority, DEFAULT.persistence, DEFAULT.ttl_s)


def test_none_for_what_the_type_decides_is_what_the_type_decides() -> None:
    of = draft(priority="critical", persistence="persistent", ttl=5)
    made = changed({"notification": {"type": "typing"}, "priority": None, "persistence": None, "ttl": None}, of)
    assert (made.priority, made.persistence, made.ttl_s) == TYPES["typing"]


@pytest.mark.parametrize("name", ["to", "id", "deliver_at", "sender", "", "Notification"])
def test_what_cant_be_changed(name: str) -> None:
    assert name not in CHANGEABLE and wrong({name: None}) == [name] and wrong({name: 1, "ttl": 1}) == [name]


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"notification": None}, ["notification"]),
        ({"notification": {}}, ["notification.type"]),
        ({"notification": {"type": "x", "id": "y"}}, ["notification.id"]),
        ({"ttl": -1, "priority": "loud"}, ["priority", "ttl"]),
        ({"priority": "critical", "persistence": "ephemeral"}, ["persistence"]),
        ({"notification": {"type": "x", "text": "y" * 1000}}, []),
        ({"collapse_key": ""}, ["collapse_key"]),
        ({1: 2}, ["1"]),
    ],
)
def test_a_change_is_checked_as_a_call_is(change: Any, paths: list[str]) -> None:
    assert wrong(change) == paths


@pytest.mark.parametrize("change", [1, "ttl", [("ttl", 1)], draft(), {"ttl"}, ("ttl",)])
def test_a_change_that_is_none(change: Any) -> None:
    with pytest.raises(TypeError):
        changed(change)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from([*CHANGEABLE, "to", "x"]),
        st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.dictionaries(st.text(max_size=4), st.text()),
    )
)
def test_any_change_is_taken_or_refused_and_never_moves_it(change: Mapping[str, Any]) -> None:
    try:
        made = changed(change)
    except Problem:
        return
    assert (made.id, made.channels, made.segment) == ("n1", draft().channels, None)


# --- Segments


def refusal(to: Any, *, segments: bool = True, **more: Any) -> list[str]:
    with pytest.raises(Problem) as refused:
        read_draft({"to": to, "notification": {"type": "alert"}} | more, defaults, BOUNDS, segments=segments)
    return sorted(error.path for error in refused.value.errors)


@pytest.mark.parametrize(
    "segment", ["everybody", 1, 0, False, "", [], {}, {"plan": ["a", "b"]}, "x" * (SEGMENT_BYTES - 2)]
)
def test_a_segment_stands_in_place_of_channels(segment: Any) -> None:
    made = draft({"segment": segment})
    assert made.segment == segment and made.channels == ()
    assert changed({"ttl": 1}, made).segment == segment


@pytest.mark.parametrize(
    "segment", [None, "x" * (SEGMENT_BYTES - 1), [[[[[[[[1]]]]]]]], {str(n): 1 for n in range(20)}]
)
def test_segments_that_are_none_or_too_large(segment: Any) -> None:
    assert refusal({"segment": segment}) == ["to.segment"]


@pytest.mark.parametrize("to", [{"segment": 1, "more": 2}, {"segments": 1}, {}, [{"segment": 1}]])
def test_what_is_no_segment(to: Any) -> None:
    assert refusal(to)


def test_what_else_is_wrong_is_told_of_a_call_with_a_segment_too() -> None:
    assert refusal({"segment": 1}, ttl=-1, priority="loud") == ["priority", "ttl"]
    assert refusal({"segment": 1}, notification={}) == ["notification.type"]


def test_without_plugins_that_know_them_there_are_no_segments() -> None:
    assert refusal({"segment": 1}, segments=False) == ["to"]


def test_the_fingerprint_is_of_the_segment() -> None:
    prints = [
        draft({"segment": segment}).fingerprint() for segment in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 1, "1", False)
    ]
    assert prints[0] == prints[1] and len(set(prints)) == 4
    assert draft(["notifications"]).fingerprint() not in prints
    assert draft().channels == (parse_channel("t"), parse_channel("u"))
