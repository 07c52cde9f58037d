"""Fixtures for tests over real sockets: a hub that listens on 127.0.0.1, whose clock the test turns."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from hubd.storing import Store
from tests.edge.live_hub import Faults, LiveHub, config_of, no_faults

StartHub = Callable[..., Awaitable[LiveHub]]


@pytest.fixture
def faults() -> Iterator[Faults]:
    """What was logged as an error; the test fails unless it has emptied this."""
    yield from no_faults()


@pytest.fixture
async def start_hub(faults: Faults) -> AsyncIterator[StartHub]:
    """Start a hub with some of its config's sections changed: ``await start_hub(limits={"per_user": 1})``."""
    started: list[LiveHub] = []

    async def start(*, dev: bool = False, store: Store | None = None, **sections: dict[str, Any]) -> LiveHub:
        started.append(await LiveHub(config_of(**sections), dev, store=store).start())
        return started[-1]

    yield start
    for hub in started:
        await hub.stop()


@pytest.fixture
async def hub(start_hub: StartHub) -> LiveHub:
    """A hub on its defaults."""
    return await start_hub()
