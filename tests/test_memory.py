"""What a hub remembers, to begin with: nothing, within the config's bounds."""

from hubd.config import Config
from hubd.config_options import Limits, Replay
from hubd.core.subscriptions import Grant
from hubd.idempotency import Answered
from hubd.memory import Memory, Receipt
from hubd.testing import FakeClock, make_hub
from tests.core.made import published


def test_it_is_empty() -> None:
    memory = Memory(Config(), FakeClock(), "epoch00000")
    assert (memory.epoch, memory.sequence, memory.revoked) == ("epoch00000", 0, {})
    assert (memory.rings.bytes, len(memory.numbers), len(memory.answers)) == (0, 0, 0)
    assert list(memory.durables.all()) == []


async def test_it_has_the_bounds_of_the_config() -> None:
    clock = FakeClock()
    config = Config(replay=Replay(per_channel=2, ttl_s=10), limits=Limits(id_window_s=20, id_entries=3))
    memory = Memory(config, clock, "epoch00000")
    for sequence in range(1, 6):
        memory.rings.append(published("a", sequence=sequence), clock.monotonic())
        memory.answers.put_back("", ("", str(sequence)), Answered(b"", Receipt("", "", 0), clock.monotonic()))
    memory.answers.expire()
    assert (memory.rings.depth("a"), len(memory.answers)) == (2, 3)
    clock.advance(10)
    memory.rings.expire(clock.monotonic())
    memory.answers.expire()
    assert (memory.rings.depth("a"), len(memory.answers)) == (0, 3)
    clock.advance(10)
    memory.answers.expire()
    assert len(memory.answers) == 0


async def test_its_subscribers_have_its_numbers() -> None:
    memory = Memory(Config(), FakeClock(), "epoch00000")
    await memory.durables.put("ada", "t", Grant(by_server=True))
    assert [*memory.durables.subscribers("t")] == [memory.numbers.find("ada")]


def test_a_hub_s_memory_is_as_the_hub_is_now() -> None:
    hub, _, _ = make_hub()
    assert hub.memory.sequence == 0
    hub.attendance.sequence = 7
    assert (hub.memory.sequence, hub.memory.rings, hub.memory.numbers) == (7, hub.rings, hub.numbers)
    assert hub.attendance.cursor() == f"{hub.memory.epoch}-7"
