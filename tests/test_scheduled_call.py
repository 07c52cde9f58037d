"""A scheduled call as it is written down, and read again."""

from typing import Any

import orjson
import pytest

from hubd.core.channel import patterns
from hubd.core.publish import Draft
from hubd.core.stored import Scheduled
from hubd.memory import Receipt
from hubd.scheduled_call import Asked, ScheduledCall, read, row_key, written
from hubd.testing import make_hub
from tests.steered_store import SteeredStore

AT = 1_800_000_005_000


def draft(**more: Any) -> Draft:
    hub, _, _ = make_hub(store=SteeredStore())  # it is only asked whether there is one
    body = {"to": ["news:a", "user:ada"], "notification": {"type": "alert", "n": 1}, "deliver_at": AT, **more}
    return hub.prepare(body)


def call(said: Draft, asked: Asked, cursor: str = "epoch00000-7") -> ScheduledCall:
    receipt = Receipt(asked.id, cursor, 0)
    return ScheduledCall("k", AT, asked, receipt, said.ttl_s, written(said, asked, cursor))


ASKED = [
    Asked("x", "key:backend", "key:backend", b"\x00\xff", None, patterns(("news:*", "user:*"))),
    Asked("x", "plugin:p", "plugin:p", b"", None, None),
    Asked("x", "user:ada", "users", b"f", "ada", None),
]


@pytest.mark.parametrize("asked", ASKED)
def test_it_is_read_as_it_was_written(asked: Asked) -> None:
    said = draft(id="x", ttl=1.5, collapse_key="c", group="g", priority="critical", push={"fcm": {"b": 1, "a": []}})
    before = call(said, asked)
    after = read(Scheduled("k", "x", AT, before.data))
    assert (after.key, after.deliver_at, after.receipt, after.ttl_s) == ("k", AT, before.receipt, 1.5)
    assert after.asked[:5] == asked[:5]
    assert getattr(after.asked.allowed, "texts", None) == getattr(asked.allowed, "texts", None)
    assert after.draft == before.draft == said


def test_one_from_before_there_was_push_is_read_too() -> None:
    before = call(draft(id="x"), ASKED[0])
    said = {name: value for name, value in orjson.loads(before.data).items() if name != "push"}
    assert read(Scheduled("k", "x", AT, orjson.dumps(said))).draft == before.draft


def test_what_its_publisher_sees() -> None:
    one = call(draft(), ASKED[0])
    assert one.channels == ["news:a", "user:ada:notifications"]
    assert one.fields == {"id": "x", "type": "alert", "n": 1, "priority": "important", "deliver_at": AT}


def test_the_answer_to_its_id() -> None:
    answer = call(draft(), ASKED[0]).answer(5.0015)
    assert answer == ("key:backend", "key:backend", "x", b"\x00\xff", "epoch00000-7", 0, 5001)
    assert call(draft(), ASKED[1]).answer(5.0) is None


def test_what_it_costs_and_its_row() -> None:
    one = call(draft(), ASKED[0])
    assert one.size > len(one.data) == len(orjson.dumps(orjson.loads(one.data)))
    assert row_key("a") != row_key("b") and row_key("a") != "a"
