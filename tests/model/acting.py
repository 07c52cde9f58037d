"""What can happen to the hub, done to it and told to the model."""

from collections.abc import Iterable
from typing import Any

import msgpack
import orjson

from hubd.core.errors import Problem
from hubd.memory import Receipt
from hubd.testing import JSON_FORM, MSGPACK_FORM, identity
from tests.model.acts import MANY, Arrival, End, Grant, Publish, Subscription, Wait
from tests.model.beside import Beside, Member
from tests.model.claims import Frame
from tests.model.ledger import Ledger
from tests.model.surroundings import PERMITTED, TOPICS, USERS, Limits, Loop
from tests.model.tap import Tapped
from tests.model.world import Broken


class Acting(Beside):
    """A history to which acts are added, one after the other."""

    def __init__(self, limits: Limits, loop: Loop) -> None:
        super().__init__(limits, loop)
        self._ref = 0

    def pick(self, which: int) -> Member:
        """One of the connections."""
        return self.members[which % len(self.members)]

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
        text = self.cursors[which * len(self.cursors) // len(MANY)]
        if kind == "last":
            text = self.last_cursor.get(user, text)
        elif kind == "start":
            text = self.cursors[0]
        return text, self.place(text), ""

    # Who comes and goes

    def connect(self, how: Arrival) -> None:
        """Somebody connects."""
        self.observe()
        text, position, reason = self._cursor(how.cursor, how.which, how.user)
        form = MSGPACK_FORM if how.wire == "msgpack" else JSON_FORM
        who = identity(how.user, how.patterns)
        control = how.wire != "plain"
        sockets = self.sockets if how.direct else None
        connection = Tapped(self.hub, who, control=control, form=form, room=how.room, sockets=sockets)
        self.hub.attendance.attach(connection, how.topics, text)
        allowed = PERMITTED[how.patterns]
        granted = dict.fromkeys(self.durables.recheck(how.user, allowed, self.clock.now()))
        granted |= dict.fromkeys(topic for topic in how.topics if topic in allowed)
        ledger = Ledger(self.world, how.user, control=connection.control, place=self.place)
        ledger.attach(granted, position, reason)
        self.members.append(Member(connection, ledger, how.user, allowed))
        self.hub.pump.flush(connection)
        self.observe()

    def drop(self, which: int) -> None:
        """A connection is lost."""
        member = self.pick(which)
        member.connection.drop()
        member.gone = True
        self.observe()

    def revoke(self, user: str) -> None:
        """A user is thrown out."""
        ended = [member for member in self.members if member.user == user]
        if self.hub.revoke(user) != len(ended):
            raise Broken(f"not all connections of {user} were ended")
        for member in ended:
            if member.connection.ended is None:
                raise Broken("a revoked connection wasn't told")
            member.gone = True
        self.observe()

    # What they say

    def _say(self, member: Member, message: dict[str, Any]) -> None:
        connection = member.connection
        encoded = orjson.dumps(message) if connection.form is JSON_FORM else msgpack.packb(message)
        self.loop.call(lambda: self.actions.take(connection, encoded), self.started)

    def _next_ref(self) -> int:
        self._ref += 1
        return self._ref

    def subscribe(self, how: Subscription) -> None:
        """A connection subscribes to topics: all of them, or none."""
        member, topics = self.pick(how.member), how.topics
        text, position, reason = self._cursor(how.cursor, how.old, member.user)
        ref = self._next_ref()
        message = {"action": "subscribe", "ref": ref, "topics": list(topics)}
        if text is not None:
            message["cursor"] = text
        if how.durable:
            message["durable"] = True
        self.observe()
        ledger = member.ledger
        if not set(topics) <= set(member.allowed):
            ledger.expect(ref, _refused)
            self._say(member, message)
        else:
            if position is None or all(name in ledger.claims for name in topics):
                ledger.expect(ref, lambda frame: _subscribed(ledger, topics, text, frame))
                ledger.join(topics)
            else:
                ledger.join_from(ref, list(topics), position, reason)
            self._say(member, message)
            if how.durable:
                self.durables.make(member.user, topics, self.clock.now())
                self._join_durables(member.user, topics)
        self.observe()

    def _join_durables(self, user: str, topics: Iterable[str]) -> None:
        """A durable subscription was made: the user's other connections are joined too, as their tokens allow it."""
        by_server = self.durables.counting(user, self.clock.now())
        for member in self.members:
            if member.user == user:
                member.ledger.join(
                    topic for topic in topics if topic in by_server and (by_server[topic] or topic in member.allowed)
                )

    def unsubscribe(self, how: End) -> None:
        """A connection leaves topics; a durable subscription ends on all connections of the user."""
        member = self.pick(how.member)
        message: dict[str, Any] = {"action": "unsubscribe", "topics": list(how.topics)}
        if not how.quiet:
            message["ref"] = self._next_ref()
            member.ledger.expect(message["ref"], lambda frame: _unsubscribed(frame, how.topics))
        if how.durable:
            message["durable"] = True
        self.observe(resting=False)
        self._say(member, message)
        member.ledger.leave(how.topics)
        if how.durable:
            self._end_durables(member.user, how.topics)
        self.observe()

    def _end_durables(self, user: str, topics: Iterable[str]) -> None:
        ended = self.durables.end(user, topics)
        for member in self.members:
            if member.user == user:
                member.ledger.leave(ended)

    def grant(self, how: Grant) -> None:
        """The application makes or ends a user's durable subscription."""
        self.observe()
        user, topics = how.user, [how.topic]
        if how.on:
            self.loop.run(self.hub.make_durable(user, topics, None))
            self.hub.attendance.join_durables(user, topics)
            self.durables.make(user, topics, None)
            self._join_durables(user, topics)
        else:
            self.loop.run(self.hub.end_durable(user, topics))
            self._end_durables(user, topics)
        self.observe()

    def renew(self, which: int, patterns: tuple[str, ...]) -> None:
        """A connection shows a fresh token, which may allow other topics."""
        member = self.pick(which)
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

    def publish(self, what: Publish) -> None:
        """Somebody publishes, once or several times in a row."""
        for _ in range(what.count):
            self.send(self._body(what.to, what.kind))

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

    def send(self, body: dict[str, Any], again: bool = False) -> None:
        """Publish (``again``: what was published before), and wait for the answer."""
        body.setdefault("at", self.clock.monotonic())
        self.answered(body, again, *self.loop.run(self.call(body)))

    async def call(self, body: dict[str, Any]) -> tuple[Receipt, bool]:
        """The publish call."""
        said = {key: value for key, value in body.items() if key != "at"}
        return await self.hub.publish(self.hub.prepare(said), "key:backend")

    def repeat(self, which: int, other: bool) -> None:
        """A publisher repeats an id: with the same body it is the same publish, with another one it is refused."""
        body = self.bodies[which % len(self.bodies)]
        before = len(self.world.sent)
        if not other:
            self.send(body, again=True)
        else:
            try:
                self.loop.run(self.call(body | {"ttl": 999}))
            except Problem as problem:
                assert problem.code == "id_conflict"
            else:
                raise Broken("an id was accepted for another notification")
        if len(self.world.sent) != before:
            raise Broken("a repeat was sent again")

    def retract(self, which: int) -> None:
        """A publisher takes one back."""
        sent = self.world.sent[which % len(self.world.sent)]
        self.observe()
        found = self.hub.rings.find(sent.id, self.clock.monotonic())
        if found is not None:
            self.hub.retract(found)
            sent.retracted = True
        self.observe(resting=False)
        for member in self.members if found else ():
            if member.connection.control and member.ledger.sees(sent) and sent.id not in member.ledger.retracted:
                raise Broken(f"{member.user} wasn't told that {sent.mark} was retracted")
        self.observe()

    # Time

    def wait(self, how: Wait) -> None:
        """Time passes."""
        self.observe()
        self.clock.advance(how.seconds)
        if how.maintain:
            self.hub.maintain()
            self.check_bytes()
        self.observe()
        now = self.clock.now()
        for user in USERS:
            if set(self.hub.durables.counting(user, now)) != set(self.durables.counting(user, now)):
                raise Broken(f"the durable subscriptions of {user} are {self.durables.counting(user, now)}")

    def turn(self, turns: int) -> None:
        """The loop turns."""
        for _ in range(turns):
            if not self.soon.turn():
                break
            self.observe()

    def read(self, which: int, room: int | None) -> None:
        """A connection's other side reads everything, and from now on faster or slower (-1: as before)."""
        connection = self.pick(which).connection
        connection.drain()
        if room != -1:
            connection.room = room
        self.observe()

    def ping(self, which: int) -> None:
        """The hub pings a connection."""
        connection = self.pick(which).connection
        if connection.control:
            connection.put_control({"hub": "ping", "cursor": self.hub.attendance.cursor_of(connection)})
            self.hub.pump.schedule(connection)
        self.observe()


def _refused(frame: Frame) -> None:
    if frame["ok"] or frame["error"]["code"] != "forbidden":
        raise Broken(f"not refused: {frame}")


def _unsubscribed(frame: Frame, topics: tuple[str, ...]) -> None:
    if not frame["ok"] or frame["topics"] != list(topics):
        raise Broken(f"that is no reply to unsubscribe {topics}: {frame}")


def _renewed(frame: Frame, user: str) -> None:
    if not frame["ok"] or frame["user"] != user:
        raise Broken(f"that is no reply to auth: {frame}")


def _subscribed(ledger: Ledger, topics: tuple[str, ...], cursor: str | None, frame: Frame) -> None:
    if not frame["ok"] or frame["topics"] != list(topics):
        raise Broken(f"that is no reply to subscribe {topics}: {frame}")
    if ("recovered" in frame) is not (cursor is not None):
        raise Broken(f"`recovered` belongs into replies to a cursor, and only there: {frame}")
    if frame.get("replayed", 0) != 0:
        raise Broken("nothing was to be replayed")
    ledger.told(frame["cursor"])
