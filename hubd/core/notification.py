"""A notification: what an application wants people told."""

import re
from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from hubd.core.channel import BROADCAST, user_channel
from hubd.core.users import Snapshot, UserSet
from hubd.core.verdict import Verdict

if TYPE_CHECKING:
    from hubd.core.codec import Form
    from hubd.core.record import Record

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

    def __init__(self, value: int) -> None:
        self.word = self.name.lower()
        """The name on the wire."""


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
    ``data`` is the payload as JSON, where that is known already; ``type`` what stands in it then.
    ``body`` is the payload with all hub fields that are the same for every recipient, as JSON without its last brace.
    ``push`` is what the publish call says about single platforms, as JSON; clients don't get it.
    """

    __slots__ = (
        "acked",
        "audience",
        "body",
        "channels",
        "collapse_key",
        "cursor",
        "excluded",
        "expires_at",
        "frames",
        "group",
        "id",
        "is_ours",
        "is_release",
        "is_retracted",
        "judged",
        "judged_late",
        "kept_at",
        "kept_from_late",
        "live_only",
        "noted",
        "persistence",
        "priority",
        "push",
        "record",
        "references",
        "replayed",
        "sender",
        "sent_at",
        "sequence",
        "type",
        "verdicts",
        "wants_proof",
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
        type: str | None = None,
        data: bytes | None = None,
        push: bytes | None = None,
    ) -> None:
        self.id = id
        self.type: str = payload["type"] if type is None else type
        self.channels = channels
        self.priority = priority
        self.persistence = persistence
        self.sent_at = sent_at
        self.expires_at = expires_at
        self.live_only = live_only or persistence is Persistence.EPHEMERAL
        self.collapse_key = collapse_key
        self.group = group
        self.sender = sender
        self.push = push
        if data is None:
            data = orjson.dumps(payload)
        # Ids and user ids have no character that JSON would escape.
        by = b"" if sender is None else b',"from":"%b"' % sender.encode()
        around = id.encode(), data[1:-1], priority.word.encode(), sent_at, by
        self.body: bytes = b'{"id":"%b",%b,"priority":"%b","sent_at":%d%b' % around
        self._begin()

    def _begin(self) -> None:
        """Nothing has become of it yet."""
        self.sequence = 0
        self.cursor = ""
        self.kept_at = 0.0
        self.references = 0
        self.audience: tuple[tuple[str, Snapshot], ...] = ()  # topic by topic, who was subscribed when it came
        self.replayed: dict[str, UserSet] | None = None  # topic by topic, who came later and got it by a replay
        self.acked: UserSet | None = None
        self.excluded: Snapshot | None = None  # by gates: whoever is in there gets it by no channel
        self.is_ours = False  # published by this very hub
        self.is_release = False  # gates had their say about it already
        self.is_retracted = False
        self.judged: UserSet | None = None  # whom the gates were asked about when it was published
        self.judged_late: UserSet | None = None  # and when they came later to read it
        self.kept_from_late: UserSet | None = None  # those of them whom it is kept from
        self.verdicts: tuple[tuple[str, Verdict], ...] = ()  # by which gate, until they are told to those who observe
        self.noted = 0  # how many users stand in its own sets together
        self.frames: dict[Form, bytes] | None = None
        self.record: Record | None = None  # whom it has reached
        self.wants_proof = False  # somebody is waited for who can't ack: whether he got it shall show

    @property
    def is_durable(self) -> bool:
        """Whether it is accepted only when it is stored, where there is a store."""
        return self.persistence is Persistence.PERSISTENT or self.priority is Priority.CRITICAL

    @property
    def escalates(self) -> bool:
        """Whether it goes to devices where nobody acks it: important and critical ones do that aren't live only."""
        return self.priority is not Priority.INFORMATIONAL and self.persistence is not Persistence.EPHEMERAL

    @property
    def size(self) -> int:
        """Bytes of memory it is counted with: body, the frames that will be made from it, and what hangs on it."""
        return _OWN_BYTES + 3 * len(self.body) + _NAME_BYTES * len(self.channels) + len(self.push or b"")

    def channel_to(self, user: str, number: int | None) -> str | None:
        """The channel by which it was sent to a user (and his number, if he has one); None: it wasn't."""
        if number is not None and self.excludes(number):
            return None
        return self.channel_toward(user, number)

    def channel_toward(self, user: str, number: int | None) -> str | None:
        """The same for whoever it can't be sent to live, but may be pushed to."""
        ways = {BROADCAST, user_channel(user)}.intersection(self.channels)
        if number is not None:
            ways.update(topic for topic, users in self.audience if number in users)
            ways.update(topic for topic, users in (self.replayed or {}).items() if number in users)
        return min(ways, key=self.channels.__getitem__, default=None)

    def excludes(self, number: int) -> bool:
        """Whether a gate keeps it from a user (by number)."""
        if self.excluded is not None and number in self.excluded:
            return True
        return self.kept_from_late is not None and number in self.kept_from_late

    def was_judged(self, number: int) -> bool:
        """Whether the gates were asked about a user (by number)."""
        if self.judged is not None and number in self.judged:
            return True
        return self.judged_late is not None and number in self.judged_late

    def record_judged(self, number: int, *, is_kept: bool) -> int:
        """The gates were asked about a user who came later; gives how many sets he is in for it now."""
        if self.judged_late is None:
            self.judged_late = UserSet()
        self.judged_late.add(number)
        if not is_kept:
            return 1
        if self.kept_from_late is None:
            self.kept_from_late = UserSet()
        self.kept_from_late.add(number)
        return 2

    @property
    def payload(self) -> dict[str, Any]:
        """What the publisher sent, read anew each time."""
        fields: dict[str, Any] = orjson.loads(self.body + b"}")
        return {name: value for name, value in fields.items() if name not in HUB_FIELDS}

    @property
    def has_user_sets(self) -> bool:
        """Whether there are ``user_sets``."""
        return bool(self.audience) or self.judged is not None or self.excluded is not None

    @property
    def user_sets(self) -> list[Snapshot]:
        """The sets of users that hang on it and that may be shared with others."""
        sets = [users for _, users in self.audience] if self.audience else []
        if self.excluded is not None:
            sets.append(self.excluded)
        if type(self.judged) is Snapshot:
            sets.append(self.judged)
        return sets

    @property
    def all_judged(self) -> Snapshot | None:
        """Everybody whom the gates were asked about, where others may come and read it, too."""
        if not isinstance(self.judged, Snapshot):
            return None
        return self.judged if self.judged_late is None else Snapshot(self.judged | self.judged_late)

    @property
    def kept_from(self) -> Snapshot | None:
        """Everybody whom gates keep it from."""
        if self.kept_from_late is None:
            return self.excluded
        late = self.kept_from_late
        return Snapshot(late if self.excluded is None else late | self.excluded)

    def released_to(self, users: Iterable[str], expires_at: float) -> "Notification":
        """The same notification, once more, to these users' own channels: what had been kept from them."""
        made = Notification(
            id=self.id,
            payload=self.payload,
            channels={user_channel(user): place for place, user in enumerate(users)},
            priority=self.priority,
            persistence=self.persistence,
            sent_at=self.sent_at,
            expires_at=expires_at,
            live_only=self.live_only,
            collapse_key=self.collapse_key,
            group=self.group,
            sender=self.sender,
            push=self.push,
        )
        made.is_release = True
        return made

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
