"""When devices are tried again: by chance, within bounds, in few buckets, and never too early."""

from random import Random

import pytest

from hubd.core.milestones import Tally
from hubd.core.record import Budget, Record
from hubd.core.users import UserSet
from hubd.push.jobs import Job, Waiting
from hubd.push.retrying import MOST_ATTEMPTS, Buckets, backoff, rounded_up
from tests.core.made import published


def job(number: int) -> Job:
    notification = published("user:ada", sequence=number)
    record = Record(f"k{number}", notification, UserSet((1,)), UserSet((1,)), Tally(), Budget())
    record.ttl_s = 3600
    return Job(number, record, notification)


def test_pauses_double_up_to_the_longest_with_full_jitter() -> None:
    random = Random(1)
    for attempt, most in ((1, 2), (2, 4), (3, 8), (9, 512), (10, 600), (1000, 600)):
        found = [backoff(attempt, 2, 600, random) for _ in range(2000)]
        assert max(found) <= most and max(found) > 0.98 * most and min(found) < 0.02 * most
        assert sum(found) / 2000 == pytest.approx(most / 2, rel=0.05)


@pytest.mark.parametrize("wait", [0, 1e-9, 0.01, 0.13, 1, 7.3, 100, 5000, 86_400])
@pytest.mark.parametrize("now", [0.0, 1000.3, 5_000_000.7])
def test_never_too_early_and_little_too_late(wait: float, now: float) -> None:
    at = now + wait
    found = rounded_up(at, now)
    assert at <= found <= at + max(1 / 64, wait / 8)


def test_there_are_few_buckets_however_many_wait() -> None:
    random, buckets, to = Random(2), Buckets(), Waiting()
    one = job(1)
    for device in range(50_000):
        buckets.put(one, to, device, 5, 1000 + random.uniform(0, 86_400), 1000.0)
    assert len(buckets) < 150
    assert to.waiting == 50_000 == sum(len(part.devices) for part in one.parts)


def test_parts_come_out_when_they_are_due_and_not_all_at_once() -> None:
    buckets, to = Buckets(), Waiting()
    jobs = [job(number) for number in range(10)]
    for one in jobs:
        buckets.put(one, to, one.number, 1, 1010.0, 1000.0)
    buckets.put(jobs[0], to, 99, 1, 1500.0, 1000.0)
    assert buckets.take(1009.9, 100) == []
    assert 1010 <= buckets.next_moment() <= 1011.25
    found = buckets.take(1012.0, 6)
    assert [part.job.number for part in found] == [0, 1, 2, 3, 4, 5]
    assert [part.job.number for part in buckets.take(1012.0, 6)] == [6, 7, 8, 9]
    assert buckets.take(1012.0, 6) == []
    assert buckets.next_moment() >= 1500


def test_what_is_called_off_leaves_no_bucket_behind() -> None:
    buckets, to = Buckets(), Waiting()
    one = job(1)
    buckets.put(one, to, 7, 1, 1010.0, 1000.0)
    (part,) = one.parts
    part.take_out(UserSet((7,)))
    assert (to.waiting, one.parts) == (0, {})
    assert buckets.next_moment() == float("inf")
    assert len(buckets) == 0


def test_attempts_beyond_many_are_all_the_same() -> None:
    buckets, to = Buckets(), Waiting()
    one = job(1)
    for attempt in (MOST_ATTEMPTS, MOST_ATTEMPTS + 1, 10**9):
        buckets.put(one, to, attempt, attempt, 1010.0, 1000.0)
    assert len(one.parts) == 1
