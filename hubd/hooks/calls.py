"""Calling hooks: in the order of the config, each plugin by itself, counted, and none in the way of another."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from types import CoroutineType
from typing import Any

from hubd.clock import Clock, timer
from hubd.core.errors import Problem
from hubd.hooks.driving import TooLong, drive
from hubd.hooks.switching import Plugin, Switching
from hubd.hooks.table import HOOKS, Fails, Rule
from hubd.log_events import log_event

RETRY_S = 5.0
SAMPLE = 16
"""How long calls take is measured at each of the first ones, then at every so manieth, which counts for all."""

log = logging.getLogger("hubd.plugins")


class BadAnswer(Exception):
    """A plugin answered what the hook doesn't know. The message is the hub's own, and says what is expected."""


class Failed(Problem):
    """A plugin failed where that refuses: it isn't what the plugin has decided."""


class Impl:
    """One plugin's implementation of one hook. ``call`` takes all of the hook's arguments, by position.

    ``calls`` says how often it was called, ``seconds`` how long that took in all, waiting included. Of calls that don't
    wait that is an estimate (``SAMPLE``): to look at the clock costs as much as to call.
    ``may_wait``: it is a coroutine function.
    """

    __slots__ = ("call", "calls", "may_wait", "plugin", "seconds")

    def __init__(self, plugin: Plugin, call: Callable[..., Any], may_wait: bool) -> None:
        self.plugin = plugin
        self.call = call
        self.may_wait = may_wait
        self.calls = 0
        self.seconds = 0.0

    def took(self, seconds: float) -> None:
        """How long the last call took, which was one that is measured."""
        self.seconds += seconds if self.calls <= SAMPLE else SAMPLE * seconds


class Hook:
    """One hook with its implementations, in the order of the config; an empty one costs whoever looks at it nothing."""

    __slots__ = ("_fault", "all", "at", "impls", "name", "rule")

    def __init__(self, name: str, rule: Rule, fault: Callable[..., None]) -> None:
        self.name = name
        self.rule = rule
        self._fault = fault
        self.all: list[Impl] = []
        self.impls: tuple[Impl, ...] = ()
        self.at = 0
        """Where ``step`` raised, as long as nothing else is done."""

    def arrange(self) -> None:
        """Go by which plugins are on now. A hook that fails closed is asked all the same: without it all is refused."""
        self.impls = tuple(impl for impl in self.all if impl.plugin.is_on or self.rule.fails is Fails.CLOSED)

    def end(self) -> None:
        """The plugins have shut down: they aren't asked any more, and what they would have to allow is refused."""
        closed = self.rule.fails is Fails.CLOSED
        self.impls = tuple(Impl(impl.plugin, self._refuse_all(impl), False) for impl in self.all if closed)

    def _refuse_all(self, impl: Impl) -> Callable[..., None]:
        def refuse(*args: Any) -> None:
            raise Failed("unavailable", f"the plugin '{impl.plugin.name}' has shut down", retry_after=RETRY_S)

        return refuse

    def step(self, impls: tuple[Impl, ...], place: int, *args: Any) -> tuple[int, Any]:
        """Ask one plugin after the other, from a place on, until one answers: its place and answer; None: none did.

        The answer may be ``Waiting``: then ``await answer.rest()``. A ``Problem`` is an answer too, or says that a
        plugin failed where that refuses. Whatever asks all of them goes on from the next place.
        """
        careful = impls is not self.impls and self.rule.fails is not Fails.CLOSED  # some may be off since a moment ago
        for at in range(place, len(impls)):
            impl = impls[at]
            if careful and not impl.plugin.is_on:
                continue
            impl.calls = calls = impl.calls + 1
            begun = timer() if calls <= SAMPLE or not calls % SAMPLE else 0.0
            try:
                answer = impl.call(*args)
                if answer is not None and (type(answer) is CoroutineType or inspect.isawaitable(answer)):
                    coroutine = answer if type(answer) is CoroutineType else _awaited(answer)
                    try:
                        return at, Waiting(self, impl, coroutine, coroutine.send(None))
                    except StopIteration as done:
                        answer = done.value
            except BaseException as error:
                self.at = at
                self.raised(impl, error)
                answer = None
            if begun:
                impl.took(timer() - begun)
            if answer is not None:
                return at, answer
        return len(impls), None

    async def ask(self, impl: Impl, *args: Any) -> Any:
        """What one plugin answers; None also when it failed. A ``Problem`` is its answer, or that it failed closed."""
        _, answer = self.step((impl,), 0, *args)
        return await answer.rest() if type(answer) is Waiting else answer

    def ask_now(self, impl: Impl, *args: Any) -> Any:
        """The same for a hook that can't wait for anything."""
        _, answer = self.step((impl,), 0, *args)
        if type(answer) is Waiting:
            self.not_declared(impl, answer)
            return None
        return answer

    def not_declared(self, impl: Impl, answer: Any) -> None:
        """A plain function gave something to be awaited where nothing can be."""
        if isinstance(answer, Waiting | CoroutineType):
            with suppress(BaseException):  # it may ignore that it is told to end
                answer.close()
        what = f"hubd_{self.name} gave something to be awaited, but wasn't declared with `async def`"
        self.failed(impl, BadAnswer(what))

    def raised(self, impl: Impl, error: BaseException) -> None:
        """A plugin raised: to refuse, because the hub cancelled it, or by a fault."""
        if isinstance(error, Problem) and self.rule.may_refuse:
            raise error
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise error
        self.failed(impl, error)  # also what would end the hub: that is no plugin's business

    def failed(self, impl: Impl, error: BaseException) -> None:
        """A plugin failed, or what it answered is no good; a ``Problem`` where the hook fails closed."""
        kind = "too_long" if isinstance(error, TooLong) else "bad_answer" if isinstance(error, BadAnswer) else "raised"
        self._fault(impl.plugin, self.name, kind, error, provoked=self.rule.is_provoked)
        if self.rule.fails is Fails.CLOSED:
            raise self._refusal(impl.plugin) from None

    def _refusal(self, plugin: Plugin) -> Failed:
        return Failed("unavailable", f"the plugin '{plugin.name}' failed; try again later", retry_after=RETRY_S)


class Waiting:
    """A plugin that hasn't answered yet: it waits for something."""

    __slots__ = ("_coroutine", "_hook", "_impl", "_waits_for")

    def __init__(self, hook: Hook, impl: Impl, coroutine: Any, waits_for: Any) -> None:
        self._hook = hook
        self._impl = impl
        self._coroutine = coroutine
        self._waits_for = waits_for

    async def rest(self) -> Any:
        """What it answers in the end; None also when it failed, or took too long."""
        begun = timer()
        try:
            return await drive(self._coroutine, self._waits_for, self._hook.rule.timeout_s)
        except GeneratorExit:  # whoever waits for it is being closed
            raise
        except BaseException as error:
            self._hook.raised(self._impl, error)
        finally:
            self._impl.seconds += timer() - begun

    def close(self) -> None:
        """Nobody will wait for it. It may raise anything, as a plugin's coroutine ends by this."""
        self._coroutine.close()


async def _awaited(answer: Any) -> Any:
    return await answer


class Hooks:
    """All hooks, each as an attribute, and the plugins behind them: their faults, and who is switched off."""

    def __init__(self, clock: Clock, timeout_s: float | None = None) -> None:
        self.clock = clock
        self.switching = Switching(clock, self._switched)
        self.plugins = self.switching.plugins
        self.each = {name: Hook(name, _bounded(rule, timeout_s), self.fault) for name, rule in HOOKS.items()}
        self.all_started = asyncio.Event()
        """Set as soon as every plugin has been started."""
        self.starter: asyncio.Task[Any] | None = None
        """The task that starts them."""
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

    async def denied(self, hook: Hook, asked: tuple[int, Any] | None, names: tuple[str, ...], *args: Any) -> list[str]:
        """What those on a hook that authorizes object to: names among those that they are asked about by ``args``.

        ``asked``: the first who had something to say, and that, where they were asked already (``step``).
        """
        denied: dict[str, None] = {}
        impls = hook.impls
        place, answer = hook.step(impls, 0, *args) if asked is None else asked
        while answer is not None:
            if type(answer) is Waiting:
                answer = await answer.rest()
            if answer is not None:
                denied.update(self._objections(hook, impls[place], answer, names))
            place, answer = hook.step(impls, place + 1, *args)
        return list(denied)

    def _objections(self, hook: Hook, impl: Impl, answer: Any, names: tuple[str, ...]) -> dict[str, None]:
        asked = frozenset(names)
        try:
            objections = [] if isinstance(answer, str) else list(islice(answer, len(names) + 1))
            if isinstance(answer, str) or len(objections) > len(names):  # what isn't read might be one more
                raise TypeError
            if not all(name in asked for name in objections):
                raise TypeError
        except BaseException:  # it can be anything
            expected = f"hubd_{hook.name} answers None, or a list of those of the channels that are denied"
            hook.failed(impl, BadAnswer(expected))
            return {}
        return dict.fromkeys(objections)

    def _arrange(self) -> None:
        for hook in self.each.values():
            hook.arrange()

    def fault(
        self, plugin: Plugin, where: str, kind: str, error: BaseException | None = None, *, provoked: bool = False
    ) -> None:
        """A plugin did something wrong: log it, count it, and switch it off when it is too much.

        ``where`` is the hook, or what else of it was running. What strangers can have ``provoked`` as often as they
        like is no reason to switch it off.
        """
        plugin.faults[kind] += 1
        why = str(error) if isinstance(error, BadAnswer) else ""
        trace = None if isinstance(error, BadAnswer | TooLong) else error
        refused = where in HOOKS and HOOKS[where].fails is Fails.CLOSED
        log_event(log, "plugin_fault", trace, plugin=plugin.name, where=where, kind=kind, why=why, refused=refused)
        for told in self.on_fault:
            told(plugin, where, kind, error)
        if not provoked:
            self.switching.count(plugin, kind)

    def end(self) -> None:
        """The plugins have shut down: none is called any more, and where one would have to allow something it can't."""
        self.all_started.clear()
        self.switching.end()
        for hook in self.each.values():
            hook.end()

    def _switched(self, plugin: Plugin) -> None:
        self._arrange()
        for listener in self.on_switched:
            listener(plugin)


def _bounded(rule: Rule, timeout_s: float | None) -> Rule:
    return rule if timeout_s is None else rule._replace(timeout_s=min(rule.timeout_s, timeout_s))
