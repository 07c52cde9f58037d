"""From a device that waits to a call of its service, and from the answer to what is done next."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import inf
from random import Random
from typing import NamedTuple, Protocol

from hubd.clock import Clock
from hubd.core.notification import Notification, Priority
from hubd.counts import PushCounts
from hubd.hooks.push import Device, Outcome, Push, PushBackend, PushResult
from hubd.log_events import log_event
from hubd.push.destination import Destination
from hubd.push.job_table import JobTable
from hubd.push.jobs import Job, Part, PartKey
from hubd.push.pacing import Pacing, Queued
from hubd.push.reporting import Gathered
from hubd.push.retrying import Buckets, backoff
from hubd.push.routing import KnownDevices, OnFault
from hubd.push.sending import Answer, UnderWay, call

log = logging.getLogger("hubd.push")

LOOKS = 200
"""So many devices are looked at in one turn of the loop, and so many parts that are due."""
LOOKS_EACH = 32
NOW_S = 10.0
"""What is now or never may have to wait so long for its turn."""
OVER_S = 1.0
"""What isn't to be tried again before its ttl is over is looked at so long after that, and then not tried."""
_ASKED_MORE = 0.1
_ASKED_MORE_S = 10.0
"""When a service says how long a device is to wait, it waits a little longer, by chance: not all come back at once."""


class PushMaker(Protocol):
    """Makes what is pushed (``Payloads``)."""

    def push_for(self, notification: Notification, device: Device, user_number: int | None) -> Push:
        """One notification on its way to one device of a user."""
        ...


class Needs(NamedTuple):
    """What pushing needs of the hub around it."""

    clock: Clock
    random: Random
    devices: KnownDevices
    payloads: PushMaker
    backends: Mapping[str, PushBackend]
    on_fault: OnFault


class _Sent(NamedTuple):
    """A push that is under way."""

    job: Job
    to: Destination
    device: int
    user: int
    attempt: int
    period: int
    at: float


class Bringing:
    """Devices that wait, whose turn comes, that are called, and that are tried again.

    ``wake_in(seconds)``: a turn is needed by then.
    """

    first_s = 2.0
    longest_s = 600.0

    def __init__(
        self,
        needs: Needs,
        *,
        jobs: JobTable,
        pacing: Pacing,
        told: Gathered,
        under_way: UnderWay,
        counts: PushCounts,
        wake_in: Callable[[float], None],
    ) -> None:
        self._clock, self._random, self._on_fault = needs.clock, needs.random, needs.on_fault
        self._devices, self._payloads, self._backends = needs.devices, needs.payloads, needs.backends
        self._jobs = jobs
        self._pacing = pacing
        self._told = told
        self._under_way = under_way
        self._counts = counts
        self._wake_in = wake_in
        self._buckets = Buckets()
        self._ready: OrderedDict[Destination, None] = OrderedDict()
        self._sleeping: dict[Destination, float] = {}

    # Turns

    def now_ready(self, destination: Destination) -> None:
        """Something may be begun there."""
        self._sleeping.pop(destination, None)
        self._ready[destination] = None
        self._wake_in(0.0)

    def turn(self, now: float) -> float:
        """Begin what may be begun, so much of it; gives when there is more to do (monotonic s)."""
        due = self._buckets.take(now, LOOKS)
        for part in due:
            assert isinstance(part.to, Destination)
            part.to.put(part)
            self._ready[part.to] = None
        for device, _, parked in self._pacing.lines.due(now, LOOKS):
            assert isinstance(parked.to, Destination)
            parked.to.let_out(parked, device)
            self._ready[parked.to] = None
        for destination in [one for one, until in self._sleeping.items() if until <= now]:
            del self._sleeping[destination]
            self._ready[destination] = None
        looks = LOOKS
        for destination in list(self._ready):
            if looks <= 0:
                break
            most = min(looks, LOOKS_EACH)
            looked = self._begin_at(destination, now, most)
            looks -= looked
            if looked < most:
                del self._ready[destination]
            else:
                self._ready.move_to_end(destination)
        if self._ready:
            return now
        return min(self._buckets.next_moment(), self._pacing.lines.next_moment(), *self._sleeping.values(), inf)

    def _begin_at(self, destination: Destination, now: float, most: int) -> int:
        """Begin pushes to one destination; gives how many devices were looked at: fewer when no more can be done."""
        for looked in range(most):
            if not destination.lanes:
                return looked
            if wait := destination.wait(now):
                self._sleeping[destination] = now + wait
                return looked
            if destination.room(now) <= 0 or (part := destination.lanes.next()) is None:
                return looked
            self._look_at(part, destination, now)
        return most

    # One device

    def _look_at(self, part: Part, to: Destination, now: float) -> None:
        """A device's turn has come: push, if that is still wanted, and the device still his."""
        job, key = part.job, part.key
        number = part.take_first()
        device, user = self._devices.get(number), self._devices.owner_of(number)
        backend = self._backends.get(to.platform)
        push: Push | None = None
        if now > job.expires_at + (NOW_S if job.is_now_or_never else 0.0):
            self._too_late(job, number, user)
        elif device is None or user is None or backend is None or not job.wants(user):
            self._jobs.through(job, number, None if device is None else user)
        elif not to.has_room_for(user):
            to.set_aside(job, number, key, user)
            return
        else:
            push = self._push_for(job, device, number, user)
        if push is None or device is None or user is None or backend is None:
            if key.is_out:
                self._pacing.lines.went(number, key.line, now)
            return
        is_urgent = job.priority is Priority.CRITICAL
        line = key.line if key.is_out else ""
        phone = hash(device.id)
        admitted = self._pacing.admit(backend, number, push, line, now, is_urgent=is_urgent, phone=phone)
        if isinstance(admitted, Queued):
            self._wait(part, to, number, admitted, now)
            return
        to.began(now, user)
        job.began(user)
        sent = _Sent(job, to, number, user, key.attempt, to.period, now)
        self._under_way.start(self._send(backend, device, admitted, sent))

    def _wait(self, part: Part, to: Destination, number: int, queued: Queued, now: float) -> None:
        """A device had enough for now."""
        job, key, at = part.job, part.key, now + queued.wait_s
        if not queued.line:
            self._buckets.put(job, to, number, key.attempt, at, now)
            return
        parked = to.park(job, number, PartKey(job.number, key.attempt, queued.line))
        if key.is_out:
            self._pacing.lines.back(number, queued.line, parked, at)
        else:
            self._pacing.lines.join(number, queued.line, parked, at)

    def _push_for(self, job: Job, device: Device, number: int, user: int) -> Push | None:
        try:
            return self._payloads.push_for(job.notification, device, user)
        except Exception as error:  # the others that wait are to go on
            log_event(log, "push_failed", error, id=job.record.id)
            self._jobs.refused(job, number, user)
            return None

    def _too_late(self, job: Job, number: int, user: int | None) -> None:
        if job.is_now_or_never and user is not None:
            self._jobs.missed(job, number, user)
        else:  # the state machine says that it has expired
            job.is_through_with(number)
            self._jobs.end(job)

    async def _send(self, backend: PushBackend, device: Device, push: Push, sent: _Sent) -> None:
        try:
            answer = await call(backend, device, push, backend.limits.timeout_s)
        finally:
            sent.job.ended(sent.user)
            sent.to.ended(sent.user)
        self.now_ready(sent.to)
        self._answered(sent, answer)

    # Its answer

    def _answered(self, sent: _Sent, answer: Answer) -> None:
        now, result = self._clock.monotonic(), answer.result
        platform = sent.to.platform
        self._counts.note_attempt(platform, result.outcome.value, now - sent.at)
        if answer.fault is not None:
            self._on_fault(platform, answer.fault)
        if answer.is_hosts:
            asked_s = result.retry_after_s if result.for_all else None
            sent.to.failed(now, sent.period, result.reason, asked_s, self._random, sent.user)
        else:
            sent.to.worked(sent.period)
        self._told.attempted(sent.job.record, sent.user, f"{platform} {result.outcome.value} {result.reason}".strip())
        self._settle(sent, result, now)

    def _settle(self, sent: _Sent, result: PushResult, now: float) -> None:
        job, number, user = sent.job, sent.device, sent.user
        match result.outcome:
            case Outcome.ACCEPTED:
                self._devices.answered(number)
                self._jobs.accepted(job, number, user, f"{sent.to.platform} {result.reason}".strip())
            case Outcome.REFUSED:
                self._jobs.refused(job, number, user)
            case Outcome.GONE if self._devices.gone(number, result.reason, result.gone_since):
                self._jobs.through(job, number, user)
            case _:  # later; or gone, where that isn't believed
                self._later(sent, result, now)

    def _later(self, sent: _Sent, result: PushResult, now: float) -> None:
        job, number, user = sent.job, sent.device, sent.user
        if job.is_now_or_never:
            self._jobs.missed(job, number, user)
        elif not job.is_for(user):
            self._jobs.through(job, number, user)
        else:
            attempt = sent.attempt + 1
            wait = backoff(attempt, self.first_s, self.longest_s, self._random)
            if (asked_s := result.retry_after_s) is not None:
                wait = max(wait, asked_s + self._random.uniform(0.0, min(asked_s * _ASKED_MORE, _ASKED_MORE_S)))
            self._buckets.put(job, sent.to, number, attempt, min(now + wait, job.expires_at + OVER_S), now)
            self._wake_in(0.0)
