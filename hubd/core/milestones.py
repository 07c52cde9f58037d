"""How far a notification has come with each of those it is meant for: one milestone for most, sets for the rest."""

from collections import Counter
from collections.abc import Iterator

from hubd.core.users import UserSet

PENDING = "pending"
"""It hasn't reached them yet, and may still."""
LIVE_SENT = "live_sent"
"""It was given to one of their connections at least."""
PUSHED = "pushed"
"""A push service took it for one of their devices at least."""
ACKED = "acked"
"""They were shown it."""
EXPIRED = "expired"
"""Its ttl was over before it reached them."""
RETRACTED = "retracted"
"""Its publisher took it back before they were shown it."""


def held(why: str) -> str:
    """The milestone of those for whom it is held, by this reason."""
    return f"held({why})"


def dropped(why: str) -> str:
    """The milestone of those who don't get it, by this reason."""
    return f"dropped({why})"


AWAY = dropped("away")
"""They weren't there, and it isn't pushed."""
NO_ROUTE = dropped("no_route")
"""They weren't there, and nothing can push to them."""
REPLACED = dropped("replaced")
"""A newer one with the same collapse key took its place."""


class Tally(Counter[str]):
    """How many (notification, user) are at each milestone; ``accepted`` is what that must add up to.

    It is counted apart, when somebody is meant and not when he moves on, so that a loss would show.
    """

    accepted = 0


class Milestones:
    """Each user of ``everybody`` is at exactly one milestone: at ``rest``, or where one of ``others`` has him.

    ``tally`` counts over all notifications how many (notification, user) are at each; it adds up to what was accepted.
    """

    __slots__ = ("_tally", "everybody", "others", "rest")

    def __init__(self, everybody: UserSet, milestone: str, tally: Tally) -> None:
        self.everybody = everybody
        self.rest = milestone
        self.others: dict[str, UserSet] | None = None
        self._tally = tally
        if everybody:
            tally[milestone] += len(everybody)
            tally.accepted += len(everybody)

    def of(self, number: int) -> str | None:
        """Where a user is; None: it isn't meant for him."""
        if number not in self.everybody:
            return None
        for milestone, users in (self.others or {}).items():
            if number in users:
                return milestone
        return self.rest

    def at(self, milestone: str) -> UserSet:
        """Everybody who is at this milestone."""
        if milestone == self.rest:
            return self._at_rest()
        return (self.others or {}).get(milestone) or UserSet()

    def _at_rest(self) -> UserSet:
        users = self.everybody
        for others in (self.others or {}).values():
            users = users - others
        return users

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Every milestone that somebody is at, with how many."""
        left = len(self.everybody)
        for milestone, users in (self.others or {}).items():
            left -= len(users)
            yield milestone, len(users)
        if left:
            yield self.rest, left

    def move(self, users: UserSet, to: str) -> None:
        """These users, all of whom it is meant for, are at this milestone now."""
        if self.others is None and len(users) == len(self.everybody):
            self._count(self.rest, to, len(users))
            self.rest = to
            return
        left = users
        for milestone, them in list((self.others or {}).items()):
            if not (gone := them & left):
                continue
            left = left - gone
            if milestone != to:
                self._count(milestone, to, len(gone))
                self._put(milestone, them - gone)
        if to != self.rest:
            self._count(self.rest, to, len(left))
            already = (self.others or {}).get(to)
            self._put(to, users if already is None else already | users)

    def move_one(self, number: int, to: str) -> None:
        """The same for one user."""
        if self.others is None and len(self.everybody) == 1:
            self._count(self.rest, to, 1)
            self.rest = to
        else:
            self.move(UserSet((number,)), to)

    def add(self, number: int, milestone: str) -> None:
        """One more user gets it who wasn't among those whom it was meant for."""
        self.add_all(UserSet((number,)))
        self.move_one(number, milestone)

    def add_all(self, users: UserSet) -> None:
        """These users, none of whom it was meant for before, are meant too: they stand at ``rest``."""
        self.everybody = self.everybody | users
        self._tally[self.rest] += len(users)
        self._tally.accepted += len(users)

    def take_out(self, users: UserSet) -> None:
        """These users, all of whom it is meant for, count with another publication of it from now on."""
        left = users
        self._tally.accepted -= len(users)
        for milestone, them in list((self.others or {}).items()):
            gone = them & left
            left = left - gone
            self._count_out(milestone, len(gone))
            self._put(milestone, them - gone)
        self._count_out(self.rest, len(left))
        self.everybody = self.everybody - users

    def _put(self, milestone: str, users: UserSet) -> None:
        if self.others is None:
            self.others = {}
        if users:
            self.others[milestone] = users
        else:
            self.others.pop(milestone, None)
        if not self.others:
            self.others = None

    def _count(self, before: str, to: str, count: int) -> None:
        if count:
            self._count_out(before, count)
            self._tally[to] += count

    def _count_out(self, milestone: str, count: int) -> None:
        """So many fewer are at this milestone. Reasons are plugins' own words: none stays in the tally with a zero."""
        self._tally[milestone] -= count
        if milestone[-1] == ")" and not self._tally[milestone]:
            del self._tally[milestone]
