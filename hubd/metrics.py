"""Metrics for Prometheus: what stands in `hubd.metric_table`, read when somebody asks.

Nothing is counted here. The hub counts in plain numbers (`hubd.counts`) or knows the figure anyway, and this reads them
when somebody asks. What only a walk over all connections can tell is gathered beforehand (``survey``), in slices.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics

from hubd.clock import Clock
from hubd.counts import Counts, Histogram
from hubd.hooks.brought import metrics_of
from hubd.hooks.calls import BadAnswer
from hubd.hub import Hub
from hubd.metric_kinds import EdgeSizes, Kind, Metric, Readings, Value
from hubd.metric_table import METRICS
from hubd.survey import Survey, survey

OPENMETRICS = "application/openmetrics-text"
"""Whoever names this in his `Accept` header gets it, whatever else stands there; all others get plain text."""
SURVEY_S = 1.0
"""A walk over the connections is good for so long, however many ask."""
LAG_S = 0.25
"""How often it is measured how late the loop is."""


class Metrics:
    """The metrics of one hub; ``edge`` tells how many are at its edge."""

    def __init__(
        self,
        hub: Hub,
        edge: Callable[[], EdgeSizes] = EdgeSizes,
        of_plugins: Mapping[str, CollectorRegistry] | None = None,
    ) -> None:
        self._hub = hub
        self._of_plugins = of_plugins or {}
        self._edge = edge
        self._survey = Survey()
        self._next_survey = -1.0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All of it in the text format that this ``Accept`` header asks for, and its content type."""
        now = self._hub.clock.monotonic()
        if now >= self._next_survey:
            self._next_survey = now + SURVEY_S
            self._survey = await survey(self._hub)
        if OPENMETRICS in accept.lower():
            text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]  # it has no types
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterator[Family]:
        """What prometheus-client asks for: every metric as it is now."""
        readings = Readings(self._hub, self._survey, self._edge())
        for metric in METRICS:
            yield _family(metric, metric.read(readings))
        taken: set[str] = set()
        for name, registry in self._of_plugins.items():
            yield from self._collect(name, registry, taken)

    def _collect(self, name: str, registry: CollectorRegistry, taken: set[str]) -> Iterable[Family]:
        """What one plugin shows: all of it, or nothing when it is off, fails or takes names that aren't its own."""
        plugin = self._hub.hooks.plugins[name]
        if not plugin.is_on:
            return []
        try:
            return metrics_of(name, registry, taken)
        except BaseException as error:  # also what would end the hub
            kind = "bad_answer" if isinstance(error, BadAnswer) else "raised"
            self._hub.hooks.fault(plugin, "metrics", kind, error, provoked=True)
            return []

    def describe(self) -> Iterable[Family]:
        """Nothing is known before it is read."""
        return ()


async def watch_lag(counts: Counts, clock: Clock) -> None:
    """Measure how late the loop is, until cancelled: what a slow step of anybody's costs everybody else."""
    while True:
        planned = clock.monotonic() + LAG_S
        await asyncio.sleep(LAG_S)
        counts.loop_lag.observe(max(0.0, clock.monotonic() - planned))


def _family(metric: Metric, value: Value) -> Family:
    values = value if isinstance(value, Mapping) else {(): value}
    if metric.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for labels, found in values.items():
            assert isinstance(found, Histogram)
            histogram.add_metric(labels, list(_buckets(found)), found.sum)
        return histogram
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind is Kind.COUNTER:
        family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    else:
        family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, found in values.items():
        assert not isinstance(found, Histogram)
        family.add_metric(labels, found)
    return family


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    """Its buckets as Prometheus wants them: each with how many were at most its bound."""
    so_far = 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        so_far += count
        yield bound, so_far
