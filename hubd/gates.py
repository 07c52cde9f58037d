"""Gates: who of those whom a notification is meant for doesn't get it now, by what plugins say. Once for all."""

from collections.abc import Iterable
from itertools import islice

from hubd.core.channel import Channel, Kind
from hubd.core.errors import Problem
from hubd.core.notification import Notification
from hubd.core.registry import Registry
from hubd.core.subscriptions import DurableSubscriptions
from hubd.core.users import Snapshot, UserNumbers, UserSet, snapshot_of
from hubd.core.verdict import Verdict, Way
from hubd.counts import Counts
from hubd.hooks.calls import BadAnswer, Hook, Impl

VERDICTS = 1000
"""How many verdicts one gate may give about one notification: they are about sets, not about each of them."""
_NOBODY = UserSet()


class Gates:
    """Asks the plugins on ``hubd_filter_recipients``, and notes their verdicts with the notification."""

    def __init__(
        self, hook: Hook, registry: Registry, durables: DurableSubscriptions, numbers: UserNumbers, counts: Counts
    ) -> None:
        self._hook = hook
        self._registry = registry
        self._durables = durables
        self._numbers = numbers
        self._counts = counts

    def meant(self, channels: Iterable[Channel]) -> UserSet:
        """Everybody whom something in these channels is meant for, as far as it is known now. Not to be changed."""
        sets: list[UserSet] = []
        alone = UserSet()
        for channel in channels:
            if channel.kind is Kind.USER:
                alone.add(self._numbers.number_of(channel.user))
            elif channel.kind is Kind.BROADCAST:
                sets.append(self._registry.present.snapshot())
            else:
                topic = self._registry.topics.get(channel.name)
                sets += [] if topic is None else [topic.audience.snapshot()]
                sets += [them] if (them := self._durables.subscribers(channel.name)) else []
        if alone:
            sets.append(alone)
        return _union(sets)

    def judge(self, notification: Notification, channels: Iterable[Channel]) -> None:
        """Have it judged for those for whom it hasn't been yet: all, or who has joined since."""
        if not self._hook.impls or notification.is_release:
            return
        everybody = self.meant(channels)
        judged = notification.judged
        left = everybody if judged is None else everybody - judged
        notification.judged = everybody
        if judged is not None and not left:
            return
        kept_from: list[UserSet] = []
        for impl in self._hook.impls:
            for verdict in self._verdicts(impl, notification, left):
                among = verdict.users & left
                if Way.LIVE in verdict.way and verdict.users:
                    kept_from.append(verdict.users)
                if among:
                    self._counts.withheld[impl.plugin.name, verdict.action.value] += len(among)
                    told = Verdict(verdict.action, among, verdict.reason, verdict.way)
                    notification.verdicts += ((impl.plugin.name, told),)
                if verdict.way == Way.ALL:
                    left = left - among
        if kept_from:
            notification.excluded = _together(notification.excluded, kept_from)

    def _verdicts(self, impl: Impl, notification: Notification, left: UserSet) -> list[Verdict]:
        """What one gate says; nothing of it counts when a part of it is no verdict."""
        try:
            answer = self._hook.ask_now(impl, notification, left)
            if answer is None:
                return []
            verdicts = [answer] if isinstance(answer, Verdict) else list(islice(answer, VERDICTS + 1))
            if len(verdicts) > VERDICTS or not all(isinstance(verdict, Verdict) for verdict in verdicts):
                raise TypeError
        except Problem as problem:
            self._hook.failed(impl, problem)
        except Exception:  # what it answered can be anything, also something that fails when it is looked at
            self._hook.failed(
                impl, BadAnswer(f"hubd_filter_recipients answers None, a Verdict, or a list of {VERDICTS} at most")
            )
        else:
            return verdicts
        return []


def _union(sets: list[UserSet]) -> UserSet:
    if not sets:
        return _NOBODY
    union = sets[0]
    for other in sets[1:]:
        union = union | other
    return union


def _together(before: Snapshot | None, sets: list[UserSet]) -> Snapshot:
    """All of these in one set; a single one that won't change is shared with whoever made it."""
    return snapshot_of(_union([*([] if before is None else [before]), *sets]))
