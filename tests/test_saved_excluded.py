"""What gates kept from whom outlives the process."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from hubd.config import Config
from hubd.config_options import Replay
from hubd.core.users import Snapshot, UserSet
from hubd.core.verdict import drop
from hubd.hooks.switching import Plugin
from hubd.hub import Hub
from hubd.saved import save
from hubd.testing import connect, make_hub
from tests.hub_calls import body, publish
from tests.saved_world import ids_of, loaded, restarted, resumed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hubd.rings"


async def publish_without(
    hub: Hub, to: str | Sequence[str], id: str, *users: str, excluded: Snapshot | None = None
) -> None:
    """Publish, and have a gate keep it from these."""
    kept_from = excluded or UserSet(hub.numbers.number_of(user) for user in users)
    hub.hooks.add(Plugin("gate", None), [("filter_recipients", lambda *args: drop(kept_from, "muted"), False)])
    await hub.publish(hub.prepare(body(to if isinstance(to, str) else [*to], id=id)), "backend")
    gate = hub.hooks.each["filter_recipients"]
    gate.all.clear()
    gate.arrange()


async def test_who_was_kept_out_stays_so(path: Path) -> None:
    hub, _, _ = make_hub()
    for user in ("ada", "bob"):
        connect(hub, user, ("t",)).drop()
    connect(hub, "ada", ("t",)), connect(hub, "bob", ("t",))
    await publish_without(hub, "t", "n1", "bob")
    await publish_without(hub, "notifications", "n2", "bob", "cyd")
    await publish(hub, "t", id="n3")
    later, _ = restarted(hub, path)
    stories = {user: ids_of(resumed(later, user, ("t",), 0)) for user in ("ada", "bob", "cyd", "new")}
    everything = ["n1", "n2", "n3"]
    assert stories == {"ada": everything, "bob": ["n3"], "cyd": ["n1", "n3"], "new": everything}
    assert later.sent_to("n1", "bob") is later.sent_to("n2", "cyd") is None
    assert later.sent_to("n1", "ada") is not None and later.sent_to("n2", "ada") is not None
    again, _ = restarted(later, path)
    assert ids_of(resumed(again, "bob", ("t",), 0)) == ["n3"]


async def test_a_newcomer_never_gets_the_number_of_who_was_kept_out(path: Path) -> None:
    hub, _, _ = make_hub()
    await publish_without(hub, "notifications", "n1", "bob")
    later, _ = restarted(hub, path)
    for user in ("one", "two", "three"):
        assert ids_of(resumed(later, user, (), 0)) == ["n1"]
    assert ids_of(resumed(later, "bob", (), 0)) == []


async def test_a_shared_set_is_saved_once_and_shared_and_counted_once_again(path: Path) -> None:
    hub, _, _ = make_hub(Config(replay=Replay(per_channel=1000)))
    muted = Snapshot(UserSet(hub.numbers.number_of(f"user{place}") for place in range(3000)))
    for place in range(300):
        await publish_without(hub, "t", f"n{place}", excluded=muted)
    assert muted.references == 300
    later, _ = restarted(hub, path)
    sets = {id(notification.excluded) for notification, _ in later.rings.kept()}
    assert len(sets) == 1
    assert restarted(later, path)[0].rings.bytes == later.rings.bytes
    kept = next(notification for notification, _ in later.rings.kept())
    assert kept.excluded is not None and kept.excluded.references == 300 and len(kept.excluded) == 3000
    save(path, later.memory, later.clock)
    assert path.stat().st_size < 300 * 200 + 60_000


async def test_what_was_released_is_there_for_whom_it_was(path: Path) -> None:
    hub, clock, _ = make_hub()
    await publish_without(hub, "notifications", "n1", "bob", "cyd")
    clock.advance(10)
    held = hub.rings.find("n1", clock.monotonic())
    assert held is not None
    await hub.publishing.release(held, ["bob"])
    later, later_clock = restarted(hub, path)
    stories = {user: ids_of(resumed(later, user, (), 0)) for user in ("ada", "bob", "cyd")}
    assert stories == {"ada": ["n1"], "bob": ["n1"], "cyd": []}
    found = later.rings.find("n1", later_clock.monotonic())
    mine = hub.rings.find("n1", clock.monotonic())
    assert found is not None and mine is not None
    left = found.expires_at - later_clock.monotonic()
    assert left == pytest.approx(mine.expires_at - clock.monotonic())
    await later.publishing.release(found, ["cyd"])  # a plugin that found it again goes on with it
    assert ids_of(resumed(later, "cyd", (), 0)) == ["n1"]
    again = later.rings.find("n1", later_clock.monotonic())
    assert again is not None and again.expires_at - later_clock.monotonic() <= held.expires_at - held.kept_at + 0.01


@pytest.mark.parametrize("seed", range(5))
async def test_any_sets_come_back_as_they_were(path: Path, seed: int) -> None:
    random = Random(seed)
    hub, _, _ = make_hub()
    users = [f"u{place}" for place in range(30)]
    shared = [Snapshot(UserSet(map(hub.numbers.number_of, random.sample(users, 9)))) for _ in range(3)]
    connections = [connect(hub, user, ("t",)) for user in users[:10]]
    for place in range(40):
        excluded = random.choice([*shared, None, hub.registry.topics["t"].audience.snapshot()])
        to = random.choice(["t", "notifications", ["t", "user:u3"]])
        if excluded is None:
            await publish(hub, to, id=f"n{place}")
        else:
            await publish_without(hub, to, f"n{place}", excluded=excluded)
        if place % 10 == 9:
            connections.pop().drop()
    later, _ = restarted(hub, path)
    before, after = ([kept for kept, _ in one.rings.kept()] for one in (hub, later))
    assert [one.excluded for one in after] == [one.excluded for one in before]
    assert restarted(later, path)[0].rings.bytes == later.rings.bytes
    for user in users:
        mine, its = (ids_of(resumed(one, user, ("t",), 0)) for one in (hub, later))
        assert mine == its


async def test_a_file_of_before_there_were_such_sets_isnt_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub, clock, _ = make_hub()
    await publish(hub, "t", id="n1")
    save(path, hub.memory, hub.clock)
    path.write_bytes(path.read_bytes().replace(b"hubd saved 2\n", b"hubd saved 1\n"))
    memory = loaded(path, clock)
    assert memory.sequence == 0 and memory.epoch != hub.memory.epoch


async def test_one_that_a_plugin_has_laid_hands_on_doesnt_spoil_the_others(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub, clock, _ = make_hub()
    for id in ("n1", "n2", "n3"):
        await publish(hub, "t", id=id)
    spoilt = hub.rings.find("n2", clock.monotonic())
    assert spoilt is not None
    spoilt.group = {"a": 1}  # type: ignore[assignment]  # that is what it is about
    later, _ = restarted(hub, path)
    assert [kept.id for kept, _ in later.rings.kept()] == ["n1", "n3"]
    assert "notification_not_saved" in caplog.text
