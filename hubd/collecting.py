"""Full collections of garbage, at moments at which they hurt nobody.

Nearly everything here is freed the moment it isn't used any more. What Python's garbage collector is for are circles,
and to find those among older objects it walks over all there are. With ten thousand connections and full rings that is
a quarter of a second or more, in which the loop stands still, and by its own rule it would come whenever a quarter of
them is new: twice a minute. So only young objects are left to that rule, and the hub has everything looked at when it
has little else to do, or when it has become much larger. It makes no circles itself that grow old; plugins may.
"""

import asyncio
import gc
import resource
from collections.abc import Callable

from hubd.clock import Clock, timer
from hubd.counts import Histogram

ROUND_S = 1.0
QUIET = 0.1
"""Up to this share of a processor the process has little to do."""
LEAST_S = 600.0
LONGEST_S = 4 * 3600.0
"""Full collections are so far apart: at first the less, and each time that one finds little, twice as far."""
LITTLE = 1000
"""Objects."""
BUSY_TIMES = 6
"""After so many times as long there is one in any case, quiet or not."""
GROWN, GROWN_BYTES = 1.5, 64 << 20
"""With so many times the memory of the last time, and so much more, there is one too: it may be garbage."""
GROWN_LEAST_S = 10.0
"""But not more often than that."""
_NEVER = 2**31 - 1


def used_cpu_s() -> float:
    """Seconds of CPU that this process has used so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    """The memory that this process has in use; 0 where the system doesn't say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


class Collecting:
    """Decides when; ``took`` is told how long each full collection took."""

    def __init__(
        self,
        took: Histogram,
        clock: Clock,
        cpu_s: Callable[[], float] = used_cpu_s,
        collect: Callable[[], int] = gc.collect,
        memory: Callable[[], int] = resident_bytes,
    ) -> None:
        self._took = took
        self._clock = clock
        self._cpu_s = cpu_s
        self._collect = collect
        self._memory = memory
        self._apart_s = LEAST_S

    def begin(self) -> None:
        """From here on the hub decides. What is here now stays: nobody needs to look at it again."""
        self._collect()
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, _NEVER)
        self._looked_at = self._collected_at = self._clock.monotonic()
        self._used_s = self._cpu_s()
        self._had_bytes = self._memory()

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            self.look()

    def look(self) -> None:
        """Collect, if now is a good moment, or it has been put off for too long."""
        now, used_s = self._clock.monotonic(), self._cpu_s()
        is_quiet = used_s - self._used_s <= QUIET * (now - self._looked_at)
        since_s = now - self._collected_at
        has_grown = self._memory() > max(self._had_bytes * GROWN, self._had_bytes + GROWN_BYTES)
        is_due = since_s >= self._apart_s * (1 if is_quiet else BUSY_TIMES)
        if is_due or (has_grown and since_s >= GROWN_LEAST_S):
            begun = timer()
            found = self._collect()
            self._took.observe(timer() - begun)
            self._apart_s = LEAST_S if found > LITTLE else min(2 * self._apart_s, LONGEST_S)
            self._collected_at = now
            self._had_bytes = self._memory()
            used_s = self._cpu_s()
        self._looked_at, self._used_s = now, used_s
