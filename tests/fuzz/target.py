"""What is fuzzed: how an input is tried, what to begin with, and how to make others from it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import ParamSpec, TypeVar

MOST_S = 1.0
"""How long the hub may think about one input, in seconds of processor time: what else the machine does can't matter."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class TooSlow(AssertionError):
    """An input that takes the hub over a second."""


@dataclass(frozen=True)
class Target:
    """One kind of input. ``take`` tries one, and raises whatever is wrong with what the hub made of it.

    ``seeds`` are inputs to begin with; ``mutate`` makes another one of the kind, which bytes changed by chance hardly
    ever are; ``words`` are put in at random places; an input has ``max_bytes`` at most.
    """

    name: str
    take: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, Random], bytes]
    words: tuple[str, ...] = field(default=())
    max_bytes: int = 8192


class _Watch:
    """Knows how long the hub thought. The processor's time is dear to ask for, so it is only when much has passed."""

    EVERY = 64

    def __init__(self) -> None:
        self.calls = 0
        self.mark = time.process_time()

    def stop(self, begin: float, name: str) -> None:
        self.calls += 1
        passed = time.perf_counter() - begin
        if passed > MOST_S or self.calls % self.EVERY == 0:
            last, self.mark = self.mark, time.process_time()
            if passed > MOST_S and self.mark - last > MOST_S:  # else it was the machine that was busy
                raise TooSlow(f"{name} took {passed:.1f} s")


_watch = _Watch()


def timed(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """The function's result; ``TooSlow`` when it took too long."""
    begin = time.perf_counter()
    try:
        return function(*args, **kwargs)
    finally:
        _watch.stop(begin, function.__qualname__)
