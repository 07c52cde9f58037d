"""What plugins make of a publish call: they change it, say whom a segment stands for, and keep it."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from hubd.core.channel import Channel, Patterns, parse_channel, user_channel
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.notification import Notification
from hubd.core.publish import CHANNELS, Bounds, Draft, TypeDefaults, changed_draft
from hubd.core.users import UserNumbers, UserSet
from hubd.hooks.calls import BadAnswer, Failed, Hooks, Impl, Waiting

_TOO_MANY = f"is more than {CHANNELS} channels: make it a topic with durable subscriptions"


class Asking:
    """Asks the plugins on the hooks of a publish. ``options`` gives what types decide and how large it may be."""

    def __init__(
        self, hooks: Hooks, numbers: UserNumbers, options: Callable[[], tuple[Callable[[str], TypeDefaults], Bounds]]
    ) -> None:
        self._hooks = hooks
        self._numbers = numbers
        self._options = options

    async def prepared(self, draft: Draft, impls: tuple[Impl, ...], place: int, change: Any) -> Draft:
        """Go on preparing, from the first plugin that had something to change."""
        hook = self._hooks.prepare_notification
        while change is not None:
            if type(change) is Waiting:
                change = await change.rest()
            if change is not None:
                draft = self._changed(impls[place], draft, change)
            place, change = hook.step(impls, place + 1, draft)
        return draft

    def _changed(self, impl: Impl, draft: Draft, change: Any) -> Draft:
        """The draft as a plugin wants it, or as it was when that is no good."""
        hook = self._hooks.prepare_notification
        try:
            return changed_draft(draft, change, *self._options())
        except Problem as problem:
            why = "; ".join(f"{error.path}: {error.message}" for error in problem.errors) or problem.message
            hook.failed(impl, BadAnswer(f"what hubd_prepare_notification answered is no good: {why}"))
        except BaseException:
            hook.failed(impl, BadAnswer("hubd_prepare_notification answers None, or a dict of what is to change"))
        return draft

    async def resolved(self, segment: Any, allowed: Patterns | None) -> tuple[Channel, ...]:
        """The channels that a segment stands for, all of them among those ``allowed``; else a ``Problem``."""
        hook = self._hooks.resolve_audience
        found: dict[Channel, None] = {}
        known = False
        for impl in hook.impls:
            answer = await hook.ask(impl, segment)
            if answer is not None:
                known = True
                if isinstance(answer, UserSet) and len(answer) > CHANNELS:
                    raise invalid([FieldError("to.segment", _TOO_MANY)])
                try:
                    found.update(dict.fromkeys(self._channels_of(answer)))
                except BaseException:
                    expected = f"hubd_resolve_audience answers None, a UserSet or a list of up to {CHANNELS} channels"
                    hook.failed(impl, BadAnswer(expected))
        if not known:
            raise invalid([FieldError("to.segment", "nobody here knows this segment")])
        if len(found) > CHANNELS:
            raise invalid([FieldError("to.segment", _TOO_MANY)])
        if allowed is not None and not all(allowed.match(channel.name) for channel in found):
            raise Problem("forbidden", "this key may not publish to everybody in this segment")
        return tuple(found)

    def _channels_of(self, answer: Any) -> Iterable[Channel]:
        if isinstance(answer, UserSet):
            users = (self._numbers.id_of(number) for number in answer)
            return [parse_channel(user_channel(user)) for user in users if user is not None]
        if isinstance(answer, str):
            raise TypeError
        return [parse_channel(name) for name in islice(answer, CHANNELS + 1)]

    async def store(self, notification: Notification, recipients: UserSet) -> None:
        """Have it kept; what must not get lost is refused when that fails."""
        hook = self._hooks.store_notification
        impls = hook.impls
        must = notification.is_durable
        place = 0
        while True:
            try:
                place, answer = hook.step(impls, place, notification, recipients)
            except Failed:
                if must:
                    raise
                place = hook.at + 1
                continue
            if answer is None:
                return
            if type(answer) is Waiting:
                try:
                    await answer.rest()
                except Failed:
                    if must:
                        raise
            place += 1
