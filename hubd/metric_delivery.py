"""The metrics of what becomes of notifications: `hubd.metric_table` has them among the others."""

from collections.abc import Mapping

from hubd.core.milestones import ACKED, EXPIRED, LIVE_SENT, PENDING, PUSHED, RETRACTED
from hubd.metric_kinds import Kind, Labels, Metric, Number

REASONS = 50
"""So many reasons are shown; they are plugins' own words, and what is more stands under ``other``."""
_KNOWN = ("away", "no_route", "replaced")


def milestones(tally: Mapping[str, int]) -> dict[Labels, Number]:
    """How many are at each milestone, with its reason as a label of its own."""
    found: dict[Labels, Number] = {(name, ""): 0 for name in (PENDING, LIVE_SENT, PUSHED, ACKED, EXPIRED, RETRACTED)}
    found |= {("dropped", reason): 0 for reason in _KNOWN}
    reasons = dict.fromkeys(_KNOWN)
    for name, count in tally.items():
        kind, _, reason = name.rstrip(")").partition("(")
        if reason and len(reasons) < REASONS:
            reasons[reason] = None
        labels = (kind, reason if not reason or reason in reasons else "other")
        found[labels] = found.get(labels, 0) + count
    return found


DELIVERY = (
    Metric(
        "hubd_milestones",
        Kind.GAUGE,
        "How far what was accepted has come, notification by notification and user by user: pending, live_sent, pushed,"
        " acked, expired, retracted, held or dropped, these two with their reason. Since the start; nobody is in two.",
        lambda now: milestones(now.hub.delivering.delivery.tally),
        ("milestone", "reason"),
    ),
    Metric(
        "hubd_accepted",
        Kind.GAUGE,
        "For how many users notifications were accepted, each counted for each: `hubd_milestones` add up to it. Since"
        " the start.",
        lambda now: now.hub.delivering.delivery.tally.accepted,
    ),
    Metric(
        "hubd_open_notifications",
        Kind.GAUGE,
        "Notifications about which something is open: an ack, a push, a release. `[delivery] open_entries` limits"
        " them.",
        lambda now: len(now.hub.delivering.delivery.open),
    ),
    Metric(
        "hubd_waiting_deadlines",
        Kind.GAUGE,
        "Notifications that wait for a moment: to be pushed, or to expire.",
        lambda now: now.hub.delivering.delivery.open.deadlines,
    ),
    Metric(
        "hubd_explained_notifications",
        Kind.GAUGE,
        "Notifications of which the hub can still say what became of them.",
        lambda now: len(now.hub.delivering.ledger),
    ),
    Metric(
        "hubd_explain_bytes",
        Kind.GAUGE,
        "Bytes that this takes, by the count that `[delivery] explain_bytes` limits.",
        lambda now: now.hub.delivering.ledger.budget.used,
    ),
)
"""Whom notifications reached, and what is still to be done about them."""
