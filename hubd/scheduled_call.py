"""A publish call that waits for its time, and how it is written down."""

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from hubd.core.channel import Patterns, parse_channel, patterns
from hubd.core.notification import PRIORITY_OF, Persistence
from hubd.core.overrides import packed
from hubd.core.publish import Draft
from hubd.core.stored import Scheduled, StoredAnswer
from hubd.memory import Receipt

CALL_BYTES = 1000
"""What a scheduled call costs besides its text."""


class Asked(NamedTuple):
    """Who wants it: the call's id, whose ids those are, and the user who publishes, if it is one.

    ``allowed``: the channels that what a segment stands for must be among. ``fingerprint`` is empty where the hub made
    the id.
    """

    id: str
    publisher: str
    table: str
    fingerprint: bytes
    sender: str | None
    allowed: Patterns | None


class ScheduledCall:
    """One call that waits. ``deliver_at`` is Unix ms, ``receipt`` what its publisher was answered."""

    __slots__ = ("asked", "attempts", "data", "deliver_at", "end", "is_busy", "key", "receipt", "ttl_s", "waiting")

    def __init__(self, key: str, deliver_at: int, asked: Asked, receipt: Receipt, ttl_s: float, data: bytes) -> None:
        self.key = key
        self.deliver_at = deliver_at
        self.asked = asked
        self.receipt = receipt
        self.ttl_s = ttl_s
        self.data = data
        """All of it as JSON: what the store has."""
        self.attempts = 0
        self.is_busy = False
        """It is just going out, or being cancelled."""
        self.end = ""
        """What became of it: "out", "cancelled", "expired"; empty: it waits."""
        self.waiting: list[Callable[[], None]] = []
        """To be called when it isn't busy any more."""

    @property
    def draft(self) -> Draft:
        """What is to be published, read anew each time."""
        said = orjson.loads(self.data)
        payload = said["notification"]
        return Draft(
            channels=tuple(parse_channel(name) for name in said["to"]),
            payload=payload,
            id=self.asked.id,
            priority=PRIORITY_OF[said["priority"]],
            persistence=Persistence(said["persistence"]),
            ttl_s=self.ttl_s,
            collapse_key=said["collapse_key"],
            group=said["group"],
            type=payload["type"],
            data=orjson.dumps(payload),
            segment=said["segment"],
            deliver_at=self.deliver_at,
            push=packed(said.get("push")),
        )

    def answer(self, now: float) -> StoredAnswer | None:
        """What its id is answered with from now on (Unix s); None: the hub made it."""
        asked = self.asked
        if not asked.fingerprint:
            return None
        cursor = self.receipt.cursor
        return StoredAnswer(asked.table, asked.publisher, asked.id, asked.fingerprint, cursor, 0, int(now * 1000))

    @property
    def fields(self) -> dict[str, Any]:
        """It as its publisher may see it."""
        said = orjson.loads(self.data)
        own = {"id": self.asked.id, **said["notification"], "priority": said["priority"]}
        return {**own, "deliver_at": self.deliver_at}

    @property
    def channels(self) -> list[str]:
        """The names of the channels to which it goes; none where it goes to a segment."""
        names: list[str] = orjson.loads(self.data)["to"]
        return names

    @property
    def size(self) -> int:
        """Bytes of memory it is counted with."""
        return CALL_BYTES + len(self.data)


def row_key(key: str) -> str:
    """The key of what goes out of the call with this key: the same each time that it is tried."""
    return f"{key}:out"


def written(draft: Draft, asked: Asked, cursor: str) -> bytes:
    """All of a call, as it is stored."""
    return orjson.dumps(
        {
            "to": [channel.name for channel in draft.channels],
            "segment": draft.segment,
            "notification": orjson.Fragment(draft.data),
            "priority": draft.priority.word,
            "persistence": draft.persistence.value,
            "ttl": draft.ttl_s,
            "collapse_key": draft.collapse_key,
            "group": draft.group,
            "push": None if draft.push is None else orjson.Fragment(draft.push),
            "publisher": asked.publisher,
            "table": asked.table,
            "fingerprint": asked.fingerprint.hex(),
            "sender": asked.sender,
            "allowed": None if asked.allowed is None else asked.allowed.texts,
            "cursor": cursor,
        }
    )


def read(stored: Scheduled) -> ScheduledCall:
    """A call as it was, out of what is stored."""
    said = orjson.loads(stored.call)
    allowed = said["allowed"]
    asked = Asked(
        stored.id,
        said["publisher"],
        said["table"],
        bytes.fromhex(said["fingerprint"]),
        said["sender"],
        None if allowed is None else patterns(tuple(allowed)),
    )
    receipt = Receipt(stored.id, said["cursor"], 0)
    return ScheduledCall(stored.key, stored.deliver_at, asked, receipt, said["ttl"], stored.call)
