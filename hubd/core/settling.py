"""The small steps of which decisions about notifications are made: each leaves a record in order."""

from hubd.core.effects import Effects
from hubd.core.milestones import ACKED, AWAY, NO_ROUTE, PENDING, Tally
from hubd.core.notification import Priority
from hubd.core.open_records import OpenRecords
from hubd.core.record import Moment, Record
from hubd.core.stored import Fact
from hubd.core.users import NOBODY, UserSet


class Settling:
    """Has users wait, pushes to them, gives them up, and closes what nothing is open about any more."""

    def __init__(self, effects: Effects, *, entries: int = 100_000, max_bytes: int = 256 << 20) -> None:
        self._out = effects
        self.tally = Tally()
        self.entries = entries
        self.max_bytes = max_bytes
        self.push_delay_s = 7.0
        self.grace_s = 5.0
        self.plain_ack = "alive"
        self.can_push = False
        self.open = OpenRecords()

    @property
    def is_full(self) -> bool:
        """Whether no more can be followed."""
        return len(self.open) >= self.entries or self.open.bytes >= self.max_bytes

    def _begin(self, record: Record) -> None:
        """All that is to be done at once has been done: follow it, if something is left."""
        is_held = record.has_held and bool(record.held) and (record.is_stored or not self.is_full)
        if not record.is_escalating and not is_held:
            self._done(record)
            return
        self.open.add(record)
        if not record.is_stored and (record.has_held or record.priority is not Priority.INFORMATIONAL):
            self._out.keep(record)

    def _wait(self, record: Record, users: UserSet, until: float) -> None:
        if users:
            record.waiting = users
            record.due_at = until

    def _push(self, record: Record, users: UserSet, moment: Moment) -> None:
        users = users - record.milestones.at(ACKED)
        if users:
            record.pushing = record.pushing | users
            record.was_pushed = True
            record.note(moment.wall, "push", users)
            self._out.push(record, users)

    def _strand(self, record: Record, users: UserSet, moment: Moment) -> None:
        """These users can't be pushed to: a critical one waits for another way, others don't."""
        users = users - record.milestones.at(ACKED)
        if not users:
            return
        record.note(moment.wall, "no_route", users)
        if record.priority is Priority.CRITICAL:
            record.no_route = record.no_route | users
            self.open.strand(record)
        else:
            self._drop_pending(record, users & record.milestones.at(PENDING), NO_ROUTE)

    def _miss(self, record: Record, users: UserSet, moment: Moment) -> None:
        """It is neither sent live to these users nor pushed: they are away, or a gate keeps it from their devices."""
        for verdict, them in record.unless_live:
            if among := users & them:
                kind, reason = record.keep_from(among, verdict)
                self._fact(record, kind, among, moment, reason)
                users = users - among
        self._drop_pending(record, users, AWAY)

    def _drop_pending(self, record: Record, users: UserSet, to: str) -> None:
        if users:
            record.milestones.move(users, to)

    def _settle(self, record: Record, number: int) -> None:
        """Nothing is to be done for this user any more."""
        user = UserSet((number,))
        record.waiting = record.waiting - user
        record.no_route = record.no_route - user
        record.pushing = record.pushing - user
        if record.was_pushed:
            self._out.cancel(record, user)
        self._close_if_done(record)

    def _fact(self, record: Record, kind: str, users: UserSet, moment: Moment, detail: str = "") -> None:
        if record.is_stored:
            self._out.fact(record, Fact(record.key, kind, users, moment.ms, detail))

    def _close_if_done(self, record: Record) -> None:
        if record.is_open and not record.is_escalating and not (record.has_held and record.held):
            self.open.remove(record)
            self._done(record)

    def _end(self, record: Record) -> None:
        """Whatever was to be done isn't any more."""
        record.pushing = record.waiting = record.no_route = NOBODY
        if record.was_pushed:
            self._out.cancel(record, record.everybody)
        self._close_if_done(record)

    def _done(self, record: Record) -> None:
        if record.is_stored:
            self._out.close(record)
        record.settle_size()
        self._unlink(record)

    def _unlink(self, record: Record) -> None:
        if (notification := record.notification) is not None and not notification.references:
            record.unlink()
