"""Pushing: who has which devices, by which backends they are reached, and who brings notifications there."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from random import Random
from typing import Any

from hubd.clock import CallLater, Clock
from hubd.config import Config
from hubd.core.milestones import PENDING
from hubd.core.record import Record
from hubd.core.registry import Registry
from hubd.core.stored import KeepSecret
from hubd.core.users import UserSet
from hubd.counts import Counts
from hubd.delivering import Delivering
from hubd.hooks.observers import Observers
from hubd.hooks.push import PushBackend
from hubd.ids import Ids
from hubd.memory import Memory
from hubd.publishing import Publishing
from hubd.push.capability import Capabilities
from hubd.push.dispatcher import Dispatcher
from hubd.push.payload import Payloads
from hubd.push.rechecking import is_needed, recheck
from hubd.storing import Store
from hubd.tasks import Tasks

SECRET = "capability"  # noqa: S105 - its name, not the secret
"""The name of the secret that capabilities are signed with."""


class Pushing:
    """The hub's part that brings notifications to devices. Without backends devices are only remembered."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        ids: Ids,
        memory: Memory,
        store: Store | None,
        delivering: Delivering,
        publishing: Publishing,
        observers: Observers,
        counts: Counts,
        registry: Registry,
        run: Callable[[Coroutine[Any, Any, Any], str], Any],
    ) -> None:
        self._config = config
        self._clock = clock
        self._delivering = delivering
        self._registry = registry
        self._run = run
        delivering.on_stranded = self._on_stranded
        self._publishing = publishing
        self._counts = counts
        self._numbers = memory.numbers
        self.devices = memory.devices
        self.devices.on_came = self._on_came
        self.devices.on_changed = self._on_changed
        self.devices.on_gone = observers.devices_gone.tell
        self.capabilities = Capabilities(partial(_secret, memory, ids, store), clock, memory.revoked)
        self.backends: Mapping[str, PushBackend] = {}
        self.dispatcher: Dispatcher | None = None

    def push_by(
        self, backends: Mapping[str, PushBackend], *, random: Random, tasks: Tasks, call_later: CallLater
    ) -> None:
        """Push by these from now on."""
        self.backends = self._publishing.push_backends = backends
        self.dispatcher = Dispatcher(
            self._config,
            clock=self._clock,
            random=random,
            tasks=tasks,
            call_later=call_later,
            devices=self.devices,
            payloads=Payloads(self._clock, self.capabilities, backends),
            backends=backends,
            reports=self._delivering,
            counts=self._counts.push,
        )
        self._delivering.push_by(self.dispatcher)
        if is_needed(self.devices, backends):
            tasks.start(recheck(self.devices, backends), "check devices that came before their plugin")

    def apply(self, config: Config) -> None:
        """Go by this config from now on."""
        self._config = config
        self.devices.apply(config)
        if self.dispatcher is not None:
            self.dispatcher.apply(config)

    async def stop(self, within_s: float) -> None:
        """Begin no more pushes, and wait for those that are under way; before the backends are closed."""
        if self.dispatcher is not None:
            await self.dispatcher.stop(within_s)

    def _on_came(self, number: int) -> None:
        self._delivering.device_came(number)

    def _on_stranded(self, record: Record, users: UserSet) -> None:
        """No device takes it: of a critical one those are brought it who came to the hub while that was tried."""
        notification = record.notification
        if notification is None or not (users := users & record.no_route & record.milestones.at(PENDING)):
            return
        for number in users & self._registry.present.snapshot() - record.live_off:
            if (user := self._numbers.id_of(number)) is not None:
                self._run(self._publishing.bring(notification, user), "bring")

    def _on_changed(self, number: int) -> None:
        if self.dispatcher is not None:
            self.dispatcher.devices_changed(number)


def _secret(memory: Memory, ids: Ids, store: Store | None) -> bytes:
    secret = memory.secrets.get(SECRET)
    if secret is None:
        secret = memory.secrets[SECRET] = ids.secret()
        if store is not None:
            store.note(KeepSecret(SECRET, secret))
    return secret
