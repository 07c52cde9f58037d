"""Messages: what stands in them, that they are never too large, and that what is the same is made once."""

from typing import Any

import orjson
import pytest
from firebase_admin import messaging
from hubd_fcm.messages import LONGEST_TTL_S, MESSAGE_BYTES, REMEMBERED, Messages, shortened
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.plugin import Priority, Push
from hubd.testing.fcm_checks import payload_bytes, violations_of
from tests.plugins.fcm_world import push


def messages(*, notification: bool = False, channel_id: str = "") -> Messages:
    return Messages(messaging, notification=notification, channel_id=channel_id)


def made(push: Push, maker: Messages | None = None, token: str = "token-1") -> dict[str, Any]:
    """The message, as the service gets it, which finds nothing wrong with it."""
    body = (maker or messages()).shared(push).encoded(push, token)
    parsed = orjson.loads(body)
    assert violations_of(parsed) == []
    message: dict[str, Any] = parsed["message"]
    without_token = {name: value for name, value in message.items() if name != "token"}
    assert len(orjson.dumps(without_token)) <= MESSAGE_BYTES
    return message


def test_a_data_message() -> None:
    message = made(push(collapse_key="room-7", tag="room-7"))
    notification = message["data"].pop("notification")
    assert orjson.loads(notification)["title"] == "Hello"
    assert message == {
        "token": "token-1",
        "data": {"id": "n1", "tag": "room-7", "url": "https://app.example.com/chat/7"},
        "android": {"priority": "high", "ttl": "600s", "collapse_key": "room-7"},
        "apns": {
            "headers": {"apns-priority": "10", "apns-collapse-id": "room-7", "apns-expiration": "1800000600"},
            "payload": {"aps": {"alert": {"title": "Hello", "body": "Are you there?"}, "interruption-level": "active"}},
        },
        "webpush": {"headers": {"Urgency": "normal", "TTL": "600"}},
    }


def test_a_notification_message() -> None:
    message = made(push(), messages(notification=True, channel_id="chat"))
    assert message["notification"] == {"title": "Hello", "body": "Are you there?"}
    assert message["android"]["notification"] == {"tag": "n1", "channel_id": "chat"}
    assert "collapse_key" not in message["android"]
    assert message["webpush"]["fcm_options"] == {"link": "https://app.example.com/chat/7"}


OVERRIDES = {
    "title": "Other",
    "body": "text",
    "image": "https://cdn.example.com/p.png",
    "badge": 3,
    "sound": "ping",
    "channel_id": "mine",
    "icon": "bell",
    "color": "#00ff7f",
    "click_action": "OPEN",
    "priority": "normal",
    "data": {"room": "7"},
}


def test_overrides_of_a_notification_message() -> None:
    message = made(push(overrides=OVERRIDES), messages(notification=True, channel_id="chat"))
    assert message["notification"] == {"title": "Other", "body": "text", "image": "https://cdn.example.com/p.png"}
    assert message["android"]["notification"] == {
        "tag": "n1", "channel_id": "mine", "sound": "ping", "icon": "bell", "color": "#00ff7f", "click_action": "OPEN",
        "notification_count": 3,
    }  # fmt: skip
    assert message["android"]["priority"] == "normal"
    assert message["data"]["room"] == "7"
    assert message["apns"]["payload"]["aps"]["badge"] == 3
    assert message["apns"]["headers"]["apns-priority"] == "5"


def test_overrides_of_a_data_message_are_for_the_app() -> None:
    message = made(push(overrides=OVERRIDES), messages(channel_id="chat"))
    data = message["data"]
    assert {name: data[name] for name in OVERRIDES if name not in ("priority", "data")} == {
        name: str(value) for name, value in OVERRIDES.items() if name not in ("priority", "data")
    }
    assert data["room"] == "7"
    assert message["apns"]["payload"]["aps"] == {
        "alert": {"title": "Other", "body": "text"}, "badge": 3, "sound": "ping", "interruption-level": "active",
    }  # fmt: skip
    assert "notification" not in message and "notification" not in message["android"]
    assert made(push(), messages(channel_id="chat"))["data"]["channel_id"] == "chat"


@pytest.mark.parametrize("notification", [False, True])
def test_data_only(notification: bool) -> None:
    message = made(push(overrides={"data_only": True}), messages(notification=notification))
    assert "notification" not in message and "notification" not in message["android"]
    assert message["apns"]["payload"]["aps"] == {"content-available": 1}
    assert message["apns"]["headers"]["apns-push-type"] == "background"
    assert message["apns"]["headers"]["apns-priority"] == "5"


@pytest.mark.parametrize(
    ("priority", "android", "apns", "level", "urgency"),
    [
        (Priority.CRITICAL, "high", "10", "time-sensitive", "high"),
        (Priority.IMPORTANT, "high", "10", "active", "normal"),
        (Priority.INFORMATIONAL, "normal", "5", "passive", "low"),
    ],
)
def test_priorities(priority: Priority, android: str, apns: str, level: str, urgency: str) -> None:
    message = made(push(priority=priority))
    assert message["android"]["priority"] == android
    assert message["apns"]["headers"]["apns-priority"] == apns
    assert message["apns"]["payload"]["aps"]["interruption-level"] == level
    assert message["webpush"]["headers"]["Urgency"] == urgency


@pytest.mark.parametrize(("given_s", "sent"), [(0, "0s"), (-3, "0s"), (1, "1s"), (10**9, f"{LONGEST_TTL_S}s")])
def test_how_long_the_service_may_try(given_s: int, sent: str) -> None:
    message = made(push(ttl_s=given_s))
    assert message["android"]["ttl"] == sent
    assert message["webpush"]["headers"]["TTL"] + "s" == sent
    assert (message["apns"]["headers"]["apns-expiration"] == "0") is (given_s <= 0)


def test_a_long_tag_is_hashed_for_apns_alone() -> None:
    one, other = (made(push(tag=tag)) for tag in ("é" * 40, "é" * 41))
    assert one["data"]["tag"] == "é" * 40
    ids = [message["apns"]["headers"]["apns-collapse-id"] for message in (one, other)]
    assert ids[0] != ids[1] and all(len(id) == 32 for id in ids)


def test_a_long_notification_is_a_light_one() -> None:
    whole = made(push(text="x" * 3000))
    assert len(orjson.loads(whole["data"]["notification"])["text"]) == 3000
    light = made(push(text="x" * 4000))
    assert orjson.loads(light["data"]["notification"]) == {"id": "n1", "fetch": True}


texts = st.one_of(st.text(max_size=500), st.text('"\\é\u2028\x00', max_size=1600), st.just("x" * 1600))


@settings(max_examples=150, deadline=None)
@given(texts, texts, st.text("abc%/é", max_size=1000), texts, texts, st.booleans(), st.integers(0, 4000))
def test_it_always_fits(title: str, body: str, path: str, shown: str, data: str, shows: bool, length: int) -> None:
    def text(most: int) -> bytes:
        assert most >= 512
        return orjson.dumps('"' * min(length, most // 2 - 2))[:most]

    overrides = {"title": shown[:200], "body": shown[:1000], "data": {"x": shortened(data, 1000)}, "sound": "s" * 100}
    given = push(
        title=title[:400] or "t", body=body, url=f"https://x/{path}", tag="t" * 64, data=text, overrides=overrides
    )
    message = made(given, messages(notification=shows))
    assert payload_bytes(message) <= 4096
    assert message["data"]["notification"].encode() in (text(most) for most in range(512, 4097))


def test_what_is_the_same_is_made_once() -> None:
    maker = messages()
    first = maker.shared(push())
    assert maker.shared(push(text="of another user")) is first
    assert maker.shared(push(id="n2", tag="n2")) is not first
    assert maker.shared(push()) is first
    assert maker.shared(push(ttl_s=599)) is not first  # its time has gone on
    assert maker.shared(push(overrides={"badge": 1})) is not first


def test_only_so_many_are_remembered() -> None:
    maker = messages()
    first = maker.shared(push())
    for number in range(REMEMBERED):
        maker.shared(push(id=f"other-{number}"))
    assert maker.shared(push()) is not first
    assert len(maker._latest) == REMEMBERED


def test_both_senders_send_the_same() -> None:
    given = push(text="é", overrides=OVERRIDES)
    shared = messages(notification=True).shared(given)
    complete = shared.complete(messaging, given, "token-1")
    assert orjson.loads(str(complete)) == orjson.loads(shared.encoded(given, "token-1"))["message"]


def test_texts_are_cut_between_characters() -> None:
    assert [shortened("aé", most) for most in (0, 1, 2, 3, 9, -1)] == ["", "a", "a", "aé", "aé", ""]
