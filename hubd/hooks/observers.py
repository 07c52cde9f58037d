"""Telling plugins what has happened: afterwards, in order, and so that no plugin delays the hub or another plugin.

What happens is put into a queue for each plugin that wants to know. Those whose hooks are all plain functions are told
in the loop's next turn. The others are told by one task; when one of them really waits for something, that task stays
with it until its queue is empty, and another one takes over the others.
"""

import asyncio
import inspect
import logging
from collections import Counter, deque
from typing import Any

from hubd.clock import Clock, timer
from hubd.core.notification import Notification
from hubd.hooks.calls import SAMPLE, Hook, Hooks, Impl, Waiting
from hubd.hooks.switching import Plugin
from hubd.log_events import log_event
from hubd.tasks import Tasks

QUEUE = 50_000
QUEUE_BYTES = 64 << 20
"""How many events wait for one plugin, and how large the notifications in them may be together (as rings count them).

What comes while it is full is lost to that plugin, and counted.
"""
SLICE, SLICE_NOW = 100, 1000
"""How many events are told before the loop gets its turn: to those who may wait, to those who never do."""
TOLD_AGAIN_S = 60.0
FLUSH_STEP_S = 0.005

log = logging.getLogger("hubd.plugins")
_Event = tuple[Hook, Impl, tuple[Any, ...], int]


class Queue:
    """What one plugin is still to be told. ``lost``: how many events it missed because its queue was full.

    ``waits``: some of what it is called with are coroutine functions, so only a task can call them.
    """

    __slots__ = ("busy", "bytes", "events", "lost", "plugin", "waits", "warned_at")

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.events: deque[_Event] = deque()
        self.bytes = 0
        self.busy = False
        self.waits = False
        self.lost = 0
        self.warned_at = float("-inf")


class Observer:
    """One observing hook: ``tell`` takes its arguments. Look at ``wanted`` first where those cost something."""

    __slots__ = ("_hook", "_observers", "_to", "wanted")

    def __init__(self, hook: Hook, observers: "Observers") -> None:
        self._hook = hook
        self._observers = observers
        self._to: tuple[tuple[Impl, Queue], ...] = ()
        self.wanted = False

    def tell(self, *args: Any) -> None:
        """It has happened: those who want to know are told soon."""
        size = args[0].size if self._to and isinstance(args[0], Notification) else 0
        for impl, queue in self._to:
            if len(queue.events) >= QUEUE or queue.bytes > QUEUE_BYTES:
                self._observers.lose(queue)
            else:
                queue.events.append((self._hook, impl, args, size))
                queue.bytes += size
        if self._to:
            self._observers.wake()

    def arrange(self, queues: dict[str, Queue]) -> None:
        """Go by which plugins are there and on now."""
        for impl in self._hook.all:
            queue = queues.setdefault(impl.plugin.name, Queue(impl.plugin))
            queue.waits = queue.waits or impl.may_wait
        self._to = tuple((impl, queues[impl.plugin.name]) for impl in self._hook.impls)
        self.wanted = bool(self._to)


class Observers:
    """All observing hooks, each as an attribute, and the queues of the plugins behind them.

    Nothing is told before ``start``.
    """

    def __init__(self, hooks: Hooks, clock: Clock) -> None:
        self._clock = clock
        self._tasks: Tasks | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._for_task = asyncio.Event()
        self.queues: dict[str, Queue] = {}
        self.each = {name: Observer(hook, self) for name, hook in hooks.each.items() if hook.rule.observes}
        self.published = self.each["published"]
        self.filtered = self.each["filtered"]
        self.retracted = self.each["retracted"]
        self.acked = self.each["acked"]
        self.connected = self.each["connected"]
        self.disconnected = self.each["disconnected"]
        self.subscribed = self.each["subscribed"]
        self.unsubscribed = self.each["unsubscribed"]
        self.presence_changed = self.each["presence_changed"]
        self.devices_gone = self.each["devices_gone"]
        hooks.on_switched.append(self._switched)

    def start(self, tasks: Tasks) -> None:
        """Begin to tell; the plugins are all there."""
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self.arrange()
        self._begin_to_run()
        self.wake()

    def _begin_to_run(self) -> None:
        assert self._tasks is not None
        self._tasks.start(self._run(), "plugin observers").add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        """A plugin can end the task that tells it; then another one goes on."""
        assert self._tasks is not None
        if not self._tasks.closed:
            self._for_task.set()
            self._begin_to_run()

    def arrange(self) -> None:
        """Go by which plugins are there and on now."""
        for observer in self.each.values():
            observer.arrange(self.queues)

    def _switched(self, plugin: Plugin) -> None:
        self.arrange()
        if not plugin.is_on and plugin.name in self.queues:
            queue = self.queues[plugin.name]
            queue.lost += len(queue.events)
            queue.events.clear()
            queue.bytes = 0

    def lose(self, queue: Queue) -> None:
        """One more event that a plugin won't be told of."""
        queue.lost += 1
        now = self._clock.monotonic()
        if now - queue.warned_at >= TOLD_AGAIN_S:
            queue.warned_at = now
            log_event(log, "plugin_events_lost", plugin=queue.plugin.name, lost=queue.lost, waiting=QUEUE)

    def wake(self) -> None:
        """Something is to be told."""
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._tell_those_who_never_wait)

    def _tell_those_who_never_wait(self) -> None:
        """Most plugins only note what they are told: that takes no task. The others are left to theirs."""
        self._scheduled = False
        for queue in self.queues.values():
            if queue.waits:
                if queue.events and not queue.busy:
                    self._for_task.set()
                continue
            self._tell_now(queue)
            if queue.events:
                self.wake()

    def _tell_now(self, queue: Queue) -> None:
        events = queue.events
        for _ in range(min(SLICE_NOW, len(events))):
            if not events:  # it has been switched off meanwhile
                return
            hook, impl, args, size = events.popleft()
            queue.bytes -= size
            impl.calls = calls = impl.calls + 1  # what `Hook.step` does, by the shortest way
            begun = timer() if calls <= SAMPLE or not calls % SAMPLE else 0.0
            try:
                answer = impl.call(*args)
            except BaseException as error:
                hook.raised(impl, error)
                continue
            if begun:
                impl.took(timer() - begun)
            if answer is not None and inspect.isawaitable(answer):
                hook.not_declared(impl, answer)

    async def _run(self) -> None:
        """Tell those who may wait; ends when another task has taken over."""
        me = asyncio.current_task()
        assert me is not None
        shift = _Shift()

        def take_over() -> None:  # the loop has its turn, so this task is waiting for a plugin
            shift.end()
            me.remove_done_callback(self._ran)
            self._for_task.set()
            self._begin_to_run()

        while not shift.is_over():
            await self._for_task.wait()
            self._for_task.clear()
            watch = asyncio.get_running_loop().call_soon(take_over)
            try:
                for queue in list(self.queues.values()):
                    if queue.waits and queue.events and not queue.busy:
                        await self._tell_some(queue, shift)
                    if shift.is_over():  # the other one sees to the rest
                        break
                    if queue.waits and queue.events:
                        self._for_task.set()
            finally:
                watch.cancel()
            await asyncio.sleep(0)

    async def _tell_some(self, queue: Queue, shift: "_Shift") -> None:
        """Tell one plugin some of what waits for it; all of it, when that took a while and another has taken over."""
        me = asyncio.current_task()
        assert me is not None and self._tasks is not None
        queue.busy = True
        told = 0
        try:
            while queue.events and (told < SLICE or shift.is_over()):
                hook, impl, args, size = queue.events.popleft()
                queue.bytes -= size
                if type(answer := hook.step((impl,), 0, *args)[1]) is Waiting:
                    await answer.rest()
                told += 1
                if told % SLICE == 0 and shift.is_over():
                    await asyncio.sleep(0)
                if me.cancelling():
                    await asyncio.sleep(0)  # raises
        except asyncio.CancelledError as error:
            if not self._tasks.closed:  # nobody but the plugin itself did that
                hook.failed(impl, error)
            raise
        finally:
            queue.busy = False

    async def flush(self, timeout_s: float) -> bool:
        """Wait until everybody has been told everything; False when that took too long."""
        for _ in range(int(timeout_s / FLUSH_STEP_S)):
            if self.is_idle:
                break
            await asyncio.sleep(FLUSH_STEP_S)
        return self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether everybody has been told everything."""
        return not any(queue.events or queue.busy for queue in self.queues.values())

    def lost(self) -> Counter[str]:
        """How many events each plugin missed."""
        return Counter({name: queue.lost for name, queue in self.queues.items()})


class _Shift:
    """Whether a task that tells plugins is the one who does so now, or has stayed with a slow one."""

    def __init__(self) -> None:
        self._is_over = False

    def end(self) -> None:
        """Another task goes on."""
        self._is_over = True

    def is_over(self) -> bool:
        """Whether it has stayed behind."""
        return self._is_over
