"""The state machine of delivery alone: a clock that is turned by hand, and effects that are noted."""

from collections.abc import Callable, Iterable
from typing import Any

from hubd.core.delivery import Delivery
from hubd.core.notification import Notification, Priority
from hubd.core.record import Budget, Moment, Record
from hubd.core.stored import Fact, Row
from hubd.core.users import NOBODY, UserSet
from hubd.core.verdict import Verdict
from tests.core.made import published

WALL = 1_800_000_000.0
ADA, BOB, EVE, ZOE = 1, 2, 3, 4
DELAY, GRACE = 7.0, 5.0


def users(*numbers: int) -> UserSet:
    return UserSet(numbers)


class World:
    """Publishes into a ``Delivery``; ``done`` has its effects in order: (what, id, who, ...).

    ``reply`` is called for each push, with the record and the users, and may report what became of it at once.
    """

    def __init__(self, *, can_push: bool = True, entries: int = 100_000) -> None:
        self.delivery = Delivery(self, entries=entries)
        self.delivery.can_push = can_push
        self.now = 1000.0
        self.done: list[tuple[Any, ...]] = []
        self.records: list[Record] = []
        self.stored: dict[str, tuple[Row, list[Fact]]] = {}
        self.reply: Callable[[Record, UserSet], None] = lambda record, users: None
        self.budget = Budget()
        self.verdicts: dict[str, list[tuple[str, Verdict]]] = {}
        self._sequence = 0

    @property
    def moment(self) -> Moment:
        return Moment(self.now, WALL + self.now)

    @property
    def tally(self) -> dict[str, int]:
        """The milestones that somebody is at."""
        return {name: count for name, count in self.delivery.tally.items() if count}

    # Effects

    def push(self, record: Record, users: UserSet) -> None:
        self.done.append(("push", record.id, list(users)))
        self.reply(record, users)

    def cancel(self, record: Record, users: UserSet) -> None:
        self.done.append(("cancel", record.id, list(users)))

    def keep(self, record: Record) -> None:
        self.store(record)
        self.done.append(("keep", record.id))

    def store(self, record: Record) -> None:
        """Its row is written, with what is known by now."""
        record.is_stored = True
        self.stored[record.key] = record.row(0, self.moment), list(record.facts(self.moment.ms))

    def fact(self, record: Record, fact: Fact) -> None:
        if record.key in self.stored:
            self.stored[record.key][1].append(fact)
        self.done.append((fact.kind, record.id, list(fact.users)))

    def close(self, record: Record) -> None:
        self.done.append(("close", record.id))

    def taken(self) -> list[tuple[Any, ...]]:
        """What was done since the last call."""
        taken, self.done = self.done, []
        return taken

    # Events

    def make(self, everybody: Iterable[int], id: str = "", *, may_push: UserSet | None = None, **more: Any) -> Record:
        """The record of a notification that isn't published yet."""
        self._sequence += 1
        ttl_s = more.pop("ttl_s", 1000.0)
        made: Notification = published("t", sequence=self._sequence, id=id, ttl_s=self.now + ttl_s, **more)
        made.references = 1
        meant = UserSet(everybody)
        can_push = meant if made.escalates else NOBODY
        record = Record(
            f"key{self._sequence}",
            made,
            meant,
            can_push if may_push is None else may_push,
            self.delivery.tally,
            self.budget,
        )
        made.record = record
        self.records.append(record)
        return record

    def judge(self, record: Record, *verdicts: Verdict) -> None:
        """Gates say this, too; what it means for the store is noted."""
        self.verdicts.setdefault(record.key, []).extend(("gate", verdict) for verdict in verdicts)
        facts = record.judge(self.verdicts[record.key], self.moment.wall)
        if record.is_stored:
            self.delivery.judged_late(record, facts, self.moment)

    def send(
        self,
        record: Record,
        live: Iterable[int] = (),
        here: Iterable[int] | None = None,
        plain: Iterable[int] = (),
        verdicts: Iterable[Verdict] = (),
    ) -> Record:
        """It is published; who is live is here, too, unless it is said who is."""
        self.judge(record, *verdicts)
        record.sequence = record.notification.sequence if record.notification is not None else 0
        live = UserSet(live)
        around = live if here is None else UserSet(here) | live
        self.delivery.published(record, self.moment, live, around, UserSet(plain))
        return record

    def publish(self, everybody: Iterable[int], live: Iterable[int] = (), id: str = "", **more: Any) -> Record:
        """Make it and send it."""
        how = {name: more.pop(name) for name in ("here", "plain", "verdicts") if name in more}
        return self.send(self.make(everybody, id, **more), live, **how)

    def critical(self, everybody: Iterable[int], live: Iterable[int] = (), id: str = "", **more: Any) -> Record:
        return self.publish(everybody, live, id, priority=Priority.CRITICAL, **more)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.delivery.due(self.moment)

    def ack(self, record: Record, number: int) -> bool:
        return self.delivery.acked(record, number, self.moment, "c1")

    def accept(self, record: Record, *numbers: int) -> None:
        self.delivery.accepted(record, UserSet(numbers), self.moment)

    def no_route(self, record: Record, *numbers: int) -> None:
        self.delivery.not_routed(record, UserSet(numbers), self.moment)

    def give_up(self, record: Record, *numbers: int, why: str = "gone") -> None:
        self.delivery.given_up(record, UserSet(numbers), why, self.moment)


def where(record: Record) -> dict[int, str]:
    """Where everybody is."""
    return {number: record.milestones.of(number) or "" for number in record.everybody}
