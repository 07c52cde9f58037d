"""What a clean stop saves and the next start loads: nobody can tell that the process was another one meanwhile."""

import logging
import os
from pathlib import Path

import pytest

from hubd import saved
from hubd.config import Config
from hubd.config_options import Auth, Limits, Replay, Store
from hubd.core.errors import Problem
from hubd.core.subscriptions import Grant
from hubd.saved import save, saved_path
from hubd.saved_file import HEAD, write
from hubd.testing import FakeClock, ToyBroker, connect, identity, make_hub
from tests.hub_calls import body, publish
from tests.saved_world import gaps_of, ids_of, loaded, restarted, resumed

EVERYTHING = ("t", "u")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hubd.rings"


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(":")[0] for record in caplog.records if record.levelno >= logging.INFO]


# --- The sequence goes on


async def test_a_client_never_notices(path: Path) -> None:
    hub, _, _ = make_hub()
    for place in range(1, 6):
        await publish(hub, "t", id=f"n{place}")
    later, _ = restarted(hub, path, away_s=2.0)
    assert later.memory.epoch == hub.memory.epoch
    frames = resumed(later, "ada", ("t",), 2)
    assert ids_of(frames) == ["n3", "n4", "n5"]
    assert frames[0] == {
        "hub": "welcome", "user": "ada", "cursor": hub.attendance.cursor(2), "topics": ["t"], "ping_s": 25,
        "attention_s": 1800, "recovered": True,
    }  # fmt: skip
    assert (await publish(later, "t", id="n6")).cursor == hub.attendance.cursor(6)
    assert ids_of(resumed(later, "ada", ("t",), 5)) == ["n6"]


async def test_also_before_anything_was_published(path: Path) -> None:
    hub, _, _ = make_hub()
    later, _ = restarted(hub, path)
    assert later.attendance.cursor() == hub.attendance.cursor()
    await publish(later, "t", id="n1")
    assert gaps_of(resumed(later, "ada", ("t",), 0)) == []


async def test_a_second_restart_is_as_the_first(path: Path) -> None:
    hub, _, _ = make_hub()
    await publish(hub, "t", id="n1")
    for _ in range(3):
        hub, _ = restarted(hub, path, away_s=1.0)
    await publish(hub, "t", id="n2")
    assert ids_of(resumed(hub, "ada", ("t",), 0)) == ["n1", "n2"]


async def test_another_broker_goes_on_too(path: Path) -> None:
    hub, _, _ = make_hub()
    for place in range(1, 4):
        await publish(hub, "t", id=f"n{place}")
    later, _ = restarted(hub, path, broker=ToyBroker(longest_s=0.001))
    receipt = await publish(later, "t", id="n4")
    assert receipt.cursor in (later.attendance.cursor(4), later.attendance.cursor(5))


async def test_after_a_crash_there_is_a_new_epoch(path: Path) -> None:
    hub, _, _ = make_hub()
    await publish(hub, "t", id="n1")
    save(path, hub.memory, hub.clock)
    assert loaded(path, hub.clock).sequence == 1
    again = loaded(path, hub.clock)  # the one that had loaded it was killed
    assert (again.sequence, again.epoch != hub.memory.epoch, again.rings.bytes) == (0, True, 0)


# --- What belongs to a notification


async def test_everything_of_a_notification(path: Path) -> None:
    hub, clock, _ = make_hub()
    call = {
        "to": ["t", "user:bob"], "id": "x", "priority": "critical", "persistence": "persistent", "ttl": 100.5,
        "notification": {"type": "ü", "deep": [{"a": 1.5, "b": None, "c": 2**63}], "text": "\u2028'\"\\", "z": 0},
        "collapse_key": "order 1", "group": "orders",
    }  # fmt: skip
    await hub.publish(hub.prepare(call), "user:eve", identity("eve"))
    later, later_clock = restarted(hub, path)
    mine = hub.rings.find("x", clock.monotonic())
    its = later.rings.find("x", later_clock.monotonic())
    assert mine is not None and its is not None and its is not mine
    names = set(type(mine).__slots__) - {"expires_at", "kept_at", "audience", "frames", "is_ours", "record"}
    assert {name: getattr(its, name) for name in names} == {name: getattr(mine, name) for name in names}
    assert its.expires_at - later_clock.monotonic() == mine.expires_at - clock.monotonic() == 100.5


async def test_who_got_it_and_who_acked_it(path: Path) -> None:
    hub, _, _ = make_hub()
    ada, bob = connect(hub, "ada", ("t",)), connect(hub, "bob", ("t",))
    await publish(hub, "t", id="x")
    eve = connect(hub, "eve", ("t",), hub.attendance.cursor(0))
    hub.ack("ada", ["x"], [ada])
    for one in (ada, bob, eve):
        one.drop()
    later, _ = restarted(hub, path)
    assert [user for user in ("ada", "bob", "eve", "zoe") if later.sent_to("x", user)] == ["ada", "bob", "eve"]
    first, second = connect(later, "ada"), connect(later, "ada")
    later.ack("ada", ["x"], [first])
    later.pump.flush(second)
    assert [frame for frame in second.frames if frame["hub"] == "read"] == [], "that he was shown it is no news"
    bobs = connect(later, "bob"), connect(later, "bob")
    later.ack("bob", ["x"], [bobs[0]])
    later.pump.flush(bobs[1])
    assert [frame["ids"] for frame in bobs[1].frames if frame["hub"] == "read"] == [["x"]]


async def test_a_stranger_never_gets_somebodys_number(path: Path) -> None:
    hub, _, _ = make_hub()
    for user in ("ada", "bob", "eve"):
        connect(hub, user, ("t",)).drop()
    connect(hub, "ada", ("t",))
    await publish(hub, "t", id="x")
    later, _ = restarted(hub, path)
    for user in ("one", "two", "three", "four", "bob"):
        connect(later, user, ("t",))
        assert later.sent_to("x", user) is None
    assert later.sent_to("x", "ada") is not None


async def test_only_users_that_are_needed_are_saved(path: Path) -> None:
    hub, _, _ = make_hub()
    for place in range(200):
        connect(hub, f"passer-by-{place}", ("u",)).drop()
    connect(hub, "ada", ("t",))
    await publish(hub, ["notifications", "t"], id="x")
    save(path, hub.memory, hub.clock)
    assert b"ada" in path.read_bytes() and b"passer-by" not in path.read_bytes()


async def test_an_audience_that_many_share_is_saved_once_and_counted_once(path: Path) -> None:
    hub, _, _ = make_hub(Config(replay=Replay(per_channel=1000)))
    for place in range(0, 4000, 2):
        hub.numbers.hold(f"idle{place}")
        connect(hub, f"user{place}", ("t",))
    for place in range(500):
        await publish(hub, "t", id=f"n{place}")
    later, _ = restarted(hub, path)
    assert later.rings.bytes == hub.rings.bytes
    save(path, later.memory, later.clock)
    assert path.stat().st_size < 500 * 200 + 60_000
    sets = {id(users) for notification, _ in later.rings.kept() for _, users in notification.audience}
    assert len(sets) == 1


# --- What else it is a promise to remember


async def test_a_retrying_publisher_publishes_once(path: Path) -> None:
    hub, _, _ = make_hub()
    first, _ = await hub.publish(hub.prepare(body("t", id="x")), "key:one")
    await hub.publish(hub.prepare(body("t", id="x")), "user:ada", identity("ada"))
    later, _ = restarted(hub, path)
    assert await later.publish(later.prepare(body("t", id="x")), "key:one") == (first, True)
    assert (await later.publish(later.prepare(body("t", id="x")), "user:ada", identity("ada")))[1] is True
    assert (await later.publish(later.prepare(body("t", id="x")), "key:two"))[1] is False
    with pytest.raises(Problem, match="used for another"):
        await later.publish(later.prepare(body("u", id="x")), "key:one")


async def test_ids_are_forgotten_in_their_time(path: Path) -> None:
    hub, clock, _ = make_hub(Config(limits=Limits(id_window_s=100, id_entries=3), replay=Replay(ttl_s=1000)))
    for place in range(3):
        await publish(hub, "t", id=f"n{place}")
        clock.advance(10)
    later, _ = restarted(hub, path, away_s=75)
    known = [(await later.publish(later.prepare(body("t", id=f"n{place}")), "backend"))[1] for place in range(3)]
    assert known == [False, True, True]
    hub, _, _ = make_hub()
    for place in range(9):
        await publish(hub, "t", id=f"n{place}")
    later, _ = restarted(hub, path, config=Config(limits=Limits(id_entries=2)))
    assert len(later.memory.answers) == 2


async def test_durable_subscriptions(path: Path) -> None:
    hub, clock, _ = make_hub(Config(auth=Auth(durable_grant_s=100)))
    put = hub.durables.put
    await put("ada", "v", Grant(True))
    await put("ada", "t", Grant(False, ("t", "w:*"), clock.now()))
    await put("bob", "t", Grant(False, ("**",), clock.now(), allowed=False))
    clock.advance(50)
    await put("ada", "u", Grant(False, ("**",), clock.now()))
    await put("bob", "v", Grant(False, ("**",), clock.now() - 1))
    later, later_clock = restarted(hub, path, away_s=20)
    assert {user: later.durables.of(user) for user in ("ada", "bob")} == {u: hub.durables.of(u) for u in ("ada", "bob")}
    assert list(later.durables.of("ada")) == ["v", "t", "u"]
    assert list(connect(later, "ada").topics) == ["v", "t", "u"]
    assert [later.numbers.id_of(number) for number in later.durables.subscribers("t")] == ["ada"]
    await publish(later, "v", id="x")
    assert later.sent_to("x", "bob") is not None
    later_clock.advance(30.5)
    later.maintain()
    assert (list(later.durables.of("bob")), list(later.durables.of("ada"))) == (["v"], ["v", "t", "u"])
    later_clock.advance(49)
    later.maintain()
    assert list(later.durables.of("bob")) == []


async def test_more_of_everything_than_stands_in_one_record(path: Path) -> None:
    hub, clock, _ = make_hub(Config(replay=Replay(per_channel=1)))
    for place in range(2500):
        await publish(hub, f"t{place}", id=f"a{place}")
        await publish(hub, f"t{place}", id=f"b{place}")
        await hub.durables.put(f"u{place}", "t", Grant(False, ("t",), clock.now()))
        hub.memory.revoked[f"u{place}"] = float(place)
    later, _ = restarted(hub, path)
    assert later.memory.revoked == hub.memory.revoked
    assert len(later.durables.subscribers("t")) == 2500
    assert len(later.memory.answers) == 5000
    assert [later.rings.evicted(f"t{place}") for place in range(2500)] == list(range(1, 5000, 2))


# --- Time that nobody saw


async def test_the_time_away_counts(path: Path) -> None:
    hub, clock, _ = make_hub(Config(replay=Replay(ttl_s=100)))
    await publish(hub, "t", id="old")
    clock.advance(50)
    await publish(hub, "t", id="short", ttl=30)
    await publish(hub, "t", id="young")
    later, later_clock = restarted(hub, path, away_s=40)
    assert ids_of(resumed(later, "ada", ("t",), 0)) == ["old", "young"], "its own ttl ran out, which is no gap"
    later_clock.advance(10)
    frames = resumed(later, "ada", ("t",), 0)
    assert (ids_of(frames), gaps_of(frames)) == (["young"], [("t", "evicted")])
    assert gaps_of(resumed(later, "ada", ("t",), 1)) == []


async def test_a_clock_that_was_set_back_makes_nobody_younger(path: Path) -> None:
    hub, clock, _ = make_hub(Config(replay=Replay(ttl_s=100)))
    await publish(hub, "t", id="x")
    clock.advance(60)
    later, later_clock = restarted(hub, path, away_s=-1000)
    later_clock.advance(39.75)
    later.maintain()
    assert later.rings.depth("t") == 1
    later_clock.advance(0.25)
    later.maintain()
    assert later.rings.depth("t") == 0


async def test_too_old(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hub, clock, _ = make_hub(Config(replay=Replay(ttl_s=100)))
    receipt = await publish(hub, "t", id="x")
    await hub.durables.put("ada", "v", Grant(True))
    hub.memory.revoked["eve"] = clock.now()
    kept, _ = restarted(hub, path, away_s=99.75)
    assert (kept.memory.epoch, kept.attendance.sequence) == (hub.memory.epoch, 1)
    caplog.clear()
    later, _ = restarted(hub, path, away_s=100)
    assert events(caplog) == ["saved", "rings_too_old"]
    assert later.memory.epoch != hub.memory.epoch
    assert (later.attendance.sequence, later.rings.bytes, later.rings.floor) == (0, 0, 0)
    assert gaps_of(resumed(later, "ada", ("t",), 1, epoch=hub.memory.epoch)) == [(None, "epoch")]
    # What has nothing to do with the sequence holds for longer than that.
    assert (list(later.durables.of("ada")), later.memory.revoked) == (["v"], {"eve": clock.now()})
    assert await later.publish(later.prepare(body("t", id="x")), "backend") == (receipt, True)
    assert not path.exists()
    twice, _ = restarted(later, path)
    assert await twice.publish(twice.prepare(body("t", id="x")), "backend") == (receipt, True), "also the next time"


# --- Another config


async def test_smaller_rings_are_a_gap(path: Path) -> None:
    hub, _, _ = make_hub()
    for place in range(1, 11):
        await publish(hub, ["t", "u"] if place < 4 else "t", id=f"n{place}")
    later, _ = restarted(hub, path, config=Config(replay=Replay(per_channel=3)))
    frames = resumed(later, "ada", EVERYTHING, 0)
    assert (ids_of(frames), gaps_of(frames)) == (["n1", "n2", "n3", "n8", "n9", "n10"], [("t", "evicted")])
    assert gaps_of(resumed(later, "ada", EVERYTHING, 7)) == []
    later, _ = restarted(later, path, config=Config(replay=Replay(max_bytes=6000)))
    assert 0 < later.rings.bytes <= 6000
    assert ("u", "evicted") in gaps_of(resumed(later, "ada", EVERYTHING, 0))


async def test_larger_rings_have_room(path: Path) -> None:
    hub, _, _ = make_hub(Config(replay=Replay(per_channel=2)))
    for place in range(1, 5):
        await publish(hub, "t", id=f"n{place}")
    later, _ = restarted(hub, path, config=Config())
    await publish(later, "t", id="n5")
    frames = resumed(later, "ada", ("t",), 0)
    assert (ids_of(frames), gaps_of(frames)) == (["n3", "n4", "n5"], [("t", "evicted")])


async def test_a_shorter_time_lets_go_of_all_that_is_older_at_once(path: Path) -> None:
    hub, clock, _ = make_hub(Config(replay=Replay(per_channel=10_000)))
    for place in range(5000):
        await publish(hub, "t", id=f"n{place}")
    clock.advance(30)
    await publish(hub, "t", id="young")
    later, _ = restarted(hub, path, config=Config(replay=Replay(ttl_s=20)))
    assert later.rings.depth("t") == 1


# --- The file


def test_where_it_is() -> None:
    def of(url: str, saved_file: str = "") -> str:
        return str(saved_path(Config(store=Store(url=url), replay=Replay(saved_file=saved_file))))

    assert of("sqlite:///hubd.db") == "hubd.db.rings"
    assert of("sqlite:////var/lib/hubd/hubd.db") == "/var/lib/hubd/hubd.db.rings"
    assert of("sqlite:///data/x.sqlite?timeout=5") == "data/x.sqlite.rings"
    for nowhere in ("off", "postgresql://u:p@db/hubd"):
        assert of(nowhere) == "hubd.rings"
    for no_file in ("sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?uri=true"):
        with pytest.raises(ValueError, match="it names no file"):
            of(no_file)
    assert of("postgresql://u:p@db/hubd", "/var/lib/hubd/one.rings") == "/var/lib/hubd/one.rings"
    assert saved_path(Config(replay=Replay(saved_file="off"))) is None


@pytest.mark.parametrize("name", ["hubd.db", "/etc/passwd", "rings", "Off", "x\0.rings"])
def test_a_file_that_may_be_something_elses_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"saved_file"):
        Replay(saved_file=name)


def test_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub, clock, _ = make_hub()
    save(None, hub.memory, clock)
    assert saved.load(None, hub.config, clock, hub.ids).sequence == 0
    assert os.listdir(tmp_path) == []


def test_there_is_none(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert loaded(path, FakeClock()).sequence == 0
    assert events(caplog) == []


def test_what_cant_be_saved_is_said_and_harms_nobody(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub, clock, _ = make_hub()
    save(path.parent / "no folder" / "hubd.rings", hub.memory, clock)
    (line,) = caplog.records
    assert (line.levelno, events(caplog)) == (logging.ERROR, ["not_saved"])
    assert "No such file or directory" in line.getMessage()


@pytest.mark.parametrize("spoil", ["truncate", "link", "mode", "rubbish", "empty"])
async def test_a_file_that_cant_be_used(path: Path, spoil: str, caplog: pytest.LogCaptureFixture) -> None:
    hub, _, _ = make_hub()
    await publish(hub, "t", id="x")
    save(path, hub.memory, hub.clock)
    if spoil == "truncate":
        os.truncate(path, path.stat().st_size - 1)
    elif spoil == "link":
        path.symlink_to(path.rename(path.with_name("other")))
    elif spoil == "mode":
        path.chmod(0o644)
    else:
        path.write_bytes(b"" if spoil == "empty" else b"rubbish" * 100)
    caplog.clear()
    later = loaded(path, hub.clock)
    assert events(caplog) == ["not_loaded"] and caplog.records[0].levelno == logging.WARNING
    assert (later.sequence, later.epoch != hub.memory.epoch, later.rings.bytes) == (0, True, 0)
    assert not path.is_symlink() and not path.exists()
    save(path, hub.memory, hub.clock)
    assert loaded(path, hub.clock).sequence == 1, "the next one is good again"


def test_the_log_never_quotes_the_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    write(path, [("hub", "SECRET", "SECRET", 1, 1, 0)])
    loaded(path, FakeClock())
    path.touch(0o600)
    path.write_bytes(HEAD + b"SECRET" * 20)
    loaded(path, FakeClock())
    assert events(caplog) == ["not_loaded"] * 2
    assert "SECRET" not in caplog.text
