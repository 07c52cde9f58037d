"""What else is around the hub: a gate that holds things."""

from collections.abc import Callable
from math import inf
from typing import Any

from hubd.core.errors import Problem
from hubd.core.notification import Notification
from hubd.core.users import UserSet
from hubd.core.verdict import Verdict, drop, hold
from hubd.plugin import PluginConfig, PluginHub, hookimpl
from tests.simulation.loop import VirtualLoop
from tests.simulation.observer import Broken, Observer


class Plan:
    """What the gate is to do: from whom everything is held now, from whom it is dropped. It outlives the hub."""

    def __init__(self, loop: VirtualLoop, observer: Observer) -> None:
        self.loop = loop
        self.observer = observer
        self.holding: dict[str, None] = {}
        self.dropping: dict[str, None] = {}
        self.gate: Any = None
        self.late: dict[tuple[str, str], None] = {}
        """What is held only since its user came to read it."""

    def gate_class(self) -> type[Any]:
        """A plugin that does so."""
        return type("SimulatedGate", (Gate,), {"plan": self})

    def take_up(self) -> None:
        """The hub has started again: find what was held then."""
        for (id, _), times in self.observer.held.items():
            if times[1] == inf and (notification := self.gate.hub.find(id)) is not None:
                self.gate.kept[id] = notification

    def release(self, user: str) -> None:
        """What was held for a user goes out."""
        self.holding.pop(user, None)
        if self.gate is not None:
            self.gate.hub.start(self.gate.release(user), "release")


class Gate:
    """A plugin that holds and drops as its plan says."""

    plan: Plan

    def __init__(self, config: PluginConfig) -> None:
        self.hub: PluginHub
        self.kept: dict[str, Notification] = {}

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub
        self.plan.gate = self

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification, recipients: UserSet) -> Any:
        plan, verdicts = self.plan, []
        left = recipients
        for number in recipients:  # it may have been asked before, for a call that failed
            key = notification.id, str(self.hub.user_of(number))
            plan.observer.dropped.pop(key, None)
            if plan.observer.held.get(key, [0.0, 0.0])[1] == inf:
                del plan.observer.held[key]
        for users, verdict in ((plan.holding, hold), (plan.dropping, drop)):
            if among := self.hub.users(tuple(users)) & left:
                left = left - among
                verdicts.append(self._verdict(verdict, among, notification))
        return verdicts

    def _verdict(self, verdict: Callable[..., Verdict], among: UserSet, notification: Notification) -> Verdict:
        observer = self.plan.observer
        for number in among:
            key = notification.id, str(self.hub.user_of(number))
            if verdict is hold:
                self.kept[notification.id] = notification
                if notification.sequence:
                    self.plan.late[key] = None
                observer.held.setdefault(key, [observer.now, inf])
            else:
                observer.dropped.setdefault(key, observer.now)
        return verdict(among, "dnd" if verdict is hold else "muted")

    async def release(self, user: str) -> None:
        plan = self.plan
        observer = plan.observer
        for (id, name), times in list(observer.held.items()):
            if name != user or times[1] != inf:
                continue
            notification = self.kept.get(id)
            publication = observer.publications[id]
            if notification is None:
                is_wanted = publication.ttl == inf and publication.retract_asked_at > observer.now
                if publication.is_durable and publication.is_known and is_wanted and (id, name) not in plan.late:
                    plan.loop.broken.append(Broken(f"quiet: {id}, which was held for {user}, is forgotten"))
                continue
            if not notification.sequence:  # the call failed that it was held for
                continue
            try:
                await self.hub.release(notification, self.hub.users((user,)))
            except Problem:  # it can't be stored at the moment
                plan.holding[user] = None
                plan.loop.call_later(1.0, plan.release, user)
                return
            times[1] = observer.now
            observer.note(f"released {id} to {user}")
