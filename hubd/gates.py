"""Gates: who of those whom a notification is meant for doesn't get it now, by what plugins say. Once for all."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from hubd.core.channel import Channel, Kind
from hubd.core.notification import Notification
from hubd.core.registry import Registry
from hubd.core.subscriptions import DurableSubscriptions
from hubd.core.users import Snapshot, UserNumbers, UserSet, snapshot_of, union_of
from hubd.core.verdict import Verdict, Way
from hubd.counts import Counts
from hubd.hooks.calls import BadAnswer, Hook, Impl, Waiting

VERDICTS = 1000
"""How many verdicts one gate may give about one notification: they are about sets, not about each of them."""
UNIONS = 64


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
        self._unions: dict[tuple[int, int], tuple[UserSet, UserSet, Snapshot]] = {}
        self._judged: tuple[Notification | None, int, int] = (None, 0, 0)  # the last one, and when that was

    def meant(self, channels: Iterable[Channel]) -> UserSet:
        """Everybody whom something in these channels is meant for, as far as it is known now. Not to be changed."""
        sets: list[UserSet] = []
        alone: list[int] = []
        for channel in channels:
            if channel.kind is Kind.USER:
                alone.append(self._numbers.number_of(channel.user))
            elif channel.kind is Kind.BROADCAST:
                sets.append(self._registry.present.snapshot())
            else:
                if (topic := self._registry.topics.get(channel.name)) is not None:
                    sets.append(topic.audience.snapshot())
                if them := self._durables.subscribers(channel.name):
                    sets.append(them)
        if alone:
            sets.append(UserSet(alone))
        return self._together(sets)

    def _together(self, sets: list[UserSet]) -> UserSet:
        """All of them in one set. That of two that won't change is kept: a topic's live and durable subscribers."""
        if len(sets) != 2 or not all(isinstance(users, Snapshot) for users in sets):
            return union_of(sets)
        key = id(sets[0]), id(sets[1])
        known = self._unions.pop(key, None)
        if known is None:
            known = sets[0], sets[1], Snapshot(union_of(sets))  # with its parts, so that nothing else gets their id()
            if len(self._unions) == UNIONS:
                del self._unions[next(iter(self._unions))]
        self._unions[key] = known
        return known[2]

    def judge(self, notification: Notification, channels: Sequence[Channel]) -> None:
        """Have it judged for those for whom it hasn't been yet: all, or who has joined since."""
        if not self._hook.impls or notification.is_release:
            return
        now = notification, self._registry.changes, self._durables.changes
        if now == self._judged:  # nothing has happened since it was judged
            return
        everybody, judged = self.meant(channels), notification.judged
        self._judged = now
        notification.judged = everybody
        left = everybody if judged is None else everybody - judged
        if judged is not None and not left:
            return
        if kept_from := self._ask(notification, left):
            notification.excluded = _together(notification.excluded, kept_from)

    def keep_judged(self, notification: Notification, channels: Sequence[Channel]) -> None:
        """Remember whom it was judged for, as far as others may come and read it later."""
        if notification.judged is not None:
            is_private = channels[0].kind is Kind.USER if len(channels) == 1 else _are_private(channels)
            notification.judged = None if is_private else snapshot_of(notification.judged)

    def judge_late(self, notification: Notification, number: int) -> int:
        """Have it judged for a user (by number) who comes to read it, and wasn't there when it was published.

        Gives how many more sets of the notification's own he is in for that.
        """
        # Without `judged` there was no gate then, or nobody else may read it.
        if not self._hook.impls or notification.judged is None or notification.was_judged(number):
            return 0
        kept_from = self._ask(notification, UserSet([number]))
        return notification.record_judged(number, is_kept=any(number in users for users in kept_from))

    def _ask(self, notification: Notification, left: UserSet) -> list[UserSet]:
        """Ask the gates about some users, and note their verdicts; gives whom it is kept from, and maybe others."""
        impls = self._hook.impls
        kept_from: list[UserSet] = []
        place, answer = self._hook.step(impls, 0, notification, left)
        while answer is not None:
            for verdict in self._verdicts(impls[place], answer):
                left = self._take(notification, impls[place].plugin.name, verdict, left)
                if Way.LIVE in verdict.way and verdict.users:
                    kept_from.append(verdict.users)
            place, answer = self._hook.step(impls, place + 1, notification, left)
        return kept_from

    def _take(self, notification: Notification, plugin: str, verdict: Verdict, left: UserSet) -> UserSet:
        """Note a verdict; gives whom the next gate is asked about."""
        among = verdict.users & left
        if among:
            self._counts.withheld[plugin, verdict.action.value] += len(among)
            told = Verdict(verdict.action, among, verdict.reason, verdict.way)
            notification.verdicts += ((plugin, told),)
        return left - among if verdict.way == Way.ALL else left

    def _verdicts(self, impl: Impl, answer: Any) -> list[Verdict]:
        """What one gate says; nothing of it counts when a part of it is no verdict."""
        try:
            if type(answer) is Waiting:
                answer.close()
            verdicts = [answer] if isinstance(answer, Verdict) else list(islice(answer, VERDICTS + 1))
            if len(verdicts) > VERDICTS or not all(isinstance(verdict, Verdict) for verdict in verdicts):
                raise TypeError
        except BaseException:  # it can be anything, also something that fails when it is looked at
            expected = f"hubd_filter_recipients answers None, a Verdict, or a list of up to {VERDICTS} of them"
            self._hook.failed(impl, BadAnswer(expected))
            return []
        return verdicts


def _are_private(channels: Sequence[Channel]) -> bool:
    return all(channel.kind is Kind.USER for channel in channels)


def _together(before: Snapshot | None, sets: list[UserSet]) -> Snapshot:
    """All of these in one set; a single one that won't change is shared with whoever made it."""
    return snapshot_of(union_of([*([] if before is None else [before]), *sets]))
