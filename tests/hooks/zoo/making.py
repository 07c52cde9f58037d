"""Animals of the zoo that are bred: plugins that do one bad thing in one hook."""

import inspect
from collections.abc import Callable
from typing import Any

from hubd.hooks.table import HOOKS
from hubd.plugin import Notification, PluginHub, Verdict, drop, hookimpl

AT_START = ("startup", "register_routes", "register_metrics", "broker", "push_backends")
"""Hooks in which a failure keeps the hub from starting."""
NOT_IN_A_DAY = ("reconfigure", "register_commands", *AT_START)
IN_A_DAY = tuple(name for name in HOOKS if name not in NOT_IN_A_DAY)
"""Hooks that are called while the hub runs, or when it stops."""


def animal(hook: str, act: Callable[[], Any]) -> type[Any]:
    """A plugin that does this in one hook; in a coroutine function, if it is one."""
    if inspect.iscoroutinefunction(act):

        async def method(self: Any) -> Any:
            return await act()
    else:

        def method(self: Any) -> Any:
            return act()

    method.__name__ = f"hubd_{hook}"
    return type("Animal", (), {"__init__": lambda self, config: None, f"hubd_{hook}": hookimpl(method)})


def raiser(error: BaseException | type[BaseException]) -> Callable[[], Any]:
    """Raises it."""

    def act() -> Any:
        raise error

    return act


def late_raiser(error: BaseException | type[BaseException], wait: Callable[[], Any]) -> Callable[[], Any]:
    """Raises it after it has waited."""

    async def act() -> Any:
        await wait()
        raise error

    return act


class Neighbour:
    """A good plugin behind the animal: ``told`` is what it got to know."""

    def __init__(self, config: Any) -> None:
        self.told: list[str] = []

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.bob = hub.users(["bob"])

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification) -> Verdict | None:
        return drop(self.bob, "asleep") if notification.type == "x" else None

    @hookimpl
    def hubd_prepare_notification(self) -> None:
        self.told.append("prepare")

    @hookimpl
    async def hubd_published(self, notification: Notification) -> None:
        self.told.append(f"published {notification.type}")

    @hookimpl
    def hubd_filtered(self) -> None:
        self.told.append("filtered")

    @hookimpl
    def hubd_shutdown(self) -> None:
        self.told.append("shutdown")
