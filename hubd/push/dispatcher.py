"""Brings notifications to devices: who, when, at what pace, how often; a push backend only makes the single call.

What is to be done is kept in sets of numbers: no task, timer or object for a device that waits. Tasks are for calls
that are under way. Nothing of it is stored: the open record is, and after a restart it is pushed anew.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from math import inf
from random import Random

from hubd.clock import CallLater, Clock, Handle
from hubd.config import Config
from hubd.core.record import Record
from hubd.core.users import UserSet
from hubd.counts import PushCounts
from hubd.hooks.push import PushBackend
from hubd.log_events import log_event
from hubd.push.bringing import Bringing, Needs, PushMaker
from hubd.push.destination import Destinations
from hubd.push.job_table import JobTable
from hubd.push.jobs import Job
from hubd.push.pacing import Pacing
from hubd.push.reporting import Gathered, Reports
from hubd.push.routing import KnownDevices, OnFault, Routing
from hubd.push.sending import UnderWay
from hubd.tasks import Tasks

log = logging.getLogger("hubd.push")

JOBS = 2000
"""So many jobs are looked through in one turn for those that a change of devices concerns."""
SEARCH_S = 5.0
"""How long after a device turned out to be somebody else's now it is looked who has none left."""


class Dispatcher:
    """All that is to be pushed. ``backends`` may change while it runs; ``reports`` may be given later.

    ``on_fault`` is told of what a backend did wrong; without, it is logged.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        random: Random,
        tasks: Tasks,
        call_later: CallLater,
        devices: KnownDevices,
        payloads: PushMaker,
        backends: Mapping[str, PushBackend],
        reports: Reports | None = None,
        on_fault: OnFault | None = None,
        counts: PushCounts | None = None,
    ) -> None:
        self._clock = clock
        self._call_later = call_later
        self._devices = devices
        self.reports = reports
        self.counts = counts or PushCounts()
        self.counts.waiting = self.waiting
        self._told = Gathered()
        self._under_way = UnderWay(tasks)
        self._destinations = Destinations(self.counts)
        self._connect(Needs(clock, random, devices, payloads, backends, on_fault or _log_fault))
        self._changed = UserSet()
        self._search: tuple[Iterator[Job], UserSet] | None = None
        self._lost_at = inf
        self._timer: Handle | None = None
        self._timer_at = inf
        self._is_stopping = False
        self.apply(config)

    def _connect(self, needs: Needs) -> None:
        """Make the parts, each of which knows the next one."""
        self._pacing = Pacing()
        self._jobs = JobTable(needs.clock, needs.devices, self._pacing, self._told)
        self._bringing = Bringing(
            needs,
            jobs=self._jobs,
            pacing=self._pacing,
            told=self._told,
            under_way=self._under_way,
            counts=self.counts,
            wake_in=self._wake_in,
        )
        self._routing = Routing(
            needs.devices,
            needs.backends,
            self._destinations,
            self._bringing.now_ready,
            self._jobs.nowhere,
            needs.on_fault,
        )

    def apply(self, config: Config) -> None:
        """Go by this config from now on; what waits already waits as long as it was to."""
        self._pacing.apply(config.push.devices)
        self._bringing.first_s, self._bringing.longest_s = config.push.retry_first_s, config.push.retry_longest_s

    def __len__(self) -> int:
        """How many notifications are on their way."""
        return len(self._jobs)

    def waiting(self) -> dict[str, int]:
        """How many pushes wait, by platform: each device counts for each notification."""
        found: dict[str, int] = {}
        for one in self._destinations:
            found[one.platform] = found.get(one.platform, 0) + one.waiting
        return found

    # What the state machine asks for

    def push(self, record: Record, users: UserSet) -> None:
        """Begin to bring it to these users' devices."""
        if self._is_stopping:
            return  # it stays open, and is pushed after the start
        known = users & self._devices.users
        if self.reports is not None and (none := users - known):
            self.reports.not_routed(record, none)
        if known and (job := self._jobs.take_up(record, known)) is not None:
            self._routing.add(job, known)
            self._wake_in(0.0)

    def cancel(self, record: Record, users: UserSet) -> None:
        """What no service has taken yet isn't wanted any more; what is under way goes on."""
        self._jobs.cancel(record, users)

    def devices_changed(self, user_number: int) -> None:
        """A user has one more device, or one less."""
        for job in self._jobs.of_user(user_number):
            self._routing.add(job, job.users)
            self._wake_in(0.0)
        if self._jobs.has_many:
            self._changed.add(user_number)
            self._wake_in(0.0)

    async def stop(self, within_s: float) -> None:
        """Begin nothing more, and wait so long for what is under way: what became of it is told. Waiting stays open."""
        self._is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
        await self._under_way.finish(within_s)
        self._tell()

    # Turns of the loop

    def _wake_in(self, seconds: float) -> None:
        at = self._clock.monotonic() + seconds
        if at >= self._timer_at or self._is_stopping:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._call_later(seconds, self._turn)

    def _turn(self) -> None:
        """Do what there is to do, so much of it that others have their turns, too."""
        self._timer, self._timer_at = None, inf
        now = self._clock.monotonic()
        try:
            self._look_again(now)
            for job in self._routing.turn(now):
                self._jobs.end_if_over(job)
            next_at = self._bringing.turn(now)
        except Exception:  # it doesn't end it for all
            self._wake_in(1.0)
            raise
        if self._jobs.lost and self._lost_at == inf:
            self._lost_at = now + SEARCH_S
        self._tell()
        if self._routing or self._search is not None or self._changed:
            next_at = now
        self._set_timer(min(next_at, self._lost_at))

    def _set_timer(self, at: float) -> None:
        now = self._clock.monotonic()
        if self._timer is not None and self._timer_at > now:
            self._timer.cancel()
            self._timer, self._timer_at = None, inf
        if at != inf:
            self._wake_in(max(0.0, at - now))

    def _tell(self) -> None:
        if self._told and self.reports is not None:
            self._told.tell(self.reports)

    def _look_again(self, now: float) -> None:
        """Look up again those who have other devices now."""
        if now >= self._lost_at:
            self._lost_at = inf
            lost, self._jobs.lost = self._jobs.lost, {}
            for job in lost:
                self._routing.add(job, job.users)
        if self._search is None and self._changed:
            self._search = iter(self._jobs.of_many()), self._changed
            self._changed = UserSet()
        if self._search is None:
            return
        jobs, users = self._search
        looked = 0
        for job in islice(jobs, JOBS):
            looked += 1
            if self._jobs.is_known(job) and (them := job.users & users):
                self._routing.add(job, them)
        if looked < JOBS:
            self._search = None


def _log_fault(platform: str, fault: BaseException) -> None:
    log_event(log, "push_failed", fault, platform=platform)
