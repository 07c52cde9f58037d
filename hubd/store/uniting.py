"""Facts as they are read back: the first of a notification one by one, of what comes then many as one."""

from hubd.core.record import FREE, STEPS, tells_more
from hubd.core.stored import Fact
from hubd.core.users import UserSet, union_of

WITHIN_MS = 10_000
"""Facts become one only if no more time than this is between the first and the last: somebody may ask when it was."""
_SETS = 1000


class United:
    """The facts of one notification: ``add`` each in the order in which they were written.

    One becomes part of another where nothing is between them whose order matters (``Record.fold``).
    """

    __slots__ = ("_found", "_is_free", "_open")

    def __init__(self) -> None:
        self._found: list[_One] = []
        self._open: dict[tuple[str, str], _One] = {}
        self._is_free = True

    def add(self, fact: Fact) -> None:
        """The next one."""
        if len(self._found) < STEPS:
            self._found.append(_One(fact))
            return
        is_free = fact.kind in FREE
        if not (is_free and self._is_free):
            self._keep_open(fact)
        self._is_free = is_free
        name = fact.kind, fact.detail if tells_more(fact) else ""
        one = self._open.get(name)
        if one is not None and abs(fact.at - one.fact.at) < WITHIN_MS:
            one.add(fact)
        else:
            self._open[name] = one = _One(fact)
            self._found.append(one)

    def _keep_open(self, fact: Fact) -> None:
        """Nothing goes on behind this one, but what is of its very kind."""
        name = fact.kind, fact.detail if tells_more(fact) else ""
        same = self._open.get(name)
        self._open = {} if same is None or same is not self._found[-1] else {name: same}

    def all(self) -> list[Fact]:
        """What they have become."""
        return [one.whole() for one in self._found]


class _One:
    """A fact, or several that are given as one."""

    __slots__ = ("fact", "sets")

    def __init__(self, fact: Fact) -> None:
        self.fact = fact
        self.sets: list[UserSet] | None = None

    def add(self, other: Fact) -> None:
        if other.detail != self.fact.detail:
            self.fact = self.fact._replace(detail="")
        if self.sets is None:
            self.sets = [self.fact.users]
        elif len(self.sets) >= _SETS:
            self.sets = [union_of(self.sets)]
        self.sets.append(other.users)

    def whole(self) -> Fact:
        return self.fact if self.sets is None else self.fact._replace(users=union_of(self.sets))
