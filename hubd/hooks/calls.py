"""Calling hooks: in the order of the config, each plugin by itself, counted, and none in the way of another."""

import asyncio
import inspect
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from itertools import islice
from types import CoroutineType
from typing import Any

from hubd.clock import Clock, timer
from hubd.core.errors import Problem
from hubd.hooks.driving import TooLong, drive
from hubd.hooks.table import HOOKS, Fails, Rule
from hubd.log_events import log_event

FAULTS = 5
FAULTS_S = 60.0
"""A plugin with so many faults within so many seconds is switched off."""
RETRY_S = 5.0

log = logging.getLogger("hubd.plugins")


class BadAnswer(Exception):
    """A plugin answered what the hook doesn't know. The message is the hub's own, and says what is expected."""


class Plugin:
    """One plugin as those see it who call it. ``faults`` counts by what went wrong; ``is_on`` until it is too many."""

    def __init__(self, name: str, instance: object) -> None:
        self.name = name
        self.instance = instance
        self.is_on = True
        self.faults: Counter[str] = Counter()
        self.recent: deque[float] = deque(maxlen=FAULTS)  # when (monotonic seconds)


class Impl:
    """One plugin's implementation of one hook. ``call`` takes all of the hook's arguments, by position.

    ``calls`` and ``seconds`` say how often it was called, and how long that took in all, waiting included.
    ``may_wait``: it is a coroutine function.
    """

    __slots__ = ("call", "calls", "may_wait", "plugin", "seconds")

    def __init__(self, plugin: Plugin, call: Callable[..., Any], may_wait: bool) -> None:
        self.plugin = plugin
        self.call = call
        self.may_wait = may_wait
        self.calls = 0
        self.seconds = 0.0


class Hook:
    """One hook with its implementations, in the order of the config; an empty one costs whoever looks at it nothing."""

    __slots__ = ("_fault", "all", "impls", "name", "rule")

    def __init__(self, name: str, rule: Rule, fault: Callable[[Plugin, str, str, BaseException | None], None]) -> None:
        self.name = name
        self.rule = rule
        self._fault = fault
        self.all: list[Impl] = []
        self.impls: tuple[Impl, ...] = ()

    def arrange(self) -> None:
        """Go by which plugins are on now. In a hook that fails closed one that is off stays, and refuses."""
        closed = self.rule.fails is Fails.CLOSED
        self.impls = tuple(impl for impl in self.all if impl.plugin.is_on or closed)

    async def ask(self, impl: Impl, *args: Any) -> Any:
        """What one plugin answers; None also when it failed. A ``Problem`` is its answer, or that it failed closed."""
        if not impl.plugin.is_on:  # maybe since a moment ago: whoever asks goes through those that were on then
            if self.rule.fails is Fails.CLOSED:
                raise self._refusal(impl.plugin)
            return None
        begun = timer()
        try:
            answer = impl.call(*args)
            if answer is None or (type(answer) is not CoroutineType and not inspect.isawaitable(answer)):
                return answer
            coroutine = answer if type(answer) is CoroutineType else _awaited(answer)
            try:
                waits_for = coroutine.send(None)
            except StopIteration as done:
                return done.value
            return await drive(coroutine, waits_for, self.rule.timeout_s)
        except Problem:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self.failed(impl, error)  # nobody cancelled this: it is the plugin's own
        except GeneratorExit:
            raise
        except BaseException as error:  # also what would end the hub: to stop it is no plugin's business
            self.failed(impl, error)
        finally:
            impl.calls += 1
            impl.seconds += timer() - begun

    def ask_now(self, impl: Impl, *args: Any) -> Any:
        """The same for a hook that can't wait for anything."""
        begun = timer()
        try:
            answer = impl.call(*args)
            if answer is not None and inspect.isawaitable(answer):
                _discard(answer)
                raise BadAnswer(f"hubd_{self.name} gave something to be awaited, but wasn't declared with `async def`")
            return answer
        except Problem:
            raise
        except BaseException as error:
            self.failed(impl, error)
        finally:
            impl.calls += 1
            impl.seconds += timer() - begun

    def failed(self, impl: Impl, error: BaseException) -> None:
        """A plugin failed, or what it answered is no good; a ``Problem`` where the hook fails closed."""
        kind = "too_long" if isinstance(error, TooLong) else "bad_answer" if isinstance(error, BadAnswer) else "raised"
        self._fault(impl.plugin, self.name, kind, error)
        if self.rule.fails is Fails.CLOSED:
            raise self._refusal(impl.plugin) from None

    def _refusal(self, plugin: Plugin) -> Problem:
        why = "failed" if plugin.is_on else "is switched off"
        return Problem("unavailable", f"the plugin '{plugin.name}' {why}; try again later", retry_after=RETRY_S)


async def _awaited(answer: Any) -> Any:
    return await answer


def _discard(answer: Any) -> None:
    """Let go of what should have been awaited, without a warning."""
    if isinstance(answer, CoroutineType):
        answer.close()


class Hooks:
    """All hooks, each as an attribute, and the plugins behind them: their faults, and who is switched off."""

    def __init__(self, clock: Clock, timeout_s: float | None = None) -> None:
        self.clock = clock
        self.plugins: dict[str, Plugin] = {}
        self.each = {name: Hook(name, _bounded(rule, timeout_s), self.fault) for name, rule in HOOKS.items()}
        self.on_fault: list[Callable[[Plugin, str, str, BaseException | None], None]] = []
        self.on_switched: list[Callable[[Plugin], None]] = []
        self.prepare_notification = self.each["prepare_notification"]
        self.resolve_audience = self.each["resolve_audience"]
        self.filter_recipients = self.each["filter_recipients"]
        self.store_notification = self.each["store_notification"]
        self.authenticate = self.each["authenticate"]
        self.authorize_subscribe = self.each["authorize_subscribe"]
        self.authorize_publish = self.each["authorize_publish"]
        self.check_health = self.each["check_health"]

    def add(self, plugin: Plugin, impls: Iterable[tuple[str, Callable[..., Any], bool]]) -> None:
        """Have a plugin called from now on, after those that are here.

        ``impls``: each hook, what takes all of its arguments, and whether that is a coroutine function.
        """
        self.plugins[plugin.name] = plugin
        for name, call, may_wait in impls:
            self.each[name].all.append(Impl(plugin, call, may_wait))
        self._arrange()

    async def denied(self, hook: Hook, *args: Any) -> list[str]:
        """What those on a hook that authorizes object to: names among those that they were asked about.

        They are asked about the argument that is a tuple of names.
        """
        names = frozenset(next(one for one in args if type(one) is tuple))
        denied: dict[str, None] = {}
        for impl in hook.impls:
            answer = await hook.ask(impl, *args)
            if answer is None:
                continue
            try:
                objections = [] if isinstance(answer, str) else list(islice(answer, len(names) + 1))
                if isinstance(answer, str) or not all(name in names for name in objections):
                    raise TypeError
            except Exception:
                expected = f"hubd_{hook.name} answers None, or a list of those of the channels that are denied"
                hook.failed(impl, BadAnswer(expected))
            else:
                denied.update(dict.fromkeys(objections))
        return list(denied)

    def _arrange(self) -> None:
        for hook in self.each.values():
            hook.arrange()

    def fault(self, plugin: Plugin, where: str, kind: str, error: BaseException | None = None) -> None:
        """A plugin did something wrong: log it, count it, and switch it off when it is too much.

        ``where`` is the hook, or what else of it was running.
        """
        plugin.faults[kind] += 1
        why = str(error) if isinstance(error, BadAnswer) else ""
        trace = None if isinstance(error, BadAnswer | TooLong) else error
        log_event(log, "plugin_fault", trace, plugin=plugin.name, where=where, kind=kind, why=why)
        for told in self.on_fault:
            told(plugin, where, kind, error)
        now = self.clock.monotonic()
        plugin.recent.append(now)
        if plugin.is_on and len(plugin.recent) == FAULTS and now - plugin.recent[0] <= FAULTS_S:
            plugin.is_on = False
            log_event(log, "plugin_switched_off", plugin=plugin.name, faults=FAULTS, within_s=FAULTS_S)
            self._switched(plugin)

    def switch_on(self) -> None:
        """Give those that are switched off another chance."""
        for plugin in self.plugins.values():
            if not plugin.is_on:
                plugin.is_on = True
                plugin.recent.clear()
                log_event(log, "plugin_switched_on", plugin=plugin.name)
                self._switched(plugin)

    def _switched(self, plugin: Plugin) -> None:
        self._arrange()
        for listener in self.on_switched:
            listener(plugin)


def _bounded(rule: Rule, timeout_s: float | None) -> Rule:
    return rule if timeout_s is None else rule._replace(timeout_s=min(rule.timeout_s, timeout_s))
