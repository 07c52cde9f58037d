"""Plugins and scheduled notifications: they schedule, and are asked when it goes out."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from hubd.core.notification import Notification
from hubd.core.stored import Remember
from hubd.hooks.manager import Plugins
from hubd.plugin import Action, PluginConfig, PluginHub, UserSet, Verdict, hookimpl
from hubd.testing import FakeClock
from tests.scheduling_world import ids, life


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_a_draft_of_a_segment_is_kept_as_it_is(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        draft = one.hub.prepare({"to": "t", "notification": {"type": "a"}, "deliver_at": one.now_ms + 5000})
        draft = replace(draft, channels=(), segment={"plan": ["free", 1]})
        await one.hub.publish(draft, "key:backend")
        (call,) = one.hub.scheduling
        assert (call.channels, call.draft.segment, call.draft.channels) == ([], {"plan": ["free", 1]}, ())
        assert not any(isinstance(write, Remember) for write in one.store.told)
        await one.let_pass(5)  # nobody knows this segment
        assert len(one.hub.scheduling) == 1 and call.attempts == 1


class Gate:
    """Schedules, and drops for whoever it is told to."""

    def __init__(self, config: PluginConfig) -> None:
        self.muted: list[str] = []
        self.asked = 0
        self.hub: PluginHub

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification, recipients: UserSet) -> Verdict:
        self.asked += 1
        return Verdict(Action.DROP, self.hub.users(self.muted), "muted")


async def test_plugins_schedule_and_gates_are_asked_when_it_goes_out(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, seed=1) as one:
        plugins = Plugins(one.hub.hooks)
        gate = plugins.add("gate", Gate, None).instance
        plugins.attach(one.hub, Random(1))
        await plugins.start()
        ada, bob = one.connect("ada", "t"), one.connect("bob", "t")
        receipt = await gate.hub.publish("t", {"type": "a"}, id="x", deliver_at=one.now_ms + 5000)
        assert (receipt.id, receipt.live) == ("x", 0) and gate.asked == 0
        gate.muted = ["bob"]
        await one.let_pass(5)
        assert (ids(ada), ids(bob)) == (["x"], []) and gate.asked == 1
        (record,) = one.hub.delivering.ledger.find_all("x")
        assert dict(record.milestones)["dropped(muted)"] == 1
        await plugins.stop(5)
