"""What a clean stop saves and the next start loads, once: rings, epoch and sequence; where there is no store, also
answers to publishers, durable subscriptions and revocations.

Times are saved as ages, and the wall clock says how long nobody was there: so what was saved goes on growing old.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import inf
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.channel import is_user_id, parse_channel
from hubd.core.cursor import Cursor, read_cursor
from hubd.core.errors import Problem
from hubd.core.notification import PRIORITY_OF, Notification, Persistence, is_notification_id
from hubd.core.ring import Mark
from hubd.core.subscriptions import Grant
from hubd.core.users import Snapshot, UserSet
from hubd.idempotency import Answered
from hubd.ids import Ids
from hubd.log_events import log_event
from hubd.memory import Memory, Receipt
from hubd.saved_file import Record, SavedError, read, take, write

log = logging.getLogger("hubd")

AT_ONCE = 1000
"""How many of what is small stand in one record."""
OFF = "off"
_NUMBERS = 1 << 32
_SEQUENCES = 10**18
_One = TypeVar("_One")


def saved_path(config: Config) -> Path | None:
    """Where it is: what ``[replay] saved_file`` says, else beside the store; None when nothing is to be saved."""
    chosen = config.replay.saved_file
    if chosen:
        return None if chosen == OFF else Path(chosen)
    database = config.store.url.removeprefix("sqlite:///").partition("?")[0]
    if database == config.store.url or database in ("", ":memory:") or database.startswith("file:"):
        return Path("hubd.rings")
    return Path(f"{database}.rings")


# --- Saving


def save(path: Path | None, memory: Memory, clock: Clock) -> None:
    """Save what a hub that has stopped remembers. Where that fails the log says so, and the next start has nothing."""
    if path is None:
        return
    try:
        size = write(path, _records(memory, clock))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        log_event(log, "not_saved", file=str(path), reason=reason or type(error).__name__)
    else:
        log_event(log, "saved", file=str(path), bytes=size)


def _records(memory: Memory, clock: Clock) -> Iterator[Record]:
    now = clock.monotonic()
    yield "hub", clock.now(), memory.epoch, memory.sequence, memory.numbers.next, memory.rings.floor
    if memory.store is None or memory.unstored:
        yield from _what_no_store_has(memory, now)
    marks = ((mark.name, mark.evicted, now - mark.since) for mark in memory.rings.marks(now))
    yield from _in_lots("mark", marks)
    users = _users_named(memory)
    yield from _in_lots("user", ((number, id) for number, id in memory.numbers.known() if number in users))
    yield from _rings(memory, now)


def _what_no_store_has(memory: Memory, now: float) -> Iterator[Record]:
    yield from _in_lots("revoked", memory.revoked.items())
    durables = ((u, t, g.by_server, g.patterns, float(g.checked_at), g.allowed) for u, t, g in memory.durables.all())
    yield from _in_lots("durable", durables)
    answered = (
        (table, *key, known.fingerprint, known.answer.cursor, known.answer.live, now - known.since)
        for table, key, known in memory.answers.answered()
    )
    yield from _in_lots("answer", answered)


def _in_lots(kind: str, them: Iterable[_One]) -> Iterator[Record]:
    rest = iter(them)
    while lot := tuple(islice(rest, AT_ONCE)):
        yield kind, lot


def _users_named(memory: Memory) -> UserSet:
    """All users whom a kept notification remembers; whoever else has a number may get another one next time."""
    named = UserSet()
    seen: dict[int, None] = {}
    for notification, _ in memory.rings.kept():
        for users in notification.user_sets:
            if id(users) not in seen:  # one set may be that of very many notifications
                seen[id(users)] = None
                named |= users
        late = notification.acked, notification.judged_late, notification.kept_from_late
        for own in (*(notification.replayed or {}).values(), *(users for users in late if users is not None)):
            named |= own
    return named


def _rings(memory: Memory, now: float) -> Iterator[Record]:
    """The kept notifications, each behind those sets of users that it is the first to share with others."""
    places: dict[int, int] = {}
    dumped: list[UserSet] = []  # so that none of them goes, and another one gets its id()
    for notification, names in memory.rings.kept():
        kept_from, judged = notification.kept_from, notification.all_judged
        own = [users for users in (kept_from, judged) if users is not None]
        for users in (*(users for _, users in notification.audience), *own):
            if id(users) not in places:
                places[id(users)] = len(places)
                dumped.append(users)
                yield "set", users.dump()
        try:
            record = _kept(notification, names, places, kept_from, judged, now)
            _KINDS["kept"].validate_python(record)
        except Exception as error:  # a plugin has laid hands on it: that mustn't spoil all the others
            log_event(log, "notification_not_saved", error, sequence=notification.sequence)
        else:
            yield "kept", *record


def _kept(
    notification: Notification,
    names: list[str],
    places: dict[int, int],
    kept_from: Snapshot | None,
    judged: Snapshot | None,
    now: float,
) -> tuple[Any, ...]:
    """What is saved of a notification; ``places`` are those of its sets of users."""
    return (
        notification.sequence,
        notification.body,
        tuple(notification.channels),
        tuple(names) if len(names) < len(notification.channels) else (),
        notification.persistence.value,
        notification.expires_at - now,
        now - notification.kept_at,
        notification.collapse_key,
        notification.group,
        tuple((topic, places[id(users)]) for topic, users in notification.audience),
        tuple((topic, users.dump()) for topic, users in (notification.replayed or {}).items()),
        notification.acked.dump() if notification.acked is not None else b"",
        places[id(kept_from)] if kept_from is not None else None,
        places[id(judged)] if judged is not None else None,
    )


# --- Loading


def load(
    path: Path | None, config: Config, clock: Clock, ids: Ids, make: Callable[[str], Memory] | None = None
) -> Memory:
    """What the last hub left here, which is gone from the disk then; an empty memory where there is nothing usable.

    ``make`` makes the memory for an epoch, with what a store has: by itself it is an empty one. Such a memory wins over
    what the file says of the same.
    """
    make = make or (lambda epoch: Memory(config, clock, epoch))
    try:
        if path is not None and (file := take(path)) is not None:
            with file:
                return _Loading(config, clock, ids, make).load(read(file))
    except SavedError as error:
        log_event(log, "not_loaded", file=str(path), reason=str(error))
    return make(ids.epoch())


_Seconds = Annotated[float, Field(allow_inf_nan=False)]
_Age = Annotated[float, Field(allow_inf_nan=False, ge=0)]
_Number = Annotated[int, Field(ge=0, lt=_NUMBERS)]
_Place = Annotated[int, Field(ge=0)]
_Sequence = Annotated[int, Field(ge=0, le=_SEQUENCES)]


def _channel(name: str) -> str:
    try:
        if parse_channel(name).name == name:
            return name
    except Problem:
        pass
    raise ValueError("no canonical channel name")


def _user(id: str) -> str:
    if not is_user_id(id):
        raise ValueError("no user id")
    return id


_Channel = Annotated[str, AfterValidator(_channel)]
_User = Annotated[str, AfterValidator(_user)]

# What stands in a record behind its kind.
_KINDS: dict[str, TypeAdapter[Any]] = {
    kind: TypeAdapter(type_, config=ConfigDict(strict=True))
    for kind, type_ in {
        "hub": tuple[_Seconds, str, _Sequence, _Number, _Sequence],
        "revoked": tuple[tuple[tuple[_User, _Seconds], ...]],
        "durable": tuple[tuple[tuple[_User, _Channel, bool, tuple[str, ...], _Seconds, bool], ...]],
        "answer": tuple[tuple[tuple[str, str, str, bytes, str, int, _Age], ...]],
        "mark": tuple[tuple[tuple[_Channel, _Sequence, _Age], ...]],
        "user": tuple[tuple[tuple[_Number, _User], ...]],
        "set": tuple[bytes],
        "kept": tuple[
            _Sequence,
            bytes,
            Annotated[tuple[_Channel, ...], Field(min_length=1)],
            tuple[_Channel, ...],
            str,
            _Seconds,
            _Age,
            str | None,
            str | None,
            tuple[tuple[str, int], ...],
            tuple[tuple[str, bytes], ...],
            bytes,
            _Place | None,
            _Place | None,
        ],
    }.items()
}


class _Loading:
    """Fills a memory from records, in their order. Any of them may be nonsense, which is a ``SavedError``."""

    def __init__(self, config: Config, clock: Clock, ids: Ids, make: Callable[[str], Memory]) -> None:
        self._config = config
        self._clock = clock
        self._ids = ids
        self._make = make
        self._now = clock.monotonic()
        self._sets: list[Snapshot] = []
        self._grants: list[tuple[str, str, Grant]] = []
        self._last = (0, -inf)  # sequence and `kept_at` of the notification before
        self._put: dict[str, Callable[..., None]] = {
            "revoked": self._revoked,
            "durable": self._durable,
            "answer": self._answer,
            "mark": self._mark,
            "user": self._user,
            "set": self._set,
            "kept": self._kept,
        }

    def load(self, records: Iterator[Record]) -> Memory:
        """The memory; ``SavedError`` when the records are no such thing."""
        try:
            kind, saved_at, epoch, sequence, next_number, floor = self._checked(next(records, ()))
            if kind != "hub" or read_cursor(str(Cursor(epoch, sequence))) is None:
                raise ValueError("no epoch")
            self._gone_s = max(0.0, self._clock.now() - saved_at)  # how long nobody was there, if the clock was right
            self._now -= self._gone_s
            too_old = self._gone_s >= self._config.replay.ttl_s
            memory = self._memory = self._make(self._ids.epoch() if too_old else epoch)
            if not too_old:
                memory.sequence, memory.rings.floor = sequence, floor
                memory.numbers.go_on_from(next_number)
            for record in records:
                kind, *fields = self._checked(record)
                if not (too_old and kind in ("mark", "user", "set", "kept")):
                    self._put[kind](*fields)
        except (ValueError, LookupError, TypeError, OverflowError):
            # What is wrong could quote the file.
            raise SavedError("it is damaged (its records make no sense)") from None
        self._settle()
        if too_old:
            log_event(log, "rings_too_old", age_s=round(self._gone_s), ttl_s=self._config.replay.ttl_s)
        else:
            log_event(log, "loaded", gone_s=round(self._gone_s), sequence=sequence, rings_bytes=memory.rings.bytes)
        return memory

    def _checked(self, record: Record) -> tuple[Any, ...]:
        kind, *fields = record
        try:
            return kind, *_KINDS[kind].validate_python(tuple(fields))
        except ValidationError:
            raise ValueError("a record of this kind is something else") from None

    def _settle(self) -> None:
        """Let go of what has become too old, or is too much under the config that holds now."""
        durables = self._memory.durables
        durables.put_back([one for one in self._grants if one[1] not in durables.of(one[0])])
        rings, now = self._memory.rings, self._clock.monotonic()
        before = -1
        while rings.bytes != before:
            before = rings.bytes
            rings.expire(now)
        self._memory.answers.expire()
        self._memory.durables.lapse(self._clock.now())

    def _revoked(self, them: tuple[tuple[str, float], ...]) -> None:
        for user, since in them:
            self._memory.revoked[user] = max(since, self._memory.revoked.get(user, since))

    def _durable(self, them: tuple[tuple[str, str, bool, tuple[str, ...], float, bool], ...]) -> None:
        self._grants.extend(
            (user, topic, Grant(by_server, patterns, checked_at, allowed))
            for user, topic, by_server, patterns, checked_at, allowed in them
        )

    def _answer(self, them: tuple[tuple[str, str, str, bytes, str, int, float], ...]) -> None:
        for table, publisher, id, fingerprint, cursor, live, age in them:
            known = Answered(fingerprint, Receipt(id, cursor, live), self._now - age)
            if self._memory.store is None or not self._memory.answers.knows(table, (publisher, id)):
                self._memory.answers.put_back(table, (publisher, id), known)

    def _mark(self, them: tuple[tuple[str, int, float], ...]) -> None:
        for name, evicted, age in them:
            self._memory.rings.put_back_mark(Mark(name, evicted, self._now - age))

    def _user(self, them: tuple[tuple[int, str], ...]) -> None:
        numbers = self._memory.numbers
        for number, user in them:
            if numbers.id_of(number) == user and self._memory.store is not None:
                continue
            try:
                numbers.put_back(number, user)
            except ValueError:
                if self._memory.store is None:
                    raise
                raise SavedError("it belongs to another store: its users have other numbers there") from None

    def _set(self, data: bytes) -> None:
        self._sets.append(Snapshot(UserSet.read(data)))

    def _kept(
        self,
        sequence: int,
        body: bytes,
        channels: tuple[str, ...],
        names: tuple[str, ...],
        persistence: str,
        expires_in: float,
        age: float,
        collapse_key: str | None,
        group: str | None,
        audience: tuple[tuple[str, int], ...],
        replayed: tuple[tuple[str, bytes], ...],
        acked: bytes,
        excluded: int | None,
        judged: int | None,
    ) -> None:
        made = Notification(
            **read_body(body),
            channels={name: place for place, name in enumerate(channels)},
            persistence=Persistence(persistence),
            expires_at=self._now + expires_in,
            collapse_key=collapse_key,
            group=group,
        )
        made.sequence, made.kept_at = sequence, self._now - age
        made.cursor = str(Cursor(self._memory.epoch, sequence))
        made.audience = tuple((topic, self._sets[place]) for topic, place in audience)
        if replayed:
            made.replayed = {topic: UserSet.read(data) for topic, data in replayed}
        if acked:
            made.acked = UserSet.read(acked)
        if excluded is not None:
            made.excluded = self._sets[excluded]
        if judged is not None:
            made.judged = self._sets[judged]
        made.noted = sum(map(len, (made.replayed or {}).values())) + len(made.acked or ())
        in_order = self._last[0] < sequence <= self._memory.sequence and self._last[1] <= made.kept_at
        if made.live_only or not in_order or not made.channels.keys() >= {*names}:
            raise ValueError("it can't have been kept like this")
        self._last = sequence, made.kept_at
        self._memory.rings.put_back(made, names or channels, self._clock.monotonic())


def read_body(body: bytes) -> dict[str, Any]:
    """What a notification was made from, as far as its body says it."""
    payload = orjson.loads(body + b"}")
    id, sent_at, sender = payload.pop("id"), payload.pop("sent_at"), payload.pop("from", None)
    priority = PRIORITY_OF[payload.pop("priority")]
    good = isinstance(id, str) and is_notification_id(id) and isinstance(payload["type"], str)
    if not good or type(sent_at) is not int or not isinstance(sender, str | None):
        raise ValueError("no notification")
    return {"id": id, "payload": payload, "priority": priority, "sent_at": sent_at, "sender": sender}
