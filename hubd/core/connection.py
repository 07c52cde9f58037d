"""A connection: one live transport of one user, as far as the core knows it."""

import math
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hubd.core.channel import BROADCAST
from hubd.core.codec import Form
from hubd.core.errors import Disconnect
from hubd.core.identity import Identity

if TYPE_CHECKING:
    from hubd.core.registry import User
    from hubd.core.replay import Replay

ACKS_KEPT = 100
"""How many of the ids that a connection acked last can be read back."""


class Visibility(StrEnum):
    """What a connection says of its tab."""

    VISIBLE = "visible"
    HIDDEN = "hidden"


class Connection:
    """State of one connection; a transport's own class adds how bytes leave.

    Whatever is meant for it goes into ``outbox``, in order. While ``live``, publications are put there; otherwise it
    reads them from the rings, as its ``replays`` say, one after the other. ``topics`` maps each topic that it is
    subscribed to to the sequence number after which it gets it, ``since`` is the same for the broadcast and the user's
    own channel; ``missed`` says through which number something of a channel was evicted before it could read it.
    ``paused``: its transport takes no more bytes for now. Times are seconds of the monotonic clock.
    """

    __slots__ = (
        "acked",
        "acks",
        "address",
        "control",
        "counted",
        "form",
        "gap_told",
        "heard_at",
        "id",
        "identity",
        "input_at",
        "live",
        "missed",
        "opened_at",
        "outbox",
        "paused",
        "pinged_at",
        "queued",
        "replays",
        "since",
        "topics",
        "user",
        "visibility",
        "warn_at",
        "watching",
    )

    transport_name = "none"

    def __init__(self, id: str, identity: Identity, form: Form, *, control: bool, acks: bool, now: float) -> None:
        self.id = id
        self.identity = identity
        self.form = form
        self.control = control
        self.acks = acks
        self.opened_at = self.heard_at = self.input_at = now
        self.address = ""
        self.user: User | None = None
        self.topics: dict[str, int] = {}
        self.since = 0
        self.outbox: list[bytes] = []
        self.live = False
        self.replays: list[Replay] = []
        self.paused = False
        self.queued = 0  # bytes of the first `counted` frames in the outbox
        self.counted = 0
        self.gap_told = False
        self.missed: dict[str, int] | None = None
        self.visibility: Visibility | None = None
        self.acked: deque[str] | None = None
        self.pinged_at = now
        self.warn_at = math.inf  # Unix seconds, when it is to be told that its token runs out
        self.watching: dict[str, None] | None = None

    def names(self) -> tuple[str, ...]:
        """The canonical names of all channels that it is subscribed to."""
        assert self.user is not None
        return (BROADCAST, self.user.channel, *self.topics)

    def since_of(self, name: str) -> int:
        """The sequence number after which it gets what is published to one of its channels."""
        return self.topics.get(name, self.since)

    def had(self, name: str, sequence: int) -> bool:
        """Whether what was published to one of its channels under this number has surely reached it by that channel."""
        return self.since_of(name) < sequence and (self.missed is None or self.missed.get(name, 0) < sequence)

    def put_control(self, fields: dict[str, Any]) -> None:
        """Put a control frame or a reply into the outbox; the pump must hear of it (``Pump.schedule``)."""
        self.outbox.append(self.form.control(fields))

    def record_acks(self, ids: list[str]) -> None:
        """Remember what it acked, to be read back."""
        if self.acked is None:
            self.acked = deque(maxlen=ACKS_KEPT)
        self.acked.extend(ids)

    def write(self, data: bytes) -> None:
        """Give bytes to the transport; sets ``paused`` when it can't take more."""
        raise NotImplementedError

    def unsent(self) -> int:
        """Bytes that the transport has taken and not yet handed on."""
        raise NotImplementedError

    def end(self, why: Disconnect, retry_after: float = 0.0) -> None:
        """Tell the other side why and close; it is off the registries already."""
        raise NotImplementedError

    def abort(self) -> None:
        """Drop the transport at once, whatever is unsent."""
        raise NotImplementedError
