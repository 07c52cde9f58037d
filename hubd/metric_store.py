"""The metrics of the store: `hubd.metric_table` has them among the others. Without a store there are none."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hubd.metric_kinds import Kind, Metric, Readings, Value

if TYPE_CHECKING:
    from hubd.store.writer import StoreCounts

_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM


def _counted(read: "Callable[[StoreCounts], Value]") -> Callable[[Readings], Value]:
    """A figure that the store counts."""

    def found(now: Readings) -> Value:
        counts: StoreCounts | None = getattr(now.hub.store, "counts", None)
        return {} if counts is None else read(counts)

    return found


def _waiting(now: Readings) -> Value:
    waiting: dict[str, int] = getattr(now.hub.store, "waiting", {})
    return {(lane,): count for lane, count in waiting.items()}


STORE = (
    Metric(
        "hubd_store_trouble",
        _GAUGE,
        "1 while nothing can be stored: what must be stored is refused (503), everything live goes on; 0 otherwise.",
        lambda now: {} if now.hub.store is None else int(bool(now.hub.store.trouble)),
    ),
    Metric(
        "hubd_store_failures_total",
        _COUNTER,
        "How often the database failed; each time the store connects anew and sees what was stored.",
        _counted(lambda counts: counts.failures),
    ),
    Metric(
        "hubd_store_commits_total",
        _COUNTER,
        "Transactions that are on the disk.",
        _counted(lambda counts: counts.commits),
    ),
    Metric(
        "hubd_store_commit_seconds",
        _HISTOGRAM,
        "How long a transaction takes, until it is on the disk; whoever publishes durably waits for one or two.",
        _counted(lambda counts: counts.commit_s),
    ),
    Metric(
        "hubd_store_writes_total",
        _COUNTER,
        "Writes that those carried out: divided by their number, how many go together.",
        _counted(lambda counts: counts.writes),
    ),
    Metric(
        "hubd_store_waiting",
        _GAUGE,
        "Writes that wait for a transaction, by lane: publish and ack (somebody waits for them; of both together 10,000"
        " at most), bookkeeping.",
        _waiting,
        ("lane",),
    ),
    Metric(
        "hubd_store_waiting_bytes",
        _GAUGE,
        "About how much memory they hold; 64 MiB at most.",
        lambda now: getattr(now.hub.store, "waiting_bytes", {}),
    ),
    Metric(
        "hubd_store_refused_total",
        _COUNTER,
        "Writes that somebody waited for and that weren't stored: they were answered 503.",
        _counted(lambda counts: counts.refused),
    ),
    Metric(
        "hubd_store_lost_total",
        _COUNTER,
        "Bookkeeping that wasn't stored and won't be, because too much of it waited or the hub ended: after a crash a"
        " push may come twice, or an ack be forgotten that nobody was promised.",
        _counted(lambda counts: counts.lost),
    ),
    Metric(
        "hubd_store_withdrawn_total",
        _COUNTER,
        "Notifications that were found stored after a failure though their publishers had been told otherwise: they"
        " were removed.",
        _counted(lambda counts: counts.withdrawn),
    ),
)
