"""Many writes as the statements of one transaction: one statement for each table, whatever the writes were."""

from collections.abc import Sequence
from typing import Any

import orjson

from hubd.core.stored import (
    Close,
    DropDevice,
    Fact,
    Keep,
    KeepSecret,
    Note,
    PutDevice,
    Remember,
    Revoke,
    Schedule,
    Scheduled,
    StoredAnswer,
    StoredDevice,
    Subscribe,
    Unschedule,
    Unsubscribe,
)
from hubd.core.users import UserSet
from hubd.store.own import AnyWrite, Forget, ForgetUser
from hubd.store.packing import Dumps, pack_sets
from hubd.store.statements import Statements

Values = tuple[Any, ...]
Work = list[tuple[str, list[Values]]]
"""Statements, each with the rows that it is to be carried out for."""


class Batch:
    """What one transaction does. ``first`` is the number that its first row or fact gets."""

    def __init__(self, first: int) -> None:
        self.next = first
        self._dumps = Dumps()
        self._rows: dict[str, Values] = {}
        self._facts: dict[tuple[str, str, str], _Merged] = {}
        self._acked: dict[str, _Merged] = {}
        """By its row, the last fact about it, where that is an ack."""
        self._closed: dict[str, int] = {}
        self._answers: dict[tuple[str, str, str], StoredAnswer] = {}
        self._scheduled: dict[str, Scheduled | None] = {}
        self._subscriptions: dict[tuple[str, str], Subscribe | None] = {}
        self._revoked: dict[str, float] = {}
        self._devices: dict[str, StoredDevice | None] = {}
        self._secrets: dict[str, bytes] = {}
        self._forgotten: list[Values] = []
        self._users_gone: list[Values] = []

    def add(self, write: AnyWrite) -> None:
        """One more write, behind the others."""
        match write:
            case Keep():
                self._keep(write)
            case Note(fact):
                self._note(fact)
            case Close(key, keep_until):
                self._closed[key] = keep_until
            case Remember(answer):
                self._remember(answer)
            case Schedule(call):
                self._scheduled[call.key] = call
            case Unschedule(key):
                self._scheduled[key] = None
            case Subscribe(user, _, topic, _):
                self._subscriptions[user, topic] = write
            case Unsubscribe(user, topic):
                self._subscriptions[user, topic] = None
            case Revoke(user, since):
                self._revoked[user] = since
            case _:
                self._add_rare(write)

    def _add_rare(self, write: AnyWrite) -> None:
        match write:
            case Forget():
                self._forgotten.append(tuple(write))
            case ForgetUser(number):
                self._users_gone.append((number,))
            case PutDevice(device):
                self._devices[device.id] = device
            case DropDevice(id):
                self._devices[id] = None
            case KeepSecret(name, value):
                self._secrets[name] = value

    def _keep(self, write: Keep) -> None:
        row = write.row
        sets = pack_sets(row, write.facts, self._dumps)
        channels = orjson.dumps(row.channels).decode()
        key, id, body, _, persistence, sent_at, expires_at, collapse_key, group, _, _, _, due_at, push = row
        self._rows[key] = (
            self._seq(), key, id, body, channels, persistence, sent_at, expires_at, collapse_key, group, due_at,
            sets, None, push,
        )  # fmt: skip
        if write.answer is not None:
            self._remember(write.answer)
        if write.instead_of is not None:
            self._scheduled[write.instead_of] = None
        if write.released is not None:
            self._note(write.released)

    def _note(self, fact: Fact) -> None:
        if fact.kind == "acked":
            self._note_ack(fact)
            return
        self._acked.pop(fact.key, None)
        same = self._facts.get((fact.key, fact.kind, fact.detail))
        if same is None:
            self._facts[fact.key, fact.kind, fact.detail] = _Merged(self._seq(), fact)
        else:
            same.users = same.users | fact.users

    def _note_ack(self, fact: Fact) -> None:
        """Each has a detail of its own: those between which nothing else became of it are one, whoever they are by."""
        same = self._acked.get(fact.key)
        if same is None:
            seq = self._seq()
            self._acked[fact.key] = self._facts[fact.key, fact.kind, str(seq)] = _Merged(seq, fact)
            return
        same.users = same.users | fact.users
        if same.fact.detail != fact.detail:
            same.fact = same.fact._replace(detail="")

    def _remember(self, answer: StoredAnswer) -> None:
        self._answers[answer.table, answer.publisher, answer.id] = answer

    def _seq(self) -> int:
        self.next += 1
        return self.next - 1

    def work(self, words: Statements, number: int, next_number: int, users: Sequence[Values]) -> Work:
        """The transaction of this number; these users get their rows in it."""
        self._pass_over_closed()
        dump = self._dumps.of
        facts = [
            (one.seq, one.fact.kind, dump(one.users), one.fact.at, one.fact.detail, one.fact.key)
            for one in self._facts.values()
        ]
        gone: list[Values] = [(key,) for key, until in self._closed.items() if not until]
        work: Work = [
            (words.user, list(users)),
            (words.row, list(self._rows.values())),
            (words.fact, facts),
            (words.answer, [tuple(answer) for answer in self._answers.values()]),
            (words.schedule, [tuple(call) for call in self._scheduled.values() if call is not None]),
            (words.unschedule, [(key,) for key, call in self._scheduled.items() if call is None]),
            (words.close, [(until, key) for key, until in self._closed.items() if until]),
            (words.drop_row, gone),
            (words.drop_facts, gone),
            (words.subscribe, [_subscription(one) for one in self._subscriptions.values() if one is not None]),
            (words.unsubscribe, [pair for pair, one in self._subscriptions.items() if one is None]),
            (words.revoke, list(self._revoked.items())),
            (words.device, [tuple(device) for device in self._devices.values() if device is not None]),
            (words.drop_device, [(id,) for id, device in self._devices.items() if device is None]),
            (words.secret, list(self._secrets.items())),
            (words.forget, self._forgotten),
            (words.forget_user, self._users_gone),
            (words.go_on, [(number, next_number)]),
        ]
        return [(statement, rows) for statement, rows in work if rows]

    def _pass_over_closed(self) -> None:
        """What begins and ends in one transaction isn't written at all."""
        over = [key for key, until in self._closed.items() if not until and self._rows.pop(key, None) is not None]
        for key in over:
            del self._closed[key]
        if over:
            self._facts = {names: one for names, one in self._facts.items() if names[0] not in over}


class _Merged:
    """Facts of one kind and detail about one row; ``users`` are those of all of them."""

    __slots__ = ("fact", "seq", "users")

    def __init__(self, seq: int, fact: Fact) -> None:
        self.seq = seq
        self.fact = fact
        self.users: UserSet = fact.users


def _subscription(one: Subscribe) -> Values:
    grant = one.grant
    patterns = orjson.dumps(grant.patterns).decode()
    return one.user, one.topic, one.number, grant.by_server, patterns, float(grant.checked_at), grant.allowed


def sets_of(write: AnyWrite) -> list[UserSet]:
    """The sets of users that a write refers to; one that is there twice may be given once."""
    match write:
        case Keep(row, facts, _, _, released):
            everybody = row.everybody
            sets = [everybody]
            if row.may_push is not everybody:
                sets.append(row.may_push)
            sets += [users for _, users in row.topics if users is not everybody]
            if facts:
                sets += [fact.users for fact in facts]
            if released is not None:
                sets.append(released.users)
            return sets
        case Note(fact):
            return [fact.users]
        case Subscribe(number=number) | PutDevice(StoredDevice(number=number)):
            return [UserSet((number,))]
    return []
