"""Many pushes through all that goes wrong: none hangs, none is lost, nothing stays open, few tokens are signed."""

import asyncio
import gc
import tracemalloc
from collections import Counter, deque
from itertools import pairwise
from random import Random

import pytest
from h2.connection import H2Connection

from hubd.plugin import Outcome
from hubd.testing.apns_service import Answer, ApnsPush, Mishap
from tests.plugins.apns_world import apns, push, token_of

TOGETHER = 200
TIMEOUT_S = 1.5


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
async def test_none_hangs_and_none_is_lost(count: int) -> None:
    random = Random(7)
    waiting = deque(token_of(number) for number in range(count))
    outcomes: Counter[str] = Counter()
    async with apns({"timeout_s": TIMEOUT_S}) as world:

        def script(got: ApnsPush) -> Answer | Mishap | None:
            world.hub.clock.advance(4 * 3600 / count)  # all of it takes four hours
            drawn = random.random()
            for share, answer in (
                (0.01, Mishap.RESET),
                (0.01, Mishap.SILENCE),
                (0.002, Answer(delay_s=TIMEOUT_S + 0.5)),  # taken, but nobody waits for the answer any more
                (0.002, Answer("InternalServerError", body=b"")),
                (0.001, Mishap.GOAWAY),
                (0.0005, Mishap.HANG_UP),
            ):
                drawn -= share
                if drawn < 0:
                    return answer
            return None

        async def work() -> None:
            while waiting:
                token = waiting.popleft()
                async with asyncio.timeout(60):
                    result = await world.plugin.backend.send(world.device(token), push(f"n-{token}", size=3000))
                outcomes[result.reason] += 1
                if result.outcome is Outcome.LATER:
                    waiting.append(token)
                else:
                    assert result.outcome is Outcome.ACCEPTED, result

        world.service.script = script
        await asyncio.gather(*(work() for _ in range(TOGETHER)))
        taken = {one.token for one in world.service.pushes}
        assert taken == {token_of(number) for number in range(count)}
        assert outcomes["200"] == count
        assert outcomes["no answer: reset"] and outcomes["no answer: timeout"] and outcomes["no answer: goaway"]
        ids = {(one.token, one.id) for one in world.service.pushes}
        assert len(ids) == count  # what came twice came under the same id
        # Tokens: by the plugin's own count, and by what the service saw.
        signed = world.service.provider_tokens.taken
        assert all(after - before >= 1200 for before, after in pairwise(signed))
        assert world.plugin.lines is not None and world.plugin.lines.signed == len(signed) <= 4 * 3 + 1
        # Nothing is left open, on either side.
        assert world.open_streams == 0
        (pool,) = world.pools
        # The service also counts those that were given up while they were made, as happens under load.
        assert 1 + (count >= 10_000) <= pool.connected <= world.service.connected
        async with asyncio.timeout(20):
            while world.service.open_streams or len(world.service.connections) != len(pool.connections):
                await asyncio.sleep(0.02)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_memory_doesn_t_grow_with_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    # h2 remembers so many streams of each connection: some 7 MB, which would take longer to reach.
    assert H2Connection.MAX_CLOSED_STREAMS == 65_536
    monkeypatch.setattr(H2Connection, "MAX_CLOSED_STREAMS", 500)
    async with apns() as world:
        world.service.pushes = deque(maxlen=10)

        async def send(count: int) -> None:
            for start in range(0, count, TOGETHER):
                sends = (world.send(token_of(start + number)) for number in range(TOGETHER))
                assert {result.reason for result in await asyncio.gather(*sends)} == {"200"}

        tracemalloc.start()
        await send(2000)  # what takes the place of these is no growth
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await send(4000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown / 4000 < 20
