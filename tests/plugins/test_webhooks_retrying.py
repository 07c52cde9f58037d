"""Whether and when a call that failed is made again."""

import time
from random import Random

import pytest
from hubd_webhooks.retrying import MOST_S, RETRY_AFTER_S, Result, backoff_s, judge, retry_after_s
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_fine(status: int) -> None:
    assert judge(status) == (Result.DONE, "")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(status: int) -> None:
    result, reason = judge(status)
    assert result is Result.AGAIN
    assert reason == ("status_5xx" if status >= 500 else f"status_{status}")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 411, 413, 422, 428, 451, 499])
def test_what_won_t_pass_isn_t(status: int) -> None:
    assert judge(status) == (Result.FAILED, "status_4xx")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_redirects_are_failures(status: int) -> None:
    assert judge(status) == (Result.FAILED, "redirect")


def test_410_is_the_end() -> None:
    assert judge(410) == (Result.OFF, "status_410")


@pytest.mark.parametrize("failures", [*range(1, 12), 100, 10_000])
def test_the_delay_is_drawn_from_a_range_that_doubles(failures: int) -> None:
    bound = min(MOST_S, 2.0 ** min(failures - 1, 60))
    drawn = [backoff_s(failures, Random(seed)) for seed in range(300)]
    assert all(0 <= delay <= bound for delay in drawn)
    # Full jitter: near both ends, and no two hubs alike.
    assert min(drawn) < bound * 0.05 and max(drawn) > bound * 0.95
    assert len(set(drawn)) == 300


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("", 0),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("299", 299),
        ("301", RETRY_AFTER_S),
        ("9" * 90, RETRY_AFTER_S),
        ("9" * 101, 0),
        ("-5", 0),
        ("1.5", 0),
        ("\u0665", 0),
        ("soon", 0),
        ("Fri, 15 Jan 2027 08:01:30 GMT", 90),
        ("Fri, 15 Jan 2027 08:01:30", 90),
        ("Fri, 15 Jan 2027 09:01:30 +0100", 90),
        ("Friday, 15-Jan-27 08:01:30 GMT", 90),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Sat, 15 Jan 2028 08:00:00 GMT", RETRY_AFTER_S),
        ("Fri, 99 Jan 2027 08:01:30 GMT", 0),
        ("Fri, 15 Jan 99999 08:01:30 GMT", 0),
        ("Mon, 01 Jan 0001 00:00:00 GMT", 0),
        ("Fri, 15 Jan 2027 08:01:30 +999999999999999", 0),
        ("Fri, 15 Jan 99999999999999999999 08:01:30 GMT", 0),
    ],
)
def test_retry_after(text: str, delay: float) -> None:
    assert retry_after_s({"Retry-After": text} if text else {}, NOW) == delay


def test_a_date_without_a_zone_is_utc_wherever_the_hub_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after_s({"Retry-After": "Fri, 15 Jan 2027 08:01:30"}, NOW) == 90
    finally:
        monkeypatch.undo()
        time.tzset()


WORDS = ["Fri,", "15", "Jan", "2027", "08:00:00", "99:99:99", "GMT", "+9999", "-0000", "9" * 30, "0", ":", ",", "\x00"]


@given(st.one_of(st.text(max_size=120), st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)))
def test_whatever_an_endpoint_says_is_a_delay_within_bounds(text: str) -> None:
    assert 0 <= retry_after_s({"Retry-After": text}, NOW) <= RETRY_AFTER_S
