"""Notification: what is the same for all who get it, whom it was sent to, and who was shown it."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.notification import (
    HUB_FIELDS,
    PRIORITY_OF,
    Notification,
    Persistence,
    Priority,
    is_notification_id,
)
from hubd.core.users import Snapshot, UserSet
from tests.core.made import published


def body(notification: Notification) -> dict[str, object]:
    assert not notification.body.endswith(b"}")
    fields: dict[str, object] = orjson.loads(notification.body + b"}")
    return fields


# --- What it says


def test_the_body_has_everything_but_what_depends_on_the_recipient() -> None:
    made = published("a", id="x", payload={"type": "alert", "title": "Grüße", "n": [1, {"b": None}]}, sender="ada")
    assert body(made) == {
        "id": "x", "type": "alert", "title": "Grüße", "n": [1, {"b": None}], "priority": "important",
        "sent_at": 1_800_000_000_000, "from": "ada",
    }  # fmt: skip
    assert made.type == "alert"


def test_it_carries_what_it_was_told() -> None:
    made = Notification(
        id="x", payload={"type": "t"}, channels={"a": 0}, priority=Priority.CRITICAL,
        persistence=Persistence.PERSISTENT, sent_at=5, expires_at=7.0, collapse_key="c", group="g", sender="ada",
    )  # fmt: skip
    assert (made.id, made.channels, made.priority, made.persistence) == ("x", {"a": 0}, Priority.CRITICAL, "persistent")
    assert (made.sent_at, made.expires_at, made.live_only) == (5, 7.0, False)
    assert (made.collapse_key, made.group, made.sender) == ("c", "g", "ada")
    assert (made.sequence, made.cursor, made.kept_at, made.references) == (0, "", 0.0, 0), "until it is published"
    assert (made.audience, made.replayed, made.acked, made.frames) == ((), None, None, None)


def test_from_is_only_on_what_a_client_published() -> None:
    assert "from" not in body(published("a"))
    assert set(body(published("a", sender="ada"))) | {"channel", "cursor"} == {*HUB_FIELDS, "type"}


def test_a_payload_key_can_look_like_anything() -> None:
    payload = {"type": "t", "": 1, '"': 2, "\n": 3, "ключ": 4}
    assert body(published("a", payload=payload)).items() >= payload.items()


@pytest.mark.parametrize(
    ("persistence", "live_only", "kept"),
    [
        (Persistence.EPHEMERAL, False, False),
        (Persistence.EPHEMERAL, True, False),
        (Persistence.BUFFERABLE, False, True),
        (Persistence.BUFFERABLE, True, False),
        (Persistence.PERSISTENT, False, True),
    ],
)
def test_what_is_live_only(persistence: Persistence, live_only: bool, kept: bool) -> None:
    assert published("a", persistence=persistence, live_only=live_only).live_only is not kept


def test_priorities_compare_by_urgency() -> None:
    assert Priority.INFORMATIONAL < Priority.IMPORTANT < Priority.CRITICAL
    assert [PRIORITY_OF[word] for word in ("informational", "important", "critical")] == sorted(Priority)
    assert all(PRIORITY_OF[priority.word] is priority for priority in Priority)


@pytest.mark.parametrize("text", ["a", "x" * 128, "order-1234.shipped_A:9", "0", "-", "."])
def test_an_id(text: str) -> None:
    assert is_notification_id(text)


@pytest.mark.parametrize("text", ["", "x" * 129, "a b", "a\n", "a/b", "ä", "a@b", "a|b", "a+b", "a=b", "a,b", "%41"])
def test_no_id(text: str) -> None:
    assert not is_notification_id(text)


def test_it_is_counted_with_what_it_holds() -> None:
    small = published("a")
    assert small.size > 3 * len(small.body)
    longer = published("a", payload={"type": "alert", "title": "x" * 1000})
    assert longer.size - small.size >= 3000
    wider = published(*(f"t{place}" for place in range(100)))
    assert wider.size - small.size >= 99 * 50


# --- Whom it was sent to


def sent(*to: str, **audience: tuple[int, ...]) -> Notification:
    made = published(*to)
    made.audience = tuple((topic, UserSet(numbers)) for topic, numbers in audience.items())
    return made


def test_a_broadcast_was_sent_to_everybody() -> None:
    assert sent("notifications").channel_to("ada", 1) == "notifications"
    assert sent("notifications").channel_to("never seen", None) == "notifications"


def test_a_user_channel_reaches_its_user_alone() -> None:
    made = sent("user:ada:notifications")
    assert made.channel_to("ada", 1) == made.channel_to("ada", None) == "user:ada:notifications"
    assert made.channel_to("bob", 1) is None
    assert made.channel_to("bob", None) is None


def test_a_topic_reaches_those_who_were_in_it() -> None:
    made = sent("team", team=(1, 3))
    assert made.channel_to("ada", 1) == made.channel_to("cyd", 3) == "team"
    assert made.channel_to("bob", 2) is None
    assert made.channel_to("ada", None) is None, "his number is forgotten"


def test_the_first_of_the_channels_in_to_counts() -> None:
    made = sent("b", "user:ada:notifications", "a", a=(1, 2), b=(2, 3))
    assert made.channel_to("ada", 1) == "user:ada:notifications"
    assert made.channel_to("bob", 2) == "b"
    assert made.channel_to("cyd", 3) == "b"
    assert sent("a", "b", b=(2,), a=(2,)).channel_to("bob", 2) == "a"


def test_live_and_durable_subscribers_of_a_topic_are_both_meant() -> None:
    made = published("team")
    made.audience = (("team", UserSet([1])), ("team", UserSet([2])))
    assert [made.channel_to("x", number) for number in (1, 2, 3)] == ["team", "team", None]


def test_who_got_it_by_a_replay_was_sent_it_too() -> None:
    made = sent("a", "b", b=(1,))
    assert made.channel_to("bob", 2) is None
    made.record_replay("b", 2)
    assert made.channel_to("bob", 2) == "b"
    made.record_replay("a", 2)
    made.record_replay("a", 2)
    assert made.channel_to("bob", 2) == "a"
    assert made.channel_to("cyd", 3) is None


# --- Who was shown it


@given(st.lists(st.integers(1, 5)))
def test_an_ack_is_news_once(numbers: list[int]) -> None:
    made = published("a")
    assert made.acked is None
    seen: set[int] = set()
    for number in numbers:
        assert made.record_ack(number) is (number not in seen)
        seen.add(number)
    assert list(made.acked or ()) == sorted(seen)


# --- Kept from some


def test_whoever_is_excluded_was_sent_nothing_by_any_channel() -> None:
    made = published("t", "notifications", "user:ada:notifications")
    made.audience = (("t", Snapshot(UserSet([1, 2]))),)
    made.record_replay("t", 3)
    assert made.excluded is None and not made.excludes(1)
    assert made.channel_to("ada", 1) == "t"
    made.excluded = Snapshot(UserSet([1, 3, 9]))
    assert [made.excludes(number) for number in (1, 2, 3, 9)] == [True, False, True, True]
    assert made.channel_to("ada", 1) is made.channel_to("cyd", 3) is made.channel_to("dee", 9) is None
    assert made.channel_to("bob", 2) == "t"
    assert made.channel_to("ada", None) == "notifications"  # somebody without a number is in no set


def test_the_sets_that_hang_on_it() -> None:
    made = published("t", "u")
    assert made.user_sets == []
    one, two, three = (Snapshot(UserSet([number])) for number in (1, 2, 3))
    made.audience = (("t", one), ("u", two))
    assert made.user_sets == [one, two]
    made.excluded = three
    assert made.user_sets == [one, two, three]


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5).filter(lambda key: key not in HUB_FIELDS and key != "type"),
        st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5), st.lists),
        max_size=5,
    ),
    st.none() | st.just("ada@example.org|x+y=z"),
)
def test_the_payload_is_what_was_sent(payload: dict[str, object], sender: str | None) -> None:
    payload = {"type": "t", **payload}
    made = published("a", payload=payload, sender=sender)
    assert made.payload == payload and [*made.payload] == [*payload]
    assert made.payload is not made.payload  # whoever changes it changes nothing
    assert body(made).get("from") == sender


def test_released_it_is_the_same_for_others() -> None:
    made = published(
        "t", sequence=7, id="x", payload={"type": "t", "text": "ü"}, priority=Priority.CRITICAL, sender="eve",
        persistence=Persistence.PERSISTENT, collapse_key="c", group="g", push=b'{"apns":{}}',
    )  # fmt: skip
    made.excluded, made.audience = Snapshot(UserSet([1])), (("t", Snapshot(UserSet([1, 2]))),)
    made.record_ack(2)
    again = made.released_to(["ada", "bob"], 99.0)
    assert again.channels == {"user:ada:notifications": 0, "user:bob:notifications": 1}
    assert again.body == made.body and again.expires_at == 99.0
    same = ("id", "type", "priority", "persistence", "sent_at", "live_only", "collapse_key", "group", "sender", "push")
    assert [getattr(again, name) for name in same] == [getattr(made, name) for name in same]
    assert again.is_release and not made.is_release
    assert (again.sequence, again.excluded, again.acked, again.audience, again.references) == (0, None, None, (), 0)
    assert again.channel_to("ada", 1) == "user:ada:notifications" and again.channel_to("cyd", 3) is None
