"""The `push` of a publish call over HTTP: for devices alone, kept over a restart, no part of what clients get."""

from pathlib import Path
from typing import Any

import pytest

from hubd.core.overrides import unpacked
from hubd.testing import FakeClock
from hubd.testing.backend import RecordingBackend
from tests.edge.live_hub import Faults, LiveHub
from tests.edge.stored_hub import stored_hub

PUSH = {"apns": {"badge": 3, "sound": "ping.caf"}, "webpush": {"icon": "/i.png"}}
SECRET_WORDS = ("apns", "badge", "ping.caf", "webpush")


def kept(hub: LiveHub, id: str) -> list[dict[str, Any]]:
    """What the hub would hand to backends, of each publication with this id."""
    records = hub.hub.delivering.ledger.find_all(id)
    return [unpacked(record.notification.push) for record in records if record.notification is not None]


async def test_clients_and_servers_get_nothing_of_it(hub: LiveHub) -> None:
    client = await hub.connect("ada")
    await hub.publish("user:ada", id="n1", push=PUSH)
    (frame,) = await client.notifications()
    read = await hub.call("GET", "/api/notifications/n1")
    history = await hub.call("GET", "/api/channels/user:ada:notifications/history")
    for shown in (frame, read.body, history.body):
        assert "n1" in str(shown) and not any(word in str(shown) for word in SECRET_WORDS)
    assert kept(hub, "n1") == [PUSH]


async def test_the_same_call_is_the_same_and_another_push_is_another_call(hub: LiveHub) -> None:
    await hub.publish("user:ada", id="n1", push=PUSH)
    assert (await hub.publish("user:ada", id="n1", push=dict(reversed(PUSH.items()))))["duplicate"]
    assert (await hub.try_publish("user:ada", id="n1", push={})).code == "id_conflict"
    await hub.publish("user:ada", id="n2")
    nothings: list[dict[str, Any] | None] = [{}, None]
    for nothing in nothings:
        assert (await hub.publish("user:ada", id="n2", push=nothing))["duplicate"]


@pytest.mark.parametrize(
    ("push", "paths"),
    [
        ({"foo": {}}, ["push.foo"]),
        ({"foo": {}, "apns": 1, "fcm": {"x": "y" * 4096}}, ["push.foo", "push.apns", "push.fcm"]),
        ([PUSH], ["push"]),
        ({"toy": {"sound": 1, "badge": "x"}}, ["push.toy.sound"]),
    ],
)
async def test_what_is_wrong_is_named(hub: LiveHub, push: Any, paths: list[str]) -> None:
    hub.hub.publishing.push_backends = {"toy": RecordingBackend("toy")}
    answer = await hub.try_publish("user:ada", push=push)
    assert answer.paths == paths
    assert (await hub.try_publish("user:ada", push={"toy": {"badge": 1}})).status == 202


async def test_a_user_may_say_it_too(hub: LiveHub) -> None:
    client = await hub.connect("bob")
    reply = await client.ask("publish", to="user:ada", id="n1", notification={"type": "x"}, push=PUSH)
    assert reply["ok"] and kept(hub, "n1") == [PUSH]


async def test_it_survives_a_restart_with_its_notification(tmp_path: Path, faults: Faults) -> None:
    clock = FakeClock()
    async with stored_hub(tmp_path, clock) as first:
        await first.connect("ada")  # who is still to ack it
        await first.publish("user:ada", id="n1", persistence="persistent", push=PUSH)
        (row,) = await first.rows("n1")
        assert unpacked(row.row.push) == PUSH
    async with stored_hub(tmp_path, clock, seed=2) as second:
        assert kept(second, "n1") == [PUSH]


async def test_what_is_scheduled_goes_out_with_it(tmp_path: Path, faults: Faults) -> None:
    clock = FakeClock()
    at = int((clock.now() + 20) * 1000)
    async with stored_hub(tmp_path, clock) as first:
        await first.publish("user:ada", id="n1", deliver_at=at, push=PUSH)
        shown = str((await first.call("GET", "/api/notifications/n1")).body)
        assert "n1" in shown and not any(word in shown for word in SECRET_WORDS)
    async with stored_hub(tmp_path, clock, seed=2) as second:
        await second.later(20)
        assert kept(second, "n1") == [PUSH]
