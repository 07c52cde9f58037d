"""The paces of all platforms: each has its own, by the limits that its backend has at the moment."""

from hubd.core.users import UserSet
from hubd.counts import PushCounts
from hubd.hooks.push import Limits, Rate
from hubd.push.destination import Destination
from hubd.push.jobs import Part
from hubd.push.pace import Queued
from hubd.push.pacing import Pacing
from tests.push.pushing_world import Service
from tests.push.test_pace import push
from tests.push.test_retrying import job

SLOW = Limits(per_device=(Rate(1, 100),))


def test_each_platform_has_its_own() -> None:
    pacing = Pacing()
    slow, free = Service(None, "slow", SLOW), Service(None, "free")
    one = push()
    for _ in range(3):
        assert pacing.admit(free, 1, one, "", 0.0, is_urgent=False) is one
    assert pacing.admit(slow, 1, one, "", 0.0, is_urgent=False) is one
    assert isinstance(pacing.admit(slow, 1, one, "", 0.0, is_urgent=False), Queued)


def test_limits_that_change_count_from_then_on() -> None:
    pacing, backend = Pacing(), Service(None, "slow", SLOW)
    pacing.admit(backend, 1, push(), "", 0.0, is_urgent=False)
    backend.limits = Limits(per_device=(Rate(1, 5),))
    pacing.admit(backend, 1, push(), "", 0.0, is_urgent=False)
    found = pacing.admit(backend, 1, push(), "", 0.0, is_urgent=False)
    assert isinstance(found, Queued) and found.wait_s < 6


def test_who_is_called_off_leaves_his_line() -> None:
    pacing, backend = Pacing(), Service(None, "slow", SLOW)
    pacing.admit(backend, 1, push(), "", 0.0, is_urgent=False)
    queued = [pacing.admit(backend, 1, push(), "", 0.0, is_urgent=False) for _ in range(2)]
    assert all(isinstance(one, Queued) for one in queued)
    to = Destination("slow", "h", SLOW, PushCounts(), 1)
    pacing.left(Part(job(1), to, 0, "plain"), UserSet((1,)))
    pacing.left_one("slow", 1, "plain")
    pacing.left_one("unknown", 1, "plain")
    pacing.left(Part(job(1), to, 0, ""), UserSet((1,)))
    assert not isinstance(pacing.admit(backend, 1, push(), "", 101.0, is_urgent=False), Queued)
