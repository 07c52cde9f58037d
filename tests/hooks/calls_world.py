"""Hooks without a hub, and plugins that are functions."""

import inspect
from collections.abc import Callable
from typing import Any

from hubd.hooks.calls import Hook, Hooks
from hubd.hooks.switching import Plugin
from hubd.testing import FakeClock

OPEN, CLOSED, SYNC = "prepare_notification", "authorize_publish", "filter_recipients"


class World:
    """Hooks, and what plugins do in them."""

    def __init__(self, timeout_s: float | None = 0.05) -> None:
        self.clock = FakeClock()
        self.hooks = Hooks(self.clock, timeout_s)
        self.faults: list[tuple[str, str, str]] = []
        self.hooks.on_fault.append(lambda plugin, where, kind, error: self.faults.append((plugin.name, where, kind)))

    def hook(self, name: str) -> Hook:
        return self.hooks.each[name]

    def add(self, plugin: str, **impls: Callable[..., Any]) -> Plugin:
        known = Plugin(plugin, None)
        found = [(hook, call, inspect.iscoroutinefunction(call)) for hook, call in impls.items()]
        self.hooks.add(known, found)
        return known

    async def ask(self, name: str, *args: Any) -> Any:
        """What the first one on a hook answers."""
        hook = self.hook(name)
        return await hook.ask(hook.impls[0], *args)

    def fail(self, plugin: Plugin, times: int = 1) -> None:
        for _ in range(times):
            self.hooks.fault(plugin, "somewhere", "raised", ValueError())


def is_on(plugin: Plugin) -> bool:
    return plugin.is_on


def always(answer: Any) -> Callable[..., Any]:
    return lambda *args: answer


def raising(error: BaseException) -> Callable[..., Any]:
    def raises(*args: Any) -> Any:
        raise error

    return raises
