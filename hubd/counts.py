"""What a hub counts: plain numbers, which cost next to nothing where they are counted. `hubd.metrics` shows them."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping

LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """How often a value was at most each of ``bounds`` (ascending), or more than all of them; and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class PushCounts:
    """The numbers of what is pushed to devices, by platform."""

    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str]] = Counter()
        """Calls of push services that are over, by platform and outcome."""
        self.seconds: dict[str, Histogram] = {}
        """How long they took, by platform."""
        self.under_way: Counter[str] = Counter()
        """Calls that are under way."""
        self.paused: Counter[str] = Counter()
        """Destinations to which nothing is sent for a while."""
        self.waiting: Callable[[], Mapping[str, int]] = dict
        """How many devices wait for their push."""

    def note_attempt(self, platform: str, outcome: str, seconds: float) -> None:
        """A call is over."""
        self.attempts[platform, outcome] += 1
        found = self.seconds.get(platform)
        if found is None:
            found = self.seconds[platform] = Histogram(REQUEST_BUCKETS)
        found.observe(seconds)


class Counts:
    """The numbers of one hub, since it began. Where there is a reason or a kind, it is one of a few fixed words."""

    def __init__(self) -> None:
        self.published: Counter[tuple[str, str]] = Counter()
        """Publish calls by what became of them and by priority."""
        self.deliveries = 0
        """How often a live notification was put into a connection's outbox."""
        self.written_bytes = 0
        """Bytes handed to the transports of connections."""
        self.slow_consumers = 0
        self.acks = 0
        """Notifications that a user said for the first time that he was shown."""
        self.withheld: Counter[tuple[str, str]] = Counter()
        """How many of those whom a notification was meant for a plugin kept it from, by plugin and action."""
        self.opened: Counter[str] = Counter()
        """Connections that were attached, by transport."""
        self.ended: Counter[str] = Counter()
        """Connections that are gone, by why."""
        self.refused: Counter[str] = Counter()
        """Connections that were not taken in, by why."""
        self.resumed: Counter[str] = Counter()
        """Connections and subscriptions that came with a cursor, by whether anything was missing."""
        self.replayed = 0
        """Notifications read from the rings for those who came back."""
        self.gaps: Counter[str] = Counter()
        """Gaps that clients were told of, by reason."""
        self.cut: Counter[str] = Counter()
        """HTTP connections that were cut or not let in, by why."""
        self.problems: Counter[str] = Counter()
        """Refused requests and actions by code."""
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """HTTP requests by method, route and status."""
        self.request_seconds: dict[str, Histogram] = {}
        """How long those took that don't wait on purpose, by route."""
        self.reloads: Counter[str] = Counter()
        """How often the config was to be read again, by how that went."""
        self.push = PushCounts()
        self.loop_lag = Histogram(LAG_BUCKETS)
        """How much later than planned the loop came to what was due, in seconds."""
        self.collections = Histogram(LAG_BUCKETS)
        """How long full collections of garbage took, in seconds."""

    def note_resumed(self, reason: str, gaps: int, missed: int = 0) -> None:
        """Count somebody who came with a cursor: ``reason`` says why it couldn't be honoured (empty: it could).

        ``gaps`` were found in the rings and are counted with it; those in ``missed`` have been counted already.
        """
        self.resumed["gap" if reason or gaps or missed else "recovered"] += 1
        if reason:
            self.gaps[reason] += 1
        self.gaps["evicted"] += gaps

    def note_request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count a request; without ``seconds`` it was one that waits on purpose."""
        self.requests[method, route, str(status)] += 1
        if seconds is not None:
            found = self.request_seconds.get(route)
            if found is None:
                found = self.request_seconds[route] = Histogram(REQUEST_BUCKETS)
            found.observe(seconds)
