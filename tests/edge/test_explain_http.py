"""`GET /api/notifications/{id}/explain`: who may ask, what is refused, and what real connections make of it."""

from typing import Any

import pytest

from hubd.core.verdict import drop
from hubd.testing import hub_for
from tests.edge.http_clients import poller, stream
from tests.edge.live_hub import LiveHub, eventually
from tests.gates_world import keeping


async def explain(hub: LiveHub, id: str, user: str | None = None, key: str = "backend") -> Any:
    answer = await hub.call("GET", path(id, user), key=key)
    assert answer.status == 200, answer
    return answer.body


def path(id: str, user: str | None = None) -> str:
    return f"/api/notifications/{id}/explain" + ("" if user is None else f"?user={user}")


async def test_the_chain_of_a_websocket_that_acked(hub: LiveHub) -> None:
    client, welcome = await hub.welcomed("42", topics="team:a")
    await hub.publish("team:a", id="n1", priority="important")
    assert (await client.next())["id"] == "n1"
    await client.ask("ack", id="n1")
    found = await explain(hub, "n1", "42")
    assert (found["milestone"], found["channel"], found["user"]) == ("acked", "team:a", "42")
    steps = {step["step"]: step for step in found["steps"]}
    assert steps["written"]["connection"] == steps["acked"]["connection"] == welcome["connection"]
    assert steps["written"]["transport"] == steps["acked"]["transport"] == "websocket"
    assert all(step["text"] for step in found["steps"])


async def test_a_stream_and_a_poll(hub: LiveHub) -> None:
    await stream(hub, "42")
    client = await poller(hub, "7")
    await client.ask_and_wait((await client.poll())["cursor"])
    await hub.publish(["user:42", "user:7"], id="n1")
    await client.got()
    await eventually(lambda: len(hub.hub.registry.connections) == 1)
    (written,) = [s for s in (await explain(hub, "n1", "42"))["steps"] if s["step"] == "written"]
    assert (written["transport"], written["ended_at"]) == ("sse", None)
    (written,) = [s for s in (await explain(hub, "n1", "7"))["steps"] if s["step"] == "written"]
    assert (written["transport"], written["why"]) == ("poll", "answered")


async def test_why_a_connection_was_gone(hub: LiveHub) -> None:
    await hub.connect("42")
    hub.let_pass(60)
    hub.let_pass(60)
    hub.let_pass(60)
    assert not hub.hub.registry.connections
    hub.let_pass(60)
    await hub.publish("user:42", id="n1", priority="informational")
    found = await explain(hub, "n1", "42")
    assert found["milestone"] == "dropped(away)"
    gone = found["steps"][0]
    assert (gone["step"], gone["reason"], gone["why"]) == ("not_written", "gone", "no_pong")


async def test_what_a_plugin_kept() -> None:
    async with hub_for(keeping("42", verdict=drop), name="quiet") as hub:
        hub.connect("42")
        await hub.publish("user:42", id="n1")
        found = (await hub.request("GET", "/api/notifications/n1/explain", user="42", key=True)).json()
        assert found["milestone"] == "dropped(muted)"
        assert (found["steps"][1]["plugin"], found["steps"][1]["reason"]) == ("quiet", "muted")


async def test_without_a_user_it_counts(hub: LiveHub) -> None:
    await hub.connect("42")
    await hub.publish(["user:42", "user:7"], id="n1", priority="informational")
    found = await explain(hub, "n1")
    assert (found["id"], found["accepted"]) == ("n1", 2)
    assert found["milestones"] == {"live_sent": 1, "dropped(away)": 1}


async def test_who_may_ask(hub: LiveHub) -> None:
    await hub.publish("news:a", id="n1")
    await hub.publish("team:a", id="n2")
    for key in ("backend", "publisher", "admin", "news"):
        assert (await explain(hub, "n1", "42", key))["id"] == "n1"
    refused = await hub.call("GET", path("n2", "42"), key="news")
    assert (refused.status, refused.code) == (404, "not_found")
    assert (await hub.call("GET", path("n2"), key="news")).code == "not_found"
    assert (await hub.call("GET", path("n1", "42"), token=hub.token("42"))).code == "forbidden"
    assert (await hub.call("GET", path("n1", "42"), key=None)).code == "unauthorized"


async def test_a_key_without_admin_learns_nothing_of_others_connections(hub: LiveHub) -> None:
    await hub.connect("42")
    await hub.publish("team:a", id="n1")
    kinds = {key: [s["step"] for s in (await explain(hub, "n1", "42", key))["steps"]] for key in ("publisher", "admin")}
    assert kinds == {"publisher": ["published"], "admin": ["published", "not_written"]}


async def test_the_same_id_of_another_publisher_stays_his(hub: LiveHub) -> None:
    await hub.publish("news:a", id="n1", key="news")
    hub.clock.advance(1)
    await hub.publish("team:a", id="n1", key="other")
    (published,) = (await explain(hub, "n1", "42", "news"))["steps"]
    assert published["channels"] == ["news:a"]


@pytest.mark.parametrize("user", ["", "a%20b", "a:b", "x" * 65])
async def test_a_user_that_cannot_be_one(hub: LiveHub, user: str) -> None:
    await hub.publish("team:a", id="n1")
    assert (await hub.call("GET", path("n1", user))).paths == ["user"]


async def test_nothing_is_known_of_it(hub: LiveHub) -> None:
    for user in (None, "42"):
        assert (await hub.call("GET", path("n1", user))).code == "not_found"
