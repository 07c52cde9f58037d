"""Whom jobs are still for, what is told when nothing is left, and that nothing stays behind."""

from typing import Any

import pytest

import hubd.push.job_table as module
from hubd.core.milestones import EXPIRED, Tally
from hubd.core.notification import Priority
from hubd.core.record import Budget, Record
from hubd.core.users import UserSet
from hubd.push.job_table import JobTable
from hubd.push.jobs import Job, Part, PartKey, Waiting
from hubd.push.pacing import Pacing
from hubd.push.reporting import Gathered
from hubd.testing import FakeClock
from tests.core.made import published
from tests.push.test_reporting import Told
from tests.push.test_routing import Known


class World:
    def __init__(self) -> None:
        self.known = Known({user: [user * 10, user * 10 + 1] for user in range(1, 6)})
        self.gathered = Gathered()
        self.table = JobTable(FakeClock(), self.known, Pacing(), self.gathered)
        self.to = Waiting()
        self.count = 0

    def record(
        self, *, ttl_s: float = 60.0, is_open: bool = True, everybody: UserSet | None = None, **more: Any
    ) -> Record:
        self.count += 1
        everybody = everybody or UserSet(range(1, 6))
        record = Record(f"k{self.count}", published("t", sequence=self.count, **more), everybody, everybody, Tally(), Budget())  # fmt: skip  # noqa: E501
        record.ttl_s = ttl_s
        record.is_open = is_open
        return record

    def job(self, record: Record, *users: int) -> Job:
        """One whose users' devices all wait."""
        job = self.table.take_up(record, UserSet(users))
        assert job is not None
        part = Part(job, self.to, PartKey(job.number, 0))
        devices = UserSet(number for user in users for number in self.known.devices[user])
        part.put(devices)
        job.open = job.open | devices
        return job

    def told(self) -> list[tuple[Any, ...]]:
        told = Told()
        self.gathered.tell(told)
        return told.told


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_device_that_has_it_counts_and_the_last_one_that_has_not(world: World) -> None:
    job = world.job(world.record(), 1, 2)
    world.table.accepted(job, 10, 1, "fake 201")
    world.table.accepted(job, 11, 1, "fake 201")
    world.table.refused(job, 20, 2)
    assert world.told() == [("accepted", "n1", [1], "fake 201")]
    world.table.through(job, 21, 2)
    assert world.told() == [("given_up", "n1", [2], "refused")]
    assert len(world.table) == 0


def test_none_of_them_is_there_any_more(world: World) -> None:
    job = world.job(world.record(), 1)
    world.table.through(job, 10, 1)
    assert not world.told()
    world.table.through(job, 11, 1)
    assert world.told() == [("not_routed", "n1", [1])]


def test_only_try_in_vain(world: World) -> None:
    job = world.job(world.record(ttl_s=0), 1)
    world.table.missed(job, 10, 1)
    world.table.through(job, 11, 1)
    assert world.told() == [("given_up", "n1", [1], "unreachable")]


def test_what_is_called_off_waits_no_more_and_is_not_told_of(world: World) -> None:
    record = world.record()
    job = world.job(record, 1, 2, 3)
    world.table.cancel(record, UserSet((2, 5)))
    assert (list(job.users), list(job.open), world.to.waiting) == ([1, 3], [10, 11, 30, 31], 4)
    world.table.cancel(record, UserSet((1, 3)))
    assert (len(world.table), world.to.waiting, job.parts, world.told()) == (0, 0, {}, [])
    world.table.cancel(record, UserSet((1, 3)))


def test_what_is_under_way_keeps_the_job_until_it_is_answered(world: World) -> None:
    record = world.record()
    job = world.job(record, 1)
    (part,) = job.parts
    assert part.take_first() == 10
    world.table.cancel(record, UserSet((1,)))
    assert (len(world.table), list(job.open), world.to.waiting) == (1, [10], 0)
    world.table.accepted(job, 10, 1, "fake 201")
    assert world.told() == [("accepted", "n1", [1], "fake 201")]
    assert len(world.table) == 0


def test_very_many_are_called_off_without_a_look_at_their_devices(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1)
    record = world.record()
    job = world.job(record, 1, 2, 3)
    world.table.cancel(record, UserSet((1, 2)))
    assert (list(job.users), world.to.waiting) == ([3], 6)
    assert not job.wants(1) and job.wants(3)
    world.table.cancel(record, UserSet((3,)))
    assert (len(world.table), world.to.waiting) == (0, 0)


def test_now_or_never_is_not_called_off_by_its_ttl(world: World) -> None:
    record = world.record(ttl_s=0)
    job = world.job(record, 1, 2)
    record.milestones.move(UserSet((1,)), EXPIRED)
    world.table.cancel(record, UserSet((1, 2)))
    assert list(job.users) == [1]


def test_pushed_again_all_devices_are_tried(world: World) -> None:
    record = world.record()
    job = world.job(record, 1, 2)
    world.table.refused(job, 10, 1)
    world.table.refused(job, 11, 1)
    assert 10 in job.done and 1 in job.refused
    assert world.table.take_up(record, UserSet((1,))) is job
    assert (list(job.users), list(job.done), list(job.refused)) == ([1, 2], [], [])


def test_a_newer_one_of_the_same_kind_spares_only_those_who_have_the_older_one(world: World) -> None:
    older = world.job(world.record(collapse_key="score"), 1, 2)
    world.table.accepted(older, 10, 1, "fake 201")
    world.job(world.record(collapse_key="other"), 1)
    assert 11 in older.open
    world.job(world.record(collapse_key="score"), 1, 2)
    assert (11 in older.open, list(older.users)) == (False, [2]), "the state machine sees to those who have it on none"


def test_critical_ones_are_not_replaced(world: World) -> None:
    older = world.job(world.record(collapse_key="score", priority=Priority.CRITICAL), 1)
    world.table.accepted(older, 10, 1, "fake 201")
    world.job(world.record(collapse_key="score"), 1)
    assert 11 in older.open


def test_nothing_is_kept_of_those_that_are_over(world: World) -> None:
    for key in ("score", "score", "other"):
        record = world.record(collapse_key=key)
        world.job(record, 1)
        world.table.cancel(record, UserSet((1,)))
    assert (len(world.table), len(world.table._collapsing), world.table._unfollowed) == (0, 0, {})


def test_jobs_are_found_by_whom_they_are_for(world: World) -> None:
    alone, many = world.job(world.record(), 1), world.job(world.record(), 1, 2)
    grows = world.job(world.record(), 3)
    assert (world.table.of_user(1), world.table.of_user(2), world.table.of_user(3)) == ([alone], [], [grows])
    assert (world.table.of_many(), world.table.has_many) == ([many], True)
    world.table.take_up(grows.record, UserSet((3,)))
    assert world.table.of_user(3) == [grows]
    world.table.take_up(grows.record, UserSet((4,)))
    assert (world.table.of_user(3), world.table.of_user(4), world.table.of_many()) == ([], [], [many, grows])
    for job in (alone, many, grows):
        world.table.end(job)
    assert (world.table._of_one, world.table._of_many, len(world.table)) == ({}, {}, 0)


def test_those_of_others_with_the_same_key_are_not_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand users, each with a notification of his own and the same key: a push to one of them costs no more."""
    looked: list[Job] = []
    drop = world.table.drop
    monkeypatch.setattr(world.table, "drop", lambda job, users: (looked.append(job), drop(job, users)))
    for user in (1, 2, 3, 4, 5):
        record = world.record(collapse_key="unread", everybody=UserSet((user,)))
        world.table.accepted(world.job(record, user), user * 10, user, "fake 201")
    again = world.record(collapse_key="unread", everybody=UserSet((2,)))
    world.job(again, 2)
    assert [list(job.record.everybody) for job in looked] == [[2]]


def test_what_nobody_follows_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "UNFOLLOWED", 3)
    followed = world.job(world.record(), 2)
    jobs = []
    for _ in range(5):
        jobs.append(world.job(world.record(), 1))
        world.table.accepted(jobs[-1], 10, 1, "fake 201")
    assert [world.table.is_known(job) for job in (followed, *jobs)] == [True, False, False, True, True, True]
    assert caplog.text.count("push_left_out") == 2
    overflow = world.job(world.record(is_open=False), 3)
    world.table.end_if_over(overflow)
    assert [world.table.is_known(job) for job in (followed, *jobs)] == [True, False, False, False, True, True]


def test_one_that_is_followed_again_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNFOLLOWED", 1)
    record = world.record()
    job = world.job(record, 1)
    world.table.accepted(job, 10, 1, "fake 201")
    world.table.take_up(record, UserSet((2,)))
    for _ in range(3):
        world.table.accepted(world.job(world.record(), 1), 10, 1, "fake 201")
    assert world.table.is_known(job)


def test_a_device_that_is_a_strangers_makes_it_look_again(world: World) -> None:
    job = world.job(world.record(), 1)
    world.table.through(job, 10, 5)
    assert list(world.table.lost) == [job]
    world.table.through(job, 11, None)
    assert world.told() == [("not_routed", "n1", [1])]
    assert not world.table.lost


def test_without_a_notification_there_is_nothing_to_bring(world: World) -> None:
    record = world.record()
    record.unlink()
    assert world.table.take_up(record, UserSet((1,))) is None
