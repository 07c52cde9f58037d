"""The stand-in's quotas: counted in sliding windows, each at its edge."""

from typing import Any

import pytest

from hubd.testing import FakeClock
from hubd.testing.fcm_quotas import FcmLimits, FcmQuotas, Window

BIG = 10**9


def quotas(clock: FakeClock, **limits: Any) -> FcmQuotas:
    return FcmQuotas(clock, FcmLimits(**limits))


def take(quotas: FcmQuotas, token: str = "t", key: str | None = None, **more: Any) -> str:
    """Which quota isn't kept; empty: none."""
    given = {"collapsible": key is not None, "collapse_key": key, "ttl_s": 600.0} | more
    found = quotas.take("p", token, **given)
    return "" if found is None else found[0].quota


def test_what_google_allows() -> None:
    limits = FcmLimits()
    assert (limits.project_minute, limits.device_minute, limits.device_hour) == (600_000, 240, 5_000)
    assert (limits.collapsible_burst, limits.collapsible_every_s, limits.collapse_keys) == (20, 180.0, 4)


def test_a_window_slides() -> None:
    window = Window(2, 60.0)
    assert window.free_in_s(0) == 0
    window.add(0)
    window.add(50)
    assert window.is_full(59.9) and window.free_in_s(59) == 1
    assert not window.is_full(60) and window.count(60) == 1
    window.add(60)
    assert window.is_full(109.9) and not window.is_full(110)


@pytest.mark.parametrize(("quota", "per_s"), [("device_minute", 60.0), ("device_hour", 3600.0)])
def test_a_device_s(quota: str, per_s: float) -> None:
    clock = FakeClock()
    counted = quotas(clock, **{"device_minute": BIG, "device_hour": BIG} | {quota: 5})
    for _ in range(5):
        assert take(counted) == ""
        clock.advance(per_s / 10)
    assert take(counted) == quota
    assert take(counted, "other") == ""
    clock.advance(per_s / 2)
    assert [take(counted), take(counted)] == ["", quota]  # what was refused doesn't count
    assert [(one.quota, one.whose) for one in counted.exceeded] == [(quota, "t")] * 2


def test_a_minute_that_begins_anew_is_no_way_out() -> None:
    clock = FakeClock()
    counted = quotas(clock, device_minute=10)
    clock.advance(59)
    assert [take(counted) for _ in range(10)] == [""] * 10
    clock.advance(2)
    assert take(counted) == "device_minute"


def test_a_project_s() -> None:
    clock = FakeClock()
    counted = quotas(clock, project_minute=3)
    assert [take(counted, token) for token in "abcd"] == ["", "", "", "project_minute"]
    assert counted.exceeded[0].whose == "p"
    found = counted.take("p", "e", collapsible=False, collapse_key=None, ttl_s=0)
    assert found is not None and found[1] == 60.0


def test_collapsible_ones_are_a_burst_and_then_one_each_three_minutes() -> None:
    clock = FakeClock()
    counted = quotas(clock)
    assert [take(counted, key="k") for _ in range(21)] == [""] * 20 + ["collapsible"]
    assert take(counted) == ""  # others aren't concerned
    clock.advance(179)
    assert take(counted, key="k") == "collapsible"
    clock.advance(1)
    assert [take(counted, key="k"), take(counted, key="k")] == ["", "collapsible"]
    clock.advance(180 * 50)
    assert [take(counted, key="k") for _ in range(21)] == [""] * 20 + ["collapsible"]


def test_with_too_many_collapse_keys_one_is_lost_and_no_answer_says_so() -> None:
    clock = FakeClock()
    counted = quotas(clock)
    assert [take(counted, key=key) for key in "abcda"] == [""] * 5
    assert counted.exceeded == []
    assert take(counted, key="e") == ""
    assert [one.quota for one in counted.exceeded] == ["collapse_keys"]
    clock.advance(601)  # nothing is kept any more
    assert [take(counted, key=key) for key in "wxyz"] == [""] * 4
    assert len(counted.exceeded) == 1
