"""Which users the store has rows for. Whom a write refers to gets his row in its transaction or in one before.

From time to time those are forgotten to whom nothing stored refers any more. Meanwhile writes go on: so it is noted who
is referred to from then on (``begin_noting``), and who is met again while his row is being removed gets it anew.
"""

from collections.abc import Sequence

from hubd.core.users import UserNumbers, UserSet, union_of
from hubd.storing import StoreError


class KnownUsers:
    """Users by number: those who have been met, and which of them have no row yet. Each is held until forgotten."""

    def __init__(self, numbers: UserNumbers) -> None:
        self._numbers = numbers
        self._met = UserSet()
        self._without: dict[int, str] = {}
        self._noted: UserSet | None = None

    def __len__(self) -> int:
        return len(self._met)

    def __contains__(self, number: int) -> bool:
        return number in self._met

    def meet(self, sets: Sequence[UserSet]) -> None:
        """A write refers to these users. Costs a difference of bitmaps where all of them are known."""
        if self._noted is not None and sets:
            self._noted = union_of([self._noted, *sets])
        for users in sets:
            if new := users - self._met:
                self._meet(new)

    def _meet(self, new: UserSet) -> None:
        for number in new:
            id = self._numbers.id_of(number)
            if id is not None:  # else he is forgotten, and nobody can ask about him any more
                self._numbers.hold(id)
                self._without[number] = id
        self._met = self._met | new

    def without_row(self) -> list[tuple[int, str]]:
        """Users who are to get their rows in the next transaction."""
        return list(self._without.items()) if self._without else []

    def have_row(self, users: Sequence[tuple[int, str]]) -> None:
        """The rows of these users are on the disk."""
        for number, _ in users:
            self._without.pop(number, None)

    def begin_noting(self) -> None:
        """Note whom writes refer to from now on."""
        self._noted = UserSet()

    def end_noting(self, referred: UserSet) -> UserSet:
        """Who is known, and neither among these nor referred to since ``begin_noting``."""
        noted, self._noted = self._noted or UserSet(), None
        return self._met - referred - noted

    def forget(self, numbers: Sequence[int]) -> list[tuple[int, str]]:
        """The rows of these are to be removed: whoever is referred to from now on is new. Gives those who were known.

        They are still held: a number mustn't change as long as there may be a row with it.
        """
        gone = [number for number in numbers if number in self._met and number not in self._without]
        self._met = self._met - UserSet(gone)
        return [(number, id) for number in gone if (id := self._numbers.id_of(number)) is not None]

    def is_forgotten(self, number: int) -> None:
        """There is no row of this user any more, but where he was met again."""
        self._numbers.release(number)

    def is_kept(self, number: int, id: str) -> None:
        """It isn't known whether this user's row was removed: he gets it anew."""
        if number in self._met:
            self._numbers.release(number)  # he was met again, and is held for that
        else:
            self._met = self._met | UserSet((number,))
        self._without[number] = id

    @property
    def next_number(self) -> int:
        """The number that the next new user gets; no number is given twice, even if its user is forgotten."""
        return self._numbers.next

    def put_back(self, users: Sequence[tuple[int, str]], next_number: int) -> None:
        """These are the users whom the store has, at its start; ``StoreError`` when others have their numbers."""
        numbers = self._numbers
        numbers.go_on_from(next_number)
        for number, id in users:
            if numbers.id_of(number) != id:
                try:
                    numbers.put_back(number, id)
                except ValueError:
                    raise StoreError("its users' numbers aren't those that the hub has loaded already") from None
            numbers.hold(id)
        self._met = self._met | UserSet(number for number, _ in users)
