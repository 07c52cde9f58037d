"""The only place that knows the time: handed to whoever needs it, so that tests can turn it."""

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What hubd asks of a clock."""

    def now(self) -> float:
        """Unix seconds: for what people and other machines see (`sent_at`, expiry of tokens)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back: for how long something took or may take."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()


class Handle(Protocol):
    """A call that is to come, and can be called off."""

    def cancel(self) -> None:
        """Call it off."""
        ...


CallLater = Callable[[float, Callable[[], None]], Handle]
"""Has a function called after so many seconds, as a loop's ``call_later`` does."""

timer = time.perf_counter
"""For measuring how long something took, in seconds: a figure in the metrics, nothing that is decided by."""
