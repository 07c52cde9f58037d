"""Random histories over real sockets: what arrives at real clients, while real publishers and a crowd are there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.model import test_planted as planted
from tests.model.histories import HOW_TO_REPEAT, SEED
from tests.model.live import LiveHub
from tests.model.live_history import Story, stories, tell
from tests.model.surroundings import TOPICS, Limits, Loop, narrow
from tests.model.world import Broken

CROWD = 40
PER_HUB = 20
SLICED = Limits(slice=1, few=16, write_bytes=500)
"""A broadcast takes its time, and what is for few goes out meanwhile."""


class Stage:
    """Where histories happen: a hub with a crowd that only listens; a fresh one now and then."""

    def __init__(self, crowd: int, per_hub: int, limits: Limits | None = None) -> None:
        self._loop = Loop()
        self._random = Random(SEED)
        self._crowd = crowd
        self._per_hub = per_hub
        self._limits = limits
        self._live: LiveHub | None = None
        self._stack = ExitStack()
        self._found: Exception | None = None
        self.histories = 0

    def run(self, story: Story) -> None:
        """One history. What has been found stays found: hypothesis tries again, and the next time may be another."""
        if self._found is not None:
            raise self._found
        try:
            self._run(story)
        except Exception as error:
            self._found = error
            raise

    def _run(self, story: Story) -> None:
        if self.histories % self._per_hub == 0:
            self._clear()
            limits = self._limits or Limits(
                slice=self._random.choice([1, 3, 8]),
                few=self._random.choice([0, 2, 16]),
                write_bytes=self._random.choice([500, 5000, 65536]),
            )
            self._stack.enter_context(narrow(limits))
            self._live = self._loop.run(self._set_up())
        self.histories += 1
        assert self._live is not None
        self._loop.run(tell(self._live, story))

    async def _set_up(self) -> LiveHub:
        live = await LiveHub(queue_bytes=self._random.choice([32_768, 262_144])).start()
        for place in range(self._crowd):
            topics = tuple(topic for topic in TOPICS if self._random.random() < 0.5)
            wire = self._random.choice(["plain", "json", "msgpack"])
            await live.connect(f"listener{place % 7}", wire, topics)
        return live

    def _clear(self) -> None:
        if self._live is not None:
            self._loop.run(self._live.stop(whole=self._found is None))
            self._live = None
        self._stack.close()

    def close(self) -> None:
        """The end."""
        self._clear()
        self._loop.close()


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(*request.param)
    yield made
    made.close()


def run(stage: Stage, histories: int, offset: int) -> None:
    """So many histories."""

    @seed(SEED + offset)
    @settings(
        max_examples=histories,
        phases=[Phase.generate],  # over sockets the same acts make another history the next time
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(story=stories)
    def histories_happen(story: Story) -> None:
        stage.run(story)

    try:
        histories_happen()
    except BaseException as error:
        error.add_note(HOW_TO_REPEAT)
        raise
    assert stage.histories >= histories


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", [(CROWD, PER_HUB)], indirect=True)
def test_histories_over_sockets(stage: Stage) -> None:
    run(stage, 300, 0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", [(300, 10)], indirect=True)
def test_histories_with_a_large_crowd(stage: Stage) -> None:
    run(stage, 10, 1)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("stage", [(CROWD, PER_HUB, SLICED)], indirect=True)
@pytest.mark.parametrize(
    "plant",
    [
        planted.a_targeted_publish_overtakes_a_broadcast,
        planted.the_cursor_is_ahead_of_the_replay,
        planted.a_replay_leaves_the_first_one_out,
        planted.live_frames_are_queued_during_the_catch_up,
        planted.whoever_unsubscribed_goes_on_getting_frames,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_bug_is_found_over_sockets(
    plant: Callable[[pytest.MonkeyPatch], None], stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        plant(patch)
        with pytest.raises(Broken) as found:
            run(stage, 200, 3)
    print(f"{plant.__name__}: {str(found.value).splitlines()[0]}")


@pytest.mark.long
@pytest.mark.parametrize("stage", [(CROWD, PER_HUB)], indirect=True)
def test_many_more_histories_over_sockets(stage: Stage) -> None:
    run(stage, 6000, 2)
