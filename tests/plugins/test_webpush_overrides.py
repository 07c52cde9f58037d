"""What a publish call may say about browsers alone, and the payload that comes of it."""

from typing import Any

import orjson
import pytest
from hubd_webpush.overrides import HEADERS, LEAST, Overrides, payload_of, wrong_overrides
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.webpush_world import push

ALL: dict[str, Any] = {
    "title": "T", "body": "B", "icon": "/i.png", "image": "https://cdn.example/i.png", "badge": "/b.png",
    "actions": [{"action": "a", "title": "A", "icon": "/a.png", "url": "/a"}, {"action": "b", "title": "B"}],
    "require_interaction": True, "silent": False, "renotify": True, "lang": "pt-BR", "dir": "rtl",
    "vibrate": [200, 100, 200], "urgency": "very-low", "topic": False,
}  # fmt: skip


def test_all_there_are() -> None:
    assert {*ALL} == {*Overrides.model_fields}
    assert wrong_overrides(ALL, 2000) == []
    assert wrong_overrides(dict.fromkeys(ALL), 2000) == []


@pytest.mark.parametrize(
    ("overrides", "paths"),
    [
        ({"color": "red"}, ["color"]),
        ({"title": ""}, ["title"]),
        ({"title": 5, "body": "x" * 1001}, ["title", "body"]),
        ({"actions": [{"action": "a"}]}, ["actions.0.title"]),
        ({"actions": [{"action": "a", "title": "A", "x": 1}]}, ["actions.0.x"]),
        ({"actions": [{"action": "a", "title": "A"}] * 6}, ["actions"]),
        ({"actions": {}}, ["actions"]),
        ({"silent": "yes"}, ["silent"]),
        ({"silent": 1}, ["silent"]),
        ({"lang": "not a language!"}, ["lang"]),
        ({"dir": "up"}, ["dir"]),
        ({"vibrate": [-1]}, ["vibrate.0"]),
        ({"vibrate": [True]}, ["vibrate.0"]),
        ({"urgency": "urgent"}, ["urgency"]),
        ({"topic": "t"}, ["topic"]),
        ({"topic": "t", "x": 1}, ["topic", "x"]),
    ],
)
def test_what_is_wrong_is_named(overrides: dict[str, Any], paths: list[str]) -> None:
    assert sorted(error.path for error in wrong_overrides(overrides, 2000)) == sorted(paths)


def test_so_much_that_nothing_else_fits_is_refused() -> None:
    much = {"title": "x" * 900, "body": "y" * 900}
    most = len(b',"hub_push":' + orjson.dumps(much))
    assert wrong_overrides(much, most) == []
    (error,) = wrong_overrides(much, most - 1)
    assert error.path == "" and str(most - 1) in error.message


def test_the_worker_gets_them_and_the_service_its_own() -> None:
    data = orjson.loads(payload_of(push({"title": "own"}, ALL), 3000))
    assert data == {
        "id": "n1", "type": "alert", "title": "own",
        "hub_push": {name: value for name, value in ALL.items() if name not in HEADERS},
    }  # fmt: skip


@pytest.mark.parametrize("overrides", [{}, {"urgency": "high"}, {"topic": True, "title": None}])
def test_without_any_the_payload_is_as_it_is(overrides: dict[str, Any]) -> None:
    assert orjson.loads(payload_of(push({"title": "own"}, overrides), 3000)) == {
        "id": "n1", "type": "alert", "title": "own"
    }  # fmt: skip


@given(st.integers(0, 3000), st.text(max_size=800), st.integers(LEAST, 3990))
def test_it_is_never_longer_and_always_json(size: int, title: str, most: int) -> None:
    made = payload_of(push({"text": "x" * size}, {"title": title} if title else {}), most)
    assert len(made) <= most
    data = orjson.loads(made)
    fits = not title or len(orjson.dumps({"title": title})) + 12 <= most - LEAST
    assert (data.get("hub_push") == {"title": title}) == (bool(title) and fits)


def test_they_cut_the_notification_down_and_not_the_other_way_round() -> None:
    made = payload_of(push({"text": "x" * 900}, {"body": "y" * 500}), 1200)
    assert orjson.loads(made) == {"id": "n1", "fetch": True, "hub_push": {"body": "y" * 500}}
