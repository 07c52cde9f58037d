"""What a hub takes up at its start, from a store and from the file of a clean stop."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from hubd.config import Config
from hubd.config_options import Limits
from hubd.core.milestones import ACKED, held
from hubd.core.stored import Fact, Keep, Kept, Remember, Revoke, Row, StoredAnswer, Subscribe
from hubd.core.subscriptions import Grant
from hubd.core.users import UserNumbers, UserSet
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.saved import save
from hubd.storing import Loaded
from hubd.taking_up import SLICE, remembered, take_up
from hubd.testing import FakeClock, RecordingPusher, Soon, connect, make_hub
from tests.hub_calls import publish
from tests.saved_world import LaterClock, ids_of
from tests.steered_store import SteeredStore


class World:
    """A hub that starts: a store, and what the one before left in it."""

    def __init__(self) -> None:
        self.clock: FakeClock = LaterClock(1_800_000_000.0)
        self.store = SteeredStore()
        self.pusher = RecordingPusher()
        self.numbers = UserNumbers()
        self.given = {name: self.numbers.hold(name) for name in ("ada", "bob", "eve")}

    def users(self, *names: str) -> UserSet:
        return UserSet(self.given[name] for name in names)

    def kept(self, key: str, *facts: Fact, everybody: tuple[str, ...] = ("ada",), **more: Any) -> Kept:
        priority = more.pop("priority", "important")
        now = int(self.clock.now() * 1000)
        body = b'{"id":"%b","type":"alert","priority":"%b","sent_at":%d' % (key.encode(), priority.encode(), now - 1000)
        users = self.users(*everybody)
        fields: dict[str, Any] = {
            "key": key, "id": key, "body": body, "channels": ("team",), "persistence": "persistent",
            "sent_at": now - 1000, "expires_at": now + 60_000, "collapse_key": None, "group": None,
            "topics": (("team", users),), "everybody": users, "may_push": users, "due_at": now + 5000,
        }  # fmt: skip
        return Kept(Row(**fields | more), facts, True)

    def fact(self, key: str, kind: str, *names: str, detail: str = "") -> Fact:
        return Fact(key, kind, self.users(*names), int(self.clock.now() * 1000), detail)

    async def started(self, saved: Path | None = None, config: Config | None = None) -> Hub:
        config, ids = config or Config(), Ids(self.clock, Random(5))
        memory = await remembered(self.store, saved, config, self.clock, ids, self.numbers)
        hub = Hub(
            config, clock=self.clock, ids=ids, call_soon=Soon(), memory=memory, store=self.store, pusher=self.pusher
        )
        self.pusher.hub = hub
        await take_up(hub)
        return hub

    def pushed_by(self, hub: Hub, seconds: float) -> list[tuple[str, str]]:
        self.clock.advance(seconds)
        hub.delivering.wake()
        return [(id, user) for _, id, user in self.pusher.pushed]


@pytest.fixture
def world() -> World:
    return World()


# --- What is open


async def test_what_was_open_is_pushed_when_it_is_due(world: World) -> None:
    world.store.rows = [world.kept("k1")]
    hub = await world.started()
    assert world.pushed_by(hub, 4.9) == []
    assert world.pushed_by(hub, 0.2) == [("k1", "ada")]
    await publish(hub, "team", id="later")
    frames = connect(hub, "ada", ("team",), hub.attendance.cursor(0)).frames
    assert ids_of(frames) == ["k1", "later"], "it is in the rings again"


async def test_critical_ones_are_pushed_at_once_and_what_was_pushed_isnt_again(world: World) -> None:
    pushed = world.fact("k1", "pushed", "ada")
    world.store.rows = [world.kept("k1", pushed, priority="critical", everybody=("ada", "bob"), due_at=1)]
    hub = await world.started()
    assert world.pushed_by(hub, 0.1) == [("k1", "bob")]


async def test_who_has_acked_neither_gets_it_again_nor_is_pushed_to(world: World) -> None:
    world.store.rows = [world.kept("k1", world.fact("k1", "acked", "ada"), everybody=("ada", "bob"))]
    hub = await world.started()
    assert ids_of(connect(hub, "ada", ("team",), hub.attendance.cursor(0)).frames) == []
    assert ids_of(connect(hub, "bob", ("team",), hub.attendance.cursor(0)).frames) == ["k1"]
    (record,) = hub.delivering.ledger.find_all("k1")
    assert record.milestones.of(world.given["ada"]) == ACKED
    assert world.pushed_by(hub, 10) == [("k1", "bob")]


@pytest.mark.parametrize("kind", ["held", "dropped", "released"])
async def test_whom_it_was_kept_from_it_is_kept_from(world: World, kind: str) -> None:
    world.store.rows = [world.kept("k1", world.fact("k1", kind, "ada", detail="muted"), everybody=("ada", "bob"))]
    hub = await world.started()
    assert ids_of(connect(hub, "ada", ("team",), hub.attendance.cursor(0)).frames) == []
    assert world.pushed_by(hub, 10) == [("k1", "bob")]


async def test_what_is_held_stays_held(world: World) -> None:
    world.store.rows = [world.kept("k1", world.fact("k1", "held", "ada", detail="muted"))]
    hub = await world.started()
    (record,) = hub.delivering.ledger.find_all("k1")
    assert record.is_open and record.milestones.of(world.given["ada"]) == held("muted")


async def test_who_subscribed_since_then_reads_it_too(world: World) -> None:
    world.store.rows = [world.kept("k1")]
    hub = await world.started()
    assert ids_of(connect(hub, "zoe", ("team",), hub.attendance.cursor(0)).frames) == ["k1"]
    assert hub.sent_to("k1", "ada") is not None, "whom it was meant for may ack it"
    assert hub.sent_to("k1", "eve") is None


async def test_what_has_expired_is_closed(world: World) -> None:
    now = int(world.clock.now() * 1000)
    world.store.rows = [world.kept("k1", expires_at=now - 1, sent_at=now - 9000)]
    hub = await world.started()
    assert world.pushed_by(hub, 1) == []
    assert {type(write).__name__ for write in world.store.noted} >= {"Close"}
    assert not hub.delivering.delivery.open and hub.rings.find("k1", world.clock.monotonic()) is None


async def test_many_are_taken_up_in_their_order_while_the_loop_turns(world: World) -> None:
    world.store.rows = [world.kept(f"k{place}") for place in range(5 * SLICE)]
    hub = await world.started()
    frames = connect(hub, "ada", ("team",), hub.attendance.cursor(0)).frames
    assert ids_of(frames) == [f"k{place}" for place in range(5 * SLICE)]


# --- With what a clean stop saved


async def stopped(world: World, path: Path) -> tuple[Hub, SteeredStore]:
    """A hub that has published and stopped in good order; its store's rows are those of the world then."""
    store = SteeredStore()
    hub, clock, _ = make_hub(store=store, pusher=RecordingPusher())
    hub.memory.store = store
    connect(hub, "ada", ("team",)).drop()
    ada = connect(hub, "ada", ("team",))
    await publish(hub, "team", id="n1")
    await publish(hub, "team", id="n2", priority="critical")
    ada.drop()
    save(path, hub.memory, clock)
    world.clock = LaterClock(clock.now() + 1)
    keeps = [write for write, _ in store.written if isinstance(write, Keep)]
    keeps += [write for write in store.noted if isinstance(write, Keep)]
    world.store.rows = [Kept(keep.row, keep.facts, True) for keep in keeps]
    known = [*hub.numbers.known()]
    world.numbers = UserNumbers()
    world.numbers.go_on_from(hub.numbers.next)
    for number, id in known:
        world.numbers.put_back(number, id)
        world.numbers.hold(id)
    return hub, store


async def test_what_the_rings_have_isnt_published_again(world: World, tmp_path: Path) -> None:
    before, _ = await stopped(world, tmp_path / "hubd.rings")
    assert sorted(kept.row.id for kept in world.store.rows) == ["n1", "n2"]
    hub = await world.started(tmp_path / "hubd.rings")
    assert hub.memory.epoch == before.memory.epoch and hub.attendance.sequence == 2
    frames = connect(hub, "ada", ("team",), before.attendance.cursor(0)).frames
    assert ids_of(frames) == ["n1", "n2"]
    notification = hub.rings.find("n2", world.clock.monotonic())
    assert notification is not None and notification.record is not None
    assert notification.record.sequence == notification.sequence == 2
    assert notification.record.milestones.of(hub.numbers.number_of("ada")) != ACKED
    one = connect(hub, "ada", ("team",))
    hub.ack("ada", ["n2"], [one])
    assert notification.record.milestones.of(hub.numbers.number_of("ada")) == ACKED


async def test_a_file_of_another_store_isnt_used(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, _ = await stopped(world, tmp_path / "hubd.rings")
    world.store.rows = []
    world.numbers = UserNumbers()
    world.numbers.hold("mallory")  # who has ada's number there
    hub = await world.started(tmp_path / "hubd.rings")
    assert hub.memory.epoch != before.memory.epoch
    assert "belongs to another store" in caplog.text
    assert hub.numbers.id_of(1) == "mallory"


async def test_from_before_there_was_a_store_everything_goes_into_it(world: World, tmp_path: Path) -> None:
    old, clock, _ = make_hub()
    await old.make_durable("ada", ["t"], None)
    await publish(old, "t", id="n1")
    old.memory.revoked["bob"] = clock.now()
    save(tmp_path / "hubd.rings", old.memory, clock)
    world.clock, world.numbers = LaterClock(clock.now() + 1), UserNumbers()
    hub = await world.started(tmp_path / "hubd.rings")
    written = [write for write, _ in world.store.written]
    assert [type(write) for write in written] == [Subscribe, Revoke, Remember]
    assert hub.durables.counting("ada", world.clock.now()) == ["t"]
    assert hub.memory.unstored == ()
    save(tmp_path / "again.rings", hub.memory, world.clock)
    assert b"durable" not in (tmp_path / "again.rings").read_bytes(), "the store has it now"


# --- The small things


async def test_what_is_small(world: World) -> None:
    now = world.clock.now()
    answers = [
        StoredAnswer("key:a", "key:a", "old", b"f", "e-1", 3, int((now - 100) * 1000)),
        StoredAnswer("key:a", "key:a", "new", b"f", "", 0, int((now - 1) * 1000)),
    ]
    grant = Grant(False, ("**",), now - 10)
    world.store.loaded = Loaded((), 9, [("ada", "t", grant)], [("bob", now - 5)], answers, ())
    hub = await world.started(config=Config(limits=Limits(id_window_s=50)))
    assert hub.memory.revoked == {"bob": now - 5}
    assert hub.durables.of("ada") == {"t": grant} and grant.stored_at == grant.checked_at
    ((table, key, known),) = hub.memory.answers.answered()
    assert (table, key, known.fingerprint) == ("key:a", ("key:a", "new"), b"f")
    assert known.answer.cursor == hub.attendance.cursor(0), "it was stored, and never published"
    assert world.clock.monotonic() - known.since == pytest.approx(1.0, abs=0.01)
    assert world.store.written == [], "nothing is news to the store"


async def test_a_clock_that_was_turned_back_makes_no_answer_young_for_ever(world: World) -> None:
    now = world.clock.now()
    answer = StoredAnswer("key:a", "key:a", "x", b"f", "e-1", 3, int((now + 1000) * 1000))
    world.store.loaded = Loaded((), 1, (), (), [answer], ())
    hub = await world.started()
    ((_, _, known),) = hub.memory.answers.answered()
    assert known.since == world.clock.monotonic()


async def test_without_a_store_there_is_nothing_to_take_up() -> None:
    hub, _, _ = make_hub()
    assert await take_up(hub) == 0
