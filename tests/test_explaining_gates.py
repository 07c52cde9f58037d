"""Explanations of what plugins kept from somebody, for good or for a while."""

from typing import Any

import pytest

from hubd.core.users import UserSet
from hubd.core.verdict import Verdict, Way, digest, drop, hold
from hubd.plugin import PluginHub
from hubd.testing import hub_for
from tests.explaining_world import word
from tests.gates_world import Gate, gate, keeping


@pytest.mark.parametrize(
    ("verdict", "action", "milestone"),
    [(drop, "drop", "dropped(muted)"), (hold, "hold", "held(muted)"), (digest, "digest", "held(digest)")],
)
async def test_what_a_plugin_kept_from_him(verdict: Any, action: str, milestone: str) -> None:
    async with hub_for(keeping("ada", verdict=verdict), name="quiet") as hub:
        hub.connect("ada", ["t"])
        await hub.publish("t", id="n1", priority="important")
        found = await hub.handle.explain("n1", "ada")
        assert found is not None
        assert [step["step"] for step in found["steps"]] == ["published", "gate"]
        said = {name: found["steps"][1][name] for name in ("plugin", "action", "reason", "ways", "late")}
        assert said == {
            "plugin": "quiet", "action": action, "reason": "muted", "ways": ["live", "push"], "late": False,
        }  # fmt: skip
        assert (found["milestone"], found["channel"]) == (milestone, "t")
        assert "plugin quiet" in found["text"]
        assert await hub.handle.explain("unknown", "ada") is None


async def test_what_a_plugin_kept_from_his_devices_alone() -> None:
    async with hub_for(keeping("ada", way=Way.PUSH), name="quiet") as hub:
        hub.connect("ada", ["t"])
        await hub.publish("t", id="n1", priority="important")
        found = await hub.handle.explain("n1", "ada")
        assert found is not None
        assert [*map(word, found["steps"])] == ["published", "gate(muted)", "written(live)"]
        assert found["steps"][1]["text"].endswith("It may still be sent live.")
        assert found["milestone"] == "live_sent"


async def test_a_release() -> None:
    async with hub_for(keeping("ada", verdict=hold), name="quiet") as hub:
        ada = hub.connect("ada", ["t"])
        await hub.publish("t", id="n1", priority="important")
        plugin: PluginHub = hub.plugin.hub
        held = plugin.find("n1")
        await hub.advance(600)
        assert held is not None
        await plugin.release(held, plugin.users(["ada"]))
        await hub.settle()
        found = await plugin.explain("n1", "ada")
        assert found is not None and len(ada.notifications()) == 1
        words = [*map(word, found["steps"])]
        assert words[:5] == ["published", "gate(muted)", "released", "published", "written(live)"]
        assert found["steps"][3]["is_release"]
        assert found["steps"][4]["at"] == found["steps"][0]["at"] + 600_000
        assert (found["milestone"], found["channel"]) == ("live_sent", "user:ada:notifications")
        bob = await plugin.explain("n1", "bob")
        assert bob is not None and [step["step"] for step in bob["steps"]] == ["published"]


async def test_who_came_later_and_was_refused_by_a_plugin() -> None:
    def judge(gate: Gate, notification: Any, recipients: UserSet) -> Verdict | None:
        return drop(gate.hub.users(["ada"]), "muted")

    async with hub_for(gate(judge), name="quiet") as hub:
        hub.connect("bob", ["t"])
        start = hub.hub.attendance.cursor()
        await hub.publish("t", id="n1")
        await hub.advance(1)
        late = hub.connect("ada", ["t"], start)
        await hub.settle()
        assert not late.notifications()
        found = await hub.handle.explain("n1", "ada")
        assert found is not None and found["milestone"] is None
        assert [*map(word, found["steps"])] == ["published", "gate(muted)"] and found["steps"][1]["late"]
        assert found["text"] == "Not delivered: ada came to it later, and a plugin kept it from him."
