"""What can be counted, and how the log is told of trouble: nothing in here is anybody's secret."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from hubd.plugin import Clock, PluginLog
from hubd_proxy_auth.answers import Decision, Denied, Known, NotMine, Unusable

QUIET_S = 10.0
"""While the application is in trouble, the log has a line about it no more often than that."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)


class Figures:
    """The metrics of the plugin."""

    def __init__(self, registry: CollectorRegistry, entries: Callable[[], float], waiting: Callable[[], float]) -> None:
        self.requests = Counter(
            "proxy_auth_requests", "Who was to be found out, by where that came from", ["source"], registry=registry
        )
        self.calls = Counter(
            "proxy_auth_calls", "Calls to the application, by its answer", ["answer"], registry=registry
        )
        self.seconds = Histogram(
            "proxy_auth_call_seconds", "How long calls to the application took", buckets=SECONDS, registry=registry
        )
        for source in ("nothing", "kept", "joined", "call"):
            self.requests.labels(source)
        for answer in _ANSWERS.values():
            self.calls.labels(answer)
        Gauge("proxy_auth_kept_answers", "Answers that are kept", registry=registry).set_function(entries)
        Gauge("proxy_auth_waiting_calls", "Calls under way or waiting", registry=registry).set_function(waiting)

    def note_call(self, answer: Decision | Unusable, seconds: float) -> None:
        """A call has ended."""
        self.calls.labels(_ANSWERS[type(answer)]).inc()
        self.seconds.observe(seconds)


_ANSWERS = {Known: "known", Denied: "denied", NotMine: "not_mine", Unusable: "failed"}


class Trouble:
    """How the application does. The log is told when it begins to fail, now and then while it does, and at the end."""

    def __init__(self, clock: Clock, log: PluginLog) -> None:
        self._clock = clock
        self._log = log
        self._failed_at: float | None = None  # when last; None: it works
        self._told_at = 0.0
        self._untold = 0
        self.why = ""

    def note(self, answer: Decision | Unusable) -> None:
        """A call has ended."""
        now = self._clock.monotonic()
        if not isinstance(answer, Unusable):
            if self._failed_at is not None:
                self._log.info("the application answers again")
            self._failed_at = None
            return
        first = self._failed_at is None
        self._failed_at, self.why = now, str(answer)
        self._untold += 1
        if first or now - self._told_at >= QUIET_S:
            self._log.error(
                "the application can't be asked, so nobody new is let in", why=self.why, failures=self._untold
            )
            self._told_at, self._untold = now, 0

    @property
    def is_recent(self) -> bool:
        """Whether the last call failed, and that a short time ago: without new clients nobody would find out more."""
        return self._failed_at is not None and self._clock.monotonic() - self._failed_at < QUIET_S
