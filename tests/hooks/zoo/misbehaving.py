"""Animals that do more than fail: they change what isn't theirs, leave things running, answer without end."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from hubd.plugin import Draft, Identity, Notification, PluginHub, Problem, UserSet, Verdict, drop, hookimpl

MILLION = 1_000_000


class Animal:
    """One without options."""

    def __init__(self, config: Any) -> None:
        self.hub: PluginHub | None = None


class ChangesDraft(Animal):
    """Changes a publish call in place, to what can't be sent."""

    @hookimpl
    def hubd_authorize_publish(self, draft: Draft) -> None:
        draft.payload["type"] = object()

    @hookimpl
    def hubd_prepare_notification(self, draft: Draft) -> None:
        draft.payload.clear()
        draft.payload["n"] = {1, 2}


class ChangesRecipients(Animal):
    """Takes people out of, and puts them into, the set that it was asked about."""

    @hookimpl
    def hubd_filter_recipients(self, recipients: UserSet) -> None:
        for number in list(recipients):
            recipients.discard(number)


class AddsRecipients(Animal):
    """Puts somebody into the set that it was asked about."""

    @hookimpl
    def hubd_filter_recipients(self, recipients: UserSet) -> None:
        recipients.add(4_000_000_000)


class ChangesPayload(Animal):
    """Changes what a notification says, when it is stored, filtered and published."""

    @hookimpl
    def hubd_store_notification(self, notification: Notification) -> None:
        notification.payload.clear()

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification) -> None:
        notification.payload["n"] = object()

    @hookimpl
    def hubd_published(self, notification: Notification) -> None:
        notification.payload["n"] = object()


class ManyVerdicts(Animal):
    """Answers a million verdicts."""

    @hookimpl
    def hubd_filter_recipients(self) -> Iterable[Verdict]:
        return [drop(UserSet([1]), "asleep")] * MILLION


class ManyDenied(Animal):
    """Objects to a hundred thousand channels."""

    @hookimpl
    def hubd_authorize_subscribe(self, channels: tuple[str, ...]) -> Iterable[str]:
        return [*channels, *(f"c{number}" for number in range(100_000))]


class ManyUsers(Animal):
    """Says that everybody is meant."""

    @hookimpl
    def hubd_resolve_audience(self) -> UserSet:
        return UserSet(range(1, MILLION))


class OddProblem(Animal):
    """Refuses with a code that doesn't exist, where it may refuse."""

    @hookimpl
    def hubd_check_health(self) -> None:
        raise Problem("nonsense", "\ud800")


class _Mute(AttributeError):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class MuteError(Animal):
    """Raises what can't even be shown."""

    @hookimpl
    async def hubd_prepare_notification(self) -> None:
        raise _Mute

    @hookimpl
    def hubd_published(self) -> None:
        raise _Mute


class CancelsItself(Animal):
    """Cancels the task that it was called in."""

    @hookimpl
    async def hubd_published(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()


class Leaks(Animal):
    """Starts tasks that nobody knows of."""

    @hookimpl
    def hubd_startup(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.run(), name="leak")

    async def run(self) -> None:
        await asyncio.sleep(3600)


class LeaksStubborn(Leaks):
    """The same with one that takes no notice of being cancelled."""

    async def run(self) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)


class OwnStubborn(LeaksStubborn):
    """A task of its own that takes no notice of being cancelled."""

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.task = hub.start(self.run(), "stubborn")


class FailingTask(Animal):
    """Its task fails."""

    error: type[BaseException] = RuntimeError

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.task = hub.start(self.run(), "work")

    async def run(self) -> None:
        await asyncio.sleep(0)
        raise self.error


class QuittingTask(FailingTask):
    """Its task calls sys.exit."""

    error = SystemExit


class InterruptingTask(FailingTask):
    """Its task is a Ctrl-C."""

    error = KeyboardInterrupt


class Anybody(Animal):
    """Says that everybody is one and the same, and changes who he is later."""

    @hookimpl
    def hubd_authorize_subscribe(self, identity: Identity) -> None:
        object.__setattr__(identity, "denied", 5)
