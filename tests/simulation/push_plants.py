"""Bugs to plant in what brings notifications to phones, and by which promise each is to be found."""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest

import hubd.push.bringing
import hubd.pushing
from hubd.core.users import UserSet
from hubd.hooks.push import Push, PushResult
from hubd.push.bringing import Bringing
from hubd.push.destination import Destination
from hubd.push.device_writes import DeviceWrites
from hubd.push.devices import Devices
from hubd.push.dispatcher import Dispatcher
from hubd.push.job_table import JobTable
from hubd.push.jobs import Job
from hubd.push.pacing import Pacing
from hubd.push.routing import Routing
from hubd.push.sending import Answer
from tests.simulation.plants import Plant

Patch = pytest.MonkeyPatch


def an_ack_does_not_cancel_a_waiting_retry(patch: Patch) -> None:
    patch.setattr(Dispatcher, "cancel", lambda self, record, users: None)


def a_phone_stays_its_old_owners_too(patch: Patch) -> None:
    take_in = Devices._take_in

    def leniently(self: Devices, entry: Any) -> bool:
        number = self._table.number_of(entry.id)
        before = None if number is None else self._table.find(number)
        is_new = take_in(self, entry)
        if before is not None and before.owner != entry.owner:
            self._user_numbers.hold(str(self._user_numbers.id_of(before.owner)))
            self._table.add(before._replace(id="dev_" + before.id[:3:-1]))
        return is_new

    patch.setattr(Devices, "_take_in", leniently)


def retry_after_is_ignored(patch: Patch) -> None:
    later = Bringing._later
    patch.setattr(
        Bringing,
        "_later",
        lambda self, sent, result, now: later(self, sent, result._replace(retry_after_s=None), now),
    )


def a_host_that_asked_for_peace_is_called(patch: Patch) -> None:
    failed = Destination.failed
    patch.setattr(
        Destination,
        "failed",
        lambda self, now, period, why, asked, random, user: failed(self, now, period, why, None, random, user),
    )


def a_phone_that_is_gone_is_kept(patch: Patch) -> None:
    patch.setattr(Devices, "gone", lambda self, number, reason, since: True)


def it_counts_as_pushed_before_a_service_took_it(patch: Patch) -> None:
    send = Bringing._send

    async def hopefully(self: Bringing, backend: Any, device: Any, push: Push, sent: Any) -> None:
        self._told.accepted(sent.job.record, sent.user, "hope")
        await send(self, backend, device, push, sent)

    patch.setattr(Bringing, "_send", hopefully)


def the_second_phone_is_dropped_when_the_first_fails(patch: Patch) -> None:
    later = Bringing._later

    def impatiently(self: Bringing, sent: Any, result: PushResult, now: float) -> None:
        later(self, sent, result, now)
        self._jobs.drop(sent.job, UserSet((sent.user,)))

    patch.setattr(Bringing, "_later", impatiently)


def all_hosts_are_one(patch: Patch) -> None:
    destination_of = Routing._destination_of

    def only_one(self: Routing, number: int, now: float) -> Destination | None:
        found = destination_of(self, number, now)
        return found and self._destinations.of(self._backends[found.platform], "one", now)

    patch.setattr(Routing, "_destination_of", only_one)


def a_service_is_waited_for_without_end(patch: Patch) -> None:
    call: Callable[..., Awaitable[Answer]] = hubd.push.bringing.call
    patch.setattr(hubd.push.bringing, "call", lambda backend, device, push, timeout_s: call(backend, device, push, 1e6))


def nobody_keeps_the_pace(patch: Patch) -> None:
    patch.setattr(Pacing, "admit", lambda self, backend, device, push, *others, **more: push)


def a_phone_is_confirmed_before_it_is_stored(patch: Patch) -> None:
    async def hopefully(self: DeviceWrites, id: str, write: Any) -> None:
        assert self._store is not None
        self._store.note(write)

    patch.setattr(DeviceWrites, "write", hopefully)


def a_new_phone_gets_nothing_that_waits(patch: Patch) -> None:
    patch.setattr(hubd.pushing.Pushing, "_on_came", lambda self, number: None)


def the_ttl_is_not_looked_at(patch: Patch) -> None:
    make = Job.__init__

    def endless(self: Job, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        self.expires_at = inf

    patch.setattr(Job, "__init__", endless)


def a_refused_push_is_lost(patch: Patch) -> None:
    def silently(self: JobTable, job: Job, user: int) -> None:
        job.users = job.users - UserSet((user,))

    patch.setattr(JobTable, "nowhere", silently)


def a_stop_tells_nobody_what_came_of_pushes(patch: Patch) -> None:
    stop = Dispatcher.stop

    async def silently(self: Dispatcher, within_s: float) -> None:
        self.reports = None
        await stop(self, within_s)

    patch.setattr(Dispatcher, "stop", silently)


PUSH_PLANTS = (
    Plant(an_ack_does_not_cancel_a_waiting_retry, ("once", "push"), ("services",)),
    Plant(a_phone_stays_its_old_owners_too, ("isolation", "durable")),
    Plant(retry_after_is_ignored, ("pace",), ("services",)),
    Plant(a_host_that_asked_for_peace_is_called, ("pace",), ("services",)),
    Plant(a_phone_that_is_gone_is_kept, ("gone", "isolation")),
    Plant(it_counts_as_pushed_before_a_service_took_it, ("push",), ("services", "crash")),
    Plant(the_second_phone_is_dropped_when_the_first_fails, ("push", "conservation", "critical"), ("services",)),
    Plant(all_hosts_are_one, ("push", "bounds", "conservation"), ("services",)),
    Plant(a_service_is_waited_for_without_end, ("bounds",), ("services",)),
    Plant(nobody_keeps_the_pace, ("pace",), ("services",)),
    Plant(a_phone_is_confirmed_before_it_is_stored, ("durable",), ("crash", "disk")),
    Plant(a_new_phone_gets_nothing_that_waits, ("critical",)),
    Plant(a_stop_tells_nobody_what_came_of_pushes, ("once",), ("stop", "services")),
    Plant(the_ttl_is_not_looked_at, ("push",), ("services",)),
    Plant(a_refused_push_is_lost, ("conservation", "critical")),
)
