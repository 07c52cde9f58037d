"""Random histories on three transports: clients move between them with one cursor, over real sockets."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random

import pytest

from hubd.edge import polling
from tests.model.chain import Chain, Position
from tests.model.histories import HOW_TO_REPEAT, SEED
from tests.model.moving import MovingHub
from tests.model.moving_history import story, tell
from tests.model.surroundings import TOPICS, Faults, Limits, Loop, narrow
from tests.model.world import Broken

PER_HUB = 25
PARTS = 2
TRANSPORTS = ("websocket", "sse", "poll")
TO_HAPPEN = [f"{one} to {other}" for one in TRANSPORTS for other in TRANSPORTS]
TO_HAPPEN += [f"{one} left midway" for one in ("websocket", "sse")] + [f"gap by {one}" for one in TRANSPORTS]
CROWD = ("plain", "msgpack", "sse", "poll")


class Stage:
    """Where histories happen: a hub with some who only listen, by each transport; a fresh one now and then."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._live: MovingHub | None = None
        self._stack = ExitStack()
        self.histories = 0
        self.happened: Counter[str] = Counter()
        self.faults: list[str] = []

    def run(self, first: int, histories: int) -> None:
        """So many histories, numbered from ``first`` on."""
        for number in range(first, first + histories):
            random = Random(SEED * 1_000_003 + number)
            self.histories += 1
            if (number - first) % PER_HUB == 0:
                self._clear(whole=True)
                self._set_up(random)
            assert self._live is not None
            try:
                self._loop.run(tell(self._live, story(random)))
                assert not self.faults, self.faults[0]
            except BaseException as error:
                error.add_note(f"history {number}; {HOW_TO_REPEAT}")
                self._clear(whole=False)
                raise
        self._clear(whole=True)

    def _set_up(self, random: Random) -> None:
        limits = Limits(
            slice=random.choice([1, 3, 8]),
            few=random.choice([0, 2, 16]),
            write_bytes=random.choice([500, 5000, 65536]),
        )
        self._stack.enter_context(narrow(limits))
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(polling, "MOST", random.choice([2, 10, 1000]))
        patch.setattr(polling, "MOST_BYTES", random.choice([10_000, 50_000, 1_048_576]))
        faults = Faults()
        self.faults = faults.found
        self._stack.enter_context(faults.context())

        async def begin() -> MovingHub:
            live = MovingHub(random.choice([32_768, 262_144]), random)
            await live.start()
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: live.broken.append(Broken(repr(context)))
            )
            for place, wire in enumerate(CROWD):
                topics = tuple(topic for topic in TOPICS if random.random() < 0.5)
                nowhere: Position = (None, None, "")
                await live.open(Chain(nowhere), f"listener{place % 3}", wire, topics, nowhere)
            return live

        self._live = self._loop.run(begin())

    def _clear(self, whole: bool) -> None:
        live, self._live = self._live, None
        if live is not None:
            self._loop.run(live.stop(whole))
            self.happened += live.happened
        self._stack.close()

    def close(self) -> None:
        """The end."""
        self._clear(whole=False)
        self._loop.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def run(stage: Stage, first: int, histories: int) -> None:
    """So many histories; and what the test is about must really have happened, often enough."""
    stage.run(first, histories)
    print(f"{stage.histories} histories: {dict(sorted(stage.happened.items()))}")
    assert stage.histories == histories
    rare = {what: stage.happened[what] for what in TO_HAPPEN if stage.happened[what] < histories / 20}
    assert not rare, f"seldom: {rare}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_histories_on_three_transports(part: int, stage: Stage) -> None:
    run(stage, part * 520, 520)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS * 5))
def test_many_more_histories_on_three_transports(part: int, stage: Stage) -> None:
    run(stage, 100_000 + part * 1000, 1000)
