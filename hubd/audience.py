"""Whom a notification is meant for, and whom it reaches right now: as sets, from what is known in memory."""

from collections.abc import Sequence

from hubd.core.channel import Channel, Kind
from hubd.core.notification import Notification
from hubd.core.registry import Registry
from hubd.core.subscriptions import DurableSubscriptions
from hubd.core.users import UserNumbers, UserSet, union_of


class Audiences:
    """Finds them by channels."""

    def __init__(self, registry: Registry, durables: DurableSubscriptions, numbers: UserNumbers) -> None:
        self._registry = registry
        self._durables = durables
        self._numbers = numbers

    def meant(self, channels: Sequence[Channel]) -> tuple[UserSet, bool]:
        """Everybody whom topics and user channels reach; and whether it goes to everybody who is connected, too."""
        if len(channels) == 1 and (user := self._registry.users.get(channels[0].user)) is not None:
            return user.alone, False
        sets: list[UserSet] = []
        alone: list[int] = []
        is_broadcast = False
        for channel in channels:
            if channel.kind is Kind.USER:
                alone.append(self._numbers.number_of(channel.user))
            elif channel.kind is Kind.TOPIC:
                sets += self.of_topic(channel.name)
            else:
                is_broadcast = True
        if alone:
            sets.append(UserSet(alone))
        return union_of(sets), is_broadcast

    def of_topic(self, name: str) -> list[UserSet]:
        """Who is subscribed to a topic: by a connection, and for good."""
        topic = self._registry.topics.get(name)
        live = [] if topic is None else [topic.audience.snapshot()]
        return [*live, *([durable] if (durable := self._durables.subscribers(name)) else [])]

    def reached(self, notification: Notification, channels: Sequence[Channel]) -> UserSet:
        """The users of those connections that it is queued for in this step."""
        sets: list[UserSet] = []
        for channel in channels:
            if channel.kind is Kind.USER:
                if (user := self._registry.users.get(channel.user)) is not None and user.connections:
                    sets.append(user.alone)
            elif channel.kind is Kind.TOPIC:
                if (topic := self._registry.topics.get(channel.name)) is not None:
                    sets.append(topic.audience.snapshot())
            else:
                sets.append(self._registry.present.snapshot())
        found = union_of(sets)
        return found if notification.excluded is None else found - notification.excluded
