"""What a capability opens: one notification to be read and acked, in one user's name; and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from hubd.testing import FakeClock
from tests.edge.live_hub import Answer, Faults, LiveHub
from tests.edge.stored_hub import stored_hub
from tests.edge.ws_client import JSON, Client


async def sent(hub: LiveHub, id: str = "n1", user: str = "ada", **more: Any) -> str:
    """A notification that was published, and the capability that a push to this user would carry."""
    await hub.publish(f"user:{user}", id=id, notification={"type": "alert", "title": "x" * 5000}, **more)
    return hub.hub.capabilities.sign(id, user, hub.clock.now() + 3600)


async def read(hub: LiveHub, capability: str, id: str = "n1") -> Answer:
    return await hub.call("GET", f"/api/notifications/{id}", token=capability)


async def ack(hub: LiveHub, capability: str, *ids: str, **more: Any) -> Answer:
    return await hub.call("POST", "/api/acks", {"ids": list(ids), **more}, token=capability)


async def test_it_reads_the_whole_of_what_it_came_with(hub: LiveHub) -> None:
    answer = await read(hub, await sent(hub))
    assert (answer.status, answer.body["title"], answer.body["channel"]) == (200, "x" * 5000, "user:ada:notifications")


async def test_it_acks_and_everybody_of_the_user_is_told(hub: LiveHub) -> None:
    tab: Client = await hub.connect("ada")
    other = await hub.connect("bob")
    await tab.messages()
    await other.messages()
    capability = await sent(hub)
    await tab.messages()
    answer = await ack(hub, capability, "n1")
    assert (answer.status, answer.body) == (200, {"ok": True})
    assert await tab.messages() == [{"hub": "read", "ids": ["n1"]}]
    assert await other.messages() == []
    explained = await hub.call("GET", "/api/notifications/n1/explain?user=ada")
    assert explained.body["milestone"] == "acked"
    assert (await ack(hub, capability, "n1")).status == 200, "again is no matter"


async def test_another_notification_is_none_of_its_business(hub: LiveHub) -> None:
    capability = await sent(hub, "n1")
    await sent(hub, "n2")
    assert (await read(hub, capability, "n2")).code == "unauthorized"
    assert (await ack(hub, capability, "n2")).code == "unauthorized"
    explained = await hub.call("GET", "/api/notifications/n2/explain?user=ada")
    assert explained.body["milestone"] != "acked"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"ids": ["n1", "n2"]}, "ids"),
        ({"ids": []}, "ids"),
        ({"ids": ["n1", "n1"]}, "ids"),
        ({"ids": ["n1"], "connection": "c"}, "connection"),
        ({}, "ids"),
        ([], ""),
    ],
)
async def test_one_ack_and_nothing_else(hub: LiveHub, body: Any, path: str) -> None:
    capability = await sent(hub)
    answer = await hub.call("POST", "/api/acks", body, token=capability)
    assert answer.paths == [path]


async def test_a_large_body_of_whoever_only_looks_like_one_is_not_read(hub: LiveHub) -> None:
    assert (await ack(hub, "cap_x", "n" * 5000)).code == "too_large"


async def test_of_what_was_not_sent_to_its_user_it_says_nothing(hub: LiveHub) -> None:
    await sent(hub, "n1", "bob")
    forged = hub.hub.capabilities.sign("n1", "ada", hub.clock.now() + 60)
    assert (await read(hub, forged)).code == "not_found"


CALLS = [
    ("GET", "/api/devices", None),
    ("GET", "/api/subscriptions", None),
    ("POST", "/api/tickets", None),
    ("POST", "/api/visibility", {"connection": "c", "state": "visible"}),
    ("POST", "/api/push-subscriptions", {}),
    ("DELETE", "/api/notifications/n1", None),
    ("GET", "/api/notifications/n1/explain?user=ada", None),
    ("POST", "/api/notifications", {"to": "user:ada", "notification": {"type": "x"}}),
    ("GET", "/api/users/ada", None),
    ("GET", "/api/channels/news/history", None),
    ("GET", "/notifications", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_it_opens_nothing_else(hub: LiveHub, method: str, path: str, body: Any) -> None:
    capability = await sent(hub)
    answer = await hub.call(method, path, body, token=capability)
    assert (answer.status, answer.code) == (401, "unauthorized"), path
    assert capability not in str(answer.body)


async def test_it_opens_no_connection(hub: LiveHub) -> None:
    capability = await sent(hub)
    client = await hub.open(headers={"Authorization": f"Bearer {capability}"}, subprotocol=JSON)
    assert await client.closed() == 4500
    client = await hub.open(subprotocol=JSON)
    client.send(action="auth", token=capability)
    assert await client.closed() == 4500


async def test_a_revocation_ends_it(hub: LiveHub) -> None:
    capability = await sent(hub)
    bobs = await sent(hub, "n2", "bob")
    hub.let_pass(1)
    await hub.call("POST", "/api/users/ada/revoke")
    assert (await read(hub, capability)).code == "unauthorized"
    assert (await ack(hub, capability, "n1")).code == "unauthorized"
    assert (await read(hub, bobs, "n2")).status == 200


async def test_it_is_good_after_a_restart(tmp_path: Path, faults: Faults) -> None:
    clock = FakeClock()
    async with stored_hub(tmp_path, clock) as first:
        await first.publish("user:ada", id="n1", persistence="persistent")
        capability = first.hub.capabilities.sign("n1", "ada", clock.now() + 60)
        await first.rows("n1")
    async with stored_hub(tmp_path, clock, seed=2) as second:
        assert (await read(second, capability)).status == 200
        assert (await ack(second, capability, "n1")).status == 200


async def test_its_time_ends_it(hub: LiveHub) -> None:
    await sent(hub, ttl=86400)
    capability = hub.hub.capabilities.sign("n1", "ada", hub.clock.now() + 5)
    assert (await read(hub, capability)).status == 200
    hub.let_pass(10)
    assert (await read(hub, capability)).code == "unauthorized"


@pytest.mark.parametrize("text", ["cap_", "cap_AAAA", "cap_" + "A" * 60, "cap_" + "A" * 5000])
async def test_what_only_looks_like_one(hub: LiveHub, text: str) -> None:
    await sent(hub)
    answer = await read(hub, text)
    assert answer.code == "unauthorized" and text not in str(answer.body)
    assert (await ack(hub, text, "n1")).code == "unauthorized"


async def test_it_shows_in_no_log(hub: LiveHub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    capability = await sent(hub)
    await read(hub, capability)
    await ack(hub, capability, "n1")
    await read(hub, capability, "n2")
    assert capability not in caplog.text and capability[4:30] not in caplog.text
