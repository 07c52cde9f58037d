"""Which users the store has rows for. Whom a write refers to gets his row in its transaction or in one before."""

from collections.abc import Iterable, Sequence

from hubd.core.users import UserNumbers, UserSet
from hubd.storing import StoreError


class KnownUsers:
    """Users by number: those who have been met, and which of them have no row yet. Each is held for good."""

    def __init__(self, numbers: UserNumbers) -> None:
        self._numbers = numbers
        self._met = UserSet()
        self._without: dict[int, str] = {}

    def meet(self, sets: Iterable[UserSet]) -> None:
        """A write refers to these users. Costs a difference of bitmaps where all of them are known."""
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
