"""What a store is told: each write as a small object, and the order in which writes matter."""

from enum import IntEnum
from typing import NamedTuple

from hubd.core.subscriptions import Grant
from hubd.core.users import UserSet


class Lane(IntEnum):
    """Which writes go first when more wait than one transaction takes."""

    PUBLISH = 0
    """A publisher waits for it."""
    ACK = 1
    """A user or a server waits for it."""
    BOOKKEEPING = 2
    """Nobody waits."""


class Row(NamedTuple):
    """A notification as it is stored: one row, however many it is meant for. Times are Unix milliseconds.

    ``key`` names this very publication; ids are publishers' own, and there may be several with the same. ``body`` is
    ``Notification.body``. ``topics`` are the topics among its ``channels`` with whom each of them reaches;
    ``may_push`` is everybody whose devices may be pushed to, ``due_at`` when that is to happen (0: never).
    """

    key: str
    id: str
    body: bytes
    channels: tuple[str, ...]
    persistence: str
    sent_at: int
    expires_at: int
    collapse_key: str | None
    group: str | None
    topics: tuple[tuple[str, UserSet], ...]
    everybody: UserSet
    may_push: UserSet
    due_at: int
    push: bytes | None = None
    """What the publish call says about single platforms (``push``), as JSON."""


class Fact(NamedTuple):
    """Something that became of a notification for some users: of its row ``key``, at a time (Unix ms).

    ``kind`` is one of ``hubd.core.record.FACTS``, ``detail`` a reason or a device. Facts are only ever added; those of
    one key are read back in the order in which they were written. Two of the same kind and detail that stand in one
    transaction may become one, with the users of both.
    """

    key: str
    kind: str
    users: UserSet
    at: int
    detail: str = ""


class StoredAnswer(NamedTuple):
    """What a publisher was answered under an id of his own, as ``Idempotency`` remembers it."""

    table: str
    publisher: str
    id: str
    fingerprint: bytes
    cursor: str
    live: int
    at: int


class Scheduled(NamedTuple):
    """A publish call that is to be carried out at ``deliver_at`` (Unix ms). ``call`` is all of it, as JSON."""

    key: str
    id: str
    deliver_at: int
    call: bytes


# --- Writes. Each is carried out wholly or not at all.


class Keep(NamedTuple):
    """Keep a notification, with what is known of it already, and the answer that belongs to it.

    ``instead_of`` is the key of the scheduled call that it comes from, which ends with it. ``released`` is a fact about
    another row, out of which these users are taken for this one.
    """

    row: Row
    facts: tuple[Fact, ...] = ()
    answer: StoredAnswer | None = None
    instead_of: str | None = None
    released: Fact | None = None


class Note(NamedTuple):
    """Something became of a notification. Its row may not be there (any more): then that is no matter."""

    fact: Fact


class Close(NamedTuple):
    """Nothing is open about a notification any more: its row goes, or stays as a closed one until ``keep_until``."""

    key: str
    keep_until: int = 0


class Remember(NamedTuple):
    """Remember an answer, in place of one that is there already."""

    answer: StoredAnswer


class Schedule(NamedTuple):
    """Keep a publish call for later."""

    call: Scheduled


class Unschedule(NamedTuple):
    """A scheduled call isn't wanted any more."""

    key: str


class Subscribe(NamedTuple):
    """Make or renew a durable subscription."""

    user: str
    number: int
    topic: str
    grant: Grant


class Unsubscribe(NamedTuple):
    """End a durable subscription."""

    user: str
    topic: str


class Revoke(NamedTuple):
    """A user's tokens from before ``since`` (Unix seconds) don't count any more."""

    user: str
    since: float


class StoredDevice(NamedTuple):
    """A device as it is stored. Times are Unix milliseconds; ``gone_at`` is 0 for one that is still there."""

    id: str
    user: str
    number: int
    platform: str
    app: str
    address: bytes
    """``Device.address`` as JSON."""
    registered_at: int
    gone_at: int = 0


class PutDevice(NamedTuple):
    """Keep a device, in place of one with this id that is there already."""

    device: StoredDevice


class DropDevice(NamedTuple):
    """A device isn't wanted any more."""

    id: str


class KeepSecret(NamedTuple):
    """Keep a secret of the hub's own, in place of one of this name."""

    name: str
    value: bytes


Write = (
    Keep | Note | Close | Remember | Schedule | Unschedule | Subscribe | Unsubscribe | Revoke
    | PutDevice | DropDevice | KeepSecret
)  # fmt: skip


class Kept(NamedTuple):
    """A row that is read back, with its facts in their order."""

    row: Row
    facts: tuple[Fact, ...]
    is_open: bool
