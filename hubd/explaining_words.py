"""What an explanation says for people: a sentence for each step, and one for how far it has come."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Fields = dict[str, Any]
_NAMED = 3
"""How many channels a sentence names."""


class Standing(NamedTuple):
    """How a notification stands with one user. ``due_in_s`` is when it is pushed or given up, if it waits for that."""

    milestone: str | None
    user: str
    channels: Sequence[str]
    priority: str
    persistence: str
    due_in_s: float | None = None
    is_pushing: bool = False
    has_no_route: bool = False
    is_known: bool = True


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.3g} h"


def _named(channels: Sequence[str]) -> str:
    if not channels:
        return "nobody"
    more = f" and {len(channels) - _NAMED:,} more channels" if len(channels) > _NAMED else ""
    return ", ".join(channels[:_NAMED]) + more


def _connection(step: Fields) -> str:
    if not step.get("connection"):
        return "an HTTP call"
    transport = f" ({step['transport']})" if step.get("transport") else ""
    return f"connection {step['connection']}{transport}"


_ENDS = {
    "gone": "the client or the network ended it",
    "no_pong": "it answered no ping: no_pong",
    "slow_consumer": "it didn't read fast enough: slow_consumer",
    "answered": "a poll, which was answered",
    "expired": "its token ran out: expired",
    "revoked": "the user's tokens were revoked",
    "shutdown": "the hub stopped: shutdown",
    "replaced": "its ticket was used again: replaced",
    "too_many": "it sent too much: too_many",
}


def _end(why: str | None) -> str:
    """Why a connection ended."""
    return _ENDS.get(why or "", why or "unknown")


# --- One step


def text_of(step: Fields, user: str) -> str:
    """A step as a sentence."""
    text = _TEXTS[step["step"]](step, user)
    if "at_latest" in step:
        text += " (one of many such steps: it was between this time and `at_latest`)"
    return text


def _published(step: Fields, user: str) -> str:
    if step["is_release"]:
        return f"Published once more, to {user}'s own channel: it had been kept from {user} before."
    meant = f"{step['meant_for']:,} user{'' if step['meant_for'] == 1 else 's'}"
    return f"Published to {_named(step['channels'])}; meant for {meant}."


_ACTIONS = {"drop": "dropped it", "hold": "holds it for later", "digest": "keeps it for a digest"}


def _gate(step: Fields, user: str) -> str:
    did = _ACTIONS[step["action"]]
    if not step["plugin"]:
        return f"A plugin {did}; which one and why isn't known one by one any more."
    ways = {("live", "push"): "", ("live",): " It may still be pushed.", ("push",): " It may still be sent live."}
    when = f", when {user} came later to read it" if step["late"] else ""
    return f"Plugin {step['plugin']} {did}{when}; its reason: {step['reason']}.{ways[tuple(step['ways'])]}"


def _written(step: Fields, user: str) -> str:
    if step["connection"] is None:
        return f"Sent to a connection of {user} of which nothing is known any more, or which has left the topic since."
    how = "Sent live to" if step["way"] == "live" else "Sent by replay, when it came back, to"
    does = "which acks" if step["acks"] else "which doesn't ack"
    seen = f", its tab {step['visibility']} when it last said so" if step["visibility"] else ""
    text = f"{how} {_connection(step)}, {does}{seen}"
    if step["ended_at"] is not None:
        after = duration((step["ended_at"] - step["at"]) / 1000)
        return f"{text}; that connection ended {after} later ({_end(step['why'])})."
    return text + ("; its socket takes no more at the moment, so this may still wait." if step["waits"] else ".")


_NOT_WRITTEN = {
    "gone": "{user} had no connection: the last one, {connection}, had ended {before} before ({why}).",
    "absent": "No connection of {user} is known that was there then.",
    "not_subscribed": "Not sent to {connection}: it was there, but wasn't subscribed to any of the channels then.",
    "started_after": "Not sent to {connection}: it came later, and asked for nothing from before (no cursor, or a later"
    " one).",
    "evicted": "Not sent to {connection}: it came back too late, the ring had let go of this; it was told a gap.",
    "behind": "Not sent to {connection} so far: it is still reading what it had missed before this.",
    "ended_behind": "Not sent to {connection}: it ended ({why}) while it was still reading what it had missed before"
    " this.",
    "expired": "Not sent to {connection}: when it came back, the ttl was over.",
    "live_only": "Not sent to {connection}: it came later, and this is sent live only.",
}


def _not_written(step: Fields, user: str) -> str:
    fields = {"user": user, "connection": _connection(step), "why": _end(step["why"])}
    return _NOT_WRITTEN[step["reason"]].format(before=duration(step.get("before_s", 0.0)), **fields)


def _acked(step: Fields, user: str) -> str:
    if "connection" not in step:
        return f"{user} was shown it: acked."
    return f"{user} was shown it: acked by {_connection(step)}."


def _waiting(step: Fields, user: str) -> str:
    return f"Waited up to {duration((step['until'] - step['at']) / 1000)} for {user} to ack, before pushing it."


_OUTCOMES = {
    "accepted": "took it for a device of {user}",
    "later": "didn't take it for a device of {user}, which is tried again while the ttl lasts",
    "gone": "doesn't know a device of {user} any more",
    "refused": "won't take it for a device of {user}",
}


def _attempt(step: Fields, user: str) -> str:
    did = _OUTCOMES.get(step["outcome"], "answered about a device of {user}").format(user=user)
    return f"Push service {step['platform'] or 'unknown'} {did}{': ' if step['answer'] else ''}{step['answer']}."


_TEXTS: dict[str, Callable[[Fields, str], str]] = {
    "published": _published,
    "gate": _gate,
    "written": _written,
    "not_written": _not_written,
    "waiting": _waiting,
    "acked": _acked,
    "joined": lambda step, user: f"{user} joined one of its topics after it was stored and before it was published.",
    "proved": lambda step, user: f"A connection of {user} that doesn't ack showed that it had got this: no push.",
    "push_begun": lambda step, user: f"Push to {user}'s devices begun.",
    "attempt": _attempt,
    "pushed": lambda step, user: (
        f"A push service took it for a device of {user}{': ' if step['answer'] else ''}{step['answer'] or ''}."
    ),
    "given_up": lambda step, user: (
        f"No push service would take it for {user}'s devices: {step['reason'] or 'unknown'}."
    ),
    "no_route": lambda step, user: f"It can't be pushed: {user} has no device, or the hub no push service.",
    "replaced": lambda step, user: f"Replaced by {step['by'] or 'a later one'}, which has the same collapse key.",
    "released": lambda step, user: f"Released to {user}: what happens next is another publication of it.",
    "retracted": lambda step, user: "Taken back by its publisher.",
    "expired": lambda step, user: "Its ttl was over.",
    "restored": lambda step, user: "The hub was started anew, and went on with it.",
    "held": lambda step, user: f"Held ({step['reason']}).",
    "dropped": lambda step, user: f"Dropped ({step['reason']}).",
    "store_failed": lambda step, user: (
        f"The store can't be read ({step['reason']}): what is from before the hub's last start may be missing here."
    ),
}

STEPS = tuple(_TEXTS)
"""Every kind of step."""


# --- How far it has come


def verdict_of(standing: Standing, steps: Sequence[Fields]) -> str:
    """In one or two sentences: whether the user got it, and why not."""
    user, milestone = standing.user, standing.milestone
    if not standing.is_known:
        return f"It was meant for {user}; whether it was sent isn't known: the hub was started anew since."
    if milestone is None:
        return _not_meant(standing, steps)
    kind, _, reason = milestone.rstrip(")").partition("(")
    match kind:
        case "acked":
            return f"Delivered: {user} was shown it."
        case "pushed":
            return f"Pushed: a push service took it for a device of {user}. That he was shown it, nobody has said."
        case "live_sent":
            return _live_sent(standing, steps)
        case "pending":
            return _pending(standing)
        case "held":
            return _kept_back(standing, steps, reason, f"Held ({reason}): {user} doesn't get it yet.")
        case "dropped":
            return _dropped(standing, steps, reason)
        case "expired":
            return f"Not delivered: its ttl was over before it reached {user}."
        case "retracted":
            return f"Not delivered: its publisher took it back before {user} was shown it."
    return f"{user}: {milestone}."


def _not_meant(standing: Standing, steps: Sequence[Fields]) -> str:
    user = standing.user
    if any(step["step"] == "gate" for step in steps):
        return f"Not delivered: {user} came to it later, and a plugin kept it from him."
    others = [name for name in standing.channels if not name.startswith("user:")]
    if not others:
        return f"Not meant for {user}: it was published to {_named(standing.channels)}."
    if others == ["notifications"]:
        return f"Not meant for {user}: it was for everybody who was connected then, and {user} wasn't."
    return (
        f"Not meant for {user}, who wasn't subscribed to any of its channels when it was published:"
        f" {_named(standing.channels)}."
    )


def _live_sent(standing: Standing, steps: Sequence[Fields]) -> str:
    user = standing.user
    text = f"Sent to {user}'s connections, but nobody has said that {user} was shown it."
    written = [step for step in steps if step["step"] == "written" and step["connection"] is not None]
    if any(step["step"] == "proved" for step in steps):
        text = f"Delivered to a connection of {user} that doesn't ack: it has got it."
    elif written and all(step["ended_at"] is not None for step in written):
        text = f"Sent to {user}, but every connection that it was sent to has ended since, and none acked it."
    elif written and not any(step["acks"] for step in written):
        text = f"Sent to {user}, whose connections don't ack: whether he was shown it can't be known."
    return text + _what_next(standing)


def _what_next(standing: Standing) -> str:
    if standing.is_pushing:
        return " A push has begun, and no push service has taken it yet."
    if standing.has_no_route:
        return f" It couldn't be pushed, for {standing.user} has no device; it is, as soon as there is one."
    if standing.due_in_s is not None:
        return f" Without an ack it is pushed in {duration(standing.due_in_s)}."
    return ""


def _pending(standing: Standing) -> str:
    user = standing.user
    if standing.is_pushing:
        return f"On its way: a push to {user}'s devices has begun, and no push service has taken it yet."
    if standing.has_no_route:
        return (
            f"Not delivered so far: {user} has neither a connection nor a device. It goes out as soon as there is one,"
            " while its ttl lasts."
        )
    if standing.due_in_s is None:
        return f"Not delivered so far: it may still reach {user} when he comes back."
    if standing.priority == "informational":
        left = duration(standing.due_in_s)
        return f"Not delivered so far: {user} was gone a moment ago; if he isn't back in {left}, it is dropped."
    return f"Not delivered so far.{_what_next(standing)}"


def _kept_back(standing: Standing, steps: Sequence[Fields], reason: str, text: str) -> str:
    gates = [step["plugin"] for step in steps if step["step"] == "gate" and step["reason"] in (reason, None)]
    gates += [step["plugin"] for step in steps if step["step"] == "gate" and step["action"] == reason]
    return f"{text} By plugin {gates[-1]}." if gates and gates[-1] else text


def _dropped(standing: Standing, steps: Sequence[Fields], reason: str) -> str:
    user = standing.user
    match reason:
        case "away":
            why = "informational ones aren't pushed"
            if standing.persistence == "ephemeral":
                why = "what is ephemeral is sent live or not at all"
            elif kept := [step["plugin"] for step in steps if step["step"] == "gate" and "push" in step["ways"]]:
                why = f"plugin {kept[-1]} kept it from being pushed"
            elif standing.priority != "informational":
                why = "what goes to everybody isn't pushed"
            return f"Not delivered: {user} had no connection when it was published, and {why}."
        case "no_route":
            return f"Not delivered: {user} wasn't reached by a connection, and has no device to push to."
        case "replaced":
            return f"Not delivered: before {user} was shown it, a later one with the same collapse key took its place."
    if any(step["step"] == "given_up" for step in steps):
        return f"Not delivered: the push to {user}'s devices was given up ({reason})."
    return _kept_back(standing, steps, reason, f"Not delivered: dropped for {user} ({reason}).")
