"""The machine: a hub without sockets, to which anything may happen in any order, beside the model of it."""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, ClassVar, NamedTuple

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hubd.broker import Broker, LocalBroker, OnPublication
from hubd.core.errors import Problem
from hubd.core.notification import Notification
from hubd.edge.actions import Actions
from hubd.edge.limits import Pace
from hubd.hub import Receipt
from hubd.testing import JSON_FORM, MSGPACK_FORM, identity, make_hub
from tests.model.durables import Durables
from tests.model.ledger import Frame, Ledger
from tests.model.surroundings import (
    PATTERNS,
    PERMITTED,
    REMEMBERED_S,
    TOPICS,
    TTL_S,
    USERS,
    Faults,
    Limits,
    Loop,
    Started,
    Tokens,
    narrow,
)
from tests.model.tap import ObservedBroker, Tapped, rings_of
from tests.model.world import Broken, Sent, World, canonical

number = st.integers(0, 255)
users = st.sampled_from(USERS)
permissions = st.sampled_from([PATTERNS[0], PATTERNS[0], *PATTERNS])
topics = st.sampled_from([(), ("a",), ("b",), ("c:x",), ("a", "b"), ("a", "c:x", "c:y"), TOPICS])
some_topics = topics.filter(bool)
cursors = st.sampled_from(["none", "last", "last", "old", "old", "start", "malformed", "future", "epoch"])
addressees = st.sampled_from(
    [
        ("notifications",),
        ("notifications",),
        ("a",),
        ("b",),
        ("c:x",),
        ("user:ann",),
        ("user:bob:notifications",),
        ("a", "b"),
        ("b", "a", "user:ann"),
        ("c:x", "notifications", "a"),
        ("user:ann", "user:bob", "user:cem", "c:y"),
        ("a", "b", "c:x", "c:y"),
        ("nobody:here",),
        ("nobody:there", "b"),
    ]
)
kinds = st.sampled_from(["kept", "kept", "ephemeral", "now", "short", "short", "persistent", "long", "long"])
limits_drawn = st.builds(
    Limits,
    per_channel=st.sampled_from([3, 4, 5]),
    max_bytes=st.sampled_from([1 << 28, 1 << 28, 9_000, 25_000]),
    queue_bytes=st.sampled_from([262144, 1024, 1024, 2500]),
    slice=st.sampled_from([1, 2, 256]),
    few=st.sampled_from([0, 1, 2, 16]),
    write_bytes=st.sampled_from([1, 250, 700, 65536]),
    remembered=st.sampled_from([100_000, 1, 2]),
)


class Arrival(NamedTuple):
    """How somebody connects."""

    user: str
    patterns: tuple[str, ...]
    topics: tuple[str, ...]
    cursor: str
    which: int
    wire: str
    room: int | None


arrivals = st.builds(
    Arrival,
    user=users,
    patterns=permissions,
    topics=topics,
    cursor=cursors,
    which=number,
    wire=st.sampled_from(["plain", "json", "msgpack"]),
    room=st.sampled_from([None, None, 0, 300, 900]),
)


class Member:
    """A connection, its ledger, and what its token allows."""

    def __init__(self, connection: Tapped, ledger: Ledger, user: str, allowed: tuple[str, ...]) -> None:
        self.connection = connection
        self.ledger = ledger
        self.user = user
        self.allowed = allowed
        self.gone = False


class HubMachine(RuleBasedStateMachine):
    """Rules are what users, publishers and time do; after each of them the model looks at what came of it."""

    histories: ClassVar[int] = 0
    loop: ClassVar[Loop]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.has_begun = False
        self.faults = Faults()

    @initialize(limits=limits_drawn, sent=st.lists(addressees, max_size=8), came=st.lists(arrivals, max_size=4))
    def begin(self, limits: Limits, sent: list[tuple[str, ...]], came: list[Arrival]) -> None:
        """A fresh hub, to which something has been published and some have connected."""
        self.stack.enter_context(narrow(limits))
        self.stack.enter_context(self.faults.context())
        type(self).histories += 1
        self.limits = limits
        broker = ObservedBroker(self.make_broker(), self.around)
        self.hub, self.clock, self.soon = make_hub(limits.config, broker=broker)
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
        self.world.now = self.clock.monotonic()
        self.durables = Durables()
        self.members: list[Member] = []
        self.cursors: list[str] = [self.hub.attendance.cursor(0)]
        self.last_cursor: dict[str, str] = {}
        self.bodies: list[dict[str, Any]] = []
        self.receipts: dict[str, Receipt] = {}
        self.live: dict[str, tuple[int, int, int]] = {}
        self.ref = 0
        self.has_begun = True
        for to in sent:
            self._publish(self._body(to, "kept"))
        for arrival in came:
            self._connect(arrival)

    def make_broker(self) -> Broker:
        """The broker of this machine's hub."""
        return LocalBroker()

    def teardown(self) -> None:
        """At the end everybody gets what he is owed, and leaves; nothing may be left of them."""
        with self.stack:
            if self.has_begun and sys.exc_info()[0] is None:  # what has been found must not be covered by what follows
                self.finish()

    def finish(self) -> None:
        """Drain, settle, go."""
        for _ in range(400):
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
        self.clock.advance(TTL_S + REMEMBERED_S + 1)
        hub.maintain()
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

    # What the model sees

    def place(self, cursor: str) -> int:
        """The position that a cursor stands for."""
        start = self.hub.attendance.cursor(0)[:-1]
        if not cursor.startswith(start):
            raise Broken(f"the cursor {cursor} is of another epoch")
        return int(cursor[len(start) :])

    def around(self, sequence: int, notification: Notification, on_publication: OnPublication) -> int:
        """A publication passes by, on its way from the broker to the hub."""
        self.observe()
        live = on_publication(sequence, notification)
        mark = orjson.loads(notification.body + b"}")["title"]
        body = next(body for body in self.bodies if body["notification"]["title"] == mark)
        sent = Sent(
            sequence,
            mark,
            notification.id,
            tuple(dict.fromkeys(map(canonical, body["to"]))),
            self.hub.attendance.cursor(sequence),
            live_only=body.get("persistence") == "ephemeral" or body["ttl"] == 0,
            expires_at=body["at"] + body["ttl"],
            published_at=self.clock.monotonic(),
        )
        seeing = [member for member in self.members if member.ledger.sees(sent)]
        self.world.publish(sent)
        cut = self.observe(resting=False)
        self.world.check_age()
        for member in self.members:
            member.ledger.published(sent)
        given = [member for member in seeing if sequence in member.ledger.given]
        self.live[mark] = (len(set(given) - set(cut)), len(given), len(seeing))
        self.observe()
        return live

    def observe(self, resting: bool = True) -> list[Member]:
        """Take what is new; gives those whose connection has been ended by the hub."""
        self.world.now = self.clock.monotonic()
        self.world.observe(rings_of(self.hub))
        if self.faults.found:
            raise Broken(self.faults.found[0])
        if self.hub.rings.bytes > self.limits.max_bytes:
            raise Broken(f"the rings hold {self.hub.rings.bytes} bytes")
        ended = []
        for member in self.members:
            for frame in member.connection.fresh():
                member.ledger.take(frame)
            self._take_cursors(member)
            if member.connection.aborted:
                self._check_cut(member)
            if member.connection.aborted or member.gone:
                ended.append(member)
        if ended:
            self.members = [member for member in self.members if member not in ended]
        if resting and not self.soon.is_busy:
            for member in self.members:
                self._rest(member)
        return ended

    def _take_cursors(self, member: Member) -> None:
        ledger = member.ledger
        if ledger.cursors:
            self.cursors += ledger.cursors
            ledger.cursors.clear()
            assert ledger.last_cursor is not None
            self.last_cursor[member.user] = ledger.last_cursor

    def _rest(self, member: Member) -> None:
        connection = member.connection
        if not connection.paused:
            if connection.outbox:
                raise Broken("at rest, and something is left in an outbox")
            member.ledger.rest()
        elif connection.waiting() > self.limits.queue_bytes:
            raise Broken(f"{connection.waiting()} bytes wait for a connection, and it isn't cut")

    def _check_cut(self, member: Member) -> None:
        """A connection is cut only when too much waits for it."""
        if member.connection.unwritten() + member.connection.unsent() <= self.limits.queue_bytes:
            raise Broken("a connection was cut that wasn't too slow")

    # Who comes and goes

    def _cursor(self, kind: str, which: int, user: str) -> tuple[str | None, int | None, str]:
        """A cursor, its position, and why it can't be honoured."""
        if kind == "none":
            return None, None, ""
        if kind in ("malformed", "future", "epoch"):
            latest = self.world.latest
            text = {
                "malformed": "no~cursor",
                "future": self.hub.attendance.cursor(latest + 1 + which),
                "epoch": f"zzzzzzzzzz-{which % (latest + 1)}",
            }[kind]
            return text, 0, "epoch" if kind == "epoch" else "bad_cursor"
        text = self.cursors[which % len(self.cursors)]
        if kind == "last":
            text = self.last_cursor.get(user, text)
        elif kind == "start":
            text = self.cursors[0]
        return text, self.place(text), ""

    @precondition(lambda self: len(self.members) < 9)
    @rule(came=st.lists(arrivals, min_size=1, max_size=3))
    def connect(self, came: list[Arrival]) -> None:
        """Some connect."""
        for arrival in came:
            self._connect(arrival)

    def _connect(self, how: Arrival) -> None:
        user, topics = how.user, how.topics
        text, position, reason = self._cursor(how.cursor, how.which, user)
        form = MSGPACK_FORM if how.wire == "msgpack" else JSON_FORM
        connection = Tapped(self.hub, identity(user, how.patterns), control=how.wire != "plain", form=form)
        connection.room = how.room
        self.hub.attendance.attach(connection, topics, text)
        allowed = PERMITTED[how.patterns]
        granted = dict.fromkeys([*self.durables.recheck(user, allowed, self.clock.now())])
        granted |= dict.fromkeys(topic for topic in topics if topic in allowed)
        ledger = Ledger(self.world, user, control=connection.control, place=self.place)
        ledger.attach(granted, position, reason)
        self.members.append(Member(connection, ledger, user, allowed))
        self.hub.pump.flush(connection)
        self.observe()

    @precondition(lambda self: self.members)
    @rule(which=number, thrown_out=st.sampled_from([False] * 5 + [True]))
    def leave(self, which: int, thrown_out: bool) -> None:
        """A connection is lost, or its user is thrown out."""
        member = self._pick(which)
        if thrown_out:
            self._revoke(member.user)
            return
        member.connection.drop()
        member.gone = True
        self.observe()

    def _revoke(self, user: str) -> None:
        ended = [member for member in self.members if member.user == user]
        if self.hub.revoke(user) != len(ended):
            raise Broken(f"not all connections of {user} were ended")
        for member in ended:
            if member.connection.ended is None:
                raise Broken("a revoked connection wasn't told")
            member.gone = True
        self.observe()

    def _pick(self, which: int) -> Member:
        return self.members[which % len(self.members)]

    # What they say

    def _say(self, member: Member, message: dict[str, Any]) -> None:
        connection = member.connection
        encoded = orjson.dumps(message) if connection.form is JSON_FORM else _pack(message)
        self.loop.call(lambda: self.actions.take(connection, encoded), self.started)

    def _next_ref(self) -> int:
        self.ref += 1
        return self.ref

    @precondition(lambda self: self.members)
    @rule(which=number, topics=some_topics, cursor=cursors, old=number, durable=st.booleans())
    def subscribe(self, which: int, topics: tuple[str, ...], cursor: str, old: int, durable: bool) -> None:
        """A connection subscribes to topics: all of them, or none."""
        member = self._pick(which)
        text, position, reason = self._cursor(cursor, old, member.user)
        ref = self._next_ref()
        message = {"action": "subscribe", "ref": ref, "topics": list(topics)}
        if text is not None:
            message["cursor"] = text
        if durable:
            message["durable"] = True
        self.observe()
        ledger = member.ledger
        if not set(topics) <= set(member.allowed):
            ledger.expect(ref, _refused)
        else:
            if durable:
                self.durables.make(member.user, topics, self.clock.now())
            if position is None or all(name in ledger.claims for name in topics):
                ledger.expect(ref, lambda frame: _subscribed(ledger, topics, text, frame))
                ledger.join(topics)
            else:
                ledger.join_from(ref, list(topics), position, reason)
        self._say(member, message)
        if durable and set(topics) <= set(member.allowed):
            self._join_durables(member.user, topics)
        self.observe()

    @precondition(lambda self: self.members)
    @rule(which=number, topics=some_topics, cursor=cursors, old=number)
    def subscribe_too(self, which: int, topics: tuple[str, ...], cursor: str, old: int) -> None:
        """The same, because it is where most can go wrong."""
        self.subscribe(which, topics, cursor, old, False)

    def _join_durables(self, user: str, topics: Iterable[str]) -> None:
        """A durable subscription was made: the user's other connections are joined too, as their tokens allow it."""
        for member in self.members:
            if member.user == user:
                grants = self.durables.counting(user, self.clock.now())
                member.ledger.join(
                    topic for topic in topics if topic in grants and (grants[topic] or topic in member.allowed)
                )

    @precondition(lambda self: self.members)
    @rule(which=number, topics=some_topics, durable=st.booleans(), quiet=st.booleans())
    def unsubscribe(self, which: int, topics: tuple[str, ...], durable: bool, quiet: bool) -> None:
        """A connection leaves topics; a durable subscription ends on all connections of the user."""
        member = self._pick(which)
        message: dict[str, Any] = {"action": "unsubscribe", "topics": list(topics)}
        if not quiet:
            message["ref"] = self._next_ref()
            member.ledger.expect(message["ref"], lambda frame: _named(frame, topics))
        if durable:
            message["durable"] = True
        self.observe(resting=False)
        self._say(member, message)
        member.ledger.leave(topics)
        if durable:
            self._end_durables(member.user, topics)
        self.observe()

    def _end_durables(self, user: str, topics: Iterable[str]) -> None:
        ended = self.durables.end(user, topics)
        for member in self.members:
            if member.user == user:
                member.ledger.leave(ended)

    @rule(user=users, topic=st.sampled_from(TOPICS), on=st.booleans())
    def server_subscribes(self, user: str, topic: str, on: bool) -> None:
        """The application makes or ends a user's durable subscription."""
        self.observe()
        if on:
            self.loop.run(self.hub.make_durable(user, [topic], None))
            self.hub.attendance.join_durables(user, [topic])
            self.durables.make(user, [topic], None)
            self._join_durables(user, [topic])
        else:
            self.durables.lapse(self.clock.now())
            self.loop.run(self.hub.end_durable(user, [topic]))
            self._end_durables(user, [topic])
        self.observe()

    @precondition(lambda self: self.members)
    @rule(which=number, patterns=permissions)
    def renew(self, which: int, patterns: tuple[str, ...]) -> None:
        """A connection shows a fresh token, which may allow other topics."""
        member = self._pick(which)
        self.observe()
        allowed = PERMITTED[patterns]
        ref = self._next_ref()
        member.ledger.expect(ref, lambda frame: _renewed(frame, member.user))
        self._say(member, {"action": "auth", "token": self.tokens.issue(member.user, patterns), "ref": ref})
        durable = self.durables.recheck(member.user, allowed, self.clock.now())
        member.allowed = allowed
        member.ledger.leave([name for name in TOPICS if name not in allowed and name not in durable])
        self.observe()

    # Publishing

    @rule(to=addressees, kind=kinds, count=st.sampled_from([1, 1, 1, 2, 5]))
    def publish(self, to: tuple[str, ...], kind: str, count: int) -> None:
        """Somebody publishes, once or several times in a row."""
        for _ in range(count):
            self._publish(self._body(to, kind))

    @rule(to=addressees, kind=kinds, others=addressees)
    def publish_two(self, to: tuple[str, ...], kind: str, others: tuple[str, ...]) -> None:
        """Two publishes one right behind the other, to different channels."""
        self._publish(self._body(to, kind))
        self._publish(self._body(others, "kept"))

    def _body(self, to: tuple[str, ...], kind: str) -> dict[str, Any]:
        mark = f"n{len(self.bodies)}"
        body: dict[str, Any] = {"to": list(to), "id": mark, "ttl": 1000, "notification": {"type": "x", "title": mark}}
        if kind == "ephemeral":
            body["persistence"] = kind
        elif kind == "persistent":
            body |= {"persistence": kind, "priority": "critical"}
        elif kind in ("now", "short"):
            body["ttl"] = 0 if kind == "now" else 20
        elif kind == "long":
            body["notification"]["body"] = "x" * 500
        self.bodies.append(body)
        return body

    def _publish(self, body: dict[str, Any], again: bool = False) -> None:
        """Publish (``again``: what was published before), and wait for the answer."""
        body.setdefault("at", self.clock.monotonic())
        self.answered(body, again, *self.loop.run(self.call(body)))

    async def call(self, body: dict[str, Any]) -> tuple[Receipt, bool]:
        """The publish call."""
        said = {key: value for key, value in body.items() if key != "at"}
        return await self.hub.publish(self.hub.prepare(said), "key:backend")

    def answered(self, body: dict[str, Any], again: bool, receipt: Receipt, duplicate: bool) -> None:
        """A publish was answered: is that right?"""
        if again is not duplicate:
            raise Broken(f"a publish for the {'second' if again else 'first'} time, and the answer says {duplicate}")
        mark = body["notification"]["title"]
        sent = self.world.by_mark.get(mark)
        first = self.receipts.setdefault(mark, receipt)
        if sent is None or receipt.id != sent.id or receipt.cursor != sent.cursor or receipt != first:
            raise Broken(f"{receipt} is no answer to the publish of {sent}")
        if not duplicate:
            least, given, seeing = self.live[mark]
            most = given if sent.live_only else seeing
            if not least <= receipt.live <= most:
                raise Broken(f"{mark} was queued for {given} of {seeing} connections, and the answer says {receipt.live}")
            self.cursors.append(receipt.cursor)

    @precondition(lambda self: self.bodies)
    @rule(which=number, other=st.booleans())
    def publish_again(self, which: int, other: bool) -> None:
        """A publisher repeats an id: with the same body it is the same publish, with another one it is refused."""
        body = self.bodies[which % len(self.bodies)]
        before = len(self.world.sent)
        if not other:
            self._publish(body, again=True)
        else:
            try:
                self.loop.run(self.call(body | {"ttl": 999}))
            except Problem as problem:
                assert problem.code == "id_conflict"
            else:
                raise Broken("an id was accepted for another notification")
        if len(self.world.sent) != before:
            raise Broken("a repeat was sent again")

    @precondition(lambda self: self.world.sent)
    @rule(which=number)
    def retract(self, which: int) -> None:
        """A publisher takes one back."""
        sent = self.world.sent[which % len(self.world.sent)]
        self.observe()
        kept = self.hub.rings.find(sent.id, self.clock.monotonic())
        found = kept is not None
        if kept is not None:
            self.hub.retract(kept)
        self.world.now = self.clock.monotonic()
        self.world.observe(rings_of(self.hub)) if not found else None
        sent.retracted = sent.retracted or found
        self.observe(resting=False)
        if found:
            for member in self.members:
                if member.connection.control and member.ledger.sees(sent) and sent.id not in member.ledger.retracted:
                    raise Broken(f"{member.user} wasn't told that {sent.mark} was retracted")
        self.observe()

    # Time

    @rule(seconds=st.sampled_from([1.0, 5.0, 25.0, 70.0, 300.0]), maintain=st.booleans())
    def wait(self, seconds: float, maintain: bool) -> None:
        """Time passes."""
        self.observe()
        self.clock.advance(seconds)
        if maintain:
            self.hub.maintain()
        self.observe()
        now = self.clock.now()
        for user in USERS:
            counting = set(self.hub.durables.counting(user, now))
            if counting != set(self.durables.counting(user, now)):
                raise Broken(f"the durable subscriptions of {user} are {self.durables.counting(user, now)}")

    @rule(turns=st.sampled_from([1, 1, 2, 50]))
    def turn(self, turns: int) -> None:
        """The loop turns."""
        for _ in range(turns):
            if not self.soon.turn():
                break
            self.observe()

    @precondition(lambda self: self.members)
    @rule(which=number, room=st.sampled_from([None, 0, 300, 900, -1]))
    def read(self, which: int, room: int | None) -> None:
        """A connection's other side reads everything, and from now on faster or slower (-1: as before)."""
        connection = self._pick(which).connection
        connection.drain()
        if room != -1:
            connection.room = room
        self.observe()

    @precondition(lambda self: self.members)
    @rule(which=number)
    def ping(self, which: int) -> None:
        """The hub pings a connection."""
        connection = self._pick(which).connection
        if connection.control:
            connection.put_control({"hub": "ping", "cursor": self.hub.attendance.cursor_of(connection)})
            self.hub.pump.schedule(connection)
        self.observe()


def _pack(message: dict[str, Any]) -> bytes:
    import msgpack

    packed: bytes = msgpack.packb(message)
    return packed


def _refused(frame: Frame) -> None:
    if frame["ok"] or frame["error"]["code"] != "forbidden":
        raise Broken(f"not refused: {frame}")


def _named(frame: Frame, topics: tuple[str, ...]) -> None:
    if not frame["ok"] or frame["topics"] != list(topics):
        raise Broken(f"that is no reply to unsubscribe {topics}: {frame}")


def _renewed(frame: Frame, user: str) -> None:
    if not frame["ok"] or frame["user"] != user:
        raise Broken(f"that is no reply to auth: {frame}")


def _subscribed(ledger: Ledger, topics: tuple[str, ...], cursor: str | None, frame: Frame) -> None:
    if not frame["ok"] or frame["topics"] != list(topics):
        raise Broken(f"that is no reply to subscribe {topics}: {frame}")
    if ("recovered" in frame, "replayed" in frame) != (cursor is not None,) * 2:
        raise Broken(f"`recovered` and `replayed` belong into replies to a cursor, and only there: {frame}")
    if frame.get("replayed"):
        raise Broken("nothing was to be replayed")
    ledger.told(frame["cursor"])
