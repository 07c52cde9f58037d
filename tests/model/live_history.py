"""What happens in one history over sockets: actors and publishers, all at once."""

import asyncio
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.model.acts import ADDRESSEES, CURSORS, MANY, SOME_TOPICS, drawn
from tests.model.live import LiveClient, LiveHub
from tests.model.surroundings import TOPICS, USERS

FAR = 1_000_000


class Step(NamedTuple):
    """What an actor does next; ``which`` cursor it takes also says for how many turns it waits before."""

    do: str
    user: str
    wire: str
    topics: tuple[str, ...]
    cursor: str
    which: int
    slow: bool


class Call(NamedTuple):
    """What a publisher does next; ``turns``: for how long he waits before."""

    to: tuple[str, ...]
    kind: str
    count: int
    turns: int


steps = drawn(
    Step,
    do=["connect", "connect", "subscribe", "subscribe", "unsubscribe", "drop", "drop", "close", "stall", "read"],
    user=USERS,
    wire=["plain", "json", "msgpack"],
    topics=[(), *SOME_TOPICS],
    slow=[False, False, False, True],
    cursor=CURSORS,
    which=MANY,
)
calls = drawn(
    Call,
    to=ADDRESSEES,
    kind=["kept", "kept", "ephemeral", "now", "long", "long", "long", "retract"],
    count=[1, 1, 1, 2, 8],
    turns=[0, 1, 10, 100],
)


class Story(NamedTuple):
    """A history: what each actor and each publisher does."""

    actors: list[list[Step]]
    publishers: list[list[Call]]


stories = st.builds(
    Story,
    actors=st.lists(st.lists(steps, min_size=3, max_size=8), min_size=3, max_size=6),
    publishers=st.lists(st.lists(calls, min_size=3, max_size=8), min_size=2, max_size=3),
)


class Actor:
    """Somebody with one connection at a time."""

    def __init__(self, live: LiveHub) -> None:
        self._live = live
        self._client: LiveClient | None = None
        self._last: str | None = None

    async def act(self, script: list[Step]) -> None:
        """One step after the other; whoever is cut comes back when he next connects."""
        for step in script:
            for _ in range(step.which):
                await asyncio.sleep(0)
            if self._client is None or self._client.closed or step.do == "connect":
                await self._connect(step)
            elif step.do in ("drop", "close"):
                await self._leave(politely=step.do == "close")
            elif step.do in ("stall", "read"):
                self._client.stall(step.do == "stall")
            elif step.do == "subscribe":
                self._client.stall(False)
                await self._client.subscribe(step.topics or TOPICS[:1], *self._cursor(step))
            else:
                self._client.stall(False)
                await self._client.unsubscribe(step.topics or TOPICS[:1])

    async def _connect(self, step: Step) -> None:
        if self._client is not None:
            await self._leave(politely=False)
        self._client = await self._live.connect(step.user, step.wire, step.topics, self._cursor(step), step.slow)
        self._client.stall(step.slow)  # not before it is told to read

    async def _leave(self, politely: bool) -> None:
        assert self._client is not None
        await self._live.leave(self._client, politely)
        self._last = self._client.ledger.last_cursor or self._last
        self._client = None

    def read(self) -> None:
        """Read what there is."""
        if self._client is not None:
            self._client.stall(False)

    async def go(self) -> None:
        """No more."""
        if self._client is not None:
            await self._leave(politely=True)

    def _cursor(self, step: Step) -> tuple[str | None, int | None, str]:
        """A cursor, its position, and why it can't be honoured."""
        hub, cursors = self._live.hub.attendance, self._live.cursors
        if step.cursor == "none":
            return None, None, ""
        if step.cursor == "malformed":
            return "no~cursor", 0, "bad_cursor"
        if step.cursor == "future":
            return hub.cursor(self._live.world.latest + FAR), 0, "bad_cursor"
        if step.cursor == "epoch":
            return f"zzzzzzzzzz-{step.which}", 0, "epoch"
        text = hub.cursor(0) if step.cursor == "start" or not cursors else cursors[-1 - step.which % len(cursors)]
        if step.cursor == "last" and self._last is not None:
            text = self._last
        return text, self._live.place(text), ""


async def publish(live: LiveHub, script: list[Call]) -> None:
    """A publisher: one call after the other."""
    for call in script:
        for _ in range(call.turns):
            await asyncio.sleep(0)
        if call.kind == "retract":
            if live.world.sent:
                await live.retract(live.world.sent[-1 - call.turns % len(live.world.sent)])
            continue
        await live.publish(*(_body(call) for _ in range(call.count)))


def _body(call: Call) -> dict[str, Any]:
    body: dict[str, Any] = {"to": list(call.to), "notification": {"type": "x"}}
    if call.kind == "ephemeral":
        body["persistence"] = "ephemeral"
    elif call.kind == "now":
        body["ttl"] = 0
    elif call.kind == "long":
        body["notification"]["body"] = "x" * 8000
    return body


async def tell(live: LiveHub, story: Story) -> None:
    """Let a history happen, and everybody come to rest."""
    actors = [Actor(live) for _ in story.actors]
    acting = [actor.act(script) for actor, script in zip(actors, story.actors, strict=True)]
    await asyncio.gather(*acting, *(publish(live, script) for script in story.publishers))
    for actor in actors:
        actor.read()
    await live.rest()
    for actor in actors:
        await actor.go()
    live.check()
