"""The record of one publication: whom it is meant for, how far it has come with each of them, and what happened."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from hubd.core.milestones import ACKED, EXPIRED, LIVE_SENT, PENDING, PUSHED, RETRACTED, Milestones, Tally, dropped, held
from hubd.core.notification import Notification, Persistence
from hubd.core.stored import Fact, Row
from hubd.core.users import NOBODY, Snapshot, UserSet, union_of
from hubd.core.verdict import Action, Verdict, Way

STEPS = 300
"""So many steps of a record are kept one by one; what comes then is put together with others of its kind."""
_TELLING = ("attempt", "pushed", "given_up")
"""Steps whose details count: one is put together only with those that say the same, while there is room for others."""
_OWN_BYTES = 900
_NAME_BYTES = 180  # one more channel in `to`
_STEP_BYTES = 250

FACTS = (
    *("joined", "not_live", "dropped", "held", "released"),
    *("acked", "proved", "pushed", "replaced", "expired", "retracted"),
)
"""What the store is told that became of a notification for some users."""


class Moment(NamedTuple):
    """A point of time: ``mono`` in seconds of the monotonic clock, ``wall`` in Unix seconds."""

    mono: float
    wall: float

    @property
    def ms(self) -> int:
        """Unix milliseconds."""
        return int(self.wall * 1000)


class Step:
    """Something that happened, between two moments (Unix s), to these users or this one (None: to all of them)."""

    __slots__ = ("at", "detail", "until", "users", "what")

    def __init__(self, at: float, what: str, users: UserSet | int | None, detail: str) -> None:
        self.at = self.until = at
        self.what = what
        self.users = users
        self.detail = detail


class Budget:
    """Bytes that records together are counted with."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


class Record:
    """What is known of one publication. Only ``Delivery`` changes it.

    ``pushable``: whose devices it may go to by its channels; ``may_push``: also by what gates say. ``waiting``: who is
    still to ack before ``due_at``; ``pushing``: whose push has been begun and not answered; ``no_route``: whom nothing
    could reach, with a critical one. ``expires_at`` and ``due_at`` are seconds of the monotonic clock. ``is_stored``:
    the store has its row, or is about to; ``is_durable``: it isn't accepted without.
    """

    __slots__ = (
        "ack_writes",
        "budget",
        "channels",
        "collapses",
        "deadline",
        "due_at",
        "escalates",
        "expires_at",
        "has_held",
        "heard",
        "id",
        "is_awaited",
        "is_durable",
        "is_open",
        "is_stored",
        "key",
        "late",
        "live_off",
        "may_push",
        "milestones",
        "no_route",
        "notification",
        "persistence",
        "priority",
        "published_at",
        "pushable",
        "pushing",
        "sent_at",
        "sequence",
        "size",
        "steps",
        "ttl_s",
        "type",
        "unless_live",
        "waiting",
        "was_pushed",
        "weight",
    )

    def __init__(
        self,
        key: str,
        notification: Notification,
        everybody: UserSet,
        may_push: UserSet,
        tally: Tally,
        budget: Budget,
    ) -> None:
        self.key = key
        self.id = notification.id
        self.notification: Notification | None = notification
        self.channels = notification.channels
        self.priority = notification.priority
        self.persistence = notification.persistence
        collapse_key = notification.collapse_key
        self.collapses = None if collapse_key is None else (notification.sender, collapse_key)
        """What it replaces, and is replaced by: what has the same."""
        self.sent_at = notification.sent_at
        self.expires_at = notification.expires_at
        self.type = notification.type
        self.is_durable = notification.is_durable
        self.escalates = notification.escalates
        self._begin(everybody, may_push, tally)
        self.budget = budget
        self.size = 0
        self.grow(_OWN_BYTES if len(self.channels) == 1 else _OWN_BYTES + _NAME_BYTES * len(self.channels))

    def _begin(self, everybody: UserSet, may_push: UserSet, tally: Tally) -> None:
        """Nothing has become of it yet."""
        self.sequence = 0
        self.published_at = 0.0
        """When it had its place in the sequence (Unix s)."""
        self.milestones = Milestones(everybody, PENDING, tally)
        self.may_push = self.pushable = may_push
        self.live_off = NOBODY
        self.late = NOBODY
        """Who is meant too, and isn't in the row that the store has."""
        self.unless_live: tuple[tuple[Verdict, UserSet], ...] = ()
        """What gates said about devices only: that counts for whoever isn't reached live."""
        self.waiting = NOBODY
        self.pushing = NOBODY
        self.no_route = NOBODY
        self.due_at = self.deadline = float("inf")
        self.is_open = self.is_stored = False
        self.is_awaited = False
        """Whether devices still wait for it: the ledger keeps it so long, for an ack has to reach whoever pushes."""
        self.was_pushed = False
        """Whether a push of it was ever begun: some of a user's devices may wait for it when another one has it."""
        self.heard = 0
        """How many of the gates' verdicts it has taken in."""
        self.has_held = False
        self.ttl_s = 0.0
        """How long it is of use, from when it was published on, or from when it is released."""
        self.weight = 0
        self.ack_writes: dict[int, object] | None = None
        """What has to be on the disk for an ack to be, by user number, as long as it isn't."""
        self.steps: list[Step] = []

    @property
    def everybody(self) -> UserSet:
        """Whom it is meant for."""
        return self.milestones.everybody

    def unlink(self) -> None:
        """Let go of the notification: they refer to each other, and nobody collects such circles."""
        if (notification := self.notification) is not None:
            self.notification = notification.record = None

    @property
    def is_escalating(self) -> bool:
        """Whether somebody is still to ack it, or to be pushed to, or can't be reached."""
        return bool(self.waiting or self.pushing or self.no_route)

    @property
    def held(self) -> dict[str, UserSet]:
        """For whom it is held, by the reason."""
        others = dict(self.milestones.others or {})
        if self.milestones.rest.startswith("held(") and (users := self.milestones.at(self.milestones.rest)):
            others[self.milestones.rest] = users
        return {name[5:-1]: users for name, users in others.items() if name.startswith("held(")}

    def note(self, at: float, what: str, users: UserSet | None, detail: str = "") -> None:
        """Something happened to some of them or to all (Unix s)."""
        if len(self.steps) >= STEPS and users is not None and self._note_with_others(at, what, users, detail):
            return
        self.steps.append(Step(at, what, users, detail))
        self.grow(_STEP_BYTES)

    def note_attempt(self, at: float, users: UserSet, text: str) -> None:
        """A push service said this about one device of each of these users (Unix s)."""
        if len(users) == 1:
            self.note_one(at, "attempt", next(iter(users)), text)
        else:
            self.note(at, "attempt", users, text)

    def note_one(self, at: float, what: str, number: int, detail: str = "") -> None:
        """Something happened to one of them (Unix s)."""
        if len(self.steps) >= STEPS and self._note_with_others(at, what, UserSet((number,)), detail):
            return
        self.steps.append(Step(at, what, number, detail))
        self.grow(_STEP_BYTES)

    def _note_with_others(self, at: float, what: str, users: UserSet, detail: str) -> bool:
        """There are many steps already: put it together with the last of its kind."""
        tells = what in _TELLING and len(self.steps) < 2 * STEPS
        for step in reversed(self.steps):
            if step.what == what and step.users is not None and not (tells and step.detail != detail):
                before = UserSet((step.users,)) if isinstance(step.users, int) else step.users
                step.users, step.until = before | users, at
                step.detail = detail if step.detail == detail else ""
                return True
        return False

    def grow(self, size: int) -> None:
        """It takes so many more bytes of memory."""
        self.size += size
        self.budget.used += size

    def settle_size(self) -> None:
        """It won't change much any more: count its own sets of users, too."""
        sets = [self.everybody, self.pushable, self.may_push, self.live_off]
        sets += [*(self.milestones.others or {}).values()]
        sets += [step.users for step in self.steps if isinstance(step.users, UserSet)]
        own = {id(users): users for users in sets if not isinstance(users, Snapshot)}
        self.grow(sum(users.pack() for users in own.values()))

    def judge(self, verdicts: Sequence[tuple[str, Verdict]], at: float) -> list[Fact]:
        """Gates said something about some of them: ``verdicts`` are all that they have said so far.

        Gives what is to be stored of what is new.
        """
        facts: list[Fact] = []
        fresh, self.heard = verdicts[self.heard :], len(verdicts)
        for plugin, verdict in fresh:
            users = verdict.users & self.everybody
            if not users:
                continue
            self.note(at, f"gate:{verdict.action.value}", users, f"{plugin}: {verdict.reason} ({_ways(verdict.way)})")
            if Way.LIVE in verdict.way:
                self.live_off = self.live_off | users
                facts.append(Fact(self.key, "not_live", users, int(at * 1000)))
            if Way.PUSH in verdict.way:
                self.may_push = self.may_push - users
            nowhere = users & self.live_off - self.may_push if verdict.way is not Way.ALL else users
            if nowhere:
                kind, reason = self.keep_from(nowhere, verdict)
                facts.append(Fact(self.key, kind, nowhere, int(at * 1000), reason))
            if verdict.way is Way.PUSH and (rest := users - nowhere):
                self.unless_live += ((verdict, rest),)
        return facts

    def keep_from(self, users: UserSet, verdict: Verdict) -> tuple[str, str]:
        """These users have no way left by which it could reach them; gives what the store is told of it."""
        kind, reason = "held", "digest" if verdict.action is Action.DIGEST else verdict.reason
        if verdict.action is Action.DROP or self.persistence is Persistence.EPHEMERAL:  # which is never held
            kind, reason = "dropped", verdict.reason
        self.milestones.move(users, held(reason) if kind == "held" else dropped(reason))
        self.has_held = self.has_held or kind == "held"
        return kind, reason

    def judge_late(self, verdicts: Sequence[tuple[str, Verdict]], number: int, at: float) -> None:
        """Gates said something about a user (by number) who came later to read it (Unix s)."""
        for plugin, verdict in verdicts:
            if number in verdict.users:
                detail = f"{plugin}: {verdict.reason} ({_ways(verdict.way)})"
                self.note_one(at, f"late:{verdict.action.value}", number, detail)

    def row(self, due_at: int, moment: Moment) -> Row:
        """What the store keeps of it; ``due_at`` is Unix ms, or 0."""
        notification = self.notification
        assert notification is not None
        return Row(
            key=self.key,
            id=self.id,
            body=notification.body,
            channels=tuple(self.channels),
            persistence=self.persistence.value,
            sent_at=self.sent_at,
            expires_at=int((moment.wall + self.expires_at - moment.mono) * 1000),
            collapse_key=notification.collapse_key,
            group=notification.group,
            topics=notification.audience,
            everybody=self.everybody,
            may_push=self.may_push | (self.pushable & union_of(list(self.held.values()))),
            due_at=due_at,
            push=notification.push,
        )

    def facts(self, at: int) -> tuple[Fact, ...]:
        """What the store is to know besides the row: what has become of it already."""
        found = []
        for milestone, _ in self.milestones:
            kind, _, reason = milestone.rstrip(")").partition("(")
            if kind in ("held", "dropped", ACKED, PUSHED):
                found.append(Fact(self.key, kind, self.milestones.at(milestone), at, reason))
        if self.live_off:
            found.append(Fact(self.key, "not_live", self.live_off, at))
        return tuple(found)

    def fold(self, facts: Iterable[Fact]) -> None:
        """Have again what the store was told, when this was made anew from a row."""
        for fact, until in _united(facts):
            self.has_held = self.has_held or fact.kind == "held"
            if fact.kind in ("joined", "acked", "held") and (new := fact.users - self.everybody):
                self.milestones.add_all(new)
                self.milestones.move(new, PENDING)
            if fact.kind == "joined":
                self.may_push = self.may_push | fact.users
                self.pushable = self.pushable | fact.users
            users = fact.users & self.everybody
            if fact.kind == "released":
                self.milestones.take_out(users)
            elif (milestone := _milestone_after(fact)) is not None and users:
                if fact.kind != "acked":
                    users = users - self.milestones.at(ACKED)
                self.milestones.move(users, milestone)
            if fact.kind == "not_live":
                self.live_off = self.live_off | users
            elif fact.kind != "joined":
                self.may_push = self.may_push - users
            self.note(fact.at / 1000, fact.kind, fact.users, fact.detail)
            if until > fact.at:
                step = next(step for step in reversed(self.steps) if step.what == fact.kind)
                step.until = max(step.until, until / 1000)


FREE = ("joined", "acked", "pushed")
"""Facts of these kinds may be told in this order instead of that in which they came: the end is the same."""


def tells_more(fact: Fact) -> bool:
    """Whether its detail counts where there are so many facts that several are told as one."""
    return fact.kind in ("held", "dropped", "pushed")


def _united(facts: Iterable[Fact]) -> Iterator[tuple[Fact, int]]:
    """The same in fewer facts, each with the time until which it went on: beyond the first ones many become one."""
    facts = list(facts)
    for fact in facts[:STEPS]:
        yield fact, fact.at
    for is_free, run in groupby(facts[STEPS:], key=_is_free):
        if is_free:
            by_name: dict[tuple[int, str], list[Fact]] = {}
            for fact in run:
                name = FREE.index(fact.kind), fact.detail if tells_more(fact) else ""
                by_name.setdefault(name, []).append(fact)
            yield from (_as_one(by_name[name]) for name in sorted(by_name))
        else:
            for _, same in groupby(run, key=lambda fact: (fact.kind, fact.detail if tells_more(fact) else "")):
                yield _as_one(list(same))


def _is_free(fact: Fact) -> bool:
    return fact[1] in FREE  # by its place, which is faster: there may be very many


def _as_one(facts: list[Fact]) -> tuple[Fact, int]:
    first, last = facts[0], facts[-1]
    if first is last:
        return first, first.at
    detail = first.detail if all(fact.detail == first.detail for fact in facts) else ""
    return Fact(first.key, first.kind, union_of([fact.users for fact in facts]), first.at, detail), last.at


def _ways(way: Way) -> str:
    return {Way.ALL: "live and push", Way.LIVE: "live", Way.PUSH: "push"}[way]


def _milestone_after(fact: Fact) -> str | None:
    """Where a fact brings those whom it is about."""
    match fact.kind:
        case "acked":
            return ACKED
        case "proved":
            return LIVE_SENT
        case "pushed":
            return PUSHED
        case "expired":
            return EXPIRED
        case "retracted":
            return RETRACTED
        case "held":
            return held(fact.detail)
        case "dropped":
            return dropped(fact.detail)
        case "replaced":
            return dropped("replaced")
    return None
