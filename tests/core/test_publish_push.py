"""The `push` of a publish call: checked with all else, part of what makes calls equal, and changeable by plugins."""

from typing import Any

import orjson
import pytest

from hubd.core.errors import FieldError, Problem
from hubd.core.notification import Persistence, Priority
from hubd.core.publish import Bounds, Draft, TypeDefaults, changed_draft, read_draft

DEFAULT = TypeDefaults(Priority.IMPORTANT, Persistence.BUFFERABLE, 86400.0)
BOUNDS = Bounds(1000, 4, 10)


def defaults(type_: str) -> TypeDefaults:
    return DEFAULT


def draft(bounds: Bounds = BOUNDS, **more: Any) -> Draft:
    return read_draft({"to": "user:ada", "notification": {"type": "alert"}} | more, defaults, bounds)


def wrong(bounds: Bounds = BOUNDS, **more: Any) -> list[str]:
    with pytest.raises(Problem) as refused:
        draft(bounds, **more)
    return sorted(error.path for error in refused.value.errors)


def test_it_is_kept_as_it_was_said() -> None:
    said = {"apns": {"badge": 1, "sound": "x.caf"}, "webpush": {}}
    assert orjson.loads(draft(push=said).push or b"") == said
    assert draft().push is draft(push=None).push is draft(push={}).push is None


def test_it_is_no_part_of_the_payload() -> None:
    made = draft(push={"apns": {"badge": 1}})
    assert made.payload == {"type": "alert"} and b"badge" not in made.data


def test_what_is_wrong_with_it_is_named_with_all_else() -> None:
    assert wrong(push={"foo": {}, "apns": 1}, ttl=-1) == ["push.apns", "push.foo", "ttl"]
    assert wrong(push=[], to="", notification={}) == ["notification.type", "push", "to"]


def test_backends_have_their_say() -> None:
    bounds = BOUNDS._replace(check_overrides=lambda platform, overrides: [FieldError("badge", "no")])
    assert wrong(bounds, push={"toy": {"badge": "x"}}) == ["push.toy.badge"]


def test_it_makes_a_call_another_one() -> None:
    prints = [
        draft(push=push).fingerprint()
        for push in (
            None, {}, {"apns": {"a": 1, "b": 2}}, {"apns": {"b": 2, "a": 1}}, {"apns": {"a": 1}}, {"fcm": {"a": 1}},
        )
    ]  # fmt: skip
    assert prints[0] == prints[1] and prints[2] == prints[3] and len({*prints}) == 4


def test_plugins_may_change_it_and_leave_it() -> None:
    before = draft(push={"apns": {"badge": 1}})
    assert changed_draft(before, {"ttl": 5.0}, defaults, BOUNDS).push == before.push
    after = changed_draft(before, {"push": {"fcm": {}}}, defaults, BOUNDS)
    assert after.push == b'{"fcm":{}}'
    assert changed_draft(before, {"push": None}, defaults, BOUNDS).push is None
    with pytest.raises(Problem) as refused:
        changed_draft(before, {"push": {"foo": {}}}, defaults, BOUNDS)
    assert [error.path for error in refused.value.errors] == ["push.foo"]
