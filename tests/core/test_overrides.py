"""What a publish call says about single platforms: checked, each by whoever knows, and kept as it is."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.errors import FieldError
from hubd.core.overrides import OVERRIDES_BYTES, PLATFORMS, check_known, packed, unpacked, wrong_overrides

DEPTH, KEYS = 3, 5


def check(platform: str, overrides: Mapping[str, Any]) -> list[FieldError] | None:
    """A toy that knows `badge`; whatever else there is is known by its name alone."""
    if platform != "toy":
        return check_known(platform, overrides)
    return [FieldError(name, "no") for name in overrides if name != "badge"] + (
        [FieldError("", "empty")] if not overrides else []
    )


def wrong(push: Any) -> list[str]:
    return [error.path for error in wrong_overrides(push, DEPTH, KEYS, check)]


@pytest.mark.parametrize(
    "push",
    [
        None,
        {},
        {"apns": {}},
        {"apns": {"badge": 1}, "fcm": {"x": [{"y": 1}]}, "webpush": {"icon": "/i.png"}, "toy": {"badge": 1}},
        {"apns": {"a": "x" * (OVERRIDES_BYTES - 8)}},
    ],
)
def test_what_is_in_order(push: Any) -> None:
    assert wrong(push) == []


@pytest.mark.parametrize(
    ("push", "paths"),
    [
        ([], ["push"]),
        ("apns", ["push"]),
        (5, ["push"]),
        (False, ["push"]),
        ({"foo": {}}, ["push.foo"]),
        ({"": {}}, ["push."]),
        ({"APNS": {}}, ["push.APNS"]),
        ({"apns": None}, ["push.apns"]),
        ({"apns": [], "fcm": 1, "foo": "x"}, ["push.apns", "push.fcm", "push.foo"]),
        ({"apns": {"a": "x" * (OVERRIDES_BYTES - 7)}}, ["push.apns"]),
        ({"apns": {"a": "é" * (OVERRIDES_BYTES // 2)}}, ["push.apns"]),
        ({"apns": {str(n): 1 for n in range(KEYS + 1)}}, ["push.apns"]),
        ({"apns": {"a": [[[[1]]]]}}, ["push.apns"]),
        ({"toy": {"sound": 1, "badge": 2, "x": 1}, "bar": {}}, ["push.toy.sound", "push.toy.x", "push.bar"]),
        ({"toy": {}}, ["push.toy"]),
    ],
)
def test_everything_that_is_wrong_is_named(push: Any, paths: list[str]) -> None:
    assert wrong(push) == paths


def test_without_plugins_the_usual_platforms_are_known() -> None:
    assert [check_known(platform, {}) for platform in PLATFORMS] == [[]] * len(PLATFORMS)
    assert check_known("toy", {}) is None
    assert {"webpush", "apns", "fcm"} == {*PLATFORMS}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(PLATFORMS), st.dictionaries(st.text(max_size=3), _JSON, max_size=3)))
def test_packed_and_unpacked_it_is_the_same(push: dict[str, Any]) -> None:
    assert unpacked(packed(push)) == push
    assert packed(dict(reversed(push.items()))) == packed(push), "however it was written"
    assert (packed(push) is None) == (push == {})


@given(_JSON)
def test_whatever_it_is_it_is_in_order_or_something_is_named(push: Any) -> None:
    paths = wrong(push)
    assert all(path.startswith("push") for path in paths)
    assert paths or push is None or all(isinstance(overrides, dict) for overrides in push.values())
