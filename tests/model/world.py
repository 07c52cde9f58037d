"""What the model knows for certain: every publication, and what the rings have let go of.

Nothing in here (nor in ``ledger.py``) was written from the hub's code: only from docs/protocol.md and the promises.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BROADCAST = "notifications"


class Broken(AssertionError):
    """The hub broke a promise."""


def canonical(name: str) -> str:
    """A channel's canonical name: ``user:ID`` is short for ``user:ID:notifications``."""
    return f"{name}:notifications" if name.startswith("user:") and name.count(":") == 1 else name


def user_channel(user: str) -> str:
    """The name of a user's own channel."""
    return f"user:{user}:notifications"


@dataclass(slots=True, eq=False)
class Sent:
    """One publication. ``mark`` stands in its payload, so that a frame can be told from every other.

    ``live_only``: ephemeral, or with a ttl of 0. ``lost``: the channels from whose ring it was evicted while it still
    counted. Times are the hub's monotonic seconds.
    """

    sequence: int
    mark: str
    id: str
    to: tuple[str, ...]
    cursor: str
    live_only: bool
    expires_at: float
    published_at: float
    retracted: bool = False
    lost: set[str] = field(default_factory=set)


class World:
    """The past. ``bytes_count``: the byte budget is small enough to evict. ``now`` is what the clock shows."""

    def __init__(
        self, per_channel: int, ttl_s: float, *, bytes_count: bool, remembered: int, remembered_s: float
    ) -> None:
        self._per_channel = per_channel
        self._ttl_s = ttl_s
        self._bytes_count = bytes_count
        self._remembered = remembered
        self._remembered_s = remembered_s
        self.now = 0.0
        self.latest = 0
        self.sent: list[Sent] = []
        self.by_mark: dict[str, Sent] = {}
        self.forgettable = 0
        """Through this sequence number the hub may have forgotten of which channel something was evicted: 'That
        something was evicted from a channel is remembered per channel for a bounded time, then in one floor for all.'
        Where that can be so, the model permits a gap of channel null, and demands nothing less."""
        self._by_sequence: dict[int, Sent] = {}
        self._rings: dict[str, tuple[int, ...]] = {}
        self._lost: dict[str, list[Sent]] = {}
        self._emptied: dict[str, float] = {}

    def publish(self, sent: Sent) -> None:
        """A publication got its number."""
        if sent.sequence <= self.latest:
            raise Broken(f"{sent.mark} got the number {sent.sequence}, and the last one was {self.latest}")
        self.latest = sent.sequence
        self.sent.append(sent)
        self.by_mark[sent.mark] = sent
        self._by_sequence[sent.sequence] = sent
        if not sent.live_only:
            for name in sent.to:  # where it was for a moment at least, even if there was no room
                self._rings[name] = (*self._rings.get(name, ()), sent.sequence)

    def lost_of(self, channel: str) -> list[Sent]:
        """What was evicted from a channel's ring while it counted, oldest first."""
        return self._lost.get(channel, [])

    def lost_through(self, channel: str) -> int:
        """The sequence number of the last of them; 0: none."""
        lost = self._lost.get(channel)
        return lost[-1].sequence if lost else 0

    def observe(self, rings: Mapping[str, Sequence[int]]) -> None:
        """The rings as they are now, by channel: what is gone from them must have been let go for a reason."""
        before, self._rings = self._rings, {name: tuple(entries) for name, entries in rings.items()}
        for name, entries in self._rings.items():
            if before.get(name, ())[-len(entries) :] != entries and not set(entries) <= set(before.get(name, ())):
                raise Broken(f"the ring of {name} has {entries}, and nothing but {before.get(name)} was published")
            if len(entries) > self._per_channel:
                raise Broken(f"the ring of {name} holds {len(entries)}, more than {self._per_channel}")
        just_lost = {name for name, entries in before.items() if self._left(name, entries, self._rings.get(name, ()))}
        self._note_emptied(just_lost)

    def _left(self, name: str, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
        """Find out what was evicted from a ring; True: something was."""
        if before == after:
            return False
        lost = False
        for sequence in before:
            sent = self._by_sequence[sequence]
            if sequence in after or sent.retracted or sent.expires_at <= self.now:
                continue
            newer = sum(other > sequence for other in before)
            is_old = self.now - sent.published_at >= self._ttl_s
            is_oldest = all(sequence <= ring[0] for ring in self._rings.values() if ring)
            if not (newer >= self._per_channel or is_old or (self._bytes_count and is_oldest)):
                raise Broken(f"{sent.mark} was evicted from {name} for no reason")
            sent.lost.add(name)
            self._lost.setdefault(name, []).append(sent)
            lost = True
        return lost

    def _note_emptied(self, just_lost: set[str]) -> None:
        for name in self._lost:
            if name in self._rings:
                self._emptied.pop(name, None)
            else:
                self._emptied.setdefault(name, self.now)
        # One that has been filled again by now may have been empty for a moment.
        crowd = just_lost | self._emptied.keys()
        for name in crowd:
            is_old = self.now - self._emptied.get(name, self.now) >= self._remembered_s
            if is_old or len(crowd) > self._remembered:
                self.forgettable = max(self.forgettable, self.lost_through(name))

    def check_age(self) -> None:
        """After a publication no ring holds what is older than the rings keep."""
        for name, entries in self._rings.items():
            if entries and self.now - self._by_sequence[entries[0]].published_at >= self._ttl_s:
                raise Broken(f"the ring of {name} still holds what is older than {self._ttl_s} s")
