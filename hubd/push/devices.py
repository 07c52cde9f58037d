"""Who has which devices. All of them are in memory; with a store each is on the disk before that is confirmed."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from sys import intern
from typing import Any, NamedTuple

import orjson

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.errors import Problem
from hubd.core.stored import DropDevice, Lane, PutDevice, StoredDevice
from hubd.core.users import UserNumbers, UserSet
from hubd.hooks.push import Address, Device
from hubd.log_events import log_event
from hubd.push.gone import WINDOW_S, GoneWatch
from hubd.storing import Store, StoreError, Written, unavailable
from hubd.turns import Turns

log = logging.getLogger("hubd.push")

REWRITTEN_MS = 86_400_000
"""A device that registers unchanged is written again when what is stored is older than this."""
FULL_RETRY_S = 60.0


class Registered(NamedTuple):
    """A device, and when it registered last (Unix seconds)."""

    device: Device
    registered_at: float


class _Entry:
    """A device as it is kept: there may be very many."""

    __slots__ = ("address", "app", "id", "owner", "platform", "registered_ms", "stored_ms")

    def __init__(self, id: str, owner: int, platform: str, app: str, address: bytes, registered_ms: int) -> None:
        self.id = id
        self.owner = owner
        self.platform = intern(platform)
        self.app = intern(app)
        self.address = address
        self.registered_ms = self.stored_ms = registered_ms


class _Gone(NamedTuple):
    """A device that went, and may still come back; ``at`` is in seconds of the monotonic clock."""

    entry: _Entry
    at: float


def _nobody(*_: Any) -> None: ...


class Devices:
    """The devices of all users. Each has a number that none had before, so that sets of them are bitmaps.

    ``on_came(user's number)``: he has a device more, ``on_changed``: his devices aren't those from before, ``on_gone``
    (user, devices, reason): their services don't know them any more.
    """

    def __init__(self, config: Config, clock: Clock, numbers: UserNumbers, store: Store | None = None) -> None:
        self._clock = clock
        self._user_numbers = numbers
        self._store = store
        self._turns = Turns()
        self._watch = GoneWatch(config.push.gone_percent)
        self._entries: dict[int, _Entry] = {}
        self._numbers: dict[str, int] = {}
        self._of: dict[int, tuple[int, ...]] = {}
        self._gone: dict[int, _Gone] = {}
        self._next = 1
        self._making = 0
        self.users = UserSet()
        """The numbers of all users who have a device; not to be changed."""
        self.gone_counts: Counter[str] = Counter()
        """How many went, by their platforms; those that came back, too."""
        self.kept_counts: Counter[str] = Counter()
        """How often one was kept although its service doesn't know it."""
        self.on_came: Callable[[int], None] = _nobody
        self.on_changed: Callable[[int], None] = _nobody
        self.on_gone: Callable[[str, tuple[Device, ...], str], None] = _nobody
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Go by this config from now on; who has more devices keeps them."""
        self._most, self._most_of_user = config.push.devices, config.push.devices_per_user
        self._watch.percent = config.push.gone_percent

    # What there is

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def distrusted_apps(self) -> int:
        """Of how many apps nothing is deleted, because too many of their devices would go."""
        return self._watch.distrusted

    def per_platform(self) -> dict[str, int]:
        """How many there are of each platform."""
        return dict(sorted(Counter(entry.platform for entry in self._entries.values()).items()))

    def listed(self, user: str) -> list[Registered]:
        """A user's devices, the one that registered longest ago first."""
        number = self._user_numbers.find(user)
        mine = [self._entries[one] for one in self._of.get(number, ())] if number is not None else []
        mine.sort(key=lambda entry: (entry.registered_ms, entry.id))
        return [Registered(self._device(entry), entry.registered_ms / 1000) for entry in mine]

    def numbers_of(self, user_number: int) -> Sequence[int]:
        """The numbers of a user's devices."""
        return self._of.get(user_number, ())

    def get(self, device_number: int) -> Device | None:
        """A device; None: it isn't there any more."""
        entry = self._entries.get(device_number)
        return None if entry is None else self._device(entry)

    def owner_of(self, device_number: int) -> int | None:
        """The number of the user whose device it is."""
        entry = self._entries.get(device_number)
        return None if entry is None else entry.owner

    def _device(self, entry: _Entry) -> Device:
        address: Mapping[str, Any] = orjson.loads(entry.address)
        return Device(entry.id, self._user_numbers.id_of(entry.owner) or "", entry.platform, address, entry.app)

    # Registering

    async def put(self, user: str, platform: str, address: Address) -> tuple[Device, bool]:
        """Register a device of a user; True when it is new. Somebody else's is his from now on.

        A ``Problem`` ('unavailable') when it can't be stored, or there are too many.
        """
        id = device_id(platform, address.key)
        packed = orjson.dumps(dict(address.fields))
        async with self._turns.of(id):
            before = self._entries.get(self._numbers.get(id, 0))
            if before is None and self._most and len(self) + self._making >= self._most:
                raise Problem("unavailable", "as many devices are registered as this hub takes", (), FULL_RETRY_S)
            owner = self._user_numbers.hold(user)
            entry = _Entry(id, owner, platform, address.app, packed, int(self._clock.now() * 1000))
            self._making += before is None
            try:
                if before is not None and _is_known(before, entry):
                    before.registered_ms = entry.registered_ms
                    return self._device(before), False
                await self._write(PutDevice(self._stored(entry)))
                self._take_in(entry)
            finally:
                self._making -= before is None
                self._user_numbers.release(owner)
        await self._make_room(owner)
        return self._device(entry), before is None

    async def _make_room(self, owner: int) -> None:
        """Of more devices than a user may have, the ones that registered longest ago go."""
        mine = self._of.get(owner, ())
        if len(mine) > self._most_of_user:
            entries = sorted((self._entries[one] for one in mine), key=lambda entry: (entry.registered_ms, entry.id))
            for entry in entries[: len(mine) - self._most_of_user]:
                log_event(log, "device_replaced", platform=entry.platform, user=self._user_numbers.id_of(owner) or "")
                await self.drop(entry.id, self._user_numbers.id_of(owner))

    async def drop(self, id: str, user: str | None) -> bool:
        """Take a device off; False: this user (None: whoever) has no such device. A ``Problem`` as above."""
        async with self._turns.of(id):
            number = self._numbers.get(id, 0)
            entry = self._entries.get(number)
            if entry is None or (user is not None and self._user_numbers.find(user) != entry.owner):
                return False
            await self._write(DropDevice(id))
            self._take_out(number)
            self._user_numbers.release(entry.owner)
            self.on_changed(entry.owner)
            return True

    async def _write(self, write: PutDevice | DropDevice) -> None:
        if self._store is not None:
            try:
                await self._store.write(write, Lane.ACK)
            except StoreError as error:
                raise unavailable(str(error)) from None

    def _take_in(self, entry: _Entry) -> None:
        """It is stored: from now on it counts."""
        number = self._numbers.get(entry.id)
        before = None
        if number is not None:
            if (gone := self._gone.pop(number, None)) is not None:
                self._user_numbers.release(gone.entry.owner)
            elif (before := self._entries.get(number)) is not None:
                self._take_out(number)
                self._user_numbers.release(before.owner)
        self._user_numbers.hold(self._user_numbers.id_of(entry.owner) or "")
        # A number of its own: what is on its way to its owner before must not find it.
        is_same = before is not None and before.owner == entry.owner and number is not None
        self._add(number if is_same and number is not None else self._new_number(), entry)
        if before is not None and not is_same:
            self.on_changed(before.owner)
        self.on_changed(entry.owner)
        if not is_same:
            self.on_came(entry.owner)

    def _new_number(self) -> int:
        self._next += 1
        return self._next - 1

    def _add(self, number: int, entry: _Entry) -> None:
        self._entries[number] = entry
        self._numbers[entry.id] = number
        self._of[entry.owner] = (*self._of.get(entry.owner, ()), number)
        self.users.add(entry.owner)

    def _take_out(self, number: int) -> _Entry:
        entry = self._entries.pop(number)
        self._numbers.pop(entry.id, None)
        left = tuple(one for one in self._of[entry.owner] if one != number)
        if left:
            self._of[entry.owner] = left
        else:
            del self._of[entry.owner]
            self.users.discard(entry.owner)
        return entry

    # What services say

    def answered(self, device_number: int) -> None:
        """A service took a push for it."""
        if (entry := self._entries.get(device_number)) is not None:
            name = (entry.platform, entry.app)
            if self._watch.answered(name, device_number, self._clock.monotonic()):
                log_event(log, "devices_trusted_again", platform=entry.platform, app=entry.app)

    def gone(self, device_number: int, reason: str, since: float | None) -> bool:
        """Its service doesn't know it (since then, Unix seconds); False: it stays all the same.

        So it does when it has registered since, or when too many of its app's would go: then those come back that have
        gone in the last ten minutes.
        """
        entry = self._entries.get(device_number)
        if entry is None:
            return True
        if entry.id in self._turns or (since is not None and since * 1000 < entry.registered_ms):
            return False
        back = self._watch.gone((entry.platform, entry.app), device_number, self._clock.monotonic())
        if back is not None:
            self._keep(entry, device_number, back)
            return False
        self._take_out(device_number)
        self._numbers[entry.id] = device_number  # it may come back
        self._gone[device_number] = _Gone(entry, self._clock.monotonic())
        self.gone_counts[entry.platform] += 1
        self._note(PutDevice(self._stored(entry, gone_ms=int(self._clock.now() * 1000))))
        user = self._user_numbers.id_of(entry.owner) or ""
        log_event(log, "device_gone", platform=entry.platform, user=user, reason=reason)
        self.on_gone(user, (self._device(entry),), reason)
        self.on_changed(entry.owner)
        return True

    def _keep(self, entry: _Entry, device_number: int, back: UserSet) -> None:
        self.kept_counts[entry.platform] += 1
        came: list[int] = []
        for number in back:
            if (gone := self._gone.pop(number, None)) is not None:
                self._add(number, gone.entry)
                self._note(PutDevice(self._stored(gone.entry)))
                came.append(gone.entry.owner)
        if len(back) > 1 or device_number not in back:
            log_event(log, "devices_kept", platform=entry.platform, app=entry.app, devices=len(back), back=len(came))
        for owner in dict.fromkeys(came):
            self.on_changed(owner)
            self.on_came(owner)

    def maintain(self) -> None:
        """Once a second: what is gone for long enough goes for good."""
        until = self._clock.monotonic() - WINDOW_S
        for number, gone in list(self._gone.items()):
            if gone.at > until:
                break
            self._forget(number, gone.entry)

    def _forget(self, number: int, entry: _Entry) -> None:
        if entry.id in self._turns:  # it is just being registered again
            return
        del self._gone[number]
        if self._numbers.get(entry.id) == number:
            del self._numbers[entry.id]
        self._note(DropDevice(entry.id))
        self._user_numbers.release(entry.owner)

    def _note(self, write: PutDevice | DropDevice) -> None:
        """Have it stored, though nobody waits: in the lane of those that are waited for, so that all are in order.

        What isn't stored in the end is found out again: the service still doesn't know the device.
        """
        if self._store is not None:
            self._store.write(write, Lane.ACK).add_done_callback(_retrieve)

    # The store

    def _stored(self, entry: _Entry, gone_ms: int = 0) -> StoredDevice:
        user = self._user_numbers.id_of(entry.owner) or ""
        return StoredDevice(
            entry.id, user, entry.owner, entry.platform, entry.app, entry.address, entry.registered_ms, gone_ms
        )

    def put_back(self, stored: Iterable[StoredDevice]) -> None:
        """Have again what was stored when the hub before ended; the numbers of its users are those from then."""
        for one in stored:
            owner = self._user_numbers.hold(one.user)
            entry = _Entry(one.id, owner, one.platform, one.app, one.address, one.registered_at)
            number = self._new_number()
            if not one.gone_at:
                self._add(number, entry)
                continue
            at = self._clock.monotonic() - max(0.0, self._clock.now() - one.gone_at / 1000)
            self._numbers[one.id] = number
            self._gone[number] = _Gone(entry, at)
            if at > self._clock.monotonic() - WINDOW_S:
                self._watch.gone((one.platform, one.app), number, self._clock.monotonic())
        self._gone = dict(sorted(self._gone.items(), key=lambda item: item[1].at))


def _is_known(before: _Entry, entry: _Entry) -> bool:
    """Whether the store needn't be told that a device is what it was before."""
    is_same = (before.owner, before.app, before.address) == (entry.owner, entry.app, entry.address)
    return is_same and entry.registered_ms - before.stored_ms < REWRITTEN_MS


def _retrieve(written: Written) -> None:
    """That nobody looks whether it failed is no fault."""
    if not written.cancelled():
        written.exception()


def device_id(platform: str, key: str) -> str:
    """The id of a device: the same whenever it registers."""
    return "dev_" + blake2b(f"{platform}\0{key}".encode(), digest_size=12).hexdigest()
