"""A plugin that is a gate, and judges as a test says."""

from collections.abc import Callable
from typing import Any

from hubd.core.notification import Notification
from hubd.core.users import UserSet
from hubd.core.verdict import Verdict, Way, drop
from hubd.plugin import PluginConfig, PluginHub, hookimpl
from hubd.testing import RecordingConnection

Judge = Callable[["Gate", Notification, UserSet], Any]


class Gate:
    """A plugin that judges as a test says; what it was asked about is in ``asked``, what it was told in ``told``."""

    judge_by: Judge

    def __init__(self, config: PluginConfig) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.told: list[tuple[str, list[tuple[str, str, str, list[str]]]]] = []
        self.hub: PluginHub

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification, recipients: UserSet) -> Any:
        self.asked.append((notification.id, self.names(recipients)))
        return type(self).judge_by(self, notification, recipients)

    @hookimpl
    def hubd_filtered(self, notification: Notification, verdicts: Any) -> None:
        said = [(plugin, one.action.value, one.reason, self.names(one.users)) for plugin, one in verdicts]
        self.told.append((notification.id, said))

    def names(self, users: UserSet) -> list[str]:
        return sorted(str(self.hub.user_of(number)) for number in users)


def gate(judge: Judge) -> type[Gate]:
    return type("Made", (Gate,), {"judge_by": staticmethod(judge)})


def keeping(*users: str, verdict: Callable[..., Verdict] = drop, way: Way = Way.ALL) -> type[Gate]:
    """A gate that keeps everything from these users."""
    return gate(lambda gate, notification, recipients: verdict(gate.hub.users(users), "muted", way))


def got(*connections: RecordingConnection) -> list[list[str]]:
    return [[frame["id"] for frame in connection.notifications()] for connection in connections]
