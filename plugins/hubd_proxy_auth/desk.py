"""Where answers come from: those that are kept, a call that is under way for somebody else already, or a new one."""

import asyncio
from collections.abc import Callable

from hubd.plugin import Identity, PluginHub, identity_of
from hubd_proxy_auth.answers import Decision, Denied, Known, NotMine, Unusable
from hubd_proxy_auth.application import Application
from hubd_proxy_auth.kept import Kept
from hubd_proxy_auth.options import Options
from hubd_proxy_auth.questions import Question

Found = Identity | Denied | NotMine


class Desk:
    """Answers questions as one config says. ``on_call`` is told how each call ended and how long it took (seconds)."""

    def __init__(self, config: Options, hub: PluginHub, on_call: Callable[[Decision | Unusable, float], None]) -> None:
        self.config = config
        self.application = Application(config)
        self._hub = hub
        self._on_call = on_call
        # Kept apart, so that a flood of made-up cookies doesn't push out those who are known.
        self._known: Kept[Identity] = Kept(config.cache_entries)
        self._others: Kept[Denied | NotMine] = Kept(config.cache_entries)
        self._under_way: dict[bytes, asyncio.Future[Found]] = {}

    @property
    def entries(self) -> int:
        """How many answers are kept."""
        return len(self._known) + len(self._others)

    def kept(self, question: Question) -> Found | None:
        """The answer, if it is known still."""
        now = self._hub.clock.monotonic()
        return self._known.get(question.key, now) or self._others.get(question.key, now)

    def is_asking(self, question: Question) -> bool:
        """Whether somebody is waiting for the answer already."""
        return question.key in self._under_way

    async def ask(self, question: Question) -> Found:
        """Have the application asked, once for all who wait for the same; ``Unusable`` when that failed."""
        answer = self._under_way.get(question.key)
        if answer is None:
            answer = self._under_way[question.key] = asyncio.get_running_loop().create_future()
            # In a task of its own: whoever asked first may leave, and the others still want to know.
            self._hub.start(self._call(question, answer), "ask the application")
        return await asyncio.shield(answer)

    async def _call(self, question: Question, answer: asyncio.Future[Found]) -> None:
        try:
            answer.set_result(await self._decided(question))
        except Unusable as error:
            answer.set_exception(error)
        except BaseException:
            answer.set_exception(Unusable("the call was given up"))
            raise
        finally:
            del self._under_way[question.key]
            if not answer.cancelled():
                answer.exception()  # nobody may be left who waits for it

    async def _decided(self, question: Question) -> Found:
        clock = self._hub.clock
        # A revocation while the application thinks about it has to count: so what it says is as old as the question.
        asked_at, begun = clock.now(), clock.monotonic()
        try:
            decision = await self.application.ask(question)
        except Unusable as error:
            self._on_call(error, clock.monotonic() - begun)
            raise
        self._on_call(decision, clock.monotonic() - begun)
        if not isinstance(decision, Known):
            self._others.put(question.key, decision, begun + self.config.denied_cache_s)
            return decision
        identity = _identity(decision, asked_at)
        lasts = self.config.cache_s if decision.expires_in is None else min(self.config.cache_s, decision.expires_in)
        self._known.put(question.key, identity, begun + lasts)
        return identity


def _identity(known: Known, asked_at: float) -> Identity:
    return identity_of(
        known.user,
        topics=known.topics,
        publish=known.publish,
        max_priority=known.max_priority,
        expires_at=None if known.expires_in is None else asked_at + known.expires_in,
        issued_at=asked_at,
        tags=known.tags,
    )
