"""Who has which devices. All of them are in memory; with a store each is on the disk before that is confirmed."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import orjson

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.stored import DropDevice, PutDevice, StoredDevice
from hubd.core.users import UserNumbers, UserSet
from hubd.hooks.push import Address, Device
from hubd.log_events import log_event
from hubd.push.device_table import App, DeviceTable, Entry, Gone, device_id, oldest_first
from hubd.push.device_writes import DeviceWrites
from hubd.push.gone import WINDOW_S, Distrust, GoneWatch
from hubd.storing import Store

log = logging.getLogger("hubd.push")

REWRITTEN_MS = 86_400_000
"""A device that registers unchanged is written again when what is stored is older than this. So after a restart it may
seem to have registered up to a day before it did: a service that doesn't know it since then is believed."""
FULL_RETRY_S = 60.0
ADDRESS_BYTES = 16 << 10
AT_ONCE = 2000
"""So many that come back, and so many that go for good, are dealt with in one turn."""


class Registered(NamedTuple):
    """A device, and when it registered last (Unix seconds)."""

    device: Device
    registered_at: float


def _nobody(*_: Any) -> None: ...


class Devices:
    """The devices of all users. Each has a number that none had before, so that sets of them are bitmaps.

    ``on_came(user's number)``: he has a device more, ``on_changed``: his devices aren't those from before, ``on_gone``
    (user, devices, reason): their services don't know them any more.
    """

    def __init__(self, config: Config, clock: Clock, numbers: UserNumbers, store: Store | None = None) -> None:
        self._clock = clock
        self._user_numbers = numbers
        self._table = DeviceTable()
        self._writes = DeviceWrites(store, self._as_it_is)
        self._watch = GoneWatch(config.push.gone_percent)
        self._returning: deque[int] = deque()
        self._making = 0
        self.users: UserSet = self._table.users
        """The numbers of all users who have a device; not to be changed."""
        self.gone_counts: Counter[str] = Counter()
        """How many went, by their platforms; those that came back, too."""
        self.kept_counts: Counter[str] = Counter()
        """How many were kept or came back although their service doesn't know them."""
        self.replaced_counts: Counter[str] = Counter()
        """How many made room for another one of their user."""
        self.on_came: Callable[[int], None] = _nobody
        self.on_changed: Callable[[int], None] = _nobody
        self.on_gone: Callable[[str, tuple[Device, ...], str], None] = _nobody
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Go by this config from now on; who has more devices keeps them until he registers another one."""
        self._most, self._most_of_user = config.push.devices, config.push.devices_per_user
        self._watch.percent = config.push.gone_percent

    # What there is

    def __len__(self) -> int:
        return len(self._table) - len(self._table.gone)

    @property
    def distrusted_apps(self) -> int:
        """Of how many apps nothing is deleted, because too many of their devices would go."""
        return self._watch.distrusted

    @property
    def unstored(self) -> int:
        """Of how many devices the store has yet to be told."""
        return self._writes.waiting

    def per_platform(self) -> Mapping[str, int]:
        """How many there are of each platform."""
        return self._table.per_platform()

    def listed(self, user: str) -> list[Registered]:
        """A user's devices, the one that registered longest ago first."""
        number = self._user_numbers.find(user)
        mine = () if number is None else self._table.of_user(number)
        return [
            Registered(self._device(entry), entry.registered_at / 1000) for _, entry in oldest_first(self._table, mine)
        ]

    def numbers_of(self, user_number: int) -> Sequence[int]:
        """The numbers of a user's devices."""
        return self._table.of_user(user_number)

    def numbers_of_app(self, apps: Collection[App]) -> list[int]:
        """The numbers of all devices of these apps, each with its platform."""
        return self._table.numbers_of_app(apps)

    def get(self, device_number: int) -> Device | None:
        """A device; None: it isn't there any more."""
        entry = self._table.find(device_number)
        return None if entry is None else self._device(entry)

    def owner_of(self, device_number: int) -> int | None:
        """The number of the user whose device it is."""
        return self._table.owner_of(device_number)

    def registered_at(self, device_number: int) -> float | None:
        """When it registered last (Unix seconds)."""
        entry = self._table.find(device_number)
        return None if entry is None else entry.registered_at / 1000

    def _device(self, entry: Entry) -> Device:
        address: Mapping[str, Any] = orjson.loads(entry.address)
        return Device(entry.id, self._user(entry), entry.platform, address, entry.app)

    def _user(self, entry: Entry) -> str:
        return self._user_numbers.id_of(entry.owner) or ""  # he is held as long as he has devices

    # Registering

    async def put(
        self, user: str, platform: str, address: Address, registered_at: float | None = None
    ) -> tuple[Device, bool]:
        """Register a device of a user; True when it is new. Somebody else's is his from now on.

        ``registered_at`` (Unix seconds) says when that was, if it isn't now: one that has registered later stays whose
        and what it is, and is given. A ``Problem`` ('unavailable') when it can't be stored, or there are too many.
        """
        id, packed = device_id(platform, address.key), _packed(address.fields)
        async with self._writes.turn(id):
            owner = self._user_numbers.hold(user)
            try:
                now = int(self._clock.now() * 1000)
                at = now if registered_at is None else max(0, min(now, round(registered_at * 1000)))
                if (later := self._later(id, at)) is not None:
                    return self._device(later), False
                entry = Entry(id, owner, platform, address.app, packed, at, now)
                return self._device(entry), await self._put(entry)
            finally:
                self._user_numbers.release(owner)

    def _later(self, id: str, at: int) -> Entry | None:
        """The device of this id, if it has registered later; a clock that was put back is no reason to refuse one."""
        number = self._table.number_of(id)
        entry = None if number is None else self._table.entry(number)
        return entry if entry is not None and at < entry.registered_at <= self._clock.now() * 1000 else None

    async def _put(self, entry: Entry) -> bool:
        number = self._table.number_of(entry.id)
        before = None if number is None else self._table.find(number)
        if number is not None and before is not None and self._is_known(before, entry):
            self._table.renew(number, entry._replace(stored_at=before.stored_at))
            return False
        is_one_more = number is None
        if is_one_more and self._most and len(self._table) + self._making >= self._most:
            raise Problem("unavailable", "as many devices are registered as this hub takes", (), FULL_RETRY_S)
        self._making += is_one_more
        try:
            await self._writes.write(entry.id, PutDevice(self._stored(entry)))
        finally:
            self._making -= is_one_more
        return self._take_in(entry)

    def _is_known(self, before: Entry, entry: Entry) -> bool:
        """Whether the store needn't be told that a device is what it was before."""
        is_same = (before.owner, before.app, before.address) == (entry.owner, entry.app, entry.address)
        is_fresh = 0 <= entry.stored_at - before.stored_at < REWRITTEN_MS
        return is_same and is_fresh and not self._writes.is_late(entry.id)

    def _take_in(self, entry: Entry) -> bool:
        """It is stored: from now on it counts. Tells whether its user hadn't it before."""
        number = self._table.number_of(entry.id)
        before = None if number is None else self._table.find(number)
        if number is not None and before is not None and before.owner == entry.owner:
            self._table.renew(number, entry)
            self.on_changed(entry.owner)
            return False
        owner_before = None if number is None else self._table.entry(number).owner
        if number is not None:
            # A number of its own: what is on its way to its owner before must not find it.
            self._table.remove(number)
        self._user_numbers.hold(self._user(entry))
        self._table.add(entry)
        self._make_room(entry)
        if before is not None:
            self.on_changed(before.owner)
        self.on_changed(entry.owner)
        self.on_came(entry.owner)
        if owner_before is not None:
            self._user_numbers.release(owner_before)
        return before is None

    def _take_out(self, number: int) -> Entry:
        entry = self._table.entry(number)
        self._table.remove(number)
        self._user_numbers.release(entry.owner)
        return entry

    def _make_room(self, new: Entry) -> None:
        """Of more devices than a user may have, the ones that registered longest ago go."""
        mine = self._table.of_user(new.owner)
        more = len(mine) - self._most_of_user
        if more <= 0:
            return
        oldest = [
            number
            for number, one in oldest_first(self._table, mine)
            if one.id == new.id or not self._writes.is_awaited(one.id)
        ]
        for number in oldest[:more]:
            entry = self._take_out(number)
            self._writes.later(entry.id)
            self.replaced_counts[entry.platform] += 1
            log_event(log, "device_replaced", platform=entry.platform, user=self._user(new))

    async def drop(self, id: str, user: str | None) -> bool:
        """Take a device off; False: this user (None: whoever) has no such device. A ``Problem`` as above.

        One that is gone doesn't come back then.
        """
        if self._table.number_of(id) is None and not self._writes.is_awaited(id):
            return False
        async with self._writes.turn(id):
            number = self._table.number_of(id)
            if number is None:
                return False
            entry, is_gone = self._table.entry(number), number in self._table.gone
            if user is not None and self._user_numbers.find(user) != entry.owner:
                return False
            await self._writes.write(id, DropDevice(id))
            self._table.remove(number)
        if not is_gone:
            self.on_changed(entry.owner)
        self._user_numbers.release(entry.owner)
        return True

    # What services say

    def answered(self, device_number: int) -> None:
        """A service took a push for it."""
        app = self._table.app_of(device_number)
        if app is not None and self._watch.answered(app, device_number, self._clock.monotonic()):
            self._is_trusted(app)

    def gone(self, device_number: int, reason: str, since: float | None) -> bool:
        """Its service doesn't know it (since then, Unix seconds); False: it stays all the same.

        So it does when it has registered since, or when too many of its app's would go: then those come back that have
        gone in the last ten minutes.
        """
        entry = self._table.find(device_number)
        if entry is None:
            return True
        if self._writes.is_awaited(entry.id) or (since is not None and since * 1000 < entry.registered_at):
            return False
        now = self._clock.monotonic()
        distrust = self._watch.gone((entry.platform, entry.app), device_number, now, entry.owner)
        if distrust is not None:
            self._keep(entry, distrust)
            return False
        self._table.hide(device_number, Gone(now, max(1, int(self._clock.now() * 1000))))
        self._writes.later(entry.id)
        self.gone_counts[entry.platform] += 1
        user = self._user(entry)
        log_event(log, "device_gone", platform=entry.platform, user=user, reason=reason)
        self.on_gone(user, (self._device(entry),), reason)
        self.on_changed(entry.owner)
        return True

    def _keep(self, entry: Entry, distrust: Distrust) -> None:
        self.kept_counts[entry.platform] += 1
        if distrust.is_over:
            self._is_trusted((entry.platform, entry.app))
        if distrust.back is not None:
            back = [number for number in distrust.back if number in self._table.gone]
            self._returning.extend(back)
            self.kept_counts[entry.platform] += len(back)
            gone, answered = len(distrust.back), distrust.answered
            log_event(log, "devices_kept", platform=entry.platform, app=entry.app, gone=gone, answered=answered)
            self._bring_back()

    def _is_trusted(self, app: App) -> None:
        log_event(log, "devices_trusted_again", platform=app[0], app=app[1])

    def _bring_back(self) -> None:
        came: dict[int, None] = {}
        for _ in range(min(len(self._returning), AT_ONCE)):
            number = self._returning.popleft()
            if number in self._table.gone:
                entry = self._table.entry(number)
                self._table.show(number)
                self._writes.later(entry.id)
                came[entry.owner] = None
        for owner in came:
            self.on_changed(owner)
            self.on_came(owner)

    def maintain(self) -> None:
        """Once a second: what is gone for long enough goes for good, and what couldn't be stored is tried again."""
        self._bring_back()
        now = self._clock.monotonic()
        if not self._returning:
            self._forget(now - WINDOW_S)
        self._watch.tidy(now)
        self._writes.go_on()

    def _forget(self, until: float) -> None:
        over: list[int] = []
        for number, gone in islice(self._table.gone.items(), AT_ONCE):
            if gone.at > until:
                break
            over.append(number)
        for number in over:
            id = self._table.entry(number).id
            if not self._writes.is_awaited(id):  # else it is just being registered again, or dropped
                self._take_out(number)
                self._writes.later(id)

    # The store

    def _as_it_is(self, id: str) -> PutDevice | DropDevice:
        number = self._table.number_of(id)
        if number is None:
            return DropDevice(id)
        gone = self._table.gone.get(number)
        return PutDevice(self._stored(self._table.entry(number), 0 if gone is None else gone.gone_at))

    def _stored(self, entry: Entry, gone_at: int = 0) -> StoredDevice:
        return StoredDevice(
            entry.id,
            self._user(entry),
            entry.owner,
            entry.platform,
            entry.app,
            entry.address,
            entry.registered_at,
            gone_at,
        )

    def put_back(self, stored: Iterable[StoredDevice]) -> None:
        """Have again what was stored when the hub before ended; the numbers of its users are those from then."""
        mono, wall = self._clock.monotonic(), self._clock.now()
        for one in stored:
            owner = self._user_numbers.hold(one.user)
            registered = one.registered_at
            number = self._table.add(Entry(one.id, owner, one.platform, one.app, one.address, registered, registered))
            if one.gone_at:
                at = mono - max(0.0, wall - one.gone_at / 1000)
                self._table.hide(number, Gone(at, one.gone_at))
        self._table.sort_gone()
        for number, gone in self._table.gone.items():
            if gone.at > mono - WINDOW_S:
                entry = self._table.entry(number)
                self._watch.went_before((entry.platform, entry.app), number, gone.at)


def _packed(fields: Mapping[str, Any]) -> bytes:
    try:
        packed = orjson.dumps(dict(fields), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise invalid([FieldError("", "what is said of a device must be JSON")]) from None
    if len(packed) > ADDRESS_BYTES:
        raise invalid([FieldError("", f"what is said of a device has at most {ADDRESS_BYTES} bytes")])
    return packed
