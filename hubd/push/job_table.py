"""The jobs that are under way: whom each is still for, and what is told of those whom it isn't for any more."""

import logging
from collections import OrderedDict

from hubd.clock import Clock
from hubd.core.collapsing import Collapsing
from hubd.core.milestones import EXPIRED
from hubd.core.notification import Priority
from hubd.core.record import Record
from hubd.core.users import NOBODY, UserSet
from hubd.log_events import log_event
from hubd.push.jobs import Job
from hubd.push.pacing import Pacing
from hubd.push.reporting import Gathered
from hubd.push.routing import KnownDevices

log = logging.getLogger("hubd.push")

AT_ONCE = 1000
"""So many users are taken out of a job at once; of more, the devices are passed over when it is their turn."""
UNFOLLOWED = 20_000
"""So many jobs there may be that the state machine doesn't count as open (any more); of more, the oldest end."""


class JobTable:
    """All jobs, by their records. What became of users is gathered in ``told``."""

    def __init__(self, clock: Clock, devices: KnownDevices, pacing: Pacing, told: Gathered) -> None:
        self._clock = clock
        self._devices = devices
        self._pacing = pacing
        self._told = told
        self._jobs: dict[Record, Job] = {}
        self._unfollowed: OrderedDict[Job, None] = OrderedDict()
        self._collapsing = Collapsing()
        self._of_many: dict[Job, None] = {}
        self._of_one: dict[int, dict[Job, None]] = {}  # those for a single user, by his number
        self._count = 0
        self.lost: dict[Job, None] = {}
        """Those in which a device turned out to be somebody else's: somebody may have none left."""

    def __len__(self) -> int:
        return len(self._jobs)

    def of_user(self, number: int) -> list[Job]:
        """Those that are for this user (by number) alone."""
        return list(self._of_one.get(number, ()))

    @property
    def has_many(self) -> bool:
        """Whether there are any for several users."""
        return bool(self._of_many)

    def of_many(self) -> list[Job]:
        """Those that are for several users, the oldest first."""
        return list(self._of_many)

    def is_known(self, job: Job) -> bool:
        """Whether it isn't over."""
        return self._jobs.get(job.record) is job

    def take_up(self, record: Record, users: UserSet) -> Job | None:
        """A record is to be brought to these users, all of whom have a device; None: nothing is known of it."""
        job = self._jobs.get(record)
        if job is not None:  # they have got a device since: all of theirs are tried, as what became of them is told
            job.accepted, job.refused, job.missed = job.accepted - users, job.refused - users, job.missed - users
            job.done = NOBODY
        elif record.notification is None:
            return None
        else:
            self._take_place_of_others(record, users)
            self._count += 1
            job = Job(self._count, record, record.notification)
            self._collapsing.add(record)
            self._jobs[record] = job
            record.is_awaited = True
        job.users = job.users | users
        self._index(job, users)
        return job

    def _index(self, job: Job, users: UserSet) -> None:
        """These users are among those whom it is for: it has to be found when their devices change."""
        if len(users) == 1 and job not in self._of_many:
            user = next(iter(users))
            if job.only_user in (None, user):
                job.only_user = user
                self._of_one.setdefault(user, {})[job] = None
                return
        self._unindex(job)
        self._of_many[job] = None

    def _unindex(self, job: Job) -> None:
        self._of_many.pop(job, None)
        user, job.only_user = job.only_user, None
        if user is not None:
            jobs = self._of_one[user]
            del jobs[job]
            if not jobs:
                del self._of_one[user]

    def _take_place_of_others(self, record: Record, users: UserSet) -> None:
        """What has the same collapse key needn't go to the other devices of those who have it on one of them.

        Whoever has it on none is the state machine's concern.
        """
        if record.collapses is None:
            return
        for other in self._collapsing.find(record.collapses, users):
            if other.priority is not Priority.CRITICAL and (older := self._jobs.get(other)) is not None:
                self.drop(older, older.accepted & users)

    def cancel(self, record: Record, users: UserSet) -> None:
        """These users don't want it any more."""
        job = self._jobs.get(record)
        if job is None:
            return
        if job.is_now_or_never:  # its ttl is over at once: that takes nobody's only try away
            users = users - record.milestones.at(EXPIRED)
        self.drop(job, users)

    def end(self, job: Job) -> None:
        """Nobody wants it any more."""
        self.drop(job, job.users | job.accepted)

    def drop(self, job: Job, users: UserSet) -> None:
        """It isn't for these users any more; nothing is told of them. What is under way goes on."""
        users = users & (job.users | job.accepted)
        if users:
            job.users, job.accepted, job.todo = job.users - users, job.accepted - users, job.todo - users
            if not job.users and not job.accepted:
                self._take_out(job, None)
            elif len(users) <= AT_ONCE:
                numbers = (number for user in users for number in self._devices.numbers_of(user))
                self._take_out(job, UserSet(numbers))
        self.end_if_over(job)

    def _take_out(self, job: Job, devices: UserSet | None) -> None:
        for part in list(job.parts):
            gone = part.take_out(part.devices if devices is None else devices)
            job.open = job.open - gone
            self._pacing.left(part, gone, self._clock.monotonic())

    def through(self, job: Job, device: int, user: int | None) -> None:
        """Nothing more is done for this device; ``user``: whose it is."""
        job.is_through_with(device)
        if user is None or not job.is_for(user):
            self.lost[job] = None
        elif user not in job.todo and not job.has_hope(user, self._devices.numbers_of(user)):
            self.nowhere(job, user)
        self.end_if_over(job)

    def accepted(self, job: Job, device: int, user: int, detail: str) -> None:
        """A service took it for this device; it still goes to the others of this user."""
        if user in job.users:
            job.users = job.users - UserSet((user,))
            job.accepted = job.accepted | UserSet((user,))
            self._told.accepted(job.record, user, detail)
        elif not job.is_for(user):  # it was called off on the way, and can't be called back
            self._told.accepted(job.record, user, detail)
        job.is_through_with(device)
        self.end_if_over(job)

    def refused(self, job: Job, device: int, user: int) -> None:
        """A service won't take it for this device."""
        job.refused = job.refused | UserSet((user,))
        self.through(job, device, user)

    def missed(self, job: Job, device: int, user: int) -> None:
        """Its only try was in vain."""
        job.missed = job.missed | UserSet((user,))
        self.through(job, device, user)

    def nowhere(self, job: Job, user: int) -> None:
        """None of this user's devices waits any more or is under way."""
        if user not in job.users:
            return
        job.users = job.users - UserSet((user,))
        if user in job.refused:
            self._told.given_up(job.record, user, "refused")
        elif user in job.missed:
            self._told.given_up(job.record, user, "unreachable")
        else:
            self._told.not_routed(job.record, user)

    def end_if_over(self, job: Job) -> None:
        """Forget it when nothing is left to do."""
        if not self.is_known(job):
            return
        if not job.is_over:
            self._follow(job)
            return
        for user in job.users:
            self.nowhere(job, user)  # those whose devices others have now
        del self._jobs[job.record]
        self._collapsing.discard(job.record)
        job.record.is_awaited = False
        self._unfollowed.pop(job, None)
        self.lost.pop(job, None)
        self._unindex(job)

    def _follow(self, job: Job) -> None:
        """The state machine bounds what is open; here, what is left besides."""
        if job in self._unfollowed or (job.users and job.record.is_open):
            return
        self._unfollowed[job] = None
        while len(self._unfollowed) > UNFOLLOWED:
            oldest, _ = self._unfollowed.popitem(last=False)
            if not (oldest.users and oldest.record.is_open):  # it may be followed again
                log_event(log, "push_left_out", id=oldest.record.id, devices=len(oldest.open))
                self.end(oldest)
