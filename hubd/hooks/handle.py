"""What a plugin can ask of the hub, and tell it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextvars import ContextVar
from random import Random
from typing import Any

from hubd.clock import Clock
from hubd.core.channel import Kind, is_user_id, parse_channel
from hubd.core.connection import ConnectionInfo
from hubd.core.errors import Problem
from hubd.core.identity import Identity
from hubd.core.notification import Notification
from hubd.core.presence import State
from hubd.core.users import UserSet
from hubd.explaining import Explaining
from hubd.faults import PluginError
from hubd.hooks.calls import Hooks
from hubd.hooks.switching import Plugin
from hubd.hub import Hub
from hubd.log_events import Value, log_plugin
from hubd.memory import Receipt
from hubd.tasks import Tasks

DEPTH = 4
"""How many publish calls may be within one another, each made by a hook on the way of the one before."""
_DEPTH: ContextVar[int] = ContextVar("hubd_publish_depth", default=0)
RELEASE_SLICE = 200
"""How many users something is released to before the loop gets its turn."""


class PluginLog:
    """The hub's log, for one plugin. ``text`` is a fixed sentence; what differs are the fields: no secrets, no bodies.

    ``exc`` adds a traceback.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, text: str, **fields: Value) -> None:
        """For whoever looks closely."""
        log_plugin(logging.DEBUG, self._name, text, None, fields)

    def info(self, text: str, **fields: Value) -> None:
        """Worth knowing."""
        log_plugin(logging.INFO, self._name, text, None, fields)

    def warning(self, text: str, exc: BaseException | None = None, **fields: Value) -> None:
        """Somebody should look at it."""
        log_plugin(logging.WARNING, self._name, text, exc, fields)

    def error(self, text: str, exc: BaseException | None = None, **fields: Value) -> None:
        """Something is broken."""
        log_plugin(logging.ERROR, self._name, text, exc, fields)


class PluginHub:
    """The hub as one plugin sees it, from ``hubd_startup`` on.

    ``clock`` has ``now()`` (Unix seconds) and ``monotonic()``; ``random`` is a source of randomness. Tests turn the one
    and fix the other, so use these. ``log`` is the hub's log.
    """

    def __init__(
        self,
        plugin: Plugin,
        hub: Hub,
        hooks: Hooks,
        random: Random,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self.name = plugin.name
        self.clock: Clock = hub.clock
        self.random = random
        self.log = PluginLog(plugin.name)
        self._plugin = plugin
        self._hub = hub
        self._hooks = hooks
        self._sleep = sleep
        self._held: dict[str, int] = {}
        self._all_started = hub.hooks.all_started
        self._tasks = Tasks(on_failure=self._task_failed)

    async def _started(self) -> None:
        if not self._all_started.is_set():
            if self._hub.hooks.starter is asyncio.current_task():
                raise PluginError("nothing can be published in hubd_startup: start a task that does (hub.start)")
            await self._all_started.wait()

    # Publishing

    async def publish(self, to: str | Sequence[str], notification: Mapping[str, Any], **fields: Any) -> Receipt:
        """Publish, as a server does by ``POST /api/notifications``; ``fields`` are the other ones of that call.

        ``Problem`` when it can't be. Its own gates are asked about it too. While the hub starts it waits until all
        plugins are there, so in ``hubd_startup`` itself it can't be used: start a task.
        """
        await self._started()
        depth = _DEPTH.get()
        if depth >= DEPTH:
            raise PluginError(f"{DEPTH} publish calls within one another: hooks on its way publish again")
        reset = _DEPTH.set(depth + 1)
        try:
            return await self._publish(to, notification, fields)
        finally:
            _DEPTH.reset(reset)

    async def _publish(
        self, to: str | Sequence[str], notification: Mapping[str, Any], fields: dict[str, Any]
    ) -> Receipt:
        body = {"to": to if isinstance(to, str) else list(to), "notification": dict(notification), **fields}
        receipt, _ = await self._hub.publish(self._hub.prepare(body), f"plugin:{self.name}")
        return receipt

    def find(self, id: str) -> Notification | None:
        """A notification that is still kept in a ring; None: there is none."""
        return self._hub.rings.find(id, self.clock.monotonic())

    def retract(self, notification: Notification) -> None:
        """Take it back: out of the rings, and off the screens of those who have it."""
        self._hub.retract(notification)

    async def release(self, notification: Notification, users: UserSet) -> None:
        """Bring what a gate held or kept for a digest to these users now, each by his own channel, under its id.

        No gate is asked any more, and its ttl has stood still meanwhile.
        """
        await self._started()
        names = [name for number in users if (name := self._hub.numbers.id_of(number)) is not None]
        for start in range(0, len(names), RELEASE_SLICE):
            await self._hub.publishing.release(notification, names[start : start + RELEASE_SLICE])
            await asyncio.sleep(0)

    def held(self, reason: str) -> list[tuple[Notification, UserSet]]:
        """What gates hold for this reason (of what is kept for a digest it is "digest"), and for whom, oldest first.

        With a store it outlives a restart: a plugin that holds asks in ``hubd_startup`` what is to be released.
        """
        records = self._hub.delivering.delivery.open.by_key.values()
        return [
            (record.notification, users)
            for record in records
            if record.has_held and record.notification is not None and (users := record.held.get(reason))
        ]

    def recipients(self, notification: Notification) -> UserSet:
        """Everybody whom a notification was meant for when it was published, without those whom gates kept it from.

        Of a broadcast that is everybody who is connected now.
        """
        channels = [parse_channel(name) for name in notification.channels]
        alone = [channel for channel in channels if channel.kind is not Kind.TOPIC]
        found = self._hub.publishing.gates.meant(alone)
        for _, users in notification.audience:
            found = found | users
        return found if (kept_from := notification.kept_from) is None else found - kept_from

    async def explain(self, id: str, user: str) -> dict[str, Any] | None:
        """What became of a notification for a user, as ``GET /api/notifications/{id}/explain`` answers it.

        None: nothing is known of it. ``Problem`` when the store would know, and can't be asked.
        """
        try:
            return await Explaining(self._hub).of_user(id, user, lambda channel: True)
        except Problem as problem:
            if problem.code == "not_found":
                return None
            raise

    # Users

    def number_of(self, user: str) -> int:
        """A user's number, with which he stands in every ``UserSet``. It is his until the hub stops, not longer.

        ``ValueError`` when it can't be a user's id.
        """
        number = self._held.get(user)
        if number is None:
            if not is_user_id(user):
                raise ValueError("a user id is 1 to 64 of A-Z a-z 0-9 _ . @ | + = -")
            number = self._held[user] = self._hub.numbers.hold(user)
        return number

    def user_of(self, number: int) -> str | None:
        """The user behind a number; None when nobody has it any more."""
        return self._hub.numbers.id_of(number)

    def users(self, ids: Iterable[str]) -> UserSet:
        """A set of these users."""
        return UserSet(self.number_of(user) for user in ids)

    def forget(self, user: str) -> None:
        """This plugin has no more sets with this user in them: his number needn't be kept for it."""
        number = self._held.pop(user, None)
        if number is not None:
            self._hub.numbers.release(number)

    def present(self) -> UserSet:
        """Everybody who has a connection now; not to be changed."""
        return self._hub.registry.present.snapshot()

    def presence(self, user: str) -> State:
        """Where a user is: attentive, connected, wavering or away."""
        return self._hub.presence.state(self._hub.registry.users.get(user), self.clock.monotonic())

    def subscribers(self, topic: str) -> UserSet:
        """Everybody who is subscribed to a topic, by a connection or for good; ``Problem`` when it is no channel."""
        channel = parse_channel(topic)
        if channel.kind is not Kind.TOPIC:
            raise Problem("invalid", f"{topic!r} is no topic")
        return self._hub.publishing.gates.meant([channel])

    def connections(self, user: str) -> list[ConnectionInfo]:
        """A user's connections, the oldest first."""
        return [connection.info for connection in self._hub.registry.connections_of(user)]

    def disconnect(self, user: str) -> int:
        """End all connections of a user, who is told not to come back by himself; gives how many there were."""
        return self._hub.revoke(user)

    async def subscribe(self, user: str, topics: Sequence[str], identity: Identity | None = None) -> None:
        """Subscribe a user to topics for good: as the server does, or with what his ``identity`` allows him."""
        await self._hub.make_durable(user, [parse_channel(topic).name for topic in topics], identity)

    async def unsubscribe(self, user: str, topics: Sequence[str]) -> None:
        """End durable subscriptions."""
        await self._hub.end_durable(user, [parse_channel(topic).name for topic in topics])

    # Work beside the hooks

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``work`` as a task of this plugin: when it fails that is a fault, and it ends with the hub at the latest.

        Start tasks by this alone: nobody waits for others, and the hub cancels them when it stops.
        """
        task = self._tasks.start(_owned(work), f"{self.name}: {name}")
        task.add_done_callback(lambda ended: work.close())  # one that was cancelled before it began
        return task

    async def sleep(self, seconds: float) -> None:
        """Wait. In tests, the clock that is turned by hand decides for how long."""
        await self._sleep(seconds)

    def _task_failed(self, name: str, error: BaseException) -> None:
        self._hooks.fault(self._plugin, f"task {name}", "task", error)


def tasks_of(handle: PluginHub) -> list[asyncio.Task[Any]]:
    """What a plugin started by its handle and what hasn't ended; not for plugins, which end their own by themselves."""
    return handle._tasks.running


async def _owned(work: Coroutine[Any, Any, Any]) -> Any:
    """Keep to the task what asyncio would let through to end the whole hub."""
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"a task raised {type(error).__name__}") from error
