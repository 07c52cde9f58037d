"""Every metric: its name, its meaning, and where it is read. `hubd.metrics` shows them."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from hubd import __version__
from hubd.core.errors import DISCONNECTS
from hubd.core.notification import Priority
from hubd.core.presence import State
from hubd.counts import Counts, Histogram
from hubd.logs import TALLY
from hubd.metric_delivery import DELIVERY
from hubd.metric_kinds import Kind, Labels, Metric, Number
from hubd.metric_push import PUSH
from hubd.metric_store import STORE


def _each(counted: Mapping[Any, int], known: Iterable[str] = ()) -> dict[Labels, Number]:
    """Values under one label; those that are ``known`` are shown before they first occur."""
    return {(str(word),): counted.get(word, 0) for word in dict.fromkeys((*known, *counted))}


def _each_histogram(found: Mapping[str, Histogram]) -> dict[Labels, Histogram]:
    return {(word,): histogram for word, histogram in found.items()}


def _known(found: Mapping[tuple[str, str], int]) -> Iterable[tuple[str, str]]:
    """All transports with all states, and what else was found."""
    known = [(transport, state) for transport in _TRANSPORTS for state in ("attentive", "connected", "resuming")]
    return dict.fromkeys((*known, *found))


def _published(counts: Counts) -> dict[Labels, Number]:
    known = [(result, priority.word) for result in ("accepted", "duplicate") for priority in Priority]
    return {labels: counts.published[labels] for labels in dict.fromkeys((*known, *counts.published))}


_TRANSPORTS = ("websocket", "sse", "poll")
_ENDS = ("gone", "slow_consumer", *(why.reason for why in DISCONNECTS))
_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

METRICS = (
    Metric(
        "hubd_build_info",
        _GAUGE,
        "Always 1; its labels say which version of hubd runs, on which Python.",
        lambda now: {(__version__, sys.version.split()[0]): 1},
        ("version", "python"),
    ),
    # Connections
    Metric(
        "hubd_connections",
        _GAUGE,
        "Connections that are attached, by transport and state: attentive (somebody looks at it), connected, or"
        " resuming (still reading what it missed).",
        lambda now: {labels: now.survey.connections[labels] for labels in _known(now.survey.connections)},
        ("transport", "state"),
    ),
    Metric(
        "hubd_unauthenticated_connections",
        _GAUGE,
        "WebSockets that haven't said yet who they are.",
        lambda now: now.edge.strangers,
    ),
    Metric(
        "hubd_http_connections",
        _GAUGE,
        "HTTP connections that are open, those between two requests too; what became a WebSocket, a stream or a waiting"
        " poll isn't one any more.",
        lambda now: now.edge.http,
    ),
    Metric(
        "hubd_users",
        _GAUGE,
        "Users who are here, by state: attentive, connected, or wavering (the last connection went a moment ago).",
        lambda now: _each(now.hub.presence.count(), [s.value for s in State if s is not State.AWAY]),
        ("state",),
    ),
    Metric(
        "hubd_connections_opened_total",
        _COUNTER,
        "Connections that were attached; each waiting long-poll is one.",
        lambda now: _each(now.counts.opened, _TRANSPORTS),
        ("transport",),
    ),
    Metric(
        "hubd_connections_ended_total",
        _COUNTER,
        "Connections that are over, by why: gone (the client or the network ended it), answered (a poll), replaced"
        " (its ticket was used again), slow_consumer, or the reason of the hub's close code (too_many: a flood).",
        lambda now: _each(now.counts.ended, _ENDS),
        ("reason",),
    ),
    Metric(
        "hubd_connections_refused_total",
        _COUNTER,
        "Connections that were not taken in, by why: the limit that was reached (per_ip, per_user, connections,"
        " unauthenticated), stopping, the code of the problem for a stream or poll without a good token, or the reason"
        " of the close code for a WebSocket that didn't prove who it is.",
        lambda now: _each(now.counts.refused, ("per_ip", "per_user", "connections", "unauthenticated", "bad_token")),
        ("reason",),
    ),
    Metric(
        "hubd_http_cut_total",
        _COUNTER,
        "HTTP connections that were cut or not let in, by why: per_ip, no_room, made_room (idle, for another one),"
        " slow_head (its request didn't come), slow_reader (its answer wasn't taken), memory (too much waited for it).",
        lambda now: _each(now.counts.cut, ("per_ip", "no_room", "made_room", "slow_head", "slow_reader", "memory")),
        ("reason",),
    ),
    Metric(
        "hubd_topics",
        _GAUGE,
        "Topics that somebody is subscribed to live.",
        lambda now: len(now.hub.registry.topics),
    ),
    # Traffic
    Metric(
        "hubd_publishes_total",
        _COUNTER,
        "Publish calls with a valid body, by priority and by what became of them: accepted, duplicate (the id was"
        " known, nothing was sent again), refused or failed. Each item of a batch is one.",
        lambda now: _published(now.counts),
        ("result", "priority"),
    ),
    Metric(
        "hubd_deliveries_total",
        _COUNTER,
        "Live notifications that were queued for a connection, once for each connection.",
        lambda now: now.counts.deliveries,
    ),
    Metric(
        "hubd_written_bytes_total",
        _COUNTER,
        "Bytes of frames handed to the transports of connections.",
        lambda now: now.counts.written_bytes,
    ),
    Metric(
        "hubd_acks_total",
        _COUNTER,
        "Notifications that users said they were shown; each counts once for each user.",
        lambda now: now.counts.acks,
    ),
    Metric(
        "hubd_resumes_total",
        _COUNTER,
        "Connections and subscriptions that came with a cursor: recovered (nothing is missing) or gap.",
        lambda now: _each(now.counts.resumed, ("recovered", "gap")),
        ("result",),
    ),
    Metric(
        "hubd_replayed_total",
        _COUNTER,
        "Notifications that were read from the rings for connections and subscriptions that came with a cursor.",
        lambda now: now.counts.replayed,
    ),
    Metric(
        "hubd_gaps_total",
        _COUNTER,
        "Gaps that connections were told of: evicted (the ring had let go of something), epoch (the cursor is from"
        " another life of the hub) or bad_cursor.",
        lambda now: _each(now.counts.gaps, ("evicted", "epoch", "bad_cursor")),
        ("reason",),
    ),
    *DELIVERY,
    *PUSH,
    *STORE,
    # Latency
    Metric(
        "hubd_loop_lag_seconds",
        _HISTOGRAM,
        "How late the event loop came to what was due: while it is late, everybody waits. Measured every 0.25 s.",
        lambda now: now.counts.loop_lag,
    ),
    Metric(
        "hubd_collection_seconds",
        _HISTOGRAM,
        "How long full collections of garbage took, in which the loop stands still: when there is little to do, ten"
        " minutes to four hours apart (the less they find), and when the process has grown by half.",
        lambda now: now.counts.collections,
    ),
    Metric(
        "hubd_http_requests_total",
        _COUNTER,
        "HTTP requests that were answered, handshakes among them, by method, route and status.",
        lambda now: now.counts.requests,
        ("method", "route", "status"),
    ),
    Metric(
        "hubd_http_request_seconds",
        _HISTOGRAM,
        "From a request's head to its answer, by route; without `/notifications`, where waiting is meant.",
        lambda now: _each_histogram(now.counts.request_seconds),
        ("route",),
    ),
    # Problems
    Metric(
        "hubd_queued_bytes",
        _GAUGE,
        "Bytes that wait for connections which don't take them fast enough, in all.",
        lambda now: now.survey.queued_bytes,
    ),
    Metric(
        "hubd_queued_bytes_max",
        _GAUGE,
        "Bytes that wait for the connection for which most wait; over `[limits] queue_bytes` it is cut.",
        lambda now: now.survey.longest_bytes,
    ),
    Metric(
        "hubd_paused_connections",
        _GAUGE,
        "Connections whose socket takes no more at the moment.",
        lambda now: now.survey.paused,
    ),
    Metric(
        "hubd_slow_consumers_total",
        _COUNTER,
        "Connections that were cut because more than `[limits] queue_bytes` waited for them, or writing failed.",
        lambda now: now.counts.slow_consumers,
    ),
    Metric(
        "hubd_problems_total",
        _COUNTER,
        "Refused requests, batch items and actions of clients, by the code that they were answered with.",
        lambda now: _each(now.counts.problems, ("unauthorized", "rate_limited", "unavailable", "internal")),
        ("code",),
    ),
    Metric(
        "hubd_reloads_total",
        _COUNTER,
        "How often the config was read again while the hub ran: done, or refused (nothing was changed; see the log).",
        lambda now: _each(now.counts.reloads, ("done", "refused")),
        ("result",),
    ),
    Metric(
        "hubd_log_lines_total",
        _COUNTER,
        "Lines for the log by level, those that were left out too; `error` and above are faults.",
        lambda now: _each(TALLY.lines, ("warning", "error", "critical")),
        ("level",),
    ),
    Metric(
        "hubd_log_suppressed_total",
        _COUNTER,
        "Lines that were left out of the log because there were too many of their kind within a minute.",
        lambda now: TALLY.suppressed,
    ),
    Metric(
        "hubd_log_lost_total",
        _COUNTER,
        "Lines that were lost because nobody took them from standard error fast enough.",
        lambda now: TALLY.lost,
    ),
    # Plugins
    Metric(
        "hubd_plugin_up",
        _GAUGE,
        "1 for a plugin that is on; 0 for one that failed too often and is switched off for a while or until a reload.",
        lambda now: {(plugin.name,): int(plugin.is_on) for plugin in now.hub.hooks.plugins.values()},
        ("plugin",),
    ),
    Metric(
        "hubd_plugin_faults_total",
        _COUNTER,
        "What plugins did wrong, by kind: raised, too_long, bad_answer (nothing that the hook knows), task (one of its"
        " tasks failed) or blocked (it kept the event loop from everybody).",
        lambda now: {
            (plugin.name, kind): count
            for plugin in now.hub.hooks.plugins.values()
            for kind, count in plugin.faults.items()
        },
        ("plugin", "kind"),
    ),
    Metric(
        "hubd_hook_calls_total",
        _COUNTER,
        "How often a plugin was called in a hook.",
        lambda now: {(impl.plugin.name, hook): impl.calls for hook, impl in now.impls()},
        ("plugin", "hook"),
    ),
    Metric(
        "hubd_hook_seconds_total",
        _COUNTER,
        "How long that took in all; what a plugin waited for counts too.",
        lambda now: {(impl.plugin.name, hook): impl.seconds for hook, impl in now.impls()},
        ("plugin", "hook"),
    ),
    Metric(
        "hubd_plugin_events_waiting",
        _GAUGE,
        "What has happened and a plugin is still to be told of; 50,000 at most.",
        lambda now: {(name,): len(queue.events) for name, queue in now.hub.observers.queues.items()},
        ("plugin",),
    ),
    Metric(
        "hubd_plugin_events_lost_total",
        _COUNTER,
        "What has happened and a plugin was never told of, because too much was waiting for it.",
        lambda now: _each(now.hub.observers.lost()),
        ("plugin",),
    ),
    Metric(
        "hubd_withheld_total",
        _COUNTER,
        "From how many of those whom notifications were meant for a plugin kept them: drop, hold or digest.",
        lambda now: now.counts.withheld,
        ("plugin", "action"),
    ),
    # Memory
    Metric(
        "hubd_ring_bytes",
        _GAUGE,
        "Bytes that the rings keep, by the count that `[replay] max_bytes` limits.",
        lambda now: now.hub.rings.bytes,
    ),
    Metric(
        "hubd_ring_entries",
        _GAUGE,
        "Notifications in rings; one that was published to several channels counts in each.",
        lambda now: now.hub.rings.entries,
    ),
    Metric(
        "hubd_ring_channels",
        _GAUGE,
        "Channels whose ring holds something.",
        lambda now: len(now.hub.rings.names()),
    ),
    Metric(
        "hubd_ring_evictions_total",
        _COUNTER,
        "Notifications that were pushed out of a ring, by what limit of `[replay]`: per_channel, ttl_s or max_bytes.",
        lambda now: _each(now.hub.rings.evictions),
        ("limit",),
    ),
    Metric(
        "hubd_remembered_ids",
        _GAUGE,
        "Publishers' ids that are remembered for repeats.",
        lambda now: now.hub.remembered_ids,
    ),
)
"""Everything that is shown about the hub. What Prometheus clients show of any process comes with it: ``PROCESS``."""

PROCESS = {
    "process_cpu_seconds_total": "CPU time that the process has used, in seconds.",
    "process_resident_memory_bytes": "Memory that the process has in use.",
    "process_virtual_memory_bytes": "Address space of the process; says little.",
    "process_open_fds": "Open files of the process: each connection is one.",
    "process_max_fds": "How many files it may have open.",
    "process_start_time_seconds": "When it began, in Unix seconds.",
}


def meanings() -> dict[str, str]:
    """Every metric that the hub shows, by the name that a query has, with what it means."""
    return {metric.name: metric.meaning for metric in METRICS} | PROCESS
