"""What happens in one history on three transports: clients that move, while publishers go on."""

import asyncio
from random import Random
from typing import NamedTuple

from tests.model.acts import ADDRESSEES, SOME_TOPICS
from tests.model.chain import Chain, Position
from tests.model.live_history import FAR, Call, publish
from tests.model.moving import Line, MovingHub, Stream
from tests.model.surroundings import TOPICS, USERS

WIRES = ("plain", "json", "msgpack", "sse", "sse", "sse", "poll", "poll", "poll")
WAYS = ("close", "reset", "unread", "midway", "midway")
BACK = ("last",) * 8 + ("old", "old", "start", "none", "malformed", "future", "epoch")
ACTS = ("move",) * 7 + ("subscribe", "unsubscribe", "stall", "read", "sip", "ack", "ping", "pause")
KINDS = ("kept", "kept", "ephemeral", "now", "long", "long", "long", "retract")


class Step(NamedTuple):
    """What a client does next. A move: on which ``wire`` it comes back, by which ``way`` it goes before, with what
    kind of cursor; ``cut``: after how many bytes that line is cut; ``turns``: how many of the loop's turns it waits."""

    do: str
    wire: str
    way: str
    back: str
    topics: tuple[str, ...]
    which: int
    slow: bool
    cut: int | None
    turns: int


class Story(NamedTuple):
    """A history: what each client and each publisher does."""

    users: list[str]
    movers: list[list[Step]]
    publishers: list[list[Call]]


def story(random: Random) -> Story:
    """Any history."""
    movers = [[_step(random) for _ in range(random.randint(3, 8))] for _ in range(random.randint(2, 4))]
    calls = [[_call(random) for _ in range(random.randint(2, 5))] for _ in range(2)]
    return Story([random.choice(USERS) for _ in movers], movers, calls)


def _step(random: Random) -> Step:
    return Step(
        do=random.choice(ACTS),
        wire=random.choice(WIRES),
        way=random.choice(WAYS),
        back=random.choice(BACK),
        topics=random.choice([(), *SOME_TOPICS]),
        which=random.randrange(1000),
        slow=random.random() < 0.4,
        cut=random.randrange(random.choice([700, 30_000])) if random.random() < 0.2 else None,
        turns=random.choice([0, 1, 5, 20]),
    )


def _call(random: Random) -> Call:
    to, kind = random.choice(ADDRESSEES), random.choice(KINDS)
    return Call(to, kind, count=random.choice([1, 1, 2, 8, 15]), turns=random.choice([0, 1, 10, 30]))


class Mover:
    """A client with one connection at a time, each by any transport."""

    def __init__(self, live: MovingHub, user: str) -> None:
        self._live = live
        self._user = user
        self._topics: tuple[str, ...] = ()
        self._chain: Chain | None = None
        self._line: Line | None = None

    async def act(self, script: list[Step]) -> None:
        """One step after the other."""
        for step in script:
            for _ in range(step.turns):
                await asyncio.sleep(0)
            if self._line is None or self._line.closed:
                await self.move(step)
            else:
                await self._do(step)

    async def _do(self, step: Step) -> None:
        line = self._line
        assert line is not None
        if step.do == "move":
            await self.move(step)
        elif step.do in ("subscribe", "unsubscribe") and line.wire in ("plain", "json", "msgpack"):
            assert isinstance(line, Stream)
            line.stall(False)
            await self._change_topics(line, step)
        elif step.do in ("stall", "read"):
            line.stall(step.do == "stall")
        elif step.do == "sip":
            line.sip(1 + step.which % 3)
        elif step.do == "ack":
            await self._ack(line, step)
        elif step.do == "ping":
            self._live.ping_all()
        else:
            await asyncio.sleep(0.01)

    async def move(self, step: Step) -> None:
        """Go, and come back by another transport."""
        await self.go(step.way)
        topics = step.topics if step.which % 5 == 0 else self._topics
        self._topics = topics
        at = self._where(step)
        chain = self._chain_at(at, step)
        self._line = await self._live.open(chain, self._user, step.wire, topics, at, step.slow, step.cut)

    def _chain_at(self, at: Position, step: Step) -> Chain:
        if self._chain is None or step.back != "last" or at[0] is None:
            self._chain = Chain(at)
        return self._chain

    def _where(self, step: Step) -> Position:
        """Where it goes on."""
        hub, cursors = self._live.hub.attendance, self._live.cursors
        if step.back == "none":
            return None, None, ""
        if step.back == "malformed":
            return "no~cursor", 0, "bad_cursor"
        if step.back == "future":
            return hub.cursor(self._live.world.latest + FAR), 0, "bad_cursor"
        if step.back == "epoch":
            return f"zzzzzzzzzz-{step.which}", 0, "epoch"
        if step.back == "start":
            return self._live.known(hub.cursor(0))
        if step.back == "old" and cursors:
            return self._live.known(cursors[-1 - step.which % len(cursors)])
        return self._live.where(self._chain) if self._chain is not None else (None, None, "")

    async def _change_topics(self, line: Stream, step: Step) -> None:
        chain, topics = line.chain, step.topics or TOPICS[:1]
        if step.do == "unsubscribe":
            await line.unsubscribe(topics)
            self._topics = tuple(name for name in self._topics if name not in topics)
            return
        at = self._live.where(chain) if step.which % 2 else (None, None, "")
        chain.held = at[0] is not None
        await line.subscribe(topics, *at)
        self._topics = tuple(dict.fromkeys((*self._topics, *topics)))
        if line.closed:
            self._chain = None  # it can't know what it has of those topics
        chain.held = False

    async def _ack(self, line: Line, step: Step) -> None:
        given = list(line.chain.given)
        if not given:
            return
        sent = next(sent for sent in self._live.world.sent if sent.sequence == given[step.which % len(given)])
        await self._live.ack(self._user, sent.id, line if line.wire in ("plain", "json", "msgpack") else None)

    def read(self) -> None:
        """Read what there is."""
        if self._line is not None:
            self._line.stall(False)

    async def go(self, way: str = "close") -> None:
        """Leave."""
        line, self._line = self._line, None
        if line is None:
            return
        if way == "midway":
            line.sip(1)
            await asyncio.sleep(0.002)
        await self._live.leave(line, {"midway": "reset"}.get(way, way))


async def tell(live: MovingHub, what: Story) -> None:
    """Let a history happen, and everybody come to rest."""
    movers = [Mover(live, user) for user in what.users]
    acting = [mover.act(script) for mover, script in zip(movers, what.movers, strict=True)]
    acting += [publish(live, script) for script in what.publishers]
    tasks = [live.tasks.start(work, "actor") for work in acting]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        live.check()  # what a client found goes before what follows from it
        raise
    for mover in movers:
        mover.read()
    await live.rest()
    for mover in movers:
        await mover.go()
    live.check()
