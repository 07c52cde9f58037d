"""The paces of all platforms: each has its own, by its backend's limits, and who waits is let out in order."""

from hubd.core.users import UserSet
from hubd.counts import PushCounts
from hubd.hooks.push import Limits, Rate
from hubd.push.destination import Destination
from hubd.push.jobs import Part, PartKey
from hubd.push.pace import ENTRIES
from hubd.push.pacing import Pacing, Queued
from tests.push.pushing_world import Service
from tests.push.test_pace import push
from tests.push.test_retrying import job

SLOW = Limits(per_device=(Rate(1, 100),))


def parked(to: Destination, number: int) -> Part:
    return to.park(job(number), 1, PartKey(number, 0, "plain"))


def test_each_platform_has_its_own() -> None:
    pacing = Pacing()
    slow, free = Service(None, "slow", SLOW), Service(None, "free")
    one = push()
    for _ in range(3):
        assert pacing.admit(free, 1, one, "", 0.0) is one
    assert pacing.admit(slow, 1, one, "", 0.0) is one
    assert isinstance(pacing.admit(slow, 1, one, "", 0.0), Queued)


def test_limits_that_change_count_from_then_on() -> None:
    pacing, backend = Pacing(), Service(None, "slow", SLOW)
    pacing.admit(backend, 1, push(), "", 0.0)
    backend.limits = Limits(per_device=(Rate(1, 5),))
    pacing.admit(backend, 1, push(), "", 0.0)
    found = pacing.admit(backend, 1, push(), "", 0.0)
    assert isinstance(found, Queued) and found.wait_s < 6


def test_who_comes_later_waits_behind_those_who_wait() -> None:
    pacing, backend = Pacing(), Service(None, "slow", SLOW)
    to = Destination("slow", "h", SLOW, PushCounts(), 1)
    pacing.admit(backend, 1, push(), "", 0.0)
    found = pacing.admit(backend, 1, push(), "", 0.0)
    assert isinstance(found, Queued)
    first, second = parked(to, 1), parked(to, 2)
    pacing.lines.join(1, found.line, first, found.wait_s)
    assert pacing.admit(backend, 1, push(), "", 150.0) == Queued(0.0, "plain"), (
        "there is room, for who was there before"
    )
    pacing.lines.join(1, "plain", second, 150.0)
    (turn,) = pacing.lines.due(150.0, 9)
    assert turn.part is first
    assert pacing.admit(backend, 1, push(), "plain", 150.0) == push()
    assert pacing.lines.due(250.0, 9) == [], "others may go between"
    (turn,) = pacing.lines.due(270.0, 9)
    assert turn.part is second
    assert pacing.admit(backend, 1, push(), "plain", 270.0) == push()
    assert len(pacing.lines) == 0


def test_who_is_called_off_on_his_way_lets_the_next_one_out() -> None:
    pacing, backend = Pacing(), Service(None, "slow", SLOW)
    to = Destination("slow", "h", SLOW, PushCounts(), 1)
    for number in (1, 2):
        pacing.lines.join(1, "plain", parked(to, number), 5.0)
    (turn,) = pacing.lines.due(5.0, 9)
    to.let_out(turn.part, 1)
    (out,) = turn.part.job.parts
    assert out.key == PartKey(1, 0, "plain", is_out=True)
    pacing.left(out, out.take_out(UserSet((1,))), 6.0)
    (turn,) = pacing.lines.due(6.0, 9)
    assert turn.part.job.number == 2
    pacing.left(turn.part, UserSet((1,)), 6.0)  # it is in the line, and not out of it
    assert pacing.admit(backend, 1, push(), "plain", 6.0) == push()


def test_there_is_room_for_as_many_devices_as_there_may_be() -> None:
    pacing, backend = Pacing(), Service(None, "slow", SLOW)
    pacing.admit(backend, 1, push(), "", 0.0)
    (_, paces) = pacing._paces["slow"]
    assert paces._rates[0].entries == ENTRIES
    pacing.apply(ENTRIES * 5)
    assert paces._rates[0].entries == ENTRIES * 5
    pacing.apply(1)
    assert paces._rates[0].entries == ENTRIES
    pacing.apply(0)
    assert paces._rates[0].entries > 20 * ENTRIES


def test_without_room_for_lines_they_wait_a_moment() -> None:
    pacing, backend = Pacing(), Service(None, "slow", SLOW)
    pacing.lines._most = 0
    pacing.admit(backend, 1, push(), "", 0.0)
    found = pacing.admit(backend, 1, push(), "", 0.0)
    assert isinstance(found, Queued) and found.line == "" and found.wait_s > 90
