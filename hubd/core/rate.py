"""How often something happens, for very many somethings, in bounded memory."""

import math
from collections import OrderedDict

WINDOW_S = 60.0
"""The rate is an average over about so long, the recent counting more."""


class Rates:
    """Events a second by name; of more than ``names`` names the longest idle are forgotten."""

    def __init__(self, names: int = 10_000) -> None:
        self._limit = names
        self._rates: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, name: str, now: float) -> None:
        """It happened now (monotonic seconds)."""
        rate, since = self._rates.pop(name, (0.0, now))
        self._rates[name] = (rate * math.exp((since - now) / WINDOW_S) + 1 / WINDOW_S, now)
        if len(self._rates) > self._limit:
            self._rates.popitem(last=False)

    def of(self, name: str, now: float) -> float:
        """How often a second it has happened of late."""
        rate, since = self._rates.get(name, (0.0, now))
        return rate * math.exp((since - now) / WINDOW_S)
