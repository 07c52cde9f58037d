"""What is counted, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)


class Counts:
    """All metrics; `of` has those of one endpoint."""

    def __init__(self) -> None:
        by_endpoint = ["endpoint"]
        self.sent = Counter("webhooks_sent", "Events that an endpoint took.", by_endpoint, registry=None)
        self.failed = Counter(
            "webhooks_failed",
            "Events that were given up: every call with them failed.",
            ["endpoint", "reason"],
            registry=None,
        )
        self.dropped = Counter(
            "webhooks_dropped", "Events that were dropped and are in no call.", ["endpoint", "reason"], registry=None
        )
        self.retried = Counter(
            "webhooks_retried", "Calls that failed and were tried again.", by_endpoint, registry=None
        )
        self.waiting = Gauge(
            "webhooks_waiting", "Events that wait, those in calls under way included.", by_endpoint, registry=None
        )
        self.off = Gauge("webhooks_switched_off", "1: the endpoint answered 410.", by_endpoint, registry=None)
        self.seconds = Histogram(
            "webhooks_call_seconds", "How long each call took.", by_endpoint, buckets=SECONDS, registry=None
        )

    def register(self, registry: CollectorRegistry) -> None:
        """Have them shown."""
        each: list[MetricWrapperBase] = [
            self.sent, self.failed, self.dropped, self.retried, self.waiting, self.off, self.seconds
        ]  # fmt: skip
        for metric in each:
            registry.register(metric)

    def of(self, endpoint: str) -> "EndpointCounts":
        """Those of one endpoint."""
        return EndpointCounts(self, endpoint)


class EndpointCounts:
    """The metrics of one endpoint."""

    def __init__(self, counts: Counts, endpoint: str) -> None:
        self._counts = counts
        self._endpoint = endpoint
        self.sent = counts.sent.labels(endpoint)
        self.retried = counts.retried.labels(endpoint)
        self.waiting = counts.waiting.labels(endpoint)
        self.off = counts.off.labels(endpoint)
        self.seconds = counts.seconds.labels(endpoint)

    def failed(self, reason: str, events: int) -> None:
        """Events were given up."""
        self._counts.failed.labels(self._endpoint, reason).inc(events)

    def dropped(self, reason: str, events: int) -> None:
        """Events were dropped."""
        self._counts.dropped.labels(self._endpoint, reason).inc(events)

    def forget(self) -> None:
        """There is no such endpoint any more: what it has done stays, what it is goes."""
        self._counts.waiting.remove(self._endpoint)
        self._counts.off.remove(self._endpoint)
