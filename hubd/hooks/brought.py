"""What plugins bring with them: a broker, push backends, metrics. Each is looked at before the hub builds on it."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics

from hubd.broker import Broker, OnPublication, Published
from hubd.core.errors import Problem
from hubd.core.notification import Notification
from hubd.faults import PluginError, described
from hubd.hooks.calls import RETRY_S, BadAnswer, Hooks
from hubd.hooks.push import Limits, PushBackend
from hubd.hooks.switching import Plugin

BROKER_S = 10.0
"""How long a broker may take for one publication."""
BACKENDS = 20
"""How many push backends one plugin may bring."""
_PLATFORM = re.compile("[a-z][a-z0-9_]{0,31}")
_TAKEN = ("hubd_", "process_", "python_")
"""What metrics begin with that aren't plugins'."""


class PluginBroker:
    """A broker that a plugin brings. Its faults are the plugin's; to publishers they are 'unavailable'."""

    def __init__(self, plugin: Plugin, broker: Broker, hooks: Hooks) -> None:
        self._plugin = plugin
        self._broker = broker
        self._hooks = hooks

    def start(self, on_publication: OnPublication, sequence: int = 0) -> None:
        """Hand publications to this function; ``PluginError`` when the broker can't."""
        try:
            self._broker.start(on_publication, sequence)
        except BaseException as error:
            raise PluginError(f"plugin {self._plugin.name}: its broker can't start: {described(error)}") from error

    async def publish(self, notification: Notification) -> Published:
        """Give it its number and hand it on."""
        kind = "raised"
        timeout = asyncio.timeout(BROKER_S)
        try:
            async with timeout:
                published = await self._broker.publish(notification)
            if type(published) is Published:
                return published
            error: BaseException = BadAnswer("a broker's publish answers Published")
            kind = "bad_answer"
        except (Problem, GeneratorExit):
            raise
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = cancelled
        except BaseException as failure:
            error = failure
            kind = "too_long" if timeout.expired() else kind
        self._hooks.fault(self._plugin, "broker", kind, error)
        message = f"the plugin '{self._plugin.name}' failed to publish; try again later"
        raise Problem("unavailable", message, retry_after=RETRY_S)


def checked_broker(plugin: Plugin, broker: Any, hooks: Hooks) -> Broker:
    """What a plugin answered in ``hubd_broker``, if it is a broker."""
    try:
        is_broker = callable(getattr(broker, "start", None)) and callable(getattr(broker, "publish", None))
    except BaseException:  # it can be anything, also something that fails when it is looked at
        is_broker = False
    if not is_broker:
        raise BadAnswer("hubd_broker answers None or a Broker, with `start` and `publish`")
    return PluginBroker(plugin, broker, hooks)


def checked_backends(answer: Any) -> Iterator[PushBackend]:
    """What a plugin answered in ``hubd_push_backends``, if it is a list of them."""
    if answer is None:
        return
    try:
        found = list(islice(answer, BACKENDS + 1))
        good = len(found) <= BACKENDS and all(map(_is_backend, found))
    except BaseException:
        good = False
    if not good:
        raise BadAnswer(
            "hubd_push_backends answers None or a list of PushBackend, each with `platform` (a word), `limits`,"
            " `check`, `check_overrides`, `destination` and `send`"
        )
    yield from found


def _is_backend(one: Any) -> bool:
    calls = (one.check, one.check_overrides, one.destination, one.send)
    is_word = isinstance(one.platform, str) and _PLATFORM.fullmatch(one.platform) is not None
    return is_word and isinstance(one.limits, Limits) and all(map(callable, calls))


def metrics_of(plugin: str, registry: CollectorRegistry, taken: set[str]) -> list[Family]:
    """What a plugin shows now, fit to be written; its names are put to those that are ``taken``.

    ``BadAnswer`` for a name that isn't its own or that is taken. Raises whatever the plugin raises, too.
    """
    families = list(registry.collect())
    prefix = f"{plugin.replace('-', '_')}_"
    names: set[str] = set()
    for family in families:
        own = {family.name, *(sample.name for sample in family.samples)}
        if wrong := sorted(name for name in own if not name.startswith(prefix) or name.startswith(_TAKEN)):
            raise BadAnswer(f"its metrics have to be called {prefix}...: {wrong[0][:100]!r} isn't")
        if twice := sorted(own & (names | taken)):
            raise BadAnswer(f"there is a metric {twice[0][:100]!r} already")
        names |= own
    # What can't be written is found here, and not in the midst of the others; this form is the stricter one.
    openmetrics.generate_latest(_Only(families))  # type: ignore[no-untyped-call]  # it has no types
    taken |= names
    return families


class _Only(CollectorRegistry):
    """A registry of families that were collected already."""

    def __init__(self, families: Iterable[Family]) -> None:
        super().__init__(auto_describe=False)
        self._families = families

    def collect(self) -> Iterator[Family]:
        """Those."""
        yield from self._families
