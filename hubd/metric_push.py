"""The metrics of what is pushed to devices: `hubd.metric_table` has them among the others."""

from collections.abc import Mapping

from hubd.hooks.push import Outcome
from hubd.metric_kinds import Kind, Labels, Metric, Number, Readings

_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM


def _attempts(now: Readings) -> dict[Labels, Number]:
    counted = now.counts.push.attempts
    known = [(platform, outcome.value) for platform in now.hub.push_backends for outcome in Outcome]
    return {labels: counted[labels] for labels in dict.fromkeys((*known, *counted))}


def _each(now: Readings, found: Mapping[str, int]) -> dict[Labels, Number]:
    return {(platform,): found.get(platform, 0) for platform in dict.fromkeys((*now.hub.push_backends, *found))}


PUSH = (
    Metric(
        "hubd_devices",
        _GAUGE,
        "Devices that are registered for pushes, by platform.",
        lambda now: _each(now, now.hub.devices.per_platform()),
        ("platform",),
    ),
    Metric(
        "hubd_devices_gone_total",
        _COUNTER,
        "Devices that were taken off because their push service doesn't know them, by platform; those that came back,"
        " too.",
        lambda now: _each(now, now.hub.devices.gone_counts),
        ("platform",),
    ),
    Metric(
        "hubd_devices_kept_total",
        _COUNTER,
        "Devices that were kept or came back although their push service doesn't know them, because too many of their"
        " app's would have gone.",
        lambda now: _each(now, now.hub.devices.kept_counts),
        ("platform",),
    ),
    Metric(
        "hubd_devices_replaced_total",
        _COUNTER,
        "Devices that made room for another one of their user: `[push] devices_per_user` limits them.",
        lambda now: _each(now, now.hub.devices.replaced_counts),
        ("platform",),
    ),
    Metric(
        "hubd_devices_distrusted_apps",
        _GAUGE,
        "Apps of which no device is deleted at the moment, because more than `[push] gone_percent` of them would go:"
        " credentials or an environment are wrong. The log says which.",
        lambda now: now.hub.devices.distrusted_apps,
    ),
    Metric(
        "hubd_push_attempts_total",
        _COUNTER,
        "Calls of push services that are over, by platform and outcome: accepted, later (they are tried again), gone"
        " (the device isn't known there) or refused.",
        _attempts,
        ("platform", "outcome"),
    ),
    Metric(
        "hubd_push_seconds",
        _HISTOGRAM,
        "How long a call of a push service takes, by platform.",
        lambda now: {(platform,): found for platform, found in now.counts.push.seconds.items()},
        ("platform",),
    ),
    Metric(
        "hubd_push_waiting",
        _GAUGE,
        "Pushes that wait for their turn, their pace or their next attempt, by platform; each device counts for each"
        " notification.",
        lambda now: _each(now, now.counts.push.waiting()),
        ("platform",),
    ),
    Metric(
        "hubd_push_under_way",
        _GAUGE,
        "Calls of push services that are under way, by platform.",
        lambda now: _each(now, now.counts.push.under_way),
        ("platform",),
    ),
    Metric(
        "hubd_push_paused_destinations",
        _GAUGE,
        "Hosts or apps of push services to which nothing is sent for a while, as they fail or asked for it, by"
        " platform. The log says which.",
        lambda now: _each(now, now.counts.push.paused),
        ("platform",),
    ),
)
"""Who can be pushed to, and how that goes. Platforms are what plugins bring, and few."""
