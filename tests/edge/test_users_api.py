"""`/api/users/{id}`: where a user is, what his connections said, and how he is shut out."""

from typing import Any

import pytest

from hubd.core.presence import State
from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub
from tests.edge.ws_client import JSON, MSGPACK


async def user(hub: LiveHub, id: str = "42") -> Any:
    answer = await hub.call("GET", f"/api/users/{id}")
    assert answer.status == 200, answer
    return answer.body


async def presence(hub: LiveHub, id: str = "42") -> str:
    return str((await user(hub, id))["presence"])


async def test_somebody_of_whom_nothing_is_known_is_away(hub: LiveHub) -> None:
    assert await user(hub, "a.b@c") == {
        "user": "a.b@c",
        "presence": "away",
        "connections": [],
        "devices": [],
        "subscriptions": [],
    }


async def test_what_is_told_of_his_connections(hub: LiveHub) -> None:
    _, welcome = await hub.welcomed("42", MSGPACK, topics="team:a,team:b")
    await hub.connect("42", None)
    hub.clock.advance(12)
    first, second = (await user(hub))["connections"]
    assert first == {
        "connection": welcome["connection"],
        "transport": "websocket",
        "control": True,
        "acking": True,
        "visibility": None,
        "attentive": True,
        "acks": [],
        "topics": ["team:a", "team:b"],
        "age_s": 12.0,
    }
    assert (second["control"], second["acking"], second["topics"]) == (False, False, [])


@pytest.mark.parametrize(
    ("subprotocol", "query", "acking"), [(None, {"acks": "1"}, True), (None, {"acks": "0"}, False)]
)
async def test_whether_a_connection_will_acknowledge(
    hub: LiveHub, subprotocol: str | None, query: dict[str, str], acking: bool
) -> None:
    await hub.connect("42", subprotocol, query=query)
    assert [one["acking"] for one in (await user(hub))["connections"]] == [acking]


async def test_presence_through_its_four_states(start_hub: StartHub) -> None:
    hub = await start_hub(delivery={"attention_ttl_s": 60, "grace_s": 5})
    client, _ = await hub.welcomed()
    assert await presence(hub) == "attentive"
    assert (await client.ask("visibility", state="hidden"))["ok"] is True
    assert await presence(hub) == "connected"
    assert (await user(hub))["connections"][0]["visibility"] == "hidden"
    await client.ask("visibility", state="visible")
    hub.clock.advance(59)
    assert await presence(hub) == "attentive"
    hub.clock.advance(1)
    assert await presence(hub) == "connected"
    await client.ask("visibility", state="visible")
    assert await presence(hub) == "attentive"
    await hub.gone(client)
    assert await presence(hub) == "wavering"
    hub.clock.advance(4.9)
    assert await presence(hub) == "wavering"
    hub.let_pass(0.2)
    assert await presence(hub) == "away"
    states = [after for _, _, after in hub.edges]
    hidden_again = [State.ATTENTIVE, State.CONNECTED, State.ATTENTIVE]
    assert states[:3] == hidden_again and states[-2:] == [State.WAVERING, State.AWAY]


async def test_an_edge_only_where_something_changed(hub: LiveHub) -> None:
    first, _ = await hub.welcomed()
    second, _ = await hub.welcomed()
    await second.ask("visibility", state="hidden")
    await hub.gone(second)
    await hub.gone(first)
    third, _ = await hub.welcomed()
    assert hub.edges == [
        ("42", State.AWAY, State.ATTENTIVE),
        ("42", State.ATTENTIVE, State.WAVERING),
        ("42", State.WAVERING, State.ATTENTIVE),
    ]
    await hub.gone(third)
    hub.let_pass(5)
    assert hub.edges[-1] == ("42", State.WAVERING, State.AWAY)


async def test_what_was_acked_can_be_read_back(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    other, _ = await hub.welcomed()
    for id in ("a", "b", "c"):
        await hub.publish("user:42", n=1, id=id)
    await client.ask("ack", id="a")
    await client.ask("ack", ids=["b", "unknown", "c", "b"])
    first, second = (await user(hub))["connections"]
    assert (first["acks"], second["acks"]) == (["a", "b", "c"], [])
    reads = [message["ids"] for message in await other.messages() if message.get("hub") == "read"]
    assert reads == [["a"], ["b", "c"]]
    assert all(message.get("hub") != "read" for message in await client.messages())


@pytest.mark.parametrize("method_and_path", [("GET", "/api/users/42"), ("POST", "/api/users/42/revoke")])
async def test_users_are_for_admins(hub: LiveHub, method_and_path: tuple[str, str]) -> None:
    client, _ = await hub.welcomed()
    refused = [({"key": "publisher"}, 403), ({"token": hub.token("42")}, 403), ({"key": None}, 401)]
    for who, status in refused:
        answer = await hub.call(*method_and_path, **who)
        assert (answer.status, answer.code) == (status, {401: "unauthorized", 403: "forbidden"}[status])
    assert await client.messages() == []


@pytest.mark.parametrize("id", ["a:b", "x" * 65, "a%20b", "%C3%BC", "a%2Fb"])
async def test_what_is_no_user_id(hub: LiveHub, id: str) -> None:
    assert (await hub.call("GET", f"/api/users/{id}")).paths == ["id"]
    assert (await hub.call("POST", f"/api/users/{id}/revoke")).paths == ["id"]


async def test_revoking_ends_his_connections_and_no_others(hub: LiveHub) -> None:
    clients = [await hub.connect("42", subprotocol) for subprotocol in (JSON, MSGPACK, None)]
    other, _ = await hub.welcomed("7")
    answer = await hub.call("POST", "/api/users/42/revoke")
    assert (answer.status, answer.body) == (200, {"user": "42", "disconnected": 3})
    for client in clients:
        assert await client.closed() == 4507
        assert client.close_reason == "revoked"
    told = clients[0].frames[-1]
    assert told == {"hub": "disconnect", "code": 4507, "reason": "revoked", "reconnect": False, "retry_after_s": 0}
    assert clients[1].frames[-1] == told
    assert clients[2].frames == []
    assert (await other.ask("ping"))["ok"] is True


async def test_after_it_only_newer_tokens_count(hub: LiveHub) -> None:
    now = hub.clock.now()
    before, without, other = hub.token("42"), hub.token("42", iat=None), hub.token("7")
    same_moment = hub.token("42", iat=now)
    assert (await hub.call("GET", "/api/subscriptions", token=before)).status == 200
    await hub.call("POST", "/api/users/42/revoke")
    hub.clock.advance(1)
    for token in (before, without, same_moment):
        answer = await hub.call("GET", "/api/subscriptions", token=token)
        assert (answer.status, answer.code) == (401, "unauthorized")
        client = await hub.open(headers={"Authorization": f"Bearer {token}"})
        assert await client.closed() == 4507
        client = await hub.open(subprotocol=JSON)
        client.send(action="auth", token=token, ref=1)
        assert await client.closed() == 4507
    fresh = hub.token("42", iat=now + 1)
    for token in (fresh, other):
        assert (await hub.call("GET", "/api/subscriptions", token=token)).status == 200


async def test_a_fresh_token_on_a_live_connection_must_not_be_a_revoked_one(hub: LiveHub) -> None:
    old = hub.token("42")
    await hub.call("POST", "/api/users/42/revoke")
    hub.clock.advance(5)
    client, _ = await hub.welcomed("42", claims={"iat": hub.clock.now()})
    assert (await client.refused("auth", token=old))["code"] == "unauthorized"
    assert (await client.ask("ping"))["ok"] is True
