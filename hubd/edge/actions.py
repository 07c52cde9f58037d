"""What a connected user may do: each action, and its reply."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hubd.config import Config
from hubd.core import protocol
from hubd.core.channel import Channel, Kind
from hubd.core.connection import Connection
from hubd.core.document import read_document
from hubd.core.errors import TOO_MANY, FieldError, Problem, invalid
from hubd.core.protocol import Ref, read_action, ref_of, refusal, reply
from hubd.edge.credentials import Authenticator
from hubd.edge.limits import Pace
from hubd.edge.permissions import own_durable, topics_at_renewal, without_denied
from hubd.edge.tokens import TokenRefused
from hubd.hub import Hub
from hubd.log_events import log_event
from hubd.storing import Written, all_written
from hubd.tasks import Tasks

log = logging.getLogger("hubd.actions")

MESSAGE_BYTES = 200
"""What a waiting message costs besides its payload."""
RETRY_S = 10.0


class _Waiting:
    """What came in from a connection behind an action that isn't done yet."""

    __slots__ = ("bytes", "payloads")

    def __init__(self) -> None:
        self.payloads: deque[bytes] = deque()
        self.bytes = 0


Fields = dict[str, Any]
Answer = Callable[[Fields], None]


class Actions:
    """Does what connections ask for; ``pace`` is the limit of publishing."""

    def __init__(self, hub: Hub, authenticator: Authenticator, tasks: Tasks, pace: Pace) -> None:
        self._hub = hub
        self._authenticator = authenticator
        self._tasks = tasks
        self._pace = pace
        self._waiting: dict[Connection, _Waiting] = {}
        self.apply(hub.config)

    def apply(self, config: Config) -> None:
        """Go by these limits from now on."""
        limits = config.limits
        self._depth = limits.json_depth
        self._keys = limits.json_keys
        self._waiting_bytes = limits.queue_bytes

    def take(self, connection: Connection, payload: bytes) -> None:
        """A message came in: do what it says and answer; a bad one is told so, and the connection stays.

        A connection's messages are taken one after the other: behind one that has to wait, the others wait, as many
        as `queue_bytes` hold.
        """
        waiting = self._waiting.get(connection)
        if waiting is None:
            self._take(connection, payload)
            return
        waiting.payloads.append(payload)
        waiting.bytes += MESSAGE_BYTES + len(payload)
        if waiting.bytes > self._waiting_bytes:
            self._hub.end(connection, TOO_MANY, retry_after=RETRY_S)

    def _take(self, connection: Connection, payload: bytes) -> None:
        ref: Ref = None
        try:
            message = read_document(payload, connection.form.encoding)
            ref = ref_of(message)
            action = read_action(message, self._depth, self._keys)
            self._do(connection, action, ref)
        except Problem as problem:
            self._refuse(connection, ref, problem)

    def _do(self, connection: Connection, action: protocol.Action, ref: Ref) -> None:
        def done(fields: Fields) -> None:
            if ref is not None:
                self._answer(connection, ref, reply(ref, **fields))

        match action:
            case protocol.Ping() | protocol.Pong():
                done({})
            case protocol.Ack():
                self._ack(connection, action, ref, done)
            case protocol.Visible():
                self._hub.attendance.set_visibility(connection, action.visibility())
                done({})
            case protocol.Subscribe():
                self._subscribe(connection, action, ref, done)
            case protocol.Unsubscribe():
                self._unsubscribe(connection, action, ref, done)
            case protocol.Present():
                if self._hub.hooks.authorize_subscribe.impls:
                    self._later(connection, ref, self._present_if_allowed(connection, action, done))
                else:
                    done(self._present(connection, action))
            case protocol.Publish():
                self._later(connection, ref, self._publish(connection, action, done))
            case protocol.Auth():
                self._later(connection, ref, self._authenticate(connection, action.token, done))

    def _refuse(self, connection: Connection, ref: Ref, problem: Problem) -> None:
        self._hub.counts.problems[problem.code] += 1
        self._answer(connection, ref, refusal(ref, problem))

    def _answer(self, connection: Connection, ref: Ref, fields: Fields) -> None:
        if connection not in self._hub.registry.connections:
            return  # it ended meanwhile: nothing may come behind its close frame
        if connection.control or ref is not None:
            connection.put_control(fields)
            self._hub.pump.schedule(connection)

    def _later(self, connection: Connection, ref: Ref, work: Any) -> None:
        """Do what may have to wait; the connection may be gone by then, and nothing comes of the answer."""

        async def run() -> None:
            try:
                await work
            except Problem as problem:
                self._refuse(connection, ref, problem)
            except Exception as error:
                log_event(log, "action_failed", error)
                self._refuse(connection, ref, Problem("internal", "the hub failed; it was logged"))
            finally:
                self._go_on(connection)

        self._waiting[connection] = _Waiting()
        self._tasks.start(run(), "action")

    def _go_on(self, connection: Connection) -> None:
        """Take what came in meanwhile, as far as nothing of it has to wait in its turn."""
        payloads = self._waiting.pop(connection).payloads
        while payloads and connection in self._hub.registry.connections:
            self.take(connection, payloads.popleft())
            if connection in self._waiting:
                for payload in payloads:
                    self.take(connection, payload)
                return

    def _ack(self, connection: Connection, action: protocol.Ack, ref: Ref, done: Answer) -> None:
        if waiting := self._hub.ack(connection.identity.user, action.named(), [connection]):
            self._later(connection, ref, self._acked(waiting, done))
        else:
            done({})

    async def _acked(self, waiting: Sequence[Written], done: Answer) -> None:
        await all_written(waiting)
        done({})

    async def _ask_plugins(self, connection: Connection, topics: list[str]) -> None:
        """Have plugins object to topics before the connection gets them; its identity knows of it from now on."""
        identity = await without_denied(self._hub, connection.identity, topics)
        # What was denied before is asked about before it is joined, but for his durable topics: so no more is kept.
        kept = identity.denied.intersection([*topics, *own_durable(self._hub, identity.user)])
        connection.identity = replace(identity, denied=kept)

    async def _present_if_allowed(self, connection: Connection, action: protocol.Present, done: Answer) -> None:
        await self._ask_plugins(connection, [action.topic])
        if connection in self._hub.registry.connections:
            done(self._present(connection, action))

    async def _subscribe_if_allowed(self, connection: Connection, action: protocol.Subscribe, done: Answer) -> None:
        named = action.named()
        await self._ask_plugins(connection, [named] if isinstance(named, str) else list(named))
        channels = self._wanted(connection, action)
        if connection not in self._hub.registry.connections:
            return  # gone, or revoked, while plugins were asked
        if action.durable:
            await self._subscribe_durably(connection, channels, action, done)
        else:
            self._join(connection, channels, action, done)

    def _subscribe(self, connection: Connection, action: protocol.Subscribe, ref: Ref, done: Answer) -> None:
        if self._hub.hooks.authorize_subscribe.impls:
            self._later(connection, ref, self._subscribe_if_allowed(connection, action, done))
            return
        channels = self._wanted(connection, action)
        if action.durable:
            self._later(connection, ref, self._subscribe_durably(connection, channels, action, done))
        else:
            self._join(connection, channels, action, done)

    def _wanted(self, connection: Connection, action: protocol.Subscribe) -> list[Channel]:
        """The channels that are asked for: all of them may be had, and there is room."""
        channels = self._hub.attendance.channels(connection, action.named())
        self._hub.attendance.check_room(connection, channels)
        return channels

    def _join(self, connection: Connection, channels: list[Channel], action: protocol.Subscribe, done: Answer) -> None:
        cursor = action.cursor or None  # an empty one counts as none, as it does in the address
        self._hub.attendance.subscribe(connection, channels, cursor, done)
        self._hub.pump.schedule(connection)

    async def _subscribe_durably(
        self, connection: Connection, channels: list[Channel], action: protocol.Subscribe, done: Answer
    ) -> None:
        topics = [channel.name for channel in channels if channel.kind is Kind.TOPIC]
        user = connection.identity.user

        def join_first() -> None:
            if connection in self._hub.registry.connections:
                self._join(connection, channels, action, done)

        await self._hub.make_durable(user, topics, connection.identity, join_first)

    def _unsubscribe(self, connection: Connection, action: protocol.Unsubscribe, ref: Ref, done: Answer) -> None:
        channels = self._hub.attendance.channels(connection, action.named(), leaving=True)
        topics = [channel.name for channel in channels if channel.kind is Kind.TOPIC]
        for topic in topics:
            self._hub.attendance.leave(connection, topic)
        fields = {"topics": [channel.name for channel in channels]}
        if action.durable:
            self._later(connection, ref, self._end_durable(connection.identity.user, topics, lambda: done(fields)))
        else:
            done(fields)

    async def _end_durable(self, user: str, topics: list[str], done: Callable[[], None]) -> None:
        await self._hub.end_durable(user, topics)
        done()

    def _present(self, connection: Connection, action: protocol.Present) -> Fields:
        channel = self._hub.attendance.channels(connection, action.topic)[0]
        if channel.kind is not Kind.TOPIC:
            raise invalid([FieldError("topic", "presence is of topics")])
        if action.watch is True:
            self._hub.watch(connection, channel.name)
        elif action.watch is False:
            self._hub.watches.unwatch(connection, channel.name)
        users, count = self._hub.present(channel.name)
        return {"topic": channel.name, "users": users, "count": count}

    async def _publish(self, connection: Connection, action: protocol.Publish, done: Answer) -> None:
        identity = connection.identity
        draft = self._hub.prepare(action.body())
        if len(draft.channels) != 1:
            raise invalid([FieldError("to", "a client publishes to one channel at a time")])
        if not identity.may_publish(draft.channels[0]):
            raise Problem("forbidden", f"your token doesn't let you publish to {draft.channels[0].name!r}")
        if draft.priority > identity.max_priority:
            raise Problem("forbidden", f"your token lets you publish up to {identity.max_priority.word!r}")
        publisher = f"user:{identity.user}"
        self._pace.take(publisher)
        receipt, _ = await self._hub.publish(draft, publisher, identity)
        done({"id": receipt.id, "cursor": receipt.cursor})

    async def _authenticate(self, connection: Connection, token: str, done: Answer) -> None:
        try:
            identity = await self._authenticator.by_token(token, connection.address)
        except TokenRefused as refused:
            code = "unavailable" if refused.temporary else "unauthorized"
            raise Problem(code, refused.reason) from None
        if identity.user != connection.identity.user:
            raise Problem("forbidden", "a connection stays its user's: open another one for somebody else")
        identity = await without_denied(self._hub, identity, topics_at_renewal(self._hub, connection))
        before = list(connection.topics)
        if connection in self._hub.registry.connections:
            self._hub.renew(connection, identity)
        done({"user": identity.user})
        left = [topic for topic in before if topic not in connection.topics]
        if left:
            problem = Problem("forbidden", f"the new token doesn't allow, so these are left: {', '.join(left)}")
            self._answer(connection, None, refusal(None, problem))
