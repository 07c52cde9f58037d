"""Devices in memory, each as one string of bytes: there may be a million, and an object for each costs too much."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from hubd.core.users import UserSet

_DIGEST_BYTES = 12
_HEAD = Struct(f"<{_DIGEST_BYTES}sIIQI")
"""Digest, number of the owner, place of the app, when it registered (Unix ms), when that was stored (Unix s)."""
_ID = re.compile(r"dev_([0-9a-f]{24})")

App = tuple[str, str]
"""A platform, and one of its apps."""


class Entry(NamedTuple):
    """A device as it is kept. ``owner`` is the user's number, ``address`` JSON; times are Unix milliseconds."""

    id: str
    owner: int
    platform: str
    app: str
    address: bytes
    registered_at: int
    stored_at: int
    """When the store was told the last time; whole seconds."""


class Gone(NamedTuple):
    """A device that its service doesn't know, and that may still come back."""

    at: float
    """Monotonic seconds."""
    gone_at: int
    """Unix milliseconds."""


def device_id(platform: str, key: str) -> str:
    """The id of a device: the same whenever it registers."""
    text = f"{platform}\0{key}".encode(errors="surrogatepass")
    return "dev_" + blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


class DeviceTable:
    """All devices by a number that none had before, by id, and by the user who has them. Those that are gone belong to
    nobody and have only their row."""

    def __init__(self) -> None:
        self.users = UserSet()
        """The numbers of users who have a device."""
        self.gone: dict[int, Gone] = {}
        """Those that may come back, by their numbers; the ones that went first stand first."""
        self._rows: dict[int, bytes] = {}
        self._numbers: dict[int, int] = {}
        """By digests as numbers, which are smaller than texts."""
        self._of: dict[int, int | tuple[int, ...]] = {}
        """By users: most have one device, and need no tuple."""
        self._next = 1
        self._apps: list[App | None] = []
        self._places: dict[App, int] = {}
        self._rows_of: list[int] = []
        """How many rows each app has."""

    def __len__(self) -> int:
        """How many there are, with those that are gone."""
        return len(self._rows)

    def number_of(self, id: str) -> int | None:
        """The number of a device, of one that is gone, too."""
        digest = _digest_of(id)
        return None if digest is None else self._numbers.get(int.from_bytes(digest, "big"))

    def entry(self, number: int) -> Entry:
        """A device, also one that is gone; ``KeyError`` when there is none."""
        row = self._rows[number]
        digest, owner, place, registered_at, stored_s = _HEAD.unpack_from(row)
        platform, app = self._app(place)
        return Entry(f"dev_{digest.hex()}", owner, platform, app, row[_HEAD.size :], registered_at, stored_s * 1000)

    def find(self, number: int) -> Entry | None:
        """A device that is there."""
        return self.entry(number) if number in self._rows and number not in self.gone else None

    def owner_of(self, number: int) -> int | None:
        """Whose a device is that is there."""
        row = self._rows.get(number)
        return None if row is None or number in self.gone else _HEAD.unpack_from(row)[1]

    def app_of(self, number: int) -> App | None:
        """Which app's a device is that is there."""
        row = self._rows.get(number)
        return None if row is None or number in self.gone else self._app(_HEAD.unpack_from(row)[2])

    def of_user(self, user: int) -> tuple[int, ...]:
        """The numbers of a user's devices."""
        found = self._of.get(user, ())
        return (found,) if isinstance(found, int) else found

    def per_platform(self) -> Mapping[str, int]:
        """How many of each platform are there."""
        found = Counter({app[0]: 0 for app in self._places})
        for (platform, _), place in self._places.items():
            found[platform] += self._rows_of[place]
        for number in self.gone:
            found[self._app(_HEAD.unpack_from(self._rows[number])[2])[0]] -= 1
        return dict(sorted(found.items()))

    def numbers_of_app(self, apps: Collection[App]) -> list[int]:
        """All devices of these apps that are there."""
        places = {place for app in apps if (place := self._places.get(app)) is not None}
        if not places:
            return []
        return [
            number
            for number, row in self._rows.items()
            if _HEAD.unpack_from(row)[2] in places and number not in self.gone
        ]

    # Changes

    def add(self, entry: Entry) -> int:
        """One more; gives its number."""
        digest = _digest_of(entry.id)
        if digest is None:
            raise ValueError("this is no id of a device")
        number = self._next
        self._next += 1
        self._rows[number] = self._row(digest, entry)
        self._numbers[int.from_bytes(digest, "big")] = number
        self._join(entry.owner, number)
        return number

    def renew(self, number: int, entry: Entry) -> None:
        """Something about it has changed, but not its owner."""
        before = self._rows[number]
        self._rows[number] = self._row(before[:_DIGEST_BYTES], entry)
        self._let_go(_HEAD.unpack_from(before)[2])

    def hide(self, number: int, gone: Gone) -> None:
        """It is gone, and may come back."""
        self._leave(_HEAD.unpack_from(self._rows[number])[1], number)
        self.gone[number] = gone

    def show(self, number: int) -> None:
        """It is back."""
        del self.gone[number]
        self._join(_HEAD.unpack_from(self._rows[number])[1], number)

    def remove(self, number: int) -> None:
        """It is no more, gone or not."""
        digest, owner, place, *_ = _HEAD.unpack_from(self._rows.pop(number))
        del self._numbers[int.from_bytes(digest, "big")]
        self._let_go(place)
        if self.gone.pop(number, None) is None:
            self._leave(owner, number)

    def sort_gone(self) -> None:
        """Have those first that went first."""
        self.gone = dict(sorted(self.gone.items(), key=lambda item: item[1].at))

    def _row(self, digest: bytes, entry: Entry) -> bytes:
        place = self._place((entry.platform, entry.app))
        head = _HEAD.pack(digest, entry.owner, place, entry.registered_at, entry.stored_at // 1000)
        return head + entry.address

    def _join(self, owner: int, number: int) -> None:
        mine = self.of_user(owner)
        self._of[owner] = (*mine, number) if mine else number
        self.users.add(owner)

    def _leave(self, owner: int, number: int) -> None:
        left = tuple(one for one in self.of_user(owner) if one != number)
        if left:
            self._of[owner] = left if len(left) > 1 else left[0]
        else:
            del self._of[owner]
            self.users.discard(owner)

    # Apps: few, and each once

    def _app(self, place: int) -> App:
        app = self._apps[place]
        assert app is not None
        return app

    def _place(self, app: App) -> int:
        place = self._places.get(app)
        if place is None:
            place = self._free_place()
            self._places[app] = place
            self._apps[place] = app
        self._rows_of[place] += 1
        return place

    def _free_place(self) -> int:
        if len(self._places) < len(self._apps):
            return self._apps.index(None)
        self._apps.append(None)
        self._rows_of.append(0)
        return len(self._apps) - 1

    def _let_go(self, place: int) -> None:
        self._rows_of[place] -= 1
        if not self._rows_of[place]:
            del self._places[self._app(place)]
            self._apps[place] = None


def oldest_first(table: DeviceTable, numbers: Iterable[int]) -> Iterator[tuple[int, Entry]]:
    """Devices with their numbers, the one that registered longest ago first."""
    entries = [(number, table.entry(number)) for number in numbers]
    yield from sorted(entries, key=lambda found: (found[1].registered_at, found[0]))


def _digest_of(id: str) -> bytes | None:
    found = _ID.fullmatch(id)
    return None if found is None else bytes.fromhex(found[1])
