"""`hubd_authorize_subscribe` and what lasts: renewed tokens, durable subscriptions, the history of topics."""

from collections.abc import AsyncIterator

import pytest

from tests.edge.hooked_hub import HookedHub, Knowing, Objecting, beside, hooked
from tests.edge.subscribing import connected, joined, topics_of
from tests.edge.ws_client import JSON


@pytest.fixture
async def hub() -> AsyncIterator[HookedHub]:
    async with hooked(Objecting) as made:
        yield made


@pytest.fixture
def gate(hub: HookedHub) -> Objecting:
    return hub.made[0]  # type: ignore[no-any-return]


# Renewal


async def test_a_fresh_token_is_asked_about_all_that_there_is(hub: HookedHub, gate: Objecting) -> None:
    client = await connected(hub, topics="team,secret")
    assert (await client.ask("presence", topic="watched", watch=True))["ok"]
    gate.denied = {"secret", "watched"}
    gate.asked.clear()
    assert (await client.ask("auth", token=hub.token("42", topics=["**"])))["ok"]
    ((_, asked),) = gate.asked
    assert set(asked) == {"team", "secret", "watched"}
    assert [one["code"] for one in await client.messages()] == ["forbidden"], "he is told what he lost"
    assert topics_of(hub) == {"team"}
    assert not hub.hub.watches._topics, "nor may he go on watching"
    gate.fault = RuntimeError("down")
    assert (await client.refused("auth", token=hub.token("42", topics=["**"])))["code"] == "unavailable"
    assert topics_of(hub) == {"team"}


async def test_a_fresh_token_doesnt_bring_back_a_denied_durable_topic(hub: HookedHub, gate: Objecting) -> None:
    token = hub.token("42", topics=["**"])
    assert (await hub.call("PUT", "/api/subscriptions/secret", token=token)).status == 201
    gate.denied = {"secret"}
    client = await connected(hub)
    assert topics_of(hub) == set()
    assert (await client.ask("auth", token=hub.token("42", topics=["**"])))["ok"]
    assert topics_of(hub) == set()
    assert not hub.hub.durables.counting("42", hub.clock.now()), "nor does it count while he is away"


# Durable subscriptions, and reading


async def test_durable_topics_are_asked_about_at_each_connect(hub: HookedHub, gate: Objecting) -> None:
    token = hub.token("42", topics=["**"])
    assert (await hub.call("PUT", "/api/subscriptions/secret", token=token)).status == 201
    assert (await hub.call("PUT", "/api/users/42/subscriptions/given")).status == 201
    assert await joined(hub, "websocket", "team") == {"team", "secret", "given"}
    gate.denied = {"secret", "given"}
    assert await joined(hub, "websocket", "team") == {"team", "given"}, "what the server gave him is no plugin's matter"
    gate.denied = set()
    assert await joined(hub, "sse", "") == {"secret", "given"}


async def test_putting_a_durable_subscription_asks(hub: HookedHub, gate: Objecting) -> None:
    token = hub.token("42", topics=["**"])
    live = await connected(hub)
    gate.denied = {"secret"}
    answer = await hub.call("PUT", "/api/subscriptions/secret", token=token)
    assert (answer.status, answer.code) == (403, "forbidden")
    gate.fault = RuntimeError("down")
    answer = await hub.call("PUT", "/api/subscriptions/secret", token=token)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert not hub.hub.durables.of("42") and not topics_of(hub)
    assert (await hub.call("PUT", "/api/users/42/subscriptions/secret")).status == 201, "the server isn't asked"
    assert (await live.ask("ping"))["ok"] and topics_of(hub) == {"secret"}


@pytest.mark.parametrize("what", ["PUT /api/subscriptions/secret", "GET /api/channels/secret/history"])
async def test_calls_of_somebody_who_is_revoked_meanwhile(hub: HookedHub, gate: Objecting, what: str) -> None:
    method, path = what.split()
    gate.go.clear()
    call = beside(hub.call(method, path, token=hub.token("42", topics=["**"])))
    await gate.is_asked()
    await hub.call("POST", "/api/users/42/revoke")
    gate.go.set()
    assert (await call).status == 401
    assert not hub.hub.durables.of("42")


async def test_reading_history_asks(hub: HookedHub, gate: Objecting) -> None:
    await hub.publish("secret", n=1)
    token = hub.token("42", topics=["**"])
    gate.denied = {"secret"}
    assert (await hub.call("GET", "/api/channels/secret/history", token=token)).code == "forbidden"
    assert (await hub.call("GET", "/api/channels/secret/history")).status == 200, "an API key is no user"
    asked = len(gate.asked)
    for own in ("user:42", "notifications"):
        assert (await hub.call("GET", f"/api/channels/{own}/history", token=token)).status == 200
    assert len(gate.asked) == asked
    gate.fault = RuntimeError("down")
    assert (await hub.call("GET", "/api/channels/secret/history", token=token)).status == 503
    gate.fault, gate.denied = None, set()
    assert (await hub.call("GET", "/api/channels/secret/history", token=token)).body["notifications"][0]["n"] == 1


async def test_with_a_plugin_that_authenticates() -> None:
    async with hooked(Knowing, Objecting) as hub:
        hub.made[0].grants = {"topics": ["team:*"]}
        hub.made[1].denied = {"team:b"}
        headers = {"Authorization": "Bearer app-7"}
        client = await hub.open(subprotocol=JSON, headers=headers, query={"topics": "team:a,team:b,other"})
        assert (await client.next())["topics"] == ["team:a"]
        assert hub.made[1].asked == [("7", ("team:a", "team:b"))]
