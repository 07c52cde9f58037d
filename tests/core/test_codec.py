"""The codec: each form is made once, says the same as the others, and names the right channel."""

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.codec import ControlFrame, Form, channel_for, encode, frame_of, notification_json
from tests.core.made import published

PAYLOAD = {"type": "t", "title": "Grüße", "n": [1, -(2**63), 2**64 - 1, 1.5, None, True, {"": []}]}


class Counting:
    """A form that counts how often it wraps."""

    def __init__(self, encoding: str = "json") -> None:
        self.cursors: list[str] = []
        self.form = Form("counting", encoding, self._wrap)  # type: ignore[arg-type]

    def _wrap(self, data: bytes, cursor: str) -> bytes:
        self.cursors.append(cursor)
        return data


def test_a_notification_as_those_see_it_who_are_reached_by_a_channel() -> None:
    made = published("a", "b", sequence=7, payload=PAYLOAD)
    seen = orjson.loads(notification_json(made, "b"))
    assert seen == {
        "id": "n7", **PAYLOAD, "priority": "important", "sent_at": 1_800_000_000_000, "channel": "b",
        "cursor": "epoch00000-7",
    }  # fmt: skip


def test_msgpack_says_the_same_as_json() -> None:
    made = published("a", payload=PAYLOAD)
    assert msgpack.unpackb(frame_of(made, "a", Counting("msgpack").form)) == orjson.loads(notification_json(made, "a"))


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_frame_is_made_once_in_each_form(encoding: str) -> None:
    made, one, other = published("a", sequence=3), Counting(encoding), Counting(encoding)
    frame = frame_of(made, "a", one.form)
    assert frame_of(made, "a", one.form) is frame
    frame_of(made, "a", other.form)
    assert one.cursors == other.cursors == ["epoch00000-3"]


def test_no_frame_is_kept_of_what_goes_to_many_channels() -> None:
    made, counting = published("a", "b"), Counting()
    assert orjson.loads(frame_of(made, "a", counting.form))["channel"] == "a"
    assert orjson.loads(frame_of(made, "b", counting.form))["channel"] == "b"
    assert made.frames is None


def test_a_control_frame_has_no_cursor() -> None:
    counting = Counting()
    assert orjson.loads(counting.form.control({"hub": "ping", "cursor": "x"})) == {"hub": "ping", "cursor": "x"}
    assert counting.cursors == [""]


def test_a_value_that_cant_be_packed_leaves_nothing_behind() -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        encode(["half", 2**70], "msgpack")
    assert msgpack.unpackb(encode({"a": 1}, "msgpack")) == {"a": 1}


# --- By which channel

TOPICS = ["a", "b", "c", "d", "e"]


@given(st.lists(st.sampled_from(TOPICS), unique=True, min_size=1), st.lists(st.sampled_from(TOPICS), unique=True))
def test_the_first_in_to_that_somebody_is_subscribed_to(to: list[str], names: list[str]) -> None:
    expected = next((name for name in to if name in names), None)
    made = published(*to)
    assert channel_for(made, names) == expected
    assert channel_for(made, tuple(names)) == expected
    assert channel_for(made, dict.fromkeys(names)) == expected


def test_a_control_frame_for_many_is_made_once_in_each_form() -> None:
    json, packed = Counting(), Counting("msgpack")
    frame = ControlFrame({"hub": "ping"})
    assert frame.of(json.form) is frame.of(json.form)
    assert orjson.loads(frame.of(json.form)) == msgpack.unpackb(frame.of(packed.form)) == {"hub": "ping"}
    assert (json.cursors, packed.cursors) == ([""], [""])
