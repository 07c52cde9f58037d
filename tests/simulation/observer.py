"""What can be seen from outside of the hub: what went over the wire and when, who was pushed to, what the disk has.

Times are those of the hub's end: when bytes arrived there, when they were written there.
"""

from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING

from tests.simulation.disk import Disk
from tests.simulation.loop import VirtualLoop
from tests.simulation.sends import Send

if TYPE_CHECKING:
    from tests.simulation.phones import Phone

_NOWHERE = 10**18


class Broken(AssertionError):
    """A promise was broken."""


class Life:
    """One life of the hub; ``how`` it ended: killed, stopped, or nothing while it lasts."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.ready = inf
        self.stopping = inf
        """From when on it begins nothing more."""
        self.end = inf
        self.how = ""


class Publication:
    """Something that somebody wants published. ``began`` is when the first request for it arrived."""

    def __init__(
        self,
        id: str,
        to: tuple[str, ...],
        priority: str,
        persistence: str,
        ttl: int | None,
        collapse_key: str | None,
        deliver_at: float | None,
    ) -> None:
        self.id = id
        self.to = to
        self.priority = priority
        self.persistence = persistence
        self.ttl = inf if ttl is None else ttl
        self.collapse_key = collapse_key
        self.deliver_at = deliver_at
        self.arrivals: list[float] = []
        self.accepted_at = inf
        self.cursor = ""
        self.is_known = False
        """Somebody was told that it is accepted, whoever that was."""
        self.is_in_doubt = False
        """A call for it was never answered."""
        self.retract_asked_at = self.retracted_at = inf

    @property
    def is_durable(self) -> bool:
        return self.priority == "critical" or self.persistence == "persistent"

    @property
    def escalates(self) -> bool:
        return self.priority != "informational" and self.persistence != "ephemeral"


class Got:
    """A notification that arrived at a connection."""

    __slots__ = ("channel", "id", "received_at", "sequence", "written_at")

    def __init__(self, id: str, channel: str, sequence: int, written_at: float, received_at: float) -> None:
        self.id = id
        self.channel = channel
        self.sequence = sequence
        self.written_at = written_at
        self.received_at = received_at


class Seen:
    """A connection as it was seen."""

    def __init__(self, user: str, name: str, opened_at: float, life: int, *, acks: bool, is_poll: bool = False) -> None:
        self.user = user
        self.name = name
        self.life = life
        self.opened_at = opened_at
        self.closed_at = inf
        self.acks = acks
        self.is_poll = is_poll
        self.is_none = False
        """It was refused."""
        self.topics: dict[str, list[list[float]]] = {}
        """From when to when it had them."""
        self.leaving: dict[str, list[float]] = {}
        """From when to when it was about to leave them: what it says waits behind its acks, and those for the disk."""
        self.epoch = ""
        self.start = _NOWHERE
        """It is to get everything behind this sequence number, and what is published after ``since``."""
        self.since = opened_at
        self.got: list[Got] = []
        self.dead_at = self.stalled_at = inf
        self.visible: list[tuple[float, bool]] = []

    def resume(self, epoch: str, start: int) -> None:
        self.epoch, self.start = epoch, start

    def missed(self, at: float) -> None:
        """It was told that something is missing."""
        self.start, self.since = _NOWHERE, at

    def joined(self, topic: str, at: float) -> None:
        times = self.topics.setdefault(topic, [])
        if not times or times[-1][1] < inf:
            times.append([at, inf])

    def left(self, topic: str, at: float) -> None:
        if topic in self.topics:
            self.topics[topic][-1][1] = min(at, self.topics[topic][-1][1])

    def has_topic(self, topic: str, at: float) -> bool | None:
        """Whether it had a topic then; None: who knows."""
        if topic in self.leaving and self.leaving[topic][0] <= at <= self.leaving[topic][1]:
            return None
        for since, until in self.topics.get(topic, ()):
            end = min(until, self.closed_at)
            if at in (since, end):
                return None
            if since < at < end:
                return True
        return False


class Ack:
    """An ack: when it arrived, and when the hub said that it is noted, unless it ``is_refused``."""

    def __init__(self) -> None:
        self.at = self.answered_at = inf
        self.life = -1
        self.is_refused = False


class Push:
    """A user was to be pushed to, on these phones, as a publication of this key; ``how`` it ended, and when."""

    def __init__(self, at: float, life: int, key: str, phones: tuple[str, ...]) -> None:
        self.at = at
        self.life = life
        self.key = key
        self.phones = phones
        self.ended_at = inf
        self.how = ""


class Observer:
    """Keeps all of that."""

    def __init__(self, loop: VirtualLoop, disk: Disk, grace_s: float, push_delay_s: float) -> None:
        self.loop = loop
        self.disk = disk
        self.grace_s = grace_s
        self.push_delay_s = push_delay_s
        self.lives: list[Life] = []
        self.publications: dict[str, Publication] = {}
        self.connections: list[Seen] = []
        self.by_user: dict[str, list[Seen]] = defaultdict(list)
        self.acks: dict[tuple[str, str], list[Ack]] = defaultdict(list)
        self.proofs: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.doubtful: dict[tuple[str, str], int] = defaultdict(int)
        """How many proofs there are of which nobody knows whether the hub took them."""
        self.pushes: dict[tuple[str, str], list[Push]] = defaultdict(list)
        self.durables: dict[tuple[str, str], list[tuple[float, bool | None]]] = defaultdict(list)
        """From when on a user had a durable subscription or not (None: nobody knows)."""
        self.in_doubt: dict[tuple[str, str], None] = {}
        """Durable subscriptions of which a change was never confirmed."""
        self.held: dict[tuple[str, str], list[float]] = {}
        """What a gate holds: since when, until when."""
        self.dropped: dict[tuple[str, str], float] = {}
        self.revoked: dict[str, float] = {}
        self.phones: dict[str, Phone] = {}
        self.sends: dict[tuple[str, str], list[Send]] = defaultdict(list)
        self.all_sends: list[Send] = []
        self.trace: list[str] = []

    @property
    def now(self) -> float:
        return self.loop.now

    @property
    def life(self) -> int:
        return len(self.lives) - 1

    def note(self, what: str) -> None:
        """A line of what happened, to compare two runs by, and to read when something is broken."""
        self.trace.append(f"{self.loop.now:.6f} {what}")

    # Acks and pushes

    def acked(self, id: str, user: str, ack: Ack) -> None:
        ack.at, ack.life = self.now, self.life
        self.acks[id, user].append(ack)

    def acks_of(self, publication: Publication, user: str) -> list[Ack]:
        """Those that count: one that isn't durable, and that a new life of the hub is told of anew, is another one."""
        acks = [ack for ack in self.acks.get((publication.id, user), ()) if not ack.is_refused]
        if publication.is_durable or not publication.arrivals:
            return acks
        return [ack for ack in acks if ack.at >= publication.arrivals[-1]]

    def ack_answered(self, id: str, user: str, at: float) -> None:
        """The hub says that it is noted: of a durable one that means on the disk."""
        publication = self.publications[id]
        is_closed = any(key in self.disk.closed for key in self.disk.keys.get(id, ()))
        is_over = publication.accepted_at + publication.ttl < at
        if publication.retract_asked_at < at or is_closed or is_over:  # nothing is open about it any more
            return
        if publication.is_durable and ("acked", id, user) not in self.disk.facts_of and self.disk.kept.get(id):
            raise Broken(f"durable: the ack of {id} by {user} was answered before it was on the disk")

    def doubt(self, user: str, unproved: list[Got]) -> None:
        """He may have proved that he has these: nobody knows whether the hub took it so."""
        for got in unproved:
            self.doubtful[got.id, user] += 1

    def proved(self, user: str, unproved: list[Got], at: float) -> None:
        """It did."""
        for got in unproved:
            self.proofs[got.id, user].append(at)
            self.doubtful[got.id, user] -= 1

    def pushed(self, id: str, user: str, key: str, phones: tuple[str, ...]) -> None:
        """It is to be brought to a user's phones."""
        self.note(f"push {id} to {user}")
        self.pushes[id, user].append(Push(self.now, self.life, key, phones))

    def push_ended(self, id: str, user: str, key: str, how: str) -> bool:
        """It was, or won't be; whether that was open."""
        was_open = False
        for push in self.pushes.get((id, user), ()):
            if push.key == key and push.life == self.life and not push.how:
                self.note(f"{how} {id} of {user}")
                push.how, push.ended_at = how, self.now
                was_open = True
        return was_open

    def sent(self, send: Send) -> None:
        """A push service is asked to bring it to a phone."""
        self.note(f"send {send.id} of {send.user} to {send.phone.token}")
        self.sends[send.id, send.user].append(send)
        self.all_sends.append(send)

    def break_off(self, why: str) -> None:
        """A promise is broken, found where nobody could be told by an exception."""
        self.loop.broken.append(Broken(why))
        self.loop.stop()

    # Connections

    def opened(self, user: str, name: str, *, acks: bool, is_poll: bool = False) -> Seen:
        seen = Seen(user, name, self.now, self.life, acks=acks, is_poll=is_poll)
        self.connections.append(seen)
        self.by_user[user].append(seen)
        return seen

    def closed(self, seen: Seen, at: float) -> None:
        seen.closed_at = min(seen.closed_at, at)

    def is_here(self, user: str, at: float) -> bool | None:
        """Whether a user was connected or wavering then; None when that very moment changed it."""
        gone = touched = -inf
        for seen in self.by_user[user]:
            if seen.is_none:
                continue
            if seen.opened_at == seen.closed_at:  # a poll that was answered at once: was he here?
                if seen.opened_at <= at:
                    touched = max(touched, seen.opened_at)
                continue
            if at in (seen.opened_at, seen.closed_at):
                return None
            if seen.opened_at < at < seen.closed_at:
                return True
            if seen.closed_at < at and seen.life == self.life_at(at):
                gone = max(gone, seen.closed_at)
        if touched + self.grace_s >= at and gone + self.grace_s < at:
            return None
        left = gone + self.grace_s - at
        return None if abs(left) < 1e-6 else left > 0

    def life_at(self, at: float) -> int:
        for number in range(len(self.lives) - 1, -1, -1):
            if self.lives[number].begin <= at:
                return number
        return -1

    def is_member(self, user: str, topic: str, at: float) -> bool | None:
        """Whether something for a topic was meant for a user then."""
        if (user, topic) in self.in_doubt:
            return None
        found: bool | None = False
        for since, has in self.durables[user, topic]:
            if since == at:
                return None
            if since < at:
                found = has
        for seen in self.by_user[user]:
            if found is True:
                break
            had = seen.has_topic(topic, at)
            found = had if had is not False else found
        return found

    def is_meant(self, publication: Publication, user: str, at: float) -> bool | None:
        """Whether it went to a user by another way than a broadcast."""
        found: bool | None = False
        for channel in publication.to:
            if channel == f"user:{user}":
                return True
            if channel != "notifications" and not channel.startswith("user:"):
                had = self.is_member(user, channel, at)
                if had:
                    return True
                found = had if found is False else found
        return found
