"""Which open records a publication with a collapse key may replace, without a look at all that have the same key."""

from hubd.core.record import Record
from hubd.core.users import UserSet

Key = tuple[str | None, str]
"""Who published it (None: a server) and the collapse key: what users publish replaces nothing of anybody else."""


class _Same:
    """The records of one key. One that is for a single user, as most are, is found by his number."""

    __slots__ = ("for_many", "for_one")

    def __init__(self) -> None:
        self.for_many: dict[str, Record] = {}
        self.for_one: dict[int, dict[str, Record]] = {}


class Collapsing:
    """Records by what they collapse into; each has its sequence number and keeps its key while it is in here."""

    def __init__(self) -> None:
        self._by_key: dict[Key, _Same] = {}
        self._numbers: dict[str, int] = {}  # by the record's key: whom it is for, if that is one user

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, record: Record) -> None:
        """It may be replaced from now on."""
        if record.collapses is None:
            return
        same = self._by_key.setdefault(record.collapses, _Same())
        if len(record.everybody) == 1:
            number = self._numbers[record.key] = next(iter(record.everybody))
            same.for_one.setdefault(number, {})[record.key] = record
        else:
            same.for_many[record.key] = record

    def discard(self, record: Record) -> None:
        """Nothing of it can be replaced any more."""
        if record.collapses is None or (same := self._by_key.get(record.collapses)) is None:
            return
        same.for_many.pop(record.key, None)
        number = self._numbers.pop(record.key, None)
        if number is not None:
            same.for_one[number].pop(record.key)
            if not same.for_one[number]:
                del same.for_one[number]
        if not same.for_many and not same.for_one:
            del self._by_key[record.collapses]

    def find(self, key: Key, users: UserSet) -> list[Record]:
        """Those with this key that may be for one of these users."""
        same = self._by_key.get(key)
        if same is None:
            return []
        found = list(same.for_many.values())
        of_one = same.for_one
        numbers = [number for number in of_one if number in users] if len(of_one) <= len(users) else users
        for number in numbers:
            found += of_one.get(number, {}).values()
        return found
