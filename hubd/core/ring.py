"""Bounded rings of notifications, one per channel under one byte budget, and what has been evicted from them."""

import heapq
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from hubd.core.notification import Notification

if TYPE_CHECKING:
    from hubd.core.connection import Connection

REFERENCE_BYTES = 300  # one entry: the object, its places in the ring and in the order of age
RING_BYTES = 1100
USER_BYTES = 4  # one more user in a set of those who acked or had a replay
EXPIRE = 2000
"""How many entries are let go of for their age in one step; more of them wait for the next."""
FEW = 100
"""So many entries of several rings are sorted at once; more are merged as they are read."""
WATERMARKS = 100_000
WATERMARK_S = 3600.0
"""For how long, and for how many channels, it is remembered one by one that something was evicted from them."""

_sequence = attrgetter("sequence")
_notification = attrgetter("notification")


class Mark(NamedTuple):
    """The last one that was pushed out of a channel's ring, by its sequence number, known since (monotonic s)."""

    name: str
    evicted: int
    since: float


class Entry:
    """A notification's place in one ring."""

    __slots__ = ("notification", "ring", "sequence")

    def __init__(self, notification: Notification, ring: "Ring") -> None:
        self.notification = notification
        self.sequence = notification.sequence
        self.ring = ring


class Ring:
    """What one channel keeps, oldest first; ``evicted`` is the sequence of the last one that was pushed out."""

    __slots__ = ("entries", "evicted", "name")

    def __init__(self, name: str, evicted: int) -> None:
        self.name = name
        self.entries: deque[Entry] = deque()
        self.evicted = evicted


class Rings:
    """The rings of all channels: the last ``per_channel`` of the last ``ttl_s`` seconds each, ``max_bytes`` in all."""

    def __init__(self, per_channel: int, ttl_s: float, max_bytes: int) -> None:
        self._per_channel = per_channel
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._rings: dict[str, Ring] = {}
        self._by_age: OrderedDict[Entry, None] = OrderedDict()
        self._by_id: dict[str, tuple[Notification, ...]] = {}  # more than one only where publishers share ids
        self._watermarks: OrderedDict[str, tuple[int, float]] = OrderedDict()  # of emptied rings, oldest first
        self.judge_late: Callable[[Notification, int], None] = lambda notification, number: None
        """Asks gates about a user (by number) who wasn't there when it was published, and is about to read it."""
        self.replayed: Callable[[Notification, Connection], None] = lambda notification, connection: None
        """Told that a connection that came back gets it from a ring."""
        self.floor = 0
        """Before this sequence number it isn't known any more from which channels something was evicted."""
        self.losses = 0
        """Goes up whenever something is evicted that is a gap to somebody, and when the floor rises."""
        self.bytes = 0
        self.evictions = {"per_channel": 0, "ttl_s": 0, "max_bytes": 0}
        """How many entries were pushed out so far, by the limit that they were over."""

    def resize(self, per_channel: int, ttl_s: float, max_bytes: int) -> None:
        """Keep so much from now on; what is too much goes with the next ``expire`` or its channel's next ``append``."""
        self._per_channel = per_channel
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes

    def append(self, notification: Notification, now: float) -> None:
        """Keep a notification that has its sequence number in the ring of each of its channels."""
        self.expire(now)
        if notification.live_only:
            return
        notification.kept_at = now
        self._keep(notification, notification.channels, now)

    def _keep(self, notification: Notification, names: Iterable[str], now: float) -> None:
        self._by_id[notification.id] = (*self._by_id.get(notification.id, ()), notification)
        self.bytes += notification.size + notification.noted * USER_BYTES
        for users in notification.user_sets if notification.has_user_sets else ():
            self.bytes += users.size if users.references == 0 else 0
            users.references += 1
        for name in names:
            ring = self._rings.get(name)
            if ring is None:
                evicted, _ = self._watermarks.pop(name, (0, 0.0))
                ring = self._rings[name] = Ring(name, evicted)
                self.bytes += RING_BYTES
            entry = Entry(notification, ring)
            ring.entries.append(entry)
            self._by_age[entry] = None
            notification.references += 1
            self.bytes += REFERENCE_BYTES
            while len(ring.entries) > self._per_channel:
                self._evict(ring.entries[0], now, "per_channel")
        self._make_room(now)

    def expire(self, now: float) -> None:
        """Evict what is older than the rings keep, and forget watermarks that are too old or too many."""
        oldest_kept = now - self._ttl_s
        for _ in range(EXPIRE):
            entry = next(iter(self._by_age), None)
            if entry is None or entry.notification.kept_at > oldest_kept:
                break
            self._evict(entry, now, "ttl_s")
        self._make_room(now)
        while self._watermarks:
            name, (sequence, since) = next(iter(self._watermarks.items()))
            if len(self._watermarks) <= WATERMARKS and since > now - WATERMARK_S - self._ttl_s:
                break
            del self._watermarks[name]
            self.floor = max(self.floor, sequence)
            self.losses += 1

    def _make_room(self, now: float) -> None:
        while self.bytes > self._max_bytes and self._by_age:
            self._evict(next(iter(self._by_age)), now, "max_bytes")

    def _evict(self, entry: Entry, now: float, limit: str) -> None:
        """Push out a ring's oldest entry; a gap for whoever stands before it, unless its own ttl had run out."""
        if entry.notification.expires_at > now:
            entry.ring.evicted = entry.sequence
            self.losses += 1
        self.evictions[limit] += 1
        self._drop(entry, now)

    def _drop(self, entry: Entry, now: float) -> None:
        ring, notification = entry.ring, entry.notification
        del self._by_age[entry]
        if ring.entries[0] is entry:
            ring.entries.popleft()
        else:
            ring.entries.remove(entry)
        self.bytes -= REFERENCE_BYTES
        if not ring.entries:
            del self._rings[ring.name]
            self.bytes -= RING_BYTES
            if ring.evicted:
                self._remember(ring.name, ring.evicted, now)
        notification.references -= 1
        if notification.references == 0:
            self._let_go(notification)

    def _let_go(self, notification: Notification) -> None:
        """No ring has it any more."""
        self.bytes -= notification.size + notification.noted * USER_BYTES
        for users in notification.user_sets if notification.has_user_sets else ():
            users.references -= 1
            self.bytes -= users.size if users.references == 0 else 0
        notification.frames = None
        if (record := notification.record) is not None and not record.is_open:
            record.unlink()
        others = tuple(other for other in self._by_id[notification.id] if other is not notification)
        if others:
            self._by_id[notification.id] = others
        else:
            del self._by_id[notification.id]

    def note_user(self, notification: Notification, count: int = 1) -> None:
        """One more user stands in so many of the notification's own sets: that counts too."""
        notification.noted += count
        if notification.references:
            self.bytes += count * USER_BYTES

    def _remember(self, name: str, sequence: int, now: float) -> None:
        self._watermarks.pop(name, None)
        self._watermarks[name] = (sequence, now)

    def retract(self, notification: Notification, now: float) -> None:
        """Take a notification out of all its rings; that is no gap for anybody."""
        for name in notification.channels:
            ring = self._rings.get(name)
            entries = ring.entries if ring else []
            found = next((entry for entry in entries if entry.notification is notification), None)
            if found is not None:
                self._drop(found, now)

    def find(self, id: str, now: float) -> Notification | None:
        """The first of ``find_all``; None: there is none."""
        return next(iter(self.find_all(id, now)), None)

    def find_all(self, id: str, now: float) -> list[Notification]:
        """The notifications with this id that a ring still has and whose ttl hasn't run out.

        Ids are a publisher's own, so there may be several: those of servers first, and the later before the earlier.
        """
        self.expire(now)
        alive = [found for found in reversed(self._by_id.get(id, ())) if found.expires_at > now]
        return sorted(alive, key=lambda found: found.sender is not None)

    # What outlives the process

    def kept(self) -> Iterator[tuple[Notification, list[str]]]:
        """Every notification that is kept, in sequence, each with the channels whose rings (still) have it."""
        for notification, entries in groupby(self._by_age, key=_notification):
            yield notification, [entry.ring.name for entry in entries]

    def marks(self, now: float) -> Iterator[Mark]:
        """What was evicted from which channel, as far as that is known one by one; the longest known first."""
        for name, (sequence, since) in self._watermarks.items():
            yield Mark(name, sequence, since)
        for ring in self._rings.values():
            if ring.evicted:
                yield Mark(ring.name, ring.evicted, now)

    def put_back_mark(self, mark: Mark) -> None:
        """Know again what was evicted; before anything of that channel is put back, and in the order of ``marks``."""
        self._watermarks[mark.name] = (mark.evicted, mark.since)

    def put_back(self, notification: Notification, names: Iterable[str], now: float) -> None:
        """Keep again what has its sequence number and its ``kept_at``, in the rings of these of its channels.

        In the order of ``kept``. What doesn't fit into these rings, which may be smaller now, is evicted: a gap.
        """
        self._keep(notification, names, now)

    def evicted(self, name: str) -> int:
        """The sequence number of the last notification that was pushed out of this channel's ring; 0 if none was."""
        ring = self._rings.get(name)
        return ring.evicted if ring is not None else self._watermarks.get(name, (0, 0.0))[0]

    def after(self, names: Iterable[str], position: int) -> Iterator[Entry]:
        """The entries of these channels after a position, in sequence; what is in several rings comes several times.

        Must be read to its end, or as far as wanted, before anything else is appended.
        """
        parts, count = [], 0
        for name in names:
            ring = self._rings.get(name)
            if ring is None or ring.entries[-1].sequence <= position:
                continue
            entries = ring.entries
            start = 0 if entries[0].sequence > position else bisect_right(entries, position, key=_sequence)
            parts.append(islice(entries, start, None))
            count += len(entries) - start
        if len(parts) == 1:
            return parts[0]
        if count <= FEW:
            return iter(sorted(chain.from_iterable(parts), key=_sequence))
        return heapq.merge(*parts, key=_sequence)

    def history(self, name: str, limit: int, now: float) -> list[Notification]:
        """The newest ``limit`` notifications of a channel, oldest first."""
        self.expire(now)
        ring = self._rings.get(name)
        entries = ring.entries if ring else []
        alive = [entry.notification for entry in entries if entry.notification.expires_at > now]
        return alive[-limit:] if limit > 0 else []

    def depth(self, name: str) -> int:
        """How many notifications a channel's ring holds."""
        ring = self._rings.get(name)
        return len(ring.entries) if ring else 0

    @property
    def entries(self) -> int:
        """How many entries all rings hold."""
        return len(self._by_age)

    def names(self) -> Collection[str]:
        """The channels whose rings hold something."""
        return self._rings.keys()
