"""Two hubs, one after the other: the second loads what the first one saved. The first stays, to compare with."""

from pathlib import Path
from random import Random
from typing import Any

from hubd.broker import Broker
from hubd.clock import Clock
from hubd.config import Config
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.memory import Memory
from hubd.saved import load, save
from hubd.testing import FakeClock, Soon, connect


class LaterClock(FakeClock):
    """The clock of a process that was started later: its monotonic time has nothing to do with the first one's."""

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self._monotonic = 77_000.25


def loaded(path: Path, clock: Clock, config: Config | None = None, seed: int = 2) -> Memory:
    return load(path, config or Config(), clock, Ids(clock, Random(seed)))


def restarted(
    hub: Hub, path: Path, away_s: float = 0.0, config: Config | None = None, broker: Broker | None = None
) -> tuple[Hub, FakeClock]:
    """Stop a hub, be away for so long, start another one."""
    config = config or hub.config
    save(path, hub.memory, hub.clock)
    clock = LaterClock(hub.clock.now() + away_s)
    memory = loaded(path, clock, config)
    ids = Ids(clock, Random(3))
    return Hub(config, clock=clock, ids=ids, call_soon=Soon(), broker=broker, memory=memory), clock


def resumed(hub: Hub, user: str, topics: tuple[str, ...], sequence: int | None, epoch: str = "") -> list[Any]:
    """What a connection gets that resumes from there (None: a new one): all but its name, which is random."""
    cursor = None if sequence is None else f"{epoch or hub.memory.epoch}-{sequence}"
    connection = connect(hub, user, topics, cursor)
    frames = connection.frames
    connection.drop()
    del frames[0]["connection"]
    return frames


def ids_of(frames: list[Any]) -> list[str]:
    return [frame["id"] for frame in frames if "hub" not in frame]


def gaps_of(frames: list[Any]) -> list[tuple[str | None, str]]:
    return [(frame["channel"], frame["reason"]) for frame in frames if frame.get("hub") == "gap"]
