"""When devices are tried again: parts in buckets by the moment at which they are due."""

import heapq
from math import floor, inf, log2
from random import Random

from hubd.push.jobs import Job, Part, PartKey, Waiting

MOST_ATTEMPTS = 32
"""Beyond so many, all attempts are the same."""
_FINEST_S = 1 / 64


def backoff(attempt: int, first_s: float, longest_s: float, random: Random) -> float:
    """Seconds until a device is tried again after so many attempts (1: the first): exponential, with full jitter."""
    most = min(longest_s, first_s * 2.0 ** min(attempt - 1, MOST_ATTEMPTS))
    return random.uniform(0.0, most)


def rounded_up(at: float, now: float) -> float:
    """The end of the bucket that a moment falls into: never earlier, and later by an eighth of the wait at most.

    So there are few buckets, however many wait and for how long.
    """
    wait = at - now
    step = _FINEST_S if wait <= 8 * _FINEST_S else 2.0 ** floor(log2(wait / 8))
    return -floor(-at / step) * step


class Buckets:
    """Devices that are to be tried again, each bucket with its moment."""

    def __init__(self) -> None:
        self._buckets: dict[float, dict[tuple[int, PartKey], Part]] = {}
        self._moments: list[float] = []

    def __len__(self) -> int:
        return len(self._buckets)

    def put(self, job: Job, to: Waiting, device: int, attempt: int, at: float, now: float) -> None:
        """This device of a job waits until then (monotonic s), or a little longer."""
        moment = rounded_up(max(at, now), now)
        bucket = self._buckets.get(moment)
        if bucket is None:
            bucket = self._buckets[moment] = {}
            heapq.heappush(self._moments, moment)
        key = PartKey(job.number, min(attempt, MOST_ATTEMPTS))
        part = bucket.get((to.number, key))
        if part is None:
            part = Part(job, to, key)
            part.move_to(bucket, (to.number, key))
        part.put_one(device)

    def take(self, now: float, most: int) -> list[Part]:
        """Parts that are due, so many at most."""
        found: list[Part] = []
        while self._moments and self._moments[0] <= now and len(found) < most:
            bucket = self._buckets[self._moments[0]]
            while bucket and len(found) < most:
                part = next(iter(bucket.values()))
                part.leave()
                found.append(part)
            if not bucket:
                del self._buckets[heapq.heappop(self._moments)]
        return found

    def next_moment(self) -> float:
        """When the next ones are due (monotonic s)."""
        while self._moments and not self._buckets[self._moments[0]]:
            del self._buckets[heapq.heappop(self._moments)]
        return self._moments[0] if self._moments else inf
