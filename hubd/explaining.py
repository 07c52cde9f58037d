"""Explaining: the whole chain of what became of a notification, for one user, with times and reasons."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple

from hubd.core.channel import BROADCAST, user_channel
from hubd.core.errors import Problem
from hubd.core.milestones import PENDING, Tally
from hubd.core.record import Budget, Moment, Record, Step
from hubd.core.stored import Kept
from hubd.core.users import UserSet
from hubd.core.visits import Visit, visit_of
from hubd.explaining_connections import connection_steps, got_by
from hubd.explaining_words import Fields, Standing, text_of, verdict_of
from hubd.hub import Hub
from hubd.storing import StoreError, unavailable
from hubd.taking_up import made_again

_GATE = re.compile(r"(.*): ([a-z][a-z0-9_]*) \((live and push|live|push)\)", re.DOTALL)
_SHOWN_AS = {"push": "push_begun", "late": "gate"}
"""How steps of a record are called here, where that differs."""
_RANK = {"published": 0, "gate": 1, "written": 2, "not_written": 3}
"""What comes first of the same millisecond."""
_CHANNELS = 10
"""So many channels a step names."""
MaySee = Callable[[str], bool]


class _Told(NamedTuple):
    """A record, and whether it is in memory; else it was made from what the store has."""

    record: Record
    in_memory: bool


class Explaining:
    """Tells what became of notifications, out of the ledger and the store. ``may_see(channel)`` says of a channel
    whether the caller may see what is published to it; notifications that he may see by none aren't there for him."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def of_all(self, id: str, may_see: MaySee) -> Fields:
        """How many of those whom it was meant for are at each milestone; a ``Problem`` when nothing is known of it."""
        told, _ = await self._find(id, may_see)
        counts: Counter[str] = Counter()
        for record, in_memory in told:
            for milestone, count in record.milestones:
                counts[milestone if in_memory or milestone != PENDING else "unknown"] += count
        return {
            **self._head(told[-1].record),
            "accepted": sum(counts.values()),
            "milestones": {name: count for name, count in counts.items() if count},
        }

    async def of_user(self, id: str, user: str, may_see: MaySee, *, any_user: bool = True) -> Fields:
        """The whole chain for a user; a ``Problem`` when nothing is known of the notification.

        Without ``any_user`` nothing is told of the connections of somebody whom it wasn't meant for.
        """
        told, trouble = await self._find(id, may_see)
        number = self._hub.numbers.find(user)
        chosen = _chosen(told, number)
        visits = self._visits(user)
        is_meant = number is not None and any(_concerns(one.record, number) for one in told)
        steps: list[Fields] = []
        for place, one in enumerate(told):
            is_release = any(other.record.sent_at == one.record.sent_at for other in told[:place])
            if is_release and (number is None or not _concerns(one.record, number)):
                continue  # to somebody else
            found = self._steps(one, user, number, visits if is_meant or any_user else [], is_release)
            steps += sorted(found, key=lambda step: (step["at"], _RANK.get(step["step"], len(_RANK))))
        if trouble:
            steps.append({"at": self._hub.delivering.moment().ms, "step": "store_failed", "reason": trouble})
        steps.sort(key=lambda step: step["at"])  # of the same moment, publication by publication
        for step in steps:
            step["text"] = text_of(step, user)
        standing = self._standing(chosen, user, number)
        return {
            **self._head(chosen.record),
            "user": user,
            "channel": _channel_to(chosen.record, user, number, visits),
            "milestone": standing.milestone if standing.is_known else "unknown",
            "text": verdict_of(standing, steps),
            "steps": steps,
        }

    # --- What there is

    async def _find(self, id: str, may_see: MaySee) -> tuple[list[_Told], str]:
        """The publications with this id that may be seen, the oldest first; and why some may be missing."""
        told = [_Told(record, True) for record in reversed(self._hub.delivering.ledger.find_all(id))]
        store, trouble = self._hub.store, ""
        keys = dict.fromkeys(one.record.key for one in told)
        if store is not None and (not told or any(_was_restored(one.record) for one in told)):
            try:
                kept = await store.find_rows(id)
                if any(one.row.key not in keys for one in kept):  # else all that became of it is in memory
                    kept = await store.find(id)
            except StoreError as error:
                if not told:
                    raise unavailable(str(error)) from None
                kept, trouble = (), str(error)
            moment = self._hub.delivering.moment()
            told = [_Told(_record_of(one, moment), False) for one in reversed(kept) if one.row.key not in keys] + told
        seen = {one.record.sent_at for one in told if any(map(may_see, one.record.channels))}
        told = [one for one in told if one.record.sent_at in seen]  # with what was released of it, to whomever
        if not told:
            raise Problem("not_found", "no such notification, or what became of it isn't known any more")
        return told, trouble

    def _visits(self, user: str) -> list[Visit]:
        """A user's visits: those that have ended first, and then those that last."""
        attendance, clock = self._hub.attendance, self._hub.clock
        now, wall = clock.monotonic(), clock.now()
        here = self._hub.registry.connections_of(user)
        return attendance.visits.of(user) + [visit_of(one, attendance.sequence, now, wall) for one in here]

    # --- What is told of it

    def _head(self, record: Record) -> Fields:
        return {
            "id": record.id,
            "type": record.type,
            "priority": record.priority.word,
            "persistence": record.persistence.value,
            "sent_at": record.sent_at,
            "expires_at": self._unix_ms(record.expires_at),
        }

    def _unix_ms(self, monotonic: float) -> int:
        moment = self._hub.delivering.moment()
        return round((moment.wall + monotonic - moment.mono) * 1000)

    def _standing(self, chosen: _Told, user: str, number: int | None) -> Standing:
        record = chosen.record
        milestone = None if number is None else record.milestones.of(number)
        waits = number is not None and number in record.waiting and record.due_at != inf
        return Standing(
            milestone=milestone,
            user=user,
            channels=tuple(record.channels),
            priority=record.priority.word,
            persistence=record.persistence.value,
            due_in_s=record.due_at - self._hub.clock.monotonic() if waits else None,
            is_pushing=number is not None and number in record.pushing,
            has_no_route=number is not None and number in record.no_route,
            is_known=chosen.in_memory or milestone != PENDING,
        )

    def _steps(
        self, one: _Told, user: str, number: int | None, visits: Sequence[Visit], is_release: bool
    ) -> list[Fields]:
        record = one.record
        steps: list[Fields] = [
            {
                "at": round(record.published_at * 1000) if is_release and record.published_at else record.sent_at,
                "step": "published",
                "channels": list(record.channels)[:_CHANNELS],
                "meant_for": len(record.everybody) + _released(record),
                "is_release": is_release,
            }
        ]
        transports = {visit.connection: visit.transport for visit in visits}
        own = [] if number is None else [step for step in record.steps if _is_about(step, number)]
        if number is not None and not (number in record.everybody or any(step.users is not None for step in own)):
            own = []  # what happened to all of it didn't happen to him
        steps += [self._step(record, step, transports) for step in own]
        if one.in_memory and record.sequence:
            steps += connection_steps(record, number, visits, steps, self._unix_ms(record.expires_at))
        return steps

    def _step(self, record: Record, step: Step, transports: dict[str, str]) -> Fields:
        """One step of a record, as it is shown."""
        kind, _, action = step.what.partition(":")
        fields: Fields = {"at": int(step.at * 1000), "step": _SHOWN_AS.get(kind, kind)}
        if step.until > step.at:
            fields["at_latest"] = int(step.until * 1000)
        match kind:
            case "gate" | "late":
                found = _GATE.fullmatch(step.detail)
                fields |= {
                    "plugin": found[1] if found else None,
                    "action": action,
                    "reason": found[2] if found else None,
                    "ways": found[3].split(" and ") if found else ["live", "push"],
                    "late": kind == "late",
                }
            case "waiting":
                fields["until"] = int((step.at + float(step.detail or 0)) * 1000)
            case "acked":
                if "at_latest" not in fields:
                    fields |= {"connection": step.detail or None, "transport": transports.get(step.detail)}
            case "attempt":
                fields |= dict(
                    zip(("platform", "outcome", "answer"), (*step.detail.split(" ", 2), "", "", ""), strict=False)
                )
            case "pushed":
                fields["answer"] = step.detail or None
            case "replaced":
                fields["by"] = step.detail or None
            case "given_up" | "held" | "dropped":
                fields["reason"] = step.detail
        return fields


def _is_about(step: Step, number: int) -> bool:
    users = step.users
    return users is None or (users == number if isinstance(users, int) else number in users)


def _concerns(record: Record, number: int) -> bool:
    """Whether it was meant for a user (by number) at some time, or something was said of him."""
    return number in record.everybody or any(one.users is not None and _is_about(one, number) for one in record.steps)


def _released(record: Record) -> int:
    """How many were taken out of it, for another publication."""
    sets = [step.users for step in record.steps if step.what == "released"]
    return sum(len(users) if isinstance(users, UserSet) else 1 for users in sets if users is not None)


def _was_restored(record: Record) -> bool:
    return any(step.what == "restored" for step in record.steps)


def _chosen(told: Sequence[_Told], number: int | None) -> _Told:
    """The publication by which a user is reached: the last one that is meant for him, or that he had to do with."""
    if number is not None:
        for one in reversed(told):
            if number in one.record.everybody:
                return one
        for one in reversed(told):
            if _concerns(one.record, number):
                return one
    return told[0]


def _channel_to(record: Record, user: str, number: int | None, visits: Iterable[Visit]) -> str | None:
    """The channel by which a user is reached, the first one in `to`; None: by none, or it isn't known any more."""
    if number is None or not _concerns(record, number):
        return None
    ways = dict.fromkeys(name for name in (BROADCAST, user_channel(user)) if name in record.channels)
    if (notification := record.notification) is not None:
        ways |= dict.fromkeys(topic for topic, users in notification.audience if number in users)
        ways |= dict.fromkeys(topic for topic, users in (notification.replayed or {}).items() if number in users)
    for visit in visits:
        if record.sequence and (name := got_by(visit, record)) is not None:
            ways[name] = None
    if not ways and len(record.channels) == 1:
        return next(iter(record.channels))
    places = {name: place for place, name in enumerate(record.channels)}
    return min(ways, key=lambda name: places.get(name, len(places)), default=None)


def _record_of(kept: Kept, moment: Moment) -> Record:
    """What the store has of a publication, as a record that counts nowhere."""
    row = kept.row
    notification = made_again(row, moment.mono, moment.wall)
    record = Record(row.key, notification, row.everybody, row.may_push, Tally(), Budget())
    record.fold(kept.facts)
    return record
