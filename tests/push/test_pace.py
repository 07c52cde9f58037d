"""Never more than a service takes, in any stretch of time; and nothing that may go waits for ever."""

from random import Random

import pytest

from hubd.core.notification import Priority
from hubd.hooks.push import Limits, Push, Rate
from hubd.push.pace import COLLAPSIBLE, FULL_S, PLAIN, URGENT, DestinationPace, DevicePaces, Keys, Pace, Table


def _data(most: int) -> bytes:
    return b"{}"


def push(collapse_key: str | None = None, ttl_s: int = 3600) -> Push:
    return Push(
        "n1", "order", Priority.IMPORTANT, "", "", "", collapse_key, "n1", 0, ttl_s, {}, _data
    )  # fmt: skip


def most_within(times: list[float], seconds: float) -> int:
    """How many there are at most in any stretch of so many seconds, both its ends included."""
    first, most = 0, 0
    for place, at in enumerate(times):
        while at - times[first] > seconds:
            first += 1
        most = max(most, place - first + 1)
    return most


RATES = [Rate(1, 10), Rate(2, 1), Rate(20, 60), Rate(240, 60), Rate(5000, 3600), Rate(600_000, 60)]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("kind", ["greedy", "in bursts", "now and then"])
def test_no_window_holds_more(rate: Rate, kind: str) -> None:
    pace, random = DestinationPace((rate,)), Random(1)
    now, times = 1000.0, []
    for _ in range(min(12_000, 4 * rate.most)):
        if kind == "in bursts" and random.random() < 0.02:
            now += random.uniform(0, 2 * rate.per_s)
        if kind == "now and then":
            now += random.expovariate(1.2 * rate.most / rate.per_s)
        while wait := pace.wait(now):
            now += wait
        pace.taken(now)
        times.append(now)
    assert most_within(times, rate.per_s) <= rate.most
    if kind == "greedy" and len(times) > rate.most:
        assert (times[-1] - times[0]) * rate.most / rate.per_s < 1.2 * len(times) + rate.most, "it is used well"


def test_the_whole_burst_comes_back_after_a_rest() -> None:
    pace = Pace.of(Rate(240, 60))
    assert pace.burst == 24
    now, free_at = 0.0, -1e9
    for _ in range(24):
        assert pace.wait(free_at, now) == 0
        free_at = pace.taken(free_at, now)
    assert 0 < pace.wait(free_at, now) <= pace.interval_s
    assert pace.wait(free_at, now + 24 * pace.interval_s) == 0


def test_a_table_lets_go_of_those_that_are_idle_and_has_a_limit() -> None:
    table = Table(Pace(2, 10.0), entries=3)
    for device in (1, 2, 3):
        table.taken(device, 0.0)
    assert table.wait(4, 0.0) == FULL_S, "who is new waits"
    assert table.wait(1, 0.0) == 0, "who is known doesn't"
    table.taken(1, 5.0)
    assert table.wait(4, 10.0) == 0, "two of them are idle"
    table.taken(4, 10.0)
    assert (len(table), table.knows(1), table.knows(2)) == (2, True, False)


def test_a_table_stays_small_however_many_come() -> None:
    table = Table(Pace(20, 1.0), entries=100_000)
    for device in range(20_000):
        table.taken(device, device / 1000)
    assert len(table) < 1500


def test_collapse_keys_are_counted_until_they_expire() -> None:
    keys = Keys(2)
    for key in ("a", "b"):
        assert keys.may_have(1, key, 0.0)
        keys.taken(1, key, until=100.0, now=0.0)
    assert keys.may_have(1, "a", 50.0), "it is kept already"
    assert not keys.may_have(1, "c", 50.0)
    assert keys.may_have(2, "c", 50.0)
    keys.taken(1, "a", until=60.0, now=50.0)
    assert not keys.may_have(1, "c", 99.0), "the longest one counts"
    assert keys.may_have(1, "c", 101.0)


def test_a_full_table_of_keys_takes_no_more_devices() -> None:
    keys = Keys(4, entries=2)
    keys.taken(1, "a", until=100.0, now=0.0)
    keys.taken(2, "a", until=10.0, now=0.0)
    assert not keys.may_have(3, "a", 5.0)
    assert keys.may_have(1, "b", 5.0)
    assert keys.may_have(3, "a", 11.0), "the second one's are over"
    assert len(keys) == 1


FCM = Limits(
    per_device=(Rate(240, 60), Rate(5000, 3600)), collapsible_burst=20, collapsible_every_s=180, collapse_keys=4
)


def sent(paces: DevicePaces, one: Push, now: float = 0.0, *, is_urgent: bool = False) -> Push | float:
    """What went, or how long it has to wait."""
    look = paces.look(1, one, now, is_urgent=is_urgent)
    if look.wait_s > 0:
        return look.wait_s
    paces.taken(1, look.push, now)
    return look.push


def test_one_key_too_many_goes_without() -> None:
    paces = DevicePaces(FCM)
    for key in "abcd":
        assert sent(paces, push(key)) == push(key)
    assert sent(paces, push("e")) == push("e")._replace(collapse_key=None)
    assert sent(paces, push("d")) == push("d")


def test_collapsible_ones_wait_and_critical_ones_go_without_their_key() -> None:
    paces = DevicePaces(FCM)
    for _ in range(20):
        assert sent(paces, push("a")) == push("a")
    assert sent(paces, push("a")) == pytest.approx(180, rel=0.01)
    assert sent(paces, push(), 10.0) == push(), "it isn't collapsible"
    assert sent(paces, push("a"), 11.0, is_urgent=True) == push("a")._replace(collapse_key=None)


def test_where_every_push_is_collapsible_all_of_them_wait() -> None:
    paces = DevicePaces(FCM._replace(all_collapsible=True))
    for _ in range(20):
        sent(paces, push())
    assert sent(paces, push(), 10.0) == pytest.approx(170, rel=0.01)
    assert sent(paces, push("a"), 10.0, is_urgent=True) == pytest.approx(170, rel=0.01)


def test_each_kind_has_a_line_of_its_own() -> None:
    paces = DevicePaces(FCM)
    assert paces.look(1, push(), 0.0).line == PLAIN
    assert paces.look(1, push("a"), 0.0).line == COLLAPSIBLE
    assert paces.look(1, push("a"), 0.0, is_urgent=True).line == URGENT
    assert DevicePaces(Limits(per_device=(Rate(1, 10),))).look(1, push("a"), 0.0).line == PLAIN


def test_it_says_by_which_pace_it_waits() -> None:
    paces = DevicePaces(Limits(per_device=(Rate(10, 10), Rate(20, 1000))))
    look = paces.look(1, push(), 0.0)
    while look.wait_s == 0:
        paces.taken(1, push(), 0.0)
        look = paces.look(1, push(), 0.0)
    assert 0 < look.wait_s < 2
    now = 2.0
    paces.taken(1, push(), now)
    look = paces.look(1, push(), now)
    assert look.wait_s > 40 and look.interval_s > 40


def test_without_limits_nothing_is_kept() -> None:
    assert not DevicePaces(Limits()).is_any
    for limits in (FCM, FCM._replace(per_device=()), Limits(collapse_keys=1), Limits(per_device=(Rate(0, 1),))):
        assert DevicePaces(limits).is_any
