"""What is counted, for Prometheus."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from hubd_apns.lines import Lines


class Counts(Collector):
    """All metrics, read off the lines when somebody looks; before the start there are none to read."""

    def __init__(self, lines: "Callable[[], Lines | None]") -> None:
        self._lines = lines

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        lines = self._lines()
        connected, open_, signed = (lines.connected, lines.open, lines.signed) if lines is not None else (0, 0, 0)
        yield CounterMetricFamily("apns_connections", "Connections to APNs that were made.", value=connected)
        yield GaugeMetricFamily("apns_open_connections", "Connections to APNs that are open now.", value=open_)
        yield CounterMetricFamily("apns_provider_tokens", "Provider tokens that were signed.", value=signed)
