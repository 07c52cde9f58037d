"""What is pushed: the whole notification where it fits, else a light one; always JSON, and never too large."""

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubd.core.errors import FieldError
from hubd.core.notification import HUB_FIELDS, Notification, Persistence, Priority
from hubd.core.overrides import packed
from hubd.core.users import UserSet, snapshot_of
from hubd.hooks.push import Device, Push
from hubd.push.capability import LATE_S, SECRET_BYTES, Capabilities
from hubd.push.payload import BODY_BYTES, LEAST, TAG_BYTES, TITLE_BYTES, URL_BYTES, Payloads, cut
from hubd.testing import FakeClock
from hubd.testing.backend import RecordingBackend

TTL_S = 600.0


class World:
    """Payloads on a clock that is turned by hand."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.capabilities = Capabilities(lambda: bytes(SECRET_BYTES), self.clock, {})
        self.backends: dict[str, Any] = {"toy": RecordingBackend("toy")}
        self.payloads = Payloads(self.clock, self.capabilities, self.backends)

    def notification(self, payload: dict[str, Any] | None = None, *to: str, **more: Any) -> Notification:
        options: dict[str, Any] = {"id": "n1", "priority": Priority.IMPORTANT} | more
        return Notification(
            payload={"type": "alert"} | (payload or {}),
            channels={name: place for place, name in enumerate(to or ("user:ada:notifications",))},
            persistence=Persistence.BUFFERABLE,
            sent_at=int(self.clock.now() * 1000),
            expires_at=self.clock.monotonic() + TTL_S,
            **options,
        )

    def push(self, notification: Notification, user: str = "ada", number: int | None = 1, **more: Any) -> Push:
        device = Device("dev_1", user, "toy", {"token": "t"})._replace(**more)
        return self.payloads.push_for(notification, device, number)


def read(push: Push, most: int = 4096) -> dict[str, Any]:
    data = push.data(most)
    assert len(data) <= most
    found: dict[str, Any] = orjson.loads(data)
    return found


# --- The whole one


def test_it_is_the_notification_as_a_connection_gets_it() -> None:
    world = World()
    said = {"title": "Shipped", "body": "Order 1234", "url": "/orders/1234", "n": [1, {"a": None}], "fetch": 1}
    notification = world.notification(said, sender="bob")
    found = read(world.push(notification))
    capability = found.pop("hub_capability")
    assert world.capabilities.user_of(capability, "n1") == "ada"
    assert found == {"type": "alert", **said} | {
        "id": "n1", "priority": "important", "sent_at": notification.sent_at, "from": "bob",
        "channel": "user:ada:notifications",
    }  # fmt: skip


def test_the_channel_is_that_which_reaches_its_user_and_nobody_elses() -> None:
    world = World()
    notification = world.notification({}, "user:bob:notifications", "team:x", "user:ada:notifications")
    notification.audience = (("team:x", snapshot_of(UserSet([1, 2]))),)
    ways = {user: read(world.push(notification, user, number)).get("channel")
            for user, number in (("ada", 1), ("bob", 2), ("eve", 3), ("zoe", None))}  # fmt: skip
    assert ways == {"ada": "team:x", "bob": "user:bob:notifications", "eve": None, "zoe": None}


def test_whoever_it_is_kept_from_live_may_still_be_pushed_it() -> None:
    world = World()
    notification = world.notification()
    notification.excluded = snapshot_of(UserSet([1]))
    assert read(world.push(notification))["channel"] == "user:ada:notifications"


def test_its_times_follow_the_clock() -> None:
    world = World()
    notification = world.notification()
    end = int(world.clock.now() + TTL_S)
    assert (world.push(notification).expires_at, world.push(notification).ttl_s) == (end, 600)
    world.clock.advance(599.5)
    push = world.push(notification)
    assert (push.expires_at, push.ttl_s) == (end, 0)
    capability = read(push)["hub_capability"]
    world.clock.advance(LATE_S)
    assert world.capabilities.user_of(capability, "n1") == "ada", "an ack may come late"
    world.clock.advance(2)
    assert world.capabilities.user_of(capability, "n1") is None
    assert world.push(notification).ttl_s == 0


@pytest.mark.parametrize(
    ("payload", "title", "body", "url"),
    [
        ({}, "alert", "", ""),
        ({"title": "A", "body": "b", "url": "/c"}, "A", "b", "/c"),
        ({"title": "", "body": ""}, "alert", "", ""),
        ({"title": 5, "body": ["x"], "url": {"a": 1}}, "alert", "", ""),
        ({"title": None, "body": True}, "alert", "", ""),
        ({"url": "https://example.com/" + "x" * URL_BYTES}, "alert", "", ""),
    ],
)
def test_there_is_always_something_to_show(payload: dict[str, Any], title: str, body: str, url: str) -> None:
    world = World()
    push = world.push(world.notification(payload))
    assert (push.title, push.body, push.url, push.id, push.type) == (title, body, url, "n1", "alert")


def test_what_is_shown_leaves_room_for_the_payload() -> None:
    world = World()
    push = world.push(world.notification({"title": "\U0001f600" * 8000, "body": '"' * 16_000, "url": "/" + "u" * 999}))
    sizes = [len(orjson.dumps(text)) - 2 for text in (push.title, push.body, push.url)]
    assert sizes[0] <= TITLE_BYTES and sizes[1] <= BODY_BYTES and sizes[2] <= URL_BYTES
    assert sizes[0] > TITLE_BYTES - 10 and push.title.endswith("😀…")
    assert sum(sizes) + LEAST + 500 <= 4096


# --- One place on the screen


def test_without_a_collapse_key_the_id_is_the_tag() -> None:
    world = World()
    push = world.push(world.notification())
    assert (push.collapse_key, push.tag) == (None, "n1") and "hub_tag" not in read(push)


def test_the_collapse_key_is_the_tag() -> None:
    world = World()
    push = world.push(world.notification({}, collapse_key='order "1"'))
    assert push.collapse_key == push.tag == read(push)["hub_tag"] == 'order "1"'


@pytest.mark.parametrize("key", ["x" * (TAG_BYTES + 1), "é" * TAG_BYTES, '"' * TAG_BYTES])
def test_a_long_one_is_hashed_and_the_same_each_time(key: str) -> None:
    world = World()
    tags = [world.push(world.notification({}, id=id, collapse_key=key)).tag for id in ("n1", "n2")]
    assert tags[0] == tags[1] and len(tags[0]) == 32
    assert world.push(world.notification({}, collapse_key=key[:-1] + "y")).tag != tags[0]
    large = world.push(world.notification({"body": "x" * 5000}, collapse_key=key))
    assert read(large)["hub_tag"] == large.tag == tags[0]


def test_a_users_key_replaces_nothing_of_anybody_else() -> None:
    world = World()
    keys = [world.push(world.notification({}, collapse_key="k", sender=sender)).collapse_key
            for sender in (None, "ada", "bob", "ada")]  # fmt: skip
    assert keys[1] == keys[3] and len({*keys}) == 3


# --- Overrides


def test_overrides_are_those_of_its_platform() -> None:
    world = World()
    notification = world.notification({}, push=packed({"toy": {"badge": 1}, "apns": {"badge": 2}}))
    assert world.push(notification).overrides == {"badge": 1}
    assert world.push(notification, platform="apns").overrides == {"badge": 2}
    assert world.push(notification, platform="fcm").overrides == {}
    assert world.push(world.notification()).overrides == {}
    assert b"badge" not in world.push(notification).data(4096)


def test_overrides_that_the_backend_does_not_take_are_left_out_and_it_is_asked_once() -> None:
    world = World()
    asked: list[Any] = []
    backend = world.backends["toy"]
    check = backend.check_overrides

    def counting(overrides: Any) -> list[FieldError]:
        asked.append(overrides)
        found: list[FieldError] = check(overrides)
        return found

    backend.check_overrides = counting
    notification = world.notification({}, push=packed({"toy": {"sound": "x"}, "apns": {"sound": "x"}}))
    assert [world.push(notification).overrides for _ in range(3)] == [{}] * 3
    assert asked == [{"sound": "x"}]
    assert world.push(notification, platform="apns").overrides == {"sound": "x"}


# --- The light one


def test_a_large_one_is_cut_and_says_that_there_is_more() -> None:
    world = World()
    notification = world.notification({"title": "T" * 100, "body": "é" * 9000, "url": "/u", "secret": "s" * 9000})
    push = world.push(notification)
    found = read(push)
    assert found["fetch"] is True and found["title"] == "T" * 100 and found["url"] == "/u"
    assert found["body"].endswith("é…") and found["body"].startswith("é" * 1000)
    assert {*found} == {"id", "type", "priority", "sent_at", "fetch", "url", "title", "body", "hub_capability"}
    assert world.capabilities.user_of(found["hub_capability"], "n1") == "ada"
    assert len(push.data(4096)) > 4080, "as much as fits"


def test_what_just_fits_is_whole() -> None:
    world = World()
    push = world.push(world.notification({"body": "b" * 3000}, collapse_key="k"))
    size = len(push.data(4096))
    assert "fetch" not in read(push, size) and read(push, size - 1)["fetch"] is True


def test_a_short_body_leaves_its_room_to_the_title_and_the_other_way_round() -> None:
    world = World()
    long = {"rest": "r" * 9000}
    assert len(read(world.push(world.notification({"title": "T" * 9000, "body": "b", **long})))["title"]) > 3500
    assert len(read(world.push(world.notification({"title": "T", "body": "b" * 9000, **long})))["body"]) > 3500
    both = read(world.push(world.notification({"title": "T" * 9000, "body": "b" * 9000, **long})))
    assert 1000 < len(both["title"]) < len(both["body"])


def test_a_title_or_body_that_is_no_text_is_left_out() -> None:
    world = World()
    found = read(world.push(world.notification({"title": ["x"] * 3000, "body": {"a": "b" * 4000}, "url": 5})))
    assert not {"title", "body", "url"} & {*found} and found["fetch"] is True


def test_everything_at_its_longest_fits_into_the_least() -> None:
    world = World()
    for type_ in ("\x01" * 128, "\U0001f600" * 128, "t" * 128):
        payload = {"type": type_, "title": "\x02" * 5000, "body": '\\"' * 5000, "url": "/" + "ü" * 3000}
        notification = world.notification(payload, id="i" * 128, collapse_key="k" * TAG_BYTES)
        found = read(world.push(notification, "u" * 64), LEAST)
        assert (found["id"], found["hub_tag"], found["fetch"]) == ("i" * 128, "k" * TAG_BYTES, True)
        assert found.get("type", type_) == type_


def test_less_than_the_least_is_a_mistake_of_the_backend() -> None:
    world = World()
    with pytest.raises(ValueError, match=str(LEAST)):
        world.push(world.notification()).data(LEAST - 1)


def test_what_is_the_same_for_all_is_made_once() -> None:
    world = World()
    notification = world.notification({"body": "x" * 9000}, "team:x")
    shared = world.payloads._shared(notification)
    for number in range(50):
        read(world.push(notification, f"u{number:03}", number))
    assert world.payloads._shared(notification) is shared and len(shared._lights) == 1
    for most in range(600, 700):
        read(world.push(notification), most)
    assert len(shared._lights) <= 16
    world.payloads.forget(notification)
    world.payloads.forget(notification)
    assert world.payloads._shared(notification) is not shared


def test_what_is_remembered_is_bounded() -> None:
    world = World()
    first = world.notification()
    world.push(first)
    for count in range(300):
        world.push(world.notification(id=f"m{count}"))
        world.push(first)
    assert len(world.payloads._latest) == 256 and id(first) in world.payloads._latest


_TEXT = st.text(max_size=60) | st.builds(
    lambda text, times: text * times, st.text(min_size=1, max_size=5), st.integers(0, 3000)
)
_ANY = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT, st.lists, max_leaves=4)


@given(
    payload=st.dictionaries(
        (st.sampled_from(["title", "body", "url", "fetch"]) | st.text(min_size=1, max_size=5)).filter(
            lambda key: key not in (*HUB_FIELDS, "type") and not key.startswith(("hub", "_"))
        ),
        _ANY,
        max_size=5,
    ),
    type_=st.text(min_size=1, max_size=128),
    key=st.none() | st.from_regex(r"[^\x00-\x1f\x7f]{1,128}", fullmatch=True),
    sender=st.sampled_from([None, "bob"]),
    user=st.sampled_from(["ada", "u" * 64]),
    most=st.integers(LEAST, 5000),
)
@example({"title": "\x00" * 32_768}, "t", None, None, "ada", 512)
@example({"title": "👩\u200d👩\u200d👧" * 500, "body": "\x7f\u2028\ufeff" * 900}, "t", "k", None, "ada", 1000)
def test_any_payload_fits_and_is_whole_wherever_it_can_be(
    payload: dict[str, Any], type_: str, key: str | None, sender: str | None, user: str, most: int
) -> None:
    world = World()
    notification = world.notification({**payload, "type": type_}, collapse_key=key, sender=sender)
    push = world.push(notification, user)
    whole = orjson.loads(push.data(1 << 20))
    assert {name: whole[name] for name in payload} == payload
    found = read(push, most)
    fits = len(push.data(1 << 20)) <= most
    assert (found == whole) == fits
    if not fits:
        assert found["fetch"] is True and found["hub_capability"] == whole["hub_capability"]
        assert found.get("hub_tag") == whole.get("hub_tag") and found["id"] == "n1"
        for name in ("title", "body"):
            if name in found:
                assert payload[name].startswith(found[name].removesuffix("…"))


# --- Cutting


@pytest.mark.parametrize(
    ("text", "most", "left"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, ""),
        ("abcd", 4, "abcd"),
        ("abcde", 4, "a…"),
        ("ééé", 6, "ééé"),
        ("éééé", 6, "é…"),
        ('"""', 6, '"""'),
        ('""""', 6, '"…'),
        ("\x01\x01", 9, "\x01…"),
        ("\x01\x01", 8, ""),
        ("😀😀", 7, "😀…"),
        ("👩\u200d👧!", 11, "👩…"),
        ("ab cdef", 6, "ab…"),
        ("", 0, ""),
        ("a", 0, ""),
        ("a", -5, ""),
    ],
)
def test_a_text_is_cut_between_characters(text: str, most: int, left: str) -> None:
    assert cut(text, most) == left


@given(_TEXT, st.integers(-3, 300))
def test_no_text_is_left_too_long_or_cut_more_than_it_must(text: str, most: int) -> None:
    found = cut(text, most)
    assert len(orjson.dumps(found)) - 2 <= max(0, most)
    assert text.startswith(found.removesuffix("…"))
    assert (found == text) == (len(orjson.dumps(text)) - 2 <= most) or text == ""
