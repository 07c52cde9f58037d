"""Plugins on the way of a notification."""

import asyncio
from collections.abc import Callable
from typing import Any

from hubd.core.publish import Draft
from hubd.plugin import PluginConfig, PluginHub, hookimpl
from hubd.testing import RecordingConnection

SEGMENT: Any = {"segment": {"plan": "free"}}


class Made:
    """What the plugins here are derived from; ``seen`` is what they note."""

    def __init__(self, config: PluginConfig) -> None:
        self.seen: list[Any] = []
        self.hub: PluginHub

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub


def plugin(**hooks: Callable[..., Any]) -> type[Made]:
    """A plugin with these hooks."""
    return type("Plugin", (Made,), {f"hubd_{name}": hookimpl(function) for name, function in hooks.items()})


def preparing(answer: Callable[[Draft], Any]) -> type[Made]:
    """A plugin that changes drafts so."""

    def prepare_notification(self: Made, draft: Draft) -> Any:
        self.seen.append(draft)
        return answer(draft)

    return plugin(prepare_notification=prepare_notification)


def preparing_later(answer: Callable[[Draft], Any]) -> type[Made]:
    async def prepare_notification(self: Made, draft: Draft) -> Any:
        await asyncio.sleep(0)
        self.seen.append(draft)
        return answer(draft)

    return plugin(prepare_notification=prepare_notification)


def resolving(answer: Callable[[Made, Any], Any]) -> type[Made]:
    """A plugin that knows who a segment is."""

    def resolve_audience(self: Made, segment: Any) -> Any:
        self.seen.append(segment)
        return answer(self, segment)

    return plugin(resolve_audience=resolve_audience)


def raises(error: BaseException) -> Callable[..., Any]:
    def raising(*args: Any) -> Any:
        raise error

    return raising


def got(connection: RecordingConnection) -> list[dict[str, Any]]:
    """What came, without what is different each time."""
    fields = ("id", "type", "text", "priority")
    return [{name: one[name] for name in fields if name in one} for one in connection.notifications()]
