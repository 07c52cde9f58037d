"""What is to be brought to devices: jobs, one a notification, and parts, the devices of a job that wait together."""

from collections.abc import Iterable, MutableMapping
from typing import Any, NamedTuple

from hubd.core.milestones import ACKED
from hubd.core.notification import Notification
from hubd.core.record import Record
from hubd.core.users import NOBODY, UserSet


class PartKey(NamedTuple):
    """What makes devices wait together: the same job, as many attempts before, and the same line (``Lines``).

    ``is_out``: they were let out of it, each of its own; else they wait in it, if it has a name.
    """

    job: int
    attempt: int
    line: str = ""
    is_out: bool = False


class Job:
    """One notification on its way to the devices of its users.

    ``users``: those nothing is reported of yet and who are to get it; ``todo``: those of them whose devices are still
    to be looked up; ``accepted``: those for one of whose devices a service took it, while the others go on. ``open``:
    the numbers of devices that wait or are under way; ``done``: of those that are through. ``refused`` and ``missed``:
    the users one of whose devices was refused, or got its only try in vain.
    """

    __slots__ = (
        "accepted", "busy", "done", "expires_at", "is_now_or_never", "missed", "notification", "number",
        "only_user", "open", "parts", "priority", "record", "refused", "todo", "users",
    )  # fmt: skip

    def __init__(self, number: int, record: Record, notification: Notification) -> None:
        self.number = number
        self.record = record
        self.notification = notification
        """Held here: the record lets go of it when nothing is open about it, which may be before all devices had it."""
        self.priority = record.priority
        self.expires_at = record.expires_at
        self.is_now_or_never = record.ttl_s <= 0
        self.only_user: int | None = None
        """The number of the one whom it is for, if that is one."""
        self.users = UserSet()
        self.todo: UserSet = NOBODY
        self.accepted: UserSet = NOBODY
        self.open = UserSet()
        self.done: UserSet = NOBODY
        self.refused: UserSet = NOBODY
        self.missed: UserSet = NOBODY
        self.busy: dict[int, int] = {}
        """To how many devices of a user it is under way just now, by his number."""
        self.parts: dict[Part, None] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return not self.open and not self.todo

    def began(self, user: int) -> None:
        """It is under way to a device of this user (by number)."""
        self.busy[user] = self.busy.get(user, 0) + 1

    def ended(self, user: int) -> None:
        """It isn't any more."""
        self.busy[user] -= 1
        if not self.busy[user]:
            del self.busy[user]

    def has_hope(self, user: int, devices: Iterable[int]) -> bool:
        """Whether one of his devices, which are these now, still waits for it, or it is under way to one that was."""
        return user in self.busy or any(device in self.open for device in devices)

    def is_for(self, number: int) -> bool:
        """Whether it is for this user (by number), as far as anybody said."""
        return number in self.users or number in self.accepted

    def is_through_with(self, device: int) -> None:
        """Nothing more is done for this device."""
        self.open.discard(device)
        self.done = self.done | UserSet((device,))

    def wants(self, number: int) -> bool:
        """Whether a user (by number) is still to get it: it is meant for him, and he wasn't shown it."""
        if not self.is_for(number):
            return False
        milestone = self.record.milestones.of(number)
        return milestone is not None and milestone != ACKED


class Waiting:
    """How many devices wait for one destination."""

    number = 0
    waiting = 0


class Part:
    """Devices of one job that wait for the same thing at the same place: a lane of their destination, or a bucket."""

    __slots__ = ("_name", "_place", "devices", "job", "key", "to")

    def __init__(self, job: Job, to: Waiting, key: PartKey) -> None:
        self.job = job
        self.to = to
        self.key = key
        self.devices = UserSet()
        self._place: MutableMapping[Any, Part] | None = None
        self._name: object = None
        job.parts[self] = None

    def move_to(self, place: MutableMapping[Any, "Part"], name: object) -> None:
        """It waits in there from now on, under this name."""
        place[name] = self
        self._place, self._name = place, name

    def leave(self) -> None:
        """It waits nowhere."""
        if self._place is not None:
            self._place.pop(self._name, None)
            self._place = None

    def put(self, devices: UserSet) -> None:
        """More devices, none of which is in it."""
        self.devices = self.devices | devices
        self.to.waiting += len(devices)

    def put_one(self, device: int) -> None:
        """One more device, which isn't in it."""
        self.devices.add(device)
        self.to.waiting += 1

    def take_out(self, devices: UserSet) -> UserSet:
        """These don't wait any more, as far as they did; gives those that did. Of nobody, nothing is left."""
        found = self.devices & devices
        if found:
            self.devices = self.devices - found
            self.to.waiting -= len(found)
            self._end_if_empty()
        return found

    def take_one(self, device: int) -> None:
        """This device, which waits, doesn't any more."""
        self.devices.discard(device)
        self.to.waiting -= 1
        self._end_if_empty()

    def take_first(self) -> int:
        """A device that waits doesn't any more; there is one."""
        device = next(iter(self.devices))
        self.take_one(device)
        return device

    def _end_if_empty(self) -> None:
        if not self.devices:
            self.leave()
            self.job.parts.pop(self, None)
