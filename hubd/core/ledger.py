"""What became of notifications, for as long as somebody may ask."""

from collections import OrderedDict

from hubd.core.record import Budget, Record
from hubd.core.users import NOBODY, Snapshot, UserSet

FEW = 4
"""How many go at most for one that comes."""
AT_ONCE = 1000
"""How many records are let go of in one step; more wait for the next."""


class Ledger:
    """Records by the id of their notification: of ``keep_s`` seconds, ``max_bytes`` together; the oldest go first.

    One about which something is open stays, whatever the limits say: how many those are is limited elsewhere.
    """

    def __init__(self, keep_s: float = 86400.0, max_bytes: int = 64 << 20) -> None:
        self.keep_s = keep_s
        self.max_bytes = max_bytes
        self.budget = Budget()
        self._last: UserSet = NOBODY
        self._by_id: dict[str, tuple[Record, ...]] = {}
        self._by_age: OrderedDict[str, Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, record: Record) -> None:
        """Keep the record of a publication that has just begun."""
        self._by_age[record.key] = record
        users = record.everybody
        if users is not self._last and isinstance(users, Snapshot):  # one topic's are shared until somebody joins
            self._last = users
            record.grow(users.size)
        if (others := self._by_id.get(record.id)) is None:
            self._by_id[record.id] = (record,)
        else:
            self._by_id[record.id] = (*others, record)
        if self.budget.used > self.max_bytes:
            self._make_room(FEW)

    def find_all(self, id: str) -> list[Record]:
        """The records of notifications with this id, the latest first."""
        return list(reversed(self._by_id.get(id, ())))

    def expire(self, now: float) -> None:
        """Let go of what is too old (Unix s) or too much."""
        self._make_room(AT_ONCE)
        for _ in range(min(AT_ONCE, len(self._by_age))):
            record = next(iter(self._by_age.values()))
            if now - record.sent_at / 1000 < self.keep_s:
                return
            self._pass(record)

    def _make_room(self, most: int) -> None:
        for _ in range(min(most, len(self._by_age))):
            if self.budget.used <= self.max_bytes:
                return
            self._pass(next(iter(self._by_age.values())))

    def _pass(self, record: Record) -> None:
        """It is its turn to go: one that is open, or that devices wait for, goes later."""
        if record.is_open or record.is_awaited:
            self._by_age.move_to_end(record.key)
        else:
            self.drop(record)

    def drop(self, record: Record) -> None:
        """Forget a record."""
        if self._by_age.pop(record.key, None) is None:
            return
        others = tuple(other for other in self._by_id[record.id] if other is not record)
        if others:
            self._by_id[record.id] = others
        else:
            del self._by_id[record.id]
        self.budget.used -= record.size
        record.unlink()
