"""Limits that the edge keeps: the pace of publishers, connections by address."""

import math
from collections import Counter, OrderedDict

from hubd.clock import Clock
from hubd.core.errors import Problem

_PUBLISHERS = 100_000
_ROUNDING = 1e-6  # of seconds times a rate: whoever waited as long as he was told isn't refused for it


class Pace:
    """So many notifications a second for each publisher, with a burst of one second's worth; 0: any number.

    ``per_s`` may be set anew at any time.
    """

    def __init__(self, clock: Clock, per_s: int) -> None:
        self._clock = clock
        self.per_s = per_s
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is owed, and when that was so

    def take(self, publisher: str, count: int = 1) -> None:
        """``count`` more; a ``Problem`` ('rate_limited') that says when they can be had."""
        if not self.per_s:
            return
        now = self._clock.monotonic()
        owed, since = self._spent.pop(publisher, (0.0, now))
        owed = max(0.0, owed - (now - since) * self.per_s)
        too_much = owed > _ROUNDING and owed + count > self.per_s + _ROUNDING
        self._spent[publisher] = (owed if too_much else owed + count, now)
        if len(self._spent) > _PUBLISHERS:
            self._spent.popitem(last=False)
        if too_much:
            wait = min(owed, owed + count - self.per_s) / self.per_s
            message = f"more than {self.per_s} notifications a second ([limits] publish_per_s)"
            raise Problem("rate_limited", message, retry_after=max(0.001, math.ceil(wait * 1000) / 1000))


class PerAddress:
    """How many connections each address has, and how many there are in all (``total``)."""

    def __init__(self) -> None:
        self.total = 0
        self._counts: dict[str, int] = {}

    def of(self, address: str) -> int:
        """How many this one has."""
        return self._counts.get(address, 0)

    def add(self, address: str) -> None:
        """One more."""
        self.total += 1
        self._counts[address] = self._counts.get(address, 0) + 1

    def discard(self, address: str) -> None:
        """One less."""
        self.total -= 1
        left = self._counts[address] - 1
        if left:
            self._counts[address] = left
        else:
            del self._counts[address]

    def most(self, *others: "PerAddress") -> tuple[str, int]:
        """The address that has most of these and the others together, and how many; ("", 0) where there are none."""
        together = Counter(self._counts)
        for other in others:
            together.update(other._counts)
        return next(iter(together.most_common(1)), ("", 0))
