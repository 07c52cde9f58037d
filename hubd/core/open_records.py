"""The records about which something is open, and when to look at each of them again: one deadline a record."""

import heapq
from collections.abc import Iterator
from math import inf, nextafter

from hubd.core.collapsing import Collapsing, Key
from hubd.core.record import Record
from hubd.core.users import UserSet

TIDY = 1000
"""So many deadlines that count no more are put up with in any case."""


class OpenRecords:
    """Records by key, the oldest first; by sequence number, by collapse key, and by deadline."""

    def __init__(self) -> None:
        self.by_key: dict[str, Record] = {}
        self.bytes = 0
        """What their notifications are counted with."""
        self._by_sequence: dict[int, Record] = {}
        self._collapsing = Collapsing()
        self._stranded: dict[str, Record] = {}  # those for many
        self._stranded_of: dict[int, dict[str, Record]] = {}  # those for one user, by his number
        self._stranded_number: dict[str, int] = {}  # and his number, by their keys
        self._unreached = UserSet()  # everybody who is in one of their `no_route`, and some who were
        self._deadlines: list[tuple[float, int, Record]] = []
        self._count = 0
        self._stale = 0  # deadlines that count no more, or nearly all of them

    def __len__(self) -> int:
        return len(self.by_key)

    @property
    def deadlines(self) -> int:
        """How many of them have a deadline, or nearly so many."""
        return max(0, len(self._deadlines) - self._stale)

    def add(self, record: Record) -> None:
        """Something is open about it; it has its sequence number."""
        record.is_open = True
        self.by_key[record.key] = record
        if record.sequence:
            self._by_sequence[record.sequence] = record
        if record.notification is not None:
            record.weight = record.notification.size
            self.bytes += record.weight
        if record.no_route:
            self.strand(record)
        self._collapsing.add(record)
        self.arm(record)

    def remove(self, record: Record) -> None:
        """Nothing is open about it any more."""
        record.is_open = False
        if record.deadline != inf:
            record.deadline = inf
            self._stale += 1
            self._tidy()
        if self.by_key.pop(record.key, None) is not None:
            self.bytes -= record.weight
        self._by_sequence.pop(record.sequence, None)
        self._unstrand(record)
        self._collapsing.discard(record)

    def arm(self, record: Record) -> None:
        """Find its deadline anew: what it waits for has changed."""
        if not record.is_open:
            return
        deadline = min(record.due_at if record.waiting else inf, record.expires_at if record.is_escalating else inf)
        if deadline != record.deadline:
            self._stale += record.deadline != inf
            record.deadline = deadline
            if deadline != inf:
                self._count += 1
                heapq.heappush(self._deadlines, (deadline, self._count, record))

    def strand(self, record: Record) -> None:
        """There are users whom nothing could reach."""
        if not record.is_open:
            return
        if len(record.everybody) == 1:
            (number,) = record.everybody
            self._stranded_number[record.key] = number
            self._stranded_of.setdefault(number, {})[record.key] = record
        else:
            self._stranded[record.key] = record
            self._unreached = self._unreached | record.no_route

    def stranded(self, number: int) -> list[Record]:
        """Those that couldn't be brought to a user (by number)."""
        found = [record for record in self._stranded_of.get(number, {}).values() if number in record.no_route]
        if number in self._unreached:
            of_many = [record for record in self._stranded.values() if number in record.no_route]
            if not of_many:
                self._unreached.discard(number)
            found += of_many
        return found

    def _unstrand(self, record: Record) -> None:
        self._stranded.pop(record.key, None)
        number = self._stranded_number.pop(record.key, None)
        if number is not None:
            of_his = self._stranded_of[number]
            del of_his[record.key]
            if not of_his:
                del self._stranded_of[number]

    def with_sequence(self, sequence: int) -> Record | None:
        """The one with this sequence number."""
        return self._by_sequence.get(sequence)

    def waits_for(self, sequence: int, number: int) -> bool:
        """Whether a user (by number) is still to ack what has this sequence number, or to prove that he has it."""
        record = self._by_sequence.get(sequence)
        return record is not None and number in record.waiting

    def collapsing(self, key: Key, users: UserSet) -> list[Record]:
        """Those with this collapse key of one publisher that may be for one of these users."""
        return self._collapsing.find(key, users)

    @property
    def first_sequence(self) -> int | None:
        """The lowest sequence number, or nearly so; None: there is none."""
        return next(iter(self._by_sequence), None)

    def due(self, now: float) -> Iterator[Record]:
        """Those whose deadline was before ``now``, in the order of their deadlines; each has none then."""
        while self._deadlines and self._deadlines[0][0] < now:
            at, _, record = heapq.heappop(self._deadlines)
            if at == record.deadline and record.is_open:
                record.deadline = inf
                yield record
            else:
                self._stale -= 1

    def next_deadline(self) -> float:
        """From when on ``due`` has something (monotonic s)."""
        while self._deadlines and self._deadlines[0][0] != self._deadlines[0][2].deadline:
            heapq.heappop(self._deadlines)
            self._stale -= 1
        return nextafter(self._deadlines[0][0], inf) if self._deadlines else inf

    def _tidy(self) -> None:
        """Let go of deadlines that count no more when they are most of all: they can be a day ahead."""
        if self._stale > TIDY and 2 * self._stale > len(self._deadlines):
            self._deadlines = [entry for entry in self._deadlines if entry[0] == entry[2].deadline]
            heapq.heapify(self._deadlines)
            self._stale = 0
