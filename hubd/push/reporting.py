"""What became of pushes, gathered and told as sets of users: once a turn of the loop, not once for each device."""

import logging
from typing import Protocol

from hubd.core.record import Record
from hubd.core.users import UserSet
from hubd.log_events import log_event

log = logging.getLogger("hubd.push")


class Reports(Protocol):
    """Who is told what became of pushes (``Delivering``)."""

    def attempted(self, record: Record, users: UserSet, text: str) -> None:
        """A service answered this to a push to a device of each of these users."""
        ...

    def accepted(self, record: Record, users: UserSet, detail: str = "") -> None:
        """A push service took it for a device of each of these users."""
        ...

    def not_routed(self, record: Record, users: UserSet) -> None:
        """These users have no device."""
        ...

    def given_up(self, record: Record, users: UserSet, why: str) -> None:
        """No push service will take it for these users; ``why`` is one word."""
        ...


class Gathered:
    """What is still to be told."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[Record, str], UserSet] = {}
        self._ends: dict[tuple[Record, str, str], UserSet] = {}

    def __bool__(self) -> bool:
        return bool(self._attempts or self._ends)

    def attempted(self, record: Record, number: int, text: str) -> None:
        """A service answered this for a device of this user (by number)."""
        self._attempts.setdefault((record, text), UserSet()).add(number)

    def accepted(self, record: Record, number: int, detail: str) -> None:
        """A service took it for him."""
        self._ends.setdefault((record, "accepted", detail), UserSet()).add(number)

    def not_routed(self, record: Record, number: int) -> None:
        """He has no device."""
        self._ends.setdefault((record, "not_routed", ""), UserSet()).add(number)

    def given_up(self, record: Record, number: int, why: str) -> None:
        """No service will take it for him."""
        self._ends.setdefault((record, "given_up", why), UserSet()).add(number)

    def tell(self, reports: Reports) -> None:
        """Tell all of it. One that fails doesn't keep the others from being told."""
        attempts, self._attempts = self._attempts, {}
        ends, self._ends = self._ends, {}
        for (record, text), users in attempts.items():
            try:
                reports.attempted(record, users, text)
            except Exception as error:
                log_event(log, "push_failed", error, id=record.id)
        for (record, kind, detail), users in ends.items():
            try:
                _tell(reports, record, kind, detail, users)
            except Exception as error:
                log_event(log, "push_failed", error, id=record.id)


def _tell(reports: Reports, record: Record, kind: str, detail: str, users: UserSet) -> None:
    if kind == "accepted":
        reports.accepted(record, users, detail)
    elif kind == "not_routed":
        reports.not_routed(record, users)
    else:
        reports.given_up(record, users, detail)
