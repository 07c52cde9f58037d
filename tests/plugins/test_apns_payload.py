"""What the phone gets: within 4,096 bytes whatever is published, and by the mapping of priorities."""

import re
from typing import Any

import orjson
import pytest
from hubd_apns.overrides import Overrides, read_overrides, wrong_overrides
from hubd_apns.payload import DATA_BYTES, PAYLOAD_BYTES, collapse_id, cut, headers_of, payload_of
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.notification import Priority
from hubd.plugin import Device
from tests.plugins.apns_world import push

DEVICE = Device("dev_1", "ada", "apns", {})


def payload(overrides: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(payload_of(push(**fields), Overrides.model_validate(overrides or {})))
    return found


@pytest.mark.parametrize(
    ("priority", "number", "level", "sound"),
    [
        (Priority.CRITICAL, "10", "time-sensitive", "default"),
        (Priority.IMPORTANT, "10", "active", "default"),
        (Priority.INFORMATIONAL, "5", "passive", None),
    ],
)
def test_the_priority_decides_how_it_shows(priority: Priority, number: str, level: str, sound: str | None) -> None:
    assert headers_of(DEVICE, push(priority=priority), "app")["apns-priority"] == number
    aps = payload(priority=priority)["aps"]
    assert (aps["interruption-level"], aps.get("sound")) == (level, sound)
    assert aps["alert"] == {"title": "Hello", "body": "World"}


def test_all_overrides() -> None:
    got = payload(
        {
            "title": "T",
            "subtitle": "S",
            "body": "",
            "badge": 0,
            "sound": {"name": "a.caf", "critical": True, "volume": 0.5},
            "category": "C",
            "thread_id": "th",
            "image": "https://example.com/i.png",
            "interruption_level": "critical",
            "relevance_score": 0.25,
            "content_available": True,
            "data": {"k": [1]},
        }
    )
    assert got.pop("notification")["id"] == "n1"
    assert got == {
        "aps": {
            "alert": {"title": "T", "subtitle": "S"},
            "badge": 0,
            "sound": {"name": "a.caf", "critical": 1, "volume": 0.5},
            "category": "C",
            "thread-id": "th",
            "mutable-content": 1,
            "interruption-level": "critical",
            "relevance-score": 0.25,
            "content-available": 1,
        },
        "image": "https://example.com/i.png",
        "data": {"k": [1]},
    }


def test_a_sound_can_be_turned_off() -> None:
    assert "sound" not in payload({"sound": ""})["aps"]


def test_a_background_push_shows_nothing_and_has_the_priority_that_apple_wants() -> None:
    overrides = Overrides(push_type="background")
    critical = push(priority=Priority.CRITICAL)
    assert orjson.loads(payload_of(critical, overrides))["aps"] == {"content-available": 1}
    headers = headers_of(DEVICE, critical, "app", overrides)
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("background", "5")


@pytest.mark.parametrize(
    ("wrong", "paths"),
    [
        ({"titel": "x"}, {"titel"}),
        ({"badge": "1"}, {"badge"}),
        ({"badge": True}, {"badge"}),
        ({"badge": -1, "title": 5}, {"badge", "title"}),
        ({"sound": 5}, {"sound"}),
        ({"sound": {"volume": 2}}, {"sound", "sound.volume"}),
        ({"image": "http://example.com/i.png"}, {"image"}),
        ({"image": "https://exa mple.com/"}, {"image"}),
        ({"image": 'https://example.com/"'}, {"image"}),
        ({"image": "https://[/"}, {"image"}),
        ({"image": "https://"}, {"image"}),
        ({"relevance_score": 1.5}, {"relevance_score"}),
        ({"push_type": "voip"}, {"push_type"}),
        ({"interruption_level": "loud"}, {"interruption_level"}),
        ({"data": {"a": "x" * 1020}}, {"data"}),
        ({"data": []}, {"data"}),
        ({"push_type": "background", "badge": 3}, {""}),
    ],
)
def test_wrong_overrides_are_named(wrong: dict[str, Any], paths: set[str]) -> None:
    errors = wrong_overrides(wrong)
    assert {error.path for error in errors} == paths
    assert not any(re.search("pydantic|union|Sound", error.message) for error in errors)
    assert read_overrides(wrong) == Overrides()


def test_a_collapse_id_is_the_tag_where_that_fits() -> None:
    assert collapse_id("a" * 64) == "a" * 64
    for tag in ("a" * 65, "é", "a\nb", " a", "a ", ""):
        assert re.fullmatch("[A-Za-z0-9_-]{32}", collapse_id(tag))
    assert collapse_id("é") != collapse_id("è")


TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\x00\n😀é'), max_size=5000)
SHORT = TEXT.map(lambda text: text[:60])


@settings(max_examples=300, deadline=None)
@given(
    title=TEXT,
    body=TEXT,
    size=st.integers(0, 5000),
    overrides=st.fixed_dictionaries(
        {},
        optional={
            "title": TEXT.map(lambda text: text[:400]),
            "subtitle": TEXT.map(lambda text: text[:400]),
            "body": TEXT.map(lambda text: text[:2000]),
            "sound": SHORT,
            "category": SHORT,
            "thread_id": SHORT,
            "image": st.just("https://example.com/" + "x" * 580),
            "data": st.just({"k": "x" * 1000}),
        },
    ),
    least=st.booleans(),
)
def test_it_always_fits(title: str, body: str, size: int, overrides: dict[str, Any], least: bool) -> None:
    assert wrong_overrides(overrides) == []
    asked: list[int] = []
    made = push(title=title, body=body, size=size)
    found = payload_of(
        made._replace(data=lambda most: asked.append(most) or made.data(most)),  # type: ignore[func-returns-value]
        Overrides.model_validate(overrides),
        least=least,
    )
    assert len(found) <= PAYLOAD_BYTES
    assert asked[0] >= DATA_BYTES and len(asked) == 1
    assert orjson.loads(found)["notification"]["id"] == "n1"


def test_the_worst_of_all_fits() -> None:
    overrides = dict.fromkeys(("title", "subtitle"), "\x00" * 400) | {"body": "\x00" * 2000}
    overrides |= dict.fromkeys(("sound", "category", "thread_id"), "\x00" * 60)
    everything: dict[str, Any] = {**overrides, "image": "https://e.com/" + "x" * 586, "data": {"k": "x" * 1016}}
    everything |= {"badge": 999_999_999, "relevance_score": 0.123456789012345, "content_available": True}
    everything |= {"interruption_level": "time-sensitive"}
    assert wrong_overrides(everything) == []
    assert len(payload_of(push(size=5000), Overrides.model_validate(everything))) <= PAYLOAD_BYTES


@given(text=TEXT, most=st.integers(-5, 6000))
def test_cut_keeps_what_fits(text: str, most: int) -> None:
    kept = cut(text, most)
    assert len(orjson.dumps(kept)) - 2 <= max(0, most)
    if len(orjson.dumps(text)) - 2 <= most:
        assert kept == text
    elif kept:
        assert kept.endswith("…") and text.startswith(kept[:-1])
