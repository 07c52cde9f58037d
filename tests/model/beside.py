"""A hub without sockets, and the model beside it, which looks at everything that the hub does."""

from contextlib import ExitStack
from typing import Any

import orjson

from hubd.broker import Broker, LocalBroker, OnPublication
from hubd.core.notification import Notification
from hubd.edge.actions import Actions
from hubd.edge.limits import Pace
from hubd.memory import Receipt
from hubd.testing import RecordingPusher, make_hub
from tests.model.durables import Durables
from tests.model.ledger import Ledger
from tests.model.surroundings import REMEMBERED_S, TTL_S, Faults, Limits, Loop, Started, Tokens, narrow
from tests.model.tap import ObservedBroker, Tapped, rings_of
from tests.model.world import Broken, Sent, World, canonical
from tests.pump_world import Sockets

ROUNDS = 20_000
"""How often everybody may have to read until there is nothing more; that is far more often than needed."""


class Member:
    """A connection, its ledger, and the topics that its token allows."""

    def __init__(self, connection: Tapped, ledger: Ledger, user: str, allowed: tuple[str, ...]) -> None:
        self.connection = connection
        self.ledger = ledger
        self.user = user
        self.allowed = allowed
        self.gone = False


class Beside:
    """One history. ``observe`` is called after all that happens; each broken promise raises ``Broken``."""

    def __init__(self, limits: Limits, loop: Loop) -> None:
        self.limits = limits
        self.loop = loop
        self.faults = Faults()
        self.stack = ExitStack()
        self.stack.enter_context(narrow(limits))
        self.stack.enter_context(self.faults.context())
        broker = ObservedBroker(self.make_broker(), self._around)
        # Devices take everything, so that the hub brings nothing once more to who comes later: others test that.
        self.hub, self.clock, self.soon = make_hub(limits.config, broker=broker, pusher=RecordingPusher())
        self.sockets = Sockets()
        self.hub.pump.write = self.sockets.write
        self.tokens, self.started = Tokens(), Started()
        pace = Pace(self.clock, 0)
        self.actions = Actions(self.hub, self.tokens, self.started, pace)  # type: ignore[arg-type]
        self.world = World(
            limits.per_channel,
            TTL_S,
            bytes_count=limits.bytes_count,
            remembered=limits.remembered,
            remembered_s=REMEMBERED_S,
        )
        self.durables = Durables()
        self.members: list[Member] = []
        self.cursors: list[str] = [self.hub.attendance.cursor(0)]
        self.last_cursor: dict[str, str] = {}
        self.bodies: list[dict[str, Any]] = []
        self.receipts: dict[str, Receipt] = {}
        self._live: dict[str, tuple[int, int, int]] = {}

    def make_broker(self) -> Broker:
        """The broker of the hub."""
        return LocalBroker()

    def close(self) -> None:
        """Put everything back as it was."""
        self.stack.close()

    # What the model sees

    def place(self, cursor: str) -> int:
        """The position that a cursor stands for."""
        start = self.hub.attendance.cursor(0)[:-1]
        if not cursor.startswith(start):
            raise Broken(f"the cursor {cursor} is of another epoch")
        return int(cursor[len(start) :])

    def observe(self, resting: bool = True) -> list[Member]:
        """Take what is new; gives those whose connection has been ended."""
        self.world.now = self.clock.monotonic()
        self.world.observe(rings_of(self.hub))
        if self.faults.found:
            raise Broken(self.faults.found[0])
        ended = [member for member in self.members if self._take(member)]
        if ended:
            self.members = [member for member in self.members if member not in ended]
        if resting and not self.soon.is_busy:
            for member in self.members:
                self._rest(member)
        return ended

    def _take(self, member: Member) -> bool:
        """Take what is new for a connection; True: that was its last."""
        ledger, connection = member.ledger, member.connection
        if member.gone:
            return True
        for frame in connection.fresh():
            ledger.take(frame)
        if ledger.cursors:
            self.cursors += ledger.cursors
            ledger.cursors.clear()
            assert ledger.last_cursor is not None
            self.last_cursor[member.user] = ledger.last_cursor
        if connection.aborted and connection.waiting() <= self.limits.queue_bytes:
            raise Broken("a connection was cut that wasn't too slow")
        return connection.aborted

    def _rest(self, member: Member) -> None:
        connection = member.connection
        if not connection.paused:
            if connection.unwritten():
                raise Broken("at rest, and something is left in an outbox")
            member.ledger.rest()
        elif connection.waiting() > self.limits.queue_bytes:
            raise Broken(f"{connection.waiting()} bytes wait for a connection, and it isn't cut")

    def _around(self, sequence: int, notification: Notification, on_publication: OnPublication) -> int:
        """A publication passes by, on its way from the broker to the hub."""
        self.observe()
        live = on_publication(sequence, notification)
        sent = self._sent(sequence, notification)
        seeing = [member for member in self.members if member.ledger.sees(sent)]
        self.world.publish(sent)
        cut = self.observe(resting=False)
        self.world.check_age()
        self.check_bytes()
        for member in self.members:
            member.ledger.published(sent)
        given = {member for member in seeing if sequence in member.ledger.given}
        self._live[sent.mark] = (len(given - set(cut)), len(given | set(cut)), len(seeing))
        self.observe()
        return live

    def _sent(self, sequence: int, notification: Notification) -> Sent:
        mark = orjson.loads(notification.body + b"}")["title"]
        body = next(body for body in self.bodies if body["notification"]["title"] == mark)
        return Sent(
            sequence,
            mark,
            body["id"],
            tuple(dict.fromkeys(map(canonical, body["to"]))),
            self.hub.attendance.cursor(sequence),
            live_only=body.get("persistence") == "ephemeral" or body["ttl"] == 0,
            expires_at=body["at"] + body["ttl"],
            published_at=self.clock.monotonic(),
        )

    def answered(self, body: dict[str, Any], again: bool, receipt: Receipt, duplicate: bool) -> None:
        """A publish was answered: is that right?"""
        if again is not duplicate:
            raise Broken(f"a publish for the {'second' if again else 'first'} time, and the answer says {duplicate}")
        mark = body["notification"]["title"]
        sent = self.world.by_mark.get(mark)
        first = self.receipts.setdefault(mark, receipt)
        if sent is None or receipt.id != sent.id or receipt.cursor != sent.cursor or receipt != first:
            raise Broken(f"{receipt} is no answer to the publish of {sent}")
        if duplicate:
            return
        # Whoever resumes at that moment may be counted or not: he gets it, but from the ring.
        least, given, seeing = self._live[mark]
        if not least <= receipt.live <= (given if sent.live_only else seeing):
            raise Broken(f"{mark} was queued for {given} of {seeing} connections, and the answer says {receipt.live}")
        self.cursors.append(receipt.cursor)

    def check_bytes(self) -> None:
        """After a publication, and after whatever is done once a second, the rings hold no more than they may."""
        if self.hub.rings.bytes > self.limits.max_bytes:
            raise Broken(f"the rings hold {self.hub.rings.bytes} bytes")

    # The end

    def finish(self) -> None:
        """Everybody gets what he is owed, and leaves; nothing may be left of them."""
        for _ in range(ROUNDS):
            for member in self.members:
                member.connection.drain()
            self.soon.turn()
            self.observe()
            if not self.soon.is_busy and not any(member.connection.paused for member in self.members):
                break
        else:
            raise Broken("it never comes to rest")
        for member in self.members:
            if not member.connection.live or member.connection.replays:
                raise Broken("at rest, and a connection isn't live")
            member.connection.drop()
        self.members.clear()
        self._check_empty()

    def _check_empty(self) -> None:
        hub = self.hub
        self.soon.settle()
        for _ in range(2):  # first the rings empty, then what is remembered of them is forgotten
            self.clock.advance(TTL_S + REMEMBERED_S + 1)
            hub.maintain()
        rings, registry, presence, pump = hub.rings, hub.registry, hub.presence, hub.pump
        left = {
            "registry": [registry.connections, registry.users, registry.topics],
            "presence": [presence._states, presence._wavering],
            "watches": [hub.watches._topics, hub.watches._changed],
            "pump": [pump._waiting, pump._pass],
            "rings": [rings._rings, rings._by_age, rings._by_id, rings._watermarks, rings.bytes],
        }
        if any(any(tables) for tables in left.values()):
            raise Broken(f"everybody has left, and something is left of them: {left}")
