"""Sets of users, and what hangs on them, as bytes and back."""

import operator
from collections.abc import Sequence
from typing import Any

import msgpack
import orjson

from hubd.core.stored import Fact, Kept, Row
from hubd.core.users import Snapshot, UserSet

_pack = msgpack.Packer(autoreset=True).pack


class Dumps:
    """Dumps sets, each once however often it occurs; for as long as none of them can have changed."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[UserSet, bytes]] = {}

    def of(self, users: UserSet) -> bytes:
        """The set as bytes."""
        known = self._known.get(id(users))
        if known is None:
            # The set is kept with its bytes, so that no other one gets its id() meanwhile.
            self._known[id(users)] = known = users, users.dump()
        return known[1]


def pack_sets(row: Row, facts: Sequence[Fact], dumps: Dumps) -> bytes:
    """All sets of a row, and the facts that came with it."""
    everybody = row.everybody
    sets = dumps.of(everybody)
    # Most go to one channel, and to everybody on it by every way: the same set needs to be there only once.
    may_push = None if row.may_push is everybody else dumps.of(row.may_push)
    topics = [(topic, None if users is everybody else dumps.of(users)) for topic, users in row.topics]
    known = [(fact.key, fact.kind, dumps.of(fact.users), fact.at, fact.detail) for fact in facts]
    packed: bytes = _pack((sets, may_push, topics, known))
    return packed


def unpack_row(found: Sequence[Any], facts: Sequence[Fact]) -> Kept:
    """A row as ``COLUMNS`` gave it, with those facts that came later. ``ValueError`` when it makes no sense."""
    _, key, id, body, channels, persistence, sent_at, expires_at, collapse_key, group, due_at, *rest = found
    sets, keep_until, push = rest
    data, may_push, topics, known = msgpack.unpackb(sets)
    everybody = Snapshot(UserSet.read(data))
    row = Row(
        key,
        id,
        bytes(body),
        tuple(orjson.loads(channels)),
        persistence,
        sent_at,
        expires_at,
        collapse_key,
        group,
        tuple((topic, everybody if users is None else Snapshot(UserSet.read(users))) for topic, users in topics),
        everybody,
        everybody if may_push is None else UserSet.read(may_push),
        due_at,
        None if push is None else bytes(push),
    )
    first = [Fact(fact_key, kind, UserSet.read(users), at, detail) for fact_key, kind, users, at, detail in known]
    return Kept(row, (*first, *facts), keep_until is None)


def unpack_users(sets: bytes) -> UserSet:
    """Everybody who occurs in a row."""
    data, may_push, topics, known = msgpack.unpackb(sets)
    rest = [may_push, *map(operator.itemgetter(1), topics), *map(operator.itemgetter(2), known)]
    users = UserSet.read(data)
    for one in rest:
        if one is not None:
            users = users | UserSet.read(one)
    return users
