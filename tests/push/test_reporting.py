"""What became of pushes is told as sets, and one who can't bear it doesn't keep it from the others."""

from typing import Any

import pytest

from hubd.core.record import Record
from hubd.core.users import UserSet
from hubd.push.reporting import Gathered
from tests.push.test_retrying import job


class Told:
    """Notes what it is told; ``fails`` at this id."""

    def __init__(self, fails: str = "") -> None:
        self.told: list[tuple[Any, ...]] = []
        self.fails = fails

    def _note(self, what: str, record: Record, users: UserSet, *more: str) -> None:
        if record.id == self.fails:
            raise ValueError
        self.told.append((what, record.id, list(users), *more))

    def attempted(self, record: Record, users: UserSet, text: str) -> None:
        self._note("attempted", record, users, text)

    def accepted(self, record: Record, users: UserSet, detail: str = "") -> None:
        self._note("accepted", record, users, detail)

    def not_routed(self, record: Record, users: UserSet) -> None:
        self._note("not_routed", record, users)

    def given_up(self, record: Record, users: UserSet, why: str) -> None:
        self._note("given_up", record, users, why)


def gathered() -> Gathered:
    found = Gathered()
    first, second = job(1).record, job(2).record
    for user in (3, 1, 2):
        found.attempted(first, user, "fake accepted 201")
        found.accepted(first, user, "fake 201")
    found.attempted(first, 4, "fake later 503")
    found.not_routed(second, 5)
    found.given_up(second, 6, "refused")
    return found


def test_it_is_told_as_sets_the_attempts_first() -> None:
    found, told = gathered(), Told()
    assert found
    found.tell(told)
    assert told.told == [
        ("attempted", "n1", [1, 2, 3], "fake accepted 201"),
        ("attempted", "n1", [4], "fake later 503"),
        ("accepted", "n1", [1, 2, 3], "fake 201"),
        ("not_routed", "n2", [5]),
        ("given_up", "n2", [6], "refused"),
    ]
    assert not found
    found.tell(told)
    assert len(told.told) == 5


def test_a_fault_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(fails="n1")
    gathered().tell(told)
    assert [one[1] for one in told.told] == ["n2", "n2"]
    assert caplog.text.count("push_failed") == 3
