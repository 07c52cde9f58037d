"""`push.fcm` of a publish call: what is wrong with it is said by field."""

from typing import Any

import pytest
from hubd_fcm.overrides import DATA_BYTES, SHOWING, Overrides, is_reserved, wrong_in

GOOD: dict[str, Any] = {
    "title": "Other",
    "body": "",
    "image": "https://cdn.example.com/p.png",
    "badge": 0,
    "sound": "ping",
    "channel_id": "chat",
    "icon": "bell",
    "color": "#00ff7F",
    "click_action": "OPEN",
    "data_only": True,
    "priority": "normal",
    "data": {"room": "7", "empty": ""},
}


def test_all_of_it_is_fine() -> None:
    assert set(GOOD) == set(Overrides.model_fields) and set(SHOWING) < set(GOOD)
    assert wrong_in(GOOD) == [] == wrong_in({})
    assert all(wrong_in({name: value}) == [] for name, value in GOOD.items())


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"titel": "x"}, "titel"),
        ({"title": 7}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"body": "x" * 1001}, "body"),
        ({"badge": -1}, "badge"),
        ({"badge": True}, "badge"),
        ({"badge": "1"}, "badge"),
        ({"sound": ""}, "sound"),
        ({"color": "red"}, "color"),
        ({"color": "#00ff7f\n"}, "color"),
        ({"priority": "HIGH"}, "priority"),
        ({"data_only": 1}, "data_only"),
        ({"image": "http://10.0.0.1/p.png"}, "image"),
        ({"image": "javascript:alert(1)"}, "image"),
        ({"data": ["x"]}, "data"),
        ({"data": {"x": 7}}, "data.x"),
        ({"data": {"": "x"}}, "data"),
        ({"data": {"from": "x"}}, "data"),
        ({"data": {"google.c.a.e": "1"}}, "data"),
        ({"data": {"gcm.notification.title": "1"}}, "data"),
        ({"data": {"notification": "{}"}}, "data"),
        ({"data": {"title": "x"}}, "data"),
        ({"data": {"x": "y" * DATA_BYTES}}, "data"),
        ({"data": {"é" * (DATA_BYTES // 2): "y"}}, "data"),
    ],
)
def test_what_is_wrong_is_said_by_field(given: dict[str, Any], field: str) -> None:
    wrong = wrong_in(given)
    assert [one.path for one in wrong] == [field]
    assert wrong[0].message and not wrong[0].message.startswith("Value error")


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert {one.path for one in wrong_in({"badge": "x", "color": "x", "other": 1})} == {"badge", "color", "other"}


@pytest.mark.parametrize(
    ("key", "reserved"),
    [
        ("from", True),
        ("message_type", True),
        ("collapse_key", True),
        ("google.x", True),
        ("GCM", True),
        ("form", False),
    ],
)
def test_keys_of_the_service(key: str, reserved: bool) -> None:
    assert is_reserved(key) is reserved
