"""Which of a user's connections a notification was given to, and which not and why. Nothing is noted for that when it
is fanned out: it follows from when each connection came and went, and what it was subscribed to from when on."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from hubd.core.channel import BROADCAST
from hubd.core.notification import Persistence
from hubd.core.record import Record
from hubd.core.visits import Visit

_OTHERS = 3
"""Of so many connections that came too late, or weren't subscribed, it is told."""
_WRITTEN = 20
Fields = dict[str, Any]


def _since(visit: Visit, channel: str) -> int | None:
    """From after which number on a connection gets what is published to a channel; None: it doesn't."""
    if channel == BROADCAST or channel == f"user:{visit.user}:{BROADCAST}":
        return visit.since
    return None if channel.startswith("user:") else visit.topic_since(channel)


def got_by(visit: Visit, record: Record) -> str | None:
    """The channel by which a connection is to get it, once it has read so far; None: by none."""
    for channel in record.channels:
        since = _since(visit, channel)
        if since is not None and since < record.sequence and not visit.has_missed(channel, record.sequence):
            return channel
    return None


def connection_steps(
    record: Record, number: int | None, visits: Sequence[Visit], steps: Sequence[Fields], expires_at: int
) -> list[Fields]:
    """What became of it on each connection of a user (by number); ``steps`` are those that are known already.

    ``expires_at`` is Unix ms.
    """
    if any(step["step"] == "gate" and "live" in step["ways"] for step in steps):
        return []  # it is kept from him
    told = [found for visit in visits if (found := _at_connection(record, visit, steps, expires_at)) is not None]
    written = [step for step in told if step["step"] == "written"]
    others = [step for step in told if step["step"] != "written"]
    if written:
        others = [step for step in others if step["reason"] not in ("started_after", "not_subscribed")]
    elif not any(visit.came_at < record.sequence <= visit.gone_at for visit in visits):
        others += _gone_before(record, number, visits)
    milestone = None if number is None else record.milestones.of(number)
    if milestone == "live_sent" and not written:
        written = [{"at": _published_at(record), "step": "written", "connection": None}]
        others = [step for step in others if step["reason"] != "absent"]
    if milestone == "acked" or any(step["step"] == "released" for step in steps):
        others = []
    return written[:_WRITTEN] + list(islice(_first_of_each(others), 2 * _OTHERS))


def _first_of_each(steps: Sequence[Fields]) -> Sequence[Fields]:
    counts: dict[str, int] = {}
    found = []
    for step in steps:
        counts[step["reason"]] = counts.get(step["reason"], 0) + 1
        if counts[step["reason"]] <= _OTHERS:
            found.append(step)
    return found


def _published_at(record: Record) -> int:
    """When it had its place in the sequence (Unix ms); of one from before a restart, when it was taken up again."""
    at = record.published_at or next((step.at for step in record.steps if step.what == "restored"), 0.0)
    return round(at * 1000) or record.sent_at


def _at_connection(record: Record, visit: Visit, steps: Sequence[Fields], expires_at: int) -> Fields | None:
    """What became of it on one connection; None: nothing that is worth telling."""
    sequence, published, opened = record.sequence, _published_at(record), round(visit.opened_at * 1000)
    was_there = visit.came_at < sequence
    if visit.gone_at < sequence:
        return None  # it had gone before
    at = published if was_there else opened
    if got_by(visit, record) is None:
        return _not_written(visit, at, reason) if (reason := _why_not(record, visit)) else None
    if not was_there:
        if any(step["step"] in ("retracted", "released") and step["at"] <= opened for step in steps):
            return None
        if record.persistence is Persistence.EPHEMERAL:
            return _not_written(visit, at, "live_only")
        if opened >= expires_at:
            return _not_written(visit, at, "expired")
    if visit.through < sequence:
        return _not_written(visit, at, "ended_behind" if visit.why else "behind")
    return {
        "at": at,
        "step": "written",
        **_connection(visit),
        "acks": visit.acks,
        "way": "live" if was_there else "replay",
        "waits": visit.waiting,
        "ended_at": round(visit.ended_at * 1000) if visit.why else None,
        "why": visit.why or None,
    }


def _why_not(record: Record, visit: Visit) -> str:
    """Why a connection gets it by none of the channels."""
    sinces = [(name, _since(visit, name)) for name in record.channels]
    if any(since is not None and since < record.sequence for _, since in sinces):
        return "evicted"
    if visit.came_at >= record.sequence and any(since is not None for _, since in sinces):
        return "started_after"
    return "not_subscribed" if any(not name.startswith("user:") for name in record.channels) else ""


def _gone_before(record: Record, number: int | None, visits: Sequence[Visit]) -> list[Fields]:
    """He had no connection: when the last one ended, and why."""
    published = _published_at(record)
    before = [visit for visit in visits if visit.gone_at < record.sequence]
    if before:
        last = max(before, key=lambda visit: visit.ended_at)
        ended = round(last.ended_at * 1000)
        return [_not_written(last, ended, "gone") | {"before_s": max(0.0, (published - ended) / 1000)}]
    if number is None or number not in record.everybody:
        return []
    nothing = {"connection": None, "transport": None, "visibility": None}
    return [{"at": published, "step": "not_written", **nothing, "reason": "absent", "why": None}]


def _not_written(visit: Visit, at: int, reason: str) -> Fields:
    return {"at": at, "step": "not_written", **_connection(visit), "reason": reason, "why": visit.why or None}


def _connection(visit: Visit) -> Fields:
    return {"connection": visit.connection, "transport": visit.transport, "visibility": visit.visibility}
