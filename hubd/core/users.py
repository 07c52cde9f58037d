"""Users as dense numbers, and sets of users as roaring bitmaps over them."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NoReturn

from pyroaring import BitMap

_SET_BYTES = 200  # the objects around the bits


class UserSet:
    """A set of user numbers with the algebra that gates and audiences need; iterates in ascending order."""

    __slots__ = ("_bits",)

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._bits = BitMap(numbers)

    @classmethod
    def _of(cls, bits: BitMap) -> "UserSet":
        made = cls.__new__(cls)
        made._bits = bits
        return made

    @classmethod
    def read(cls, data: bytes) -> "UserSet":
        """The set that ``dump`` gave these bytes for; ``ValueError`` when they are no such thing."""
        if not data:  # an IndexError there
            raise ValueError("no set")
        return cls._of(BitMap.deserialize(data))

    def dump(self) -> bytes:
        """The set as bytes."""
        data: bytes = self._bits.serialize()
        return data

    def add(self, number: int) -> None:
        """Put a user in."""
        self._bits.add(number)

    def discard(self, number: int) -> None:
        """Take a user out, if he is in."""
        self._bits.discard(number)

    def pack(self) -> int:
        """Put it into as little memory as it takes, without a change of what is in it; gives the bytes of that."""
        self._bits.run_optimize()
        found = self._bits.get_statistics()
        sparse, dense = found["n_bytes_array_containers"], found["n_bytes_bitset_containers"]
        return _SET_BYTES + sparse + dense + found["n_bytes_run_containers"]

    def copy(self) -> "UserSet":
        """A set of its own with the same users."""
        return UserSet._of(self._bits.copy())

    def __contains__(self, number: int) -> bool:
        return number in self._bits

    def __len__(self) -> int:
        return len(self._bits)

    def __bool__(self) -> bool:
        return bool(self._bits)

    def __iter__(self) -> Iterator[int]:
        return iter(self._bits)

    def __or__(self, other: "UserSet") -> "UserSet":
        return UserSet._of(self._bits | other._bits)

    def __and__(self, other: "UserSet") -> "UserSet":
        return UserSet._of(self._bits & other._bits)

    def __sub__(self, other: "UserSet") -> "UserSet":
        return UserSet._of(self._bits - other._bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserSet) and self._bits == other._bits

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"UserSet({list(self._bits)})"


class Snapshot(UserSet):
    """A set that won't change. ``size``: its bytes of memory; ``references``: how many kept notifications share it."""

    __slots__ = ("references", "size")

    def __init__(self, users: UserSet) -> None:
        self._bits = users._bits.copy()
        self.references = 0
        self.size = _SET_BYTES + len(self._bits.serialize())

    def add(self, number: int) -> NoReturn:
        """It is what others go by, too: a plugin that changes it is in the wrong."""
        raise TypeError("this set is shared, and can't be changed: make a copy()")

    discard = add


def snapshot_of(users: UserSet) -> Snapshot:
    """The same users in a set that won't change; what is one already is shared."""
    return users if isinstance(users, Snapshot) else Snapshot(users)


NOBODY: UserSet = Snapshot(UserSet())
"""No user."""


def union_of(sets: list[UserSet]) -> UserSet:
    """All of them in one set, which is not to be changed: of one alone it is that one."""
    if not sets:
        return NOBODY
    return sets[0] if len(sets) == 1 else UserSet._of(BitMap.union(*(users._bits for users in sets)))


class Audience:
    """Users who come and go, and what they were at some moment: a set that is shared until the next change."""

    __slots__ = ("_snapshot", "users")

    def __init__(self) -> None:
        self.users = UserSet()
        self._snapshot: Snapshot | None = None

    def add(self, number: int) -> None:
        """Somebody comes."""
        self.users.add(number)
        self._snapshot = None

    def discard(self, number: int) -> None:
        """Somebody goes."""
        self.users.discard(number)
        self._snapshot = None

    def snapshot(self) -> Snapshot:
        """Who is there now, in a set that won't change and must not be changed."""
        if self._snapshot is None:
            self._snapshot = Snapshot(self.users)
        return self._snapshot


class UserNumbers:
    """Gives each user id a dense number and never gives a number twice.

    A number is held while somebody holds the user (``hold``/``release``); of those that nobody holds, the last
    ``idle`` are remembered, so that coming back gives the same number.
    """

    def __init__(self, idle: int = 1_000_000) -> None:
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._holds: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._limit = idle
        self._next = 1

    def hold(self, user: str) -> int:
        """The user's number, kept until a ``release`` for each ``hold``."""
        number = self._numbers.get(user)
        if number is None:
            number = self._next
            self._next += 1
            self._numbers[user] = number
            self._ids[number] = user
        self._holds[number] = self._holds.get(number, 0) + 1
        self._idle.pop(number, None)
        return number

    def release(self, number: int) -> None:
        """One holder less; the last one leaves the number to be forgotten in its turn."""
        held = self._holds[number] - 1
        if held:
            self._holds[number] = held
            return
        del self._holds[number]
        self._idle[number] = None
        if len(self._idle) > self._limit:
            old, _ = self._idle.popitem(last=False)
            del self._numbers[self._ids.pop(old)]

    def number_of(self, user: str) -> int:
        """The user's number, also of one who had none; nobody holds it for that."""
        number = self._numbers.get(user)
        if number is None:
            self.release(number := self.hold(user))
        return number

    def find(self, user: str) -> int | None:
        """The user's number, if he has one."""
        return self._numbers.get(user)

    @property
    def next(self) -> int:
        """The number that the next new user gets."""
        return self._next

    def known(self) -> Iterator[tuple[int, str]]:
        """All users that have a number, with it."""
        yield from self._ids.items()

    def go_on_from(self, number: int) -> None:
        """New users get numbers from this one on."""
        self._next = max(self._next, number)

    def put_back(self, number: int, user: str) -> None:
        """Give a user the number that he had; nobody holds it. ``ValueError`` when that can't have been his."""
        if not 0 < number < self._next or number in self._ids or user in self._numbers:
            raise ValueError(f"number {number} can't be that user's")
        self._numbers[user] = number
        self._ids[number] = user
        self._holds[number] = 1
        self.release(number)

    def id_of(self, number: int) -> str | None:
        """The user id behind a number."""
        return self._ids.get(number)

    def __len__(self) -> int:
        return len(self._numbers)
