"""A notification: what an application wants people told."""

import re
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from hubd.core.channel import BROADCAST, user_channel
from hubd.core.users import Snapshot, UserSet

if TYPE_CHECKING:
    from hubd.core.codec import Form

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
HUB_FIELDS = ("id", "channel", "priority", "sent_at", "cursor", "from")
"""What the hub adds to a payload, and a payload therefore must not set."""

_OWN_BYTES = 1200  # the object, its slots and short strings; frames and body are counted by their length
_NAME_BYTES = 100  # one more channel in `to`


class Priority(IntEnum):
    """How urgent it is; the order is meant (``max_priority`` compares)."""

    INFORMATIONAL = 0
    IMPORTANT = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        """The name on the wire."""
        return self.name.lower()


PRIORITY_OF = {priority.word: priority for priority in Priority}
"""Each priority by its word on the wire."""


class Persistence(StrEnum):
    """How long it is kept: not at all, in the ring, or also in the inbox."""

    EPHEMERAL = "ephemeral"
    BUFFERABLE = "bufferable"
    PERSISTENT = "persistent"


def is_notification_id(text: str) -> bool:
    """Whether the text can be a notification's id."""
    return _ID.fullmatch(text) is not None


class Notification:
    """One accepted notification, shared by everything that refers to it.

    ``channels`` maps canonical names to their place in `to`; ``sent_at`` is Unix ms; ``expires_at`` and ``kept_at``
    (when a ring took it) are seconds of the monotonic clock. ``sequence`` and ``cursor`` come with publication.
    ``body`` is the payload with all hub fields that are the same for every recipient, as JSON without its last brace.
    """

    __slots__ = (
        "acked",
        "audience",
        "body",
        "channels",
        "collapse_key",
        "cursor",
        "expires_at",
        "frames",
        "group",
        "id",
        "kept_at",
        "live_only",
        "noted",
        "persistence",
        "priority",
        "references",
        "replayed",
        "sender",
        "sent_at",
        "sequence",
        "type",
    )

    def __init__(
        self,
        *,
        id: str,
        payload: dict[str, Any],
        channels: dict[str, int],
        priority: Priority,
        persistence: Persistence,
        sent_at: int,
        expires_at: float,
        live_only: bool = False,
        collapse_key: str | None = None,
        group: str | None = None,
        sender: str | None = None,
    ) -> None:
        self.id = id
        self.type: str = payload["type"]
        self.channels = channels
        self.priority = priority
        self.persistence = persistence
        self.sent_at = sent_at
        self.expires_at = expires_at
        self.live_only = live_only or persistence is Persistence.EPHEMERAL
        self.collapse_key = collapse_key
        self.group = group
        self.sender = sender
        flat = {"id": id, **payload, "priority": priority.word, "sent_at": sent_at}
        if sender is not None:
            flat["from"] = sender
        self.body: bytes = orjson.dumps(flat)[:-1]
        self.sequence = 0
        self.cursor = ""
        self.kept_at = 0.0
        self.references = 0
        self.audience: tuple[tuple[str, Snapshot], ...] = ()  # topic by topic, who was subscribed when it came
        self.replayed: dict[str, UserSet] | None = None  # topic by topic, who came later and got it by a replay
        self.acked: UserSet | None = None
        self.noted = 0  # how many users stand in `replayed` and `acked` together
        self.frames: dict[Form, bytes] | None = None

    @property
    def size(self) -> int:
        """Bytes of memory it is counted with: body, the frames that will be made from it, and what hangs on it."""
        return _OWN_BYTES + 3 * len(self.body) + _NAME_BYTES * len(self.channels)

    def channel_to(self, user: str, number: int | None) -> str | None:
        """The channel by which it was sent to a user (and his number, if he has one); None: it wasn't."""
        ways = {BROADCAST, user_channel(user)}.intersection(self.channels)
        if number is not None:
            ways.update(topic for topic, users in self.audience if number in users)
            ways.update(topic for topic, users in (self.replayed or {}).items() if number in users)
        return min(ways, key=self.channels.__getitem__, default=None)

    def record_replay(self, topic: str, number: int) -> bool:
        """A user (by number) gets it by a replay of a topic: True when he wasn't in there when it came."""
        if any(name == topic and number in users for name, users in self.audience):
            return False
        if self.replayed is None:
            self.replayed = {}
        users = self.replayed.setdefault(topic, UserSet())
        if number in users:
            return False
        users.add(number)
        return True

    def record_ack(self, number: int) -> bool:
        """A user (by number) was shown it; True when that is news."""
        if self.acked is None:
            self.acked = UserSet()
        if number in self.acked:
            return False
        self.acked.add(number)
        return True
