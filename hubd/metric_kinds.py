"""What a metric is: its kind, its labels, and where its figures are read."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from hubd.counts import Counts, Histogram
from hubd.hooks.calls import Impl
from hubd.hub import Hub
from hubd.survey import Survey

Labels = tuple[str, ...]
Number = int | float
Value = Number | Histogram | Mapping[Any, Number] | Mapping[Any, Histogram]
"""A figure, or one for each combination of labels."""


class Kind(Enum):
    """What Prometheus can do with a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class EdgeSizes(NamedTuple):
    """How many are at the edge of the hub: on HTTP connections, and as WebSockets that haven't said who they are."""

    http: int = 0
    strangers: int = 0


class Readings(NamedTuple):
    """Where the figures are: in the hub, in what a walk over its connections found, and what its edge knows."""

    hub: Hub
    survey: Survey
    edge: EdgeSizes

    @property
    def counts(self) -> Counts:
        """What the hub counts."""
        return self.hub.counts

    def impls(self) -> Iterable[tuple[str, Impl]]:
        """What plugins implement, hook by hook."""
        return ((name, impl) for name, hook in self.hub.hooks.each.items() for impl in hook.all)


class Metric(NamedTuple):
    """One metric: what it is called, what it means, and how it is read. ``labels`` are the names of its labels."""

    name: str
    kind: Kind
    meaning: str
    read: Callable[[Readings], Value]
    labels: Labels = ()
