"""To which devices, by which destinations: jobs' users are looked up in slices, as there may be very many."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Protocol

from hubd.core.users import UserSet
from hubd.hooks.push import Device, PushBackend
from hubd.push.destination import Destination, Destinations
from hubd.push.jobs import Job, Part, PartKey
from hubd.push.lanes import Lanes
from hubd.push.unserved import UNCHECKED

USERS = 250
"""So many users are looked up in one turn of the loop."""


class KnownDevices(Protocol):
    """What has to be known of devices (``Devices``); they have numbers that are never used again."""

    @property
    def users(self) -> UserSet:
        """The numbers of users with a device."""
        ...

    def numbers_of(self, user_number: int) -> Sequence[int]:
        """A user's devices."""
        ...

    def get(self, device_number: int) -> Device | None:
        """What it is; None: it isn't there any more."""
        ...

    def owner_of(self, device_number: int) -> int | None:
        """The number of the user whose it is now."""
        ...

    def answered(self, device_number: int) -> None:
        """A service took a push for it."""
        ...

    def gone(self, device_number: int, reason: str, since: float | None) -> bool:
        """Its service doesn't know it; whether it is gone now."""
        ...


OnFault = Callable[[str, BaseException], None]
"""Told of what a backend did wrong: its platform, and the fault."""


class Routing:
    """Jobs whose users' devices are to be looked up. ``on_ready``: something waits at this destination now;
    ``on_nowhere``: none of this user's devices (by his number) waits or is under way for this job."""

    def __init__(
        self,
        devices: KnownDevices,
        backends: Mapping[str, PushBackend],
        destinations: Destinations,
        on_ready: Callable[[Destination], None],
        on_nowhere: Callable[[Job, int], None],
        on_fault: OnFault,
    ) -> None:
        self._devices = devices
        self._backends = backends
        self._destinations = destinations
        self._on_ready = on_ready
        self._on_nowhere = on_nowhere
        self._on_fault = on_fault
        self._jobs: Lanes[int, Job] = Lanes(quantum=1)

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, job: Job, users: UserSet) -> None:
        """Look up these users."""
        job.todo = job.todo | users
        if job.todo:
            self._jobs.lane(job.priority)[job.number] = job

    def drop(self, job: Job) -> None:
        """Don't."""
        job.todo = UserSet()
        self._jobs.lane(job.priority).pop(job.number, None)

    def turn(self, now: float, most: int = USERS) -> list[Job]:
        """Look up so many users; gives the jobs in which that was done."""
        served: list[Job] = []
        while most > 0 and (job := self._jobs.next()) is not None:
            users = UserSet(islice(job.todo, most))
            job.todo = job.todo - users
            most -= max(1, len(users))
            if not job.todo:
                self._jobs.lane(job.priority).pop(job.number, None)
            self._route(job, users, now)
            served.append(job)
        return served

    def _route(self, job: Job, users: UserSet, now: float) -> None:
        found: dict[Destination, list[int]] = {}
        for user in users:
            if user not in job.users:
                continue
            numbers = self._devices.numbers_of(user)
            for number in numbers:
                if number in job.open or number in job.done:
                    continue
                destination = self._destination_of(number, now)
                if destination is not None:
                    job.open.add(number)
                    found.setdefault(destination, []).append(number)
            if not job.has_hope(user, numbers):
                self._on_nowhere(job, user)
        for destination, waiting in found.items():
            self._put(job, destination, UserSet(waiting))

    def _put(self, job: Job, destination: Destination, devices: UserSet) -> None:
        part = destination.lanes.lane(job.priority).get(PartKey(job.number, 0))
        if part is None:
            part = Part(job, destination, PartKey(job.number, 0))
        part.put(devices)
        destination.put(part)
        self._on_ready(destination)

    def _destination_of(self, number: int, now: float) -> Destination | None:
        """None: nobody can push there."""
        device = self._devices.get(number)
        if device is None or device.app == UNCHECKED:
            return None
        backend = self._backends.get(device.platform)
        if backend is None:
            return None
        try:
            name = str(backend.destination(device))
        except Exception as error:
            self._on_fault(device.platform, error)
            name = ""
        return self._destinations.of(backend, name, now)
