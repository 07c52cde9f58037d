"""By any history: the hub that went on, and the one that was stopped and started again, are the same to everybody."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.config import Config
from hubd.config_options import Replay
from hubd.hub import Hub
from hubd.testing import FakeClock, connect, identity, make_hub
from tests.hub_calls import publish
from tests.saved_world import restarted, resumed

EVERYTHING = ("t", "u")


@given(
    history=st.lists(
        st.one_of(
            st.tuples(
                st.just("publish"),
                st.lists(st.sampled_from(["t", "u", "v", "user:ada", "notifications"]), min_size=1, unique=True),
                st.sampled_from([0, 1, 5, 1000]),
                st.sampled_from([0, 900]),
            ),
            st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 4.0, 40.0])),
            st.tuples(st.just("retract"), st.integers(0, 5)),
            st.tuples(st.just("come"), st.sampled_from(["ada", "bob", "eve"]), st.sampled_from(["t", "u"])),
            st.tuples(st.just("resume"), st.sampled_from(["ada", "eve"]), st.integers(0, 6)),
            st.tuples(st.just("ack"), st.sampled_from(["ada", "bob"]), st.integers(0, 5)),
            st.tuples(st.just("durable"), st.sampled_from(["ada", "zoe"]), st.sampled_from(["t", "v"])),
        ),
        max_size=40,
    ),
    per_channel=st.integers(1, 5),
    max_bytes=st.sampled_from([6000, 20_000, 10**9]),
    away_s=st.sampled_from([0.0, 3.0, 30.0]),
)
@settings(max_examples=120, deadline=None)
async def test_any_history(
    tmp_path_factory: pytest.TempPathFactory, history: list[Any], per_channel: int, max_bytes: int, away_s: float
) -> None:
    config = Config(replay=Replay(per_channel=per_channel, ttl_s=50, max_bytes=max_bytes))
    hub, clock, _ = make_hub(config)
    await live_through(hub, clock, history)
    later, later_clock = restarted(hub, tmp_path_factory.getbasetemp() / "any.rings", away_s)
    for subscribers in hub.durables._subscribers.values():
        subscribers._snapshot = None  # the other hub's durable subscriptions are new: no kept notification shares them
    clock.advance(away_s)
    hub.maintain()
    assert_alike(hub, later)
    for step in (0.25, 20.0, 40.0):
        for one, its_clock in ((hub, clock), (later, later_clock)):
            its_clock.advance(step)
            one.maintain()
            await publish(one, ["t", "user:bob"], id=f"later{step}", ttl=30)
        assert_alike(hub, later)


async def live_through(hub: Hub, clock: FakeClock, history: list[Any]) -> None:
    count = 0
    here: dict[str, Any] = {}
    for act, *what in history:
        if act == "publish":
            count += 1
            to, ttl, pad = what
            call = {"to": to, "notification": {"type": "t", "text": "x" * pad}, "id": f"n{count}", "ttl": ttl}
            await hub.publish(hub.prepare(call), "user:zoe" if pad else "backend", identity("zoe") if pad else None)
        elif act == "wait":
            clock.advance(what[0])
        elif act == "retract":
            found = hub.rings.find(f"n{count - what[0]}", clock.monotonic())
            if found is not None:
                hub.retract(found)
        elif act == "come":
            here[what[0]] = connect(hub, what[0], (what[1],))
        elif act == "resume":
            here[what[0]] = connect(hub, what[0], EVERYTHING, hub.attendance.cursor(max(0, count - what[1])))
        elif act == "ack" and what[0] in here:
            hub.ack(what[0], [f"n{count - what[1]}"], [here[what[0]]])
        elif act == "durable":
            await hub.make_durable(what[0], [what[1]], None)
    for connection in list(hub.registry.connections):
        hub.lost(connection)


def assert_alike(hub: Hub, later: Hub) -> None:
    rings, others = hub.rings, later.rings
    assert (others.bytes, others.floor, later.attendance.sequence) == (
        rings.bytes,
        rings.floor,
        hub.attendance.sequence,
    )
    names = ["t", "u", "v", "user:ada:notifications", "user:bob:notifications", "notifications"]
    assert [others.evicted(name) for name in names] == [rings.evicted(name) for name in names]
    assert [others.depth(name) for name in names] == [rings.depth(name) for name in names]
    for user in ("ada", "eve"):
        for sequence in range(max(0, hub.attendance.sequence - 8), hub.attendance.sequence + 2):
            assert resumed(later, user, EVERYTHING, sequence) == resumed(hub, user, EVERYTHING, sequence)
    assert others.bytes == rings.bytes
    for sequence in range(hub.attendance.sequence + 1):
        for user in ("ada", "bob", "eve", "zoe"):
            mine, its = hub.sent_to(f"n{sequence}", user), later.sent_to(f"n{sequence}", user)
            assert (mine and (mine[0].body, mine[1])) == (its and (its[0].body, its[1]))
