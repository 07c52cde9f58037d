"""What the stand-in finds wrong with a message: as FCM's reference has it."""

from typing import Any

import pytest

from hubd.testing.fcm_checks import payload_bytes, ttl_s, violations_of


def fields(message: Any, **more: Any) -> list[str]:
    return [one.field for one in violations_of({"message": message, **more})]


FINE: dict[str, Any] = {
    "token": "t",
    "data": {"a": "b"},
    "notification": {"title": "x", "body": "y", "image": "https://x/y.png"},
    "android": {
        "priority": "HIGH",
        "ttl": "3.5s",
        "collapse_key": "k",
        "notification": {"color": "#aabbcc", "notification_count": 0, "visibility": "PRIVATE", "sticky": True},
    },
    "apns": {"headers": {"apns-priority": "10", "apns-collapse-id": "x" * 64}, "payload": {"aps": {}}},
    "webpush": {"headers": {"Urgency": "high", "TTL": "0"}, "fcm_options": {"link": "https://x"}},
    "fcm_options": {"analytics_label": "l"},
}


def test_what_is_fine() -> None:
    assert fields(FINE) == []
    assert fields(FINE, validate_only=True) == []
    assert fields({"fid": "f"}) == []


@pytest.mark.parametrize("body", [None, [], "x", {}, {"message": None}, {"message": []}])
def test_what_is_no_message(body: Any) -> None:
    assert [one.field for one in violations_of(body)] == ["message"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"other": 1}, "message.other"),
        ({"token": 7}, "message.token"),
        ({"fid": "f"}, "message"),
        ({"topic": "t"}, "message"),
        ({"data": {"a": 1}}, "message.data"),
        ({"data": {"a": None}}, "message.data"),
        ({"data": []}, "message.data"),
        ({"data": {"from": "x"}}, "message.data"),
        ({"data": {"message_type": "x"}}, "message.data"),
        ({"data": {"google.x": "x"}}, "message.data"),
        ({"data": {"gcm": "x"}}, "message.data"),
        ({"data": {"": "x"}}, "message.data"),
        ({"data": {"a": "x" * 4096}}, "message"),
        ({"notification": {"titel": "x"}}, "message.notification.titel"),
        ({"notification": "x"}, "message.notification"),
        ({"android": {"priority": "urgent"}}, "message.android.priority"),
        ({"android": {"ttl": 3}}, "message.android.ttl"),
        ({"android": {"ttl": "3"}}, "message.android.ttl"),
        ({"android": {"ttl": "-3s"}}, "message.android.ttl"),
        ({"android": {"ttl": "2419201s"}}, "message.android.ttl"),
        ({"android": {"data": {"a": 1}}}, "message.android.data"),
        ({"android": {"notification": {"color": "red"}}}, "message.android.notification.color"),
        (
            {"android": {"notification": {"notification_count": "1"}}},
            "message.android.notification.notification_count",
        ),
        ({"android": {"notification": {"body_loc_args": "x"}}}, "message.android.notification.body_loc_args"),
        ({"android": {"notification": {"sticky": 1}}}, "message.android.notification.sticky"),
        ({"android": {"notification": {"visibility": "secret"}}}, "message.android.notification.visibility"),
        ({"apns": {"headers": {"apns-priority": "7"}}}, "message.apns.headers"),
        ({"apns": {"headers": {"apns-priority": 5}}}, "message.apns.headers"),
        ({"apns": {"headers": {"apns-collapse-id": "é" * 33}}}, "message.apns.headers"),
        ({"apns": {"headers": {"apns-expiration": "soon"}}}, "message.apns.headers"),
        ({"apns": {"payload": {}}}, "message.apns.payload"),
        ({"webpush": {"headers": {"Urgency": "urgent"}}}, "message.webpush.headers"),
        ({"webpush": {"headers": {"TTL": "1.5"}}}, "message.webpush.headers"),
        ({"webpush": {"headers": {"TTL": 1}}}, "message.webpush.headers"),
        ({"webpush": {"notification": []}}, "message.webpush.notification"),
        ({"webpush": {"fcm_options": {"link": "http://x"}}}, "message.webpush.fcm_options.link"),
    ],
)
def test_what_is_wrong(more: dict[str, Any], field: str) -> None:
    assert fields({"token": "t"} | more) == [field]


def test_nobody_is_meant() -> None:
    assert fields({"data": {}}) == ["message"]


def test_a_call_has_nothing_else() -> None:
    assert fields({"token": "t"}, dry_run=True) == ["dry_run"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0.0), ("3.5s", 3.5), ("2419200s", 2419200.0), ("1e3s", None), ("s", None), ("3", None), (3, None)],
)
def test_durations(text: Any, seconds: float | None) -> None:
    assert ttl_s(text) == seconds


def test_keys_and_values_count_wherever_they_are_shown() -> None:
    assert payload_bytes({"token": "t" * 1000}) == 0
    assert payload_bytes({"data": {"é": "é"}}) == 4
    android = "color#aabbccnotification_count0visibilityPRIVATEstickyTrue"
    assert payload_bytes(FINE) == len(f"abtitlexbodyyimagehttps://x/y.png{android}aps")
    assert fields({"token": "t", "data": {"a": "x" * 4095}}) == []
