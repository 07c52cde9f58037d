"""A connection: one live transport of one user, as far as the core knows it."""

import math
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from hubd.core.channel import BROADCAST
from hubd.core.codec import Form
from hubd.core.errors import Disconnect
from hubd.core.identity import Identity

if TYPE_CHECKING:
    from hubd.core.registry import User
    from hubd.core.replay import Replay

ACKS_KEPT = 100
"""How many of the ids that a connection acked last can be read back."""
STRETCHES_KEPT = 64
"""How exactly it is remembered what of a channel was evicted before a connection could read it."""


class Visibility(StrEnum):
    """What a connection says of its tab."""

    VISIBLE = "visible"
    HIDDEN = "hidden"


class ConnectionInfo(NamedTuple):
    """What plugins are told of a connection. ``transport`` is websocket, sse or poll."""

    id: str
    user: str
    transport: str
    address: str
    identity: Identity


class Outlet:
    """What of a connection each broadcast touches.

    It is a class of its own because the slots of a base class come first: so these lie together, and over thousands of
    connections memory that isn't in the cache is most of what a broadcast costs beside the system calls. For the same
    reason a frame that waits alone is in ``lone`` and not in a list: None when nothing waits, empty when ``listed`` has
    to be looked at. Only the pump makes use of that, for connections whose socket may be written to past the transport:
    ``fd`` is its number then, and -1 as soon as the connection is gone, since somebody else may get the number. All
    others see the ``outbox``.
    """

    __slots__ = ("fd", "form", "listed", "live", "lone", "paused")

    fd: int
    form: Form
    listed: list[bytes]
    live: bool
    lone: bytes | None
    paused: bool

    @property
    def outbox(self) -> list[bytes]:
        """The frames that wait, in order, to be looked at and changed now: don't keep it for later."""
        if self.lone:
            self.listed.append(self.lone)
        self.lone = b""
        return self.listed

    @outbox.setter
    def outbox(self, frames: list[bytes]) -> None:
        self.listed = frames
        self.lone = b""

    def nothing_waits(self) -> None:
        """The outbox is empty: the next frame may wait alone, if the socket can be written to."""
        self.lone = b"" if self.fd < 0 else None


class Connection(Outlet):
    """State of one connection; a transport's own class adds how bytes leave.

    Whatever is meant for it goes into ``outbox``, in order. While ``live``, publications are put there; otherwise it
    reads them from the rings, as its ``replays`` say, one after the other. ``topics`` maps each topic that it is
    subscribed to to the sequence number after which it gets it, ``since`` is the same for the broadcast and the user's
    own channel; ``came_at`` is the last one that there was when it came. ``missed`` says between which numbers
    something of a channel was evicted before it could read it. ``paused``: its transport takes no more bytes for now;
    ``closing``: it has been told to go. Times are seconds of the monotonic clock.
    """

    __slots__ = (
        "acked",
        "acks",
        "address",
        "came_at",
        "closing",
        "control",
        "counted",
        "gap_told",
        "heard_at",
        "id",
        "identity",
        "input_at",
        "missed",
        "opened_at",
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
    answers_pings = True
    """Whether the other side answers a ``ping``, so that its silence means that it is gone."""
    ping_s: float | None = None
    """Seconds between two pings; None leaves that to the config."""

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
        self.came_at = 0
        self.outbox = []
        self.live = False
        self.replays: list[Replay] = []
        self.paused = False
        self.fd = -1
        self.queued = 0  # bytes of the first `counted` frames in the outbox
        self.counted = 0
        self.gap_told = False
        self.missed: dict[str, list[tuple[int, int]]] | None = None
        self.closing = False
        self.visibility: Visibility | None = None
        self.acked: deque[str] | None = None
        self.pinged_at = now
        self.warn_at = math.inf  # Unix seconds, when it is to be told that its token runs out
        self.watching: dict[str, None] | None = None

    @property
    def info(self) -> ConnectionInfo:
        """What plugins are told of it."""
        return ConnectionInfo(self.id, self.identity.user, self.transport_name, self.address, self.identity)

    def names(self) -> tuple[str, ...]:
        """The canonical names of all channels that it is subscribed to."""
        assert self.user is not None
        return (BROADCAST, self.user.channel, *self.topics)

    def since_of(self, name: str) -> int:
        """The sequence number after which it gets what is published to one of its channels."""
        return self.topics.get(name, self.since)

    def had(self, name: str, sequence: int) -> bool:
        """Whether what was published to one of its channels under this number has surely reached it by that channel."""
        if sequence <= self.since_of(name):
            return False
        return self.missed is None or not any(a < sequence <= b for a, b in self.missed.get(name, ()))

    def miss(self, name: str, after: int, through: int) -> None:
        """Of what was published to a channel after one number and through another, something can't be read any more."""
        if self.missed is None:
            self.missed = {}
        stretches = self.missed.setdefault(name, [])
        if stretches and after <= stretches[-1][1]:
            after = stretches.pop()[0]
        stretches.append((after, through))
        if len(stretches) > STRETCHES_KEPT:
            stretches[:2] = [(stretches[0][0], stretches[1][1])]

    def found(self, name: str, sequence: int) -> None:
        """What was evicted from this channel reached the connection all the same, out of another channel's ring."""
        stretches = (self.missed or {}).get(name, [])
        for place, (after, through) in enumerate(stretches):
            if after < sequence <= through:
                rest = [(after, sequence - 1), (sequence, through)]
                if len(stretches) < STRETCHES_KEPT:
                    stretches[place : place + 1] = [(a, b) for a, b in rest if a < b]
                return

    def put_control(self, fields: dict[str, Any]) -> None:
        """Put a control frame or a reply into the outbox; the pump must hear of it (``Pump.schedule``)."""
        self.outbox.append(self.form.control(fields))

    def put_gap(self, fields: dict[str, Any]) -> None:
        """Tell it of a gap, by the frame with these fields."""
        self.put_control(fields)

    def ping(self, cursor: str) -> None:
        """Put into the outbox what shows that the hub is there; ``cursor`` is where the connection then stands."""
        self.put_control({"hub": "ping", "cursor": cursor})

    def record_acks(self, ids: list[str]) -> None:
        """Remember what it acked, each once, to be read back."""
        if self.acked is None:
            self.acked = deque(maxlen=ACKS_KEPT)
        known = set(self.acked)
        self.acked.extend(id for id in ids if id not in known)

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
